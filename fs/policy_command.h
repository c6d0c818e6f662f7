/*
 * What the `policy` commands share: the mesh, its domains as last seen, and the rules in force (the mesh's folder and what domains
 * published).
 */
#ifndef MESHFS_FS_POLICY_COMMAND_H
#define MESHFS_FS_POLICY_COMMAND_H

#include "fs/browse.h"
#include "fs/options.h"
#include "fs/policy_facts.h"
#include "policy/decide.h"

struct policy_command {
	struct browse browse;
	struct policy *policy;
	struct policy_sources extra; /* what domains published */
};

/* Opens the mesh and loads its policy.  A policy that does not load is an error with file:line:column. */
int policy_command_open(const struct invocation *inv, struct policy_command *ret, struct err *e);
void policy_command_close(struct policy_command *c);

/* The facts of one version.  -ENOENT: there is no such version.  Release with version_facts_release. */
struct loaded_version {
	struct browse_domain *domain;
	struct version_info info;
	struct version_facts facts;
	struct product_info product;
};
int policy_command_version(struct policy_command *c, const char *domain, const char *product, const char *version, struct loaded_version *ret,
			   struct err *e);
void loaded_version_free(struct loaded_version *v);

/* Waits until the mounts of this user on this host have this policy; -EAGAIN when some do not take it over. */
int policy_apply(const struct policy_command *c, bool json, bool quiet, struct err *e);
/* Counts rows of a file that exists: those that the view shows, and all (policy_test_world). */
int policy_command_rows(void *arg, const char *address, struct transform *t, int64_t *ret_shown, int64_t *ret_all, struct err *e);

/* The verbs. */
int policy_verb_explain(const struct invocation *inv, int argc, char **argv, struct err *e);
int policy_verb_publish(const struct invocation *inv, int argc, char **argv, struct err *e);
int policy_verb_test(const struct invocation *inv, int argc, char **argv, struct err *e);
int policy_verb_diff(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e);

#endif
