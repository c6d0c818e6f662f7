/* The rows of a Parquet file through a transform, one by one, with the numbers that they have in the file: for questions about records. */
#include "catalog/base/io.h"
#include "policy/duckdb.h"
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)

struct lines {
	int (*each)(void *arg, uint64_t row, const char *json, size_t len);
	void *arg;
	struct buf rest; /* of a line that did not end */
	int code;        /* what `each` returned */
};

/* {"meshfs row":17,"a":"x"} is row 18, {"a":"x"}: `{` takes the place of the comma. */
static int give_line(struct lines *l, char *line, size_t len)
{
	uint64_t row = 0;
	size_t at = 0;
	char *colon = memchr(line, ':', len);
	for (at = colon ? (size_t)(colon - line) + 1 : len; at < len && line[at] >= '0' && line[at] <= '9'; at++)
		row = 10 * row + (uint64_t)(line[at] - '0');
	if (at == len || (line[at] != ',' && line[at] != '}'))
		return -EPROTO;
	if (line[at] == '}')
		return l->each(l->arg, row + 1, "{}", 2);
	line[at] = '{';
	return l->each(l->arg, row + 1, line + at, len - at);
}

static int split_lines(void *arg, const void *bytes, size_t len)
{
	struct lines *l = arg;
	buf_add(&l->rest, bytes, len);
	if (buf_check(&l->rest))
		return -ENOMEM;
	size_t at = 0;
	for (char *end; !l->code && (end = memchr(l->rest.data + at, '\n', l->rest.len - at)); at = (size_t)(end - l->rest.data) + 1)
		l->code = give_line(l, l->rest.data + at, (size_t)(end - l->rest.data) - at);
	memmove(l->rest.data, l->rest.data + at, l->rest.len - at);
	l->rest.len -= at;
	if (!l->code && l->rest.len > VIEW_ROW_MAX)
		l->code = -EFBIG;
	return l->code;
}

/* Without a transform as they are. */
static int rows_of(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct lines *l, struct err *e)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	struct transform *applied = t ? transform_ref(t) : transform_new(NULL, 0, &keep, NULL, NULL, NULL);
	struct buf bytes = BUF_INIT;
	struct parquet_footer *f = NULL;
	struct view_plan *plan = NULL;
	uint64_t start = 0;
	int r = applied ? view_parquet_footer(source, &bytes, &start, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = parquet_footer_read(buf_text(&bytes), bytes.len, start, &f, e);
	if (!r)
		r = duckdb_plan_new(applied, source, keys, f, &plan, e);
	if (!r)
		r = duckdb_lines(plan, source, split_lines, l, e);
	view_plan_free(plan);
	transform_unref(applied);
	parquet_footer_free(f);
	buf_free(&bytes);
	return r;
}

/* -- a view that is the file's ranges and a new footer ------------------------------------------------ */

static int read_file(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	int r = io_pread_full(*(int *)arg, bytes, len, offset);
	return r ? err_set(e, r, "a temporary file cannot be read: %s", strerror(-r)) : 0;
}

static int write_segment(const struct view_segment *s, const struct view_source *source, char *piece, int fd, struct err *e)
{
	int r = s->kind == SEGMENT_BYTES ? io_pwrite_full(fd, s->bytes, s->length, s->offset) : 0;
	for (uint64_t at = 0; !r && s->kind == SEGMENT_SOURCE && at < s->length; at += PIECE) {
		size_t n = s->length - at < PIECE ? (size_t)(s->length - at) : PIECE;
		r = source->read(source->arg, s->source_offset + at, piece, n, e);
		if (r)
			return r;
		r = io_pwrite_full(fd, piece, n, s->offset + at);
	}
	return r ? err_set(e, r, "a temporary file cannot be written: %s", strerror(-r)) : 0;
}

/* No row group is missing from it, so its rows have the source's numbers. */
static int rows_of_segments(const struct view_plan *plan, const struct view_source *source, struct lines *l, struct err *e)
{
	const struct view_segment *list;
	char *piece = malloc(PIECE);
	int fd = io_open_scratch();
	int r = fd < 0 ? err_set(e, fd, "no temporary file can be made: %s", strerror(-fd)) : piece ? 0 : err_set(e, -ENOMEM, "out of memory");
	size_t count = view_segments(plan, &list);
	for (size_t i = 0; !r && i < count; i++)
		r = write_segment(&list[i], source, piece, fd, e);
	if (!r && count) {
		struct view_source derived = { read_file, &fd, list[count - 1].offset + list[count - 1].length, source->path };
		r = rows_of(NULL, &derived, NULL, l, e);
	}
	if (fd >= 0)
		close(fd);
	free(piece);
	return r;
}

int view_parquet_rows(struct transform *t, const struct view_source *source, const struct view_keys *keys,
		      int (*each)(void *arg, uint64_t row, const char *json, size_t len), void *arg, struct err *e)
{
	struct lines l = { .each = each, .arg = arg };
	struct view_plan *plan = NULL;
	bool all = !t || (!t->action_count && t->unnamed.kind == MASK_KEEP);
	int r = all || t->filter ? 0 : view_plan_new(t, source, keys, &plan, e);
	if (!r && plan && view_plan_kind(plan) == VIEW_SEGMENTS)
		r = rows_of_segments(plan, source, &l, e);
	else if (!r)
		r = rows_of(t, source, keys, &l, e);
	view_plan_free(plan);
	buf_free(&l.rest);
	return l.code ? l.code : r;
}

/* -- columns -------------------------------------------------------------------------------------------- */

int view_parquet_columns(const struct view_source *source, int (*each)(void *arg, const char *name), void *arg, struct err *e)
{
	struct buf bytes = BUF_INIT, path = BUF_INIT;
	struct parquet_footer *f = NULL;
	uint64_t start = 0;
	int r = view_parquet_footer(source, &bytes, &start, e);
	if (!r)
		r = parquet_footer_read(buf_text(&bytes), bytes.len, start, &f, e);
	for (size_t leaf = 0; !r && leaf < f->leaf_count; leaf++) {
		buf_clear(&path);
		parquet_leaf_path(f, leaf, &path);
		r = buf_check(&path) ? err_set(e, -ENOMEM, "out of memory") : each(arg, buf_text(&path));
		for (char *dot = path.data; !r && (dot = strrchr(path.data, '.'));) {
			*dot = '\0';
			r = each(arg, path.data);
		}
	}
	parquet_footer_free(f);
	buf_free(&bytes);
	buf_free(&path);
	return r;
}

bool view_has_engine(void)
{
	return strcmp(duckdb_engine_version(), "none") != 0;
}
