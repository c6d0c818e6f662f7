/*
 * Rows of a file that only an engine reads (Parquet), for the checks of a contract: the engine names the file's columns, then hands over some rows
 * at a time, column by column.
 *
 * A table belongs to the thread that reads the file.  Texts are borrowed until quality_table_rows returns.
 */
#ifndef MESHFS_CATALOG_QUALITY_TABLE_H
#define MESHFS_CATALOG_QUALITY_TABLE_H

#include "catalog/records.h"

struct quality_table;

/* A column that the file has, by its name; *ret is what the calls below know it by.  0 or -ENOMEM. */
int quality_table_column(struct quality_table *t, const char *name, size_t len, uint32_t *ret);

/* Rows follow, of which the first is `row` of the file (from 1). */
void quality_table_at(struct quality_table *t, uint64_t row);
/* The value of a column in the `record`th of these rows (from 0); nulls are left out.  0, -ENOMEM or -EFBIG.  VALUE_OBJECT and VALUE_ARRAY have no
 * text, where they are not wanted whole; a decimal is a text that is a VALUE_NUMBER, a time one that is a VALUE_MOMENT. */
int quality_table_text(struct quality_table *t, uint32_t column, uint32_t record, enum value_kind kind, const char *text, size_t len);
/* The same of a column of lists or structs, by its name: the value as JSON, in which what is nested has dotted paths.  -EIO: it is no JSON. */
int quality_table_json(struct quality_table *t, const char *name, uint32_t record, const char *text, size_t len);
int quality_table_bool(struct quality_table *t, uint32_t column, uint32_t record, bool value);
int quality_table_integer(struct quality_table *t, uint32_t column, uint32_t record, int64_t value);
int quality_table_number(struct quality_table *t, uint32_t column, uint32_t record, double value);
int quality_table_moment(struct quality_table *t, uint32_t column, uint32_t record, int64_t microseconds); /* since 1970 */
/* These were `count` rows: judges them.  0; -EINTR: nobody wants the rest; -ENOMEM, -EIO. */
int quality_table_rows(struct quality_table *t, uint32_t count);

#endif
