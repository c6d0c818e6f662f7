/* Paths within a manifest: walking them all, from a row to its path, and symlinks. */
#include "catalog/manifest_internal.h"

#include "catalog/db.h"
#include "catalog/manifest_schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Folders whose children are still to come, in row order. */
struct walk_folder {
	uint64_t row;
	char *path;
	struct walk_folder *next;
};

struct walk {
	struct walk_folder *first, **last;
	struct buf path;
};

static int walk_push(struct walk *w, uint64_t row, const char *path)
{
	struct walk_folder *f = malloc(sizeof *f);
	char *copy = strdup(path);
	if (!f || !copy) {
		free(f);
		free(copy);
		return -ENOMEM;
	}
	*f = (struct walk_folder){ row, copy, NULL };
	*w->last = f;
	w->last = &f->next;
	return 0;
}

static void walk_pop(struct walk *w)
{
	struct walk_folder *f = w->first;
	w->first = f->next;
	if (!w->first)
		w->last = &w->first;
	free(f->path);
	free(f);
}

/* Sets w->path for one entry; children follow their folders in the folders' order. */
static int walk_path(struct walk *w, const struct manifest_entry *en, const char *name, size_t len)
{
	buf_clear(&w->path);
	if (en->row == MANIFEST_ROOT)
		return 0;
	while (w->first && w->first->row != en->parent)
		walk_pop(w);
	if (!w->first || !manifest_name_valid(name, len))
		return -EBADMSG;
	buf_adds(&w->path, w->first->path);
	if (*w->first->path)
		buf_addc(&w->path, '/');
	buf_add(&w->path, name, len);
	return w->path.len > MANIFEST_PATH_MAX ? -EBADMSG : buf_check(&w->path);
}

int manifest_walk(struct manifest *m, int (*each)(void *arg, const struct manifest_entry *entry, const char *path), void *arg)
{
	struct walk w = { .last = &w.first, .path = BUF_INIT };
	struct entry_row row;
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " ENTRY_COLUMNS " FROM entry ORDER BY row", &db, &s);
	if (r)
		return r;
	for (uint64_t at = 1; at <= m->info.rows; at++) {
		r = manifest_step_entry(m, s, &row);
		size_t len = 0;
		const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &len) : NULL;
		if (r == -ENOENT || (!r && (!name || row.entry.row != at)))
			r = -EBADMSG;
		if (!r)
			r = walk_path(&w, &row.entry, name, len);
		if (!r && row.entry.kind == ENTRY_FOLDER)
			r = walk_push(&w, at, buf_text(&w.path));
		if (r || each(arg, &row.entry, buf_text(&w.path)))
			break;
	}
	manifest_query_end(m, db, s);
	while (w.first)
		walk_pop(&w);
	buf_free(&w.path);
	return r;
}

static int append_name(struct manifest *m, uint64_t row, struct buf *ret, uint64_t *ret_parent)
{
	struct entry_row er;
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)row);
	r = manifest_step_entry(m, s, &er);
	size_t len = 0;
	const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &len) : NULL;
	if (!r && (!name || (row != MANIFEST_ROOT && !manifest_name_valid(name, len))))
		r = -EBADMSG;
	if (!r) {
		for (size_t i = len; i > 0; i--) /* backwards: manifest_path turns the whole around */
			buf_addc(ret, name[i - 1]);
		*ret_parent = er.entry.parent;
	}
	manifest_query_end(m, db, s);
	return r == -ENOENT ? -EBADMSG : r;
}

int manifest_path(struct manifest *m, uint64_t row, struct buf *ret)
{
	const size_t start = ret->len;
	uint64_t parent;
	if (row < 1 || row > m->info.rows)
		return -ENOENT;
	for (; row != MANIFEST_ROOT; row = parent) { /* ends: read_entry checked parent < row */
		if (ret->len > start)
			buf_addc(ret, '/');
		int r = append_name(m, row, ret, &parent);
		if (r)
			return r;
		if (ret->len - start > MANIFEST_PATH_MAX)
			return -EBADMSG;
	}
	if (buf_check(ret))
		return -ENOMEM;
	for (size_t a = start, b = ret->len; a + 1 < b; a++, b--) {
		char c = ret->data[a];
		ret->data[a] = ret->data[b - 1];
		ret->data[b - 1] = c;
	}
	return 0;
}

int manifest_link(struct manifest *m, uint64_t row, struct buf *ret)
{
	struct manifest_entry en;
	struct db *db;
	struct db_stmt *s;
	struct buf path = BUF_INIT;
	int r = manifest_get(m, row, &en);
	if (!r && en.kind != ENTRY_SYMLINK)
		r = -EINVAL;
	if (!r)
		r = manifest_path(m, row, &path);
	if (!r)
		r = manifest_query(m, "SELECT target FROM entry WHERE row = ?", &db, &s);
	if (r)
		goto out;
	db_bind_int(s, 1, (int64_t)row);
	size_t len = 0;
	const char *target = db_step(s, NULL) == DB_ROW && db_is_blob(s, 0) ? db_blob(s, 0, &len) : NULL;
	if (!target || len != en.size || symlink_check(buf_text(&path), target, len))
		r = -EBADMSG;
	else
		buf_add(ret, target, len);
	manifest_query_end(m, db, s);
	if (!r)
		r = buf_check(ret);
out:
	buf_free(&path);
	return r;
}
