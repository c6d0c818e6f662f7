/* What a view did, in OpenLineage's words.  Pure. */
#ifndef MESHFS_FS_OPENLINEAGE_VIEW_H
#define MESHFS_FS_OPENLINEAGE_VIEW_H

#include "catalog/base/json.h"
#include "catalog/contract.h"

/* Where facets' schemas are. */
#define OPENLINEAGE_PRODUCER "https://meshfs.invalid/releases/" MESHFS_VERSION /* a name, not a place */
void openlineage_facet(struct json *j, const char *key, const char *schema); /* opens it; the caller closes */

/* The facet `columnLineage`: every column of the contract with what the view's canonical text `view` does to it (dropped columns are
 * left out), and the columns that its row filter looks at.  Nothing when neither is known. */
void openlineage_columns(struct json *j, const char *namespace_name, const char *dataset, const struct contract *c, const char *view);

/* The facet `subset`: the row filter as an inputCondition, when OpenLineage's conditions can say it. */
void openlineage_subset(struct json *j, const char *view);

#endif
