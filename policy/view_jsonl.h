/*
 * What the parts of the view of JSON lines share: view_jsonl.c makes the plan and shows lines, view_jsonl_walk.c reads them.
 *
 * Thread rules: a line_view is immutable; a run belongs to one thread.
 */
#ifndef MESHFS_POLICY_VIEW_JSONL_H
#define MESHFS_POLICY_VIEW_JSONL_H

#include "policy/expr.h"
#include "policy/json_scan.h"
#include "policy/json_tree.h"
#include "policy/view_plan.h"

#define SLOTS 64               /* members of a line whose names are remembered */
#define SLOT_BYTES 32

struct line_view {
	const struct expr *filter;
	const struct expr_column *columns;
	size_t column_count;
	struct json_tree tree;
	struct json_node unnamed; /* what the contract does not name */
	json_scan_fn *scan;
};

enum json_kind { JSON_MISSING, JSON_NULL, JSON_STRING, JSON_NUMBER, JSON_LITERAL, JSON_CONTAINER, JSON_AMBIGUOUS };

/* A value in the bytes: a string without its quotes. */
struct json_value {
	enum json_kind kind;
	size_t from, to;
};

struct edit {
	size_t from, to;             /* replaced: a string with its quotes */
	const struct mask_run *mask; /* NULL: removed */
	enum json_kind kind;         /* of what stands there */
};

/*
 * What the member in this place of an earlier line began with, from behind the brace or comma up to its value: spaces, name, colon.  A member
 * that begins with the same bytes has the same name and is as well-formed, and its marks stand in the same places.
 */
struct slot {
	char begin[SLOT_BYTES];
	uint64_t bits[SLOT_BYTES / 8]; /* ~0 where `begin` counts */
	size_t len;                    /* 0: not known */
	const struct json_node *node;
	bool drop, noted;              /* noted: the value matters to a rule */
};

struct run {
	const struct line_view *view;
	const char *bytes;
	size_t len;
	struct json_scan scan;
	uint32_t *positions; /* [used, have) are to do */
	size_t used, have, room;
	uint32_t *hints;     /* by node: the child that came last */
	uint64_t *met;       /* by node: the line that it was last met in; of nodes that the filter reads */
	uint64_t line;       /* counts walks, from 1 */
	struct slot slots[SLOTS]; /* by place in the line's object */
	struct json_value *found; /* by column of the filter */
	struct row_value *values;
	struct edit *edits;
	size_t edit_count, edit_room;
	size_t copied;       /* bytes before were copied or left out */
	bool failed;         /* no memory */
	struct buf text, masked;
	struct buf *out;
	struct view_stats *stats;
};

/* What a step along the positions gives besides an index. */
#define WALK_BROKEN SIZE_MAX
#define WALK_MORE (SIZE_MAX - 1)

static inline bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Only spaces in [from, to)? */
static inline bool gap(const struct run *r, size_t from, size_t to)
{
	while (from < to && is_space(r->bytes[from]))
		from++;
	return from == to;
}

static inline char mark(const struct run *r, size_t k)
{
	size_t at = r->positions[k];
	return at < r->len ? r->bytes[at] : '\n';
}

/* The line that starts at `start`, whose marks begin at `used`.  Gives the index of its newline, WALK_MORE, or WALK_BROKEN. */
size_t jsonl_walk_line(struct run *r, size_t start);

#endif
