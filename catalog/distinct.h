/*
 * Counting values that occur twice, in bounded memory.
 *
 * Hashes (XXH3-128) of values are collected by partition; beyond the memory limit they go to a temporary file, which has no name, and are
 * compared partition by partition at the end.  Equal hashes count as equal values: the chance of a wrong answer over 10^12 values is below
 * 10^-14.
 *
 * Keys are mostly numbers that grow by one from row to row: such runs are kept as their bounds, and only what of a run other integers may repeat is
 * hashed, at the end.
 *
 * Thread rules: the adding functions from any thread; distinct_finish from one, after all adds.
 */
#ifndef MESHFS_CATALOG_DISTINCT_H
#define MESHFS_CATALOG_DISTINCT_H

#include "catalog/base/hash.h"

#include <stddef.h>
#include <stdint.h>

struct distinct;

struct distinct *distinct_new(size_t memory_limit_bytes); /* NULL without memory */
void distinct_free(struct distinct *d);
/* `place` names where the value stands (the caller's numbering).  0, -ENOMEM or -EIO (no room to spill). */
int distinct_add(struct distinct *d, const struct xxh128 *hash, uint64_t place);
/* The same of several. */
struct distinct_item {
	struct xxh128 hash;
	uint64_t place;
};
/* The hashed values that may be integers as text_integer writes them lie from `low` to `high` (low > high: none is one). */
int distinct_add_many(struct distinct *d, const struct distinct_item *items, size_t count, int64_t low, int64_t high);
/* `count` integers that grow by one, from `first` on, and their places, too; each stands for what text_integer writes. */
int distinct_add_run(struct distinct *d, int64_t first, uint64_t count, uint64_t place);
/* How many values repeat an earlier one, and the first `max` places (lowest first) of such. */
int distinct_finish(struct distinct *d, uint64_t *ret_duplicates, uint64_t *ret_places, size_t max, size_t *ret_place_count);

#endif
