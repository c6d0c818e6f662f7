/*
 * Looking at data to draft its contract: columns, types, ranges, likely keys, likely personal data.
 *
 * Files whose columns are the same make one object.  What is drafted is a proposal for a person: nothing that could identify someone is
 * copied from the data (bounds of numbers and dates only, and none of columns that look personal).
 *
 * Thread rules: a profile belongs to one thread.
 */
#ifndef MESHFS_CATALOG_PROFILE_H
#define MESHFS_CATALOG_PROFILE_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stddef.h>

struct profile;

struct profile *profile_new(void); /* NULL without memory */
void profile_free(struct profile *p);

/* One file of the product-to-be; packed ones (.gz, .zst) are unpacked.  Parquet is fed as JSON lines, which an engine makes of its rows.  -EOPNOTSUPP: not a line format (it is listed as a document, or claimed without columns when
 * tabular). */
int profile_file_begin(struct profile *p, const char *path, struct err *e);
int profile_file_feed(struct profile *p, const void *bytes, size_t len, struct err *e);
int profile_file_end(struct profile *p, struct err *e);

/* The draft (ODCS v3.1 YAML) of domain/product. */
int profile_contract(struct profile *p, const char *domain, const char *product, struct buf *ret, struct err *e);

#endif
