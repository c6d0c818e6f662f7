#include "fs/wait.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* A token is (generation << 32 | index + 1): a stale one finds another generation. */
struct entry {
	struct wait *wait; /* NULL: free */
	uint32_t generation, next_free;
};

struct waits {
	pthread_mutex_t lock;
	struct entry *entries;
	uint32_t count, cap, first_free; /* first_free: index + 1, 0: none */
	unsigned used;
};

struct waits *waits_new(void)
{
	struct waits *ws = calloc(1, sizeof *ws);
	if (ws)
		pthread_mutex_init(&ws->lock, NULL);
	return ws;
}

void waits_free(struct waits *ws)
{
	if (!ws)
		return;
	pthread_mutex_destroy(&ws->lock);
	free(ws->entries);
	free(ws);
}

void wait_init(struct wait *w, void (*fail)(struct wait *w, int code), void (*destroy)(struct wait *w))
{
	atomic_init(&w->refs, 1);
	atomic_init(&w->state, WAIT_RUNNING);
	atomic_init(&w->cancelled, 0);
	w->token = 0;
	w->next = NULL;
	w->fail = fail;
	w->destroy = destroy;
}

int waits_add(struct waits *ws, struct wait *w, int64_t deadline_ms)
{
	w->deadline_ms = deadline_ms;
	pthread_mutex_lock(&ws->lock);
	if (!ws->first_free && ws->count == ws->cap) {
		uint32_t cap = ws->cap ? ws->cap * 2 : 256;
		struct entry *grown = realloc(ws->entries, cap * sizeof *grown);
		if (!grown) {
			pthread_mutex_unlock(&ws->lock);
			return -ENOMEM;
		}
		ws->entries = grown;
		ws->cap = cap;
	}
	uint32_t i;
	if (ws->first_free) {
		i = ws->first_free - 1;
		ws->first_free = ws->entries[i].next_free;
	} else {
		i = ws->count++;
		ws->entries[i].generation = 0;
	}
	ws->entries[i].wait = w;
	ws->used++;
	w->token = (uint64_t)ws->entries[i].generation << 32 | (i + 1);
	pthread_mutex_unlock(&ws->lock);
	return 0;
}

static void unregister(struct waits *ws, struct wait *w)
{
	uint32_t i = (uint32_t)w->token - 1;
	pthread_mutex_lock(&ws->lock);
	if (w->token && ws->entries[i].wait == w) {
		ws->entries[i].wait = NULL;
		ws->entries[i].generation++;
		ws->entries[i].next_free = ws->first_free;
		ws->first_free = i + 1;
		ws->used--;
	}
	pthread_mutex_unlock(&ws->lock);
}

void wait_ref(struct wait *w)
{
	atomic_fetch_add(&w->refs, 1);
}

void wait_unref(struct wait *w)
{
	if (atomic_fetch_sub(&w->refs, 1) == 1)
		w->destroy(w);
}

void wait_park(struct wait *w)
{
	atomic_store(&w->state, WAIT_PARKED);
}

static bool claim(struct wait *w, int to)
{
	int parked = WAIT_PARKED;
	return atomic_compare_exchange_strong(&w->state, &parked, to);
}

/* Ends a parked wait with an error, unless another thread has it. */
static void fail_parked(struct waits *ws, struct wait *w, int code)
{
	if (!claim(w, WAIT_DONE))
		return;
	unregister(ws, w);
	w->fail(w, code);
	wait_unref(w);
}

void wait_check(struct waits *ws, struct wait *w)
{
	int code = atomic_load(&w->cancelled);
	if (code)
		fail_parked(ws, w, code);
}

bool wait_resume(struct wait *w)
{
	return claim(w, WAIT_RUNNING);
}

void wait_end(struct waits *ws, struct wait *w)
{
	atomic_store(&w->state, WAIT_DONE);
	unregister(ws, w);
}

static void cancel(struct waits *ws, struct wait *w, int code)
{
	int none = 0;
	atomic_compare_exchange_strong(&w->cancelled, &none, code);
	fail_parked(ws, w, code);
}

void waits_cancel(struct waits *ws, uint64_t token, int code)
{
	uint32_t i = (uint32_t)token;
	struct wait *w = NULL;
	pthread_mutex_lock(&ws->lock);
	if (i && i <= ws->count && ws->entries[i - 1].generation == (uint32_t)(token >> 32))
		w = ws->entries[i - 1].wait;
	if (w)
		wait_ref(w);
	pthread_mutex_unlock(&ws->lock);
	if (!w)
		return;
	cancel(ws, w, code);
	wait_unref(w);
}

void waits_expire(struct waits *ws, int64_t now_ms, int code)
{
	for (uint32_t i = 0;; i++) {
		struct wait *w = NULL;
		pthread_mutex_lock(&ws->lock);
		for (; i < ws->count && !w; i++) {
			w = ws->entries[i].wait;
			if (w && (w->deadline_ms > now_ms || atomic_load(&w->cancelled)))
				w = NULL;
		}
		i -= w != NULL;
		if (w)
			wait_ref(w);
		pthread_mutex_unlock(&ws->lock);
		if (!w)
			return;
		cancel(ws, w, code);
		wait_unref(w);
	}
}

unsigned waits_count(struct waits *ws)
{
	pthread_mutex_lock(&ws->lock);
	unsigned used = ws->used;
	pthread_mutex_unlock(&ws->lock);
	return used;
}
