/* Asking the index of a version's rows.  It comes from a store: what it says is checked, and a lie costs a reading, or a find. */
#include "fs/row_index.h"

#include "catalog/db.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES_MAX (1u << 30) /* a file whose pieces are longer is scanned */
#define HITS_MAX (1u << 26)

struct hit {
	int64_t file, piece;
};

struct row_index {
	struct db *db;
	struct hit *hits; /* sorted, once each */
	size_t hit_count, hit_room;
};

int row_index_open(const char *path, const char *name, struct row_index **ret, struct err *e)
{
	uint32_t format;
	struct row_index *x = calloc(1, sizeof *x);
	int r = x ? db_check_format(path, name, ROW_INDEX_APPLICATION_ID, 1, ROW_INDEX_FORMAT, &format, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = db_open_untrusted(path, name, ROW_INDEX_SCHEMA, &x->db, e);
	if (r)
		row_index_close(x);
	else
		*ret = x;
	return r;
}

void row_index_close(struct row_index *x)
{
	if (!x)
		return;
	db_close(x->db);
	free(x->hits);
	free(x);
}

static int broken(struct err *e)
{
	return err_set(e, -EBADMSG, "the index of its rows is broken");
}

static int add_hit(struct row_index *x, struct db_stmt *s, struct err *e)
{
	if (!db_is_int(s, 0) || !db_is_int(s, 1))
		return broken(e);
	if (x->hit_count == x->hit_room) {
		size_t room = x->hit_room ? 2 * x->hit_room : 1024;
		struct hit *more = room > HITS_MAX ? NULL : realloc(x->hits, room * sizeof *more);
		if (!more)
			return err_set(e, -ENOMEM, "out of memory");
		x->hits = more;
		x->hit_room = room;
	}
	x->hits[x->hit_count++] = (struct hit){ db_int(s, 0), db_int(s, 1) };
	return 0;
}

static int order(const void *a, const void *b)
{
	const struct hit *x = a, *y = b;
	if (x->file != y->file)
		return x->file < y->file ? -1 : 1;
	return x->piece < y->piece ? -1 : x->piece > y->piece;
}

int row_index_probe(struct row_index *x, const struct row_print *prints, size_t count, struct err *e)
{
	struct db_stmt *s = NULL;
	size_t n = 0;
	int r = db_prepare(x->db, "SELECT file, piece FROM print WHERE low = ?1 AND high = ?2", &s, e);
	for (size_t i = 0; !r && i < count; i++) {
		int row = 0;
		if (!prints[i].low && !prints[i].high)
			continue;
		db_bind_int(s, 1, (int64_t)prints[i].low);
		db_bind_int(s, 2, (int64_t)prints[i].high);
		while (!r && (row = db_step(s, e)) == DB_ROW)
			r = add_hit(x, s, e);
		if (!r)
			r = row;
		db_reset(s);
	}
	db_finalize(s);
	if (x->hit_count)
		qsort(x->hits, x->hit_count, sizeof *x->hits, order);
	for (size_t i = 0; i < x->hit_count; i++)
		if (!n || order(&x->hits[n - 1], &x->hits[i]))
			x->hits[n++] = x->hits[i];
	x->hit_count = n;
	return r;
}

static int find_file(struct row_index *x, const char *path, uint64_t size, int64_t *ret, struct err *e)
{
	struct db_stmt *s = NULL;
	int r = db_prepare(x->db, "SELECT number, size FROM file WHERE path = ?1", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, path);
	r = db_step(s, e);
	if (r == DB_ROW)
		r = !db_is_int(s, 0) || !db_is_int(s, 1) || db_int(s, 1) != (int64_t)size ? broken(e) : 0;
	else if (!r)
		r = -ENOENT;
	if (!r)
		*ret = db_int(s, 0);
	db_finalize(s);
	return r;
}

static int check_columns(struct row_index *x, int64_t file, bool (*column)(void *arg, const char *name), void *arg, struct err *e)
{
	struct db_stmt *s = NULL;
	int row, r = db_prepare(x->db, "SELECT name FROM field WHERE file = ?1", &s, e);
	if (r)
		return r;
	db_bind_int(s, 1, file);
	while (!r && (row = db_step(s, e)) != 0) {
		if (row < 0)
			r = row;
		else if (!db_is_text(s, 0))
			r = broken(e);
		else if (!column(arg, db_text(s, 0)))
			r = -ENOENT;
	}
	db_finalize(s);
	return r;
}

static int read_piece(struct db_stmt *s, int64_t file, int64_t number, uint64_t size, struct row_piece *ret, struct err *e)
{
	db_bind_int(s, 1, file);
	db_bind_int(s, 2, number);
	int r = db_step(s, e);
	if (r < 0)
		return r;
	for (int i = 0; r == DB_ROW && i < 3; i++)
		if (!db_is_int(s, i) || db_int(s, i) < 0)
			r = 0;
	if (r != DB_ROW)
		return broken(e);
	*ret = (struct row_piece){ (uint64_t)db_int(s, 0), (uint64_t)db_int(s, 1), (uint64_t)db_int(s, 2) };
	db_reset(s);
	return !ret->length || !ret->first_row || ret->length > PIECE_BYTES_MAX || ret->length > size || ret->start > size - ret->length ? broken(e) : 0;
}

int row_index_pieces(struct row_index *x, const char *path, uint64_t size, bool head, bool (*column)(void *arg, const char *name), void *arg,
		     struct row_piece **ret, size_t *ret_count, struct err *e)
{
	struct db_stmt *s = NULL;
	int64_t file = 0;
	size_t first = 0, end, n = 0;
	int r = find_file(x, path, size, &file, e);
	if (!r)
		r = check_columns(x, file, column, arg, e);
	if (r)
		return r;
	while (first < x->hit_count && x->hits[first].file < file)
		first++;
	for (end = first; end < x->hit_count && x->hits[end].file == file;)
		end++;
	struct row_piece *list = calloc(end - first + 1, sizeof *list);
	r = list ? db_prepare(x->db, "SELECT start, length, first_row FROM piece WHERE file = ?1 AND number = ?2", &s, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r && head && first < end && x->hits[first].piece)
		r = read_piece(s, file, 0, size, &list[n++], e);
	for (size_t i = first; !r && i < end; i++)
		r = read_piece(s, file, x->hits[i].piece, size, &list[n++], e);
	for (size_t i = 1; !r && i < n; i++)
		if (list[i].start < list[i - 1].start + list[i - 1].length || list[i].first_row < list[i - 1].first_row)
			r = broken(e);
	if (!r && head && n && list[0].start)
		r = broken(e);
	db_finalize(s);
	if (r) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_count = n;
	return 0;
}
