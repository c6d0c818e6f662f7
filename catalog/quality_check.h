/* Inside quality: a compiled check and the judgement of single values. */
#ifndef MESHFS_CATALOG_QUALITY_CHECK_H
#define MESHFS_CATALOG_QUALITY_CHECK_H

#include "catalog/base/map.h"
#include "catalog/cell.h"
#include "catalog/contract.h"
#include "catalog/date_format.h"
#include "catalog/distinct.h"
#include "catalog/distribution.h"
#include "catalog/pattern.h"
#include "catalog/personal.h"
#include "catalog/quality.h"
#include "catalog/quality_form.h"

#include <pthread.h>
#include <stdatomic.h>

enum check_kind {
	/* of single values: each value that is wrong counts */
	CHECK_TYPE,
	CHECK_LENGTH,	/* low … high characters */
	CHECK_PATTERN,
	CHECK_FORMAT,	/* email, uuid, ipv4 … */
	CHECK_RANGE,	/* low … high, either may be exclusive */
	CHECK_FRESH,	/* counts the values that are in the range, not those that are wrong */
	CHECK_MULTIPLE, /* of `low` */
	CHECK_VALUES,	/* one of `values` */
	CHECK_NULL,	/* required: no null */
	CHECK_MISSING,	/* one of `values` means missing */
	CHECK_DISTINCT, /* unique, primaryKey, duplicateValues */
	/* of whole files or objects */
	CHECK_BROKEN,	/* records that strict parsing rejects */
	CHECK_ABSENT,	/* a declared column is not in a file */
	CHECK_UNKNOWN,	/* a column of a file is not declared */
	CHECK_CLAIMS,	/* a file is described by another table too */
	CHECK_REPEATED,	/* a file's head names a column more than once */
	CHECK_ENCODING, /* a file of lines is not UTF-8 */
	CHECK_ROWS,
	CHECK_SQL,
	CHECK_NEVER,	/* cannot run: `detail` says why */
};

enum comparison { MUST_BE, MUST_NOT_BE, MUST_EXCEED, MUST_REACH, MUST_UNDERCUT, MUST_NOT_EXCEED, MUST_LIE_BETWEEN, MUST_NOT_LIE_BETWEEN };

/* A list of a contract, for looking texts up; the texts are the contract's. */
#define WORD_SET_PLAIN_MAX 16 /* that many are compared one by one */
struct word_set {
	struct word {
		const char *text;
		size_t len;
		double number; /* NaN: it is none */
	} *words;
	size_t count;
	struct map *map; /* of more words than that */
};
int word_set_init(struct word_set *s, const struct doc_node *list); /* -ENOMEM: fini it all the same */
void word_set_fini(struct word_set *s);
bool word_set_has(const struct word_set *s, const char *text, size_t len);
/* In a column of numbers 1.0 is the same as 1. */
bool word_set_has_cell(const struct word_set *s, struct cell *v, enum logical_type type);

typedef bool value_judge(const char *text, size_t len);

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
	struct date_format *dates; /* how the column writes its dates and times; NULL: as ISO 8601 does */
	const struct integer_form *integers; /* CHECK_TYPE: of so many bits, or NULL */
	const struct doc_node *container; /* CHECK_TYPE: the options of an object or array, or NULL */
	struct check *item; /* CHECK_TYPE of an array: what each of its items must be, or NULL */
	value_judge *judge; /* CHECK_FORMAT */
	struct pattern *pattern;
	const struct doc_node *values; /* list of texts, or NULL */
	struct word_set words;         /* what is in it */
	const struct doc_node *columns; /* CHECK_DISTINCT over several columns: their names */
	struct word_set column_words;
	const char *query;
	char *owned; /* a text made for `name` or `query` */
	const char *detail;
	const char *counted; /* what is counted, in words: "values that are too old"; or NULL */
	/* judging the count */
	bool percent;
	enum comparison comparison;
	double wanted, wanted_high;
	/* results, from all files */
	atomic_ullong examined, wrong;
	atomic_bool no_memory; /* a value, or an item of one, was not judged for want of it */
	struct distinct *distinct;
	struct check *same_as; /* CHECK_DISTINCT: this one counts the same; or NULL */
	bool finished;         /* CHECK_DISTINCT: at the end of the pass, what repeats */
	uint64_t duplicates, places[QUALITY_OFFENDERS_MAX];
	size_t place_count;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	struct buf names;     /* CHECK_ABSENT, CHECK_UNKNOWN, CHECK_REPEATED: the columns, in words; CHECK_CLAIMS: the tables */
	struct offender {
		char *file;
		uint64_t row;
	} offenders[QUALITY_OFFENDERS_MAX];
	size_t offender_count;
};

/* A value that there is no memory to judge sets c->no_memory.
 *
 * Sets `bit` in wrong[i] for each of some values, neither null nor missing, that a check of single values finds wrong (CHECK_FRESH: right). */
void check_values(struct check *c, struct cell *values, size_t count, uint64_t *wrong, uint64_t bit);
/* The moment that the text of a date, timestamp or time says, by its column's format or as ISO 8601; of a time since midnight. */
bool check_moment(const struct check *c, struct cell *v, int64_t *ret_ns);
/* The judge of a format (email, uuid, ipv4 …); NULL: none knows it. */
value_judge *check_format(const char *name);
/* Does the measure satisfy the comparison? */
bool check_compare(const struct check *c, double measured);
/* "must be 0", "must lie between 1 and 5 percent" into `out`. */
void check_expected(const struct check *c, struct buf *out);
/* What the check counts, in words: "values that are no integers"; nothing where check_expected says it. */
void check_counted(const struct check *c, struct buf *out);
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
/* Waits for what the engine still reads.  0, or -ENOMEM: what it could not read is not known. */
int scanner_wait(struct quality *q);
size_t quality_object_files(struct quality *q, size_t object, char *const **ret); /* that the object claims */
bool quality_in_parquet(struct quality *q, size_t object, bool *ret_only); /* are some of its files, all of them? */
const char *quality_unread(struct quality *q, const struct check *c); /* why the engine did not read what it looks at, or NULL */
bool quality_lacks_engine(struct quality *q, const struct check *c); /* for want of an engine? */
const struct quality_engine *quality_engine_of(const struct quality *q);
/* Why nobody looked for personal data in files of an object, or (the number beyond the last) in files that none claims; NULL: somebody did. */
const char *quality_unexamined(struct quality *q, size_t object);
/* Is the column one of those that the check of a key compares? */
bool check_key_holds(const struct check *c, const struct contract_column *col);
uint64_t quality_rows(struct quality *q, size_t object);
/* May values of the column be kept in the catalog? */
bool quality_may_tell(const struct contract_column *c);
/* What a column looks like, after the pass.  False: nothing is known.  `ret_texts` is borrowed. */
bool quality_look(struct quality *q, size_t object, size_t column, uint64_t *ret_nulls, struct distribution_summary *ret,
		  const struct distribution **ret_texts);
const char *quality_unreadable(struct quality *q); /* files that could not be read as records, in words; or NULL */
const char *quality_unclaimed(struct quality *q);  /* tabular files that no object claims; or NULL */
const char *quality_place(struct quality *q, uint64_t where, uint64_t *ret_row); /* the file of a place in a struct distinct */

#endif
