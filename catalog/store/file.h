/* Folders of a file:// store: listing and tidying.  Private to catalog/store.  Thread rules: no shared state. */
#ifndef MESHFS_CATALOG_STORE_FILE_H
#define MESHFS_CATALOG_STORE_FILE_H

#include "catalog/store/store.h"

#include <sys/stat.h>

void file_object_info(const struct stat *st, struct object_info *ret);

/* Every regular file beneath `root` (a folder's descriptor) whose relative path starts with `prefix`, but for what lies in
 * `skip`.  Links are not followed and not reported.  What vanishes meanwhile is left out.  0, -errno, or what `each` returned. */
int file_walk(int root, const char *prefix, const char *skip, int (*each)(void *, const char *, const struct object_info *), void *arg);

/* Temporaries that a crash left behind: those older than a day. */
void file_remove_old_temps(const char *root, const char *folder);

#endif
