/* Opening manifests, and looking up their entries. */
#include "catalog/manifest_internal.h"

#include "catalog/db.h"
#include "catalog/manifest_schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_CONNECTIONS 8

/* -- opening -------------------------------------------------------------------------------- */

static int read_info(struct db *db, struct manifest_info *info)
{
	struct db_stmt *s;
	int r = db_cached(db, "SELECT domain, product, version, created, rows, files, bytes, tree FROM manifest LIMIT 2", &s, NULL);
	if (r)
		return r;
	int64_t created, rows, files, bytes;
	r = db_step(s, NULL) == DB_ROW ? 0 : -EBADMSG;
	if (!r && (!column_text(s, 0, info->domain, sizeof info->domain) || !column_text(s, 1, info->product, sizeof info->product) ||
		   !column_text(s, 2, info->version, sizeof info->version) || !column_int(s, 3, INT64_MIN, INT64_MAX, &created) ||
		   !column_int(s, 4, 1, MANIFEST_ROWS_MAX, &rows) || !column_int(s, 5, 0, rows, &files) ||
		   !column_int(s, 6, 0, INT64_MAX, &bytes) || !column_bytes(s, 7, info->tree.bytes, SHA256_SIZE)))
		r = -EBADMSG;
	if (!r) {
		info->created_ns = created;
		info->rows = (uint64_t)rows;
		info->files = (uint64_t)files;
		info->bytes = (uint64_t)bytes;
		r = db_step(s, NULL) == 0 ? 0 : -EBADMSG;
	}
	db_reset(s);
	return r;
}

int manifest_open(const char *path, const char *domain, const char *product, const char *version, struct manifest **ret, struct err *e)
{
	char name[200], file[220]; /* how errors call the version, and its manifest */
	uint32_t format;
	snprintf(name, sizeof name, "%s/%s/%s", domain, product, version);
	snprintf(file, sizeof file, "%s: manifest", name);
	struct db *db = NULL;
	struct manifest *m = NULL;
	int r = db_check_format(path, file, MANIFEST_APPLICATION_ID, MANIFEST_FORMAT_OLDEST, MANIFEST_FORMAT, &format, e);
	if (r)
		return r;
	m = calloc(1, sizeof *m);
	if (!m)
		return err_set(e, -ENOMEM, "%s: no memory", name);
	atomic_init(&m->refs, 1);
	r = db_pool_open(path, file, MANIFEST_SCHEMA, IDLE_CONNECTIONS, &m->connections, e);
	if (!r)
		r = db_pool_take(m->connections, &db, e);
	if (r)
		goto out;
	r = read_info(db, &m->info);
	if (r) {
		err_set(e, r, "%s: the manifest is broken; 'meshfs verify' checks the store", name);
		goto out;
	}
	const struct manifest_info *i = &m->info;
	if (strcmp(i->domain, domain) != 0 || strcmp(i->product, product) != 0 || strcmp(i->version, version) != 0)
		r = err_set(e, -EBADMSG, "%s: the manifest belongs to %s/%s/%s", name, i->domain, i->product, i->version);
	struct manifest_entry root;
	if (!r && (r = manifest_get(m, MANIFEST_ROOT, &root)) != 0)
		r = r == -ENOMEM ? err_set(e, r, "%s: out of memory", name) : err_set(e, -EBADMSG, "%s: the manifest has no root", name);
out:
	if (db)
		db_pool_give(m->connections, db);
	if (r)
		manifest_unref(m);
	else
		*ret = m;
	return r;
}

struct manifest *manifest_ref(struct manifest *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void manifest_unref(struct manifest *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	db_pool_close(m->connections);
	free(m);
}

void manifest_set_digest(struct manifest *m, const struct digest *digest)
{
	m->info.digest = *digest;
}

const struct manifest_info *manifest_info(const struct manifest *m)
{
	return &m->info;
}

/* -- entries -------------------------------------------------------------------------------- */

int manifest_query(struct manifest *m, const char *sql, struct db **ret_db, struct db_stmt **ret)
{
	int r = db_pool_take(m->connections, ret_db, NULL);
	if (r)
		return r;
	r = db_cached(*ret_db, sql, ret, NULL);
	if (r)
		db_pool_give(m->connections, *ret_db);
	return r;
}

void manifest_query_end(struct manifest *m, struct db *db, struct db_stmt *s)
{
	db_reset(s);
	db_pool_give(m->connections, db);
}

int manifest_step_entry(struct manifest *m, struct db_stmt *s, struct entry_row *ret)
{
	int r = db_step(s, NULL);
	if (r != DB_ROW)
		return r ? r : -ENOENT;
	return entry_row_read(m, s, ret);
}

int manifest_row(struct manifest *m, uint64_t row, struct entry_row *ret)
{
	struct db *db;
	struct db_stmt *s;
	if (row < 1 || row > m->info.rows)
		return -ENOENT;
	int r = manifest_query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)row);
	r = manifest_step_entry(m, s, ret);
	manifest_query_end(m, db, s);
	return r == -ENOENT ? -EBADMSG : r; /* rows have no gaps */
}

int manifest_lookup(struct manifest *m, uint64_t parent, const char *name, size_t name_len, struct manifest_entry *ret)
{
	struct db *db;
	struct db_stmt *s;
	struct entry_row row;
	if (!manifest_name_valid(name, name_len) || parent < 1 || parent > m->info.rows)
		return -ENOENT;
	int r = manifest_query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE parent = ? AND name = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)parent);
	db_bind_blob(s, 2, name, name_len);
	r = manifest_step_entry(m, s, &row);
	if (!r && row.entry.parent != parent)
		r = -EBADMSG;
	manifest_query_end(m, db, s);
	if (!r)
		*ret = row.entry;
	return r;
}

int manifest_get(struct manifest *m, uint64_t row, struct manifest_entry *ret)
{
	struct entry_row r;
	int code = manifest_row(m, row, &r);
	if (!code)
		*ret = r.entry;
	return code;
}

int manifest_resolve(struct manifest *m, const char *path, struct manifest_entry *ret)
{
	struct manifest_entry at;
	int r = manifest_get(m, MANIFEST_ROOT, &at);
	while (!r && *path) {
		size_t len = strcspn(path, "/");
		if (at.kind != ENTRY_FOLDER)
			return -ENOENT;
		r = manifest_lookup(m, at.row, path, len, &at);
		path += len;
		path += *path == '/';
	}
	if (!r)
		*ret = at;
	return r;
}

int manifest_list(struct manifest *m, uint64_t parent, uint64_t after_row,
		  int (*each)(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len), void *arg)
{
	struct entry_row folder, row;
	struct db *db;
	struct db_stmt *s;
	int r = manifest_row(m, parent, &folder);
	if (r)
		return r;
	if (folder.entry.kind != ENTRY_FOLDER)
		return -ENOTDIR;
	const uint64_t end = folder.entry.first_child + folder.entry.child_count;
	uint64_t at = after_row + 1 > folder.entry.first_child ? after_row + 1 : folder.entry.first_child;
	if (!folder.entry.child_count || after_row >= end - 1)
		return 0;
	r = manifest_query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row >= ? AND row < ? ORDER BY row", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)at);
	db_bind_int(s, 2, (int64_t)end);
	for (; at < end; at++) {
		r = manifest_step_entry(m, s, &row);
		size_t name_len = 0;
		const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &name_len) : NULL;
		if (r == -ENOENT || (!r && (!name || !manifest_name_valid(name, name_len) || row.entry.row != at || row.entry.parent != parent)))
			r = -EBADMSG;
		if (r)
			break;
		if (each(arg, &row.entry, name, name_len))
			break;
	}
	manifest_query_end(m, db, s);
	return r;
}
