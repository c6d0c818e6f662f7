/*
 * The inside of the transfer engine (transfer.h has its rules):
 *
 *   transfer.c          the engine: its thread, start and stop
 *   transfer_lane.c     one store: how many calls run at once, retries, health, probes
 *   transfer_call.c     one call: made, queued, cancelled, raised, ended
 *   transfer_request.c  one attempt of a call: the request
 *   transfer_answer.c   … and what its answer is worth
 */
#ifndef MESHFS_CATALOG_STORE_TRANSFER_IMPL_H
#define MESHFS_CATALOG_STORE_TRANSFER_IMPL_H

#include "catalog/store/backend.h"
#include "catalog/store/headers.h"
#include "catalog/store/transfer.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#define IDLE_POLL_MS 60000

struct file_reader;

struct transfer {
	struct transfer_config config;
	pthread_mutex_t lock;
	pthread_cond_t lane_closed;
	struct file_reader *reader; /* guarded by `lock`, as are: */
	bool running, stopping;
	struct lane *lanes;     /* only the engine's thread removes some */
	struct call *cancelled; /* asked to end, and not ended yet */
	pthread_t thread;
	CURLM *multi; /* of the engine's thread, but for curl_multi_wakeup */
};

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

/* -- transfer.c ----------------------------------------------------------------------------- */

/* Starts the engine's thread unless it runs.  0 or -errno; the engine's lock is held. */
int transfer_run_locked(struct transfer *t);

/* -- transfer_call.c ------------------------------------------------------------------------- */

/* A copy, NULL for NULL; *failed is set when there was no memory. */
char *transfer_copy(const char *text, bool *failed);
void call_queue_init(struct call_queue *q);
/* The queue of the state that a call is in.  This and the next three: the engine's lock is held. */
struct call_queue *call_queue_of(struct call *c);
void call_queue_push(struct call_queue *q, struct call *c);
void call_queue_unlink(struct call_queue *q, struct call *c);
void call_move_locked(struct call *c, enum call_state state);
/* The first of a queue, or NULL.  For loops that end them one by one, as call_finish needs the lock released. */
struct call *call_first(struct transfer *t, struct call_queue *q);
/* Sets the call's error ("domain: key: why") and returns `code`. */
int call_fail(struct call *c, int code, const char *why);
/* Tells on_done and frees the call; on the engine's thread, the call holds no slot. */
void call_finish(struct transfer *t, struct call *c, int code);
void call_free(struct call *c);

/* -- transfer_lane.c: on the engine's thread --------------------------------------------------- */

/* The next call that may start, now counted as active; NULL when there is none. */
struct call *lane_next(struct transfer *t, struct lane *l);
void lane_start(struct transfer *t, struct call *c, int64_t now_ms);
/* An attempt is over: its handle and its slot are free again. */
void lane_release(struct transfer *t, struct call *c);
/* Ends the call that was released, or has it wait for its next try. */
void lane_conclude(struct transfer *t, struct call *c, int verdict, int64_t now_ms);
/* Puts calls that have waited long enough back into their queues.  Returns when the next one is due. */
int64_t lane_wake(struct transfer *t, struct lane *l, int64_t now_ms);
/* Asks whether the store answers again, and what came of it. */
void lane_start_probe(struct transfer *t, struct lane *l);
void lane_probe_done(struct lane *l, CURLcode result, int64_t now_ms);
/* Ends all that the lane has, and lets go of its handles. */
void lane_dismantle(struct transfer *t, struct lane *l);

/* -- transfer_request.c, transfer_answer.c: on the engine's thread ------------------------------- */

/* Builds the request of one attempt into call->easy.  0 or -errno with call->e filled in. */
int attempt_prepare(struct call *c, const struct transfer_config *config, int64_t now_ms);
/* What came of it: 0 when the call is done, -EAGAIN when another try is worth it (call->e says why), else the error. */
int attempt_judge(struct call *c, CURLcode result, int64_t now_ms);
void attempt_reset(struct call *c);
/* curl's callbacks, with the call as their argument: one header line; a piece of the body; now and then. */
size_t answer_header(char *line, size_t size, size_t n, void *arg);
size_t answer_body(char *bytes, size_t size, size_t n, void *arg);
int answer_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up);
/* Sets the call's error as call_fail does, formatted. */
int call_err(struct call *c, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* A request that only asks whether the store answers. */
int probe_prepare(struct lane *l, const struct transfer_config *config);

#endif
