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
 * Queries over local files, for the checks of a contract.  Of the engine's own words only those about the query are passed on, since others may quote
 * values.  A session belongs to one thread.
 */
struct duckdb_session;
int duckdb_session_new(struct duckdb_session **ret, struct err *e); /* -EOPNOTSUPP: no engine */
void duckdb_session_free(struct duckdb_session *s);		     /* NULL is legal */
int duckdb_session_run(struct duckdb_session *s, const char *sql, struct err *e);
/* From now on it opens no file but those that "SET allowed_paths" named before, and no setting changes: what follows is of others. */
int duckdb_session_confine(struct duckdb_session *s, struct err *e);
/* A query that gives one row: its first column, a truth value as 1 or 0.  Nothing but a query is taken: no statement, no second one. */
int duckdb_session_number(struct duckdb_session *s, const char *query, double *ret, struct err *e);
struct quality_table;
/* Reads a Parquet file into the checks of a contract.  What quality_table.h's calls returned; else -EINVAL or -EIO: the engine cannot read it. */
int duckdb_session_scan(struct duckdb_session *s, const char *path, struct quality_table *t, struct err *e);

/* The engine's version ("v1.5.6"), or "none".  Its views' bytes depend on it. */
const char *duckdb_engine_version(void);

#endif
