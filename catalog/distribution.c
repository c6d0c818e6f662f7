#include "catalog/distribution.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REGISTER_BITS 11
#define REGISTERS (1u << REGISTER_BITS)
#define SLOTS (2 * DISTRIBUTION_COMMON_MAX)
#define TEXT_BYTES_MAX 64u /* of a text that is told */

const double distribution_quantiles[DISTRIBUTION_QUANTILES] = { 0.05, 0.25, 0.5, 0.75, 0.95 };

struct common {
	uint64_t hash, count; /* count 0: free */
	char *text;           /* NULL: not kept */
};

struct distribution {
	enum logical_type type;
	bool values;
	uint64_t count, ordered; /* ordered: those that are numbers, or dates */
	struct common *common;   /* SLOTS of them, while there are few different values; then NULL */
	size_t common_count;
	unsigned char *registers; /* HyperLogLog, when there are many */
	double low, high;
	double *sample;
	uint64_t next, random; /* which ordered value the sample takes next; Algorithm L (Li, 1994) */
	double weight;
};

static bool has_order(enum logical_type t)
{
	return t == TYPE_INTEGER || t == TYPE_NUMBER || t == TYPE_DATE || t == TYPE_TIMESTAMP;
}

struct distribution *distribution_new(enum logical_type type, bool values)
{
	struct distribution *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	d->type = type;
	d->values = values;
	d->random = 0x9e3779b97f4a7c15u;
	d->weight = 1;
	d->common = calloc(SLOTS, sizeof *d->common);
	d->sample = values && has_order(type) ? malloc(DISTRIBUTION_SAMPLE * sizeof *d->sample) : NULL;
	if (d->common && (d->sample || !values || !has_order(type)))
		return d;
	distribution_free(d);
	return NULL;
}

bool distribution_orders(const struct distribution *d)
{
	return has_order(d->type);
}

bool distribution_orders_moments(const struct distribution *d)
{
	return d->type == TYPE_DATE || d->type == TYPE_TIMESTAMP;
}

static void common_free(struct distribution *d)
{
	for (size_t i = 0; d->common && i < SLOTS; i++)
		free(d->common[i].text);
	free(d->common);
	d->common = NULL;
}

void distribution_free(struct distribution *d)
{
	if (!d)
		return;
	common_free(d);
	free(d->registers);
	free(d->sample);
	free(d);
}

/* -- different values ------------------------------------------------------------------------- */

static void register_add(struct distribution *d, uint64_t hash)
{
	uint64_t rest = hash << REGISTER_BITS | 1ull << (REGISTER_BITS - 1); /* the bit bounds the rank */
	unsigned char rank = (unsigned char)(__builtin_clzll(rest) + 1), *at = &d->registers[hash >> (64 - REGISTER_BITS)];
	if (*at < rank)
		*at = rank;
}

/* Too many different values to count one by one.  Without memory for the registers the number stays unknown (0). */
static void give_up_counting(struct distribution *d)
{
	d->registers = calloc(REGISTERS, 1);
	for (size_t i = 0; d->registers && i < SLOTS; i++)
		if (d->common[i].count)
			register_add(d, d->common[i].hash);
	common_free(d);
}

static void count_one(struct distribution *d, uint64_t hash, const struct cell *v)
{
	size_t at = hash & (SLOTS - 1);
	while (d->common[at].count && d->common[at].hash != hash)
		at = (at + 1) & (SLOTS - 1);
	struct common *c = &d->common[at];
	if (c->count++)
		return;
	c->hash = hash;
	if (v && d->values && !d->sample && v->len <= TEXT_BYTES_MAX)
		c->text = text_printable(v->text, v->len);
	if (++d->common_count > DISTRIBUTION_COMMON_MAX)
		give_up_counting(d);
}

/* `values` may be NULL: numbers, whose texts nobody keeps. */
static void count_values(struct distribution *d, const uint64_t *hashes, const struct cell *values, size_t count)
{
	size_t i = 0;
	d->count += count;
	for (; i < count && d->common; i++)
		count_one(d, hashes[i], values ? &values[i] : NULL);
	for (; i < count && d->registers; i++)
		register_add(d, hashes[i]);
}

static uint64_t estimate(const unsigned char *registers)
{
	double sum = 0, m = REGISTERS, alpha = 0.7213 / (1 + 1.079 / m);
	unsigned empty = 0;
	for (unsigned i = 0; i < REGISTERS; i++) {
		sum += ldexp(1, -registers[i]);
		empty += !registers[i];
	}
	double n = alpha * m * m / sum;
	if (n <= 2.5 * m && empty)
		n = m * log(m / empty);
	return (uint64_t)(n + 0.5);
}

/* -- values in order ---------------------------------------------------------------------------- */

/* A number in (0, 1): xorshift, so that the same values give the same sample. */
static double draw(struct distribution *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return ((double)(d->random >> 11) + 0.5) * 0x1p-53;
}

static void skip(struct distribution *d)
{
	d->weight *= exp(log(draw(d)) / DISTRIBUTION_SAMPLE);
	double gap = floor(log(draw(d)) / log1p(-d->weight));
	d->next += gap < 1e15 ? (uint64_t)gap + 1 : (uint64_t)1 << 50;
}

static void sample_values(struct distribution *d, const double *values, size_t count)
{
	const uint64_t before = d->ordered;
	for (size_t i = 0; i < count && before + i < DISTRIBUTION_SAMPLE; i++) {
		d->sample[before + i] = values[i];
		if (before + i + 1 == DISTRIBUTION_SAMPLE) {
			d->next = before + i;
			skip(d);
		}
	}
	while (before + count > DISTRIBUTION_SAMPLE && d->next < before + count) {
		const double v = values[d->next - before];
		d->sample[(size_t)(draw(d) * DISTRIBUTION_SAMPLE)] = v;
		skip(d);
	}
}

static void order_values(struct distribution *d, const double *values, size_t count)
{
	if (!count)
		return;
	double low = d->ordered ? d->low : values[0], high = d->ordered ? d->high : values[0];
	for (size_t i = 0; i < count; i++) {
		low = low < values[i] ? low : values[i];
		high = high > values[i] ? high : values[i];
	}
	d->low = low;
	d->high = high;
	sample_values(d, values, count);
	d->ordered += count;
}

/* What is ordered by of a value.  False: it has none. */
static bool measure(const struct distribution *d, struct cell *v, double *ret)
{
	int64_t ns, s, beyond;
	if (!distribution_orders_moments(d))
		return cell_number(v, ret);
	if (!cell_moment(v, &ns))
		return false;
	*ret = (double)ns / NS_PER_S;
	if ((ns == INT64_MIN || ns == INT64_MAX) && !clock_parse_seconds(v->text, v->len, &s, &beyond))
		*ret = (double)s;
	return true;
}

void distribution_parse(const struct distribution *d, struct cell *v)
{
	double measured;
	if (d->sample)
		measure(d, v, &measured);
}

void distribution_add(struct distribution *d, const uint64_t *hashes, struct cell *values, size_t count)
{
	double measured[DISTRIBUTION_BLOCK];
	size_t n = 0;
	count_values(d, hashes, values, count);
	for (size_t i = 0; d->sample && i < count; i++)
		n += measure(d, &values[i], &measured[n]);
	order_values(d, measured, n);
}

void distribution_add_numbers(struct distribution *d, const uint64_t *hashes, size_t count, const double *measured, size_t measured_count)
{
	count_values(d, hashes, NULL, count);
	if (d->sample)
		order_values(d, measured, measured_count);
}

/* -- the end --------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

void distribution_summarize(struct distribution *d, struct distribution_summary *ret)
{
	size_t n = d->ordered < DISTRIBUTION_SAMPLE ? (size_t)d->ordered : DISTRIBUTION_SAMPLE;
	*ret = (struct distribution_summary){ .values = d->count, .distinct = d->common ? d->common_count : d->registers ? estimate(d->registers) : 0,
					      .exact = d->common != NULL, .ordered = n > 0, .low = d->low, .high = d->high };
	if (ret->distinct > d->count)
		ret->distinct = d->count;
	if (!n)
		return;
	qsort(d->sample, n, sizeof *d->sample, by_value); /* nothing is added after this */
	for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++)
		ret->quantiles[i] = d->sample[(size_t)(distribution_quantiles[i] * (double)(n - 1) + 0.5)];
}

static void point(struct json *j, enum logical_type type, double v)
{
	char when[CLOCK_TEXT_MAX];
	if (isnan(v)) {
		json_null(j);
	} else if (type == TYPE_DATE || type == TYPE_TIMESTAMP) {
		if (fabs(v) < (double)(INT64_MAX / NS_PER_S))
			clock_format_ns((int64_t)(v * NS_PER_S), when);
		else
			clock_format_seconds((int64_t)v, when);
		when[type == TYPE_DATE ? 10 : strlen(when)] = '\0';
		json_text(j, when);
	} else {
		json_double(j, v);
	}
}

static int commonest(const void *a, const void *b)
{
	const struct common *x = *(struct common *const *)a, *y = *(struct common *const *)b;
	return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->text, y->text);
}

static void common_json(struct json *j, const struct distribution *d)
{
	const struct common *told[SLOTS];
	size_t n = 0;
	for (size_t i = 0; d->common && i < SLOTS; i++)
		if (d->common[i].text && d->common[i].count >= DISTRIBUTION_COMMON_LEAST)
			told[n++] = &d->common[i];
	if (!n)
		return;
	qsort(told, n, sizeof *told, commonest);
	json_key(j, "top");
	json_open(j, '[');
	for (size_t i = 0; i < n && i < DISTRIBUTION_COMMON_TOLD; i++) {
		json_open(j, '{');
		json_field_text(j, "value", told[i]->text);
		json_field_int(j, "count", (int64_t)told[i]->count);
		json_close(j, '}');
	}
	json_close(j, ']');
}

void distribution_json(struct json *j, enum logical_type type, uint64_t nulls, const struct distribution_summary *s, const struct distribution *d)
{
	json_field_int(j, "values", (int64_t)s->values);
	json_field_int(j, "nulls", (int64_t)nulls);
	if (s->distinct) {
		json_field_int(j, "distinct", (int64_t)s->distinct);
		json_field_bool(j, "exact", s->exact);
	}
	if (s->ordered) {
		json_key(j, "min");
		point(j, type, s->low);
		json_key(j, "max");
		point(j, type, s->high);
		json_key(j, "quantiles");
		json_open(j, '[');
		for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++)
			point(j, type, s->quantiles[i]);
		json_close(j, ']');
	}
	if (d)
		common_json(j, d);
}
