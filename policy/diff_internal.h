/* Shared by policy/diff.c (asking, comparing) and diff_worlds.c (what is asked about). */
#ifndef MESHFS_POLICY_DIFF_INTERNAL_H
#define MESHFS_POLICY_DIFF_INTERNAL_H

#include "policy/diff.h"
#include "policy/diff_atoms.h"

#define OWNERS "(owners)"      /* the team of a made product, and a group */
#define UID_NONE 4294967295.0 /* (uid_t)-1: nobody that a rule names */

/* A product to ask about: one that exists, or one made of the atoms, in one of the states that rules tell apart. */
struct world {
	char domain[64], product[64], version[36];
	struct version_facts facts;
	bool made;
	int64_t now_ns;
	char label[200]; /* its state, but for the results of checks */
	size_t quality;  /* index of those; 0 for a product that exists */
	struct names paths;
};

/* Numbers that lie on, before and behind those that rules compare with. */
struct numbers {
	double *items;
	size_t count;
};

struct quality {
	bool has;
	int64_t errors, warnings;
	double score;
};

struct found {
	struct policy_change c;
	size_t quality;
	uint64_t asked; /* fingerprint of all questions that were answered so */
	bool folded;    /* another one speaks for it */
};

struct diff {
	struct policy *before, *after;
	struct atoms atoms;
	struct world *worlds;
	size_t world_count;
	struct names users, groups, purposes, runs, hosts;
	struct numbers uids, sizes, ages;
	struct quality *qualities;
	size_t quality_count;
	int64_t *moments;
	size_t moment_count;
	struct found *found;
	size_t found_count;
	struct map *by_key; /* → index + 1 */
	int64_t now_ns;
	uint64_t question; /* number of the subject and file that are asked for */
	struct err *e;
};

int diff_no_memory(struct diff *x);
/* Is each row that `a` shows shown by `b` too (NULL: all are), as far as their conditions tell? */
bool diff_implies(const struct expr *a, const struct expr *b);
/* Once the atoms are collected: the subjects first. */
int diff_make_subjects(struct diff *x);
/* Changes that differ in nothing but the results of checks become one, whose facts name the results. */
int diff_fold(struct diff *x);
int diff_make_worlds(struct diff *x, const struct version_facts *versions, size_t count);

#endif
