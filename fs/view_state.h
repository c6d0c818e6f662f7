/*
 * What content_view.c (asking and reading) and view_build.c (computing) share about a content that is a view.
 *
 * The index is made once: VIEW_UNKNOWN → VIEW_BUSY → VIEW_KNOWN or VIEW_DENIED; a failure that may pass goes back to
 * VIEW_UNKNOWN.  `index` and `segments` never change after VIEW_KNOWN (a release store), so readers take no lock.
 */
#ifndef MESHFS_FS_VIEW_STATE_H
#define MESHFS_FS_VIEW_STATE_H

#include "fs/reader_internal.h"
#include "fs/view_index.h"

enum view_progress { VIEW_UNKNOWN, VIEW_BUSY, VIEW_KNOWN, VIEW_DENIED };

struct view_state {
	struct content *source; /* the file itself; a reference */
	struct transform *transform;
	_Atomic int progress; /* enum view_progress */
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
	bool rebuilding; /* content.lock: a VIEW_WHOLE that was evicted is being made again */
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

#endif
