/*
 * A domain's store: a flat space of objects under a URL.  file://, http(s):// (read only), s3://.
 *
 * Two ways in: asynchronous range reads for the mount (store_fetch), and blocking calls for commands and background
 * work.  All network transfers of a process go through one `struct transfer` (one thread, one libcurl multi); file://
 * reads run on its small pool of I/O threads, so that both behave alike.
 *
 * Keys are relative paths (".mesh/packs/ab12…"), '/'-separated, already checked: never absolute, no "." or ".." parts.
 * Errors: -ENOENT no such object; -EACCES refused by the server (wrong or missing credentials, 401/403);
 * -ESTALE the object is not the one that `if_match` names; -EEXIST an exclusive create lost; -ETIMEDOUT the deadline passed;
 * -EBADMSG the server's answer contradicts itself (lies about lengths or ranges); -EROFS a read-only store;
 * -EIO anything else after retries; -ECANCELED.  Messages never hold credentials or signed URLs.
 *
 * Thread rules: every function may be called from any thread; callbacks run on the transfer thread (http, s3) or an
 * I/O thread (file) and must neither block nor call back into the store synchronously.
 */
#ifndef MESHFS_CATALOG_STORE_H
#define MESHFS_CATALOG_STORE_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transfer; /* the engine: catalog/store/transfer.h */
struct store;

enum fetch_priority { FETCH_DEMAND = 0, FETCH_READAHEAD = 1, FETCH_WARM = 2 };

#define STORE_ETAG_MAX 128

struct transfer_config {
	unsigned max_connections_per_store; /* 0: a default */
	int64_t connect_timeout_ms;         /* 0: a default (10 s) */
	int64_t deadline_ms;                /* of a whole request with its retries; 0: a default (60 s) */
	unsigned max_retries;               /* 0: a default (5) */
};

int transfer_start(const struct transfer_config *config, struct transfer **ret, struct err *e);
/* Cancels everything under way (callbacks get -ECANCELED), joins the threads.  NULL is legal. */
void transfer_stop(struct transfer *t);

/* `endpoint`, `region` may be NULL.  Opening does not touch the network.  `label` (the domain's name) stands in messages. */
int store_open(struct transfer *t, const char *label, const char *url, const char *endpoint, const char *region, struct store **ret,
	       struct err *e);
void store_free(struct store *s); /* no transfer of it may be under way */
const char *store_url(const struct store *s);
bool store_writable(const struct store *s);
/* Writable, and by us as the domain: root does not write unasked into a folder of somebody else, who could lead it anywhere with links. */
bool store_ours(const struct store *s);
/* False after several failures in a row until a probe succeeds: callers fail fast instead of parking readers. */
bool store_healthy(const struct store *s);

/* -- asynchronous reads -------------------------------------------------------------------- */

struct fetch_request {
	const char *key;         /* copied */
	uint64_t offset, length; /* the range; length 0 is not allowed */
	const char *if_match;    /* an ETag that must still hold (in-place chunks), or NULL; copied */
	enum fetch_priority priority;
	int64_t deadline_ms;     /* from now; 0: the engine's */
	/* Bytes of the range, in order, as they arrive (any sizes).  After a retry the stream resumes where it stopped: no byte is given
	 * twice.  A non-zero return cancels (-ENOMEM is told as such). */
	int (*on_data)(void *arg, const void *bytes, size_t len);
	/* Exactly once, last: 0 when the whole range was given; else a negative errno and the reason. */
	void (*on_done)(void *arg, int code, const struct err *e);
	void *arg;
};

struct fetch; /* a request under way; owned by the engine, valid until on_done returns */

/* 0 or -errno (then on_done is not called).  `ret` may be NULL. */
int store_fetch(struct store *s, const struct fetch_request *request, struct fetch **ret, struct err *e);
/* Asks for cancellation; on_done still comes.  Only legal before on_done returned. */
void fetch_cancel(struct fetch *f);
void fetch_raise(struct fetch *f, enum fetch_priority priority); /* read-ahead that became demand */

/* -- blocking calls ------------------------------------------------------------------------ */

struct object_info {
	uint64_t size;
	int64_t modified_ns;
	char etag[STORE_ETAG_MAX]; /* with its quotes as the server gave it; file://: made of inode, size, mtime; "" when none */
};

/* The whole object, at most `max_bytes` (-EFBIG beyond).  `ret_info` may be NULL. */
int store_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *ret_info, struct err *e);
/* Into a new local file (mode 0600), streamed. */
int store_get_file(struct store *s, const char *key, const char *path, struct object_info *ret_info, struct err *e);
int store_get_range(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *ret_bytes, struct err *e);
int store_head(struct store *s, const char *key, struct object_info *ret, struct err *e);

enum put_mode {
	PUT_REPLACE,
	PUT_EXCLUSIVE, /* -EEXIST when the object exists.  On a store that cannot (store_exclusive), -EOPNOTSUPP. */
};
int store_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e);
/* From a local file; multipart on S3 above 32 MiB.  `progress` (may be NULL) is told of bytes sent. */
int store_put_file(struct store *s, const char *key, const char *path, void (*progress)(void *, uint64_t), void *arg, struct err *e);
int store_delete(struct store *s, const char *key, struct err *e); /* absent is fine */

/* Objects under a prefix, in no promised order; a non-zero return of `each` stops and is returned.  http: -EOPNOTSUPP. */
int store_list(struct store *s, const char *prefix, int (*each)(void *arg, const char *key, const struct object_info *info), void *arg,
	       struct err *e);

/* Does the store honour PUT_EXCLUSIVE?  Probed with an object under .mesh/probe/, which is removed.  `domain add` asks once. */
int store_probe_exclusive(struct store *s, bool *ret, struct err *e);
/* Makes what must be there before the first put (the folder of file://, mode 0700 for .mesh; checks the bucket of s3://). */
int store_prepare(struct store *s, struct err *e);

#endif
