/*
 * A line of JSON, walked once along the scanner's positions: everything is validated, what changes is noted as edits, what the filter reads is
 * remembered.  Most lines have the shape of the one before, so that the members of the line's own object are first compared with what stood in
 * their place there (struct slot).
 */
#include "policy/json_text.h"
#include "policy/view_jsonl.h"

#include "catalog/base/text.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 1000

/* How a value is taken: where it stands in the plan (NULL: nothing is known of it and nothing happens in it), what is done to it. */
struct place {
	const struct json_node *node;
	bool many; /* inside an array: the filter cannot tell which value it is */
};

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

/* Everything that the filter reads at the node or below: nobody can tell which value is meant. */
static void blur(struct run *r, const struct json_node *n)
{
	if (n->value)
		r->found[n->value - 1].kind = JSON_AMBIGUOUS;
	for (size_t i = 0; n->read && i < n->child_count; i++)
		blur(r, n->children[i]);
}

static const struct mask_run null_mask = { .mask = { .kind = MASK_NULL } };

/* A scalar or a container that is now known: what the filter reads of it, and what becomes of it. */
static void note_value(struct run *r, const struct place *at, const struct json_value *value)
{
	const struct json_node *n = at->node;
	if (!n)
		return;
	if (n->value) {
		struct json_value *found = &r->found[n->value - 1];
		bool twice = found->kind != JSON_MISSING;
		*found = *value;
		if (at->many || twice)
			found->kind = JSON_AMBIGUOUS;
	}
	/* Where members are read: a text may hold them in a way of its own, so that none of them is known to be absent. */
	if (n->read && n->child_count && value->kind != JSON_CONTAINER && value->kind != JSON_NULL)
		for (size_t i = 0; i < n->child_count; i++)
			blur(r, n->children[i]);
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

/* JSON_MISSING: these bytes are no scalar. */
static enum json_kind scalar_kind(const char *p, size_t n)
{
	if (n == 4 && memcmp(p, "null", 4) == 0)
		return JSON_NULL;
	if ((n == 4 && memcmp(p, "true", 4) == 0) || (n == 5 && memcmp(p, "false", 5) == 0))
		return JSON_LITERAL;
	return json_number_valid(p, n) ? JSON_NUMBER : JSON_MISSING;
}

/* A value between marks: a number, true, false or null, with spaces around it. */
static bool walk_scalar(struct run *r, size_t from, size_t to, const struct place *at, size_t *ret_end)
{
	while (to > from && is_space(r->bytes[to - 1]))
		to--;
	struct json_value value = { scalar_kind(r->bytes + from, to - from), from, to };
	if (value.kind == JSON_MISSING)
		return false;
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
static const struct json_node *key_child(struct run *r, const struct json_node *n, size_t from, size_t to)
{
	const char *key = r->bytes + from;
	size_t len = to - from;
	uint32_t *hint = &r->hints[n->id];
	if (n->child_count) {
		uint32_t next = *hint + 1 < n->child_count ? *hint + 1 : 0;
		const struct json_node *c = n->children[next];
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
	const struct json_node *c = json_node_child(n, key, len);
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

/* A member of this name: readers differ in which of two counts. */
static inline void meet(struct run *r, const struct json_node *n)
{
	if (!n || !n->read)
		return;
	if (r->met[n->id] == r->line)
		blur(r, n);
	r->met[n->id] = r->line;
}

static bool is_dropped(const struct json_node *n)
{
	return n && n->mask.mask.kind == MASK_DROP;
}

/* The member [key, end) was walked; `edits` were there before it. */
static inline void end_member(struct run *r, bool drop, size_t edits, size_t key, size_t end, struct members *m)
{
	if (drop) {
		r->edit_count = edits;
		remove_member(r, m, key, end);
	} else {
		m->kept = true;
		m->kept_end = end;
	}
}

/* The value of a member: its place in the plan decides.  In dropped and masked values nothing below is looked at. */
static size_t walk_member(struct run *r, const struct place *place, size_t k, int depth, struct members *m)
{
	size_t end = 0, edits = r->edit_count;
	size_t next = walk_value(r, r->positions[k + 2] + 1, k + 3, place, depth, &end);
	if (next >= WALK_MORE)
		return next;
	end_member(r, is_dropped(place->node), edits, r->positions[k], end, m);
	return next;
}

/* Where a member's value stands in the plan; k is its name's first quote. */
static struct place member_place(struct run *r, const struct place *at, size_t k)
{
	struct place place = { NULL, at->many };
	if (at->node) {
		place.node = key_child(r, at->node, r->positions[k] + 1, r->positions[k + 1]);
		if (!place.node && (at->node->child_count || at->node->closed || at->node == &r->view->tree.root))
			place.node = &r->view->unnamed;
	}
	return place;
}

/* Remembers a member that is known to begin well. */
static void learn_slot(struct run *r, struct slot *s, size_t from, size_t colon, const struct json_node *node)
{
	size_t value = colon + 1;
	while (value < r->len && is_space(r->bytes[value]))
		value++;
	s->len = value - from <= SLOT_BYTES ? value - from : 0;
	memset(s->bits, 0, sizeof s->bits);
	memset(s->bits, 0xff, s->len);
	memset(s->begin, 0, sizeof s->begin);
	memcpy(s->begin, r->bytes + from, s->len);
	s->node = node;
	s->drop = is_dropped(node);
	s->noted = node && (node->read || node->guarded || (node->mask.mask.kind != MASK_KEEP && !s->drop));
}

static inline uint64_t slot_differs(const struct slot *s, const char *bytes, size_t word)
{
	uint64_t a, b;
	memcpy(&a, s->begin + 8 * word, 8);
	memcpy(&b, bytes + 8 * word, 8);
	return (a ^ b) & s->bits[word];
}

static inline bool slot_begins(const struct slot *s, const char *bytes)
{
	if (slot_differs(s, bytes, 0) | slot_differs(s, bytes, 1))
		return false;
	return s->len <= 16 || !(slot_differs(s, bytes, 2) | slot_differs(s, bytes, 3));
}

/*
 * The member behind `from`, when it begins as its slot says and its value is a string or scalar with no space behind it: the common case, in
 * few steps.  Gives the index of the mark behind it, or 0: nothing was done, go the long way.
 */
static inline size_t walk_known(struct run *r, const struct slot *s, size_t from, size_t k, struct members *m)
{
	if (!s->len || r->len - from < SLOT_BYTES + JSON_NUMBER_READS || r->have - k < 6 || !slot_begins(s, r->bytes + from))
		return 0;
	const uint32_t *marks = r->positions + k;
	struct json_value value = { JSON_STRING, from + s->len, marks[3] };
	size_t end = marks[3], behind = 3;
	if (value.from == end) {
		if (r->bytes[end] != '"')
			return 0;
		value.from++;
		value.to = marks[4];
		end = value.to + 1;
		behind = 5;
	} else if (json_number_plain(r->bytes + value.from, end - value.from)) {
		value.kind = JSON_NUMBER;
	} else {
		value.kind = scalar_kind(r->bytes + value.from, end - value.from);
	}
	if (value.kind == JSON_MISSING || marks[behind] != end)
		return 0;
	size_t edits = r->edit_count;
	if (s->noted) {
		meet(r, s->node);
		note_value(r, &(struct place){ s->node, false }, &value);
	}
	end_member(r, s->drop, edits, marks[0], end, m);
	return k + behind;
}

/* The same, the long way. */
static size_t walk_named(struct run *r, const struct place *at, size_t from, size_t k, int depth, struct members *m, struct slot *slot)
{
	size_t key = r->positions[k];
	if (mark(r, k) != '"' || !gap(r, from, key) || mark(r, k + 1) != '"' || mark(r, k + 2) != ':' ||
	    !gap(r, r->positions[k + 1] + 1, r->positions[k + 2]))
		return WALK_BROKEN;
	struct place place = member_place(r, at, k);
	meet(r, place.node);
	if (slot)
		learn_slot(r, slot, from, r->positions[k + 2], place.node);
	return walk_member(r, &place, k, depth, m);
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
	for (size_t i = (k++, 0);; k++, i++) {
		if (k + 3 >= r->have)
			return WALK_MORE;
		if (members.removal && !members.kept)
			r->edits[members.removal - 1].to = r->positions[k]; /* with the comma before this member */
		struct slot *slot = depth == 0 && i < SLOTS ? &r->slots[i] : NULL;
		size_t next = slot ? walk_known(r, slot, from, k, &members) : 0;
		k = next ? next : walk_named(r, at, from, k, depth, &members, slot);
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

/* Does a string that touches these bytes hold something to look at? */
static inline bool flagged(const struct run *r, size_t from, size_t to, unsigned char flags)
{
	for (size_t block = from / 64; block <= to / 64; block++)
		if (r->scan.flags[block] & flags)
			return true;
	return false;
}

/* The parts that the walk left out: what stands inside strings. */
static bool strings_valid(const struct run *r, size_t start, size_t end, size_t k, size_t k_end)
{
	unsigned char flags = 0;
	for (size_t block = start / 64; block <= end / 64; block++)
		flags |= r->scan.flags[block];
	if (!flags)
		return true;
	if ((flags & JSON_FLAG_HIGH) && !text_is_utf8(r->bytes + start, end - start))
		return false;
	if (!(flags & (JSON_FLAG_ESCAPE | JSON_FLAG_CONTROL)))
		return true;
	for (; k < k_end; k++) {
		if (mark(r, k) != '"')
			continue;
		size_t from = r->positions[k] + 1, to = r->positions[k + 1];
		if (flagged(r, from, to, JSON_FLAG_ESCAPE | JSON_FLAG_CONTROL) && !json_string_valid(r->bytes + from, to - from))
			return false;
		k++;
	}
	return true;
}

size_t jsonl_walk_line(struct run *r, size_t start)
{
	const struct line_view *v = r->view;
	struct place root = { &v->tree.root, false };
	size_t end, k = r->used;
	r->edit_count = 0;
	r->line++;
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
