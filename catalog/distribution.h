/*
 * What the values of a column look like, gathered in one pass and in bounded memory: how many, how many different ones, from where to where,
 * quantiles, the commonest.
 *
 * Counts are exact; so is the number of different values up to DISTRIBUTION_COMMON_MAX, and estimated beyond (HyperLogLog, about 2.3 %).
 * Quantiles are those of a sample of DISTRIBUTION_SAMPLE values, chosen evenly and always the same for the same values in the same order.
 *
 * Values themselves are kept only where the caller says that they may be (`values`); a text is one of the commonest only when it occurs
 * DISTRIBUTION_COMMON_LEAST times at least: a rare one may tell of somebody.
 *
 * Not thread-safe: the owner's lock guards it.
 */
#ifndef MESHFS_CATALOG_DISTRIBUTION_H
#define MESHFS_CATALOG_DISTRIBUTION_H

#include "catalog/base/json.h"
#include "catalog/cell.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISTRIBUTION_SAMPLE 1024u
#define DISTRIBUTION_COMMON_MAX 256u  /* different values that are counted one by one */
#define DISTRIBUTION_COMMON_TOLD 8u   /* of them that are told */
#define DISTRIBUTION_COMMON_LEAST 5u
#define DISTRIBUTION_QUANTILES 5u
#define DISTRIBUTION_BLOCK 128u /* values at a time */

extern const double distribution_quantiles[DISTRIBUTION_QUANTILES]; /* 0.05 … 0.95 */

struct distribution;

/* `values`: may values be kept (bounds, quantiles, texts)?  NULL without memory. */
struct distribution *distribution_new(enum logical_type type, bool values);
void distribution_free(struct distribution *d); /* NULL is legal */
bool distribution_orders(const struct distribution *d); /* are its values told as numbers or moments? */
bool distribution_orders_moments(const struct distribution *d);
/* Some values that are there (not null, not missing), and their hashes: 64 bits, always of the same kind.  DISTRIBUTION_BLOCK at most. */
void distribution_add(struct distribution *d, const uint64_t *hashes, struct cell *values, size_t count);
/* The same of values that are numbers, or moments in seconds since 1970, where the distribution orders by such: `measured`, finite ones alone. */
void distribution_add_numbers(struct distribution *d, const uint64_t *hashes, size_t count, const double *measured, size_t measured_count);
/* Parses what distribution_add will ask of a value. */
void distribution_parse(const struct distribution *d, struct cell *v);

/* What came of it, in numbers.  distinct 0: not known.  `ordered`: low, high and quantiles (NAN: not known) are there; dates and times in seconds
 * since 1970. */
struct distribution_summary {
	uint64_t values, distinct;
	bool exact, ordered;
	double low, high, quantiles[DISTRIBUTION_QUANTILES];
};
void distribution_summarize(struct distribution *d, struct distribution_summary *ret);
/* Fields of an object that is open: values nulls distinct …; `d` (may be NULL) adds the commonest texts. */
void distribution_json(struct json *j, enum logical_type type, uint64_t nulls, const struct distribution_summary *s, const struct distribution *d);

#endif
