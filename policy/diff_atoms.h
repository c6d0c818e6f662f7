/* The atoms of two policies: what their rules name.  For policy/diff*.c. */
#ifndef MESHFS_POLICY_DIFF_ATOMS_H
#define MESHFS_POLICY_DIFF_ATOMS_H

#include "policy/policy.h"

struct names {
	const char **items;
	size_t count;
};

struct atoms {
	struct arena arena;
	struct names values[ATTR_COUNT]; /* texts that an attribute is compared with */
	bool used[ATTR_COUNT];
	struct names named, tagged, classified;
	struct names globs;
	struct names row_columns;
};

int atoms_collect(struct atoms *a, const struct policy *p);
int names_add(struct atoms *a, struct names *n, const char *text, size_t len);

#endif
