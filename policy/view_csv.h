/*
 * The head of separated text, for its view: the first record, or the contract's columns where the contract says that there is none.
 *
 * Plain data, owned by who reads it; raw fields borrow from the bytes that were read.
 */
#ifndef MESHFS_POLICY_VIEW_CSV_H
#define MESHFS_POLICY_VIEW_CSV_H

#include "catalog/base/doc.h"
#include "catalog/base/err.h"
#include "policy/transform.h"

#include <stdbool.h>
#include <stddef.h>

struct csv_field {
	const char *raw;
	size_t raw_len;
	char *name; /* unescaped; owned */
	size_t name_len;
};

struct csv_head {
	struct csv_field *fields;
	size_t count;
	size_t len; /* with the line end */
};

void csv_head_fini(struct csv_head *r);

/* Reads the first record (behind a byte order mark) with the separator under which it fits the contract best.  -EAGAIN: more bytes are needed;
 * -EACCES with words: it cannot be read. */
int csv_head_read(const struct transform *t, const char *path, const char *bytes, size_t len, bool whole, bool header, char *ret_separator,
		  struct csv_head *ret, struct err *e);
/* The contract's columns in their order. */
int csv_head_of_contract(const struct transform *t, const char *path, struct csv_head *ret, struct err *e);
/* How well the record reads as the header (or, without one, as a record) of the contract's columns. */
size_t csv_head_score(const struct transform *t, const struct csv_head *r, bool header);

/* Bytes of the byte order mark at the start. */
size_t csv_bom_len(const char *bytes, size_t len);
/* A custom property of the contract's object, or NULL. */
const struct doc_node *csv_contract_property(const struct transform *t, const char *name);
/* The text of a raw field: itself, or what stands in its quotes with doubled quotes single, in `scratch` (raw_len bytes) when it has any. */
const char *csv_field_text(const char *raw, size_t raw_len, char *scratch, size_t *ret_len);

#endif
