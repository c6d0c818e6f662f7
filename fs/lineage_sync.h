/* Publications from the domains' catalogs into the lineage database. */
#ifndef MESHFS_FS_LINEAGE_SYNC_H
#define MESHFS_FS_LINEAGE_SYNC_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"

struct lineage;

/* Looks at every domain of the mesh; reads only catalogs that are newer than what the database has.  A domain that cannot be reached is
 * logged, and what was known of it stays. */
int lineage_sync(struct lineage *l, const struct mesh_config *mesh, struct err *e);

#endif
