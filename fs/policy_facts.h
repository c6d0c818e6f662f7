/*
 * What every decision of this floor starts from: the policy files that domains published, and what is known of a version.
 */
#ifndef MESHFS_FS_POLICY_FACTS_H
#define MESHFS_FS_POLICY_FACTS_H

#include "catalog/domain.h"
#include "policy/decide.h"

struct policy_sources {
	struct policy_source *items; /* owned with their names and texts */
	size_t count;
};

/* Adds what `domain` (borrowed) published with its catalog.  0 or -errno; free in any case. */
int policy_sources_add(struct policy_sources *s, const char *domain, struct snapshot *snapshot);
/* A copy of one more (its `domain` stays borrowed). */
int policy_sources_copy(struct policy_sources *s, const struct policy_source *item);
/* Forgets item number `at`, or all of a domain. */
void policy_sources_remove(struct policy_sources *s, size_t at);
void policy_sources_drop(struct policy_sources *s, const char *domain);
void policy_sources_free(struct policy_sources *s);

/* All but the results of checks.  Borrows what it is given; `contract` may be NULL. */
void version_facts_of(const char *domain, const char *product, const struct version_info *info, struct contract *contract,
		      struct version_facts *ret);
/* Adds the results of checks, if a rule of `policy` asks for them (NULL: whatever the rules).  `snapshot` may be NULL: then there are none. */
void version_facts_check(const struct policy *policy, struct snapshot *snapshot, const struct version_info *info, struct version_facts *f);

#endif
