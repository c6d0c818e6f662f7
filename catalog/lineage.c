#include "catalog/lineage.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the reads of a transaction add to a row of `inputs`. */
struct input_sum {
	struct lineage_context_ids context;
	int64_t files, opens, bytes, first_ns, last_ns;
	bool any;
};

struct lineage {
	struct db *db;
	char *path;
	struct input_sum sum; /* not written yet: reads come by the thousand, and of few runs, versions and decisions */
};

static int refuse_network(const char *path, struct err *e)
{
	char *folder = strdup(path);
	if (!folder)
		return err_set(e, -ENOMEM, "no memory for a path");
	char *slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	int r = io_is_network(slash ? folder : ".");
	if (r < 0)
		r = err_set_kind(e, ERR_FAIL, r, "%s: the lineage database's folder cannot be used: %s", path, strerror(-r));
	else if (r)
		r = err_set(e, -EOPNOTSUPP, "%s: the lineage database must be on a local disk, this is a network file system; set lineage.db in mesh.yaml",
			    path);
	free(folder);
	return r;
}

/* Who read what concerns its owner alone.  SQLite would make the file readable to all; what it makes beside it takes the file's mode. */
static void make_private(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static int advise(struct err *e, int code)
{
	switch (code) {
	case -EROFS:
	case -EACCES:
	case -EPERM:
	case -ENOENT:
		return err_advise(e, code, "who asks the record writes there too: set lineage.db in the mesh file to where you can write, or to a copy there");
	case -EISDIR:
	case -ENOTDIR:
		return err_advise(e, code, "set lineage.db in the mesh file to a file");
	case -EBADMSG:
		return err_advise(e, code, "put a copy from before in its place, or move it away: a new one is made, and what waits in its journals is kept");
	default:
		return code;
	}
}

int lineage_open(const char *path, struct lineage **ret, struct err *e)
{
	struct lineage *l = calloc(1, sizeof *l);
	if (!l)
		return err_set(e, -ENOMEM, "no memory for the lineage database");
	l->path = strdup(path);
	int r = l->path ? 0 : err_set(e, -ENOMEM, "no memory for the lineage database");
	if (!r)
		r = io_make_parents(path, 0700, e);
	if (!r)
		r = refuse_network(path, e);
	if (!r)
		make_private(path); /* what fails here fails in db_open, which says why */
	if (!r)
		r = db_open(path, DB_CREATE, &l->db, e);
	if (!r)
		r = lineage_schema_accept(l->db, l->path, e); /* nothing is written to what is not ours */
	if (!r)
		r = db_exec(l->db, "PRAGMA journal_mode = wal; PRAGMA synchronous = normal", e);
	if (!r)
		r = lineage_schema_make(l->db, l->path, e);
	if (r) {
		advise(e, r);
		lineage_close(l);
		if (e && e->kind == ERR_ABSENT)
			e->kind = ERR_FAIL; /* what was asked about may well exist: the record of it cannot be opened */
	} else {
		*ret = l;
	}
	return r;
}

void lineage_close(struct lineage *l)
{
	if (!l)
		return;
	db_close(l->db);
	free(l->path);
	free(l);
}

struct db *lineage_db(struct lineage *l)
{
	return l->db;
}

const char *lineage_path(const struct lineage *l)
{
	return l->path;
}

static bool same_input(const struct lineage_context_ids *a, const struct lineage_context_ids *b)
{
	return a->run == b->run && a->version == b->version && a->decision == b->decision && a->late == b->late;
}

static int write_sum(struct lineage *l, struct err *e)
{
	struct input_sum *sum = &l->sum;
	struct db_stmt *s;
	if (!sum->any)
		return 0;
	int r = db_cached(l->db,
			  "INSERT INTO inputs(run, version, decision, late, files, opens, bytes, first_ns, last_ns) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)"
			  " ON CONFLICT DO UPDATE SET files = files + excluded.files, opens = opens + excluded.opens, bytes = bytes + excluded.bytes,"
			  " first_ns = min(first_ns, excluded.first_ns), last_ns = max(last_ns, excluded.last_ns)",
			  &s, e);
	if (r)
		return r;
	const int64_t values[] = { sum->context.run, sum->context.version, sum->context.decision, sum->context.late, sum->files,
				   sum->opens, sum->bytes, sum->first_ns, sum->last_ns };
	for (int i = 0; i < 9; i++)
		db_bind_int(s, i + 1, values[i]);
	sum->any = false;
	return db_run(s, e);
}

int lineage_begin(struct lineage *l, struct err *e)
{
	l->sum.any = false;
	return db_begin(l->db, e);
}

int lineage_commit(struct lineage *l, struct err *e)
{
	int r = write_sum(l, e);
	return r ? r : db_commit(l->db, e);
}

void lineage_rollback(struct lineage *l)
{
	l->sum.any = false;
	db_rollback(l->db);
}

/* -- runs ------------------------------------------------------------------------------------ */

int lineage_run_insert(struct lineage *l, const struct lineage_run *run, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db,
			  "INSERT INTO runs(uuid, name, user, uid, purpose, command, parent, git_commit, params, host, mount, owner, groups, started_ns)"
			  " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			  &s, e);
	if (r)
		return r;
	const char *texts[] = { run->purpose, run->command, run->parent, run->git_commit, run->params ? run->params : "{}",
				run->host, run->mount, run->owner, run->groups };
	db_bind_text(s, 1, run->id);
	db_bind_text(s, 2, run->name);
	db_bind_text(s, 3, run->user ? run->user : "");
	db_bind_int(s, 4, run->uid);
	for (int i = 0; i < 9; i++)
		db_bind_text(s, 5 + i, texts[i]);
	db_bind_int(s, 14, run->started_ns);
	return db_run(s, e);
}

int lineage_run_finish(struct lineage *l, const char *id, int exit_status, int64_t ended_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "UPDATE runs SET ended_ns = ?, exit_status = ? WHERE uuid = ? AND ended_ns IS NULL", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, ended_ns);
	db_bind_int(s, 2, exit_status);
	db_bind_text(s, 3, id);
	r = db_run(s, e);
	if (!r && !db_changes(l->db))
		r = err_set(e, -ENOENT, "%s: no such run is under way", id);
	return r;
}

int lineage_run_open(struct lineage *l, const char *id, char **ret_owner, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT owner, ended_ns IS NULL FROM runs WHERE uuid = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, id);
	r = db_step(s, e);
	if (r == 0)
		r = err_set(e, -ENOENT, "%s: no such run in %s", id, l->path);
	else if (r == DB_ROW && !db_int(s, 1))
		r = err_set(e, -ESRCH, "run %s has ended; start a new one", id);
	else if (r == DB_ROW && ret_owner)
		r = (*ret_owner = strdup(db_text(s, 0) ? db_text(s, 0) : "")) ? 0 : err_set(e, -ENOMEM, "no memory for a run's owner");
	db_reset(s);
	return r < 0 ? r : 0;
}

static int reap_one(struct lineage *l, int64_t id, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db,
			  "UPDATE runs SET ended_ns = max(started_ns, coalesce((SELECT max(last_ns) FROM inputs WHERE inputs.run = runs.id), 0))"
			  " WHERE id = ?",
			  &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, id);
	return db_run(s, e);
}

int lineage_runs_reap(struct lineage *l, bool (*alive)(void *arg, const char *owner), void *arg, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(l->db, "SELECT id, owner FROM runs WHERE ended_ns IS NULL AND owner IS NOT NULL", &s, e);
	if (r)
		return r;
	int64_t *dead = NULL;
	size_t count = 0;
	while ((r = db_step(s, e)) == DB_ROW) {
		if (alive(arg, db_text(s, 1)))
			continue;
		int64_t *more = realloc(dead, (count + 1) * sizeof *dead);
		if (!more) {
			r = err_set(e, -ENOMEM, "no memory for the list of runs");
			break;
		}
		dead = more;
		dead[count++] = db_int(s, 0);
	}
	db_finalize(s);
	for (size_t i = 0; i < count && !r; i++)
		r = reap_one(l, dead[i], e);
	free(dead);
	return r;
}

/* -- reads ----------------------------------------------------------------------------------- */

/* Finds the id that `select` gives for the bound texts, else inserts with `insert` (same parameters). */
static int text_id(struct lineage *l, const char *select, const char *insert, const char *const *texts, int count, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, select, &s, e);
	if (r)
		return r;
	for (int i = 0; i < count; i++)
		db_bind_text(s, i + 1, texts[i]);
	r = db_step(s, e);
	if (r == DB_ROW)
		*ret = db_int(s, 0);
	db_reset(s);
	if (r)
		return r < 0 ? r : 0;
	r = db_cached(l->db, insert, &s, e);
	if (r)
		return r;
	for (int i = 0; i < count; i++)
		db_bind_text(s, i + 1, texts[i]);
	r = db_run(s, e);
	if (!r)
		*ret = db_last_id(l->db);
	return r;
}

/* "sales/orders/1.2.0": up to the last slash, and after it. */
static const char version_insert[] =
	"INSERT INTO versions(address, product, version) VALUES(?1, rtrim(rtrim(?1, replace(?1, '/', '')), '/'),"
	" replace(?1, rtrim(?1, replace(?1, '/', '')), ''))";

/* A journal may name a run that the database does not know (it was replaced meanwhile): the reads are kept all the same. */
static int run_id(struct lineage *l, const char *uuid, struct lineage_context_ids *ret, struct err *e)
{
	int64_t id = 0;
	int r = text_id(l, "SELECT id FROM runs WHERE uuid = ?1",
			"INSERT INTO runs(uuid, name, user, uid, started_ns, ended_ns) VALUES(?1, ?1, '', -1, 0, 0)", &uuid, 1, &id, e);
	if (r)
		return r;
	struct db_stmt *s;
	r = db_cached(l->db, "SELECT started_ns, sealed_parts, unsealed, (SELECT coalesce(max(part) + 1, 0) FROM seals WHERE seals.run = uuid AND kind = 'end')"
		      " FROM runs WHERE id = ?", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, id);
	r = db_step(s, e);
	ret->run = id;
	ret->run_started_ns = r == DB_ROW ? db_int(s, 0) : 0;
	ret->sealed_parts = r == DB_ROW ? db_int(s, 1) : 0;
	ret->sealed = r == DB_ROW && !db_int(s, 2);
	ret->late = r == DB_ROW ? db_int(s, 3) : 0;
	db_reset(s);
	return r < 0 ? r : 0;
}

int lineage_context_get(struct lineage *l, const struct lineage_context *c, struct lineage_context_ids *ret, struct err *e)
{
	struct lineage_context_ids ids = { 0 };
	int r = run_id(l, c->run, &ids, e);
	if (!r)
		r = text_id(l, "SELECT id FROM versions WHERE address = ?1", version_insert, &c->version, 1,
			    &ids.version, e);
	const char *decision[] = { c->outcome == LINEAGE_SERVED ? "1" : "2", c->view, c->policy, c->rules };
	if (!r)
		r = text_id(l, "SELECT id FROM decisions WHERE outcome = CAST(?1 AS INTEGER) AND view = ?2 AND policy = ?3 AND rules = ?4",
			    c->outcome == LINEAGE_SERVED
				    ? "INSERT INTO decisions(outcome, view, policy, rules) VALUES(CAST(?1 AS INTEGER), ?2, ?3, ?4)"
				    : "INSERT INTO decisions(id, outcome, view, policy, rules)"
				      " SELECT coalesce(min(id), 0) - 1, CAST(?1 AS INTEGER), ?2, ?3, ?4 FROM decisions WHERE id < 0",
			    decision, 4, &ids.decision, e);
	if (!r)
		*ret = ids;
	return r;
}

int lineage_view_add(struct lineage *l, const char *view, const char *text, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "INSERT OR IGNORE INTO transforms(view, text) VALUES(?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, view);
	db_bind_text(s, 2, text);
	return db_run(s, e);
}

int lineage_process_get(struct lineage *l, int64_t run, const struct lineage_process *p, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT id FROM processes WHERE run = ? AND pid = ? AND started_ns = ? AND exe = ?", &s, e);
	for (int pass = 0; pass < 2 && !r; pass++) {
		db_bind_int(s, 1, run);
		db_bind_int(s, 2, p->pid);
		db_bind_int(s, 3, p->started_ns);
		db_bind_text(s, 4, p->exe);
		if (pass) {
			db_bind_text(s, 5, p->command);
			r = db_run(s, e);
			if (!r)
				*ret = db_last_id(l->db);
			break;
		}
		r = db_step(s, e);
		if (r == DB_ROW)
			*ret = db_int(s, 0);
		db_reset(s);
		if (r)
			return r < 0 ? r : 0;
		r = db_cached(l->db, "INSERT INTO processes(run, pid, started_ns, exe, command) VALUES(?, ?, ?, ?, ?)", &s, e);
	}
	return r;
}

static int file_id(struct lineage *l, int64_t version, const char *path, size_t len, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT id FROM files WHERE version = ? AND path = ?", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, version);
	db_bind_text_n(s, 2, path, len);
	r = db_step(s, e);
	if (r == DB_ROW)
		*ret = db_int(s, 0);
	db_reset(s);
	if (r)
		return r < 0 ? r : 0;
	r = db_cached(l->db, "INSERT INTO files(version, path) VALUES(?, ?)", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, version);
	db_bind_text_n(s, 2, path, len);
	r = db_run(s, e);
	if (!r)
		*ret = db_last_id(l->db);
	return r;
}

/* The day of the run; a late record of a sealed day goes to the first open one. */
static int64_t part_of(const struct lineage_context_ids *c, int64_t when_ns)
{
	int64_t part = when_ns > c->run_started_ns && c->run_started_ns ? (when_ns - c->run_started_ns) / LINEAGE_PART_NS : 0;
	return part > c->sealed_parts ? part : c->sealed_parts;
}

/* Adds to the row that is there: 1, or 0 when there is none.  One statement, as nearly every read of a second epoch ends here. */
static int fold_read(struct lineage *l, const struct lineage_read *read, int64_t part, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db,
			  "UPDATE reads SET opens = opens + ?1, bytes = bytes + ?2, first_ns = min(first_ns, ?3), last_ns = max(last_ns, ?4)"
			  " WHERE run = ?5 AND part = ?6 AND decision = ?7 AND file = (SELECT id FROM files WHERE version = ?8 AND path = ?9)",
			  &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, read->opens);
	db_bind_int(s, 2, read->bytes);
	db_bind_int(s, 3, read->opens ? read->first_ns : INT64_MAX);
	db_bind_int(s, 4, read->opens ? read->last_ns : 0);
	db_bind_int(s, 5, read->context.run);
	db_bind_int(s, 6, part);
	db_bind_int(s, 7, read->context.decision);
	db_bind_int(s, 8, read->context.version);
	db_bind_text_n(s, 9, read->path, read->path_len);
	r = db_run(s, e);
	return r ? r : db_changes(l->db) > 0;
}

static int insert_read(struct lineage *l, const struct lineage_read *read, int64_t part, int64_t file, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db,
			  "INSERT INTO reads(run, part, file, decision, process, opens, bytes, first_ns, last_ns) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
			  &s, e);
	if (r)
		return r;
	const int64_t values[] = { read->context.run, part, file, read->context.decision, read->process,
				   read->opens, read->bytes, read->first_ns, read->last_ns };
	for (int i = 0; i < 9; i++)
		db_bind_int(s, i + 1, values[i]);
	return db_run(s, e);
}

static int add_input(struct lineage *l, const struct lineage_read *read, int new_files, struct err *e)
{
	struct input_sum *sum = &l->sum;
	int r = sum->any && !same_input(&sum->context, &read->context) ? write_sum(l, e) : 0;
	if (r)
		return r;
	if (!sum->any)
		*sum = (struct input_sum){ .context = read->context, .first_ns = read->first_ns, .last_ns = read->last_ns, .any = true };
	sum->files += new_files;
	sum->opens += read->opens;
	sum->bytes += read->bytes;
	sum->first_ns = read->first_ns < sum->first_ns ? read->first_ns : sum->first_ns;
	sum->last_ns = read->last_ns > sum->last_ns ? read->last_ns : sum->last_ns;
	return 0;
}

/* Did the run read the file on an earlier day, under the same decision? */
static int read_before(struct lineage *l, const struct lineage_read *read, int64_t part, int64_t file, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT EXISTS(SELECT 1 FROM reads WHERE run = ? AND part < ? AND file = ? AND decision = ?)", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, read->context.run);
	db_bind_int(s, 2, part);
	db_bind_int(s, 3, file);
	db_bind_int(s, 4, read->context.decision);
	r = db_step(s, e);
	int known = r == DB_ROW && db_int(s, 0);
	db_reset(s);
	return r < 0 ? r : known;
}

/* A read that comes after its run was sealed is sealed by itself. */
static int mark_unsealed(struct lineage *l, int64_t run, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "UPDATE runs SET unsealed = 1 WHERE id = ?", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, run);
	return db_run(s, e);
}

int lineage_read_add(struct lineage *l, const struct lineage_read *read, struct err *e)
{
	int64_t file = 0, part = part_of(&read->context, read->first_ns);
	int folded = fold_read(l, read, part, e), known = folded;
	if (folded < 0)
		return folded;
	int r = folded ? 0 : file_id(l, read->context.version, read->path, read->path_len, &file, e);
	if (!r && !folded)
		r = insert_read(l, read, part, file, e);
	if (!r && !folded && read->context.sealed)
		r = mark_unsealed(l, read->context.run, e);
	if (!r && !folded && part > 0)
		known = read_before(l, read, part, file, e);
	if (known < 0)
		return known;
	return r ? r : add_input(l, read, !known, e);
}

/* -- journals -------------------------------------------------------------------------------- */

int lineage_journal_position(struct lineage *l, const char *journal, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT position FROM journals WHERE id = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, journal);
	r = db_step(s, e);
	*ret = r == DB_ROW ? db_int(s, 0) : 0;
	db_reset(s);
	return r < 0 ? r : 0;
}

int lineage_journal_advance(struct lineage *l, const char *journal, int64_t position, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "INSERT INTO journals(id, position) VALUES(?, ?) ON CONFLICT DO UPDATE SET position = excluded.position", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, journal);
	db_bind_int(s, 2, position);
	return db_run(s, e);
}

int lineage_journal_forget(struct lineage *l, const char *journal, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "DELETE FROM journals WHERE id = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, journal);
	return db_run(s, e);
}

int lineage_journals_tidy(struct lineage *l, bool (*exists)(void *arg, const char *journal), void *arg, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(l->db, "SELECT id FROM journals WHERE NOT EXISTS(SELECT 1 FROM runs WHERE ended_ns IS NULL)", &s, e);
	if (r)
		return r;
	char (*gone)[64] = NULL;
	size_t count = 0;
	while ((r = db_step(s, e)) == DB_ROW) {
		const char *id = db_text(s, 0);
		if (!id || exists(arg, id))
			continue;
		char (*more)[64] = realloc(gone, (count + 1) * sizeof *gone);
		if (!more)
			break; /* the next one tidies */
		gone = more;
		snprintf(gone[count++], sizeof *gone, "%s", id);
	}
	db_finalize(s);
	for (size_t i = 0; i < count && !r; i++)
		r = lineage_journal_forget(l, gone[i], e);
	free(gone);
	return r;
}

int lineage_damage_add(struct lineage *l, const char *journal, int64_t lost, int64_t when_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db,
			  "INSERT INTO gaps(journal, lost, first_ns, last_ns) VALUES(? || ':damaged', ?, ?3, ?3)"
			  " ON CONFLICT DO UPDATE SET lost = lost + excluded.lost, last_ns = excluded.last_ns",
			  &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, journal);
	db_bind_int(s, 2, lost);
	db_bind_int(s, 3, when_ns);
	return db_run(s, e);
}

int lineage_gap_set(struct lineage *l, const char *journal, int64_t lost, int64_t first_ns, int64_t last_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "INSERT OR REPLACE INTO gaps(journal, lost, first_ns, last_ns) VALUES(?, ?, ?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, journal);
	db_bind_int(s, 2, lost);
	db_bind_int(s, 3, first_ns);
	db_bind_int(s, 4, last_ns);
	return db_run(s, e);
}

int lineage_publication_set(struct lineage *l, const struct lineage_publication *p, struct err *e)
{
	int64_t version = 0;
	int r = text_id(l, "SELECT id FROM versions WHERE address = ?1", version_insert, &p->address, 1, &version, e);
	if (r)
		return r;
	struct db_stmt *s;
	r = db_cached(l->db, "INSERT OR REPLACE INTO publications(version, run, published_ns, manifest, publisher, withdrawn) VALUES(?, ?, ?, ?, ?, ?)",
		      &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, version);
	db_bind_text(s, 2, p->run);
	db_bind_int(s, 3, p->published_ns);
	db_bind_text(s, 4, p->manifest);
	db_bind_text(s, 5, p->publisher);
	db_bind_int(s, 6, p->withdrawn);
	return db_run(s, e);
}

int lineage_domain_generation(struct lineage *l, const char *domain, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "SELECT generation FROM domains WHERE name = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, domain);
	r = db_step(s, e);
	*ret = r == DB_ROW ? db_int(s, 0) : -1;
	db_reset(s);
	return r < 0 ? r : 0;
}

int lineage_domain_seen(struct lineage *l, const char *domain, int64_t generation, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "INSERT OR REPLACE INTO domains(name, generation) VALUES(?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, domain);
	db_bind_int(s, 2, generation);
	return db_run(s, e);
}

int lineage_artifact_add(struct lineage *l, const char *run, const char *path, const char *sha256, int64_t size, int64_t when_ns, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(l->db, "INSERT OR IGNORE INTO artifacts(run, path, sha256, size, recorded_ns) VALUES(?, ?, ?, ?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, run);
	db_bind_text(s, 2, path);
	db_bind_text(s, 3, sha256);
	db_bind_int(s, 4, size);
	db_bind_int(s, 5, when_ns);
	return db_run(s, e);
}
