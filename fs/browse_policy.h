/*
 * What binds the caller of a command that looks around: the rules, and who he is.  Decisions are made by the version and the last one is
 * kept, as listings ask of one version's files after the other.  One thread.
 */
#ifndef MESHFS_FS_BROWSE_POLICY_H
#define MESHFS_FS_BROWSE_POLICY_H

#include "fs/browse.h"

/* NULL in `ret` when the caller holds the mesh.  A policy that does not load denies everything. */
int browse_policy_open(const struct browse *b, struct browse_policy **ret, struct err *e);
void browse_policy_close(struct browse_policy *p);

/* The decision on a version, valid until the next call; NULL when none could be made (nothing is shown then). */
struct version_decision *browse_policy_version(struct browse_policy *p, struct browse_domain *d, const char *product,
					       const struct version_info *version);

#endif
