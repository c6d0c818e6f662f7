/*
 * Rows of a file that only an engine reads (Parquet), for the checks of a contract: the engine names the file's columns, then hands over some rows
 * at a time, column by column.
 *
 * A table belongs to the thread that reads the file.  Values are borrowed until quality_table_rows returns.
 */
#ifndef MESHFS_CATALOG_QUALITY_TABLE_H
#define MESHFS_CATALOG_QUALITY_TABLE_H

#include "catalog/records.h"

#include <stdbool.h>
#include <stdint.h>

struct quality_table;

/* A column that the file has, by its name; *ret is what the calls below know it by.  0 or -ENOMEM. */
int quality_table_column(struct quality_table *t, const char *name, size_t len, uint32_t *ret);

/* The keys or the values of a map, a list that only quality_table_json gives: the map itself is what a contract declares. */
int quality_table_part(struct quality_table *t, const char *name, size_t len, uint32_t *ret);

/* How an engine holds the values of a column. */
enum table_form {
	TABLE_BOOLS,	/* bool */
	TABLE_INTEGERS, /* int64_t */
	TABLE_NUMBERS,	/* double */
	TABLE_MOMENTS,	/* int64_t, since 1970 */
	TABLE_TEXTS,	/* struct table_text */
	TABLE_THERE,	/* bool: is there one, of a kind that is not looked into? */
};
struct table_text {
	const char *text;
	size_t len;
};
struct table_values {
	enum table_form form;
	enum value_kind kind;  /* of texts: a decimal is one that is a VALUE_NUMBER, a time one that is a VALUE_MOMENT */
	const void *values;    /* by row */
	const uint64_t *there; /* a bit by row, the lowest first: no null; NULL: none is */
	int64_t unit_ns;       /* of moments */
	bool days;	       /* moments: none has a time of day */
};

/* `count` rows follow, of which the first is `row` of the file (from 1). */
void quality_table_at(struct quality_table *t, uint64_t row, uint32_t count);
/* The values of a column in these rows.  0 or -ENOMEM. */
int quality_table_values(struct quality_table *t, uint32_t column, const struct table_values *v);
/* A value of a column of lists or structs, by the column's name, in the `record`th of these rows (from 0): as JSON, in which what is nested has dotted
 * paths; nulls are left out.  -EIO: it is no JSON. */
int quality_table_json(struct quality_table *t, const char *name, uint32_t record, const char *text, size_t len);
/* These were the rows: judges them.  0; -EINTR: nobody wants the rest; -ENOMEM, -EIO. */
int quality_table_rows(struct quality_table *t);

static inline bool table_is_there(const uint64_t *there, size_t row)
{
	return !there || (there[row / 64] >> (row % 64) & 1);
}

#endif
