/* Inside quality: a compiled check and the judgement of single values. */
#ifndef MESHFS_CATALOG_QUALITY_CHECK_H
#define MESHFS_CATALOG_QUALITY_CHECK_H

#include "catalog/contract.h"
#include "catalog/distinct.h"
#include "catalog/pattern.h"
#include "catalog/personal.h"
#include "catalog/quality.h"
#include "catalog/records.h"

#include <pthread.h>
#include <stdatomic.h>

enum check_kind {
	/* of single values: each value that is wrong counts */
	CHECK_TYPE,
	CHECK_LENGTH,	/* low … high characters */
	CHECK_PATTERN,
	CHECK_FORMAT,	/* email, uuid, ipv4 … */
	CHECK_RANGE,	/* low … high, either may be exclusive */
	CHECK_MULTIPLE, /* of `low` */
	CHECK_VALUES,	/* one of `values` */
	CHECK_NULL,	/* required: no null */
	CHECK_MISSING,	/* one of `values` means missing */
	CHECK_DISTINCT, /* unique, primaryKey, duplicateValues */
	/* of whole files or objects */
	CHECK_BROKEN,	/* records that strict parsing rejects */
	CHECK_ABSENT,	/* a declared column is not in a file */
	CHECK_UNKNOWN,	/* a column of a file is not declared */
	CHECK_ROWS,
	CHECK_SQL,
	CHECK_NEVER,	/* cannot run: `detail` says why */
};

enum comparison { MUST_BE, MUST_NOT_BE, MUST_EXCEED, MUST_REACH, MUST_UNDERCUT, MUST_NOT_EXCEED, MUST_LIE_BETWEEN, MUST_NOT_LIE_BETWEEN };

struct check {
	enum check_kind kind;
	size_t object;	/* index in the contract */
	int64_t column; /* index in the object, or -1 */
	const char *name, *dimension; /* borrowed from the contract, or literals */
	bool error;
	bool listed; /* stands under `quality`; the others follow from types and flags of columns */
	/* judging single values */
	enum logical_type type;
	double low, high;
	bool has_low, has_high, low_exclusive, high_exclusive;
	int64_t low_ns, high_ns; /* dates and times */
	const char *format;
	struct pattern *pattern;
	const struct doc_node *values; /* list of texts */
	const struct doc_node *columns; /* CHECK_DISTINCT over several columns: their names */
	const char *query;
	const char *detail;
	/* judging the count */
	bool percent;
	enum comparison comparison;
	double wanted, wanted_high;
	/* results, from all files */
	atomic_ullong examined, wrong;
	struct distinct *distinct;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	struct buf names;     /* CHECK_ABSENT, CHECK_UNKNOWN: the columns, in words */
	struct offender {
		char *file;
		uint64_t row;
	} offenders[QUALITY_OFFENDERS_MAX];
	size_t offender_count;
};

/* Is a non-null, non-missing value right under a check of single values? */
bool check_value(const struct check *c, enum value_kind kind, const char *text, size_t len);
/* Is the text one of the list's? */
bool check_listed(const struct doc_node *list, const char *text, size_t len);
/* Does the measure satisfy the comparison? */
bool check_compare(const struct check *c, double measured);
/* "must be 0", "must lie between 1 and 5 percent" into `out`. */
void check_expected(const struct check *c, struct buf *out);
/* Remembers an offender, the first few only. */
void check_offender(struct check *c, const char *file, uint64_t row);

/* Adds a column's name to the check's words, once. */
void check_name(struct check *c, const char *column, size_t len);

/* Reads ODCS options into a list of checks (quality_compile.c). */
struct check_list {
	struct check **items;
	size_t count;
};
int quality_compile(const struct contract *contract, struct check_list *ret, struct err *e);
void check_free(struct check *c);

/* What quality_report.c reads of a finished pass. */
struct contract *quality_contract(struct quality *q);
struct check_list *quality_checks(struct quality *q);
struct personal *quality_personal(struct quality *q);
size_t quality_object_count(struct quality *q);
/* The files that an object claims, and how many of them are Parquet. */
size_t quality_object_files(struct quality *q, size_t object, char *const **ret, size_t *ret_parquet);
/* A check of single values (or of rows, or of distinct values) as a query over the object's table that counts what is wrong; `examined`
 * (may be NULL) one that counts what was looked at.  -EOPNOTSUPP: this check has no such form. */
int check_query(const struct check *c, const struct contract_object *o, struct buf *query, struct buf *examined);
uint64_t quality_rows(struct quality *q, size_t object);
const char *quality_unreadable(struct quality *q); /* files that could not be read as records, in words; or NULL */
const char *quality_unclaimed(struct quality *q);  /* tabular files that no object claims; or NULL */
const char *quality_place(struct quality *q, uint64_t where, uint64_t *ret_row); /* the file of a place in a struct distinct */

#endif
