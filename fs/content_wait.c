/* Contents for who can wait: view workers, commands, what works ahead of readers. */
#include "fs/reader_internal.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS 100 /* how often who waits is told how far it is, and asked whether to go on */
#define READ_BYTES (1u << 20)

/* One asynchronous call that a thread waits for. */
struct pending {
	pthread_mutex_t lock;
	pthread_cond_t done;
	void *bytes;
	size_t len;
	int code;
	bool finished;
	char reason[ERR_TEXT_MAX];
};

#define PENDING_INIT { .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER }

static void finish_locked(struct pending *p, int code)
{
	p->code = code;
	p->finished = true;
	pthread_cond_signal(&p->done);
}

static void on_bytes(void *arg, int code, const struct iovec *parts, size_t count, size_t len)
{
	struct pending *p = arg;
	pthread_mutex_lock(&p->lock);
	if (!code && p->bytes && len == p->len)
		content_copy(p->bytes, parts, count);
	finish_locked(p, !code && len != p->len ? -EIO : code);
	pthread_mutex_unlock(&p->lock);
}

static void on_ready(void *arg, int code, const char *reason)
{
	struct pending *p = arg;
	pthread_mutex_lock(&p->lock);
	if (reason)
		snprintf(p->reason, sizeof p->reason, "%s", reason);
	finish_locked(p, code);
	pthread_mutex_unlock(&p->lock);
}

static void tell(const struct content_follower *w, uint64_t bytes)
{
	if (w && w->progress)
		w->progress(w->arg, bytes);
}

static bool is_interrupted(const struct content_follower *w)
{
	return w && w->interrupted && atomic_load(w->interrupted);
}

/* Until the call has answered, which it does also when it is cancelled.  `look` runs between; NULL: only says that it still waits. */
static int await(struct content *c, struct pending *p, uint64_t token, const struct content_follower *w, void (*look)(void *arg), void *arg)
{
	pthread_mutex_lock(&p->lock);
	while (!p->finished) {
		struct timespec until;
		if (!w) {
			pthread_cond_wait(&p->done, &p->lock);
			continue;
		}
		clock_deadline(CLOCK_REALTIME, LOOK_MS, &until);
		if (pthread_cond_timedwait(&p->done, &p->lock, &until) != ETIMEDOUT)
			continue;
		pthread_mutex_unlock(&p->lock);
		if (is_interrupted(w))
			content_cancel(c->reader, token);
		if (look)
			look(arg);
		else
			tell(w, 0);
		pthread_mutex_lock(&p->lock);
	}
	int code = p->code;
	pthread_mutex_unlock(&p->lock);
	return code;
}

/* -- reading --------------------------------------------------------------------------------- */

static int read_wait(struct content *c, uint64_t offset, void *bytes, size_t len, const struct content_follower *w, struct err *e)
{
	struct pending p = PENDING_INIT;
	uint64_t token = 0;
	p.bytes = bytes;
	p.len = len;
	content_read(c, offset, len, on_bytes, &p, &token);
	int r = await(c, &p, token, w, NULL, NULL);
	return r ? err_set(e, r, "%s: cannot read: %s", c->path, strerror(-r)) : 0;
}

int content_read_wait(struct content *c, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	return read_wait(c, offset, bytes, len, NULL, e);
}

/* -- sizes ----------------------------------------------------------------------------------- */

struct preparing {
	struct content *content;
	const struct content_follower *follower;
	uint64_t told;
};

static void tell_progress(void *arg)
{
	struct preparing *x = arg;
	uint64_t now = x->content->shape == SHAPE_VIEW ? view_content_progress(x->content) : 0;
	if (now > x->content->entry.size)
		now = x->content->entry.size;
	tell(x->follower, now > x->told ? now - x->told : 0);
	if (now > x->told)
		x->told = now;
}

/* *ret_told: what was told of the work. */
static int prepare_wait(struct content *c, const struct content_follower *w, uint64_t *ret_told, struct err *e)
{
	struct pending p = PENDING_INIT;
	struct preparing x = { c, w, 0 };
	uint64_t token = 0;
	int r = is_interrupted(w) ? -EINTR : content_prepare(c, INT64_MAX / 4, on_ready, &p, &token);
	if (r)
		return err_set(e, r, "%s: %s", c->path, strerror(-r));
	r = await(c, &p, token, w, tell_progress, &x);
	*ret_told = x.told;
	return r ? err_set(e, r, "%s", p.reason[0] ? p.reason : strerror(-r)) : 0;
}

int content_prepare_wait(struct content *c, const struct content_follower *w, struct err *e)
{
	uint64_t told = 0;
	int r = prepare_wait(c, w, &told, e);
	tell(w, c->entry.size - told); /* a size that was known takes no work */
	return r;
}

int content_warm(struct content *c, const struct content_follower *w, struct err *e)
{
	uint64_t size, told = 0;
	int r = prepare_wait(c, w, &told, e);
	if (!r)
		r = content_size(c, &size);
	for (uint64_t at = 0; !r && at < size;) {
		uint64_t left = size - at;
		size_t n = left < READ_BYTES ? (size_t)left : READ_BYTES;
		r = is_interrupted(w) ? err_set(e, -EINTR, "%s: interrupted", c->path) : read_wait(c, at, NULL, n, w, e);
		at += n;
		/* A view's bytes are made while its size is computed, or go with those of its source. */
		uint64_t done = size ? (uint64_t)((double)at / (double)size * (double)c->entry.size) : 0;
		if (!r && done > told) {
			tell(w, done - told);
			told = done;
		}
	}
	if (c->entry.size > told)
		tell(w, c->entry.size - told);
	return r;
}
