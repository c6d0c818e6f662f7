/*
 * A view index: the derived length, hash and rows of every chunk of a view, which makes the view random-access.
 *
 * It is computed once and kept in <cache>/<domain>/views/<content digest>/<view name>, with a checksum.  The same bytes stand in the view sets of
 * the domain's store (fs/view_set.h), from where other hosts take them: claimed there, until each chunk was derived (fs/view_chunk.c).
 *
 * An index is plain data; the owner's rules guard it.
 */
#ifndef MESHFS_FS_VIEW_INDEX_H
#define MESHFS_FS_VIEW_INDEX_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "policy/view.h"

#include <stdbool.h>
#include <stdint.h>

struct view_index {
	enum view_kind kind; /* VIEW_CHUNKED: chunk i comes from source chunk i; VIEW_WHOLE: pieces of the whole */
	uint32_t count;
	uint64_t size, source_size;
	struct view_stats stats;
	struct xxh128 hash; /* of all derived bytes */
	bool claimed;       /* a store said so: every chunk is to be derived and compared before it is taken for true */
	uint64_t *ends;     /* prefix sums of the derived lengths */
	uint64_t *rows;     /* rows of each chunk that are shown */
	struct xxh128 *hashes;
};

int view_index_new(enum view_kind kind, uint32_t count, uint64_t source_size, struct view_index **ret);
void view_index_free(struct view_index *x);
/* Room for more chunks (VIEW_WHOLE, whose count shows only at the end). */
int view_index_grow(struct view_index *x, uint32_t count);

int view_index_encode(const struct view_index *x, struct buf *ret);
/* -EBADMSG: not a sound index of a source of that size and chunk count. */
int view_index_decode(const void *bytes, size_t len, uint64_t source_size, uint32_t source_chunks, struct view_index **ret);

#endif
