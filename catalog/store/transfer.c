/* The engine: its thread, and how it starts and stops.  Calls are in transfer_call.c, lanes in transfer_lane.c. */
#include "catalog/store/transfer_impl.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"
#include "catalog/store/file_reader.h"

#include <errno.h>
#include <stdlib.h>

#define DEFAULT_CONNECTIONS 16
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_DEADLINE_MS 60000
#define DEFAULT_RETRIES 5
#define IDLE_CONNECTIONS_MAX 128

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void start_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* -- the thread ---------------------------------------------------------------------------- */

static void run_cancellations(struct transfer *t)
{
	for (;;) {
		pthread_mutex_lock(&t->lock);
		struct call *c = t->cancelled;
		if (c)
			t->cancelled = c->next_cancelled;
		pthread_mutex_unlock(&t->lock);
		if (!c)
			return;
		if (c->state == CALL_ACTIVE)
			lane_release(t, c);
		call_finish(t, c, call_fail(c, -ECANCELED, "the transfer was cancelled"));
	}
}

static void close_lanes(struct transfer *t)
{
	for (;;) {
		pthread_mutex_lock(&t->lock);
		struct lane **p = &t->lanes;
		while (*p && !(*p)->closing)
			p = &(*p)->next;
		struct lane *l = *p;
		if (l)
			*p = l->next;
		pthread_mutex_unlock(&t->lock);
		if (!l)
			return;
		lane_dismantle(t, l);
		pthread_mutex_lock(&t->lock);
		l->closed = true;
		pthread_cond_broadcast(&t->lane_closed);
		pthread_mutex_unlock(&t->lock);
	}
}

/* Starts what may start.  Returns when the thread must look again. */
static int64_t serve_lanes(struct transfer *t)
{
	int64_t now_ms = clock_mono_ms(), due = now_ms + IDLE_POLL_MS;
	pthread_mutex_lock(&t->lock);
	struct lane *l = t->lanes; /* only this thread removes lanes; new ones come in front */
	pthread_mutex_unlock(&t->lock);
	for (; l; l = l->next) {
		struct call *c;
		int64_t at = lane_wake(t, l, now_ms);
		while ((c = lane_next(t, l)))
			lane_start(t, c, now_ms);
		if (!atomic_load(&l->healthy) && !l->probe) {
			if (l->probe_at_ms <= now_ms)
				lane_start_probe(t, l);
			else if (l->probe_at_ms < at)
				at = l->probe_at_ms;
		}
		if (at < due)
			due = at;
	}
	return due;
}

/* What curl has finished.  True when something ended, so that others may start. */
static bool reap(struct transfer *t)
{
	CURLMsg *m;
	int left;
	bool any = false;
	while ((m = curl_multi_info_read(t->multi, &left))) {
		struct call *c = NULL;
		CURL *easy = m->easy_handle;
		CURLcode result = m->data.result;
		int64_t now_ms = clock_mono_ms();
		if (m->msg != CURLMSG_DONE)
			continue;
		any = true;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&c);
		if (!c) { /* a probe */
			pthread_mutex_lock(&t->lock);
			struct lane *l = t->lanes;
			pthread_mutex_unlock(&t->lock);
			while (l && l->probe != easy)
				l = l->next;
			curl_multi_remove_handle(t->multi, easy);
			if (l)
				lane_probe_done(l, result, now_ms);
			continue;
		}
		int verdict = attempt_judge(c, result, now_ms);
		lane_release(t, c);
		lane_conclude(t, c, verdict, now_ms);
	}
	return any;
}

static void *engine(void *arg)
{
	struct transfer *t = arg;
	for (;;) {
		pthread_mutex_lock(&t->lock);
		bool stopping = t->stopping;
		pthread_mutex_unlock(&t->lock);
		if (stopping)
			break;
		run_cancellations(t);
		close_lanes(t);
		int64_t due = serve_lanes(t);
		int running;
		curl_multi_perform(t->multi, &running);
		if (reap(t))
			continue;
		int64_t wait = due - clock_mono_ms();
		curl_multi_poll(t->multi, NULL, 0, wait < 0 ? 0 : (int)wait, NULL);
	}
	run_cancellations(t);
	pthread_mutex_lock(&t->lock);
	struct lane *l = t->lanes;
	pthread_mutex_unlock(&t->lock);
	for (; l; l = l->next)
		lane_dismantle(t, l);
	return NULL;
}

/* -- starting and stopping ----------------------------------------------------------------- */

/* The engine starts with the first store that needs it. */
int transfer_run_locked(struct transfer *t)
{
	if (t->running)
		return 0;
	pthread_once(&curl_once, start_curl);
	if (curl_ready != CURLE_OK || !(t->multi = curl_multi_init()))
		return -ENOMEM;
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
	int r = thread_start(&t->thread, "transfer", engine, t);
	if (r) {
		curl_multi_cleanup(t->multi);
		t->multi = NULL;
		return r;
	}
	t->running = true;
	return 0;
}

int transfer_start(const struct transfer_config *config, struct transfer **ret, struct err *e)
{
	struct transfer *t = calloc(1, sizeof *t);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	if (config)
		t->config = *config;
	if (!t->config.max_connections_per_store)
		t->config.max_connections_per_store = DEFAULT_CONNECTIONS;
	if (!t->config.connect_timeout_ms)
		t->config.connect_timeout_ms = DEFAULT_CONNECT_MS;
	if (!t->config.deadline_ms)
		t->config.deadline_ms = DEFAULT_DEADLINE_MS;
	if (!t->config.max_retries)
		t->config.max_retries = DEFAULT_RETRIES;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->lane_closed, NULL);
	*ret = t;
	return 0;
}

void transfer_stop(struct transfer *t)
{
	if (!t)
		return;
	file_reader_stop(t->reader);
	if (t->running) {
		pthread_mutex_lock(&t->lock);
		t->stopping = true;
		pthread_mutex_unlock(&t->lock);
		curl_multi_wakeup(t->multi);
		pthread_join(t->thread, NULL);
		for (struct lane *l = t->lanes; l; l = l->next)
			l->transfer = NULL;
		curl_multi_cleanup(t->multi);
	}
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->lane_closed);
	free(t);
}

const struct transfer_config *transfer_settings(const struct transfer *t)
{
	return &t->config;
}

struct file_reader *transfer_reader(struct transfer *t)
{
	pthread_mutex_lock(&t->lock);
	if (!t->reader)
		t->reader = file_reader_start();
	struct file_reader *r = t->reader;
	pthread_mutex_unlock(&t->lock);
	return r;
}
