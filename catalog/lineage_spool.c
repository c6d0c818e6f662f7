#include "catalog/lineage_spool.h"

#include "catalog/db.h"
#include "catalog/lineage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS exported(target TEXT NOT NULL, run TEXT NOT NULL, kind INTEGER NOT NULL, PRIMARY KEY(target, run, kind)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS spool(id INTEGER PRIMARY KEY AUTOINCREMENT, target TEXT NOT NULL, body BLOB NOT NULL);"
	"CREATE INDEX IF NOT EXISTS spool_by_target ON spool(target, id);";

int lineage_spool_open(struct lineage *l, struct err *e)
{
	return db_exec(lineage_db(l), schema, e);
}

static void free_ids(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

int lineage_spool_due(struct lineage *l, const char *target, int kind, char ***ret, size_t *ret_count, struct err *e)
{
	struct db_stmt *s;
	char **list = NULL;
	size_t count = 0;
	int r = db_prepare(lineage_db(l),
			   "SELECT uuid FROM runs WHERE (?2 = 1 OR (ended_ns IS NOT NULL AND EXISTS"
			   " (SELECT 1 FROM exported x WHERE x.target = ?1 AND x.run = runs.uuid AND x.kind = 1))) AND NOT EXISTS"
			   " (SELECT 1 FROM exported x WHERE x.target = ?1 AND x.run = runs.uuid AND x.kind = ?2)"
			   " ORDER BY CASE ?2 WHEN 1 THEN started_ns ELSE ended_ns END, id LIMIT ?3",
			   &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, target);
	db_bind_int(s, 2, kind);
	db_bind_int(s, 3, LINEAGE_SPOOL_BATCH);
	while ((r = db_step(s, e)) == DB_ROW) {
		char **more = realloc(list, (count + 1) * sizeof *more);
		char *id = more ? strdup(db_text(s, 0)) : NULL;
		list = more ? more : list;
		if (!id) {
			r = err_set(e, -ENOMEM, "out of memory");
			break;
		}
		list[count++] = id;
	}
	db_finalize(s);
	if (r) {
		free_ids(list, count);
		return r;
	}
	*ret = list;
	*ret_count = count;
	return 0;
}

int lineage_spool_put(struct lineage *l, const char *target, const char *run, int kind, const char *body, size_t len, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "INSERT INTO exported(target, run, kind) VALUES (?, ?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, target);
	db_bind_text(s, 2, run);
	db_bind_int(s, 3, kind);
	r = db_run(s, e);
	if (!r)
		r = db_cached(lineage_db(l), "INSERT INTO spool(target, body) VALUES (?, ?)", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, target);
	db_bind_blob(s, 2, body, len);
	return db_run(s, e);
}

int lineage_spool_first(struct lineage *l, const char *target, int64_t *ret_id, char **ret_body, size_t *ret_len, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "SELECT id, body FROM spool WHERE target = ? ORDER BY id LIMIT 1", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, target);
	r = db_step(s, e);
	if (r == DB_ROW) {
		size_t len;
		const void *body = db_blob(s, 1, &len);
		char *copy = malloc(len + 1);
		r = copy ? 0 : err_set(e, -ENOMEM, "out of memory");
		if (copy) {
			memcpy(copy, body, len);
			copy[len] = '\0';
			*ret_id = db_int(s, 0);
			*ret_body = copy;
			*ret_len = len;
		}
	} else if (!r) {
		r = -ENOENT; /* no error: the end */
	}
	db_reset(s);
	return r;
}

int lineage_spool_take(struct lineage *l, int64_t id, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "DELETE FROM spool WHERE id = ?", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, id);
	return db_run(s, e);
}

int lineage_spool_count(struct lineage *l, const char *target, int64_t *ret, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(l), "SELECT count(*) FROM spool WHERE target = ?", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, target);
	r = db_step(s, e);
	if (r == DB_ROW)
		*ret = db_int(s, 0);
	db_reset(s);
	return r < 0 ? r : 0;
}
