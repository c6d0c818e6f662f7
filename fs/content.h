/*
 * The read path: the bytes of files, through their views, from store or cache.
 *
 * A `struct reader` is process-wide: one disk cache, one memory budget, one set of workers, any number of domains and
 * sessions.  A `struct content` is the bytes of one file through one view (identity: the file itself); contents of equal identity are
 * shared.  Every chunk is verified before a byte of it is served.
 *
 * Thread rules: all functions from any thread; callbacks may run inside the call or on a worker, holding no lock.  Nothing
 * here waits for the network except where it says so.
 */
#ifndef MESHFS_FS_CONTENT_H
#define MESHFS_FS_CONTENT_H

#include "catalog/base/err.h"
#include "catalog/domain.h"
#include "catalog/manifest.h"
#include "policy/view.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct reader;
struct content;

struct reader_config {
	const char *cache_folder;
	uint64_t cache_limit_bytes;
	uint64_t memory_budget_bytes; /* for everything in flight and the hot chunks; 0: a default (256 MiB) */
	unsigned workers;             /* verify, decompress, view; 0: the number of processors */
	int64_t deadline_ms;          /* a read that waits longer fails with -EIO; 0: a default (30 s) */
	struct view_keys keys;
	/* May be NULL.  A view's index, and with it the size that readers were told, was found wrong: what the kernel knows is to be asked for
	 * again.  Called by a worker that holds no lock. */
	void (*outdated)(void *arg);
	void *outdated_arg;
	bool collects;                /* the caller gives what is computed to the stores (fs/view_store.h); else large files are offered one by one */
};

int reader_start(const struct reader_config *config, struct transfer *t, struct reader **ret, struct err *e);
/* Fails everything parked with -EIO, waits for the workers.  No content may be in use. */
void reader_stop(struct reader *r);

/* The content of a file (entry->kind == ENTRY_FILE).  `view` NULL: identity.  Cheap: touches the manifest at most.  `ret` is a reference. */
int content_get(struct reader *r, struct domain *d, struct manifest *m, const struct manifest_entry *entry, const char *path,
		struct transform *view, struct content **ret, struct err *e);
struct content *content_ref(struct content *c);
void content_unref(struct content *c);

/* Asks for the exact size (and all that reading needs).  An identity's is known at once; a view's index may have to be computed.
 * `done` is called once: 0; -EACCES (the view denies the file; `reason`); -ETIMEDOUT at the deadline (the work goes on); -EIO …
 * Cancel by content_cancel(token). */
typedef void (*content_ready)(void *arg, int code, const char *reason);
int content_prepare(struct content *c, int64_t deadline_ms, content_ready done, void *arg, uint64_t *ret_token);
/* 0 when the size is known now; -EAGAIN when it has to be computed; -EACCES. */
int content_size(const struct content *c, uint64_t *ret_size);
/* Why content_size says -EACCES, in words for the reader; lives as long as the content. */
const char *content_denied(const struct content *c);
/* XXH3-128 of the bytes served; -ENODATA when it would need the whole file read first. */
int content_hash(const struct content *c, struct xxh128 *ret);

/* Reads [offset, offset + len), cut at the end of the content.  `done` is called once, perhaps inside the call, with the bytes (`len` of them, in
 * `count` parts, valid during the callback only) or a negative errno (-EIO, -ESTALE, -EINTR when cancelled).  `stream` separates forked workers' patterns only as a hint:
 * read-ahead follows offsets, never descriptors. */
typedef void (*content_bytes)(void *arg, int code, const struct iovec *parts, size_t count, size_t len);
void content_copy(void *to, const struct iovec *parts, size_t count);
void content_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token);
/* The same, blocking: exactly `len` bytes that lie within the content.  For views and for commands. */
int content_read_wait(struct content *c, uint64_t offset, void *bytes, size_t len, struct err *e);
/* Ends the wait of one content_prepare/content_read: `done` is called with -EINTR unless it was called already.  A stale token is harmless. */
void content_cancel(struct reader *r, uint64_t token);

/* When all bytes lie verified in one cache file: an open descriptor (O_RDONLY; the caller closes it).  Else -EAGAIN. */
int content_whole_fd(struct content *c, int *ret_fd);
/* Called once, on a worker, when the content becomes whole (promotion). */
void content_on_whole(struct content *c, void (*notify)(void *arg), void *arg);

/* Bytes fetched from the store for this content in this process so far. */
uint64_t content_fetched_bytes(const struct content *c);

/*
 * Blocking, for what works ahead of readers (content_wait.c).  `w` (NULL is legal) is told how far it is, ten times a second also while nothing
 * happens, and can end the wait with -EINTR.
 */
struct content_follower {
	const atomic_bool *interrupted;                          /* or NULL */
	void (*progress)(void *arg, uint64_t bytes);             /* or NULL; more bytes: in all, as many as the file itself has */
	void *arg;
};
/* content_prepare. */
int content_prepare_wait(struct content *c, const struct content_follower *w, struct err *e);
/* Brings all of it into the cache. */
int content_warm(struct content *c, const struct content_follower *w, struct err *e);

struct reader_stats {
	uint64_t cache_bytes, cache_limit_bytes, memory_bytes;
	uint64_t hits, misses, fetched_bytes, served_bytes, integrity_errors, fetch_errors, parked;
};
void reader_stats(struct reader *r, struct reader_stats *ret);

#endif
