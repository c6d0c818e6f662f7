/*
 * Which chunks are there already: from digests to where the chunk's row stands (a manifest's chunk id).
 *
 * The index keeps 16 bytes a chunk: eight bytes of the digest and a reference.  Distinct digests may share their first
 * eight bytes, so a hit is only a hint: the caller reads the row and compares.
 *
 * Thread rules: chunk_index_maybe from any thread; the rest by one thread at a time.
 */
#ifndef MESHFS_CATALOG_CHUNK_INDEX_H
#define MESHFS_CATALOG_CHUNK_INDEX_H

#include "catalog/base/hash.h"

#include <stdbool.h>
#include <stdint.h>

struct chunk_index;

struct chunk_index *chunk_index_new(void); /* NULL without memory */
void chunk_index_free(struct chunk_index *x);
/* `source` (below 2^16) says whose id it is; ids are below 2^47.  0 or -ENOMEM. */
int chunk_index_add(struct chunk_index *x, const struct digest *d, unsigned source, uint64_t id);
bool chunk_index_maybe(struct chunk_index *x, const struct digest *d);
/* Offers each reference that may be the digest's until `match` returns non-zero, and returns that (0: none). */
int chunk_index_find(struct chunk_index *x, const struct digest *d, int (*match)(void *arg, unsigned source, uint64_t id), void *arg);

#endif
