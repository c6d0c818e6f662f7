/* The part of a drafted contract that says which files hold no columns. */
#ifndef MESHFS_CATALOG_PROFILE_DOCUMENT_H
#define MESHFS_CATALOG_PROFILE_DOCUMENT_H

#include "catalog/base/buf.h"

#include <stddef.h>

/* Objects of physicalType document for files that were not read as records: one for all with the same ending, so that a folder of a million images
 * is three lines.  Files that may hold records which nobody here can read are left out, with a comment: without an object, rules on columns deny them.
 * `paths` becomes sorted.  Returns how many objects were written. */
size_t profile_documents(char **paths, size_t count, struct buf *out);

/* A YAML scalar in double quotes. */
void profile_quoted(struct buf *out, const char *text);

#endif
