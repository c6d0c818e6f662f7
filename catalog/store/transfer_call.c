/* Calls: how they are made, wait in a queue, are cancelled or raised, and end. */
#include "catalog/store/transfer_impl.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LANE_CALLS_MAX 65536 /* calls under way in one lane; a caller that has more to ask gets -EAGAIN */

const char *http_method_name(enum http_method m)
{
	static const char *const names[] = { "GET", "HEAD", "PUT", "POST", "DELETE" };
	return names[m];
}

/* -- queues (transfer->lock held) ---------------------------------------------------------- */

void call_queue_init(struct call_queue *q)
{
	q->first = NULL;
	q->last = &q->first;
}

void call_queue_push(struct call_queue *q, struct call *c)
{
	c->next = NULL;
	c->at = q->last;
	*q->last = c;
	q->last = &c->next;
}

void call_queue_unlink(struct call_queue *q, struct call *c)
{
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	else
		q->last = c->at;
}

struct call_queue *call_queue_of(struct call *c)
{
	struct lane *l = c->lane;
	return c->state == CALL_QUEUED ? &l->queues[c->priority] : c->state == CALL_ACTIVE ? &l->active : &l->waiting;
}

void call_move_locked(struct call *c, enum call_state state)
{
	call_queue_unlink(call_queue_of(c), c);
	c->state = state;
	call_queue_push(call_queue_of(c), c);
}

/* -- the end of a call (engine thread) ----------------------------------------------------- */

void call_free(struct call *c)
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

void call_finish(struct transfer *t, struct call *c, int code)
{
	/* Linked until on_done has returned, because fetch_cancel and fetch_raise are legal until then. */
	c->what.on_done(c->what.arg, code, code ? &c->e : NULL);
	pthread_mutex_lock(&t->lock);
	call_queue_unlink(call_queue_of(c), c);
	c->lane->calls--;
	for (struct call **p = &t->cancelled; *p; p = &(*p)->next_cancelled)
		if (*p == c) {
			*p = c->next_cancelled;
			break;
		}
	pthread_mutex_unlock(&t->lock);
	call_free(c);
}

int call_fail(struct call *c, int code, const char *why)
{
	return err_set(&c->e, code, "%s: %s%s%s", c->lane->config.label, c->what.key ? c->what.key : "", c->what.key ? ": " : "", why);
}

/* Calls of the lane in a state, taken one by one, because call_finish() needs the lock released. */
struct call *call_first(struct transfer *t, struct call_queue *q)
{
	pthread_mutex_lock(&t->lock);
	struct call *c = q->first;
	pthread_mutex_unlock(&t->lock);
	return c;
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
		call_queue_unlink(call_queue_of(c), c);
	if (priority < c->priority)
		c->priority = priority;
	if (queued)
		call_queue_push(call_queue_of(c), c);
	pthread_mutex_unlock(&t->lock);
	if (queued)
		curl_multi_wakeup(t->multi);
}

char *transfer_copy(const char *text, bool *failed)
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
	c->what.url = transfer_copy(what->url, &failed);
	c->what.key = transfer_copy(what->key, &failed);
	c->what.headers = transfer_copy(what->headers, &failed);
	c->what.body_sha256 = transfer_copy(what->body_sha256, &failed);
	c->what.if_match = transfer_copy(what->if_match && *what->if_match ? what->if_match : NULL, &failed);
	c->answer = what->answer ? what->answer : &c->scratch;
	if (!c->what.deadline_ms)
		c->what.deadline_ms = config->deadline_ms;
	c->submitted_ms = clock_mono_ms();
	c->deadline_at_ms = c->submitted_ms + c->what.deadline_ms;
	c->priority = what->priority;
	if (failed) {
		call_free(c);
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
		call_free(c);
		return err_set(e, r, "%s: %s", l->config.label, r == -EAGAIN ? "too many transfers are waiting" : "the transfers have ended");
	}
	l->calls++;
	if (ret)
		*ret = &c->base;
	c->state = CALL_QUEUED;
	call_queue_push(call_queue_of(c), c);
	pthread_mutex_unlock(&t->lock);
	curl_multi_wakeup(t->multi);
	return 0;
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
