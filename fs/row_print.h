/*
 * Fingerprints of records: equal for equal records, whatever the format, the order of columns and the way in which numbers and times are written.
 *
 * XXH3-128 over each column's name and value, added up; a null, an empty text and an absent column are the same.  Tells accidents apart, not
 * attackers.  Thread rules: a reader belongs to one thread.
 */
#ifndef MESHFS_FS_ROW_PRINT_H
#define MESHFS_FS_ROW_PRINT_H

#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct row_print {
	uint64_t high, low; /* both 0: a record without values */
};

struct row_prints;

/* `path` tells the format: -EOPNOTSUPP when records of it cannot be read.  Without `header` the columns are the object's.  `column` (may be NULL) says
 * which columns count.  `each` is called for every record in turn; `broken`: strict parsing rejects it.  Its non-zero return stops. */
struct row_prints_config {
	const char *path;
	char separator; /* 0: found in the head */
	bool header;
	const struct contract_object *object; /* only without a header */
	bool (*column)(void *arg, const char *name);
	int (*each)(void *arg, uint64_t number, const struct row_print *print, bool broken);
	void *arg;
};
int row_prints_new(const struct row_prints_config *config, struct row_prints **ret);
int row_prints_feed(struct row_prints *p, const char *bytes, size_t len); /* as records_feed */
int row_prints_end(struct row_prints *p);
void row_prints_free(struct row_prints *p);
/* The columns seen so far. */
size_t row_prints_columns(const struct row_prints *p);
const char *row_prints_column(const struct row_prints *p, size_t i);
/* Did a value of the column go into any fingerprint? */
bool row_prints_used(const struct row_prints *p, size_t i);
/* Did what was fed so far end with a record's end? */
bool row_prints_between(const struct row_prints *p);

/* How a file is to be read that the contract's `object` (may be NULL) claims: its separator (0: lines of JSON), from its name, the object's custom
 * properties and the file's first bytes; and whether it has a header. */
#define ROW_HEAD_BYTES 4096
char row_separator(const char *path, const struct contract_object *object, const char *head, size_t len);
bool row_header(const struct contract_object *object);

/* Appends what stands for a value: its kind, then what it comes to. */
struct buf;
void row_canonical(const char *text, size_t len, struct buf *ret);

#endif
