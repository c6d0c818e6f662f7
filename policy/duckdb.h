/*
 * Parquet through an engine: row filters and masks of values inside row groups, by DuckDB's C API, found at run time.
 */
#ifndef MESHFS_POLICY_DUCKDB_H
#define MESHFS_POLICY_DUCKDB_H

#include "policy/parquet_footer.h"
#include "policy/view_plan.h"

/* A VIEW_WHOLE plan.  -EACCES with the reason when there is no engine, or it cannot make this view. */
int duckdb_plan_new(struct transform *t, const struct view_source *source, const struct view_keys *keys, const struct parquet_footer *f,
		    struct view_plan **ret, struct err *e);

/* The engine's version ("v1.5.6"), or "none".  Its views' bytes depend on it. */
const char *duckdb_engine_version(void);

#endif
