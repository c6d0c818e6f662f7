/*
 * The values of a column in a batch, judged: each is parsed once for all checks and for the column's distribution.
 *
 * Many columns hold few different values.  What was found of a short one is remembered (a cache with one place a value can be in, so that
 * bounded work finds it), until it shows that the column's values seldom repeat.
 */
#include "catalog/quality_pass.h"

#include "catalog/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMO_SLOTS 256u
#define MEMO_BYTES 16u	  /* longer values are not remembered */
#define MEMO_TRIAL 4096u  /* values after which it must have paid */
#define DISTINCT_AT_ONCE 256u
#define BITS 64u

struct verdict {
	struct cell value;
	uint64_t hash;	/* for the distribution */
	uint64_t wrong; /* bit k: check k of the column says so */
};

struct memo_slot {
	bool used;
	uint64_t head, tail; /* all of a value's bytes, with its length */
	struct verdict verdict;
};

struct column_memo {
	uint32_t tried, found;
	struct memo_slot slots[MEMO_SLOTS];
};

/* -- values seen before -------------------------------------------------------------------------- */

static void ends_of(const char *text, size_t len, uint64_t *head, uint64_t *tail)
{
	uint32_t a = 0, b = 0;
	if (len >= 8) {
		memcpy(head, text, 8);
		memcpy(tail, text + len - 8, 8);
		return;
	}
	if (len >= 4) {
		memcpy(&a, text, 4);
		memcpy(&b, text + len - 4, 4);
	} else if (len) {
		a = (unsigned char)text[0] | (uint32_t)(unsigned char)text[len / 2] << 8;
		b = (unsigned char)text[len - 1];
	}
	*head = a;
	*tail = b;
}

/* The place of a value; *ret_known: what stands there is of it.  NULL: it is not one to remember. */
static struct memo_slot *memo_find(struct column_memo *m, const struct cell *v, bool *ret_known)
{
	uint64_t head, tail;
	if (v->len > MEMO_BYTES)
		return NULL;
	ends_of(v->text, v->len, &head, &tail);
	const uint64_t mixed = (head ^ (tail << 29 | tail >> 35) ^ v->len) * 0x9e3779b97f4a7c15u;
	struct memo_slot *s = &m->slots[mixed >> 56];
	*ret_known = s->used && s->head == head && s->tail == tail && s->verdict.value.len == v->len && s->verdict.value.kind == v->kind;
	m->tried++;
	m->found += *ret_known;
	s->head = head;
	s->tail = tail;
	s->used = true;
	return s;
}

static void memo_start(struct column_checks *cc, const struct pass_column *c, bool distinct)
{
	const bool worth = cc->count <= BITS && !distinct && !c->in_key && c->count >= MEMO_SLOTS;
	if (!cc->memo && worth && !cc->memo_off)
		cc->memo = calloc(1, sizeof *cc->memo); /* without memory it is done without */
}

/* Drops what does not pay. */
static void memo_judge(struct column_checks *cc)
{
	if (!cc->memo || cc->memo->tried < MEMO_TRIAL)
		return;
	if (cc->memo->found < cc->memo->tried / 2) {
		free(cc->memo);
		cc->memo = NULL;
		cc->memo_off = true;
	} else {
		cc->memo->tried = cc->memo->found = 0;
	}
}

/* -- one value ------------------------------------------------------------------------------------- */

static bool is_wrong(const struct check *c, struct cell *v)
{
	return c->kind != CHECK_DISTINCT && check_value(c, v) == (c->kind == CHECK_FRESH); /* that one counts what is right */
}

static void judge(const struct quality_file *f, const struct column_checks *cc, struct verdict *x)
{
	x->wrong = 0;
	for (size_t k = 0; k < cc->count && k < BITS; k++)
		x->wrong |= (uint64_t)is_wrong(f->q->list.items[cc->checks[k]], &x->value) << k;
}

static void tell(struct quality_file *f, size_t check, uint64_t row)
{
	if (f->q->list.items[check]->kind == CHECK_FRESH)
		f->tallies[check].wrong++;
	else
		pass_wrong(f, check, row);
}

/* What was found, and of a column with more checks than bits the rest. */
static void tell_all(struct quality_file *f, const struct column_checks *cc, struct verdict *x, uint64_t row)
{
	for (uint64_t wrong = x->wrong; wrong; wrong &= wrong - 1)
		tell(f, cc->checks[__builtin_ctzll(wrong)], row);
	for (size_t k = BITS; k < cc->count; k++)
		if (is_wrong(f->q->list.items[cc->checks[k]], &x->value))
			tell(f, cc->checks[k], row);
}

/* -- values that must differ --------------------------------------------------------------------------- */

struct gathered {
	struct distinct_item items[DISTINCT_AT_ONCE];
	size_t count;
};

static int give(struct quality_file *f, const struct column_checks *cc, struct gathered *g)
{
	int r = 0;
	for (size_t k = 0; k < cc->count && !r && g->count; k++) {
		struct check *c = f->q->list.items[cc->checks[k]];
		if (c->kind == CHECK_DISTINCT)
			r = distinct_add_many(c->distinct, g->items, g->count);
	}
	g->count = 0;
	return r;
}

static bool has_distinct(const struct quality_file *f, const struct column_checks *cc)
{
	for (size_t k = 0; k < cc->count; k++)
		if (f->q->list.items[cc->checks[k]]->kind == CHECK_DISTINCT)
			return true;
	return false;
}

/* -- all of them --------------------------------------------------------------------------------------- */

static void count_examined(struct quality_file *f, const struct column_checks *cc, uint64_t values)
{
	for (size_t k = 0; k < cc->count; k++)
		f->tallies[cc->checks[k]].examined += values;
}

static void count_records(const struct quality_file *f, struct column_checks *cc, const struct pass_column *c)
{
	const char *rejected = f->rejected.data;
	for (size_t i = 0; i < f->rejected.len; i++)
		cc->records += !rejected[i] && c->there[i] == 1;
}

/* What a value is wanted for beside its checks. */
struct wanted {
	bool distinct, keyed, personal, text;
};

static struct wanted wanted_of(const struct quality_file *f, uint32_t column)
{
	const struct column_checks *cc = &f->object->columns[column];
	struct wanted w = { .distinct = has_distinct(f, cc), .personal = personal_looks(f->personal, column) };
	w.keyed = w.distinct || f->columns[column].in_key;
	w.text = w.keyed || cc->missing || (cc->distribution && !distribution_orders(cc->distribution));
	for (size_t k = 0; k < cc->count; k++) {
		const enum check_kind kind = f->q->list.items[cc->checks[k]]->kind;
		w.text |= kind == CHECK_LENGTH || kind == CHECK_PATTERN || kind == CHECK_FORMAT || kind == CHECK_VALUES;
	}
	return w;
}

/* Writes a number before `end`; returns where it starts. */
static const char *digits_of(int64_t n, char *end)
{
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	do
		*--end = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--end = '-';
	return end;
}

/* The text of a typed value, where it is wanted, in `room`. */
static void text_of(const struct pass_value *p, char room[CLOCK_TEXT_MAX], struct cell *v)
{
	v->text = room;
	if (p->form == PASS_INTEGER) {
		v->text = digits_of(p->integer, room + CLOCK_TEXT_MAX);
		v->len = (size_t)(room + CLOCK_TEXT_MAX - v->text);
		return;
	}
	if (p->form == PASS_NUMBER && (snprintf(room, CLOCK_TEXT_MAX, "%.15g", p->number), strtod(room, NULL) != p->number))
		snprintf(room, CLOCK_TEXT_MAX, "%.17g", p->number);
	else if (p->form == PASS_MOMENT)
		clock_format_ns(p->integer, room);
	v->len = strlen(room);
}

static void typed_value(const struct pass_value *p, bool text, char room[CLOCK_TEXT_MAX], struct cell *v)
{
	v->text = "";
	v->len = 0;
	if (p->form == PASS_BOOL) {
		v->text = p->integer ? "true" : "false";
		v->len = strlen(v->text);
		return;
	}
	v->number_known = v->moment_known = true;
	v->is_number = v->is_integer = v->has_number = v->has_moment = false;
	if (p->form == PASS_INTEGER || p->form == PASS_NUMBER) {
		v->number = p->form == PASS_INTEGER ? (double)p->integer : p->number;
		v->is_number = true;
		v->has_number = isfinite(v->number);
		v->is_integer = v->has_number && floor(v->number) == v->number;
	} else {
		v->moment_ns = p->integer;
		v->has_moment = true;
	}
	if (text)
		text_of(p, room, v);
}

/* What values are told apart by. */
static const void *essence(const struct pass_value *p, const struct cell *v, bool text, size_t *ret_len)
{
	const bool by_text = p->form == PASS_TEXT || p->form == PASS_COPIED || p->form == PASS_BOOL || text;
	*ret_len = by_text ? v->len : sizeof p->integer;
	return by_text ? (const void *)v->text : &p->integer;
}

static bool counts_as_missing(const struct column_checks *cc, const struct cell *v)
{
	return cc->missing && v->kind != VALUE_OBJECT && v->kind != VALUE_ARRAY && word_set_has(&cc->missing->words, v->text, v->len);
}

/* A value that is there. */
static int judge_value(struct quality_file *f, uint32_t column, const struct pass_value *p, struct verdict *own, const struct wanted *w, struct gathered *g)
{
	struct column_checks *cc = &f->object->columns[column];
	const uint64_t row = f->first_row + p->record;
	struct verdict *x = own;
	bool known = false;
	struct memo_slot *slot = cc->memo && p->form <= PASS_COPIED ? memo_find(cc->memo, &own->value, &known) : NULL;
	if (slot) {
		if (!known)
			slot->verdict = *own;
		x = &slot->verdict;
		x->value.text = own->value.text;
	}
	size_t len;
	const void *bytes = essence(p, &x->value, w->text, &len);
	if (!known)
		judge(f, cc, x);
	if (cc->distribution && !known)
		x->hash = xxh64_of(bytes, len);
	if (cc->distribution)
		distribution_add(cc->distribution, x->hash, &x->value);
	if (x->wrong || cc->count > BITS)
		tell_all(f, cc, x, row);
	if (!w->keyed)
		return 0;
	struct distinct_item item = { .place = pass_place(f, row) };
	xxh128_of(bytes, len, &item.hash);
	if (f->columns[column].in_key)
		f->columns[column].hashes[p->record] = item.hash;
	if (w->distinct)
		g->items[g->count++] = item;
	return g->count == DISTINCT_AT_ONCE ? give(f, cc, g) : 0;
}

int pass_column_judge(struct quality_file *f, uint32_t column)
{
	struct pass_column *c = &f->columns[column];
	struct column_checks *cc = &f->object->columns[column];
	const struct wanted w = wanted_of(f, column);
	char room[CLOCK_TEXT_MAX];
	struct gathered g;
	uint64_t values = 0;
	int r = 0;
	g.count = 0;
	memo_start(cc, c, w.distinct);
	for (size_t i = 0; i < c->count && !r; i++) {
		const struct pass_value *p = &c->values[i];
		const bool typed = p->form > PASS_COPIED, scalar = p->kind == VALUE_TEXT || p->kind == VALUE_NUMBER || p->kind == VALUE_MOMENT;
		const bool looked_at = w.personal && scalar && (!typed || personal_next(f->personal, column));
		struct verdict own;
		own.value.kind = p->kind;
		own.value.number_known = own.value.moment_known = false; /* what is known by them is set with them */
		if (typed) {
			typed_value(p, w.text || looked_at, room, &own.value);
		} else {
			own.value.text = p->form == PASS_TEXT ? p->text : f->copies.data + p->offset;
			own.value.len = p->len;
		}
		if (looked_at)
			personal_value(f->personal, column, f->first_row + p->record, own.value.text, own.value.len);
		c->there[p->record] = counts_as_missing(cc, &own.value) ? 2 : 1;
		if (c->there[p->record] == 2)
			continue;
		values++;
		r = judge_value(f, column, p, &own, &w, &g);
	}
	if (!r)
		r = give(f, cc, &g);
	count_examined(f, cc, values);
	count_records(f, cc, c);
	memo_judge(cc);
	return r;
}
