/*
 * The values of a column in a batch, judged: each is parsed once for all checks and for the column's distribution.
 *
 * Some values at a time, step by step: what is the same for all of them is decided once, and what the processor waits for it fetches for several.
 *
 * Many columns hold few different values.  What was found of a short one is remembered (a cache with one place a value can be in, so that
 * bounded work finds it), until it shows that the column's values seldom repeat.
 */
#include "catalog/quality_block.h"

#include "catalog/base/text.h"

#include <stdlib.h>
#include <string.h>

#define MEMO_SLOTS 256u
#define MEMO_BYTES 16u	  /* longer values are not remembered */
#define MEMO_TRIAL 4096u  /* values after which it must have paid */

struct memo_slot {
	bool used;
	uint64_t head, tail; /* all of a value's bytes, with its length */
	struct cell value;
	uint64_t hash, wrong;
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
	m->tried++;
	if (v->len > MEMO_BYTES)
		return NULL;
	ends_of(v->text, v->len, &head, &tail);
	const uint64_t mixed = (head ^ (tail << 29 | tail >> 35) ^ v->len) * 0x9e3779b97f4a7c15u;
	struct memo_slot *s = &m->slots[mixed >> 56];
	*ret_known = s->used && s->head == head && s->tail == tail && s->value.len == v->len && s->value.kind == v->kind;
	m->found += *ret_known;
	s->head = head;
	s->tail = tail;
	s->used = true;
	return s;
}

static void memo_start(struct column_checks *cc, const struct pass_column *c, size_t texts, bool distinct)
{
	const bool worth = cc->count <= BITS && !distinct && !c->in_key && texts >= MEMO_SLOTS;
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

/* -- putting a block together ------------------------------------------------------------------------ */

static bool has_distinct(const struct quality_file *f, const struct column_checks *cc)
{
	for (size_t k = 0; k < cc->count; k++)
		if (f->q->list.items[cc->checks[k]]->kind == CHECK_DISTINCT)
			return true;
	return false;
}

static bool of_integers(const struct pass_column *c)
{
	return c->table.values && c->table.form == TABLE_INTEGERS;
}

static struct wanted wanted_of(const struct quality_file *f, uint32_t column)
{
	const struct column_checks *cc = &f->object->columns[column];
	struct wanted w = { .distinct = has_distinct(f, cc), .personal = personal_looks(f->personal, column) };
	w.keyed = w.distinct || f->columns[column].in_key;
	if (f->contract_object) {
		const enum logical_type type = f->contract_object->columns[column].type;
		w.numbers = type == TYPE_INTEGER || type == TYPE_NUMBER;
		w.days = type == TYPE_DATE;
	}
	w.text = (w.keyed && !of_integers(&f->columns[column])) || cc->missing || (cc->distribution && !distribution_orders(cc->distribution));
	for (size_t k = 0; k < cc->count; k++) {
		const enum check_kind kind = f->q->list.items[cc->checks[k]]->kind;
		w.text |= kind == CHECK_LENGTH || kind == CHECK_PATTERN || kind == CHECK_FORMAT || kind == CHECK_VALUES;
	}
	return w;
}

static bool counts_as_missing(const struct column_checks *cc, struct cell *v)
{
	return v->kind != VALUE_OBJECT && v->kind != VALUE_ARRAY && word_set_has_cell(&cc->missing->words, v, cc->missing->type);
}

static void look_at_texts(struct block *b)
{
	personal_cells(b->file->personal, b->number, b->file->first_row, b->cells, b->records, b->count);
}

static void drop_missing(struct block *b)
{
	size_t kept = 0;
	for (size_t i = 0; i < b->count; i++) {
		const bool missing = counts_as_missing(b->checks, &b->cells[i]);
		b->column->there[b->records[i]] = missing ? 2 : 1;
		if (missing || kept++ == i)
			continue;
		b->cells[kept - 1] = b->cells[i];
		b->records[kept - 1] = b->records[i];
		b->raw[kept - 1] = b->raw[i];
	}
	b->count = kept;
}

/* The next values into the block.  Returns where to go on. */
static size_t fill(struct block *b, size_t at)
{
	const struct pass_column *c = b->column;
	const struct pass_value *p = &c->values[at], *end = c->count - at < BLOCK ? &c->values[c->count] : p + BLOCK;
	const char *copies = b->file->copies.data;
	unsigned char *there = c->there;
	struct cell *v = b->cells;
	uint32_t *record = b->records;
	for (; p < end; p++, v++) {
		v->kind = p->kind;
		v->number_known = v->moment_known = false; /* what is known by them is set with them */
		v->text = p->copied ? copies + p->offset : p->text;
		v->len = p->len;
		there[p->record] = 1;
		*record++ = p->record;
	}
	b->count = (size_t)(v - b->cells);
	b->raw_tells = false;
	return at + b->count;
}

/* -- judging it ---------------------------------------------------------------------------------------- */

static void hash_some(struct block *b, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		b->hashes[i] = b->raw_tells ? block_mixed(b->raw[i]) : xxh64_of(b->cells[i].text, b->cells[i].len);
}

/* The first BITS of the checks; tell_value sees to the others. */
static void judge_some(struct block *b, size_t from, size_t to)
{
	const struct column_checks *cc = b->checks;
	memset(b->wrong + from, 0, (to - from) * sizeof *b->wrong);
	for (size_t k = 0; k < cc->count && k < BITS; k++)
		check_values(b->file->q->list.items[cc->checks[k]], b->cells + from, to - from, b->wrong + from, 1ull << k);
}

static void judge_remembering(struct block *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct cell *v = &b->cells[i];
		bool known = false;
		struct memo_slot *slot = memo_find(b->checks->memo, v, &known);
		if (known) {
			const char *text = v->text;
			*v = slot->value;
			v->text = text;
			b->hashes[i] = slot->hash;
			b->wrong[i] = slot->wrong;
			continue;
		}
		judge_some(b, i, i + 1);
		if (b->checks->distribution) {
			hash_some(b, i, i + 1);
			distribution_parse(b->checks->distribution, v);
		}
		if (slot) {
			slot->value = *v;
			slot->hash = b->hashes[i];
			slot->wrong = b->wrong[i];
		}
	}
}

#define RUNS_MAX 4u /* of a block; what is in more pieces is hashed */

struct integers {
	int64_t values[BLOCK], low, high;
	size_t count; /* of the block's values, from the first on: all that are before one that is none */
};

/* What a value is told apart by as a key: a number is the same in all its spellings. */
static const char *key_of(const struct block *b, size_t i, char room[CELL_NUMBER_MAX], size_t *ret_len)
{
	const struct cell *v = &b->cells[i];
	if (b->raw_tells) {
		const char *text = text_integer((int64_t)b->raw[i], room + CELL_NUMBER_MAX);
		*ret_len = (size_t)(room + CELL_NUMBER_MAX - text);
		return text;
	}
	const size_t plain = b->wanted.numbers ? cell_plain_number(v, room) : 0;
	*ret_len = plain ? plain : v->len;
	return plain ? room : v->text;
}

/* Is the value, as a key, an integer as text_integer writes it? */
static inline bool is_integer_key(const struct block *b, size_t i, int64_t *ret)
{
	char room[CELL_NUMBER_MAX];
	size_t len;
	if (b->raw_tells) {
		*ret = (int64_t)b->raw[i];
		return true;
	}
	if (text_is_integer(b->cells[i].text, b->cells[i].len, ret))
		return true;
	if (!b->wanted.numbers)
		return false;
	const char *key = key_of(b, i, room, &len);
	return text_is_integer(key, len, ret);
}

/* The block's values that are integers as keys, while all are, and the bounds of all such; hashes for estimates, in which such are their numbers in
 * whatever format. */
static void integers_of(struct block *b, struct integers *ret)
{
	char room[CELL_NUMBER_MAX];
	size_t len;
	int64_t n;
	bool all = true;
	ret->count = 0;
	ret->low = INT64_MAX;
	ret->high = INT64_MIN;
	for (size_t i = 0; i < b->count; i++) {
		if (!is_integer_key(b, i, &n)) {
			const char *key = key_of(b, i, room, &len);
			b->hashes[i] = xxh64_of(key, len);
			all = false;
			continue;
		}
		b->hashes[i] = block_mixed((uint64_t)n);
		ret->values[i] = n;
		ret->count += all;
		ret->low = n < ret->low ? n : ret->low;
		ret->high = n > ret->high ? n : ret->high;
	}
}

/* Where runs of integers that grow by one from record to record end: each with the number of the value after it.  0: there are too many, or other
 * values. */
static size_t runs_of(const struct block *b, const struct integers *all, size_t ends[RUNS_MAX])
{
	size_t runs = 0;
	if (all->count < b->count)
		return 0;
	for (size_t i = 1; i <= b->count; i++) {
		const bool goes_on = i < b->count && (uint64_t)all->values[i] - (uint64_t)all->values[i - 1] == 1 && b->records[i] - b->records[i - 1] == 1;
		if (goes_on)
			continue;
		if (runs == RUNS_MAX)
			return 0;
		ends[runs++] = i;
	}
	return runs;
}

static int add_runs(struct block *b, struct distinct *d, const struct integers *all, const size_t *ends, size_t runs)
{
	int r = 0;
	for (size_t k = 0, start = 0; k < runs && !r; start = ends[k++])
		r = distinct_add_run(d, all->values[start], ends[k] - start, pass_place(b->file, b->file->first_row + b->records[start]));
	return r;
}

static void hash_items(struct block *b)
{
	struct quality_file *f = b->file;
	char room[CELL_NUMBER_MAX];
	size_t len;
	for (size_t i = 0; i < b->count; i++) {
		struct distinct_item *item = &b->items[i];
		const char *key = key_of(b, i, room, &len);
		xxh128_of(key, len, &item->hash);
		item->place = pass_place(f, f->first_row + b->records[i]);
		if (b->column->in_key)
			b->column->hashes[b->records[i]] = item->hash;
	}
}

/* Keys and values that must differ, which are told apart by more bits than estimates need. */
static int judge_keyed(struct block *b)
{
	struct quality_file *f = b->file;
	struct integers integers;
	size_t ends[RUNS_MAX];
	int r = 0;
	integers_of(b, &integers);
	const size_t runs = runs_of(b, &integers, ends);
	if (!runs || b->column->in_key)
		hash_items(b);
	for (size_t k = 0; k < b->checks->count && !r; k++) {
		struct check *c = f->q->list.items[b->checks->checks[k]];
		if (c->kind == CHECK_DISTINCT)
			r = runs ? add_runs(b, c->distinct, &integers, ends, runs) : distinct_add_many(c->distinct, b->items, b->count, integers.low, integers.high);
	}
	return r;
}

/* -- what was found ------------------------------------------------------------------------------------- */

static void tell(struct quality_file *f, size_t check, uint64_t row)
{
	if (f->q->list.items[check]->kind == CHECK_FRESH)
		f->tallies[check].wrong++;
	else
		pass_wrong(f, check, row);
}

static void tell_value(struct block *b, size_t i)
{
	struct quality_file *f = b->file;
	const struct column_checks *cc = b->checks;
	const uint64_t row = f->first_row + b->records[i];
	for (uint64_t wrong = b->wrong[i]; wrong; wrong &= wrong - 1)
		tell(f, cc->checks[__builtin_ctzll(wrong)], row);
	for (size_t k = BITS; k < cc->count; k++) {
		uint64_t wrong = 0;
		check_values(f->q->list.items[cc->checks[k]], &b->cells[i], 1, &wrong, 1);
		if (wrong)
			tell(f, cc->checks[k], row);
	}
}

void block_tell(struct block *b)
{
	const bool more = b->checks->count > BITS;
	uint64_t any = more;
	for (size_t i = 0; i < b->count; i++)
		any |= b->wrong[i];
	for (size_t i = 0; any && i < b->count; i++)
		if (b->wrong[i] || more)
			tell_value(b, i);
}

/* `text`: the values came as texts, so that what was found of some may be remembered. */
static int judge_block(struct block *b, bool text)
{
	struct distribution *d = b->checks->distribution;
	int r = 0;
	if (text && b->checks->memo) {
		judge_remembering(b);
	} else {
		judge_some(b, 0, b->count);
		if (b->wanted.keyed)
			r = judge_keyed(b);
		else if (d)
			hash_some(b, 0, b->count);
	}
	if (d)
		distribution_add(d, b->hashes, b->cells, b->count);
	block_tell(b);
	return r;
}

/* -- all of them --------------------------------------------------------------------------------------- */

static void count_examined(struct quality_file *f, const struct column_checks *cc, uint64_t values)
{
	for (size_t k = 0; k < cc->count; k++)
		f->tallies[cc->checks[k]].examined += values;
}

/* Records that have a value and are not rejected, eight at a time: all of these bytes are 0 to 2, and 0 or 1. */
static void count_records(const struct quality_file *f, struct column_checks *cc, const struct pass_column *c)
{
	const size_t records = f->rejected.len;
	for (size_t i = 0; i < records; i += 8) {
		uint64_t there = 0, rejected = 0;
		memcpy(&there, c->there + i, records - i < 8 ? records - i : 8);
		memcpy(&rejected, f->rejected.data + i, records - i < 8 ? records - i : 8);
		cc->records += (there & ~rejected & 0x0101010101010101u) * 0x0101010101010101u >> 56; /* the sum of these bytes */
	}
}

/* Values that came as texts, or one by one. */
static int judge_values(struct block *b, uint64_t *values)
{
	const struct pass_column *c = b->column;
	int r = 0;
	for (size_t at = 0; at < c->count && !r;) {
		at = fill(b, at);
		if (b->wanted.personal)
			look_at_texts(b);
		if (b->checks->missing)
			drop_missing(b);
		r = judge_block(b, true);
		*values += b->count;
	}
	return r;
}

/* Values that an engine holds. */
static int judge_table(struct block *b, uint64_t *values)
{
	const enum table_form form = b->column->table.form;
	int r = 0;
	if (typed_judge(b, values))
		return 0;
	for (size_t at = 0; at < b->file->rejected.len && !r;) {
		at = typed_fill(b, at);
		if (b->wanted.personal && form == TABLE_TEXTS)
			look_at_texts(b);
		else if (b->wanted.personal && form != TABLE_BOOLS)
			typed_look(b);
		if (b->checks->missing)
			drop_missing(b);
		r = judge_block(b, form == TABLE_TEXTS);
		*values += b->count;
	}
	return r;
}

int pass_column_judge(struct quality_file *f, uint32_t column)
{
	struct pass_column *c = &f->columns[column];
	struct column_checks *cc = &f->object->columns[column];
	const bool table = c->table.values != NULL;
	struct block b;
	uint64_t values = 0;
	b.file = f;
	b.checks = cc;
	b.column = c;
	b.number = column;
	b.wanted = wanted_of(f, column);
	memo_start(cc, c, table && c->table.form == TABLE_TEXTS ? f->rejected.len : c->count, b.wanted.distinct);
	int r = judge_values(&b, &values);
	if (!r && table)
		r = judge_table(&b, &values);
	count_examined(f, cc, values);
	count_records(f, cc, c);
	memo_judge(cc);
	return r;
}
