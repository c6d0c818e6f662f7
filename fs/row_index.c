/* Asking the index of a version's rows.  It comes from a store: what it says is checked, and a lie costs a reading, or a find. */
#include "fs/row_index.h"

#include "catalog/db.h"
#include "fs/row_sort.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES_MAX (1u << 30) /* a file whose pieces are longer is scanned */

struct row_index {
	struct db *db;
	unsigned char *hits; /* a bit for each piece */
	uint32_t pieces;     /* their highest number, and one */
};

static int broken(struct err *e)
{
	return err_set(e, -EBADMSG, "the index of its rows is broken");
}

static int count_pieces(struct row_index *x, struct err *e)
{
	struct db_stmt *s = NULL;
	int r = db_prepare(x->db, "SELECT number FROM piece ORDER BY number DESC LIMIT 1", &s, e);
	if (r)
		return r;
	r = db_step(s, e);
	if (r == DB_ROW) {
		r = !db_is_int(s, 0) || db_int(s, 0) < 0 || db_int(s, 0) >= ROW_PIECES_MAX ? broken(e) : 0;
		x->pieces = r ? 0 : (uint32_t)db_int(s, 0) + 1;
	}
	db_finalize(s);
	if (!r && !(x->hits = calloc(x->pieces / 8 + 1, 1)))
		r = err_set(e, -ENOMEM, "out of memory");
	return r;
}

int row_index_open(const char *path, const char *name, struct row_index **ret, struct err *e)
{
	uint32_t format;
	struct row_index *x = calloc(1, sizeof *x);
	int r = x ? db_check_format(path, name, ROW_INDEX_APPLICATION_ID, ROW_INDEX_FORMAT, ROW_INDEX_FORMAT, &format, e)
		  : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = db_open_untrusted(path, name, ROW_INDEX_SCHEMA, &x->db, e);
	if (!r)
		r = count_pieces(x, e);
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

/* -- fingerprints ------------------------------------------------------------------------------------ */

struct page {
	const unsigned char *bytes; /* the statement's */
	size_t count;
	int64_t first;
};

static struct row_place place_at(const struct page *p, size_t i)
{
	const unsigned char *b = p->bytes + i * ROW_PLACE_BYTES;
	struct row_place place = { 0 };
	for (unsigned k = 0; k < 8; k++)
		place.print |= (uint64_t)b[k] << 8 * k;
	for (unsigned k = 0; k < 4; k++)
		place.piece |= (uint32_t)b[8 + k] << 8 * k;
	return place;
}

/* In order, of pieces that there may be. */
static bool is_sound(const struct row_index *x, const struct page *p)
{
	struct row_place last = place_at(p, 0);
	if (ROW_PAGE_KEY(last.print) != p->first || last.piece >= x->pieces)
		return false;
	for (size_t i = 1; i < p->count; i++) {
		struct row_place place = place_at(p, i);
		if (place.print < last.print || (place.print == last.print && place.piece <= last.piece) || place.piece >= x->pieces)
			return false;
		last = place;
	}
	return true;
}

/* The page that would hold the print, in place of the one before; none: a page without places. */
static int load_page(struct row_index *x, struct db_stmt *s, uint64_t print, struct page *page, struct err *e)
{
	const struct page old = *page;
	size_t len = 0;
	db_reset(s);
	db_bind_int(s, 1, ROW_PAGE_KEY(print));
	int r = db_step(s, e);
	*page = (struct page){ NULL, 0, 0 };
	if (r <= 0)
		return r;
	if (!db_is_int(s, 0) || !db_is_blob(s, 1))
		return broken(e);
	struct page p = { .bytes = db_blob(s, 1, &len), .first = db_int(s, 0) };
	p.count = len / ROW_PLACE_BYTES;
	if (!p.bytes || !p.count || len % ROW_PLACE_BYTES || len > ROW_PAGE_BYTES_MAX)
		return broken(e);
	if ((!old.count || old.first != p.first) && !is_sound(x, &p))
		return broken(e);
	*page = p;
	return 0;
}

/* The first place of the print, or of what comes after it. */
static size_t lower_bound(const struct page *p, uint64_t print)
{
	size_t low = 0, high = p->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (place_at(p, middle).print < print)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int row_index_probe(struct row_index *x, const uint64_t *prints, size_t count, struct err *e)
{
	struct db_stmt *s = NULL;
	struct page page = { NULL, 0, 0 };
	int r = db_prepare(x->db, "SELECT first, places FROM page WHERE first <= ?1 ORDER BY first DESC LIMIT 1", &s, e);
	for (size_t i = 0; !r && i < count; i++) {
		if (!page.count || place_at(&page, page.count - 1).print < prints[i])
			r = load_page(x, s, prints[i], &page, e);
		for (size_t at = r ? page.count : lower_bound(&page, prints[i]); at < page.count; at++) {
			struct row_place place = place_at(&page, at);
			if (place.print != prints[i])
				break;
			x->hits[place.piece / 8] |= (unsigned char)(1u << place.piece % 8);
		}
	}
	db_finalize(s);
	return r;
}

/* -- pieces -------------------------------------------------------------------------------------------- */

struct indexed_file {
	int64_t number;
	uint32_t first, pieces;
};

static int find_file(struct row_index *x, const char *path, uint64_t size, struct indexed_file *ret, struct err *e)
{
	struct db_stmt *s = NULL;
	int r = db_prepare(x->db, "SELECT number, size, first_piece, pieces FROM file WHERE path = ?1", &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, path);
	r = db_step(s, e);
	if (r != DB_ROW) {
		r = r ? r : -ENOENT;
	} else {
		bool good = true;
		for (int i = 0; i < 4; i++)
			good &= db_is_int(s, i) && db_int(s, i) >= 0;
		good = good && db_int(s, 1) == (int64_t)size && db_int(s, 3) <= x->pieces && db_int(s, 2) <= x->pieces - db_int(s, 3);
		r = good ? 0 : broken(e);
	}
	if (!r)
		*ret = (struct indexed_file){ db_int(s, 0), (uint32_t)db_int(s, 2), (uint32_t)db_int(s, 3) };
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

static int read_piece(struct db_stmt *s, int64_t file, uint32_t number, uint64_t size, struct row_piece *ret, struct err *e)
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

static bool is_hit(const struct row_index *x, uint32_t piece)
{
	return x->hits[piece / 8] >> piece % 8 & 1;
}

static int read_pieces(struct row_index *x, const struct indexed_file *f, uint64_t size, bool head, struct row_piece *list, size_t *ret_count, struct err *e)
{
	struct db_stmt *s = NULL;
	size_t n = 0;
	int r = db_prepare(x->db, "SELECT start, length, first_row FROM piece WHERE file = ?1 AND number = ?2", &s, e);
	for (uint32_t i = f->first; !r && i < f->first + f->pieces; i++) {
		if (!is_hit(x, i))
			continue;
		if (head && !n && i != f->first)
			r = read_piece(s, f->number, f->first, size, &list[n++], e);
		if (!r)
			r = read_piece(s, f->number, i, size, &list[n++], e);
	}
	for (size_t i = 1; !r && i < n; i++)
		if (list[i].start < list[i - 1].start + list[i - 1].length || list[i].first_row < list[i - 1].first_row)
			r = broken(e);
	if (!r && head && n && list[0].start)
		r = broken(e);
	db_finalize(s);
	*ret_count = n;
	return r;
}

int row_index_pieces(struct row_index *x, const char *path, uint64_t size, bool head, bool (*column)(void *arg, const char *name), void *arg,
		     struct row_piece **ret, size_t *ret_count, struct err *e)
{
	struct indexed_file f;
	size_t n = 1; /* the head */
	int r = find_file(x, path, size, &f, e);
	if (!r)
		r = check_columns(x, f.number, column, arg, e);
	if (r)
		return r;
	for (uint32_t i = f.first; i < f.first + f.pieces; i++)
		n += is_hit(x, i);
	struct row_piece *list = calloc(n, sizeof *list);
	r = list ? read_pieces(x, &f, size, head, list, &n, e) : err_set(e, -ENOMEM, "out of memory");
	if (r) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_count = n;
	return 0;
}
