/* Publications from the domains' catalogs into the lineage database. */
#ifndef MESHFS_FS_LINEAGE_SYNC_H
#define MESHFS_FS_LINEAGE_SYNC_H

#include "catalog/base/err.h"
#include "catalog/lineage_seal.h"
#include "catalog/mesh.h"

struct lineage;

/* Looks at every domain of the mesh; reads only catalogs that are newer than what the database has.  A domain that cannot be reached is
 * logged, and what was known of it stays. */
int lineage_sync(struct lineage *l, const struct mesh_config *mesh, struct err *e);
/*
 * The same; then tells of each publication that the database does not have as its domain's catalog has it.  Publications are no rows of a run, so no
 * seal covers them: the catalog is what they are measured by.  A domain that cannot be reached is told of as a note.
 */
int lineage_sync_check(struct lineage *l, const struct mesh_config *mesh, lineage_found *found, void *arg, struct err *e);

#endif
