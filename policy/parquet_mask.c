#include "policy/parquet_mask.h"

#include <stdio.h>

#define DECIMAL_PRECISION_MAX 38

/* Numbers of Parquet's enumerations: converted types, and fields of the union of logical types. */
enum { CONVERTED_UTF8 = 0, CONVERTED_ENUM = 4, CONVERTED_DECIMAL = 5, CONVERTED_DATE = 6, CONVERTED_MILLIS = 9, CONVERTED_MICROS = 10, CONVERTED_UINT_64 = 14,
       CONVERTED_JSON = 19 };
enum { LOGICAL_STRING = 1, LOGICAL_ENUM = 4, LOGICAL_DECIMAL = 5, LOGICAL_DATE = 6, LOGICAL_TIMESTAMP = 8, LOGICAL_JSON = 12 };

static bool is_decimal(const struct parquet_element *el)
{
	return el->converted == CONVERTED_DECIMAL || el->logical == LOGICAL_DECIMAL;
}

static bool is_timestamp(const struct parquet_element *el)
{
	return el->type == PARQUET_INT96 || (el->type == PARQUET_INT64 && (el->logical == LOGICAL_TIMESTAMP || el->converted == CONVERTED_MILLIS ||
									    el->converted == CONVERTED_MICROS));
}

bool parquet_is_text(const struct parquet_element *el)
{
	return el->type == PARQUET_BYTES && !is_decimal(el);
}

bool parquet_is_escaped(const struct parquet_element *el)
{
	int c = el->converted, l = el->logical;
	return parquet_is_text(el) && c != CONVERTED_UTF8 && c != CONVERTED_ENUM && c != CONVERTED_JSON && l != LOGICAL_STRING && l != LOGICAL_ENUM &&
	       l != LOGICAL_JSON;
}

/* Digits before the point. */
static int whole_digits(const struct decimal *d)
{
	int n = d->exponent;
	for (unsigned __int128 v = d->digits; v; v /= 10)
		n++;
	return n > 0 ? n : 0;
}

/* Room for the column's digits and the mask's number on both sides of the point; rounding may carry into one more. */
static void decimal_type(int whole, int scale, const struct mask_run *m, char ret[PARQUET_TYPE_TEXT_MAX])
{
	int of_number = whole_digits(&m->number), fraction = m->number.exponent < 0 ? -m->number.exponent : 0;
	if (m->mask.kind == MASK_ROUND)
		whole = (whole > of_number ? whole : of_number) + 1;
	else if (m->mask.kind == MASK_TOP && m->number.negative && of_number > whole)
		whole = of_number; /* every value may become it */
	scale = scale > fraction ? scale : fraction;
	scale = scale < DECIMAL_PRECISION_MAX ? scale : DECIMAL_PRECISION_MAX;
	int precision = whole + scale < DECIMAL_PRECISION_MAX ? whole + scale : DECIMAL_PRECISION_MAX;
	snprintf(ret, PARQUET_TYPE_TEXT_MAX, "DECIMAL(%d,%d)", precision > 0 ? precision : 1, scale);
}

static void integer_type(const struct parquet_element *el, const struct mask_run *m, char ret[PARQUET_TYPE_TEXT_MAX])
{
	bool unsigned_64 = el->converted == CONVERTED_UINT_64 || (el->type == PARQUET_INT64 && el->is_unsigned);
	bool never = m->mask.kind == MASK_TOP && !m->number.negative; /* a limit that no integer reaches changes none */
	bool fits = m->number.exponent >= 0 && (never || whole_digits(&m->number) <= 18);
	if (m->mask.kind == MASK_KEEP || fits)
		snprintf(ret, PARQUET_TYPE_TEXT_MAX, "%s", unsigned_64 && !m->number.negative ? "UBIGINT" : "BIGINT");
	else
		decimal_type(el->type == PARQUET_INT32 ? 10 : 20, 0, m, ret);
}

void parquet_type_after(const struct parquet_element *el, const struct mask_run *m, char ret[PARQUET_TYPE_TEXT_MAX])
{
	bool number = mask_keeps_number(m), date = m->mask.kind == MASK_YEAR || m->mask.kind == MASK_MONTH;
	const char *name = "VARCHAR";
	if (date && el->type == PARQUET_INT32 && (el->converted == CONVERTED_DATE || el->logical == LOGICAL_DATE)) {
		name = "DATE";
	} else if (date && is_timestamp(el)) {
		name = el->utc ? "TIMESTAMPTZ" : "TIMESTAMP";
	} else if (number && is_decimal(el)) {
		decimal_type(el->precision - el->scale, el->scale, m, ret);
		return;
	} else if (number && (el->type == PARQUET_FLOAT || el->type == PARQUET_DOUBLE)) {
		name = "DOUBLE";
	} else if (number && !is_timestamp(el) && (el->type == PARQUET_INT32 || el->type == PARQUET_INT64)) {
		integer_type(el, m, ret);
		return;
	}
	snprintf(ret, PARQUET_TYPE_TEXT_MAX, "%s", name);
}
