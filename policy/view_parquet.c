/*
 * Parquet where no value changes: the footer is written anew without what is not to be seen, and of the data region only the ranges that it still
 * refers to are served; everything else reads as zeros and is never fetched.  What would need values decoded goes to an engine.
 */
#include "catalog/base/text.h"
#include "policy/duckdb.h"
#include "policy/parquet_prune.h"
#include "policy/parquet_write.h"
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct parquet_plan {
	struct view_plan plan;
	struct view_segment *segments;
	size_t segment_count;
	struct buf tail;
};

static void parquet_free(struct view_plan *plan)
{
	struct parquet_plan *p = (struct parquet_plan *)plan;
	free(p->segments);
	buf_free(&p->tail);
	free(p);
}

static size_t parquet_segments(const struct view_plan *plan, const struct view_segment **ret)
{
	const struct parquet_plan *p = (const struct parquet_plan *)plan;
	*ret = p->segments;
	return p->segment_count;
}

static const struct view_plan_ops parquet_plan_ops = { .kind = VIEW_SEGMENTS, .free = parquet_free, .segments = parquet_segments };

/* -- segments --------------------------------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
	const struct parquet_range *x = a, *y = b;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The ranges of the source that the new footer refers to, or (not `kept`) that it does not. */
static size_t ranges_of(const struct parquet_part *part, bool kept, struct parquet_range *ret)
{
	const struct parquet_footer *f = part->footer;
	size_t n = 0;
	if (kept)
		ret[n++] = (struct parquet_range){ 0, 4 };
	for (size_t g = 0; g < f->group_count; g++) {
		for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
			const struct parquet_chunk *c = &f->groups[g].chunks[leaf];
			if ((part->groups[g] && part->leaves[leaf] == PARQUET_KEEP) != kept)
				continue;
			const struct parquet_range ranges[] = { c->data, c->offset_index, c->column_index, c->bloom };
			for (size_t i = 0; i < 4; i++)
				if (ranges[i].len)
					ret[n++] = ranges[i];
		}
	}
	qsort(ret, n, sizeof *ret, by_offset);
	return n;
}

/* Does a range that is served hold a byte of one that is not?  Both ascend. */
static bool overlap(const struct parquet_range *a, size_t a_count, const struct parquet_range *b, size_t b_count)
{
	uint64_t a_end = 0, b_end = 0;
	for (size_t i = 0, k = 0; i < a_count || k < b_count;) {
		bool first = k == b_count || (i < a_count && a[i].offset < b[k].offset);
		const struct parquet_range *x = first ? &a[i++] : &b[k++];
		if (x->offset < (first ? b_end : a_end))
			return true;
		uint64_t *end = first ? &a_end : &b_end;
		*end = x->offset + x->len > *end ? x->offset + x->len : *end;
	}
	return false;
}

static void add_segment(struct parquet_plan *p, enum segment_kind kind, uint64_t offset, uint64_t end)
{
	if (end > offset)
		p->segments[p->segment_count++] =
			(struct view_segment){ .kind = kind, .offset = offset, .length = end - offset, .source_offset = kind == SEGMENT_SOURCE ? offset : 0 };
}

static int make_segments(struct parquet_plan *p, const struct parquet_part *part, struct err *e)
{
	const struct parquet_footer *f = part->footer;
	size_t room = 4 * f->group_count * f->leaf_count + 2;
	struct parquet_range *ranges = calloc(room, sizeof *ranges), *gone = calloc(room, sizeof *gone);
	p->segments = calloc(2 * room + 2, sizeof *p->segments);
	int r = ranges && gone && p->segments ? 0 : err_set(e, -ENOMEM, "out of memory");
	size_t n = r ? 0 : ranges_of(part, true, ranges);
	uint64_t at = 0;
	if (!r && overlap(ranges, n, gone, ranges_of(part, false, gone)))
		r = err_set(e, -EACCES, "columns that stay overlap with columns that do not");
	for (size_t i = 0; i < n && !r;) {
		uint64_t from = ranges[i].offset, to = from;
		for (; i < n && ranges[i].offset <= to; i++)
			to = ranges[i].offset + ranges[i].len > to ? ranges[i].offset + ranges[i].len : to;
		add_segment(p, SEGMENT_ZERO, at, from);
		add_segment(p, SEGMENT_SOURCE, from, to);
		at = to;
	}
	free(ranges);
	free(gone);
	if (r)
		return r;
	add_segment(p, SEGMENT_ZERO, at, f->data_end);
	add_segment(p, SEGMENT_BYTES, f->data_end, f->data_end + p->tail.len);
	p->segments[p->segment_count - 1].bytes = p->tail.data;
	return 0;
}

/* -- the actions ------------------------------------------------------------------------------ */

/* The mask on a leaf: the first action from the root down; a part that the contract does not name, next to parts that it does or in what it calls one value, is
 * unnamed. */
const struct mask *view_path_mask(const struct transform *t, const char *path)
{
	for (const char *dot = path;; dot++) {
		dot = strchr(dot, '.');
		size_t len = dot ? (size_t)(dot - path) : strlen(path);
		const struct mask *m = dot ? view_column_mask(t, path, len) : view_leaf_mask(t, path, len);
		if (m->kind != MASK_KEEP || !dot)
			return m;
		if (!view_has_named_below(t, path, len))
			return view_column_closed(t, path, len) ? &t->unnamed : m;
	}
}

struct actions {
	enum parquet_action *leaves;
	bool *groups;
	bool engine; /* something needs values decoded */
	size_t kept;
};

static int decide_leaves(const struct transform *t, const struct parquet_footer *f, struct actions *a, struct err *e)
{
	struct buf path = BUF_INIT;
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
		buf_clear(&path);
		parquet_leaf_path(f, leaf, &path);
		if (buf_check(&path) != 0 || memchr(buf_text(&path), 0, path.len)) {
			buf_free(&path);
			return err_set(e, -EACCES, "the name of a column cannot be read");
		}
		const struct mask *m = view_path_mask(t, buf_text(&path));
		a->leaves[leaf] = m->kind == MASK_DROP ? PARQUET_DROP : m->kind == MASK_NULL ? PARQUET_NULL : PARQUET_KEEP;
		a->engine |= m->kind != MASK_DROP && m->kind != MASK_KEEP && (m->kind != MASK_NULL || !parquet_can_null(f, leaf));
		a->kept += m->kind != MASK_DROP;
	}
	buf_free(&path);
	return a->kept ? 0 : err_set(e, -EACCES, "no column is left, and a Parquet file without columns cannot be read");
}

/* A map has keys and values or is not there at all. */
static void decide_maps(const struct parquet_footer *f, struct actions *a)
{
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
		if (a->leaves[leaf] != PARQUET_DROP)
			continue;
		size_t i = f->leaves[leaf], map = 0;
		for (; i; i = f->elements[i].parent) {
			const struct parquet_element *el = &f->elements[i];
			if (el->type == PARQUET_GROUP && (el->converted == 1 || el->converted == 2 || el->logical == 2))
				map = i;
		}
		for (size_t other = 0; map && other < f->leaf_count; other++)
			for (i = f->leaves[other]; i; i = f->elements[i].parent)
				if (i == map)
					a->leaves[other] = PARQUET_DROP;
	}
}

static void decide_groups(const struct transform *t, const struct parquet_footer *f, struct actions *a)
{
	for (size_t g = 0; g < f->group_count; g++) {
		unsigned truths = t->filter ? parquet_prune(f, g, t->filter) : PRUNE_TRUE;
		a->groups[g] = truths & PRUNE_TRUE;
		a->engine |= a->groups[g] && truths != PRUNE_TRUE;
	}
}

/* -- the plan --------------------------------------------------------------------------------- */

int view_parquet_footer(const struct view_source *source, struct buf *ret, uint64_t *ret_start, struct err *e)
{
	unsigned char end[8];
	if (source->size < 12)
		return err_set(e, -EACCES, "%s: not a Parquet file", source->path);
	int r = source->read(source->arg, source->size - 8, end, 8, e);
	if (r != 0)
		return r;
	if (memcmp(end + 4, "PARE", 4) == 0)
		return err_set(e, -EACCES, "%s: no view can be made of an encrypted Parquet file", source->path);
	if (memcmp(end + 4, PARQUET_MAGIC, 4) != 0)
		return err_set(e, -EACCES, "%s: not a Parquet file", source->path);
	uint32_t len = end[0] | (uint32_t)end[1] << 8 | (uint32_t)end[2] << 16 | (uint32_t)end[3] << 24;
	if (len > source->size - 12 || len > PARQUET_FOOTER_MAX)
		return err_set(e, -EACCES, "%s: the Parquet footer's length is wrong", source->path);
	*ret_start = source->size - 8 - len;
	char *p = buf_reserve(ret, len);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	r = len ? source->read(source->arg, *ret_start, p, len, e) : 0;
	buf_commit(ret, r == 0 ? len : 0);
	return r;
}

static int plan_segments(const struct parquet_footer *f, const struct actions *a, struct view_plan **ret, struct err *e)
{
	struct parquet_part part = { f, a->leaves, a->groups };
	struct parquet_plan *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->plan.ops = &parquet_plan_ops;
	parquet_write_tail(&part, &p->tail);
	int r = buf_check(&p->tail) ? err_set(e, -ENOMEM, "out of memory") : make_segments(p, &part, e);
	if (r == 0)
		*ret = &p->plan;
	else
		parquet_free(&p->plan);
	return r;
}

int view_plan_new_parquet(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret,
			  struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct parquet_footer *f = NULL;
	struct actions a = { NULL, NULL, false, 0 };
	uint64_t start = 0;
	int r = view_parquet_footer(source, &bytes, &start, e);
	if (r == 0)
		r = parquet_footer_read(bytes.data ? bytes.data : "", bytes.len, start, &f, e);
	if (r != 0)
		goto out;
	a.leaves = calloc(f->leaf_count + 1, sizeof *a.leaves);
	a.groups = calloc(f->group_count + 1, sizeof *a.groups);
	if (!a.leaves || !a.groups) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	r = decide_leaves(t, f, &a, e);
	if (r != 0)
		goto out;
	decide_maps(f, &a);
	decide_groups(t, f, &a);
	r = a.engine ? duckdb_plan_new(t, source, keys, f, ret, e) : plan_segments(f, &a, ret, e);
out:
	if (r != 0 && (!e || !text_starts(e->text, source->path)))
		err_prefix(e, r, "%s", source->path);
	free(a.leaves);
	free(a.groups);
	parquet_footer_free(f);
	buf_free(&bytes);
	return r;
}
