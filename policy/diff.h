/*
 * What a new policy loosens and tightens, compared with an old one.
 *
 * The answers of a policy depend on finitely many atoms: the users, groups, purposes, statuses, columns … that its rules name, and anything
 * else; of numbers and moments, those beside the ones that it names.  So every combination of them is asked of both policies (of groups: none,
 * each, each pair and all; of the results of checks: one count at a time), and answers are compared.  Two restrictions that cannot be ordered count as
 * loosened: a review should see them.
 */
#ifndef MESHFS_POLICY_DIFF_H
#define MESHFS_POLICY_DIFF_H

#include "policy/decide.h"

#define POLICY_DIFF_ASK_MAX 2000000

struct policy_change {
	bool loosened;       /* else tightened */
	const char *product; /* "sales/orders" */
	const char *path;    /* of the file it was seen at */
	const char *what;    /* "files", "rows", "column email" */
	const char *before, *after;
	const char *subject; /* the first for whom it differs */
	const char *facts;   /* of the product: "status draft", "quality failed"; "" for an ordinary one */
	unsigned subjects;   /* for how many of those asked */
};

/* `versions`: what exists (contracts included), so that real columns are asked too; may be empty.  -E2BIG: too many combinations. */
int policy_diff(struct policy *before, struct policy *after, const struct version_facts *versions, size_t count, int64_t now_ns,
		void (*each)(void *arg, const struct policy_change *c), void *arg, struct err *e);

#endif
