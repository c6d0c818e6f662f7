#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_graph.h"
#include "catalog/lineage_query.h"
#include "catalog/lineage_seal.h"
#include "catalog/lineage_seal_private.h"
#include "test/unit/check.h"

#include <errno.h>

static char folder[64], db_path[96];
static struct lineage *l;
static struct err e;

#define START 1700000000000000000LL
#define DAY LINEAGE_PART_NS

static void fresh(void)
{
	strcpy(folder, "/tmp/meshfs-lineage-XXXXXX");
	memset(&e, 0, sizeof e);
	if (!mkdtemp(folder))
		abort();
	snprintf(db_path, sizeof db_path, "%s/lineage.db", folder);
	if (lineage_open(db_path, &l, &e))
		abort();
}

static void clean(void)
{
	lineage_close(l);
	io_remove_tree(folder, NULL);
}

static void must(int r)
{
	if (r) {
		fprintf(stderr, "%d: %s\n", r, e.text);
		abort();
	}
}

static const char *id_of(const char *name)
{
	static char id[8][LINEAGE_RUN_SIZE];
	static int n;
	n = (n + 1) % 8;
	snprintf(id[n], sizeof id[n], "00000000-0000-7000-8000-%012d", (int)(unsigned char)name[0]);
	return id[n];
}

static void add_run(const char *name, const char *parent)
{
	struct lineage_run run = { .id = id_of(name), .name = name, .user = "ana", .params = "{}", .parent = parent ? id_of(parent) : NULL,
				   .started_ns = START };
	must(lineage_run_insert(l, &run, &e));
}

static void add_read(const char *run, const char *version, const char *path, int outcome, int64_t when_ns)
{
	struct lineage_read read = { .path = path, .path_len = strlen(path), .opens = 1, .bytes = 10, .first_ns = when_ns, .last_ns = when_ns };
	struct lineage_context c = { id_of(run), version, "", "p", "", outcome };
	struct lineage_process p = { 17, START, "/usr/bin/python3", "python3 train.py" };
	must(lineage_begin(l, &e));
	must(lineage_context_get(l, &c, &read.context, &e));
	must(lineage_process_get(l, read.context.run, &p, &read.process, &e));
	must(lineage_read_add(l, &read, &e));
	must(lineage_commit(l, &e));
}

static void publish(const char *run, const char *version)
{
	struct lineage_publication p = { .address = version, .run = run ? id_of(run) : NULL, .manifest = "aa", .published_ns = START };
	must(lineage_publication_set(l, &p, &e));
}

static void end_and_seal(const char *run, int64_t when_ns)
{
	must(lineage_run_finish(l, id_of(run), 0, when_ns, &e));
	must(lineage_begin(l, &e));
	must(lineage_seal_due(l, when_ns, &e));
	must(lineage_commit(l, &e));
}

static int64_t ask(const char *sql)
{
	struct db_stmt *s;
	must(db_prepare(lineage_db(l), sql, &s, &e));
	int64_t v = db_step(s, &e) == DB_ROW ? db_int(s, 0) : -1;
	db_finalize(s);
	return v;
}

/* -- seals ----------------------------------------------------------------------------------- */

static int notes;

static void count_one(void *arg, enum lineage_finding kind, const char *what)
{
	(void)what;
	*(int *)arg += kind == LINEAGE_CHANGED;
	notes += kind == LINEAGE_NOTE;
}

static int verify(const struct lineage_head *kept)
{
	int found = 0;
	struct lineage_verified v;
	notes = 0;
	must(lineage_verify(l, kept, count_one, &found, &v, &e));
	return found == v.offences ? found : -1;
}

static void three_runs(void)
{
	const char *names[] = { "a", "b", "c" };
	must(lineage_view_add(l, "77aa", "drop email", &e));
	must(lineage_gap_set(l, "j1", 3, START, START + 5, &e));
	for (int i = 0; i < 3; i++) {
		add_run(names[i], NULL);
		for (int k = 0; k < 5; k++) {
			char *path = text_format("part-%d.csv", k);
			add_read(names[i], "sales/orders/1.2.0", path, LINEAGE_SERVED, START + k);
			free(path);
		}
		must(lineage_artifact_add(l, id_of(names[i]), "/tmp/model", "ff", 3, START, &e));
		end_and_seal(names[i], START + 1000);
	}
}

TEST(every_change_is_found)
{
	static const char *const changes[] = {
		"UPDATE reads SET opens = 2 WHERE run = 2 AND file = 3",
		"UPDATE reads SET last_ns = last_ns + 1 WHERE run = 1 AND file = 1",
		"DELETE FROM reads WHERE run = 3 AND file = 2",
		"DELETE FROM reads WHERE run = 2",
		"INSERT INTO reads VALUES(1, 0, 77, 1, 1, 1, 1, 1, 1); INSERT INTO files VALUES(77, 1, 'x')",
		"UPDATE files SET path = 'other' WHERE id = 2",
		"UPDATE versions SET address = 'sales/other/1.0.0'",
		"UPDATE decisions SET outcome = 2",
		"UPDATE processes SET exe = '/bin/true' WHERE id = 1",
		"UPDATE runs SET purpose = 'marketing' WHERE id = 1",
		"UPDATE runs SET exit_status = 1 WHERE id = 2",
		"DELETE FROM runs WHERE id = 1",
		"UPDATE artifacts SET sha256 = 'ee' WHERE id = 1",
		"UPDATE inputs SET opens = 1 WHERE run = 1",
		"DELETE FROM seals WHERE seq = 3",
		"DELETE FROM seals WHERE seq >= 5",
		"DELETE FROM seals WHERE seq <= 2",
		"UPDATE seals SET digest = '00' WHERE seq = 1",
		"UPDATE seals SET seq = -1 WHERE seq = 1; UPDATE seals SET seq = 1 WHERE seq = 3; UPDATE seals SET seq = 3 WHERE seq = -1",
		"INSERT INTO reads SELECT run, 1, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 1;"
		" UPDATE runs SET sealed_parts = 2 WHERE id = 1",
		"INSERT INTO reads SELECT run, 7, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 1",
		"UPDATE transforms SET text = 'as it is'",
		"DELETE FROM transforms",
		"DELETE FROM gaps",
		"UPDATE gaps SET lost = 1",
		"UPDATE gaps SET first_ns = 5",
		"UPDATE runs SET pruned_ns = 5 WHERE id = 1",
		"INSERT INTO inputs SELECT run, 77, decision, late, files, opens, bytes, first_ns, last_ns FROM inputs WHERE run = 1",
		"INSERT INTO inputs SELECT run, version, decision, 5, files, opens, bytes, first_ns, last_ns FROM inputs WHERE run = 1",
		"INSERT INTO inputs SELECT 99, version, decision, late, files, opens, bytes, first_ns, last_ns FROM inputs WHERE run = 1",
		"INSERT INTO artifacts(run, path, sha256, size, recorded_ns) VALUES('nobody', '/m', 'ff', 1, 1)",
		"INSERT INTO reads SELECT 99, part, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 1",
		"INSERT INTO runs(uuid, name, user, uid, started_ns, ended_ns, unsealed) VALUES('forged', 'forged', 'ana', 0, 1, 2, 0)",
		"UPDATE runs SET ended_ns = NULL, unsealed = 1 WHERE id = 1",
		"CREATE TRIGGER t AFTER INSERT ON reads BEGIN DELETE FROM reads WHERE run = new.run; END",
		"DROP VIEW mesh_reads; CREATE VIEW mesh_reads AS SELECT 'nothing' AS run",
		"DROP VIEW mesh_inputs",
		"UPDATE seals SET kind = printf('%2000s', kind) WHERE seq = 2",
		"UPDATE seals SET run = printf('%2000s', run) WHERE seq = 2",
	};
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		fresh();
		three_runs();
		CHECK_INT(ask("SELECT count(*) FROM seals"), 8);
		CHECK_INT(verify(NULL), 0);
		CHECK_OK(db_exec(lineage_db(l), changes[i], &e), &e);
		if (verify(NULL) < 1)
			CHECK_FAIL("not found: %s", changes[i]);
		clean();
	}
}

static void seal_at(int64_t when_ns)
{
	must(lineage_begin(l, &e));
	must(lineage_seal_due(l, when_ns, &e));
	must(lineage_commit(l, &e));
}

/* Whoever edits a row and has it sealed again does not get rid of the first seal. */
TEST(a_second_seal_hides_nothing)
{
	static const char *const changes[] = {
		"UPDATE runs SET purpose = 'marketing'", "UPDATE runs SET groups = '[]'", "UPDATE inputs SET opens = opens + 1", "DELETE FROM inputs",
		"UPDATE artifacts SET sha256 = 'ee'",    "DELETE FROM reads WHERE file = 1", "UPDATE reads SET opens = 7", "UPDATE runs SET ended_ns = ended_ns + 1",
	};
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		fresh();
		three_runs();
		must(db_exec(lineage_db(l), changes[i], &e));
		must(db_exec(lineage_db(l), "UPDATE runs SET unsealed = 1, sealed_parts = 0", &e));
		seal_at(START + 2000);
		if (verify(NULL) < 1)
			CHECK_FAIL("not found: %s", changes[i]);
		clean();
	}
}

TEST(late_reads_are_sealed_beside_what_was_sealed)
{
	fresh();
	add_run("a", NULL);
	add_read("a", "s/p/1.0.0", "f", LINEAGE_SERVED, START + 5);
	end_and_seal("a", START + 1000);
	for (int i = 1; i < 4; i++) {
		add_read("a", "s/p/1.0.0", i % 2 ? "f" : "g", LINEAGE_SERVED, START + 5 + i);
		CHECK_INT(verify(NULL), 0); /* not sealed yet: no offence */
		seal_at(START + 1000 + i);
		CHECK_INT(verify(NULL), 0);
	}
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'end'"), 4);
	CHECK_INT(ask("SELECT sum(files) FROM inputs"), 2);
	CHECK_INT(ask("SELECT sum(opens) FROM inputs"), 4);
	for (int late = 0; late < 4; late++) {
		char *sql = text_format("UPDATE inputs SET opens = opens + 1 WHERE late = %d", late);
		must(db_exec(lineage_db(l), sql, &e));
		CHECK_INT(verify(NULL), 1);
		free(sql);
		must(db_exec(lineage_db(l), "UPDATE inputs SET opens = 1", &e));
	}
	clean();
}

/* Totals are what most questions are answered from, before anything is sealed too. */
TEST(totals_of_a_run_under_way_are_measured_by_its_reads)
{
	static const char *const changes[] = { "UPDATE inputs SET opens = 1", "DELETE FROM inputs", "UPDATE inputs SET bytes = 0", "DELETE FROM reads WHERE file = 1" };
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		fresh();
		add_run("a", NULL);
		for (int k = 0; k < 3; k++)
			add_read("a", "s/p/1.0.0", k ? "f" : "g", LINEAGE_SERVED, START + k);
		CHECK_INT(verify(NULL), 0);
		must(db_exec(lineage_db(l), changes[i], &e));
		if (verify(NULL) != 1)
			CHECK_FAIL("not found: %s", changes[i]);
		clean();
	}
}

TEST(a_clock_that_was_set_back_is_noted)
{
	fresh();
	three_runs();
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(notes, 1); /* the gap */
	add_run("d", NULL);
	add_read("d", "s/p/1.0.0", "f", LINEAGE_SERVED, START - DAY);
	end_and_seal("d", START - DAY + 7);
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(notes, 3); /* its seal, and the run */
	clean();
}

TEST(a_truncated_or_rewritten_chain_is_found_with_the_kept_head)
{
	struct lineage_head kept;
	fresh();
	three_runs();
	CHECK_OK(lineage_seal_head(l, &kept, &e), &e);
	CHECK_INT(kept.seq, 8);
	CHECK_INT(verify(&kept), 0);
	CHECK_OK(db_exec(lineage_db(l), "DELETE FROM seals WHERE run LIKE '%99'; DELETE FROM runs WHERE name = 'c'; DELETE FROM reads WHERE run = 3;"
					 "DELETE FROM inputs WHERE run = 3; DELETE FROM artifacts WHERE run LIKE '%99'", &e), &e);
	CHECK_INT(verify(NULL), 0); /* a tail cut off cleanly cannot be seen from inside */
	CHECK_INT(verify(&kept), 1);
	add_run("d", NULL);
	add_read("d", "sales/orders/1.2.0", "x", LINEAGE_SERVED, START);
	end_and_seal("d", START + 5);
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(verify(&kept), 1); /* another chain of the same length */
	clean();
}

TEST(late_reads_and_long_runs_are_sealed_by_parts)
{
	fresh();
	add_run("a", NULL);
	add_read("a", "s/p/1.0.0", "f", LINEAGE_SERVED, START + 5);
	add_read("a", "s/p/1.0.0", "f", LINEAGE_SERVED, START + DAY + 5);
	must(lineage_begin(l, &e));
	must(lineage_seal_due(l, START + 2 * DAY + 1, &e)); /* still under way: two days are over */
	must(lineage_commit(l, &e));
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'reads'"), 2);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'end'"), 0);
	add_read("a", "s/p/1.0.0", "f", LINEAGE_SERVED, START + 6); /* late: goes to the first open part */
	CHECK_INT(ask("SELECT max(part) FROM reads"), 2);
	CHECK_INT(verify(NULL), 0);
	end_and_seal("a", START + 2 * DAY + 9);
	add_read("a", "s/p/1.0.0", "g", LINEAGE_SERVED, START + 7); /* later than the end */
	must(lineage_begin(l, &e));
	must(lineage_seal_due(l, START + 2 * DAY + 10, &e));
	must(lineage_commit(l, &e));
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'end'"), 2);
	CHECK_INT(ask("SELECT sum(files) FROM inputs"), 2);
	CHECK_INT(ask("SELECT sum(opens) FROM inputs"), 4);
	CHECK_OK(db_exec(lineage_db(l), "UPDATE reads SET opens = 9 WHERE part = 1", &e), &e);
	CHECK_INT(verify(NULL), 1);
	clean();
}

static struct lineage_prune prune(int64_t before_ns, int64_t rows_max, bool dry_run)
{
	struct lineage_prune p = { .before_ns = before_ns, .now_ns = START + 4 * DAY, .rows_max = rows_max, .dry_run = dry_run };
	must(lineage_prune(l, &p, &e));
	return p;
}

TEST(pruning_leaves_the_seals)
{
	fresh();
	three_runs();
	add_run("d", NULL);
	add_read("d", "sales/orders/2.0.0", "x", LINEAGE_SERVED, START + 2 * DAY);
	end_and_seal("d", START + 3 * DAY);
	struct lineage_prune p = prune(START + DAY, 0, true);
	CHECK_INT(p.runs, 3);
	CHECK_INT(p.rows, 15);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 16);
	p = prune(START + DAY, 0, false);
	CHECK_INT(p.runs, 3);
	CHECK_INT(p.rows, 15);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 1);
	CHECK_INT(ask("SELECT count(*) FROM files"), 1);
	CHECK_INT(ask("SELECT count(*) FROM inputs"), 4);
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(prune(START + DAY, 0, false).runs, 0);
	CHECK_OK(db_exec(lineage_db(l), "DELETE FROM seals WHERE kind = 'prune' AND seq = (SELECT max(seq) FROM seals)", &e), &e);
	CHECK(verify(NULL) > 0);
	clean();
}

/* Deleting rows that were edited would delete what shows it. */
TEST(what_was_changed_is_not_pruned)
{
	fresh();
	three_runs();
	must(db_exec(lineage_db(l), "UPDATE reads SET opens = 9 WHERE run = 2 AND file = 1", &e));
	struct lineage_prune p = prune(START + DAY, 0, false);
	CHECK_INT(p.runs, 2);
	CHECK_INT(p.changed, 1);
	CHECK_INT(p.rows, 10);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 5);
	CHECK_INT(verify(NULL), 1);
	must(db_exec(lineage_db(l), "UPDATE reads SET opens = 1 WHERE run = 2 AND file = 1", &e));
	p = prune(START + DAY, 0, false);
	CHECK_INT(p.changed, 0);
	CHECK_INT(p.rows, 5);
	CHECK_INT(verify(NULL), 0);
	must(db_exec(lineage_db(l), "UPDATE runs SET pruned_ns = NULL WHERE id = 1", &e)); /* it would be passed over, not named as gone */
	CHECK_INT(verify(NULL), 1);
	clean();
}

TEST(pruning_goes_on_where_it_stopped)
{
	fresh();
	three_runs();
	struct lineage_prune p = prune(START + DAY, 1, false);
	int64_t rows = p.rows;
	CHECK(p.more && p.runs == 1 && rows < 15);
	CHECK_INT(verify(NULL), 0);
	for (int i = 0; p.more && i < 5; i++) {
		p = prune(START + DAY, 1, false);
		rows += p.rows;
	}
	CHECK_INT(rows, 15);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 0);
	CHECK_INT(verify(NULL), 0);
	clean();
}

TEST(old_days_of_a_run_under_way_are_pruned)
{
	fresh();
	add_run("a", NULL);
	for (int day = 0; day < 4; day++)
		add_read("a", "s/p/1.0.0", day == 3 ? "g" : "f", LINEAGE_SERVED, START + day * DAY + 5);
	struct lineage_prune p = prune(START + 2 * DAY + 10, 0, false);
	CHECK_INT(p.runs, 1);
	CHECK_INT(p.rows, 2);
	CHECK_INT(ask("SELECT min(part) FROM reads"), 2);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 2);
	CHECK_INT(ask("SELECT opens FROM inputs"), 4);
	CHECK_INT(ask("SELECT count(*) FROM processes"), 1);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'prune'"), 2);
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(prune(START + 2 * DAY + 10, 0, false).rows, 0);
	end_and_seal("a", START + 4 * DAY);
	CHECK_INT(prune(START + 3 * DAY + 10, 0, false).rows, 1); /* it ended later, but that day was over */
	CHECK_INT(verify(NULL), 0);
	p = prune(START + 9 * DAY, 0, false); /* pruned before, but not wholly */
	CHECK_INT(p.rows, 1);
	CHECK_INT(ask("SELECT count(*) FROM reads"), 0);
	CHECK_INT(ask("SELECT count(*) FROM processes"), 0);
	CHECK_INT(verify(NULL), 0);
	clean();
}

/* -- graph ----------------------------------------------------------------------------------- */

static int has(const struct lineage_graph *g, const char *label)
{
	for (size_t i = 0; i < g->count; i++)
		if (!strcmp(g->nodes[i].label, label))
			return 1;
	return 0;
}

/* a: raw → clean.  b: clean + ref → joined.  c: joined → features.  d (inside e): features → output.  f: raw, refused. */
static void chain(void)
{
	publish(NULL, "ops/raw/1.0.0");
	publish(NULL, "ref/zip/1.0.0");
	add_run("a", NULL);
	add_read("a", "ops/raw/1.0.0", "r.csv", LINEAGE_SERVED, START);
	publish("a", "ops/clean/1.0.0");
	add_run("b", NULL);
	add_read("b", "ops/clean/1.0.0", "c.csv", LINEAGE_SERVED, START);
	add_read("b", "ref/zip/1.0.0", "z.csv", LINEAGE_SERVED, START);
	publish("b", "sales/joined/1.0.0");
	add_run("c", NULL);
	add_read("c", "sales/joined/1.0.0", "j.csv", LINEAGE_SERVED, START);
	publish("c", "ml/features/1.0.0");
	add_run("e", NULL);
	add_run("d", "e");
	add_read("d", "ml/features/1.0.0", "f.csv", LINEAGE_SERVED, START);
	must(lineage_artifact_add(l, id_of("e"), "/models/m.bin", "abcd", 3, START, &e));
	add_run("f", NULL);
	add_read("f", "ops/raw/1.0.0", "r.csv", LINEAGE_DENIED, START);
	add_run("g", NULL);
	add_read("g", "ops/raw/1.0.0", "other.csv", LINEAGE_SERVED, START);
}

TEST(up_and_down_over_steps_and_domains)
{
	struct lineage_graph *g;
	fresh();
	chain();
	CHECK_OK(lineage_walk(l, "/models/m.bin", false, &g, &e), &e);
	static const char *const all[] = { "/models/m.bin", "e", "d", "ml/features/1.0.0", "c", "sales/joined/1.0.0", "b", "ops/clean/1.0.0",
					   "ref/zip/1.0.0", "a", "ops/raw/1.0.0" };
	CHECK_INT(g->count, 11);
	for (int i = 0; i < 11; i++)
		CHECK(has(g, all[i]));
	CHECK_INT(g->edge_count, 10);
	lineage_graph_free(g);
	CHECK_OK(lineage_walk(l, "ref/zip", true, &g, &e), &e);
	CHECK_INT(g->count, 8); /* zip b joined c features d e model */
	CHECK(has(g, "/models/m.bin") && !has(g, "a") && !has(g, "ops/clean/1.0.0"));
	lineage_graph_free(g);
	CHECK_OK(lineage_walk(l, "ops/raw/1.0.0/r.csv", true, &g, &e), &e);
	CHECK(has(g, "a") && !has(g, "f") && !has(g, "g"));
	lineage_graph_free(g);
	CHECK_OK(lineage_walk(l, "ops/raw/1.0.0", true, &g, &e), &e);
	CHECK(has(g, "a") && !has(g, "f") && has(g, "g"));
	lineage_graph_free(g);
	CHECK_INT(lineage_walk(l, "ops/none/1.0.0", true, &g, &e), -ENOENT);
	clean();
}

TEST(selectors_become_the_newest_version)
{
	char *address;
	fresh();
	publish(NULL, "s/p/1.9.0");
	publish(NULL, "s/p/1.10.0");
	publish(NULL, "s/p/2.0.0");
	CHECK_OK(lineage_resolve(l, "s/p/1/a.csv", &address, &e), &e);
	CHECK_STR(address, "s/p/1.10.0/a.csv");
	free(address);
	CHECK_OK(lineage_resolve(l, "s/p/latest", &address, &e), &e);
	CHECK_STR(address, "s/p/2.0.0");
	free(address);
	CHECK_OK(lineage_resolve(l, "s/p/9.9.9", &address, &e), &e);
	CHECK_STR(address, "s/p/9.9.9");
	free(address);
	CHECK_INT(lineage_resolve(l, "s/p/3", &address, &e), -ENOENT);
	clean();
}

/* -- queries --------------------------------------------------------------------------------- */

static int count_read(void *arg, const struct lineage_read_row *row)
{
	*(int64_t *)arg += row->opens;
	return 0;
}

static int64_t opens(const char *run, const char *address, int outcome)
{
	struct lineage_filter f = { run, address, outcome };
	int64_t n = 0;
	return lineage_reads(l, &f, count_read, &n, &e) ? -1 : n;
}

TEST(reads_are_found_by_run_address_and_outcome)
{
	fresh();
	add_run("a", NULL);
	add_run("b", NULL);
	add_read("a", "s/p/1.0.0", "x/one.csv", LINEAGE_SERVED, START);
	add_read("a", "s/p/1.0.0", "x/one.csv", LINEAGE_SERVED, START + DAY);
	add_read("a", "s/p/1.0.0", "xy", LINEAGE_SERVED, START);
	add_read("a", "s/p2/1.0.0", "x", LINEAGE_SERVED, START);
	add_read("b", "s/p/1.0.1", "x", LINEAGE_DENIED, START);
	CHECK_INT(opens(NULL, NULL, 0), 5);
	CHECK_INT(opens("a", NULL, 0), 4);
	CHECK_INT(opens(id_of("a"), NULL, 0), 4);
	CHECK_INT(opens(NULL, "s", 0), 5);
	CHECK_INT(opens(NULL, "s/p", 0), 4);
	CHECK_INT(opens(NULL, "s/p/1.0.0", 0), 3);
	CHECK_INT(opens(NULL, "s/p/1.0.0/x", 0), 2);
	CHECK_INT(opens(NULL, "s/p/1.0.0/x/one.csv", 0), 2);
	CHECK_INT(opens(NULL, NULL, LINEAGE_DENIED), 1);
	CHECK_INT(opens("nobody", NULL, 0), -1);
	CHECK_INT(e.kind, ERR_ABSENT);
	clean();
}

/* -- earlier formats --------------------------------------------------------------------------- */

/* As format 1 had it: no groups, days before files, refusals among the other decisions. */
static const char format_1[] =
	"DROP VIEW mesh_runs; ALTER TABLE runs DROP COLUMN groups; CREATE VIEW mesh_runs AS SELECT uuid AS run FROM runs;"
	"DROP VIEW mesh_reads; CREATE TABLE old(run INTEGER NOT NULL, part INTEGER NOT NULL, file INTEGER NOT NULL, decision INTEGER NOT NULL,"
	" process INTEGER NOT NULL, opens INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,"
	" PRIMARY KEY(run, part, file, decision)) WITHOUT ROWID;"
	"INSERT INTO old SELECT run, part, file, iif(decision < 0, 100, decision), process, opens, bytes, first_ns, last_ns FROM reads;"
	"DROP TABLE reads; ALTER TABLE old RENAME TO reads; CREATE INDEX reads_by_file ON reads(file); CREATE VIEW mesh_reads AS SELECT run FROM reads;"
	"UPDATE inputs SET decision = 100 WHERE decision < 0; UPDATE decisions SET id = 100 WHERE id < 0; DROP INDEX runs_pruned; DROP INDEX versions_by_product;"
	"PRAGMA user_version = 1";

/* As format 2 had it: what came late was added to the inputs that were sealed, so that each seal of a run was of all of them. */
static const char format_2[] =
	"DROP VIEW mesh_runs; DROP VIEW mesh_inputs; CREATE TABLE old_inputs(run INTEGER NOT NULL, version INTEGER NOT NULL, decision INTEGER NOT NULL, files INTEGER NOT NULL,"
	" opens INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, PRIMARY KEY(run, version, decision)) WITHOUT ROWID;"
	"INSERT INTO old_inputs SELECT run, version, decision, files, opens, bytes, first_ns, last_ns FROM inputs;"
	"DROP TABLE inputs; ALTER TABLE old_inputs RENAME TO inputs; CREATE VIEW mesh_inputs AS SELECT run FROM inputs; CREATE VIEW mesh_runs AS SELECT uuid AS run FROM runs;"
	"DELETE FROM seals WHERE kind IN ('view', 'gap'); UPDATE seals SET kind = 'run' WHERE kind = 'end';"
	"CREATE TABLE old_seals AS SELECT row_number() OVER (ORDER BY seq) AS n, * FROM seals; DELETE FROM seals;"
	"INSERT INTO seals SELECT n, kind, run, part, row_count, digest, chain, sealed_ns FROM old_seals; DROP TABLE old_seals;"
	"PRAGMA user_version = 2";

static void chain_anew(void)
{
	struct db_stmt *s;
	char before[SHA256_HEX_SIZE] = SEAL_NO_CHAIN;
	must(db_prepare(lineage_db(l), "SELECT seq, kind, run, part, row_count, digest, sealed_ns FROM seals ORDER BY seq", &s, &e));
	while (db_step(s, &e) == DB_ROW) {
		struct seal seal = { .seq = db_int(s, 0), .kind = db_text(s, 1), .run = db_text(s, 2), .part = db_int(s, 3), .rows = db_int(s, 4),
				     .sealed_ns = db_int(s, 6) };
		snprintf(seal.digest, sizeof seal.digest, "%s", db_text(s, 5));
		seal_chain(before, &seal, before);
		char *sql = text_format("UPDATE seals SET chain = '%s' WHERE seq = %d", before, (int)seal.seq);
		must(db_exec(lineage_db(l), sql, &e));
		free(sql);
	}
	db_finalize(s);
}

static void of_format(int format)
{
	must(db_exec(lineage_db(l), format_2, &e));
	chain_anew();
	if (format == 1)
		must(db_exec(lineage_db(l), format_1, &e));
	lineage_close(l);
	must(lineage_open(db_path, &l, &e));
}

static int count_denied(void *arg, const struct lineage_read_row *row)
{
	if (!strcmp(row->outcome, "denied") && row->opens == 1)
		++*(int *)arg;
	return 0;
}

TEST(a_database_of_the_first_format_is_taken_over)
{
	int denied = 0;
	struct lineage_filter refused = { .outcome = LINEAGE_DENIED };
	fresh();
	three_runs();
	add_run("z", NULL);
	add_read("z", "sales/orders/1.2.0", "part-0.csv", LINEAGE_DENIED, START + 1);
	add_read("z", "sales/orders/1.2.0", "part-0.csv", LINEAGE_SERVED, START + DAY + 1);
	end_and_seal("z", START + 2 * DAY);
	of_format(1);
	CHECK(verify(NULL) == 0);
	CHECK(ask("SELECT count(*) FROM reads") == 17);
	must(lineage_reads(l, &refused, count_denied, &denied, &e));
	CHECK(denied == 1);
	CHECK(ask("SELECT count(*) FROM mesh_runs WHERE groups IS NULL") == 4);
	CHECK(ask("SELECT count(*) FROM mesh_inputs WHERE outcome = 'denied'") == 1);
	clean();
}

/* A run goes on with the seals it began with: the newest is of all it read. */
TEST(a_database_of_the_second_format_is_taken_over)
{
	fresh();
	three_runs();
	of_format(2);
	CHECK_INT(verify(NULL), 0);
	seal_at(START + 2000); /* the view and the gap */
	add_read("a", "sales/orders/1.2.0", "late", LINEAGE_SERVED, START + 9);
	add_run("d", NULL);
	add_read("d", "sales/orders/1.2.0", "part-0.csv", LINEAGE_SERVED, START);
	end_and_seal("d", START + 2000);
	CHECK_INT(verify(NULL), 0);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'run'"), 4);
	CHECK_INT(ask("SELECT count(*) FROM seals WHERE kind = 'end'"), 1);
	CHECK_INT(ask("SELECT count(*) FROM inputs WHERE late > 0"), 0);
	must(db_exec(lineage_db(l), "UPDATE runs SET purpose = 'x' WHERE name = 'a'", &e));
	CHECK_INT(verify(NULL), 1);
	clean();
}

/* -- docs/LINEAGE.md ------------------------------------------------------------------------- */

static void view_columns(const char *view, char ret[512])
{
	char *sql = text_format("SELECT group_concat(name, ' ') FROM pragma_table_info('%s')", view);
	struct db_stmt *s;
	ret[0] = '\0';
	if (sql && !db_prepare(lineage_db(l), sql, &s, &e)) {
		if (db_step(s, &e) == DB_ROW && db_text(s, 0))
			snprintf(ret, 512, "%s", db_text(s, 0));
		db_finalize(s);
	}
	free(sql);
}

TEST(the_manual_lists_the_views)
{
	static const char *const names[] = { "mesh_runs", "mesh_reads", "mesh_inputs", "mesh_publications", "mesh_artifacts", "mesh_gaps", "mesh_seals" };
	struct buf text = BUF_INIT;
	fresh();
	CHECK_OK(io_read_file("docs/LINEAGE.md", 1 << 20, &text, &e), &e);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char columns[512];
		view_columns(names[i], columns);
		CHECK(columns[0]);
		char *row = text_format("| `%s` | %s |\n", names[i], columns);
		if (!strstr(buf_text(&text), row))
			CHECK_FAIL("not in the manual: %s", row);
		free(row);
	}
	buf_free(&text);
	clean();
}

CHECK_MAIN()
