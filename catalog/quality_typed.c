/* Columns whose values an engine holds as what they are: numbers and moments are judged as such, and become texts only where those are wanted. */
#include "catalog/quality_block.h"

#include "catalog/base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAY_NS (86400 * NS_PER_S)
#define DATE_BYTES 10u		    /* 2026-11-22 */
#define FIRST_SECOND (-62135596800) /* of the year 0001 */
#define LAST_SECOND 253402300799    /* of the year 9999 */

/* -- single values, as cells ------------------------------------------------------------------------- */

static double as_number(uint64_t raw)
{
	double number;
	memcpy(&number, &raw, sizeof number);
	return number;
}

/* The text of a moment: as a date where the column has those, as fine as it is. */
static size_t moment_text(int64_t ns, bool day, char room[CLOCK_TEXT_MAX])
{
	clock_format_ns(ns, room);
	if (day && ns % DAY_NS == 0)
		return DATE_BYTES;
	const size_t len = strlen(room);
	const long long beyond = (ns % 1000000 + 1000000) % 1000000; /* of the milliseconds */
	return beyond ? len - 1 + (size_t)sprintf(room + len - 1, "%06lldZ", beyond) : len;
}

/* The text of a number or a moment, in `room`. */
static const char *text_of(const struct block *b, uint64_t raw, char room[CLOCK_TEXT_MAX], size_t *ret_len)
{
	const enum table_form form = b->column->table.form;
	if (form == TABLE_INTEGERS) {
		const char *text = text_integer((int64_t)raw, room + CLOCK_TEXT_MAX);
		*ret_len = (size_t)(room + CLOCK_TEXT_MAX - text);
		return text;
	}
	if (form == TABLE_MOMENTS) {
		*ret_len = moment_text((int64_t)raw, b->wanted.days, room);
		return room;
	}
	if (snprintf(room, CLOCK_TEXT_MAX, "%.15g", as_number(raw)), strtod(room, NULL) != as_number(raw))
		snprintf(room, CLOCK_TEXT_MAX, "%.17g", as_number(raw));
	*ret_len = strlen(room);
	return room;
}

static void number_cell(struct cell *v, double number)
{
	v->kind = VALUE_NUMBER;
	v->number = number;
	v->is_number = true;
	v->has_number = isfinite(number);
	v->is_integer = v->has_number && floor(number) == number;
}

/* False: it is beyond 1678 to 2261, which nanoseconds do not reach. */
static bool moment_ns(const struct table_values *t, int64_t value, uint64_t *ret_raw)
{
	int64_t ns;
	const bool fits = !__builtin_mul_overflow(value, t->unit_ns, &ns);
	*ret_raw = (uint64_t)(fits ? ns : value);
	return fits;
}

/* A moment that nanoseconds do not reach has a text always, and comes before or after all others.  Beyond the years 0001 to 9999 there is none. */
static void far_cell(struct cell *v, const struct table_values *t, int64_t value, bool day, char room[CLOCK_TEXT_MAX])
{
	const int64_t unit = NS_PER_S / t->unit_ns, seconds = value / unit - (value % unit < 0);
	v->kind = seconds < FIRST_SECOND || seconds > LAST_SECOND ? VALUE_OBJECT : VALUE_MOMENT;
	if (v->kind == VALUE_OBJECT)
		return;
	clock_format_seconds(seconds, room);
	v->text = room;
	v->len = day && seconds % (DAY_NS / NS_PER_S) == 0 ? DATE_BYTES : strlen(room);
	v->moment_ns = clock_clamp(seconds, 0);
	v->has_moment = true;
}

static void moment_cell(struct cell *v, const struct table_values *t, int64_t value, bool day, char room[CLOCK_TEXT_MAX], uint64_t *ret_raw)
{
	if (!moment_ns(t, value, ret_raw)) {
		far_cell(v, t, value, day, room);
		return;
	}
	v->kind = VALUE_MOMENT;
	v->moment_ns = (int64_t)*ret_raw;
	v->has_moment = true;
}

static void typed_cell(struct block *b, size_t at, size_t n)
{
	const struct table_values *t = &b->column->table;
	struct cell *v = &b->cells[n];
	uint64_t *ret_raw = &b->raw[n];
	v->text = "";
	v->len = 0;
	v->number_known = v->moment_known = true;
	v->is_number = v->is_integer = v->has_number = v->has_moment = false;
	if (t->form == TABLE_INTEGERS) {
		*ret_raw = ((const uint64_t *)t->values)[at];
		number_cell(v, (double)(int64_t)*ret_raw);
	} else if (t->form == TABLE_NUMBERS) {
		*ret_raw = ((const uint64_t *)t->values)[at];
		number_cell(v, as_number(*ret_raw));
	} else {
		moment_cell(v, t, ((const int64_t *)t->values)[at], b->wanted.days, b->rooms[n], ret_raw);
	}
}

static void text_cell(struct cell *v, enum value_kind kind, const char *text, size_t len)
{
	v->kind = kind;
	v->text = text;
	v->len = len;
	v->number_known = v->moment_known = false;
}

static void give_texts(struct block *b)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->cells[i].kind != VALUE_OBJECT && !b->cells[i].len)
			b->cells[i].text = text_of(b, b->raw[i], b->rooms[i], &b->cells[i].len);
}

size_t typed_fill(struct block *b, size_t at)
{
	const struct table_values *t = &b->column->table;
	const bool raw = t->form != TABLE_TEXTS && t->form != TABLE_BOOLS;
	const size_t rows = b->file->rejected.len;
	size_t n = 0;
	for (; at < rows && n < BLOCK; at++) {
		if (!table_is_there(t->there, at))
			continue;
		if (t->form == TABLE_TEXTS) {
			const struct table_text *text = (const struct table_text *)t->values + at;
			text_cell(&b->cells[n], t->kind, text->len ? text->text : "", text->len);
		} else if (t->form == TABLE_BOOLS) {
			const bool yes = ((const bool *)t->values)[at];
			text_cell(&b->cells[n], VALUE_BOOL, yes ? "true" : "false", yes ? 4 : 5);
		} else {
			typed_cell(b, at, n);
		}
		b->column->there[at] = 1;
		b->records[n++] = (uint32_t)at;
	}
	b->count = n;
	b->raw_tells = raw && !b->wanted.text;
	if (raw && b->wanted.text)
		give_texts(b);
	return at;
}

void typed_look(struct block *b)
{
	struct personal_file *personal = b->file->personal;
	char room[CLOCK_TEXT_MAX];
	size_t len;
	for (size_t i = 0; (i += personal_skip(personal, b->number, b->count - i)) < b->count; i++) {
		const char *text = text_of(b, b->raw[i], room, &len);
		personal_number(personal, b->number, b->file->first_row + b->records[i], text, len);
	}
}

/* -- all values of a column ---------------------------------------------------------------------------- */

/* Can the check be answered without looking at single values (its type says it), or by their numbers alone? */
static bool is_plain(const struct check *c, const struct table_values *t)
{
	const enum table_form form = t->form;
	const bool number = form == TABLE_INTEGERS || form == TABLE_NUMBERS;
	if (c->kind == CHECK_TYPE && !c->integers && !c->item && !c->container)
		return c->type == TYPE_NONE || (number && c->type == TYPE_NUMBER) || (form == TABLE_INTEGERS && c->type == TYPE_INTEGER) ||
		       (form == TABLE_MOMENTS && (c->type == TYPE_TIMESTAMP || (c->type == TYPE_DATE && t->days)));
	return c->kind == CHECK_RANGE && number && c->type != TYPE_DATE && c->type != TYPE_TIMESTAMP && c->type != TYPE_TIME;
}

static bool all_plain(const struct block *b)
{
	const struct column_checks *cc = b->checks;
	const enum table_form form = b->column->table.form;
	bool plain = (form == TABLE_INTEGERS || form == TABLE_NUMBERS || form == TABLE_MOMENTS) && !b->wanted.text && !b->wanted.keyed && cc->count <= BITS;
	for (size_t k = 0; k < cc->count && plain; k++)
		plain = is_plain(b->file->q->list.items[cc->checks[k]], &b->column->table);
	return plain;
}

/* Is each value that is there a moment? */
static bool all_fit(const struct block *b)
{
	const struct table_values *t = &b->column->table;
	const int64_t *values = t->values;
	uint64_t raw;
	bool fit = true;
	for (size_t i = 0; t->form == TABLE_MOMENTS && i < b->file->rejected.len; i++)
		fit &= moment_ns(t, values[i], &raw) || !table_is_there(t->there, i);
	return fit;
}

/* The values that are there, from that of record `at` on; returns where to go on. */
static size_t gather(struct block *b, size_t at)
{
	const struct table_values *t = &b->column->table;
	const uint64_t *values = t->values;
	const size_t rows = b->file->rejected.len;
	size_t n = 0;
	for (; at < rows && n < BLOCK; at++) {
		if (!table_is_there(t->there, at))
			continue;
		b->raw[n] = values[at];
		b->records[n++] = (uint32_t)at;
		b->column->there[at] = 1;
	}
	for (size_t i = 0; i < n && t->form == TABLE_MOMENTS; i++)
		moment_ns(t, (int64_t)b->raw[i], &b->raw[i]);
	b->count = n;
	return at;
}

static void numbers_of(const struct block *b, double numbers[BLOCK])
{
	if (b->column->table.form == TABLE_INTEGERS)
		for (size_t i = 0; i < b->count; i++)
			numbers[i] = (double)(int64_t)b->raw[i];
	else
		memcpy(numbers, b->raw, b->count * sizeof *numbers);
}

static void judge_range(struct block *b, const struct check *c, const double numbers[BLOCK], uint64_t bit)
{
	const double low = c->has_low ? c->low : -HUGE_VAL, high = c->has_high ? c->high : HUGE_VAL;
	for (size_t i = 0; i < b->count; i++) {
		const double n = numbers[i];
		const bool right = isfinite(n) && (c->low_exclusive ? n > low : n >= low) && (c->high_exclusive ? n < high : n <= high);
		b->wrong[i] |= right ? 0 : bit;
	}
}

/* What the distribution orders by. */
static size_t measures_of(const struct block *b, const double numbers[BLOCK], double ret[BLOCK])
{
	const bool moments = b->column->table.form == TABLE_MOMENTS;
	size_t n = 0;
	if (distribution_orders_moments(b->checks->distribution) != moments)
		return 0;
	for (size_t i = 0; i < b->count; i++) {
		ret[n] = moments ? (double)(int64_t)b->raw[i] / NS_PER_S : numbers[i];
		n += isfinite(ret[n]) != 0;
	}
	return n;
}

static void judge_numbers(struct block *b)
{
	const struct column_checks *cc = b->checks;
	double numbers[BLOCK], measures[BLOCK];
	memset(b->wrong, 0, b->count * sizeof *b->wrong);
	numbers_of(b, numbers);
	for (size_t k = 0; k < cc->count; k++)
		if (b->file->q->list.items[cc->checks[k]]->kind == CHECK_RANGE)
			judge_range(b, b->file->q->list.items[cc->checks[k]], numbers, 1ull << k);
	if (cc->distribution) {
		for (size_t i = 0; i < b->count; i++)
			b->hashes[i] = block_mixed(b->raw[i]);
		distribution_add_numbers(cc->distribution, b->hashes, b->count, measures, measures_of(b, numbers, measures));
	}
	block_tell(b);
}

bool typed_judge(struct block *b, uint64_t *values)
{
	if (!all_plain(b) || !all_fit(b))
		return false;
	for (size_t at = 0; at < b->file->rejected.len;) {
		at = gather(b, at);
		judge_numbers(b);
		if (b->wanted.personal)
			typed_look(b);
		*values += b->count;
	}
	return true;
}
