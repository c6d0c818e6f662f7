/*
 * Values: what rules compare.  One type serves literals of the language, attributes of a decision, and fields of rows.
 *
 * Numbers are exact: an integer of up to 18 digits is held as int64, any other decimal by its text, and comparisons are made on
 * decimals, never on binary fractions.  Times are seconds and nanoseconds since the epoch, so that 9999-12-31 is a date like any other.
 *
 * Thread rules: pure functions.  `text` is borrowed from whoever made the value.
 */
#ifndef MESHFS_POLICY_VALUE_H
#define MESHFS_POLICY_VALUE_H

#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_kind {
	VALUE_MISSING, /* there is no such attribute or field (an absent JSON key) */
	VALUE_NULL,    /* an empty CSV field, JSON null, a Parquet null */
	VALUE_INVALID, /* not of the type it should have: whatever is asked of it is unknown, `is null` included */
	VALUE_TEXT,    /* text, len */
	VALUE_NUMBER,  /* text, len: a decimal ("17", "1.5", "-2e7"); `exact`: `integer` holds it too.  Make it by value_parse_number */
	VALUE_BOOL,    /* truth */
	VALUE_TIME,    /* integer: seconds since the epoch; nanos: 0 … 999999999.  Dates are midnight UTC; times of day are on 1970-01-01 */
};

struct row_value {
	enum value_kind kind;
	bool truth;
	bool exact;
	int32_t nanos;
	int64_t integer;
	const char *text;
	size_t len;
};

/*
 * Types the text of a field (a CSV field without its quotes, a JSON string, the digits of a JSON number) as the contract's logicalType
 * says.  TYPE_NONE and TYPE_STRING give text.  Surrounding spaces and tabs are allowed for all but text.  Text that is not of the type gives
 * VALUE_INVALID; so does anything under TYPE_OBJECT and TYPE_ARRAY.  Empty text is an empty text under TYPE_STRING and NULL otherwise: a
 * format that has a null of its own says VALUE_NULL itself and does not ask.
 */
void row_value_parse(enum logical_type type, const char *text, size_t len, struct row_value *ret);

/* A decimal number (JSON's grammar, also with a leading "+" or zeros): false when it is none. */
bool value_parse_number(const char *text, size_t len, struct row_value *ret);
/* "2026-11-22", "2026-11-22T21:20[:00[.fff]][Z|±hh:mm]" (a space may stand for T; no zone means UTC), years 0000 … 9999. */
bool value_parse_time(const char *text, size_t len, struct row_value *ret);

/* *ret_order < 0, 0, > 0 when a is before, equal to, after b; false when the two cannot be compared (different kinds, null, invalid).  Text
 * compares by bytes; false is before true. */
bool value_compare(const struct row_value *a, const struct row_value *b, int *ret_order);

/* Glob over text: `*` any run of bytes, `?` one character (of UTF-8; a byte where it is none).  Linear in practice, never worse than len(glob) × len(text). */
bool value_like(const char *glob, size_t glob_len, const char *text, size_t len);

#endif
