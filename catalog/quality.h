/*
 * The checks of a contract, run over the data in one pass while a version is published.
 *
 * What is checked: that the data has the declared columns and types; required, unique, primaryKey; logicalTypeOptions (lengths,
 * patterns, formats, ranges); ODCS library metrics with their operators, in rows or percent; sql checks through an engine.
 * A check that cannot run is a failed check, never a skipped one (over Parquet without an engine, what follows from columns' types and
 * flags is a failed warning); `text` entries are documentation, not checks.  Severity: `warning`
 * (or `info`) warns, anything else is an error.
 *
 * Missing values: what a column's `missingValues` check lists (NA, n/a …) counts as missing, and no other check looks at it.
 *
 * Offenders are named by file, row and column, never by value.  Of each column its distribution is kept (distribution.h), values in it only
 * where the contract calls the column public or internal, and neither it nor what was found says that it is personal.
 *
 * Thread rules: files may be fed from several threads, each by one at a time, and take turns; finish after all files ended.
 */
#ifndef MESHFS_CATALOG_QUALITY_H
#define MESHFS_CATALOG_QUALITY_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUALITY_OFFENDERS_MAX 10
#define QUALITY_COLUMNS_TOLD 200u /* columns of an object whose distributions are kept: results lie in the catalog, which is small */

struct quality;
struct quality_file;
struct quality_report;

struct quality_table;

/* What an engine does: reads Parquet files, and answers the queries of sql checks.  One call at a time, from one thread or another; `scan` may run beside
 * the others. */
struct quality_engine {
	/* Reads a Parquet file (a path within the version) through the calls of quality_table.h.  -EOPNOTSUPP: there is no engine after all. */
	int (*scan)(void *arg, const char *path, struct quality_table *t, struct err *e);
	/* Makes an object's files (paths within the version) a table of its name; called once an object that has files, before any query. */
	int (*table)(void *arg, const char *name, const char *const *paths, size_t count, struct err *e);
	int (*number)(void *arg, const char *query, double *ret, struct err *e); /* one number for a query, or -errno and why; -EINTR and -ENOMEM end all checks */
	void *arg;
};

/* Compiles the checks.  `contract` NULL: none; personal data is looked for all the same, and only warned of.  `engine` is borrowed; NULL: there is
 * none, and what needs it fails.  -EINVAL with a position: a check that cannot be understood. */
int quality_new(struct contract *contract, const struct quality_engine *engine, struct quality **ret, struct err *e);
void quality_free(struct quality *q);

/* Will the engine be asked queries? */
bool quality_has_queries(const struct quality *q);

/* One file of the version, fed in order.  A Parquet file is given to the engine instead, which reads it beside what else is done, and *ret is NULL, as
 * it is for files that no check concerns.  `ret` is freed by _end. */
int quality_file_begin(struct quality *q, const char *path, struct quality_file **ret);
int quality_file_feed(struct quality_file *f, const void *bytes, size_t len);
int quality_file_end(struct quality_file *f);

/* Asks the engine the queries now, over the files so far, for who knows that there may be no others: an engine that keeps answers has them at the end.
 * -EINTR and -ENOMEM: not all of them; whatever else there is to say, the end says. */
int quality_ask_ahead(struct quality *q);

/* The results. */
int quality_finish(struct quality *q, struct quality_report **ret, struct err *e);
void quality_report_free(struct quality_report *r);

struct quality_result {
	const char *check;     /* "required", "nullValues mustBe 0", the contract's name for it … */
	const char *object, *column; /* NULL when it is of the whole object or version */
	const char *dimension; /* or NULL */
	bool error;            /* severity */
	bool passed;
	bool unanswered;       /* it could not run, and `detail` says why */
	bool engineless;       /* it could not run for want of an engine, and only warns */
	double measured;       /* what was counted */
	const char *expected;  /* in words */
	const char *counted;   /* what `measured` counts, in words, or NULL */
	const char *detail;    /* why it could not run, or NULL */
	struct {
		const char *file;
		uint64_t row;      /* from 1, the head not counted; 0: the file as a whole */
	} offenders[QUALITY_OFFENDERS_MAX];
	size_t offender_count;
};

size_t quality_report_results(const struct quality_report *r, const struct quality_result **ret);
uint64_t quality_report_rows(const struct quality_report *r);
int64_t quality_report_failed_errors(const struct quality_report *r);
int64_t quality_report_failed_warnings(const struct quality_report *r);
/* Columns of personal data that the contract neither declares nor waives: no reason given at publish lifts these. */
int64_t quality_report_undeclared(const struct quality_report *r);
double quality_report_score(const struct quality_report *r); /* share of checks that passed, 1 when there are none */
void quality_report_json(const struct quality_report *r, struct buf *out); /* quality.json */
void quality_report_failures_json(const struct quality_report *r, struct buf *out); /* a list of the results that did not pass */
void quality_report_text(const struct quality_report *r, bool failures_only, struct buf *out); /* lines for people */

#endif
