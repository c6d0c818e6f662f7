/* What fetch.c (what to bring), fetch_plan.c (which spans) and fetch_range.c (which requests) share. */
#ifndef MESHFS_FS_FETCH_PLAN_H
#define MESHFS_FS_FETCH_PLAN_H

#include "catalog/store/store.h"
#include "fs/reader_internal.h"

#define READAHEAD_SHARE 192 /* of 256 of the memory budget: the rest is for demand */

/* A plan: spans that are in the image's table and on no request yet, in order of their place in one pack. */
struct plan {
	struct content *content;
	enum fetch_priority priority;
	struct manifest_pack pack;
	uint32_t pack_number;
	struct span *first, **last;
	uint64_t bytes; /* stored */
	uint64_t end;   /* pack offset after the last span */
	struct span *open; /* the last span, while it may grow */
	uint32_t open_cap;
	int code; /* of the last submit */
};

/* What is wanted of a chunk: some of the pieces that it is in the image. */
struct want {
	const struct manifest_chunk *chunk;
	uint32_t index;        /* of the chunk, as span_chunk has it */
	uint32_t slot, slots;  /* all of the chunk's */
	uint64_t offset;       /* of the chunk in the image */
	uint32_t first, count; /* pieces */
};

/* -- fetch_plan.c -- */
uint64_t span_cost(const struct span *s); /* bytes of the budget */
void plan_reset(struct plan *p);
/* Of a chunk in a pack's image, which has a slot for it: all. */
struct want want_slot(const struct manifest_chunk *k);
/* Of a file's chunk `index`: the pieces that hold bytes of [from, to). */
struct want want_bytes(const struct content *c, const struct manifest_chunk *k, uint32_t index, uint64_t from, uint64_t to);
/* Adds what is wanted of a chunk unless it is here or on its way. */
int plan_chunk(struct plan *p, struct image *i, struct blob *b, const struct want *w);
/* Adds a chunk, or part of one, that is missing; image.lock is held.  Takes over its leaves.  -EEXIST: another was faster with some of it, or with
 * all of it where it cannot come in parts. */
int plan_add_locked(struct plan *p, struct image *i, struct blob *b, const struct span_chunk *k, uint64_t pack_offset);

/* -- fetch_range.c -- */
/* Makes a request of the planned spans. */
void plan_submit(struct plan *p);

#endif
