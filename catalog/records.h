/*
 * Records of line formats, read as a stream: CSV, TSV, PSV (RFC 4180) and JSONL.
 *
 * Bytes are fed in pieces of any size; each value is handed over with the number of its column.  Columns of the contract's object come
 * first, in its order; names that the data brings besides get the next numbers.  JSONL: nested values by dotted path, items of
 * arrays under the array's own path, so one record may hold several values of a column.
 *
 * Meant for looking at data at publish (checks, personal data, drafting contracts); views have scanners of their own that keep
 * every byte.  A reader belongs to one thread at a time.
 */
#ifndef MESHFS_CATALOG_RECORDS_H
#define MESHFS_CATALOG_RECORDS_H

#include "catalog/base/err.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_BYTES_MAX (64u << 20)
#define RECORD_COLUMNS_MAX 20000u

/* VALUE_MOMENT: a date, a time or both, of a column that has such a type; in line formats they are texts. */
enum value_kind { VALUE_NULL, VALUE_TEXT, VALUE_NUMBER, VALUE_BOOL, VALUE_OBJECT, VALUE_ARRAY, VALUE_MOMENT };

enum record_format { RECORDS_CSV, RECORDS_JSONL };

/* A field of CSV: VALUE_TEXT, or VALUE_NULL when it is empty and not quoted. */
struct record_field {
	const char *text; /* unescaped */
	size_t len;
	enum value_kind kind;
};

struct records_callbacks {
	/* A column that the contract does not name, at its first sight.  Non-zero stops. */
	int (*on_column)(void *arg, uint32_t column, const char *name, size_t len);
	/* CSV fields come as VALUE_TEXT, an empty unquoted one as VALUE_NULL.  `text` is unescaped, valid during the call; containers have
	 * none, but those of a contract's column that is wanted `whole`: their JSON, after what is in them. */
	int (*on_value)(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len);
	/* Ends record `number` (from 1, the head not counted), which began on line `line`.  `broken` (a reason in words, without
	 * values) when strict parsing rejects it; its values so far were handed over. */
	int (*on_record)(void *arg, uint64_t number, uint64_t line, const char *broken);
	void *arg;
	/* All fields of a record of CSV at once, instead of on_value for each, where it is given; `columns` are their columns. */
	int (*on_fields)(void *arg, const uint32_t *columns, const struct record_field *fields, size_t count);
	/* JSONL: an item of an array, which has the array's column, instead of on_value, where it is given. */
	int (*on_item)(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len);
};

struct records;

/* Can the file be read as records?  By its name: 0, or -EOPNOTSUPP (Parquet, packed, anything else). */
int records_format(const char *path, enum record_format *ret, char *ret_separator);

/* `object` may be NULL (no contract).  With `header` false the columns are the object's, in order.  `separator` 0: found in the head. */
int records_new(enum record_format format, char separator, bool header, const struct contract_object *object,
		const struct records_callbacks *callbacks, struct records **ret);
void records_free(struct records *r);
/* 0; what a callback returned; -ENOMEM; -EFBIG: a record beyond RECORD_BYTES_MAX; -E2BIG: too many columns. */
int records_feed(struct records *r, const char *bytes, size_t len);
int records_end(struct records *r); /* the last record may lack its line end */
/* The number of a column by its name, given anew at first sight. */
int records_column(struct records *r, const char *name, size_t len, uint32_t *ret);
/* Did what was fed so far end with a record's end? */
bool records_between(const struct records *r);

/* CSV: which of the contract's columns the head does not name (after the head was read). */
bool records_has_column(const struct records *r, uint32_t column);
/* CSV: does the head name it more than once?  Fields without a name do not count: nobody asks for them. */
bool records_repeats_column(const struct records *r, uint32_t column);
uint32_t records_column_count(const struct records *r);
const char *records_column_name(const struct records *r, uint32_t column);

#endif
