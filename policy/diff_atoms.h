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
	struct names values[ATTR_COUNT]; /* what an attribute is compared with, as text; a glob gives texts that it matches */
	bool used[ATTR_COUNT];
	struct names named, tagged, classified;
	struct names globs;
	struct names row_columns;
	bool publishing; /* a rule permits to publish */
};

int atoms_collect(struct atoms *a, const struct policy *p);
/* The glob with `star` (one character, or "") for every `*` and "x" for every `?`. */
void plain_text(const char *glob, const char *star, char *ret, size_t size);
int names_add(struct atoms *a, struct names *n, const char *text, size_t len);

#endif
