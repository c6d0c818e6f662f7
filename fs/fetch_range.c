/* Requests to stores: queued by priority, started as memory allows, and the bytes as they arrive. */
#include "fs/fetch_plan.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define URGENT_BYTES_MAX (512u << 10)   /* verified where they arrive, if a read waits for them … */
#define URGENT_RANGES_MAX 2             /* … and so many requests are under way at most */
#define UNHEALTHY_TRY_MS 1000     /* a store that is down is asked this often */
#define LOG_INTERVAL_MS 5000

void range_unref(struct range *g)
{
	if (!g || atomic_fetch_sub(&g->refs, 1) > 1)
		return;
	pthread_mutex_destroy(&g->lock);
	free(g);
}

/* A span is complete or failed: it no longer needs its request. */
static void leave_range(struct span *s)
{
	pthread_mutex_lock(&s->image->lock);
	struct range *g = s->range;
	s->range = NULL;
	pthread_mutex_unlock(&s->image->lock);
	range_unref(g);
}

/* Fails every span that is not complete. */
static void range_fail(struct range *g, int code)
{
	struct span *s = g->current;
	g->current = NULL;
	while (s) {
		struct span *next = s->next;
		s->next = NULL;
		leave_range(s);
		span_fail(s, code);
		s = next;
	}
}

static int span_buffers(struct span *s)
{
	struct budget *b = s->image->reader->budget;
	if (s->stored)
		return 0;
	s->stored = budget_buffer(b, s->stored_length);
	if (s->stored && s->raw)
		s->bytes = s->stored;
	return s->stored ? 0 : -ENOMEM;
}

/* Does a read wait for this short span, and hardly anything else for this thread? */
static bool is_urgent(const struct range *g, const struct span *s)
{
	return s->raw && s->length <= URGENT_BYTES_MAX && atomic_load(&g->priority) == FETCH_DEMAND && atomic_load(&g->reader->ranges) <= URGENT_RANGES_MAX;
}

static void note_first_byte(const struct range *g)
{
	const int64_t took = clock_mono_ns() - g->started_ns;
	int64_t least = atomic_load_explicit(&g->domain->first_byte_ns, memory_order_relaxed);
	while ((!least || took < least) && !atomic_compare_exchange_weak(&g->domain->first_byte_ns, &least, took))
		;
}

static int on_data(void *arg, const void *bytes, size_t len)
{
	struct range *g = arg;
	struct reader *r = g->reader;
	const unsigned char *p = bytes;
	struct span *complete = NULL, **last = &complete;
	size_t count = 0;
	int code = 0;
	if (atomic_load(&r->stopping))
		return -ECANCELED;
	if (!g->got)
		note_first_byte(g);
	atomic_store_explicit(&g->domain->progress_ms, clock_mono_ms(), memory_order_relaxed);
	atomic_fetch_add_explicit(&r->fetched_bytes, len, memory_order_relaxed);
	while (len) {
		struct span *s = g->current;
		uint64_t at = g->offset + g->got;
		if (!s || (code = span_buffers(s))) {
			code = s ? code : -EBADMSG; /* more than was asked for */
			break;
		}
		size_t n;
		if (at < s->pack_offset) {
			n = s->pack_offset - at < len ? (size_t)(s->pack_offset - at) : len;
		} else {
			n = s->stored_length - s->arrived < len ? s->stored_length - s->arrived : len;
			memcpy(s->stored + s->arrived, p, n);
			s->arrived += (uint32_t)n;
		}
		p += n;
		len -= n;
		g->got += n;
		if (s->arrived < s->stored_length)
			continue;
		g->current = s->next;
		s->next = NULL;
		leave_range(s);
		*last = s;
		last = &s->next;
		count++;
	}
	if (count == 1 && is_urgent(g, complete))
		verify_now(r, complete);
	else if (count)
		verify_push(r, complete, last, count);
	return code;
}

static void log_failure(struct range *g, int code, const struct err *e)
{
	int64_t now = clock_mono_ms(), last = atomic_load(&g->domain->logged_ms);
	if (code == -ECANCELED || (last && now - last < LOG_INTERVAL_MS) || !atomic_compare_exchange_strong(&g->domain->logged_ms, &last, now))
		return;
	const struct content *c = g->current ? g->current->content : NULL;
	const struct manifest_info *info = c ? manifest_info(c->manifest) : NULL;
	const char *why = e && e->text[0] ? e->text : strerror(-code);
	if (c)
		log_error("%s/%s/%s/%s: chunk %u: %s", g->domain->name, info->product, info->version, c->path, g->current->chunk[0].index, why);
	else
		log_error("%s: %s: %s", g->domain->name, g->pack.key, why);
}

static int reader_code(const struct range *g, int code)
{
	if (code == -ESTALE || (g->pack.in_place && code == -ENOENT))
		return -ESTALE;
	return code == -ENOMEM ? -ENOMEM : -EIO;
}

static void on_done(void *arg, int code, const struct err *e)
{
	struct range *g = arg;
	struct reader *r = g->reader;
	pthread_mutex_lock(&g->lock);
	g->finished = true;
	g->fetch = NULL;
	pthread_mutex_unlock(&g->lock);
	if (!code && g->current)
		code = -EBADMSG; /* fewer bytes than were asked for */
	if (code) {
		atomic_fetch_add(&r->fetch_errors, 1);
		log_failure(g, code, e);
		range_fail(g, reader_code(g, code));
	}
	pthread_mutex_lock(&r->pending_lock);
	*g->active_at = g->active_next;
	if (g->active_next)
		g->active_next->active_at = g->active_at;
	pthread_mutex_unlock(&r->pending_lock);
	range_unref(g);
	atomic_fetch_sub(&r->ranges, 1);
}

/* Hands a request to the store; the reference passes to on_done. */
static void range_start(struct range *g)
{
	struct reader *r = g->reader;
	struct err e = ERR_INIT;
	struct fetch_request q = {
		.key = g->pack.key,
		.offset = g->offset,
		.length = g->length,
		.if_match = g->pack.in_place && g->pack.etag[0] ? g->pack.etag : NULL,
		.priority = (enum fetch_priority)atomic_load(&g->priority),
		.deadline_ms = r->deadline_ms,
		.on_data = on_data,
		.on_done = on_done,
		.arg = g,
	};
	struct fetch *fetch = NULL;
	g->started_ns = clock_mono_ns();
	atomic_fetch_add(&r->ranges, 1);
	atomic_fetch_add(&g->refs, 1);
	pthread_mutex_lock(&r->pending_lock);
	g->active_next = r->active;
	g->active_at = &r->active;
	if (r->active)
		r->active->active_at = &g->active_next;
	r->active = g;
	pthread_mutex_unlock(&r->pending_lock);
	int code = atomic_load(&r->stopping) ? -ECANCELED : store_fetch(g->domain->store, &q, &fetch, &e);
	if (code) {
		on_done(g, code, &e);
	} else {
		pthread_mutex_lock(&g->lock);
		if (!g->finished)
			g->fetch = fetch;
		if (g->fetch && (enum fetch_priority)atomic_load(&g->priority) < q.priority)
			fetch_raise(g->fetch, FETCH_DEMAND);
		pthread_mutex_unlock(&g->lock);
	}
	range_unref(g);
}

static void enqueue(struct range *g)
{
	struct reader *r = g->reader;
	pthread_mutex_lock(&r->pending_lock);
	struct range **at = &r->pending[atomic_load(&g->priority)];
	while (*at)
		at = &(*at)->next;
	*at = g;
	atomic_fetch_add(&r->pending_count, 1);
	pthread_mutex_unlock(&r->pending_lock);
}

static struct range *dequeue(struct reader *r, struct range *which)
{
	struct range *g = NULL;
	pthread_mutex_lock(&r->pending_lock);
	for (int p = 0; p < 3 && !g; p++) {
		struct range **at = &r->pending[p];
		while (*at && which && *at != which)
			at = &(*at)->next;
		if (!*at)
			continue;
		g = *at;
		*at = g->next;
		g->next = NULL;
		atomic_fetch_sub(&r->pending_count, 1);
	}
	pthread_mutex_unlock(&r->pending_lock);
	return g;
}

static bool take_memory(struct reader *r, uint64_t bytes, enum fetch_priority priority)
{
	unsigned share = priority == FETCH_DEMAND ? 256 : READAHEAD_SHARE;
	if (budget_take(r->budget, bytes, share))
		return true;
	hot_evict(r, bytes);
	return budget_take(r->budget, bytes, share);
}

void fetch_pump(struct reader *r)
{
	while (atomic_load(&r->pending_count)) {
		struct range *g = dequeue(r, NULL);
		if (!g)
			return;
		if (!atomic_load(&r->stopping) && !take_memory(r, g->cost, (enum fetch_priority)atomic_load(&g->priority))) {
			enqueue(g); /* goes to the end of its queue: fair enough among those that wait for memory */
			return;
		}
		range_start(g);
	}
}

/* At the end: reader.stopping is set, so that what is started from now on fails at once. */
void fetch_cancel_all(struct reader *r)
{
	struct range *g;
	while ((g = dequeue(r, NULL))) {
		budget_take(r->budget, g->cost, 256 * 256); /* its spans give it back */
		range_start(g);
	}
	pthread_mutex_lock(&r->pending_lock);
	for (g = r->active; g; g = g->active_next) {
		pthread_mutex_lock(&g->lock);
		if (g->fetch)
			fetch_cancel(g->fetch);
		pthread_mutex_unlock(&g->lock);
	}
	pthread_mutex_unlock(&r->pending_lock);
}

void range_raise(struct range *g)
{
	atomic_store(&g->priority, FETCH_DEMAND);
	struct range *pending = dequeue(g->reader, g);
	if (pending) {
		enqueue(pending);
		fetch_pump(g->reader);
		return;
	}
	pthread_mutex_lock(&g->lock);
	if (g->fetch)
		fetch_raise(g->fetch, FETCH_DEMAND);
	pthread_mutex_unlock(&g->lock);
}

static void fail_plan(struct plan *p, int code)
{
	struct span *s = p->first;
	plan_reset(p);
	while (s) {
		struct span *next = s->next;
		s->next = NULL;
		span_fail(s, code);
		s = next;
	}
}

/* Is it worth asking the store?  One that is down is asked now and then, so that it is noticed when it comes back. */
static bool may_ask(struct reader_domain *d)
{
	if (store_healthy(d->store))
		return true;
	int64_t now = clock_mono_ms(), last = atomic_load(&d->try_ms);
	return now - last >= UNHEALTHY_TRY_MS && atomic_compare_exchange_strong(&d->try_ms, &last, now);
}

void plan_submit(struct plan *p)
{
	if (!p->first)
		return;
	struct content *c = p->content;
	struct reader *r = c->reader;
	struct range *g = NULL;
	p->code = may_ask(c->domain) ? 0 : -EIO;
	if (!p->code && !(g = calloc(1, sizeof *g)))
		p->code = -ENOMEM;
	if (p->code) {
		fail_plan(p, p->code);
		return;
	}
	pthread_mutex_init(&g->lock, NULL);
	atomic_init(&g->refs, 1);
	g->reader = r;
	g->domain = c->domain;
	g->pack = p->pack;
	g->current = p->first;
	g->offset = p->first->pack_offset;
	g->length = p->end - g->offset;
	atomic_init(&g->priority, (int)p->priority);
	for (struct span *s = p->first; s; s = s->next) {
		s->cost = span_cost(s);
		g->cost += s->cost;
		atomic_fetch_add(&g->refs, 1);
		pthread_mutex_lock(&s->image->lock);
		s->range = g;
		pthread_mutex_unlock(&s->image->lock);
		atomic_fetch_add_explicit(&c->fetched, s->stored_length, memory_order_relaxed);
	}
	plan_reset(p);
	if (!atomic_load(&r->pending_count) && take_memory(r, g->cost, p->priority))
		range_start(g);
	else {
		enqueue(g);
		fetch_pump(r);
	}
}
