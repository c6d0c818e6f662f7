/*
 * What the statistics of a row group prove about a filter.
 */
#ifndef MESHFS_POLICY_PARQUET_PRUNE_H
#define MESHFS_POLICY_PARQUET_PRUNE_H

#include "policy/expr.h"
#include "policy/parquet_footer.h"

/* Which truths the filter may have for a row of the group. */
enum { PRUNE_FALSE = 1, PRUNE_TRUE = 2, PRUNE_UNKNOWN = 4, PRUNE_ANY = 7 };

unsigned parquet_prune(const struct parquet_footer *f, size_t group, const struct expr *filter);

#endif
