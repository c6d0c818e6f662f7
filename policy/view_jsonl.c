/*
 * JSON lines, byte-preserving.
 *
 * The plan is a tree of member names: each node knows what becomes of a value there, and where the filter reads.  A line is walked once
 * along the scanner's positions: everything is validated, what changes is noted as edits, what the filter reads is remembered.  Only then
 * is it known whether the line is shown, and the bytes between the edits are copied in runs as long as possible, across lines.
 */
#include "policy/expr.h"
#include "policy/json_scan.h"
#include "policy/json_text.h"
#include "policy/view_plan.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 1000
#define POSITIONS 16384        /* at a time; more for a longer line */
#define POSITIONS_MAX (16u << 20)
#define NODES_MAX 65536

/* One step of a dotted path. */
struct node {
	char *name;
	size_t len;
	uint32_t hash;
	struct mask_run mask; /* MASK_KEEP: none */
	size_t value;         /* 1 + the filter's column, or 0 */
	bool guarded;         /* something below is masked, dropped, or unknown */
	struct node **children;
	size_t child_count;
	uint32_t *table;      /* open addressing: 1 + index of the child */
	size_t table_size;    /* a power of two */
	size_t id;            /* of the plan's nodes */
};

struct line_view {
	const struct expr *filter;
	const struct expr_column *columns;
	size_t column_count;
	struct node root;
	struct node unnamed; /* what the contract does not name */
	size_t node_count;
	json_scan_fn *scan;
};

/* -- the plan --------------------------------------------------------------------------------- */

static uint32_t hash_name(const char *name, size_t len)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)name[i]) * 16777619u;
	return h;
}

static struct node *find_child(const struct node *n, const char *name, size_t len)
{
	if (!n->child_count)
		return NULL;
	uint32_t hash = hash_name(name, len);
	for (size_t i = hash;; i++) {
		uint32_t index = n->table[i & (n->table_size - 1)];
		if (!index)
			return NULL;
		struct node *c = n->children[index - 1];
		if (c->hash == hash && c->len == len && memcmp(c->name, name, len) == 0)
			return c;
	}
}

static int grow_table(struct node *n)
{
	size_t size = n->table_size ? n->table_size * 2 : 8;
	uint32_t *table = calloc(size, sizeof *table);
	if (!table)
		return -ENOMEM;
	for (size_t i = 0; i < n->child_count; i++) {
		size_t at = n->children[i]->hash;
		while (table[at & (size - 1)])
			at++;
		table[at & (size - 1)] = (uint32_t)i + 1;
	}
	free(n->table);
	n->table = table;
	n->table_size = size;
	return 0;
}

static struct node *add_child(struct line_view *v, struct node *n, const char *name, size_t len)
{
	struct node *c = find_child(n, name, len);
	if (c)
		return c;
	struct node **children = realloc(n->children, (n->child_count + 1) * sizeof *children);
	if (!children || v->node_count >= NODES_MAX)
		return NULL;
	n->children = children;
	c = calloc(1, sizeof *c);
	if (!c || !(c->name = malloc(len + 1))) {
		free(c);
		return NULL;
	}
	memcpy(c->name, name, len);
	c->name[len] = 0;
	c->len = len;
	c->hash = hash_name(name, len);
	c->mask.mask.kind = MASK_KEEP;
	c->id = ++v->node_count;
	n->children[n->child_count++] = c;
	if (n->child_count * 2 > n->table_size) {
		if (grow_table(n) != 0)
			return NULL;
		return c;
	}
	size_t at = c->hash;
	while (n->table[at & (n->table_size - 1)])
		at++;
	n->table[at & (n->table_size - 1)] = (uint32_t)n->child_count;
	return c;
}

/* The node at a dotted path, made with those above it. */
static struct node *add_path(struct line_view *v, const char *path)
{
	struct node *n = &v->root;
	while (n) {
		const char *dot = strchr(path, '.');
		n = add_child(v, n, path, dot ? (size_t)(dot - path) : strlen(path));
		if (!dot)
			return n;
		path = dot + 1;
	}
	return NULL;
}

static void node_fini(struct node *n)
{
	for (size_t i = 0; i < n->child_count; i++) {
		node_fini(n->children[i]);
		free(n->children[i]);
	}
	mask_fini(&n->mask);
	free(n->children);
	free(n->table);
	free(n->name);
}

static void jsonl_free(struct line_view *v)
{
	if (!v)
		return;
	node_fini(&v->root);
	node_fini(&v->unnamed);
	free(v);
}

static bool mark_guarded(struct node *n, bool unnamed)
{
	n->guarded = n->child_count && unnamed;
	for (size_t i = 0; i < n->child_count; i++)
		n->guarded |= mark_guarded(n->children[i], unnamed) || n->children[i]->mask.mask.kind != MASK_KEEP;
	return n->guarded;
}

static int add_names(struct line_view *v, const struct transform *t, const struct view_keys *keys, struct err *e)
{
	for (size_t i = 0; t->object && i < t->object->column_count; i++)
		if (!add_path(v, t->object->columns[i].name))
			return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < t->action_count; i++) {
		struct node *n = add_path(v, t->actions[i].column);
		if (!n)
			return err_set(e, -ENOMEM, "out of memory");
		mask_fini(&n->mask);
		int r = mask_prepare(&t->actions[i].mask, keys, &n->mask, e);
		if (r != 0)
			return r;
	}
	for (size_t c = 0; c < v->column_count; c++) {
		struct node *n = add_path(v, v->columns[c].name);
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
	v->root.mask.mask.kind = v->unnamed.mask.mask.kind = MASK_KEEP;
	v->filter = t->filter;
	if (t->filter)
		v->column_count = expr_columns(t->filter, &v->columns);
	int r = mask_prepare(&t->unnamed, keys, &v->unnamed.mask, e);
	if (r == 0)
		r = add_names(v, t, keys, e);
	if (r == 0) {
		mark_guarded(&v->root, v->unnamed.mask.mask.kind != MASK_KEEP);
		*ret = v;
	} else {
		jsonl_free(v);
	}
	return r;
}

/* -- one line --------------------------------------------------------------------------------- */

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

struct run {
	const struct line_view *view;
	const char *bytes;
	size_t len;
	struct json_scan scan;
	uint32_t *positions; /* [used, have) are to do */
	size_t used, have, room;
	uint32_t *hints;     /* by node: the child that came last */
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

/* How a value is taken: where it stands in the plan (NULL: nothing is known of it and nothing happens in it), what is done to it. */
struct place {
	const struct node *node;
	bool many; /* inside an array: the filter cannot tell which value it is */
};

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

static struct edit *add_edit(struct run *r, size_t from, size_t to, const struct mask_run *mask, enum json_kind kind)
{
	if (r->edit_count == r->edit_room) {
		size_t room = r->edit_room ? 2 * r->edit_room : 64;
		struct edit *edits = realloc(r->edits, room * sizeof *edits);
		if (!edits) {
			r->failed = true;
			return NULL;
		}
		r->edits = edits;
		r->edit_room = room;
	}
	r->edits[r->edit_count] = (struct edit){ from, to, mask, kind };
	return &r->edits[r->edit_count++];
}

static const struct mask_run null_mask = { .mask = { .kind = MASK_NULL } };

/* A scalar or a container that is now known: what the filter reads of it, and what becomes of it. */
static void note_value(struct run *r, const struct place *at, const struct json_value *value)
{
	const struct node *n = at->node;
	if (!n)
		return;
	if (n->value) {
		struct json_value *found = &r->found[n->value - 1];
		*found = *value;
		if (at->many)
			found->kind = JSON_AMBIGUOUS;
	}
	const struct mask_run *mask = &n->mask;
	if (mask->mask.kind == MASK_KEEP) {
		/* The contract says that members stand here, and rules concern them: a scalar in their place may hold anything. */
		if (!n->guarded || value->kind == JSON_CONTAINER || value->kind == JSON_NULL)
			return;
		mask = &null_mask;
	}
	size_t quote = value->kind == JSON_STRING;
	if (value->kind != JSON_NULL)
		add_edit(r, value->from - quote, value->to + quote, mask, value->kind);
}

static size_t walk_value(struct run *r, size_t from, size_t k, const struct place *at, int depth, size_t *ret_end);

/* A value between marks: a number, true, false or null, with spaces around it. */
static bool walk_scalar(struct run *r, size_t from, size_t to, const struct place *at, size_t *ret_end)
{
	while (to > from && is_space(r->bytes[to - 1]))
		to--;
	const char *p = r->bytes + from;
	size_t n = to - from;
	struct json_value value = { JSON_LITERAL, from, to };
	if (n == 4 && memcmp(p, "null", 4) == 0)
		value.kind = JSON_NULL;
	else if (!(n == 4 && memcmp(p, "true", 4) == 0) && !(n == 5 && memcmp(p, "false", 5) == 0)) {
		if (!json_number_valid(p, n))
			return false;
		value.kind = JSON_NUMBER;
	}
	note_value(r, at, &value);
	*ret_end = to;
	return true;
}

static bool key_has_escape(const struct run *r, size_t from, size_t to)
{
	const unsigned char *flags = r->scan.flags;
	if (to - from <= 64 && !((flags[from / 64] | flags[to / 64]) & JSON_FLAG_ESCAPE))
		return false;
	return memchr(r->bytes + from, '\\', to - from) != NULL;
}

/* Names are short: no call. */
static inline bool same_bytes(const char *a, const char *b, size_t len)
{
	uint64_t x, y;
	for (; len >= 8; a += 8, b += 8, len -= 8) {
		memcpy(&x, a, 8);
		memcpy(&y, b, 8);
		if (x != y)
			return false;
	}
	while (len && *a == *b) {
		a++;
		b++;
		len--;
	}
	return len == 0;
}

/* The child that a key names; the members of most lines come in the same order. */
static const struct node *key_child(struct run *r, const struct node *n, size_t from, size_t to)
{
	const char *key = r->bytes + from;
	size_t len = to - from;
	uint32_t *hint = &r->hints[n->id];
	if (n->child_count) {
		uint32_t next = *hint + 1 < n->child_count ? *hint + 1 : 0;
		const struct node *c = n->children[next];
		if (c->len == len && same_bytes(c->name, key, len)) {
			*hint = next;
			return c;
		}
	}
	bool lone;
	if (key_has_escape(r, from, to)) {
		buf_clear(&r->text);
		char *text = buf_reserve(&r->text, len);
		if (!text) {
			r->failed = true;
			return NULL;
		}
		len = json_string_unescape(key, len, text, &lone);
		key = text;
	}
	const struct node *c = find_child(n, key, len);
	for (size_t i = 0; c && i < 4; i++) { /* set the hint when it is near; a wrong one costs a comparison */
		uint32_t next = (uint32_t)((*hint + i) % n->child_count);
		if (n->children[next] == c)
			*hint = next;
	}
	return c;
}

/* What members leave behind: where the next removal starts. */
struct members {
	bool kept;       /* a member before was kept */
	size_t kept_end; /* and there it ends */
	size_t removal;  /* 1 + the edit that removes the members before the first kept one, or 0 */
};

static void remove_member(struct run *r, struct members *m, size_t key, size_t end)
{
	if (m->kept)
		add_edit(r, m->kept_end, end, NULL, JSON_MISSING);
	else if (m->removal)
		r->edits[m->removal - 1].to = end;
	else if (add_edit(r, key, end, NULL, JSON_MISSING))
		m->removal = r->edit_count;
	if (m->kept)
		m->kept_end = end;
}

/* The value of a member: its place in the plan decides.  In dropped and masked values nothing below is looked at. */
static size_t walk_member(struct run *r, const struct place *at, size_t key, size_t k, int depth, struct members *m)
{
	struct place place = { NULL, at->many };
	size_t from = r->positions[k] + 1, quote = r->positions[k + 1], end = 0;
	bool drop = false;
	if (at->node) {
		place.node = key_child(r, at->node, from, quote);
		if (!place.node && (at->node->child_count || at->node == &r->view->root))
			place.node = &r->view->unnamed;
		drop = place.node && place.node->mask.mask.kind == MASK_DROP;
	}
	size_t mask_edits = r->edit_count;
	size_t next = walk_value(r, r->positions[k + 2] + 1, k + 3, &place, depth, &end);
	if (next >= WALK_MORE)
		return next;
	if (drop) {
		r->edit_count = mask_edits;
		remove_member(r, m, key, end);
	} else {
		m->kept = true;
		m->kept_end = end;
	}
	return next;
}

/* Position k is '{'.  Gives the index behind '}'. */
static size_t walk_object(struct run *r, size_t k, const struct place *at, int depth, size_t *ret_end)
{
	size_t from = r->positions[k] + 1;
	struct members members = { false, 0, 0 };
	if (k + 1 >= r->have)
		return WALK_MORE;
	if (mark(r, k + 1) == '}' && gap(r, from, r->positions[k + 1])) {
		*ret_end = r->positions[k + 1] + 1;
		return k + 2;
	}
	for (k++;; k++) {
		if (k + 3 >= r->have)
			return WALK_MORE;
		size_t key = r->positions[k];
		if (mark(r, k) != '"' || !gap(r, from, key) || mark(r, k + 1) != '"' || mark(r, k + 2) != ':' ||
		    !gap(r, r->positions[k + 1] + 1, r->positions[k + 2]))
			return WALK_BROKEN;
		if (members.removal && !members.kept)
			r->edits[members.removal - 1].to = key; /* with the comma before this member */
		k = walk_member(r, at, key, k, depth, &members);
		if (k >= WALK_MORE)
			return k;
		from = r->positions[k] + 1;
		if (mark(r, k) == '}')
			break;
		if (mark(r, k) != ',')
			return WALK_BROKEN;
	}
	*ret_end = from;
	return k + 1;
}

static size_t walk_array(struct run *r, size_t k, const struct place *at, int depth, size_t *ret_end)
{
	struct place each = { at->node, true };
	size_t from = r->positions[k] + 1, end;
	if (at->node && at->node->mask.mask.kind != MASK_KEEP)
		each.node = NULL;
	if (k + 1 >= r->have)
		return WALK_MORE;
	if (mark(r, k + 1) == ']' && gap(r, from, r->positions[k + 1])) {
		*ret_end = r->positions[k + 1] + 1;
		return k + 2;
	}
	for (k++;; k++) {
		k = walk_value(r, from, k, &each, depth, &end);
		if (k >= WALK_MORE)
			return k;
		from = r->positions[k] + 1;
		if (mark(r, k) == ']')
			break;
		if (mark(r, k) != ',')
			return WALK_BROKEN;
	}
	*ret_end = from;
	return k + 1;
}

/* A value that starts behind `from`; k is the first mark there.  Gives the index of the mark behind it, which is there. */
static size_t walk_value(struct run *r, size_t from, size_t k, const struct place *at, int depth, size_t *ret_end)
{
	if (k >= r->have)
		return WALK_MORE;
	while (from < r->positions[k] && is_space(r->bytes[from]))
		from++;
	if (from < r->positions[k]) {
		if (!walk_scalar(r, from, r->positions[k], at, ret_end))
			return WALK_BROKEN;
		return k;
	}
	size_t next;
	if (mark(r, k) == '"') {
		if (k + 1 >= r->have)
			return WALK_MORE;
		if (mark(r, k + 1) != '"')
			return WALK_BROKEN;
		struct json_value value = { JSON_STRING, from + 1, r->positions[k + 1] };
		note_value(r, at, &value);
		*ret_end = r->positions[k + 1] + 1;
		next = k + 2;
	} else if ((mark(r, k) == '{' || mark(r, k) == '[') && depth < DEPTH_MAX) {
		bool object = mark(r, k) == '{';
		size_t edits = r->edit_count;
		struct place inside = *at;
		bool whole = at->node && at->node->mask.mask.kind != MASK_KEEP; /* the action takes all of it */
		if (whole)
			inside.node = NULL;
		next = object ? walk_object(r, k, &inside, depth + 1, ret_end) : walk_array(r, k, &inside, depth + 1, ret_end);
		if (next >= WALK_MORE)
			return next;
		if (whole || (at->node && at->node->value)) {
			r->edit_count = whole ? edits : r->edit_count;
			struct json_value value = { JSON_CONTAINER, from, *ret_end };
			note_value(r, at, &value);
		}
	} else {
		return WALK_BROKEN;
	}
	if (next >= r->have)
		return WALK_MORE;
	return gap(r, *ret_end, r->positions[next]) ? next : WALK_BROKEN;
}

/* The parts that the walk left out: what stands inside strings. */
static bool strings_valid(const struct run *r, size_t start, size_t end, size_t k, size_t k_end)
{
	unsigned char flags = 0;
	for (size_t block = start / 64; block <= end / 64; block++)
		flags |= r->scan.flags[block];
	if ((flags & JSON_FLAG_HIGH) && !text_is_utf8(r->bytes + start, end - start))
		return false;
	if (!(flags & (JSON_FLAG_ESCAPE | JSON_FLAG_CONTROL)))
		return true;
	for (; k < k_end; k++) {
		if (mark(r, k) != '"')
			continue;
		size_t from = r->positions[k] + 1, to = r->positions[k + 1];
		if (!json_string_valid(r->bytes + from, to - from))
			return false;
		k++;
	}
	return true;
}

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
	char *scratch = buf_reserve(&r->text, v->column_count * line_len);
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
	if (until > r->copied)
		buf_add(r->out, r->bytes + r->copied, until - r->copied);
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

/* The line that starts at `start`, whose marks begin at `used`.  Gives the index of its newline, WALK_MORE, or WALK_BROKEN. */
static size_t walk_line(struct run *r, size_t start)
{
	const struct line_view *v = r->view;
	struct place root = { &v->root, false };
	size_t end, k = r->used;
	r->edit_count = 0;
	for (size_t c = 0; c < v->column_count; c++)
		r->found[c].kind = JSON_MISSING;
	if (k >= r->have)
		return WALK_MORE;
	if (mark(r, k) != '{' || !gap(r, start, r->positions[k]))
		return WALK_BROKEN;
	k = walk_object(r, k, &root, 0, &end);
	if (k >= WALK_MORE)
		return k;
	if (k >= r->have)
		return WALK_MORE;
	if (mark(r, k) != '\n' || !gap(r, end, r->positions[k]) || !strings_valid(r, start, r->positions[k], r->used, k))
		return WALK_BROKEN;
	return k;
}

/* The lines whose marks are all there.  Gives where the first one left begins. */
static size_t do_ready(struct run *r, size_t start, size_t *ret_longest)
{
	while (r->used < r->have && !r->failed) {
		size_t k = walk_line(r, start);
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
	r->hints = calloc(v->node_count + 1, sizeof *r->hints);
	r->scan = (struct json_scan){ .bytes = bytes, .len = len };
	r->scan.flags = calloc(len / 64 + 2, 1);
	return r->positions && r->values && r->found && r->hints && r->scan.flags ? 0 : -ENOMEM;
}

static void run_end(struct run *r)
{
	free(r->positions);
	free(r->values);
	free(r->found);
	free(r->hints);
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
