/* Shared by policy/decide.c, decide_file.c and explain.c. */
#ifndef MESHFS_POLICY_DECIDE_INTERNAL_H
#define MESHFS_POLICY_DECIDE_INTERNAL_H

#include "policy/policy.h"

#include <pthread.h>

/* A rule that may concern the version. */
struct entry {
	const struct rule *rule;
	enum reach reach;
	bool pending; /* its conditions ask of the file: decided for each */
	bool holds;   /* meaningless while pending */
};

/* What was decided for all files that the same rules concern in the same way. */
struct memo {
	struct memo *next;
	const struct contract_object *object;
	bool filterable;
	unsigned char *applied; /* a bit an entry */
	struct file_decision decision; /* holds a reference */
};

struct version_decision {
	struct policy *policy;
	struct subject subject;
	struct version_facts facts;
	struct expr_env env;
	char numbers[8][40];
	struct row_value *groups, *team, *tags, *purposes;
	struct entry *entries;
	size_t entry_count;
	const char *broken; /* the domain's own policy does not load, or NULL; everything is denied */
	struct arena arena;
	pthread_mutex_t lock; /* guards memos */
	struct memo *memos;
};

/* Do the rule's conditions hold, unknown tightening? */
bool rule_holds(const struct rule *r, struct expr_env *env);
/* The environment of a file; `room` lives as long as it. */
void decide_file_env(const struct version_decision *d, const struct file_facts *f, struct expr_env *env, char room[24]);
/* Which entries apply to the file: a bit each, exempts taken into account. */
void decide_applied(struct version_decision *d, const struct file_facts *f, unsigned char *applied);
static inline bool bit_get(const unsigned char *bits, size_t i)
{
	return bits[i / 8] >> (i % 8) & 1;
}
static inline bool is_column_rule(const struct rule *r)
{
	return r->kind == RULE_DROP || r->kind == RULE_MASK || r->kind == RULE_FILTER;
}
bool selector_matches(const struct rule *r, const struct contract_column *c);
/* What happens to a column under the applied rules; `c` NULL: one that the contract does not name. */
int decide_mask(const struct version_decision *d, const unsigned char *applied, const struct contract_column *c, struct mask *ret);
bool requirement_met(const struct rule *r, const struct expr_env *env, int *ret_lacking);

#endif
