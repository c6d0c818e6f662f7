/*
 * The transfer engine of a process, as the kinds of store see it.  Private to catalog/store.
 *
 * One thread owns a libcurl multi handle and everything that curl touches; the others queue calls and wake it.  A lane is
 * the engine's side of one store: three queues (demand, read-ahead, warm), a limit of connections of which warming may use
 * half and read-ahead three quarters, and health.  A lane is down once a call has failed for good because the store
 * did not answer and nothing else succeeded since that call came: what is queued then fails at once, new calls are
 * refused at once, and the engine asks by itself (1, 2, 4 … 15 s apart) until there is an answer.
 *
 * A call that breaks is tried again with growing, spread-out delays, for as long as its deadline and number of retries
 * allow; bytes that arrived count as progress and start the count anew.  A read that broke in its body goes on where it
 * stopped, and only if the object is provably the same one (If-Match, and its ETag compared; else its total length and
 * time), so that the bytes given are never a mix.
 *
 * Locks: transfer->lock guards the queues, the list of lanes and the cancellations; it is a leaf, and is held across no callback and
 * no call into curl.
 */
#ifndef MESHFS_CATALOG_STORE_TRANSFER_H
#define MESHFS_CATALOG_STORE_TRANSFER_H

#include "catalog/base/buf.h"
#include "catalog/store/store.h"

struct file_reader;
struct lane;

#define TRANSFER_SKIP_MAX (256u << 20)   /* bytes read past when a server ignores ranges */
#define TRANSFER_ANSWER_MAX (1u << 20)   /* bytes kept of an answer that is not the object */
#define TRANSFER_HEAD_MAX (256u << 10)   /* bytes of an answer's headers, with those of the redirects to it */
#define TRANSFER_RATE_MIN 1024u          /* bytes a second, on average, for which a deadline extends */
#define TRANSFER_WRITE_STALL_S 60        /* a write may make no progress for so long; a read, as long as a connect may take */

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_PUT, HTTP_POST, HTTP_DELETE };
const char *http_method_name(enum http_method m);

struct http_answer {
	int status;       /* 0: none came */
	bool retried;     /* an earlier attempt may have reached the server */
	bool size_known;
	uint64_t size;    /* of the whole object */
	int64_t modified_ns, date_s;
	char etag[STORE_ETAG_MAX];
	char region[32];  /* x-amz-bucket-region */
	struct buf body;  /* of an error, or of a call without on_data; the receiver frees it */
};

struct http_call {
	enum http_method method;
	const char *url;      /* whole and encoded; copied */
	const char *key;      /* what messages name; copied; may be NULL */
	const char *headers;  /* further ones, "Name: value\n" each; copied; may be NULL */
	const void *body;     /* of a PUT or POST; must stay until on_done */
	size_t body_len;
	const char *body_sha256; /* hex, for the signature; NULL: not hashed; copied */

	/* A GET with on_data: the range [offset, offset + length), or with length 0 the whole object. */
	uint64_t offset, length;
	uint64_t max_bytes;   /* of a whole object; beyond that -EFBIG */
	const char *if_match; /* copied; may be NULL */
	enum fetch_priority priority;
	int64_t deadline_ms;     /* 0: the engine's */
	bool deadline_extends;   /* it counts from the last progress (see TRANSFER_RATE_MIN) */
	int (*on_data)(void *arg, const void *bytes, size_t len);
	void (*on_done)(void *arg, int code, const struct err *e);
	void *arg;
	struct http_answer *answer; /* filled in before on_done; may be NULL */
};

struct lane_config {
	const char *label;     /* the domain: stands in messages; copied */
	const char *probe_url; /* asked with HEAD while the lane is down; copied */
	bool redirects;        /* follow them (never for a store with credentials; never from https to http) */
	/* Appends "Name: value\n" headers that authenticate this attempt; on the engine's thread.  May be NULL. */
	int (*sign)(void *arg, enum http_method m, const char *url, const char *headers, const char *body_sha256, struct buf *out);
	/* Makes an error of an answer (status >= 300, or an error in a good one): -errno, -EAGAIN when it is worth another try,
	 * 0 when it has nothing to add to what the status says.  On the engine's thread.  May be NULL. */
	int (*explain)(void *arg, const struct http_answer *a, const char *key, struct err *e);
	void *arg;
};

/* The configuration with its defaults filled in. */
const struct transfer_config *transfer_settings(const struct transfer *t);
/* The I/O threads for local files; started when first asked for.  NULL without memory or threads. */
struct file_reader *transfer_reader(struct transfer *t);

int lane_new(struct transfer *t, const struct lane_config *config, struct lane **ret, struct err *e);
void lane_free(struct lane *l); /* nothing of it under way; legal after transfer_stop.  NULL is legal */
bool lane_healthy(const struct lane *l);

/* 0, and on_done comes; or -errno, and it does not. */
int lane_submit(struct lane *l, const struct http_call *call, struct fetch **ret, struct err *e);
/* Submits and waits (on_done and arg of `call` are ours; its on_data keeps `data_arg`). */
int lane_call(struct lane *l, const struct http_call *call, void *data_arg, struct http_answer *ret, struct err *e);

#endif
