/*
 * Tests that stand in policy files: examples that must hold.
 *
 * A test needs neither a mount nor data.  When the version that it reads exists, its contract, quality results and rows are used;
 * otherwise the version is a good one that nobody has published: active, of no age, with passed checks, and with columns that no contract
 * names.  `given` says what differs.
 */
#ifndef MESHFS_POLICY_POLICY_TEST_H
#define MESHFS_POLICY_POLICY_TEST_H

#include "policy/decide.h"

struct policy_test_world {
	/* The facts of a version that exists (the contract is a reference for the caller): 0, or -ENOENT.  NULL: none exists. */
	int (*find)(void *arg, const char *domain, const char *product, const char *version, struct version_facts *ret, struct err *e);
	/* Counts the rows that the view shows, and all rows, of a file that exists. */
	int (*rows)(void *arg, const char *address, struct transform *t, int64_t *ret_shown, int64_t *ret_all, struct err *e);
	void *arg;
	int64_t now_ns;
};

struct policy_test_result {
	const char *policy, *name, *file;
	int line;
	bool passed;
	bool uncounted; /* it expects rows, and there are none to count */
	char detail[768]; /* why it failed */
};

/* Runs every test of the policy; `each` gets the results in the order of the files.  Returns how many there were, or -errno. */
int policy_test_run(struct policy *p, const struct policy_test_world *world, void (*each)(void *arg, const struct policy_test_result *r),
		    void *arg, struct err *e);
/* After a run: the rules that no test reached. */
struct policy_coverage {
	const char *id, *file;
	int line;
};
int policy_test_coverage(struct policy *p, const struct policy_test_world *world, void (*each)(void *arg, const struct policy_coverage *c),
			 void *arg, struct err *e);

#endif
