/*
 * The values of a column in a batch, judged: each is parsed once for all checks and for the column's distribution.
 *
 * Many columns hold few different values.  What was found of a short one is remembered (a cache with one place a value can be in, so that
 * bounded work finds it), until it shows that the column's values seldom repeat.
 */
#include "catalog/quality_pass.h"

#include <stdlib.h>
#include <string.h>

#define MEMO_SLOTS 256u
#define MEMO_BYTES 16u	  /* longer values are not remembered */
#define MEMO_TRIAL 4096u  /* values after which it must have paid */
#define DISTINCT_AT_ONCE 256u
#define BITS 64u

struct verdict {
	struct value value;
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
static struct memo_slot *memo_find(struct column_memo *m, const struct value *v, bool *ret_known)
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

static bool is_wrong(const struct check *c, struct value *v)
{
	return c->kind != CHECK_DISTINCT && check_value(c, v) == (c->kind == CHECK_FRESH); /* that one counts what is right */
}

static void judge(const struct quality_file *f, const struct column_checks *cc, struct verdict *x)
{
	x->wrong = 0;
	for (size_t k = 0; k < cc->count && k < BITS; k++)
		x->wrong |= (uint64_t)is_wrong(f->q->list.items[cc->checks[k]], &x->value) << k;
}

static void tell(struct quality_file *f, const struct column_checks *cc, uint64_t wrong, uint64_t row)
{
	for (; wrong; wrong &= wrong - 1) {
		const size_t at = cc->checks[__builtin_ctzll(wrong)];
		if (f->q->list.items[at]->kind == CHECK_FRESH)
			f->tallies[at].wrong++;
		else
			pass_wrong(f, at, row);
	}
}

/* A column with more checks than bits. */
static void judge_rest(struct quality_file *f, const struct column_checks *cc, struct value *v, uint64_t row)
{
	for (size_t k = BITS; k < cc->count; k++) {
		const size_t at = cc->checks[k];
		if (!is_wrong(f->q->list.items[at], v))
			continue;
		if (f->q->list.items[at]->kind == CHECK_FRESH)
			f->tallies[at].wrong++;
		else
			pass_wrong(f, at, row);
	}
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

int pass_column_judge(struct quality_file *f, uint32_t column)
{
	struct pass_column *c = &f->columns[column];
	struct column_checks *cc = &f->object->columns[column];
	const bool distinct = has_distinct(f, cc), keyed = distinct || c->in_key, personal = personal_looks(f->personal, column);
	struct gathered g;
	uint64_t values = 0;
	int r = 0;
	g.count = 0;
	memo_start(cc, c, distinct);
	for (size_t i = 0; i < c->count && !r; i++) {
		const struct pass_value *p = &c->values[i];
		struct verdict own, *x = &own;
		own.value.kind = p->kind;
		own.value.text = pass_text(f, p);
		own.value.len = p->len;
		own.value.number_known = own.value.moment_known = false; /* what is known by them is set with them */
		const uint64_t row = f->first_row + p->record;
		struct memo_slot *slot = NULL;
		struct xxh128 hash;
		bool known = false;
		if (personal && (p->kind == VALUE_TEXT || p->kind == VALUE_NUMBER))
			personal_value(f->personal, column, row, own.value.text, p->len);
		if (cc->missing && p->kind != VALUE_OBJECT && p->kind != VALUE_ARRAY && word_set_has(&cc->missing->words, own.value.text, p->len)) {
			c->there[p->record] = 2;
			continue;
		}
		c->there[p->record] = 1;
		values++;
		if (cc->memo && (slot = memo_find(cc->memo, &own.value, &known))) {
			if (!known)
				slot->verdict = own;
			x = &slot->verdict;
			x->value.text = own.value.text;
		}
		if (!known)
			judge(f, cc, x);
		if (keyed)
			xxh128_of(x->value.text, p->len, &hash);
		if (c->in_key)
			c->hashes[p->record] = hash;
		if (cc->distribution && !known)
			x->hash = xxh64_of(x->value.text, p->len);
		if (cc->distribution)
			distribution_add(cc->distribution, x->hash, &x->value);
		if (x->wrong)
			tell(f, cc, x->wrong, row);
		if (cc->count > BITS)
			judge_rest(f, cc, &x->value, row);
		if (distinct) {
			g.items[g.count++] = (struct distinct_item){ hash, pass_place(f, row) };
			if (g.count == DISTINCT_AT_ONCE)
				r = give(f, cc, &g);
		}
	}
	if (!r)
		r = give(f, cc, &g);
	count_examined(f, cc, values);
	count_records(f, cc, c);
	memo_judge(cc);
	return r;
}
