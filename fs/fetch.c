/* Planning what to ask of stores: which chunks, in which requests, and the bytes as they arrive. */
#include "fs/reader_internal.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READAHEAD_SHARE 192       /* of 256 of the memory budget: the rest is for demand */
#define PACK_WINDOW_MIN (64u << 10)
#define PACK_WINDOW_FIRST (512u << 10)
#define PACK_WINDOW_MAX (4u << 20)
#define NEIGHBOURS_MAX 4096
#define NEIGHBOUR_BYTES_MAX (512u << 10) /* a larger chunk belongs to a large file: not brought along */
#define URGENT_BYTES_MAX (512u << 10)   /* verified where they arrive, if a read waits for them … */
#define URGENT_RANGES_MAX 2             /* … and so many requests are under way at most */
#define UNHEALTHY_TRY_MS 1000     /* a store that is down is asked this often */
#define LOG_INTERVAL_MS 5000

/* -- building spans ------------------------------------------------------------------------- */

/* A plan: spans that are in the image's table and on no request yet, in order of their place in one pack. */
struct plan {
	struct content *content;
	enum fetch_priority priority;
	struct manifest_pack pack;
	uint32_t pack_number;
	struct span *first, **last;
	uint64_t bytes; /* stored */
	uint64_t end;   /* pack offset after the last span */
	struct span *open; /* the last span, while it may grow */
	uint32_t open_cap;
	int code; /* of the last submit */
};

static uint64_t span_cost(const struct span *s)
{
	return (uint64_t)s->length + (s->raw ? 0 : s->stored_length) + sizeof *s;
}

static struct span *span_new(struct content *c, struct image *i, uint32_t cap)
{
	struct span *s = calloc(1, sizeof *s + cap * sizeof s->chunk[0]);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1); /* the table's */
	s->image = image_ref(i);
	s->content = content_ref(c);
	s->state = SPAN_COMING;
	s->raw = true;
	return s;
}

/* A manifest is input from a store: every number is checked before memory or offsets rest on it. */
static bool chunk_is_sound(const struct manifest_chunk *k, const struct manifest_pack *p, const struct image *i, uint32_t slot,
			   uint64_t offset)
{
	return k->length && k->length <= CHUNK_BYTES_MAX && k->stored_length && k->stored_length <= CHUNK_BYTES_MAX &&
	       (k->codec == CODEC_ZSTD || (k->codec == CODEC_RAW && k->stored_length == k->length)) && slot < i->slots &&
	       offset <= i->size && k->length <= i->size - offset && k->pack_offset <= p->size &&
	       k->stored_length <= p->size - k->pack_offset;
}

/* Takes over the chunk's leaves. */
static void fill_chunk(struct span *s, const struct span_chunk *k, uint64_t pack_offset)
{
	if (!s->count) {
		s->base = k->offset;
		s->pack_offset = pack_offset;
	}
	s->chunk[s->count] = *k;
	s->chunk[s->count++].stored_skip = s->stored_length;
	s->length += k->length;
	s->stored_length += k->stored_length;
	s->raw = s->raw && k->codec == CODEC_RAW;
}

static void submit(struct plan *p);

/* Puts the span's chunk into the table, where nothing is yet; image.lock is held. */
static void claim_slots_locked(struct span *s, const struct span_chunk *k)
{
	struct image *i = s->image;
	for (uint32_t n = k->slot; n < k->slot + k->slots; n++) {
		if (i->spans[n])
			continue;
		i->spans[n] = s;
		atomic_fetch_add(&i->resident, 1);
	}
}

/* Neither here nor on its way.  A span leaves the table only after its slots were marked in the blob, so that one of the two always tells. */
static bool is_missing_locked(const struct image *i, struct blob *b, uint32_t slot)
{
	return !i->spans[slot] && !(b && blob_state(b, slot) != SLOT_ABSENT);
}

static uint32_t missing_slots_locked(const struct image *i, struct blob *b, const struct span_chunk *k)
{
	uint32_t count = 0;
	for (uint32_t n = k->slot; n < k->slot + k->slots; n++)
		count += is_missing_locked(i, b, n);
	return count;
}

/* Adds a chunk, or part of one, that is missing; image.lock is held.  Takes over its leaves.  -EEXIST: another was faster with some of it, or with
 * all of it where it cannot come in parts. */
static int plan_add_locked(struct plan *p, struct image *i, struct blob *b, const struct span_chunk *k, uint64_t pack_offset)
{
	struct span *s = p->open;
	bool grows = s && s->count < p->open_cap && s->pack_offset + s->stored_length == pack_offset && s->base + s->length == k->offset &&
		     s->length + k->length <= SPAN_BYTES_MAX;
	const uint32_t missing = missing_slots_locked(i, b, k);
	if (!missing || (missing < k->slots && k->codec == CODEC_RAW)) {
		free(k->leaves);
		return -EEXIST;
	}
	if (!grows) {
		uint32_t cap = k->length >= SPAN_BYTES_MAX / 2 ? 1 : SPAN_BYTES_MAX / k->length;
		p->open_cap = cap > 256 ? 256 : cap;
		s = span_new(p->content, i, p->open_cap);
		if (!s) {
			free(k->leaves);
			return -ENOMEM;
		}
		s->brief = p->priority == FETCH_DEMAND;
		*p->last = s;
		p->last = &s->next;
		p->open = s;
	}
	fill_chunk(s, k, pack_offset);
	claim_slots_locked(s, k);
	s->brief = s->brief && k->part;
	p->bytes += k->stored_length;
	p->end = pack_offset + k->stored_length;
	return 0;
}

/* What is wanted of a chunk: some of the pieces that it is in the image. */
struct want {
	const struct manifest_chunk *chunk;
	uint32_t index;        /* of the chunk, as span_chunk has it */
	uint32_t slot, slots;  /* all of the chunk's */
	uint64_t offset;       /* of the chunk in the image */
	uint32_t first, count; /* pieces */
};

/* Of a chunk in a pack's image, which has a slot for it: all. */
static struct want want_slot(const struct manifest_chunk *k)
{
	return (struct want){ .chunk = k, .index = k->slot, .slot = k->slot, .slots = 1, .offset = k->raw_offset, .count = 1 };
}

/* Of a file's chunk `index`: the pieces that hold bytes of [from, to). */
static struct want want_bytes(const struct content *c, const struct manifest_chunk *k, uint32_t index, uint64_t from, uint64_t to)
{
	struct want w = { .chunk = k, .index = index, .slot = content_slot(c, k), .slots = piece_count(k->length), .offset = content_image_offset(c, k) };
	const uint64_t end = k->file_offset + k->length;
	w.count = w.slots;
	if (w.slots > 1 && k->codec == CODEC_RAW) {
		w.first = from > k->file_offset ? (uint32_t)(from - k->file_offset) / LEAF_BYTES : 0;
		w.count = (to < end ? (uint32_t)(to - k->file_offset - 1) / LEAF_BYTES + 1 : w.slots) - w.first;
	}
	return w;
}

/* The next pieces after those of `at` that are neither here nor on their way.  The first request found on the way of those that are is `raise`, with a
 * reference, if it may become more urgent. */
static bool next_missing(const struct plan *p, struct image *i, struct blob *b, struct want *at, uint32_t end, struct range **raise)
{
	uint32_t n = at->first + at->count, first;
	pthread_mutex_lock(&i->lock);
	for (first = n; first < end; first++) {
		struct span *s = i->spans[at->slot + first];
		if (is_missing_locked(i, b, at->slot + first))
			break;
		if (s && !*raise && p->priority == FETCH_DEMAND && s->range && atomic_load(&s->range->priority) > FETCH_DEMAND)
			atomic_fetch_add(&(*raise = s->range)->refs, 1);
	}
	for (n = first; n < end && is_missing_locked(i, b, at->slot + n); n++)
		;
	pthread_mutex_unlock(&i->lock);
	at->first = first;
	at->count = n - first;
	return at->count > 0;
}

static bool fits_plan(const struct plan *p, uint32_t pack, uint64_t pack_offset, uint32_t stored_length)
{
	return p->first && p->pack_number == pack && pack_offset >= p->end && pack_offset - p->end <= GAP_BYTES_MAX &&
	       p->bytes + stored_length <= RANGE_BYTES_MAX;
}

/* The leaves of a run, and the run as a span has it.  -EBADMSG: the manifest's leaves are not the chunk's. */
static int run_of(const struct plan *p, const struct want *w, struct span_chunk *ret, uint64_t *ret_pack_offset)
{
	const struct manifest_chunk *k = w->chunk;
	const uint32_t skip = w->first * LEAF_BYTES;
	struct leaf *all = NULL;
	*ret = (struct span_chunk){ .index = w->index, .slot = w->slot + w->first, .slots = w->count, .first_leaf = w->first, .part = w->count < w->slots,
				    .length = k->length, .stored_length = k->stored_length, .codec = k->codec, .offset = w->offset + skip,
				    .digest = k->digest, .hash = k->hash };
	*ret_pack_offset = k->pack_offset + skip;
	if (w->slots > 1 && !(ret->leaves = malloc(w->count * sizeof *ret->leaves)))
		return -ENOMEM;
	if (!ret->part)
		return 0;
	const uint64_t left = k->length - skip, run = (uint64_t)w->count * LEAF_BYTES;
	ret->length = ret->stored_length = (uint32_t)(run < left ? run : left);
	all = malloc(w->slots * sizeof *all);
	int r = all ? manifest_leaves(p->content->manifest, p->content->entry.row, w->index, k, all) : -ENOMEM;
	if (!r)
		memcpy(ret->leaves, all + w->first, w->count * sizeof *all);
	else
		free(ret->leaves);
	free(all);
	return r;
}

/* Adds a run of pieces; submits what was planned when they do not fit that request. */
static int plan_run(struct plan *p, struct image *i, struct blob *b, const struct want *w)
{
	const struct manifest_chunk *k = w->chunk;
	struct span_chunk c;
	uint64_t pack_offset;
	if (p->pack_number != k->pack || !p->pack.key[0]) {
		submit(p);
		int r = content_pack(p->content, k->pack, &p->pack);
		if (r)
			return r;
		p->pack_number = k->pack;
	}
	if (!chunk_is_sound(k, &p->pack, i, w->slot, w->offset) || w->slots > i->slots - w->slot)
		return -EBADMSG;
	int r = run_of(p, w, &c, &pack_offset);
	if (r)
		return r;
	if (!fits_plan(p, k->pack, pack_offset, c.stored_length))
		submit(p);
	pthread_mutex_lock(&i->lock);
	r = plan_add_locked(p, i, b, &c, pack_offset);
	pthread_mutex_unlock(&i->lock);
	return r;
}

/* Adds what is wanted of a chunk unless it is here or on its way. */
static int plan_chunk(struct plan *p, struct image *i, struct blob *b, const struct want *w)
{
	struct want missing = *w;
	struct range *raise = NULL;
	int r = w->slot < i->slots && w->slots <= i->slots - w->slot ? 0 : -EBADMSG;
	missing.count = 0;
	while (!r && next_missing(p, i, b, &missing, w->first + w->count, &raise)) {
		if (w->chunk->codec != CODEC_RAW) { /* only whole */
			missing.first = 0;
			missing.count = w->slots;
		}
		r = plan_run(p, i, b, &missing);
		if (r == -EEXIST) { /* look again */
			missing.count = 0;
			r = 0;
		}
	}
	if (raise) {
		range_raise(raise);
		range_unref(raise);
	}
	return r;
}

/* -- ranges --------------------------------------------------------------------------------- */

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

static void plan_reset(struct plan *p)
{
	p->first = p->open = NULL;
	p->last = &p->first;
	p->bytes = p->end = 0;
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

/* Makes a request of the planned spans. */
static void submit(struct plan *p)
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

/* -- what to bring -------------------------------------------------------------------------- */

int fetch_bytes(struct content *c, uint64_t from, uint64_t to, enum fetch_priority priority)
{
	struct plan p = { .content = c, .priority = priority };
	const struct manifest_chunk *k = NULL;
	uint32_t index;
	plan_reset(&p);
	struct blob *b = image_blob(c->image);
	int r = content_chunk_index(c, from, &index);
	for (; !r && (!k || k->file_offset + k->length < to); index++) {
		/* Read-ahead takes what memory there is; a reader that comes to the rest asks again. */
		if (priority != FETCH_DEMAND && !p.first && budget_used(c->reader->budget) > budget_limit(c->reader->budget) / 256 * READAHEAD_SHARE)
			hot_evict(c->reader, RANGE_BYTES_MAX);
		r = content_chunk(c, index, &k);
		if (r)
			break;
		const struct want w = want_bytes(c, k, index, from, to);
		r = plan_chunk(&p, c->image, b, &w);
	}
	submit(&p);
	blob_close(b);
	return r ? r : p.code;
}

/* The window follows what it brings: hits on neighbours widen it, fetches that brought nothing useful narrow it. */
static uint64_t pack_window(struct image *i)
{
	pthread_mutex_lock(&i->lock);
	if (!i->window)
		i->window = PACK_WINDOW_FIRST;
	else if (i->hits >= 4)
		i->window = i->window * 2 > PACK_WINDOW_MAX ? PACK_WINDOW_MAX : i->window * 2;
	else if (!i->hits && i->window > PACK_WINDOW_MIN)
		i->window /= 2;
	i->hits = 0;
	uint64_t window = i->window;
	pthread_mutex_unlock(&i->lock);
	return window;
}

/* Adds chunks of the pack from `slot` on, `window` bytes of them, and notes how far it got. */
static int plan_neighbours(struct plan *p, struct blob *b, uint32_t pack, uint32_t slot, uint64_t window)
{
	struct image *i = p->content->image;
	uint64_t average = i->slots ? i->size / i->slots + 1 : 1;
	uint64_t want = window / average + 1;
	uint32_t count = want > NEIGHBOURS_MAX ? NEIGHBOURS_MAX : (uint32_t)want;
	if (slot >= i->slots)
		return 0;
	if (count > i->slots - slot)
		count = i->slots - slot;
	struct manifest_chunk *k = calloc(count, sizeof *k);
	if (!k)
		return -ENOMEM;
	int found = manifest_pack_chunks(p->content->manifest, pack, slot, count, k), r = found < 0 ? found : 0;
	for (int n = 0; n < found && !r; n++) {
		if (k[n].length <= NEIGHBOUR_BYTES_MAX) {
			const struct want w = want_slot(&k[n]);
			r = plan_chunk(p, i, b, &w);
		}
	}
	free(k);
	pthread_mutex_lock(&i->lock);
	i->frontier = slot + count;
	pthread_mutex_unlock(&i->lock);
	return r;
}

int fetch_small(struct content *c, uint32_t first, uint32_t last, enum fetch_priority priority)
{
	struct plan p = { .content = c, .priority = priority };
	plan_reset(&p);
	struct blob *b = image_blob(c->image);
	const struct manifest_chunk *k = NULL;
	int r = 0;
	for (uint32_t i = first; i <= last && !r; i++) {
		r = content_chunk(c, i, &k);
		if (r)
			break;
		const struct want w = want_slot(k);
		r = plan_chunk(&p, c->image, b, &w);
	}
	p.open = NULL; /* what is waited for must not wait for its neighbours */
	if (!r && k && p.first && k->length <= NEIGHBOUR_BYTES_MAX)
		plan_neighbours(&p, b, k->pack, k->slot + 1, pack_window(c->image)); /* only a convenience: what fails here fails when asked for */
	submit(&p);
	blob_close(b);
	return r ? r : p.code;
}

void fetch_advance(struct content *c, uint32_t slot)
{
	struct image *i = c->image;
	uint64_t window = 0;
	uint32_t from = 0;
	pthread_mutex_lock(&i->lock);
	i->hits++;
	uint64_t average = i->slots ? i->size / i->slots + 1 : 1;
	if (!i->advancing && i->frontier > slot && i->frontier < i->slots && i->hits >= 4 && (i->frontier - slot) * average < i->window / 2) {
		window = i->window = i->window * 2 > PACK_WINDOW_MAX ? PACK_WINDOW_MAX : i->window * 2;
		from = i->frontier;
		i->hits = 0;
		i->advancing = true;
	}
	pthread_mutex_unlock(&i->lock);
	if (!window)
		return;
	const struct manifest_chunk *k;
	if (!content_chunk(c, 0, &k)) {
		struct plan p = { .content = c, .priority = FETCH_READAHEAD };
		plan_reset(&p);
		struct blob *b = image_blob(i);
		plan_neighbours(&p, b, k->pack, from, window);
		submit(&p);
		blob_close(b);
	}
	pthread_mutex_lock(&i->lock);
	i->advancing = false;
	pthread_mutex_unlock(&i->lock);
}

/* The pack of one chunk of a span: the content's own chunks know it. */
static int pack_of(struct content *c, const struct span_chunk *chunk, struct manifest_chunk *ret)
{
	const struct manifest_chunk *k;
	if (c->shape == SHAPE_SMALL) {
		int r = content_chunk(c, 0, &k);
		if (r)
			return r;
		r = manifest_pack_chunks(c->manifest, k->pack, chunk->slot, 1, ret);
		return r == 1 ? 0 : r < 0 ? r : -EBADMSG;
	}
	int r = content_chunk(c, chunk->index, &k);
	if (!r)
		*ret = *k;
	return r;
}

int fetch_again(struct span *failed, const struct span_chunk *chunk)
{
	struct content *c = failed->content;
	struct plan p = { .content = c, .priority = FETCH_DEMAND };
	struct manifest_chunk k;
	struct span_chunk again = *chunk;
	plan_reset(&p);
	int r = pack_of(c, chunk, &k);
	if (!r)
		r = content_pack(c, k.pack, &p.pack);
	if (!r && chunk->leaves) {
		again.leaves = malloc(chunk->slots * sizeof *again.leaves);
		r = again.leaves ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	if (again.leaves)
		memcpy(again.leaves, chunk->leaves, chunk->slots * sizeof *again.leaves);
	again.bad = false;
	p.pack_number = k.pack;
	pthread_mutex_lock(&failed->image->lock);
	r = plan_add_locked(&p, failed->image, NULL, &again, k.pack_offset + (uint64_t)chunk->first_leaf * LEAF_BYTES);
	pthread_mutex_unlock(&failed->image->lock);
	if (r)
		return r == -EEXIST ? 0 : r;
	p.first->retried = true;
	submit(&p);
	return p.code;
}
