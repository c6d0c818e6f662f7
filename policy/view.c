#include "policy/view.h"

#include "catalog/base/text.h"
#include "policy/duckdb.h"
#include "policy/view_plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *suffix, *format;
	const struct line_view_ops *lines; /* the records inside */
	view_plan_new_fn *new;
} formats[] = {
	{ ".csv", "csv", &view_csv_ops, view_plan_new_lines },
	{ ".tsv", "tsv", &view_csv_ops, view_plan_new_lines },
	{ ".psv", "psv", &view_csv_ops, view_plan_new_lines },
	{ ".jsonl", "jsonl", &view_jsonl_ops, view_plan_new_lines },
	{ ".ndjson", "jsonl", &view_jsonl_ops, view_plan_new_lines },
	{ ".csv.gz", "csv.gz", &view_csv_ops, view_plan_new_stream },
	{ ".tsv.gz", "tsv.gz", &view_csv_ops, view_plan_new_stream },
	{ ".psv.gz", "psv.gz", &view_csv_ops, view_plan_new_stream },
	{ ".jsonl.gz", "jsonl.gz", &view_jsonl_ops, view_plan_new_stream },
	{ ".ndjson.gz", "jsonl.gz", &view_jsonl_ops, view_plan_new_stream },
	{ ".csv.zst", "csv.zst", &view_csv_ops, view_plan_new_stream },
	{ ".tsv.zst", "tsv.zst", &view_csv_ops, view_plan_new_stream },
	{ ".psv.zst", "psv.zst", &view_csv_ops, view_plan_new_stream },
	{ ".jsonl.zst", "jsonl.zst", &view_jsonl_ops, view_plan_new_stream },
	{ ".ndjson.zst", "jsonl.zst", &view_jsonl_ops, view_plan_new_stream },
	{ ".parquet", "parquet", NULL, view_plan_new_parquet },
};

/* The index in `formats`, or -1. */
static int find_format(const char *path)
{
	size_t len = strlen(path);
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		size_t n = strlen(formats[i].suffix);
		if (len >= n && strcasecmp(path + len - n, formats[i].suffix) == 0)
			return (int)i;
	}
	return -1;
}

const char *view_format(const char *path)
{
	int i = find_format(path);
	return i < 0 ? "other" : formats[i].format;
}

const struct line_view_ops *view_line_ops(const char *path)
{
	int i = find_format(path);
	return i < 0 ? NULL : formats[i].lines;
}

int view_plan_new(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret, struct err *e)
{
	int i = find_format(source->path);
	if (i < 0 || !formats[i].new)
		return err_set(e, -EACCES, "%s: no view understands this format, and rules concern rows or columns of the file", source->path);
	return formats[i].new(t, source, keys, ret, e);
}

void view_plan_free(struct view_plan *p)
{
	if (p)
		p->ops->free(p);
}

enum view_kind view_plan_kind(const struct view_plan *p)
{
	return p->ops->kind;
}

int view_chunk(const struct view_plan *p, uint32_t index, const void *bytes, size_t len, struct buf *ret, struct view_stats *ret_stats,
	       struct err *e)
{
	if (!p->ops->chunk)
		return err_set(e, -EINVAL, "this view is not made by chunks");
	return p->ops->chunk(p, index, bytes, len, ret, ret_stats, e);
}

size_t view_segments(const struct view_plan *p, const struct view_segment **ret)
{
	*ret = NULL;
	return p->ops->segments ? p->ops->segments(p, ret) : 0;
}

int view_whole(const struct view_plan *p, const struct view_source *source, int (*write)(void *arg, const void *bytes, size_t len), void *arg,
	       struct view_stats *ret_stats, struct err *e)
{
	if (!p->ops->whole)
		return err_set(e, -EINVAL, "this view is not made in one piece");
	return p->ops->whole(p, source, write, arg, ret_stats, e);
}

bool view_column_named(const struct transform *t, const char *name, size_t len)
{
	return t->object && contract_column_find(t->object, name, len);
}

const struct mask *view_column_mask(const struct transform *t, const char *name, size_t len)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	size_t low = 0, high = t->action_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *column = t->actions[middle].column;
		size_t column_len = strlen(column); /* the file's name may hold NUL bytes: lengths count */
		int order = memcmp(column, name, column_len < len ? column_len : len);
		if (order == 0 && column_len == len)
			return &t->actions[middle].mask;
		if (order == 0)
			order = column_len < len ? -1 : 1;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return view_column_named(t, name, len) ? &keep : &t->unnamed;
}

int view_row_too_long(struct err *e)
{
	return err_set(e, -EACCES, "a record is longer than %u MiB", VIEW_ROW_MAX >> 20);
}

static bool is_below(const char *name, const char *path, size_t len)
{
	return !strncmp(name, path, len) && name[len] == '.';
}

bool view_has_named_below(const struct transform *t, const char *path, size_t len)
{
	for (size_t i = 0; t->object && i < t->object->column_count; i++)
		if (is_below(t->object->columns[i].name, path, len))
			return true;
	return false;
}

bool view_column_closed(const struct transform *t, const char *name, size_t len)
{
	const struct contract_column *c = t->object && t->unnamed.kind != MASK_KEEP ? contract_column_find(t->object, name, len) : NULL;
	return c && c->type != TYPE_NONE && c->type != TYPE_OBJECT && c->type != TYPE_ARRAY;
}

const struct mask *view_leaf_mask(const struct transform *t, const char *name, size_t len)
{
	static const struct mask null = { .kind = MASK_NULL };
	const struct mask *m = view_column_mask(t, name, len);
	if (m->kind != MASK_KEEP || memchr(name, 0, len))
		return m;
	bool restricted = t->unnamed.kind != MASK_KEEP && view_has_named_below(t, name, len);
	for (size_t i = 0; i < t->action_count && !restricted; i++)
		restricted = is_below(t->actions[i].column, name, len);
	return restricted ? &null : m;
}

void view_maker(const char *path, char *ret_text, size_t size)
{
	const char *format = view_format(path), *end = strrchr(format, '.');
	if (strcmp(format, "parquet") == 0)
		snprintf(ret_text, size, "%s-duckdb-%s", format, duckdb_engine_version());
	else if (end)
		snprintf(ret_text, size, "%s-%s", format, view_packer_version(format));
	else
		snprintf(ret_text, size, "%s", format);
	for (char *p = ret_text; *p; p++) /* it becomes part of a file's name */
		if (*p == '/')
			*p = '_';
}
