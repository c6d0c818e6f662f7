/*
 * What the indexes of versions say of the records of one question (row_index.h): fetched, probed once a version, and forgotten when they are broken.
 *
 * An index that cannot be used is told of in the log, and costs a scan.  Thread rules: a lookup belongs to one thread.
 */
#ifndef MESHFS_FS_ROW_LOOKUP_H
#define MESHFS_FS_ROW_LOOKUP_H

#include "fs/row_index.h"
#include "fs/scan.h"

struct row_lookup;

/* `prints` are looked for; `column` says which columns went into them.  NULL without memory. */
struct row_lookup *row_lookup_new(const struct row_print *prints, size_t count, bool (*column)(void *arg, const char *name), void *arg);
void row_lookup_free(struct row_lookup *l); /* NULL is legal */
/* As row_index_pieces; anything but 0: scan the file.  May wait for the store. */
int row_lookup_pieces(struct row_lookup *l, struct scan_version *v, const char *path, uint64_t size, bool head, struct row_piece **ret, size_t *ret_count);
/* The version's index is not asked again. */
void row_lookup_distrust(struct row_lookup *l, const struct scan_version *v, const char *why);

#endif
