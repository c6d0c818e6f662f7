#include "catalog/store/transfer_impl.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"
#include "catalog/store/file_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define DEFAULT_CONNECTIONS 16
#define DEFAULT_CONNECT_MS 10000
#define DEFAULT_DEADLINE_MS 60000
#define DEFAULT_RETRIES 5
#define IDLE_CONNECTIONS_MAX 128
#define LANE_CALLS_MAX 65536 /* calls under way in one lane; a caller that has more to ask gets -EAGAIN */
#define PROBE_FIRST_MS 1000
#define PROBE_MOST_MS 15000
#define IDLE_POLL_MS 60000

struct transfer {
	struct transfer_config config;
	pthread_mutex_t lock;
	pthread_cond_t lane_closed;
	struct file_reader *reader;
	bool running, stopping;
	pthread_t thread;
	CURLM *multi;
	struct lane *lanes;
	struct call *cancelled;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void start_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

const char *http_method_name(enum http_method m)
{
	static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE" };
	return names[m];
}

/* -- queues (transfer->lock held) ---------------------------------------------------------- */

static void queue_init(struct call_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

static void queue_push(struct call_queue *q, struct call *c)
{
	c->next = NULL;
	c->at = q->last;
	*q->last = c;
	q->last = &c->next;
}

static void queue_unlink(struct call_queue *q, struct call *c)
{
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	else
		q->last = c->at;
}

static struct call_queue *queue_of(struct call *c)
{
	struct lane *l = c->lane;
	return c->state == CALL_QUEUED ? &l->queues[c->priority] : c->state == CALL_ACTIVE ? &l->active : &l->waiting;
}

static void move_locked(struct call *c, enum call_state state)
{
	queue_unlink(queue_of(c), c);
	c->state = state;
	queue_push(queue_of(c), c);
}

/* -- the end of a call (engine thread) ----------------------------------------------------- */

static void free_call(struct call *c)
{
	attempt_reset(c);
	buf_free(&c->scratch.body);
	free((char *)c->what.url);
	free((char *)c->what.key);
	free((char *)c->what.headers);
	free((char *)c->what.body_sha256);
	free((char *)c->what.if_match);
	free(c);
}

static void give_back_easy(struct call *c)
{
	struct lane *l = c->lane;
	if (!c->easy)
		return;
	if (l->idle_count < sizeof l->idle / sizeof *l->idle)
		l->idle[l->idle_count++] = c->easy;
	else
		curl_easy_cleanup(c->easy);
	c->easy = NULL;
}

static void finish(struct transfer *t, struct call *c, int code)
{
	/* Linked until on_done has returned, because fetch_cancel and fetch_raise are legal until then. */
	c->what.on_done(c->what.arg, code, code ? &c->e : NULL);
	pthread_mutex_lock(&t->lock);
	queue_unlink(queue_of(c), c);
	c->lane->calls--;
	for (struct call **p = &t->cancelled; *p; p = &(*p)->next_cancelled)
		if (*p == c) {
			*p = c->next_cancelled;
			break;
		}
	pthread_mutex_unlock(&t->lock);
	free_call(c);
}

static int fail_call(struct call *c, int code, const char *why)
{
	return err_set(&c->e, code, "%s: %s%s%s", c->lane->config.label, c->what.key ? c->what.key : "", c->what.key ? ": " : "", why);
}

/* -- health (engine thread) ---------------------------------------------------------------- */

static void lane_up(struct lane *l, int64_t now_ms)
{
	l->last_success_ms = now_ms;
	l->probe_delay_ms = 0;
	if (!atomic_exchange(&l->healthy, true))
		log_info("%s: the store answers again", l->config.label);
}

/* Calls of the lane in a state, taken one by one, because finish() needs the lock released. */
static struct call *first_in(struct transfer *t, struct call_queue *q)
{
	pthread_mutex_lock(&t->lock);
	struct call *c = q->first;
	pthread_mutex_unlock(&t->lock);
	return c;
}

static void lane_down(struct transfer *t, struct lane *l, int64_t now_ms)
{
	struct call *c;
	if (atomic_exchange(&l->healthy, false)) {
		l->probe_delay_ms = PROBE_FIRST_MS;
		l->probe_at_ms = now_ms + PROBE_FIRST_MS;
	}
	for (int p = 0; p < 3; p++)
		while ((c = first_in(t, &l->queues[p])))
			finish(t, c, fail_call(c, -EIO, "the store does not answer"));
	while ((c = first_in(t, &l->waiting)))
		finish(t, c, c->e.code && c->e.code != -EAGAIN ? c->e.code : fail_call(c, -EIO, "the store does not answer"));
}

static void probe_done(struct lane *l, CURLcode result, int64_t now_ms)
{
	long status = 0;
	curl_easy_getinfo(l->probe, CURLINFO_RESPONSE_CODE, &status);
	if (result == CURLE_OK && status > 0 && !status_is_transient((int)status)) {
		lane_up(l, now_ms);
	} else {
		l->probe_delay_ms = l->probe_delay_ms * 2 < PROBE_MOST_MS ? l->probe_delay_ms * 2 : PROBE_MOST_MS;
		l->probe_at_ms = now_ms + l->probe_delay_ms;
	}
	curl_easy_cleanup(l->probe);
	l->probe = NULL;
}

/* -- attempts (engine thread) -------------------------------------------------------------- */

static void release_slot(struct transfer *t, struct call *c)
{
	if (c->easy)
		curl_multi_remove_handle(t->multi, c->easy);
	c->lane->active_count[c->counted]--;
	give_back_easy(c);
	attempt_reset(c);
}

/* Ends the call, or has it wait for its next try.  Not active any more (no slot). */
static void conclude(struct transfer *t, struct call *c, int verdict, int64_t now_ms)
{
	struct lane *l = c->lane;
	if (verdict == 0) {
		lane_up(l, now_ms);
		finish(t, c, 0);
		return;
	}
	if (verdict != -EAGAIN) {
		/* The server spoke, if only to refuse; our own ends (no memory, cancelled) say nothing of it. */
		if (c->answer->status && !status_is_transient(c->answer->status))
			lane_up(l, now_ms);
		finish(t, c, verdict);
		return;
	}
	uint32_t random = 0;
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)now_ms * 2654435761u;
	c->answer->retried = true;
	int64_t wait = retry_delay_ms(++c->attempts, random);
	if (c->retry_after_ms > wait)
		wait = c->retry_after_ms;
	bool late = now_ms + wait >= c->deadline_at_ms, tired = c->attempts > t->config.max_retries;
	if (!late && !tired && atomic_load(&l->healthy)) {
		c->retry_at_ms = now_ms + wait;
		pthread_mutex_lock(&t->lock);
		move_locked(c, CALL_WAITING);
		pthread_mutex_unlock(&t->lock);
		return;
	}
	c->e.code = late && !tired ? -ETIMEDOUT : -EIO;
	c->e.kind = ERR_FAIL;
	bool down = l->last_success_ms < c->submitted_ms;
	finish(t, c, c->e.code);
	if (down)
		lane_down(t, l, now_ms);
}

static void start(struct transfer *t, struct call *c, int64_t now_ms)
{
	struct lane *l = c->lane;
	l->active_count[c->counted]++;
	int r;
	if (now_ms >= c->deadline_at_ms)
		r = fail_call(c, -ETIMEDOUT, "the deadline passed before a connection was free");
	else if (!(c->easy = l->idle_count ? l->idle[--l->idle_count] : curl_easy_init()))
		r = fail_call(c, -ENOMEM, "out of memory");
	else
		r = attempt_prepare(c, &t->config, now_ms);
	if (!r && curl_multi_add_handle(t->multi, c->easy) != CURLM_OK) {
		curl_easy_cleanup(c->easy);
		c->easy = NULL;
		r = fail_call(c, -ENOMEM, "out of memory");
	}
	if (r) {
		release_slot(t, c);
		finish(t, c, r);
	}
}

/* May a call of this priority start now?  Less urgent ones leave room for demand. */
static bool has_slot(const struct transfer *t, const struct lane *l, enum fetch_priority p)
{
	unsigned limit = t->config.max_connections_per_store;
	unsigned all = l->active_count[0] + l->active_count[1] + l->active_count[2];
	if (p == FETCH_READAHEAD)
		limit -= limit / 4;
	else if (p == FETCH_WARM)
		limit -= limit / 2;
	return all < limit;
}

static struct call *next_to_start(struct transfer *t, struct lane *l)
{
	struct call *c = NULL;
	pthread_mutex_lock(&t->lock);
	for (int p = 0; p < 3 && !c; p++)
		if (l->queues[p].first && has_slot(t, l, (enum fetch_priority)p))
			c = l->queues[p].first;
	if (c) {
		move_locked(c, CALL_ACTIVE);
		c->counted = c->priority;
	}
	pthread_mutex_unlock(&t->lock);
	return c;
}

/* Waiting calls whose time has come go to the end of their queue.  Returns when the next one is due. */
static int64_t wake_waiting(struct transfer *t, struct lane *l, int64_t now_ms)
{
	int64_t due = now_ms + IDLE_POLL_MS;
	pthread_mutex_lock(&t->lock);
	for (struct call *c = l->waiting.first, *next; c; c = next) {
		next = c->next;
		if (c->retry_at_ms <= now_ms)
			move_locked(c, CALL_QUEUED);
		else if (c->retry_at_ms < due)
			due = c->retry_at_ms;
	}
	pthread_mutex_unlock(&t->lock);
	return due;
}

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
			release_slot(t, c);
		finish(t, c, fail_call(c, -ECANCELED, "the transfer was cancelled"));
	}
}

/* Ends all that the lane has, and lets go of its handles. */
static void dismantle(struct transfer *t, struct lane *l)
{
	struct call *c;
	while ((c = first_in(t, &l->active))) {
		release_slot(t, c);
		finish(t, c, fail_call(c, -ECANCELED, "the transfer was cancelled"));
	}
	for (int q = 0; q < 4; q++)
		while ((c = first_in(t, q < 3 ? &l->queues[q] : &l->waiting)))
			finish(t, c, fail_call(c, -ECANCELED, "the transfer was cancelled"));
	while (l->idle_count)
		curl_easy_cleanup(l->idle[--l->idle_count]);
	if (l->probe) {
		curl_multi_remove_handle(t->multi, l->probe);
		curl_easy_cleanup(l->probe);
		l->probe = NULL;
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
		dismantle(t, l);
		pthread_mutex_lock(&t->lock);
		l->closed = true;
		pthread_cond_broadcast(&t->lane_closed);
		pthread_mutex_unlock(&t->lock);
	}
}

static void start_probe(struct transfer *t, struct lane *l)
{
	if (probe_prepare(l, &t->config) || curl_multi_add_handle(t->multi, l->probe) != CURLM_OK) {
		curl_easy_cleanup(l->probe);
		l->probe = NULL;
		l->probe_at_ms = clock_mono_ms() + PROBE_MOST_MS;
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
		int64_t at = wake_waiting(t, l, now_ms);
		while ((c = next_to_start(t, l)))
			start(t, c, now_ms);
		if (!atomic_load(&l->healthy) && !l->probe) {
			if (l->probe_at_ms <= now_ms)
				start_probe(t, l);
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
				probe_done(l, result, now_ms);
			continue;
		}
		int verdict = attempt_judge(c, result, now_ms);
		release_slot(t, c);
		conclude(t, c, verdict, now_ms);
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
		dismantle(t, l);
	return NULL;
}

/* -- from any thread ----------------------------------------------------------------------- */

static void cancel(struct fetch *f)
{
	struct call *c = (struct call *)f;
	struct transfer *t = c->lane->transfer;
	pthread_mutex_lock(&t->lock);
	if (!c->cancelled) {
		c->cancelled = true;
		c->next_cancelled = t->cancelled;
		t->cancelled = c;
	}
	pthread_mutex_unlock(&t->lock);
	curl_multi_wakeup(t->multi);
}

static void raise_priority(struct fetch *f, enum fetch_priority priority)
{
	struct call *c = (struct call *)f;
	struct transfer *t = c->lane->transfer;
	pthread_mutex_lock(&t->lock);
	bool queued = c->state == CALL_QUEUED && priority < c->priority;
	if (queued)
		queue_unlink(queue_of(c), c);
	if (priority < c->priority)
		c->priority = priority;
	if (queued)
		queue_push(queue_of(c), c);
	pthread_mutex_unlock(&t->lock);
	if (queued)
		curl_multi_wakeup(t->multi);
}

static char *copy(const char *text, bool *failed)
{
	char *c = text ? strdup(text) : NULL;
	*failed |= text && !c;
	return c;
}

static struct call *new_call(struct lane *l, const struct http_call *what, const struct transfer_config *config)
{
	struct call *c = calloc(1, sizeof *c);
	bool failed = false;
	if (!c)
		return NULL;
	c->base.cancel = cancel;
	c->base.raise = raise_priority;
	c->lane = l;
	c->what = *what;
	c->what.url = copy(what->url, &failed);
	c->what.key = copy(what->key, &failed);
	c->what.headers = copy(what->headers, &failed);
	c->what.body_sha256 = copy(what->body_sha256, &failed);
	c->what.if_match = copy(what->if_match && *what->if_match ? what->if_match : NULL, &failed);
	c->answer = what->answer ? what->answer : &c->scratch;
	if (!c->what.deadline_ms)
		c->what.deadline_ms = config->deadline_ms;
	c->submitted_ms = clock_mono_ms();
	c->deadline_at_ms = c->submitted_ms + c->what.deadline_ms;
	c->priority = what->priority;
	if (failed) {
		free_call(c);
		return NULL;
	}
	return c;
}

int lane_submit(struct lane *l, const struct http_call *what, struct fetch **ret, struct err *e)
{
	struct transfer *t = l->transfer;
	if (!t)
		return err_set(e, -ECANCELED, "%s: the transfers of this process have ended", l->config.label);
	if (!atomic_load(&l->healthy))
		return err_set(e, -EIO, "%s: the store does not answer; it is asked again every few seconds", l->config.label);
	struct call *c = new_call(l, what, &t->config);
	if (!c)
		return err_set(e, -ENOMEM, "%s: out of memory", l->config.label);
	pthread_mutex_lock(&t->lock);
	int r = t->stopping ? -ECANCELED : l->calls >= LANE_CALLS_MAX ? -EAGAIN : 0;
	if (r) {
		pthread_mutex_unlock(&t->lock);
		free_call(c);
		return err_set(e, r, "%s: %s", l->config.label, r == -EAGAIN ? "too many transfers are waiting" : "the transfers have ended");
	}
	l->calls++;
	if (ret)
		*ret = &c->base;
	c->state = CALL_QUEUED;
	queue_push(queue_of(c), c);
	pthread_mutex_unlock(&t->lock);
	curl_multi_wakeup(t->multi);
	return 0;
}

bool lane_healthy(const struct lane *l)
{
	return atomic_load(&l->healthy);
}

struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	int code;
	struct err *e;
	int (*on_data)(void *arg, const void *bytes, size_t len);
	void *data_arg;
};

static int waiter_data(void *arg, const void *bytes, size_t len)
{
	struct waiter *w = arg;
	return w->on_data(w->data_arg, bytes, len);
}

static void waiter_done(void *arg, int code, const struct err *e)
{
	struct waiter *w = arg;
	pthread_mutex_lock(&w->lock);
	w->code = code;
	if (code)
		err_move(w->e, e);
	w->done = true;
	pthread_cond_signal(&w->ended);
	pthread_mutex_unlock(&w->lock);
}

int lane_call(struct lane *l, const struct http_call *what, void *data_arg, struct http_answer *ret, struct err *e)
{
	struct waiter w = { .e = e, .on_data = what->on_data, .data_arg = data_arg };
	struct http_call mine = *what;
	struct http_answer answer = { 0 };
	mine.on_data = what->on_data ? waiter_data : NULL;
	mine.on_done = waiter_done;
	mine.arg = &w;
	mine.answer = &answer;
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.ended, NULL);
	int r = lane_submit(l, &mine, NULL, e);
	if (!r) {
		pthread_mutex_lock(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.ended, &w.lock);
		pthread_mutex_unlock(&w.lock);
		r = w.code;
	}
	pthread_mutex_destroy(&w.lock);
	pthread_cond_destroy(&w.ended);
	if (ret)
		*ret = answer;
	else
		buf_free(&answer.body);
	return r;
}

/* -- starting and stopping ----------------------------------------------------------------- */

/* The engine starts with the first store that needs it. */
static int start_engine_locked(struct transfer *t)
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

static void free_lane(struct lane *l)
{
	free((char *)l->config.label);
	free((char *)l->config.probe_url);
	free(l->ca_file);
	free(l);
}

/* The authorities to trust besides the system's: for stores with a certificate of one's own. */
static const char *ca_file_from_environment(void)
{
	static const char *const names[] = { "MESHFS_CA_FILE", "AWS_CA_BUNDLE", "SSL_CERT_FILE" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *v = getenv(names[i]);
		if (v && *v)
			return v;
	}
	return NULL;
}

int lane_new(struct transfer *t, const struct lane_config *config, struct lane **ret, struct err *e)
{
	struct lane *l = calloc(1, sizeof *l);
	bool failed = false;
	if (!t || !l) {
		free(l);
		return err_set(e, t ? -ENOMEM : -EINVAL, t ? "out of memory" : "a remote store needs a transfer engine");
	}
	l->config = *config;
	l->config.label = copy(config->label, &failed);
	l->config.probe_url = copy(config->probe_url, &failed);
	l->ca_file = copy(ca_file_from_environment(), &failed);
	for (int i = 0; i < 3; i++)
		queue_init(&l->queues[i]);
	queue_init(&l->active);
	queue_init(&l->waiting);
	atomic_init(&l->healthy, true);
	l->transfer = t;
	pthread_mutex_lock(&t->lock);
	int r = failed ? -ENOMEM : start_engine_locked(t);
	if (!r) {
		l->next = t->lanes;
		t->lanes = l;
	}
	pthread_mutex_unlock(&t->lock);
	if (r) {
		free_lane(l);
		return err_set(e, r, "cannot start the transfers: %s", strerror(-r));
	}
	*ret = l;
	return 0;
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	struct transfer *t = l->transfer;
	if (t) {
		pthread_mutex_lock(&t->lock);
		l->closing = true;
		curl_multi_wakeup(t->multi);
		while (!l->closed)
			pthread_cond_wait(&t->lane_closed, &t->lock);
		pthread_mutex_unlock(&t->lock);
	}
	free_lane(l);
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
