#include "fs/reader_internal.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOB_RETRY_MS 10000  /* after a blob could not be opened */
#define IDLE_MS 30000        /* an image that nobody uses is forgotten after this */

struct image_key {
	char domain[64];
	unsigned char kind;
	struct digest name;
};

static void make_key(struct image_key *key, const struct reader_domain *d, enum blob_kind kind, const struct digest *name)
{
	memset(key, 0, sizeof *key);
	memcpy(key->domain, d->name, sizeof key->domain);
	key->kind = (unsigned char)kind;
	key->name = *name;
}

static void image_free(struct image *i)
{
	if (!i)
		return;
	if (i->blob)
		atomic_fetch_sub(&i->reader->blobs_open, 1);
	blob_close(i->blob);
	pthread_mutex_destroy(&i->lock);
	free(i->spans);
	free(i);
}

static struct image *image_new(struct reader *r, struct reader_domain *d, enum blob_kind kind, const struct digest *name, uint64_t size,
			       uint32_t slots)
{
	struct image *i = calloc(1, sizeof *i);
	if (!i)
		return NULL;
	pthread_mutex_init(&i->lock, NULL);
	i->reader = r;
	i->domain = d;
	i->kind = kind;
	i->name = *name;
	i->size = size;
	i->slots = slots;
	atomic_init(&i->refs, 1);
	i->spans = calloc(slots ? slots : 1, sizeof(struct span *));
	if (!i->spans) {
		image_free(i);
		return NULL;
	}
	return i;
}

int image_get(struct reader *r, struct reader_domain *d, enum blob_kind kind, const struct digest *name, uint64_t size, uint32_t slots,
	      struct image **ret)
{
	struct image_key key;
	make_key(&key, d, kind, name);
	int code = 0;
	pthread_mutex_lock(&r->lock);
	struct image *i = map_get(r->images, &key, sizeof key);
	if (i && (i->size != size || i->slots != slots)) {
		code = -EBADMSG; /* two manifests of the domain contradict each other about the same content */
	} else if (!i) {
		i = image_new(r, d, kind, name, size, slots);
		code = i ? map_set(r->images, &key, sizeof key, i, NULL) : -ENOMEM;
		if (code)
			image_free(i);
	}
	if (!code)
		*ret = image_ref(i);
	pthread_mutex_unlock(&r->lock);
	return code;
}

struct image *image_ref(struct image *i)
{
	atomic_fetch_add(&i->refs, 1);
	return i;
}

/* The map's reference goes last, in images_tend. */
void image_unref(struct image *i)
{
	if (!i)
		return;
	atomic_store_explicit(&i->used_ms, clock_mono_ms(), memory_order_relaxed);
	if (atomic_fetch_sub(&i->refs, 1) == 1)
		image_free(i);
}

struct blob *image_blob(struct image *i)
{
	struct reader *r = i->reader;
	if (!r->cache)
		return NULL;
	struct blob *b = NULL;
	pthread_mutex_lock(&i->lock);
	if (!i->blob && (!i->blob_retry_ms || clock_mono_ms() >= i->blob_retry_ms)) {
		if (blob_open(r->cache, i->domain->cache_name, i->kind, &i->name, i->size, i->slots, &i->blob))
			i->blob_retry_ms = clock_mono_ms() + BLOB_RETRY_MS;
		else
			atomic_fetch_add(&r->blobs_open, 1);
	}
	if (i->blob)
		b = blob_ref(i->blob);
	pthread_mutex_unlock(&i->lock);
	return b;
}

static void let_go_of_blob(struct image *i, bool only_doomed)
{
	pthread_mutex_lock(&i->lock);
	struct blob *b = i->blob;
	if (b && (!only_doomed || blob_doomed(b)))
		i->blob = NULL;
	else
		b = NULL;
	pthread_mutex_unlock(&i->lock);
	if (!b)
		return;
	atomic_fetch_sub(&i->reader->blobs_open, 1);
	blob_close(b);
}

void images_forget_evicted(struct image *i)
{
	let_go_of_blob(i, true);
}

void images_tend(struct reader *r, bool all)
{
	int64_t now = clock_mono_ms();
	bool many = atomic_load(&r->blobs_open) > r->blob_max;
	struct image **found = NULL;
	size_t count = 0, n = 0;
	pthread_mutex_lock(&r->lock);
	count = map_count(r->images);
	found = calloc(count ? count : 1, sizeof *found);
	void *value;
	for (size_t i = 0; found && map_next(r->images, &i, NULL, NULL, &value);)
		found[n++] = image_ref(value);
	pthread_mutex_unlock(&r->lock);
	for (size_t i = 0; i < n; i++) {
		struct image *g = found[i];
		int64_t idle = now - atomic_load_explicit(&g->used_ms, memory_order_relaxed);
		let_go_of_blob(g, !all && !(many && idle > 1000));
		struct image_key key;
		make_key(&key, g->domain, g->kind, &g->name);
		bool drop = false;
		pthread_mutex_lock(&r->lock);
		/* Two references: the map's and ours.  New ones are only given under this lock. */
		if (atomic_load(&g->refs) == 2 && (all || idle > IDLE_MS))
			drop = map_remove(r->images, &key, sizeof key) != NULL;
		pthread_mutex_unlock(&r->lock);
		if (drop)
			atomic_fetch_sub(&g->refs, 1);
		if (atomic_fetch_sub(&g->refs, 1) == 1)
			image_free(g);
	}
	free(found);
}

static void drop_image(void *arg)
{
	struct image *i = arg;
	let_go_of_blob(i, false);
	if (atomic_fetch_sub(&i->refs, 1) == 1)
		image_free(i);
}

void images_free(struct reader *r)
{
	map_free(r->images, drop_image);
	r->images = NULL;
}

/* -- spans ---------------------------------------------------------------------------------- */

void span_ref(struct span *s)
{
	atomic_fetch_add(&s->refs, 1);
}

void span_unref(struct span *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) > 1)
		return;
	struct reader *r = s->image->reader;
	if (s->stored != s->bytes)
		budget_release(r->budget, s->stored, s->stored_length);
	budget_release(r->budget, s->bytes, s->length);
	budget_give(r->budget, s->cost);
	image_unref(s->image);
	content_unref(s->content);
	for (uint32_t i = 0; i < s->count; i++)
		free(s->chunk[i].leaves);
	free(s);
}

bool span_drop_slots_locked(struct span *s, const struct span_chunk *c)
{
	bool any = false;
	for (struct span **at = &s->image->spans[c->slot], **end = at + c->slots; at < end; at++) {
		if (*at != s)
			continue;
		*at = NULL;
		atomic_fetch_sub(&s->image->resident, 1);
		any = true;
	}
	return any;
}

bool span_detach_locked(struct span *s)
{
	bool any = false;
	for (uint32_t k = 0; k < s->count; k++)
		any |= span_drop_slots_locked(s, &s->chunk[k]);
	return any;
}

uint32_t span_extent(const struct span *s, uint64_t offset)
{
	uint64_t end = offset;
	for (uint32_t k = 0; k < s->count; k++) {
		const struct span_chunk *c = &s->chunk[k];
		if (c->offset + c->length <= end)
			continue;
		if (c->offset > end || c->bad)
			break;
		end = c->offset + c->length;
	}
	return (uint32_t)(end - offset);
}

/* Takes over the caller's reference. */
static void hot_push(struct reader *r, struct span *s)
{
	s->hot_next = NULL;
	pthread_mutex_lock(&r->hot.lock);
	*r->hot.last = s;
	r->hot.last = &s->hot_next;
	r->hot.bytes += s->length;
	pthread_mutex_unlock(&r->hot.lock);
}

void hot_add(struct reader *r, struct span *s)
{
	span_ref(s);
	hot_push(r, s);
	hot_evict(r, 0);
}

/* With `over_only`: the oldest if there are too many bytes, or if it was read to its end: the cache has it. */
static struct span *hot_pop(struct reader *r, bool over_only)
{
	struct span *s = NULL;
	pthread_mutex_lock(&r->hot.lock);
	bool finished = r->hot.first && atomic_load(&r->hot.first->written) && atomic_load(&r->hot.first->served) >= r->hot.first->length;
	if (r->hot.first && (!over_only || finished || r->hot.bytes > r->hot.max_bytes)) {
		s = r->hot.first;
		r->hot.first = s->hot_next;
		if (!r->hot.first)
			r->hot.last = &r->hot.first;
		r->hot.bytes -= s->length;
	}
	pthread_mutex_unlock(&r->hot.lock);
	return s;
}

void span_forget(struct span *s)
{
	pthread_mutex_lock(&s->image->lock);
	bool detached = span_detach_locked(s);
	pthread_mutex_unlock(&s->image->lock);
	if (detached)
		span_unref(s); /* the table's */
}

/* Second chance: what was read since it came here, and not to its end, stays for another round. */
void hot_evict(struct reader *r, uint64_t bytes)
{
	uint64_t freed = 0;
	unsigned spared = 0;
	struct span *s;
	while ((!bytes || freed < bytes) && (s = hot_pop(r, !bytes))) {
		bool again = atomic_exchange(&s->touched, false) && atomic_load(&s->served) < s->length;
		if ((again || !atomic_load(&s->written)) && spared < 64 && !bytes) {
			spared++;
			hot_push(r, s);
			continue;
		}
		freed += s->length;
		span_forget(s);
		span_unref(s); /* the list's */
	}
}

void hot_clear(struct reader *r)
{
	hot_evict(r, UINT64_MAX);
}
