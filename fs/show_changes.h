/* show --changes: what changed from one version of a product to another, as far as the caller may know it. */
#ifndef MESHFS_FS_SHOW_CHANGES_H
#define MESHFS_FS_SHOW_CHANGES_H

#include "catalog/base/json.h"
#include "fs/browse.h"

/* `to`: an address, or a version of the same product. */
int show_changes(const struct browse *b, struct browse_domain *d, const struct address *from, const char *to, bool as_json, struct json *j,
		 struct buf *out, struct err *e);

#endif
