/*
 * A Parquet footer for a part of a file: fewer columns, fewer row groups, columns that are all null.
 */
#ifndef MESHFS_POLICY_PARQUET_WRITE_H
#define MESHFS_POLICY_PARQUET_WRITE_H

#include "policy/parquet_footer.h"

enum parquet_action { PARQUET_KEEP, PARQUET_DROP, PARQUET_NULL };

struct parquet_part {
	const struct parquet_footer *footer;
	const enum parquet_action *leaves; /* by leaf; PARQUET_NULL only where parquet_can_null says so */
	const bool *groups;                /* by row group: kept? */
};

/* Can the leaf become all null without touching others: a column of its own, not part of a group or list. */
bool parquet_can_null(const struct parquet_footer *f, size_t leaf);

/* Appends what follows the data region: pages of nulls, the footer, its length and the magic. */
void parquet_write_tail(const struct parquet_part *part, struct buf *ret);

#endif
