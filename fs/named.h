/*
 * Is there what a question about lineage names?  An empty answer to a name that was mistyped would pass for a proof.
 *
 * There is what the catalogs list, as they were last seen, and what is on record, whether the catalogs still know it or not.  Thread rules: as the arguments'.
 */
#ifndef MESHFS_FS_NAMED_H
#define MESHFS_FS_NAMED_H

#include "fs/browse.h"

struct lineage;
struct lineage_graph;

/* A domain, product, version, folder or file, without selectors.  -ENOENT says which part of it there is not, and what is nearest.  May wait for the store (a
 * manifest). */
int named_check(const struct browse *b, struct lineage *l, const char *address, struct err *e);
/* The same for who has not opened the domains: they are when the record does not know the address. */
int named_check_in(const struct invocation *inv, struct lineage *l, const char *address, struct err *e);

/* lineage_resolve; where no version matches, it is told whether there is such a product.  `ret` is the caller's. */
int named_resolve(const struct invocation *inv, struct lineage *l, const char *what, char **ret, struct err *e);

/* lineage_walk from an address with selectors, a run or an output. */
int named_walk(const struct invocation *inv, struct lineage *l, const char *what, bool down, struct lineage_graph **ret, struct err *e);

#endif
