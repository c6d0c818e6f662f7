/*
 * What the views of the formats share; included by policy/view*.c only.
 */
#ifndef MESHFS_POLICY_VIEW_PLAN_H
#define MESHFS_POLICY_VIEW_PLAN_H

#include "policy/mask.h"
#include "policy/transform.h"
#include "policy/view.h"

#include <stdbool.h>
#include <stddef.h>

/* The head of a line format: at most this much holds the names of the columns. */
#define VIEW_HEAD_MAX (1u << 20)

/* A line format (CSV, JSONL): a pure function of whole records. */
struct line_view;

struct line_view_ops {
	/* `head`: the first bytes of the file; `whole`: there are no more.  -EAGAIN asks for a longer head.  */
	int (*new)(struct transform *t, const char *path, const char *head, size_t len, bool whole, const struct view_keys *keys,
		   struct line_view **ret, struct err *e);
	void (*free)(struct line_view *v);
	/* Derives the records at the start of `bytes` that are complete (with `last`: all of them).  `first`: the bytes start the file.
	 * `ret_used` gets how many bytes were consumed. */
	int (*records)(const struct line_view *v, bool first, bool last, const void *bytes, size_t len, size_t *ret_used, struct buf *ret,
		       struct view_stats *stats, struct err *e);
};
extern const struct line_view_ops view_csv_ops, view_jsonl_ops;

struct view_plan_ops {
	enum view_kind kind;
	void (*free)(struct view_plan *p);
	int (*chunk)(const struct view_plan *p, uint32_t index, const void *bytes, size_t len, struct buf *ret, struct view_stats *ret_stats,
		     struct err *e);
	size_t (*segments)(const struct view_plan *p, const struct view_segment **ret);
	int (*whole)(const struct view_plan *p, const struct view_source *source, int (*write)(void *arg, const void *bytes, size_t len), void *arg,
		     struct view_stats *ret_stats, struct err *e);
};

/* Stands first in the plan of each format. */
struct view_plan {
	const struct view_plan_ops *ops;
};

/* The formats' constructors; arguments as view_plan_new. */
typedef int view_plan_new_fn(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret,
			     struct err *e);
view_plan_new_fn view_plan_new_lines, view_plan_new_stream, view_plan_new_parquet;

/* The Thrift part of a Parquet file's footer, and where it starts.  -EACCES: there is none. */
int view_parquet_footer(const struct view_source *source, struct buf *ret, uint64_t *ret_start, struct err *e);

/* The action on a column by its name; the contract's columns without one are kept, unknown ones fall under the rule for them.  */
const struct mask *view_column_mask(const struct transform *t, const char *name, size_t len);
/* The same for a value that holds no others, as every field of separated text.  Where the contract says that members stand, and rules concern
 * them, it may hold anything (JSON, for example): null then. */
const struct mask *view_leaf_mask(const struct transform *t, const char *name, size_t len);
const struct mask *view_path_mask(const struct transform *t, const char *path); /* of a dotted path: the first from the root down */
/* Does the contract's object name columns below the dotted path? */
bool view_has_named_below(const struct transform *t, const char *path, size_t len);
/* Does the contract say that the column is one value, and are there rules for columns that it does not name?  What an object in its place holds is such. */
bool view_column_closed(const struct transform *t, const char *name, size_t len);
/* Does the contract's object name the column? */
bool view_column_named(const struct transform *t, const char *name, size_t len);

/* Name of the format without ".gz" or ".zst": NULL when it is not a line format. */
const struct line_view_ops *view_line_ops(const char *path);

/* Of the library that packs a format whose name ends in ".gz" or ".zst". */
const char *view_packer_version(const char *format);

int view_row_too_long(struct err *e);

#endif
