/*
 * Events on their way to other tools.
 *
 * An event is put into the spool in the transaction that marks it as made for its target, and taken out once the target has it: whatever is killed
 * when, none is lost and none is made twice.  Thread rules: as `struct lineage`.
 */
#ifndef MESHFS_CATALOG_LINEAGE_SPOOL_H
#define MESHFS_CATALOG_LINEAGE_SPOOL_H

#include "catalog/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct lineage;

/* Makes the tables when they are not there yet. */
int lineage_spool_open(struct lineage *l, struct err *e);

#define LINEAGE_EVENT_START 1
#define LINEAGE_EVENT_END 2

#define LINEAGE_SPOOL_BATCH 1024

/* Between lineage_begin and lineage_commit.  Runs whose event of that kind was not made for the target, oldest first, at most LINEAGE_SPOOL_BATCH (an
 * end comes after its start): ids, for the caller to free. */
int lineage_spool_due(struct lineage *l, const char *target, int kind, char ***ret, size_t *ret_count, struct err *e);
int lineage_spool_put(struct lineage *l, const char *target, const char *run, int kind, const char *body, size_t len, struct err *e);

/* The oldest event that waits: `body` is the caller's.  -ENOENT: none. */
int lineage_spool_first(struct lineage *l, const char *target, int64_t *ret_id, char **ret_body, size_t *ret_len, struct err *e);
int lineage_spool_take(struct lineage *l, int64_t id, struct err *e);
int lineage_spool_count(struct lineage *l, const char *target, int64_t *ret, struct err *e);

#endif
