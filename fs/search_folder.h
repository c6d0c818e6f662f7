/*
 * /.mesh/search/<words>/: a folder of links to the products found, best first, called product@domain.
 * Words are separated by blanks, commas or plus signs.  Only what the session may see is found.
 */
#ifndef MESHFS_FS_SEARCH_FOLDER_H
#define MESHFS_FS_SEARCH_FOLDER_H

#include "catalog/address.h"

struct session;

#define SEARCH_TARGET_SIZE (2 * NAME_SIZE + 16)

/* Calls `each` with the names of the links; a non-zero return stops and is returned. */
int search_folder_list(struct session *s, const char *words, int (*each)(void *arg, const char *name), void *arg);
/* Where the link called `name` leads, relative to a query's folder.  -ENOENT: no such product for this session. */
int search_folder_target(struct session *s, const char *name, char ret_target[SEARCH_TARGET_SIZE]);

#endif
