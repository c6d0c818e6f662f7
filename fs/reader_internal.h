/*
 * What the files of the read path share: reader.c, image.c, fetch.c, verify.c, content*.c.
 *
 *   content ──> image ──> blob (disk, cache.h)
 *                 └─────> spans: bytes in memory or on their way
 *
 * A `struct image` is the bytes of one blob wherever they are, in slots: one a piece (a leaf of a chunk, or a chunk without leaves) of a
 * file, one a chunk of a pack or of a view.  A `struct span` is a run of neighbouring chunks, or parts of chunks, of an image: the
 * unit that arrives, is verified, is written and is kept hot.  A `struct range` is one request to a store; it fills spans in order.
 *
 * Locks, in order: reader.lock → content.lock → image.lock → leaves (range.lock, the verify queue's, the hot list's, the pending
 * queue's, the budget's, the registry's).  None is held across a callback, a store call or a manifest query.
 */
#ifndef MESHFS_FS_READER_INTERNAL_H
#define MESHFS_FS_READER_INTERNAL_H

#include "catalog/base/map.h"
#include "catalog/base/pool.h"
#include "fs/budget.h"
#include "fs/cache.h"
#include "fs/content.h"
#include "fs/readahead.h"
#include "fs/wait.h"

#include <pthread.h>
#include <stdatomic.h>

#define RANGE_BYTES_MAX (8u << 20)   /* one request to a store */
#define SPAN_BYTES_MAX (256u << 10)  /* small chunks are grouped up to this; a larger chunk is a span of its own */
#define GAP_BYTES_MAX (128u << 10)   /* stored bytes that nobody wants: read over rather than asked around */
#define CHUNK_BYTES_MAX (256u << 20) /* a manifest that claims more is refused */
#define FILE_BLOB_MIN (1u << 20)     /* smaller files are cached with their pack */

/* A domain as the read path sees it; lives as long as the reader. */
struct reader_domain {
	char name[64];
	const char *cache_name; /* of its folder in the cache: domain_identity */
	struct domain *domain;
	struct store *store;
	_Atomic int64_t progress_ms; /* when its store last gave bytes */
	_Atomic int64_t first_byte_ns; /* the shortest time from a request to its first byte; 0: none came yet */
	_Atomic int64_t try_ms;      /* when it was last asked while unhealthy */
	_Atomic unsigned parked;     /* reads that wait for it */
	_Atomic bool refuses;        /* its store did not take an index of a view */
	_Atomic int64_t logged_ms;   /* when a failure was last logged */
	struct reader_domain *next;
};

/* A chunk, or a run of its leaves. */
struct span_chunk {
	uint32_t index;       /* of the chunk in its file; in a pack's or a view's image: the slot */
	uint32_t slot, slots; /* the first one, and how many */
	uint32_t first_leaf;  /* the run starts with this leaf of the chunk */
	bool part;            /* a run of leaves: `leaves` is what they must be */
	struct leaf *leaves;  /* owned, one a slot; NULL: its one slot is no leaf.  Of a whole chunk: filled by the verifier, which has them from the bytes */
	uint32_t length, stored_length, stored_skip; /* stored_skip: from the span's first stored byte */
	enum chunk_codec codec;
	bool bad; /* its bytes did not match; the verifier's */
	uint64_t offset; /* in the image */
	struct digest digest; /* of the whole chunk */
	struct xxh128 hash;   /* where leaves is NULL */
};

enum span_state { SPAN_COMING, SPAN_READY, SPAN_FAILED };

struct span {
	_Atomic int refs; /* the image's table counts as one, the hot list as one */
	struct image *image;
	enum span_state state; /* image.lock */
	bool retried;          /* it is a second try after a digest did not match */
	bool raw;              /* all chunks are raw: what arrives is what is served */
	bool brief;            /* leaves that one read asked for: not kept hot once they are on disk, so that the next one's go where they were */
	bool answered;         /* verified and served: only the cache is to be written */
	uint64_t base;         /* the image's offset of bytes[0] */
	uint32_t length, stored_length;
	uint64_t pack_offset;
	unsigned char *bytes, *stored;
	uint32_t arrived; /* of stored; the range's */
	uint64_t cost;    /* taken from the budget */
	struct range *range;  /* image.lock; NULL once all has arrived */
	struct wait *waiters; /* image.lock */
	struct span *next;    /* in its range, then in the verify queue */
	struct span *hot_next;
	_Atomic bool touched, written;
	_Atomic uint32_t served;
	struct content *content; /* a reference: whose read asked for it, for messages and accounting */
	uint32_t count;
	struct span_chunk chunk[];
};

struct range {
	_Atomic int refs;
	struct reader *reader;
	struct reader_domain *domain;
	struct manifest_pack pack;
	uint64_t offset, length, got;
	int64_t started_ns;
	struct span *current, *last; /* spans that are not complete; the transfer's */
	_Atomic int priority;        /* enum fetch_priority */
	uint64_t cost;
	pthread_mutex_t lock; /* guards fetch, started: a leaf */
	struct fetch *fetch;
	bool finished;
	struct range *next; /* pending */
	struct range *active_next, **active_at; /* in the store's hands; pending_lock */
};

struct image {
	_Atomic int refs; /* the reader's map counts as one */
	struct reader *reader;
	struct reader_domain *domain;
	enum blob_kind kind;
	struct digest name;
	uint64_t size;
	uint32_t slots;
	_Atomic int64_t used_ms;
	_Atomic unsigned resident; /* slots in `spans` */
	pthread_mutex_t lock;      /* guards what follows */
	struct blob *blob;         /* NULL: not open, or no cache */
	int64_t blob_retry_ms;
	struct span **spans; /* by slot: the span that holds it */
	struct content *watchers; /* contents with an on_whole; not references */
	/* Packs: how much to bring with a small file (fetch.c). */
	uint64_t window;
	uint32_t frontier, hits;
	bool advancing;
};

struct hot_list {
	pthread_mutex_t lock;
	struct span *first, **last;
	uint64_t bytes, max_bytes;
};

struct verify_queue {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct span *first, **last;
	size_t queued;
	unsigned idle, threads;
	bool stopping;
	pthread_t *ids;
};

struct reader {
	struct cache *cache; /* NULL: none could be opened */
	struct budget *budget;
	struct waits *waits;
	struct pool *views;
	struct view_sets *view_sets;
	bool collects;                /* these three as reader_config has them */
	void (*outdated)(void *arg);
	void *outdated_arg;
	unsigned workers;
	int64_t deadline_ms;
	struct view_keys keys;
	pthread_mutex_t lock; /* guards the maps and the list of domains */
	struct map *contents, *images;
	struct reader_domain *domains;
	struct hot_list hot;
	struct verify_queue verify;
	pthread_mutex_t pending_lock; /* guards pending */
	struct range *pending[3];     /* by priority; waiting for memory */
	struct range *active;         /* in the store's hands; pending_lock too */
	_Atomic unsigned pending_count, ranges; /* ranges: how many are active */
	_Atomic bool stopping;
	pthread_t timer;
	pthread_mutex_t timer_lock;
	pthread_cond_t timer_wake;
	bool timer_stop, timer_running;
	unsigned blob_max;
	_Atomic unsigned blobs_open;
	_Atomic uint64_t hits, misses, fetched_bytes, served_bytes, integrity_errors, fetch_errors;
	struct cache_counters counted; /* what cache_count was told; the timer's */
};

/* -- image.c -------------------------------------------------------------------------------- */
int image_get(struct reader *r, struct reader_domain *d, enum blob_kind kind, const struct digest *name, uint64_t size, uint32_t slots,
	      struct image **ret);
struct image *image_ref(struct image *i);
void image_unref(struct image *i);
/* The blob with a reference, opened if need be; NULL when it cannot be. */
struct blob *image_blob(struct image *i);
/* Closes evicted and idle blobs, forgets images that nobody uses: the timer's. */
void images_tend(struct reader *r, bool all);
void images_free(struct reader *r); /* those that are left, at the end */
/* Lets go of the image's blob if it was evicted, so that the next use opens the new one. */
void images_forget_evicted(struct image *i);

void span_ref(struct span *s);
void span_unref(struct span *s);
/* How many bytes from the image's `offset` on the ready span can serve: none of a chunk whose bytes were bad. */
uint32_t span_extent(const struct span *s, uint64_t offset);
/* Takes the span's slots out of the table (image.lock held); the caller drops the table's reference after unlocking. */
bool span_detach_locked(struct span *s);
bool span_drop_slots_locked(struct span *s, const struct span_chunk *c); /* the same for one chunk; was any there? */

void hot_add(struct reader *r, struct span *s);
/* Lets go of hot bytes until at least `bytes` are free or none is left. */
void hot_evict(struct reader *r, uint64_t bytes);
void span_forget(struct span *s); /* out of the table */
void hot_clear(struct reader *r);

/* -- fetch.c -------------------------------------------------------------------------------- */
/* Brings the pieces of [from, to) of an identity content, those that are neither here nor on their way. */
int fetch_bytes(struct content *c, uint64_t from, uint64_t to, enum fetch_priority priority);
/* Brings the chunks of a small file, with its neighbours in the pack. */
int fetch_small(struct content *c, uint32_t first, uint32_t last, enum fetch_priority priority);
void fetch_advance(struct content *c, uint32_t slot); /* after a hit: the next window of the pack, when near its end */
int fetch_again(struct span *s, const struct span_chunk *chunk); /* one chunk or part of one, after a mismatch */
void fetch_pump(struct reader *r); /* starts what waited for memory */
void fetch_cancel_all(struct reader *r);
void range_unref(struct range *g);
/* Read-ahead that became demand. */
void range_raise(struct range *g);

/* -- verify.c ------------------------------------------------------------------------------- */
int verify_start(struct reader *r, unsigned threads);
void verify_stop(struct reader *r);
void verify_push(struct reader *r, struct span *first, struct span **last, size_t count);
/* Verifies and answers on this thread what a read waits for, where that is short, and leaves the rest of the work to the verifiers: a hand-off between
 * threads takes as long as hashing a leaf.  The span must be raw. */
void verify_now(struct reader *r, struct span *s);
void span_fail(struct span *s, int code);
/* The bytes of a span that was made here (a view's) are in place and right. */
void span_ready(struct span *s);

/* -- content.c ------------------------------------------------------------------------------ */
enum content_shape { SHAPE_EMPTY, SHAPE_FILE, SHAPE_SMALL, SHAPE_VIEW };

#define CHUNK_PAGE 256

struct chunk_page {
	uint32_t count;
	struct manifest_chunk chunk[];
};

struct view_state; /* content_view.c */

struct content {
	_Atomic int refs;
	struct reader *reader;
	struct reader_domain *domain;
	struct manifest *manifest;
	struct manifest_entry entry;
	char *path;
	unsigned char key[112];
	size_t key_len;
	enum content_shape shape;
	struct image *image;
	struct manifest_pack pack; /* the one looked up last; content.lock */
	uint32_t pack_number;
	_Atomic(struct chunk_page *) *pages;
	uint32_t page_count;
	pthread_mutex_t lock; /* guards readahead, pack, notify */
	struct readahead readahead;
	_Atomic bool whole;
	_Atomic uint64_t fetched;
	_Atomic unsigned failures; /* spans of it that failed so far, and the last one's code */
	_Atomic int failure;
	void (*notify)(void *arg);
	void *notify_arg;
	struct content *next_watcher; /* image.lock, like watching: it stands in the image's list */
	bool watching;
	struct view_state *view;
};

/* Bytes of one answer where they lie, in order: of ready spans, with a reference each, or of a buffer (no span). */
#define PARTS_MAX 16

struct parts {
	struct iovec iov[PARTS_MAX];
	struct span *span[PARTS_MAX];
	size_t count;
};

struct read_op {
	struct wait wait;
	struct content *content;
	uint64_t offset;
	size_t len, pos, copied; /* of `pos` bytes the first `copied` are in the buffer, the others in `held` */
	unsigned char *buffer;
	struct parts held; /* empty while the read is parked: who waits for memory must not keep any */
	content_bytes done;
	void *arg;
	bool counted, planned;
	unsigned failures; /* the content's, when the read last asked for chunks */
};

/* What one slot of the image holds, as reads see it. */
struct piece {
	uint64_t start, image_offset; /* in the content; in its image */
	uint32_t length, slot;
};

int content_piece(struct content *c, uint64_t at, struct piece *ret);
/* content_read of an identity that never looks ahead beyond `end`: a view's denied ranges are not fetched. */
void content_read_until(struct content *c, uint64_t end, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token);
void content_read_image(struct content *c, uint64_t size, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token);
int content_chunk(struct content *c, uint32_t index, const struct manifest_chunk **ret);
int content_chunk_index(struct content *c, uint64_t offset, uint32_t *ret);
/* Where a chunk stands in the content's image: its first slot and its first byte. */
uint32_t content_slot(const struct content *c, const struct manifest_chunk *k);
uint64_t content_image_offset(const struct content *c, const struct manifest_chunk *k);
int content_pack(struct content *c, uint32_t pack, struct manifest_pack *ret);
/* Continues parked reads after their span is ready (code 0) or failed. */
void content_resume(struct reader *r, struct wait *waiters, int code);
/* Tells the watchers of an image that has become whole. */
void content_tell_whole(struct image *i);
void content_watch(struct content *c); /* its image is there */

/* -- content_view.c, view_*.c ------------------------------------------------------------------------- */
int view_content_init(struct content *c, struct domain *d, struct transform *view, struct err *e);
void view_content_fini(struct content *c);
int view_content_size(const struct content *c, uint64_t *ret_size);
const char *view_content_denied(const struct content *c);
int view_content_hash(const struct content *c, struct xxh128 *ret);
int view_content_prepare(struct content *c, int64_t deadline_ms, content_ready done, void *arg, uint64_t *ret_token);
void view_content_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token);
int view_content_whole_fd(struct content *c, int *ret_fd);
int view_content_piece(struct content *c, uint64_t at, struct piece *ret);
/* Makes the chunks of a view's range that are neither here nor on their way. */
int view_content_fetch(struct content *c, uint64_t offset, size_t len, enum fetch_priority priority);
uint64_t view_content_fetched(const struct content *c);
/* Bytes of the source that were gone through while the index was computed. */
uint64_t view_content_progress(const struct content *c);

#endif
