/*
 * The loaded set of rules: for policy/ only; others see it through decide.h.
 *
 * Rules are numbered in the order of (domain, policy, rule), so that nothing depends on the order of files.  An index by the first parts
 * of the globs finds the rules that can concern a product without looking at the others.
 */
#ifndef MESHFS_POLICY_POLICY_H
#define MESHFS_POLICY_POLICY_H

#include "catalog/base/map.h"
#include "policy/rule.h"

#include <pthread.h>

#define IDLE_SUBJECTS 16

struct rule_list {
	unsigned *numbers;
	size_t count;
};

struct policy {
	unsigned refs; /* atomic */
	struct policy_file **files;
	size_t file_count;
	struct rule **rules; /* sorted; rules[i]->number == i */
	size_t rule_count;
	bool asks_checks; /* a condition asks for results of checks */
	struct arena arena;
	struct map *by_product; /* "domain/product" → struct rule_list */
	struct map *by_domain;  /* "domain" → struct rule_list: any product */
	struct rule_list anywhere;
	struct map *broken; /* domain → why its own policy does not load (text) */
	const char **problems;
	size_t problem_count;
	struct digest digest;
	/* Rules that cannot hold for a subject, whatever is read: few subjects ask many times. */
	pthread_mutex_t idle_lock;
	struct idle_rules {
		struct xxh128 subject;
		unsigned char *bits; /* a bit a rule; NULL: free */
	} idle[IDLE_SUBJECTS];
	unsigned idle_next;
};

/* The numbers of the rules that can concern the product, ascending, each once, but for those whose bit in `idle` is set.  `room` has room for
 * three times all rules. */
size_t policy_candidates(const struct policy *p, const char *domain, const char *product, const unsigned char *idle, unsigned *room);

enum reach { REACH_NONE, REACH_SOME, REACH_ALL };
/* Which files of the version the glob matches. */
enum reach glob_reach(const char *glob, const char *domain, const char *product, const char *version);
/* The same for a rule: domain files reach only their own domain. */
enum reach rule_reach(const struct rule *r, const char *domain, const char *product, const char *version);
bool rule_matches(const struct rule *r, const char *domain, const char *address);
bool exempt_names(const struct rule *exempt, const struct rule *r);

#endif
