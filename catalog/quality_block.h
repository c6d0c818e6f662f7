/* Inside quality: some values of a column under judgement, which stay in the first cache. */
#ifndef MESHFS_CATALOG_QUALITY_BLOCK_H
#define MESHFS_CATALOG_QUALITY_BLOCK_H

#include "catalog/base/clock.h"
#include "catalog/quality_pass.h"

#define BLOCK DISTRIBUTION_BLOCK
#define BITS 64u /* checks of a column that are judged by the block */

/* What a column's values are wanted for beside its checks. */
struct wanted {
	bool distinct, keyed, personal, text;
	bool numbers; /* told apart by what they are, not by how they are written */
	bool days;    /* moments are written as dates */
};

struct block {
	struct quality_file *file;
	struct column_checks *checks;
	struct pass_column *column;
	uint32_t number; /* of the column */
	struct wanted wanted;
	size_t count;
	struct cell cells[BLOCK];
	uint32_t records[BLOCK]; /* from the batch's first */
	uint64_t wrong[BLOCK];	 /* bit k: check k of the column says so */
	uint64_t hashes[BLOCK];	 /* for the distribution */
	/* of typed values */
	bool raw_tells;	     /* values are told apart by `raw`, not by their texts; of keys integers alone */
	uint64_t raw[BLOCK]; /* the value's bits */
	char rooms[BLOCK][CLOCK_TEXT_MAX]; /* texts of cells, where they are wanted */
	struct distinct_item items[BLOCK];
};

/* The hash of a number for estimates: the last step of Vigna's splitmix64. */
static inline uint64_t block_mixed(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

/* What was found, and of a column with more checks than bits the rest. */
void block_tell(struct block *b);

/* quality_typed.c: the next values of a typed column, from that of record `at` on, as cells.  Returns where to go on. */
size_t typed_fill(struct block *b, size_t at);
/* Judges all of a typed column's values at once, where neither their texts nor anything of a single one is wanted, and adds how many there are to *values.
 * False: it must be done with cells. */
bool typed_judge(struct block *b, uint64_t *values);
/* Looks for personal data in numbers and moments of a typed column. */
void typed_look(struct block *b);

#endif
