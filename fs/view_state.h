/*
 * What the files about contents that are views share: content_view.c (asking), view_build.c (computing), view_keep.c and view_store.c (keeping),
 * view_chunk.c and view_segment.c (reading).
 *
 * The index is made once: VIEW_UNKNOWN → VIEW_BUSY → VIEW_KNOWN or VIEW_DENIED; a failure that may pass goes back to
 * VIEW_UNKNOWN.  `index` and `segments` never change after VIEW_KNOWN (a release store), so readers take no lock.
 */
#ifndef MESHFS_FS_VIEW_STATE_H
#define MESHFS_FS_VIEW_STATE_H

#include "fs/reader_internal.h"
#include "fs/view_index.h"

#define INDEX_BYTES_MAX ((size_t)2 << 30)

enum { JOB_READ = 0, JOB_INDEX = 1, JOB_AHEAD = 2 }; /* priorities of view work */

enum view_progress { VIEW_UNKNOWN, VIEW_BUSY, VIEW_KNOWN, VIEW_DENIED };

struct view_state {
	struct content *source; /* the file itself; a reference */
	struct transform *transform;
	_Atomic int progress; /* enum view_progress */
	_Atomic uint64_t gone_through; /* bytes of the source that the view was made from; some more than once */
	char reason[ERR_TEXT_MAX];
	struct wait *waiters; /* content.lock */
	pthread_mutex_t plan_lock; /* makes the plan once; held while the source is read, so only view workers take it */
	struct view_plan *plan;
	_Atomic bool one_piece; /* the view found records that the chunks cut: it is made of the whole file at once */
	char *index_path; /* NULL: nothing is kept */
	enum view_kind kind;
	uint64_t size;
	struct view_index *index;            /* VIEW_CHUNKED, VIEW_WHOLE */
	const struct view_segment *segments; /* VIEW_SEGMENTS; the plan's */
	size_t segment_count;
	bool own;              /* what the store says was found wrong: computed here */
	_Atomic bool claimed;  /* the index comes from a store and not every chunk was derived yet */
	_Atomic bool unhashed; /* every chunk was derived, but the hash of the whole is still a store's word */
	_Atomic bool proving;  /* a job goes through the chunks; it alone uses `proven` */
	uint32_t proven;       /* chunks of a claimed index that hold, from the first */
	_Atomic bool broken;   /* the index was found wrong: nothing is served any more, a content of its own takes over */
};

/* The plan, made at first need; reads the source, so only on a view worker. */
int view_plan_get(struct content *c, struct view_plan **ret, struct err *e);
/* The source chunks that one derived chunk needs: all of a file whose chunks do not end with records. */
int view_source_chunk(struct content *c, uint32_t index, uint64_t *ret_offset, uint32_t *ret_length);
/* Computes index and, if the cache allows, the blob.  On a view worker. */
int view_build(struct content *c, struct view_index **ret, struct err *e);
/* Where the finished view is kept. */
void view_blob_name(const struct content *c, const struct view_index *x, struct digest *ret);
struct view_source view_source_of(struct content *c);
bool view_is_known(const struct content *c);

/* -- view_keep.c: the index in the cache ---------------------------------------------------- */
/* Where the index is kept; NULL: nowhere. */
char *view_index_path(struct content *c);
/* The index from the cache; -ENOENT. */
int view_index_load(struct content *c, struct view_index **ret);
void view_index_save(struct content *c, const struct view_index *x);
/* Removes it, and remembers that this host computes its own. */
void view_index_discard(struct content *c);

/* -- view_chunk.c --------------------------------------------------------------------------- */
/* The index does not say what the file gives: nothing more is served from it, and the next who asks gets one that is computed here. */
void view_distrust(struct content *c, const struct err *why);
/* Goes on proving a claimed index, beside the reading that called. */
void view_prove(struct content *c);

/* -- view_segment.c ------------------------------------------------------------------------- */
void view_segments_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token);

#endif
