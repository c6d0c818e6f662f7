/*
 * Inside quality: the pass over files.
 *
 * A piece of a file is read into a batch, the values of each column together (quality_file.c); then the columns are judged, each by one thread at a
 * time and in the order of its values, so that results do not depend on how many threads there are (quality_batch.c, quality_column.c).
 */
#ifndef MESHFS_CATALOG_QUALITY_PASS_H
#define MESHFS_CATALOG_QUALITY_PASS_H

#include "catalog/base/text.h"
#include "catalog/quality_check.h"
#include "catalog/quality_table.h"
#include "catalog/unpack.h"

#include <errno.h>

struct pool;

#define PLACE_ROW_BITS 40 /* a place is (file number << 40) + row */

/* The checks of one column, so that a value meets only its own. */
struct column_checks {
	size_t *checks; /* indices into the list */
	size_t count;
	const struct check *missing; /* what its words are counts as a missing value */
	struct distribution *distribution; /* quality.looks; NULL: beyond QUALITY_COLUMNS_TOLD */
	uint64_t records;                  /* quality.looks: that have a value here */
	struct column_memo *memo;	   /* quality.looks; of values seen before; owned, NULL: none */
	bool memo_off;			   /* it did not pay */
};

struct object_checks {
	struct column_checks *columns;
	size_t column_count;
	struct null_check {
		size_t check, column;
		int64_t parent; /* column of the object it stands in, or -1: a nested column is null only where its parent is there */
	} *nulls; /* checks of columns that need the record's end */
	size_t null_count;
	size_t *whole; /* checks of records and files */
	size_t whole_count;
	bool header;
	char **files; /* quality.lock: the paths that the object claims */
	size_t file_count, parquet_count;
	char *unread;	/* quality.lock: why a file was not read; NULL: all were */
	bool no_engine; /* quality.lock: that is why */
	atomic_ullong rows;
};

struct quality {
	struct contract *contract;
	const struct quality_engine *engine; /* borrowed, or NULL */
	struct scanner *scanner;	     /* quality_table.c; NULL: no file for the engine yet */
	struct check_list list;
	struct object_checks *objects;
	size_t object_count;
	struct object_checks bare; /* of files that no object claims: nothing but personal data is looked for */
	struct personal *personal;
	pthread_mutex_t lock; /* guards the file names and the unclaimed; a leaf */
	pthread_mutex_t looks; /* guards the columns' distributions and the pool; held while a piece is fed, outside everything here */
	struct pool *pool;     /* judges columns beside the thread that feeds; NULL: not needed yet, or there is one processor */
	unsigned helpers;
	char **files;
	size_t file_count;
	struct buf unreadable, unclaimed;
};

#define PASS_BYTES_MAX (1u << 30) /* of a text: records are far smaller */
struct pass_value {
	union {
		const char *text; /* lies where it is until the batch is settled */
		size_t offset;	  /* copied: in `copies` */
	};
	uint32_t len;
	uint32_t record; /* from the batch's first */
	uint8_t kind;
	bool copied;
};

/* A column's values in the records of a batch. */
struct pass_column {
	struct pass_value *values;
	size_t count, capacity;
	struct table_values table; /* those that an engine holds, by record; values NULL: none */
	unsigned char *there;  /* by record: 1 a value, 2 what counts as missing */
	struct xxh128 *hashes; /* by record: of its (last) value; NULL unless a key compares the column */
	size_t there_capacity, hashes_capacity;
	bool in_key;
};

struct quality_file {
	struct quality *q;
	struct object_checks *object;
	const struct contract_object *contract_object;
	char *path;
	uint64_t file_number;
	struct records *records; /* NULL: an engine reads it */
	struct records *nested;	 /* of lists and structs that an engine reads; NULL with records */
	bool *present;		 /* by column of the object: an engine finds it in the file; NULL with records */
	struct unpack *unpack; /* of a .gz or .zst file */
	bool broken;           /* it cannot be unpacked, or a record is too long: noted, and the rest of it is not looked at */
	struct personal_file *personal;
	uint64_t row, first_row; /* under way; the batch's first */
	struct pass_column *columns; /* by column of the object: the batch */
	size_t value_count;
	struct buf copies;	     /* texts that do not lie in the piece */
	struct buf rejected;	     /* by record of the batch: strict parsing rejects it */
	const char *piece;
	size_t piece_len;
	struct tally {
		uint64_t examined, wrong;
		char apart[48]; /* other columns are another thread's */
	} *tallies; /* by check: of this file */
	size_t undeclared;
	struct text_torn torn; /* of CSV: a character under way */
	bool csv, not_utf8;    /* JSON is UTF-8, or broken */
	bool described; /* columns that are new now are part of one that was told of */
};

/* No check of the object has an answer: a file that it claims was not read, or not to its end.  The first reason counts; files without a contract promise
 * nothing. */
int quality_unread_file(struct quality *q, struct object_checks *object, const char *why, bool no_engine);

/* A value of one of the object's columns, of the record under way. */
int batch_add(struct quality_file *f, uint32_t column, enum value_kind kind, const char *text, size_t len);
/* The place of a column's next value, of which all but the record is still to be set; NULL without memory.  Filled in place, field by field: a
 * struct that is put together first and copied waits for its own bytes. */
int pass_column_grow(struct pass_column *c);
static inline struct pass_value *batch_place(struct quality_file *f, uint32_t column)
{
	struct pass_column *c = &f->columns[column];
	if (c->count == c->capacity && pass_column_grow(c))
		return NULL;
	struct pass_value *v = &c->values[c->count++];
	v->record = (uint32_t)(f->row - f->first_row);
	f->value_count++;
	return v;
}
/* The fields of the record under way; those that the contract does not name are looked at for personal data alone. */
int batch_fields(struct quality_file *f, const uint32_t *columns, const struct record_field *fields, size_t count);
/* Ends the record under way. */
int batch_record(struct quality_file *f, bool rejected);
/* Judges what is in the batch, and empties it.  The owner holds quality.looks. */
int batch_settle(struct quality_file *f);
void batch_free(struct quality_file *f);

/* quality_file.c: which checks a file meets, and a file under way without a reader of its bytes (`ret` is freed by quality_file_end). */
int quality_file_new(struct quality *q, struct object_checks *object, const struct contract_object *claims, const char *path, struct quality_file **ret);
void quality_file_drop(struct quality_file *f); /* nothing of it counts; NULL is legal */
/* Of a file that an engine reads: columns that the contract does not have get numbers of their own, and lists and structs come as lines of JSON, an
 * object with one column each. */
int quality_file_expect_nested(struct quality_file *f, const struct contract_object *claims);
int quality_file_nested_column(struct quality_file *f, const char *name, size_t len, uint32_t *ret);
int quality_file_nested(struct quality_file *f, const char *line, size_t len);

/* quality_table.c: has the engine read a Parquet file, beside what else is done. */
int scanner_add(struct quality *q, struct object_checks *object, const struct contract_object *claims, const char *path);
void scanner_free(struct quality *q); /* stops it */

/* quality_column.c: judges a column's values in the batch.  0, or -errno of the memory or the temporary file for keys. */
int pass_column_judge(struct quality_file *f, uint32_t column);

static inline uint64_t pass_place(const struct quality_file *f, uint64_t row)
{
	return f->file_number << PLACE_ROW_BITS | (row & ((1ull << PLACE_ROW_BITS) - 1));
}

void pass_wrong(struct quality_file *f, size_t check, uint64_t row);

#endif
