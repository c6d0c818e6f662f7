/*
 * Personal data that a contract does not declare, found while a version is published.
 *
 * A column is suspected for its name (email, phone, birth_date …) or for what a sample of its values looks like (entity.h).  It is declared
 * by the tag `pii`, an entity's name or a `hipaa:` letter as tag, or a classification above internal; it is waived by the
 * column's custom property `personalDataWaiver` with `by` and `reason`.
 *
 * Thread rules: files in parallel, each by one thread, but for values: columns of a file in parallel, each by one; personal_each after all of
 * them.  No value is kept.
 */
#ifndef MESHFS_CATALOG_PERSONAL_H
#define MESHFS_CATALOG_PERSONAL_H

#include "catalog/cell.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct personal;      /* of a version */
struct personal_file; /* of one of its files */

struct personal *personal_new(void); /* NULL without memory */
void personal_free(struct personal *p);

/* `object`: the contract's description of the file, or NULL. */
int personal_file_begin(struct personal *p, const char *path, const struct contract_object *object, struct personal_file **ret);
/* A column by its number (records.h), at first sight. */
int personal_column(struct personal_file *f, uint32_t column, const char *name, size_t len);
/* Is the column looked into at all?  One that the contract declares is not. */
bool personal_looks(const struct personal_file *f, uint32_t column);
void personal_value(struct personal_file *f, uint32_t column, uint64_t row, const char *text, size_t len);
/* Some of them, each of the record `row` + its number in `records`. */
void personal_cells(struct personal_file *f, uint32_t column, uint64_t row, const struct cell *cells, const uint32_t *records, size_t count);
/* Of `count` numbers or moments, whose texts take time to make, how many come before one that is looked at: that is all there is to say of them.
 * personal_number follows for the next, if there is one. */
size_t personal_skip(struct personal_file *f, uint32_t column, size_t count);
void personal_number(struct personal_file *f, uint32_t column, uint64_t row, const char *text, size_t len);
int personal_file_end(struct personal_file *f); /* keeps what was found, and frees it; NULL is legal */
void personal_file_drop(struct personal_file *f); /* forgets what was found; NULL is legal */

/* Does the contract say that the column holds personal data (or data as sensitive)? */
bool personal_declared(const struct contract_column *c);

struct personal_finding {
	const char *object; /* of the contract, or NULL */
	const char *column;
	const char *entity; /* Presidio's name */
	const char *file;   /* where it was first seen */
	uint64_t row;	    /* there, or 0: the name alone is telling */
	uint64_t hits, examined;
	bool waived;
	const char *waived_by, *waived_reason; /* when waived */
};

/* Suspected columns that are not declared, waived ones included.  Non-zero from `each` stops and is returned. */
int personal_each(struct personal *p, int (*each)(void *arg, const struct personal_finding *f), void *arg);

#endif
