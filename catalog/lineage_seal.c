#include "catalog/lineage_seal.h"

#include "catalog/base/buf.h"
#include "catalog/db.h"
#include "catalog/lineage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_CHAIN "0000000000000000000000000000000000000000000000000000000000000000"

/* -- digests --------------------------------------------------------------------------------- */

/* Every column of every row, each with its length, so that no two contents have one text. */
static int digest_rows(struct db_stmt *s, int columns, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct sha256 *h = sha256_new();
	struct buf b = BUF_INIT;
	int64_t rows = 0;
	int r = h ? 0 : err_set(e, -ENOMEM, "no memory for a digest");
	while (!r && (r = db_step(s, e)) == DB_ROW) {
		buf_clear(&b);
		for (int i = 0; i < columns; i++) {
			size_t len = 0;
			const char *text = db_text_n(s, i, &len);
			if (!text) {
				buf_adds(&b, "-,");
				continue;
			}
			buf_addf(&b, "%zu:", len);
			buf_add(&b, text, len);
			buf_addc(&b, ',');
		}
		buf_addc(&b, '\n');
		r = buf_check(&b);
		if (r)
			err_set(e, r, "no memory for a digest");
		else
			sha256_update(h, b.data, b.len);
		rows++;
	}
	struct digest d;
	if (h)
		sha256_final(h, &d);
	if (!r) {
		hex_format(d.bytes, sizeof d.bytes, ret);
		*ret_rows = rows;
	}
	sha256_free(h);
	buf_free(&b);
	return r;
}

#define PART_ROWS \
	"SELECT v.address, f.path, d.outcome, d.view, d.policy, d.rules, p.pid, p.started_ns, p.exe, p.command, x.opens, x.bytes, x.first_ns, x.last_ns" \
	" FROM runs r CROSS JOIN reads x ON x.run = r.id CROSS JOIN files f ON f.id = x.file CROSS JOIN versions v ON v.id = f.version" \
	" CROSS JOIN decisions d ON d.id = x.decision LEFT JOIN processes p ON p.id = x.process WHERE r.uuid = ?1"
#define PART_ORDER " ORDER BY v.address, f.path, d.outcome, d.view, d.policy, d.rules"

static int digest_part(struct lineage *l, const char *run, int64_t part, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct db_stmt *s;
	/* The first day is looked for among all days of a run, the later ones through the index that holds only them. */
	static const char first_day[] = PART_ROWS " AND x.part = 0" PART_ORDER, later_day[] = PART_ROWS " AND x.part > 0 AND x.part = ?2" PART_ORDER;
	int r = db_cached(lineage_db(l),
			  part ? later_day : first_day, &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	if (part)
		db_bind_int(s, 2, part);
	r = digest_rows(s, 14, ret, ret_rows, e);
	db_reset(s);
	return r;
}

static int digest_run(struct lineage *l, const char *run, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l),
			   "SELECT 1, uuid, name, user, uid, purpose, command, parent, git_commit, params, host, mount, started_ns, ended_ns, exit_status"
			   " FROM runs WHERE uuid = ?1 UNION ALL SELECT 2, path, sha256, size, recorded_ns, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
			   " NULL, NULL FROM (SELECT * FROM artifacts WHERE run = ?1 ORDER BY path, sha256)"
			   " UNION ALL SELECT 3, v.address, d.outcome, d.view, d.policy, d.rules, i.files, i.opens, i.bytes, i.first_ns, i.last_ns, NULL,"
			   " NULL, NULL, NULL FROM (SELECT * FROM inputs WHERE run = (SELECT id FROM runs WHERE uuid = ?1)) i"
			   " JOIN versions v ON v.id = i.version JOIN decisions d ON d.id = i.decision UNION ALL SELECT 4, groups, NULL, NULL, NULL, NULL, NULL,"
			   " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM runs WHERE uuid = ?1 AND groups IS NOT NULL ORDER BY 1, 2, 3, 4, 5, 6",
			  &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	r = digest_rows(s, 15, ret, ret_rows, e);
	db_reset(s);
	return r;
}

/* -- the chain ------------------------------------------------------------------------------- */

struct seal {
	int64_t seq, part, rows, sealed_ns;
	const char *kind, *run;
	char digest[SHA256_HEX_SIZE];
};

static void chain_of(const char *before, const struct seal *s, char ret[SHA256_HEX_SIZE])
{
	struct digest d;
	char text[512];
	int n = snprintf(text, sizeof text, "%s\n%lld\n%s\n%.64s\n%lld\n%lld\n%s\n%lld\n", before, (long long)s->seq, s->kind, s->run,
			 (long long)s->part, (long long)s->rows, s->digest, (long long)s->sealed_ns);
	sha256_of(text, (size_t)n, &d);
	hex_format(d.bytes, sizeof d.bytes, ret);
}

int lineage_seal_head(struct lineage *l, struct lineage_head *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "SELECT seq, chain FROM seals ORDER BY seq DESC LIMIT 1", &s, e);
	if (r)
		return r;
	ret->seq = 0;
	strcpy(ret->chain, NO_CHAIN);
	r = db_step(s, e);
	if (r == DB_ROW) {
		ret->seq = db_int(s, 0);
		snprintf(ret->chain, sizeof ret->chain, "%s", db_text(s, 1) ? db_text(s, 1) : "");
	}
	db_reset(s);
	return r < 0 ? r : 0;
}

static int append_seal(struct lineage *l, struct seal *seal, struct err *e)
{
	struct lineage_head head;
	struct db_stmt *s;
	char chain[SHA256_HEX_SIZE];
	int r = lineage_seal_head(l, &head, e);
	if (r)
		return r;
	seal->seq = head.seq + 1;
	chain_of(head.chain, seal, chain);
	r = db_cached(lineage_db(l), "INSERT INTO seals(seq, kind, run, part, row_count, digest, chain, sealed_ns) VALUES(?, ?, ?, ?, ?, ?, ?, ?)", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, seal->seq);
	db_bind_text(s, 2, seal->kind);
	db_bind_text(s, 3, seal->run);
	db_bind_int(s, 4, seal->part);
	db_bind_int(s, 5, seal->rows);
	db_bind_text(s, 6, seal->digest);
	db_bind_text(s, 7, chain);
	db_bind_int(s, 8, seal->sealed_ns);
	return db_run(s, e);
}

/* -- sealing --------------------------------------------------------------------------------- */

struct due {
	char run[LINEAGE_RUN_SIZE];
	int64_t id, started_ns, sealed_parts, run_seals;
	bool ended;
};

/* Parts with rows that are over and not sealed yet, up to the day before `today` (all of an ended run). */
static int seal_parts(struct lineage *l, const struct due *d, int64_t now_ns, struct err *e)
{
	struct db_stmt *s;
	int64_t today = d->ended ? INT64_MAX : (now_ns - d->started_ns) / LINEAGE_PART_NS, next = d->sealed_parts;
	for (;;) {
		int r = db_cached(lineage_db(l),
				  "SELECT coalesce((SELECT part FROM reads WHERE run = ?1 AND part = 0 AND ?2 <= 0 AND 0 < ?3 LIMIT 1),"
				  " (SELECT min(part) FROM reads WHERE run = ?1 AND part > 0 AND part >= ?2 AND part < ?3)) AS due WHERE due IS NOT NULL",
				  &s, e);
		if (r)
			return r;
		db_bind_int(s, 1, d->id);
		db_bind_int(s, 2, next);
		db_bind_int(s, 3, today);
		r = db_step(s, e);
		int64_t part = r == DB_ROW ? db_int(s, 0) : 0;
		db_reset(s);
		if (r <= 0)
			return r;
		struct seal seal = { .kind = "reads", .run = d->run, .part = part, .sealed_ns = now_ns };
		r = digest_part(l, d->run, part, seal.digest, &seal.rows, e);
		if (!r)
			r = append_seal(l, &seal, e);
		if (!r)
			r = db_cached(lineage_db(l), "UPDATE runs SET sealed_parts = ? WHERE id = ?", &s, e);
		if (r)
			return r;
		next = part + 1;
		db_bind_int(s, 1, next);
		db_bind_int(s, 2, d->id);
		r = db_run(s, e);
		if (r)
			return r;
	}
}

static int seal_one(struct lineage *l, const struct due *d, int64_t now_ns, struct err *e)
{
	int r = seal_parts(l, d, now_ns, e);
	if (r || !d->ended)
		return r;
	struct seal seal = { .kind = "run", .run = d->run, .part = d->run_seals, .sealed_ns = now_ns };
	r = digest_run(l, d->run, seal.digest, &seal.rows, e);
	return r ? r : append_seal(l, &seal, e);
}

int lineage_seal_due(struct lineage *l, int64_t now_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(l),
			   "SELECT id, uuid, started_ns, sealed_parts, ended_ns IS NOT NULL, (SELECT count(*) FROM seals WHERE run = uuid AND kind = 'run')"
			   " FROM runs WHERE unsealed = 1 AND (ended_ns IS NOT NULL OR started_ns <= ?1)",
			   &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, now_ns - LINEAGE_PART_NS);
	struct due *due = NULL;
	size_t count = 0;
	while ((r = db_step(s, e)) == DB_ROW) {
		if (count % 64 == 0) {
			struct due *more = realloc(due, (count + 64) * sizeof *due);
			if (!more) {
				r = err_set(e, -ENOMEM, "no memory to seal the lineage");
				break;
			}
			due = more;
		}
		struct due *d = &due[count++];
		d->id = db_int(s, 0);
		snprintf(d->run, sizeof d->run, "%s", db_text(s, 1));
		d->started_ns = db_int(s, 2);
		d->sealed_parts = db_int(s, 3);
		d->ended = db_int(s, 4);
		d->run_seals = db_int(s, 5);
	}
	db_finalize(s);
	for (size_t i = 0; i < count && !r; i++) {
		r = seal_one(l, &due[i], now_ns, e);
		if (r || !due[i].ended)
			continue;
		r = db_cached(lineage_db(l), "UPDATE runs SET unsealed = 0 WHERE id = ?", &s, e);
		if (!r) {
			db_bind_int(s, 1, due[i].id);
			r = db_run(s, e);
		}
	}
	free(due);
	return r;
}

/* -- verifying ------------------------------------------------------------------------------- */

struct check {
	struct lineage *l;
	void (*found)(void *arg, const char *what);
	void *arg;
	int64_t offences;
};

static void offence(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void offence(struct check *c, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->offences++;
	c->found(c->arg, text);
}

static int has_seal(struct lineage *l, const char *sql, const struct seal *seal, bool *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), sql, &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, seal->run);
	db_bind_int(s, 2, seal->part);
	r = db_step(s, e);
	*ret = r == DB_ROW && db_int(s, 0);
	db_reset(s);
	return r < 0 ? r : 0;
}

/* Reads that came late gave the run a newer seal. */
static int is_superseded(struct lineage *l, const struct seal *seal, bool *ret, struct err *e)
{
	return has_seal(l, "SELECT EXISTS(SELECT 1 FROM seals WHERE run = ? AND kind = 'run' AND part > ?)", seal, ret, e);
}

static int is_pruned(struct lineage *l, const struct seal *seal, bool *ret, struct err *e)
{
	return has_seal(l, "SELECT EXISTS(SELECT 1 FROM seals WHERE run = ? AND kind = 'prune' AND part = ?)", seal, ret, e);
}

/* Do the rows still give the digest? */
static int check_content(struct check *c, const struct seal *seal, struct err *e)
{
	char digest[SHA256_HEX_SIZE];
	int64_t rows = 0;
	bool pruned = false;
	int r = 0;
	if (!strcmp(seal->kind, "run")) {
		r = is_superseded(c->l, seal, &pruned, e);
		if (r || pruned)
			return r;
		r = digest_run(c->l, seal->run, digest, &rows, e);
	} else if (!strcmp(seal->kind, "reads")) {
		r = is_pruned(c->l, seal, &pruned, e);
		if (!r)
			r = digest_part(c->l, seal->run, seal->part, digest, &rows, e);
	} else {
		return 0;
	}
	if (r)
		return r;
	if (pruned && rows)
		offence(c, "run %.64s day %lld: pruned, but %lld reads stand there", seal->run, (long long)seal->part, (long long)rows);
	else if (!pruned && rows != seal->rows)
		offence(c, "run %.64s %s %lld: %lld rows were sealed, %lld are there", seal->run, seal->kind, (long long)seal->part,
			(long long)seal->rows, (long long)rows);
	else if (!pruned && strcmp(digest, seal->digest) != 0)
		offence(c, "run %.64s %s %lld: its rows are not those that were sealed", seal->run, seal->kind, (long long)seal->part);
	return 0;
}

static int check_seals(struct check *c, const struct lineage_head *kept, int64_t *ret_seals, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(c->l), "SELECT seq, kind, run, part, row_count, digest, chain, sealed_ns FROM seals ORDER BY seq", &s, e);
	if (r)
		return r;
	char before[SHA256_HEX_SIZE] = NO_CHAIN, chain[SHA256_HEX_SIZE];
	int64_t expected = 1;
	bool held = !kept || kept->seq == 0;
	while ((r = db_step(s, e)) == DB_ROW) {
		const char *digest = db_text(s, 5), *stored = db_text(s, 6);
		struct seal seal = { .seq = db_int(s, 0), .kind = db_text(s, 1), .run = db_text(s, 2), .part = db_int(s, 3), .rows = db_int(s, 4),
				     .sealed_ns = db_int(s, 7) };
		snprintf(seal.digest, sizeof seal.digest, "%s", digest ? digest : "");
		if (seal.seq != expected)
			offence(c, "seals %lld to %lld are missing", (long long)expected, (long long)seal.seq - 1);
		chain_of(before, &seal, chain);
		if (!stored || strcmp(chain, stored) != 0)
			offence(c, "seal %lld (run %.64s) does not continue the chain: it, or one before it, was changed", (long long)seal.seq, seal.run);
		if (kept && kept->seq == seal.seq) {
			held = stored && !strcmp(kept->chain, stored);
			if (!held)
				offence(c, "seal %lld is not the one that was kept: the chain was rewritten", (long long)seal.seq);
			held = true;
		}
		r = check_content(c, &seal, e);
		if (r)
			break;
		snprintf(before, sizeof before, "%s", stored ? stored : "");
		expected = seal.seq + 1;
	}
	db_finalize(s);
	if (!r && !held)
		offence(c, "the chain ends at seal %lld, but seal %lld was kept: it was truncated", (long long)expected - 1, (long long)kept->seq);
	*ret_seals = expected - 1;
	return r;
}

/* Rows that no seal covers although their run and day were sealed; totals that do not fit their rows. */
static int check_rest(struct check *c, struct err *e)
{
	static const struct {
		const char *sql, *what;
	} rules[] = {
		{ "SELECT DISTINCT r.uuid FROM (SELECT DISTINCT run, part FROM reads) x CROSS JOIN runs r ON r.id = x.run WHERE x.part < r.sealed_parts"
		  " AND NOT EXISTS(SELECT 1 FROM seals s WHERE s.run = r.uuid AND s.kind = 'reads' AND s.part = x.part)",
		  "reads were added to a day that was sealed" },
		{ "SELECT DISTINCT s.run FROM seals s WHERE NOT EXISTS(SELECT 1 FROM runs r WHERE r.uuid = s.run)", "sealed, but its row is gone" },
		{ "SELECT r.uuid FROM runs r WHERE r.unsealed = 0 AND NOT EXISTS(SELECT 1 FROM seals s WHERE s.run = r.uuid AND s.kind = 'run')",
		  "its seal is gone" },
	};
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct db_stmt *s;
		int r = db_prepare(lineage_db(c->l), rules[i].sql, &s, e);
		if (r)
			return r;
		while ((r = db_step(s, e)) == DB_ROW) {
			offence(c, "run %.64s: %s", db_text(s, 0) ? db_text(s, 0) : "?", rules[i].what);
		}
		db_finalize(s);
		if (r)
			return r;
	}
	return 0;
}

int lineage_verify(struct lineage *l, const struct lineage_head *kept, void (*found)(void *arg, const char *what), void *arg,
		   int64_t *ret_seals, struct err *e)
{
	struct check c = { l, found, arg, 0 };
	int r = check_seals(&c, kept, ret_seals, e);
	if (!r)
		r = check_rest(&c, e);
	if (!r && c.offences)
		r = err_set(e, -EBADMSG, "%s: %lld places were changed after they were sealed", lineage_path(l), (long long)c.offences);
	return r;
}

/* -- pruning (lineage_prune.c) ------------------------------------------------------------------ */

int lineage_seal_pruned(struct lineage *l, const char *run, int64_t part, int64_t now_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "SELECT row_count, digest FROM seals WHERE run = ?1 AND kind = 'reads' AND part = ?2", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	db_bind_int(s, 2, part);
	r = db_step(s, e);
	struct seal seal = { .kind = "prune", .run = run, .part = part, .rows = r == DB_ROW ? db_int(s, 0) : 0, .sealed_ns = now_ns };
	snprintf(seal.digest, sizeof seal.digest, "%s", r == DB_ROW && db_text(s, 1) ? db_text(s, 1) : "");
	db_reset(s);
	return r < 0 ? r : append_seal(l, &seal, e);
}
