/*
 * What changed between two contracts, and the least version step that keeps the promise of semantic versions: a column removed,
 * renamed or retyped is major, as is a column that becomes required; a column added is minor; anything else is patch.
 * Pure functions.
 */
#ifndef MESHFS_CATALOG_COMPAT_H
#define MESHFS_CATALOG_COMPAT_H

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/contract.h"

enum version_step { STEP_PATCH = 1, STEP_MINOR, STEP_MAJOR };

/* The least step; one line a change is appended to `changes` (may be NULL): "people.email removed (major)". */
enum version_step compat_compare(const struct contract *before, const struct contract *after, struct buf *changes);
/* The step from one number to a higher one. */
enum version_step compat_step(const struct semver *from, const struct semver *to);
const char *compat_step_name(enum version_step s); /* "patch" "minor" "major" */

#endif
