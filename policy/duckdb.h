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

/* The rows of such a plan's view as lines of JSON, each with the number that it has in the source (from 0) as its first member.  Values that hold no others are
 * texts or null. */
int duckdb_lines(const struct view_plan *plan, const struct view_source *source, int (*write_to)(void *arg, const void *bytes, size_t len), void *arg,
		 struct err *e);

/*
 * Queries over local files, for the checks of a contract.  They run with the rights of this process: only for contracts of whoever
 * started it.  The engine's own words are not passed on, since they may quote values.  A session belongs to one thread.
 */
struct duckdb_session;
int duckdb_session_new(struct duckdb_session **ret, struct err *e); /* -EOPNOTSUPP: no engine */
void duckdb_session_free(struct duckdb_session *s);		     /* NULL is legal */
int duckdb_session_run(struct duckdb_session *s, const char *sql, struct err *e);
int duckdb_session_number(struct duckdb_session *s, const char *query, double *ret, struct err *e); /* one row, its first column */
struct quality_table;
/* Reads a Parquet file into the checks of a contract.  What quality_table.h's calls returned; else -EINVAL or -EIO: the engine cannot read it. */
int duckdb_session_scan(struct duckdb_session *s, const char *path, struct quality_table *t, struct err *e);

/* The engine's version ("v1.5.6"), or "none".  Its views' bytes depend on it. */
const char *duckdb_engine_version(void);

#endif
