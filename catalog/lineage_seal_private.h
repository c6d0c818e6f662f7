/* What sealing and verifying share. */
#ifndef MESHFS_CATALOG_LINEAGE_SEAL_PRIVATE_H
#define MESHFS_CATALOG_LINEAGE_SEAL_PRIVATE_H

#include "catalog/lineage_seal.h"

#define SEAL_NO_CHAIN "0000000000000000000000000000000000000000000000000000000000000000" /* before the first seal */

/*
 * Kinds: "reads" of a run's day; "end" of a run, number `part`: what describes it, and what it read since the seal before; "view": the text of a
 * transform (`run` names the view); "gap": what a journal could not hold (`run` names the journal, `rows` is how many); "prune": a "reads" seal whose
 * rows were deleted.  A run whose first seal is of kind "run" goes on with those: each is of all that it read, so that only the newest can be checked.
 */
struct seal {
	int64_t seq, part, rows, sealed_ns;
	const char *kind, *run;
	char digest[SHA256_HEX_SIZE];
};

/* The chain's value behind the seal. */
void seal_chain(const char *before, const struct seal *s, char ret[SHA256_HEX_SIZE]);

/* Digests of what there is now, and the number of rows. */
int seal_digest_part(struct lineage *l, const char *run, int64_t part, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e);
/* Of the inputs, those that are `late`; -1: all. */
int seal_digest_run(struct lineage *l, const char *run, int64_t late, char ret[SHA256_HEX_SIZE], int64_t *ret_rows, struct err *e);
/* Of a "view" or "gap" that has that name. */
int seal_digest_named(struct lineage *l, const char *kind, const char *name, char ret[SHA256_HEX_SIZE], struct err *e);

#endif
