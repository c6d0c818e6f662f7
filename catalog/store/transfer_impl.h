/*
 * What transfer.c (threads, queues, retries, health) and transfer_http.c (one attempt: requests and answers) share.
 */
#ifndef MESHFS_CATALOG_STORE_TRANSFER_IMPL_H
#define MESHFS_CATALOG_STORE_TRANSFER_IMPL_H

#include "catalog/store/backend.h"
#include "catalog/store/headers.h"
#include "catalog/store/transfer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

enum call_state { CALL_QUEUED, CALL_ACTIVE, CALL_WAITING };

struct call {
	struct fetch base;
	struct lane *lane;
	struct http_call what; /* the texts are ours */

	/* Guarded by transfer->lock. */
	enum call_state state;
	enum fetch_priority priority;
	struct call *next, **at;      /* in a queue, or in the lane's list of active or waiting calls */
	bool cancelled;
	struct call *next_cancelled;

	/* Of the engine's thread. */
	int64_t submitted_ms, deadline_at_ms, retry_at_ms;
	unsigned attempts;   /* since the last progress */
	uint64_t given;      /* bytes of the range that on_data got */
	enum fetch_priority counted; /* the priority it was started under */
	struct http_answer scratch, *answer;
	/* To know the object again after a break: */
	bool identified;
	char first_etag[STORE_ETAG_MAX];
	bool first_size_known;
	uint64_t first_size;
	int64_t first_modified_ns;

	/* Of one attempt. */
	CURL *easy;
	struct curl_slist *list;
	char curl_error[CURL_ERROR_SIZE];
	bool head_checked, is_object; /* is the body the object, or an error's? */
	bool has_length, has_range, bad_range;
	char encoding[16];   /* a Content-Encoding that changes the bytes; "" when there is none */
	uint64_t content_length, skip, attempt_given, attempt_skipped;
	uint64_t sent;
	size_t head_bytes;   /* of all its headers, those of redirects included */
	int64_t started_ms;
	struct content_range range;
	int64_t retry_after_ms;
	bool complete;       /* enough came although the body goes on */
	int failure;         /* what a callback found wrong; `e` says what */
	struct err e;
};

struct call_queue {
	struct call *first, **last;
};

struct lane {
	struct transfer *transfer; /* NULL once the engine has stopped */
	struct lane_config config; /* the texts are ours */
	char *ca_file;             /* NULL: the system's authorities */
	struct lane *next;         /* guarded by transfer->lock, as are: */
	bool closing, closed;
	unsigned calls; /* queued, active and waiting */
	struct call_queue queues[3];
	struct call_queue active, waiting;
	/* Of the engine's thread. */
	unsigned active_count[3];
	CURL *idle[16];
	unsigned idle_count;
	int64_t last_success_ms, probe_at_ms, probe_delay_ms;
	CURL *probe;
	atomic_bool healthy;
};

/* Builds the request of one attempt into call->easy.  0 or -errno with call->e filled in. */
int attempt_prepare(struct call *c, const struct transfer_config *config, int64_t now_ms);
/* What came of it: 0 when the call is done, -EAGAIN when another try is worth it (call->e says why), else the error. */
int attempt_judge(struct call *c, CURLcode result, int64_t now_ms);
void attempt_reset(struct call *c);
/* A request that only asks whether the store answers. */
int probe_prepare(struct lane *l, const struct transfer_config *config);

#endif
