#include "catalog/lineage_schema.h"

#include "catalog/db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 3

/* The days of long runs, and what was refused, are few among many rows: each has an index that holds nothing else. */
#define READS_INDEXES \
	"CREATE INDEX IF NOT EXISTS reads_by_file ON reads(file);" \
	"CREATE INDEX IF NOT EXISTS reads_by_part ON reads(run, part) WHERE part > 0;" \
	"CREATE INDEX IF NOT EXISTS reads_denied ON reads(run) WHERE decision < 0;"

/*
 * Kept to numbers: ten million folded reads have to stay below 2 GiB.  The number of a decision that refused is negative.  The days (parts) of one file in one
 * run are neighbours, so that they are added up as they are read.  What a run read after its nth seal is in inputs of its own, `late` n: what was sealed
 * never changes.
 */
#define INPUTS \
	"(run INTEGER NOT NULL, version INTEGER NOT NULL, decision INTEGER NOT NULL, late INTEGER NOT NULL, files INTEGER NOT NULL," \
	" opens INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL," \
	" PRIMARY KEY(run, version, decision, late)) WITHOUT ROWID;"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS runs(id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT NOT NULL, user TEXT NOT NULL,"
	" uid INTEGER NOT NULL, purpose TEXT, command TEXT, parent TEXT, git_commit TEXT, params TEXT NOT NULL DEFAULT '{}',"
	" host TEXT, mount TEXT, owner TEXT, started_ns INTEGER NOT NULL, ended_ns INTEGER, exit_status INTEGER,"
	" sealed_parts INTEGER NOT NULL DEFAULT 0, unsealed INTEGER NOT NULL DEFAULT 1, pruned_ns INTEGER, groups TEXT);"
	"CREATE INDEX IF NOT EXISTS runs_unsealed ON runs(id) WHERE unsealed = 1;"
	"CREATE INDEX IF NOT EXISTS runs_by_name ON runs(name);"
	"CREATE INDEX IF NOT EXISTS runs_open ON runs(id) WHERE ended_ns IS NULL;"
	"CREATE INDEX IF NOT EXISTS runs_pruned ON runs(id) WHERE pruned_ns IS NOT NULL;"
	"CREATE INDEX IF NOT EXISTS runs_by_parent ON runs(parent) WHERE parent IS NOT NULL;"
	"CREATE TABLE IF NOT EXISTS versions(id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, product TEXT NOT NULL,"
	" version TEXT NOT NULL);"
	"CREATE INDEX IF NOT EXISTS versions_by_product ON versions(product);"
	"CREATE TABLE IF NOT EXISTS files(id INTEGER PRIMARY KEY, version INTEGER NOT NULL, path TEXT NOT NULL, UNIQUE(version, path));"
	"CREATE TABLE IF NOT EXISTS decisions(id INTEGER PRIMARY KEY, outcome INTEGER NOT NULL, view TEXT NOT NULL, policy TEXT NOT NULL,"
	" rules TEXT NOT NULL, UNIQUE(outcome, view, policy, rules));"
	"CREATE TABLE IF NOT EXISTS transforms(view TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS processes(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, pid INTEGER NOT NULL, started_ns INTEGER NOT NULL,"
	" exe TEXT NOT NULL, command TEXT NOT NULL, UNIQUE(run, pid, started_ns, exe));"
	"CREATE TABLE IF NOT EXISTS reads(run INTEGER NOT NULL, part INTEGER NOT NULL, file INTEGER NOT NULL, decision INTEGER NOT NULL,"
	" process INTEGER NOT NULL, opens INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,"
	" PRIMARY KEY(run, file, decision, part)) WITHOUT ROWID;"
	READS_INDEXES
	"CREATE TABLE IF NOT EXISTS inputs" INPUTS
	"CREATE INDEX IF NOT EXISTS inputs_by_version ON inputs(version);"
	"CREATE TABLE IF NOT EXISTS publications(version INTEGER PRIMARY KEY, run TEXT, published_ns INTEGER NOT NULL, manifest TEXT NOT NULL,"
	" publisher TEXT, withdrawn INTEGER NOT NULL DEFAULT 0);"
	"CREATE INDEX IF NOT EXISTS publications_by_run ON publications(run);"
	"CREATE TABLE IF NOT EXISTS domains(name TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS artifacts(id INTEGER PRIMARY KEY, run TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL,"
	" size INTEGER NOT NULL, recorded_ns INTEGER NOT NULL, UNIQUE(run, path, sha256));"
	"CREATE INDEX IF NOT EXISTS artifacts_by_hash ON artifacts(sha256);"
	"CREATE TABLE IF NOT EXISTS journals(id TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS gaps(journal TEXT PRIMARY KEY, lost INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS seals(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, run TEXT NOT NULL, part INTEGER NOT NULL,"
	" row_count INTEGER NOT NULL, digest TEXT NOT NULL, chain TEXT NOT NULL, sealed_ns INTEGER NOT NULL);"
	"CREATE UNIQUE INDEX IF NOT EXISTS seals_by_run ON seals(run, kind, part);";

/* What people query with sqlite3; the manual page lists these columns, and a test compares. */
static const char views[] =
	"CREATE VIEW IF NOT EXISTS mesh_runs AS SELECT uuid AS run, name, purpose, user, command, parent, git_commit, params, groups, host, mount,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', started_ns / 1e9, 'unixepoch') AS started,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', ended_ns / 1e9, 'unixepoch') AS ended, exit_status AS exit,"
	" (SELECT coalesce(sum(opens), 0) FROM inputs WHERE inputs.run = runs.id) AS reads FROM runs;"
	"CREATE VIEW IF NOT EXISTS mesh_reads AS SELECT r.uuid AS run_id, r.name AS run, r.purpose, r.user, p.pid, p.exe, p.command,"
	" v.address || '/' || f.path AS address, v.product, v.version, f.path AS file, d.view, d.policy, d.rules,"
	" CASE d.outcome WHEN 1 THEN 'served' ELSE 'denied' END AS outcome, x.part, x.opens, x.bytes,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', x.first_ns / 1e9, 'unixepoch') AS first,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', x.last_ns / 1e9, 'unixepoch') AS last"
	" FROM reads x JOIN runs r ON r.id = x.run JOIN files f ON f.id = x.file JOIN versions v ON v.id = f.version"
	" JOIN decisions d ON d.id = x.decision LEFT JOIN processes p ON p.id = x.process;"
	"CREATE VIEW IF NOT EXISTS mesh_inputs AS SELECT r.uuid AS run_id, r.name AS run, v.address, v.product, v.version, d.view, d.policy, d.rules,"
	" CASE d.outcome WHEN 1 THEN 'served' ELSE 'denied' END AS outcome, i.files, i.opens, i.bytes,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', i.first_ns / 1e9, 'unixepoch') AS first,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', i.last_ns / 1e9, 'unixepoch') AS last"
	" FROM inputs i JOIN runs r ON r.id = i.run JOIN versions v ON v.id = i.version JOIN decisions d ON d.id = i.decision;"
	"CREATE VIEW IF NOT EXISTS mesh_publications AS SELECT v.address, v.product, v.version, p.run AS run_id, p.publisher, p.manifest, p.withdrawn,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', p.published_ns / 1e9, 'unixepoch') AS published FROM publications p JOIN versions v ON v.id = p.version;"
	"CREATE VIEW IF NOT EXISTS mesh_artifacts AS SELECT a.run AS run_id, r.name AS run, a.path, a.sha256, a.size,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', a.recorded_ns / 1e9, 'unixepoch') AS recorded FROM artifacts a LEFT JOIN runs r ON r.uuid = a.run;"
	"CREATE VIEW IF NOT EXISTS mesh_gaps AS SELECT journal, lost, strftime('%Y-%m-%dT%H:%M:%fZ', first_ns / 1e9, 'unixepoch') AS first,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', last_ns / 1e9, 'unixepoch') AS last FROM gaps;"
	"CREATE VIEW IF NOT EXISTS mesh_seals AS SELECT seq, kind, run AS run_id, part, row_count, digest, chain,"
	" strftime('%Y-%m-%dT%H:%M:%fZ', sealed_ns / 1e9, 'unixepoch') AS sealed FROM seals;";

/* The views are made anew; without them tables can be renamed. */
static const char drop_views[] =
	"DROP VIEW mesh_runs; DROP VIEW mesh_reads; DROP VIEW mesh_inputs; DROP VIEW mesh_publications; DROP VIEW mesh_artifacts; DROP VIEW mesh_gaps;"
	"DROP VIEW mesh_seals;";

/* Format 1 had the days of a run before its files, no groups, and refusals among the other decisions. */
static const char from_1[] =
	"ALTER TABLE runs ADD COLUMN groups TEXT;"
	"CREATE TEMP TABLE refused AS SELECT id FROM decisions WHERE outcome = 2;"
	"DROP INDEX reads_by_file;"
	"CREATE TABLE new_reads(run INTEGER NOT NULL, part INTEGER NOT NULL, file INTEGER NOT NULL, decision INTEGER NOT NULL,"
	" process INTEGER NOT NULL, opens INTEGER NOT NULL, bytes INTEGER NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,"
	" PRIMARY KEY(run, file, decision, part)) WITHOUT ROWID;"
	"INSERT INTO new_reads(run, part, file, decision, process, opens, bytes, first_ns, last_ns)"
	" SELECT run, part, file, iif(decision IN (SELECT id FROM refused), -decision, decision), process, opens, bytes, first_ns, last_ns FROM reads"
	" ORDER BY run, file;"
	"DROP TABLE reads; ALTER TABLE new_reads RENAME TO reads;"
	"UPDATE inputs SET decision = -decision WHERE decision IN (SELECT id FROM refused);"
	"UPDATE decisions SET id = -id WHERE outcome = 2;"
	"DROP TABLE refused;"
	READS_INDEXES;

/* Format 2 added what came late to the inputs that were sealed. */
static const char from_2[] =
	"CREATE TABLE new_inputs" INPUTS
	"INSERT INTO new_inputs SELECT run, version, decision, 0, files, opens, bytes, first_ns, last_ns FROM inputs ORDER BY run, version, decision;"
	"DROP TABLE inputs; ALTER TABLE new_inputs RENAME TO inputs;";

static int read_format(struct db *db, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(db, "PRAGMA user_version", &s, e);
	if (r)
		return r;
	r = db_step(s, e);
	if (r == DB_ROW) {
		*ret = db_int(s, 0);
		r = 0;
	}
	db_finalize(s);
	return r;
}

static int check_format(struct db *db, const char *path, int64_t *ret, struct err *e)
{
	int r = read_format(db, ret, e);
	if (!r && *ret > FORMAT)
		r = err_set(e, -EPROTO, "%s: a newer meshfs made this lineage database (format %lld); use that one", path, (long long)*ret);
	return r;
}

/* A database that somebody else made is not to be written to. */
static int check_empty(struct db *db, const char *path, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(db, "SELECT name FROM sqlite_schema LIMIT 1", &s, e);
	if (r)
		return r;
	r = db_step(s, e);
	if (r == DB_ROW)
		r = err_set(e, -EPROTO, "%s: this is no lineage database (it has a '%s'); set lineage.db in the mesh file to another file", path,
			    db_text(s, 0) ? db_text(s, 0) : "?");
	db_finalize(s);
	return r;
}

int lineage_schema_accept(struct db *db, const char *path, struct err *e)
{
	int64_t format = 0;
	int r = check_format(db, path, &format, e);
	return r || format ? r : check_empty(db, path, e);
}

int lineage_schema_make(struct db *db, const char *path, struct err *e)
{
	int64_t format = 0;
	int r = check_format(db, path, &format, e);
	if (r || format == FORMAT)
		return r;
	r = db_begin(db, e);
	if (!r)
		r = check_format(db, path, &format, e);
	if (!r && format == FORMAT) { /* another process was first */
		db_rollback(db);
		return 0;
	}
	if (!r)
		r = format > 0 ? db_exec(db, drop_views, e) : check_empty(db, path, e);
	if (!r && format == 1)
		r = db_exec(db, from_1, e);
	if (!r && (format == 1 || format == 2))
		r = db_exec(db, from_2, e);
	if (!r)
		r = db_exec(db, schema, e);
	if (!r)
		r = db_exec(db, views, e);
	if (!r)
		r = db_exec(db, "PRAGMA user_version = 3", e);
	if (!r)
		r = db_commit(db, e);
	if (r)
		db_rollback(db);
	return r;
}

/* -- is it as we made it? ---------------------------------------------------------------------- */

static int sql_of(struct db *db, const char *name, char **ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(db, "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, name);
	r = db_step(s, e);
	*ret = strdup(r == DB_ROW && db_text(s, 0) ? db_text(s, 0) : "");
	db_reset(s);
	return r < 0 ? r : *ret ? 0 : err_set(e, -ENOMEM, "no memory to look at the lineage database");
}

static int check_view(struct db *db, struct db *model, const char *name, void (*found)(void *arg, const char *what), void *arg, struct err *e)
{
	char *ours = NULL, *theirs = NULL, text[160];
	int r = sql_of(model, name, &ours, e);
	if (!r)
		r = sql_of(db, name, &theirs, e);
	if (!r && strcmp(ours, theirs) != 0) {
		snprintf(text, sizeof text, "view %s: %s", name, *theirs ? "it is not the one that meshfs made" : "it is gone");
		found(arg, text);
	}
	free(ours);
	free(theirs);
	return r;
}

int lineage_schema_check(struct db *db, void (*found)(void *arg, const char *what), void *arg, struct err *e)
{
	struct db *model = NULL;
	struct db_stmt *s = NULL;
	int r = db_open(":memory:", DB_CREATE, &model, e);
	if (!r)
		r = db_exec(model, schema, e);
	if (!r)
		r = db_exec(model, views, e);
	if (!r)
		r = db_prepare(model, "SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name", &s, e);
	while (!r && (r = db_step(s, e)) == DB_ROW)
		r = check_view(db, model, db_text(s, 0), found, arg, e);
	db_finalize(s);
	s = NULL;
	if (!r)
		r = db_prepare(db, "SELECT printf('%.60s on %.60s', name, tbl_name) FROM sqlite_schema WHERE type = 'trigger'", &s, e);
	while (!r && (r = db_step(s, e)) == DB_ROW) {
		char text[200];
		snprintf(text, sizeof text, "trigger %s: meshfs makes none, and lets none run", db_text(s, 0) ? db_text(s, 0) : "?");
		found(arg, text);
		r = 0;
	}
	db_finalize(s);
	db_close(model);
	return r;
}
