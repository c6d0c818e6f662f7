/*
 * Seals: the tamper evidence of the lineage database, and its retention.
 *
 * Of every run, each day (part) that is over is sealed by a digest over its final rows of reads, and the run itself, once it has
 * ended, by a digest over what describes it and what it made.  Seals are numbered without gaps and chained: each holds the hash of the one before, so that
 * the newest chain value stands for all of them.  Whoever keeps that value elsewhere (an operator's file) finds any edited, removed, reordered
 * or truncated row.  Pruning deletes rows and says so with a seal of its own; the seals stay.
 */
#ifndef MESHFS_CATALOG_LINEAGE_SEAL_H
#define MESHFS_CATALOG_LINEAGE_SEAL_H

#include "catalog/base/err.h"
#include "catalog/base/hash.h"

#include <stdbool.h>
#include <stdint.h>

struct lineage;

/* Seals what is due.  Between lineage_begin and lineage_commit. */
int lineage_seal_due(struct lineage *l, int64_t now_ns, struct err *e);

struct lineage_head {
	int64_t seq; /* 0: nothing is sealed yet */
	char chain[SHA256_HEX_SIZE];
};
int lineage_seal_head(struct lineage *l, struct lineage_head *ret, struct err *e);

enum lineage_finding {
	LINEAGE_CHANGED, /* somebody wrote to the database who is not meshfs */
	LINEAGE_NOTE,    /* no offence, but an auditor wants to know */
};
/* Told once for each, in words. */
typedef void lineage_found(void *arg, enum lineage_finding kind, const char *what);

struct lineage_verified {
	int64_t seals, offences;
};
/*
 * Recomputes every seal, and looks for what no seal can show: rows that none covers, a file, view or trigger that makes other answers.  `kept` (may be
 * NULL) is a head that was kept elsewhere: the chain must still hold it.  Returns 0 whatever was found.  (lineage_verify.c)
 */
int lineage_verify(struct lineage *l, const struct lineage_head *kept, lineage_found *found, void *arg, struct lineage_verified *ret, struct err *e);

/*
 * Deletes the reads of runs that ended before `before_ns`, and of other runs the sealed days that were over by then; runs, their inputs by version, outputs and
 * seals stay.  In a transaction of its own.
 */
struct lineage_prune {
	int64_t before_ns, now_ns;
	int64_t rows_max; /* stops after about so many, with `more`; 0: no limit */
	bool dry_run;     /* counts only */
	int64_t runs, rows; /* that were deleted; set by the call */
	int64_t changed;    /* days that stay, because their reads are not those that were sealed any more */
	bool more;
};
int lineage_prune(struct lineage *l, struct lineage_prune *how, struct err *e);
/*
 * Says in the chain that a part's reads are deleted, with the digest that they had.  Between lineage_begin and lineage_commit.  -EBADMSG, with nothing
 * said: they are not what was sealed; deleting them would delete what shows it.
 */
int lineage_seal_pruned(struct lineage *l, const char *run, int64_t part, int64_t now_ns, struct err *e);

#endif
