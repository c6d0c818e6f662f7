/*
 * JSON lines, byte-preserving.
 *
 * The plan is a tree of member names: each node knows what becomes of a value there, and where the filter reads.  A line is walked once
 * along the scanner's positions: everything is validated, what changes is noted as edits, what the filter reads is remembered.  Only then
 * is it known whether the line is shown, and the bytes between the edits are copied in runs as long as possible, across lines.
 */
#include "policy/expr.h"
#include "policy/json_text.h"
#include "policy/view_jsonl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POSITIONS 16384        /* at a time; more for a longer line */
#define POSITIONS_MAX (16u << 20)

/* -- the plan --------------------------------------------------------------------------------- */

static void jsonl_free(struct line_view *v)
{
	if (!v)
		return;
	json_tree_fini(&v->tree);
	mask_fini(&v->unnamed.mask);
	free(v);
}

static int add_names(struct line_view *v, const struct transform *t, const struct view_keys *keys, struct err *e)
{
	for (size_t i = 0; t->object && i < t->object->column_count; i++) {
		const char *name = t->object->columns[i].name;
		struct json_node *n = json_tree_add(&v->tree, name);
		if (!n)
			return err_set(e, -ENOMEM, "out of memory");
		n->closed = view_column_closed(t, name, strlen(name));
	}
	for (size_t i = 0; i < t->action_count; i++) {
		struct json_node *n = json_tree_add(&v->tree, t->actions[i].column);
		if (!n)
			return err_set(e, -ENOMEM, "out of memory");
		mask_fini(&n->mask);
		int r = mask_prepare(&t->actions[i].mask, keys, &n->mask, e);
		if (r != 0)
			return r;
	}
	for (size_t c = 0; c < v->column_count; c++) {
		struct json_node *n = json_tree_add(&v->tree, v->columns[c].name);
		if (!n)
			return err_set(e, -ENOMEM, "out of memory");
		n->value = c + 1;
	}
	return 0;
}

static int jsonl_new(struct transform *t, const char *path, const char *head, size_t len, bool whole, const struct view_keys *keys,
		     struct line_view **ret, struct err *e)
{
	(void)path, (void)head, (void)len, (void)whole;
	struct line_view *v = calloc(1, sizeof *v);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->scan = json_scan_best();
	v->tree.root.mask.mask.kind = v->unnamed.mask.mask.kind = MASK_KEEP;
	v->filter = t->filter;
	if (t->filter)
		v->column_count = expr_columns(t->filter, &v->columns);
	int r = mask_prepare(&t->unnamed, keys, &v->unnamed.mask, e);
	if (r == 0)
		r = add_names(v, t, keys, e);
	if (r == 0) {
		json_tree_guard(&v->tree, v->unnamed.mask.mask.kind != MASK_KEEP);
		*ret = v;
	} else {
		jsonl_free(v);
	}
	return r;
}

/* -- one line, once it is walked ---------------------------------------------------------------- */

static void type_value(struct run *r, size_t c, char **scratch)
{
	const struct json_value *found = &r->found[c];
	struct row_value *value = &r->values[c];
	enum logical_type type = r->view->columns[c].type;
	const char *text = r->bytes + found->from;
	size_t len = found->to - found->from;
	bool number = type == TYPE_NUMBER || type == TYPE_INTEGER, lone = false;
	*value = (struct row_value){ .kind = VALUE_INVALID };
	switch (found->kind) {
	case JSON_MISSING:
		value->kind = VALUE_MISSING;
		break;
	case JSON_NULL:
		value->kind = VALUE_NULL;
		break;
	case JSON_NUMBER:
		if (number)
			row_value_parse(type, text, len, value);
		break;
	case JSON_LITERAL:
		if (type == TYPE_BOOLEAN)
			row_value_parse(type, text, len, value);
		break;
	case JSON_STRING:
		if (number || type == TYPE_BOOLEAN)
			break;
		if (memchr(text, '\\', len)) {
			len = json_string_unescape(text, len, *scratch, &lone);
			text = *scratch;
			*scratch += len;
		}
		if (!lone)
			row_value_parse(type, text, len, value);
		break;
	case JSON_CONTAINER:
	case JSON_AMBIGUOUS:
		break;
	}
}

static bool line_shown(struct run *r, size_t line_len)
{
	const struct line_view *v = r->view;
	buf_clear(&r->text);
	char *scratch = buf_reserve(&r->text, line_len); /* no byte of the line is in two values that are read */
	if (!scratch) {
		r->failed = true;
		return false;
	}
	for (size_t c = 0; c < v->column_count; c++)
		type_value(r, c, &scratch);
	return expr_eval_row(v->filter, r->values) == TRUTH_TRUE;
}

static void add_masked(struct run *r, const struct edit *edit)
{
	const char *text = r->bytes + edit->from;
	size_t len = edit->to - edit->from;
	bool lone = false;
	if (edit->kind == JSON_STRING) {
		text++;
		len -= 2;
		if (memchr(text, '\\', len)) {
			buf_clear(&r->text);
			char *scratch = buf_reserve(&r->text, len);
			if (!scratch) {
				r->failed = true;
				return;
			}
			len = json_string_unescape(text, len, scratch, &lone);
			text = scratch;
		}
	}
	buf_clear(&r->masked);
	if (lone || edit->kind == JSON_CONTAINER || !mask_value(edit->mask, text, len, &r->masked))
		buf_adds(r->out, "null");
	else if (edit->kind == JSON_NUMBER && mask_keeps_number(edit->mask))
		buf_add(r->out, r->masked.data, r->masked.len);
	else
		json_string_add(r->out, r->masked.data, r->masked.len);
	r->failed |= r->masked.failed;
}

static inline void copy_until(struct run *r, size_t until)
{
	struct buf *out = r->out;
	if (until > r->copied) {
		size_t n = until - r->copied;
		if (!out->failed && n < out->cap - out->len) {
			memcpy(out->data + out->len, r->bytes + r->copied, n);
			buf_commit(out, n);
		} else {
			buf_add(out, r->bytes + r->copied, n);
		}
	}
	r->copied = until;
}

static void leave_out(struct run *r, size_t from, size_t to)
{
	copy_until(r, from);
	r->copied = to;
}

static void show_line(struct run *r)
{
	r->stats->rows_out++;
	for (size_t i = 0; i < r->edit_count; i++) {
		copy_until(r, r->edits[i].from);
		if (r->edits[i].mask)
			add_masked(r, &r->edits[i]);
		r->copied = r->edits[i].to;
	}
}

/* The lines whose marks are all there.  Gives where the first one left begins. */
static size_t do_ready(struct run *r, size_t start, size_t *ret_longest)
{
	while (r->used < r->have && !r->failed) {
		size_t k = jsonl_walk_line(r, start);
		bool broken = k >= WALK_MORE;
		if (broken) { /* a walk that wants more although the newline is there has met a short, broken line */
			k = r->used;
			while (k < r->have && mark(r, k) != '\n')
				k++;
			if (k == r->have)
				break;
		}
		size_t newline = r->positions[k], next = newline < r->len ? newline + 1 : r->len;
		bool blank = broken && k == r->used && gap(r, start, newline);
		r->stats->rows_in += !blank;
		r->stats->rows_rejected += broken && !blank;
		if (next - start > *ret_longest)
			*ret_longest = next - start;
		if (!broken && (!r->view->filter || line_shown(r, newline - start)))
			show_line(r);
		else
			leave_out(r, start, next);
		start = next;
		r->used = k + 1;
	}
	return start;
}

static int refill(struct run *r)
{
	size_t left = r->have - r->used;
	memmove(r->positions, r->positions + r->used, left * sizeof *r->positions);
	r->used = 0;
	r->have = left;
	if (r->room - left < POSITIONS / 2) {
		size_t room = 2 * r->room;
		uint32_t *positions = room > POSITIONS_MAX ? NULL : realloc(r->positions, room * sizeof *positions);
		if (!positions)
			return room > POSITIONS_MAX ? -EFBIG : -ENOMEM;
		r->positions = positions;
		r->room = room;
	}
	r->have += r->view->scan(&r->scan, r->positions + r->have, r->room - r->have - 1);
	return 0;
}

static int do_records(struct run *r, size_t start, bool last, size_t *ret_used, struct err *e)
{
	size_t longest = 0;
	json_scan_start(&r->scan, start);
	r->copied = start;
	for (;;) {
		while (!r->scan.done && !r->scan.broken) {
			int code = refill(r);
			if (code != 0)
				return code == -EFBIG ? view_row_too_long(e) : err_set(e, code, "out of memory");
			if (r->scan.done && last && r->len > start && r->bytes[r->len - 1] != '\n')
				r->positions[r->have++] = (uint32_t)r->len;
			start = do_ready(r, start, &longest);
		}
		if (!r->scan.broken || r->failed || (r->scan.broken_at == r->len && !last))
			break;
		size_t next = r->scan.broken_at < r->len ? r->scan.broken_at + 1 : r->len;
		r->stats->rows_in++;
		r->stats->rows_rejected++;
		longest = next - start > longest ? next - start : longest;
		leave_out(r, start, next);
		start = next;
		r->used = r->have = 0;
		json_scan_start(&r->scan, start);
	}
	copy_until(r, start);
	if (r->failed)
		return err_set(e, -ENOMEM, "out of memory");
	if (longest > VIEW_ROW_MAX || r->len - start > VIEW_ROW_MAX)
		return view_row_too_long(e);
	*ret_used = start;
	return 0;
}

static int run_start(struct run *r, const struct line_view *v, const void *bytes, size_t len, struct buf *out, struct view_stats *stats)
{
	*r = (struct run){ .view = v, .bytes = bytes, .len = len, .out = out, .stats = stats };
	r->room = 2 * POSITIONS;
	r->positions = malloc(r->room * sizeof *r->positions);
	r->values = calloc(v->column_count + 1, sizeof *r->values);
	r->found = calloc(v->column_count + 1, sizeof *r->found);
	r->hints = calloc(v->tree.count + 1, sizeof *r->hints);
	r->met = calloc(v->tree.count + 1, sizeof *r->met);
	r->scan = (struct json_scan){ .bytes = bytes, .len = len };
	r->scan.flags = calloc(len / 64 + 2, 1);
	return r->positions && r->values && r->found && r->hints && r->met && r->scan.flags ? 0 : -ENOMEM;
}

static void run_end(struct run *r)
{
	free(r->positions);
	free(r->values);
	free(r->found);
	free(r->hints);
	free(r->met);
	free(r->edits);
	free(r->scan.flags);
	buf_free(&r->text);
	buf_free(&r->masked);
}

static int jsonl_records(const struct line_view *v, bool first, bool last, const void *bytes, size_t len, size_t *ret_used, struct buf *ret,
			 struct view_stats *stats, struct err *e)
{
	struct run run;
	size_t bom = first && len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
	int r = run_start(&run, v, bytes, len, ret, stats);
	if (bom)
		buf_add(ret, bytes, bom);
	if (r == 0)
		r = do_records(&run, bom, last, ret_used, e);
	else
		err_set(e, r, "out of memory");
	run_end(&run);
	return r;
}

const struct line_view_ops view_jsonl_ops = { jsonl_new, jsonl_free, jsonl_records };
