/*
 * The tables of the lineage database and the views that people query, and how those of an earlier format become them.
 */
#ifndef MESHFS_CATALOG_LINEAGE_SCHEMA_H
#define MESHFS_CATALOG_LINEAGE_SCHEMA_H

#include "catalog/base/err.h"

struct db;

/* -EPROTO: it is of a newer meshfs, or no lineage database at all.  Writes nothing. */
int lineage_schema_accept(struct db *db, const char *path, struct err *e);
/* Makes what is missing.  A database of an earlier format is rewritten, once, in one transaction; one of a newer meshfs is refused (-EPROTO). */
int lineage_schema_make(struct db *db, const char *path, struct err *e);
/* Are the views as they were made, and are there no triggers (a view could hide rows, a trigger drop them)?  `found` is told what is not, in words. */
int lineage_schema_check(struct db *db, void (*found)(void *arg, const char *what), void *arg, struct err *e);

#endif
