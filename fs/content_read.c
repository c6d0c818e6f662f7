/* Reading contents: from memory, from disk, or waiting for chunks that are fetched or made. */
#include "fs/reader_internal.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARKED_MAX 64   /* reads that may wait for a store … */
#define STALLED_MS 5000 /* … that gave nothing for this long */
#define TRIES_MAX 3     /* a read that finds its chunk missing this often without getting on fails */

/* -- serving -------------------------------------------------------------------------------- */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

struct thread_buffer {
	size_t size;
	unsigned char bytes[];
};

static void make_buffer_key(void)
{
	pthread_key_create(&buffer_key, free);
}

/* A buffer of this thread's, kept for its next read. */
static unsigned char *thread_buffer(size_t size)
{
	pthread_once(&buffer_once, make_buffer_key);
	struct thread_buffer *b = pthread_getspecific(buffer_key);
	if (b && b->size >= size)
		return b->bytes;
	pthread_setspecific(buffer_key, NULL);
	free(b);
	size_t room = size < (256u << 10) ? (256u << 10) : size;
	b = malloc(sizeof *b + room);
	if (!b)
		return NULL;
	b->size = room;
	pthread_setspecific(buffer_key, b);
	return b->bytes;
}

/* The ready span that holds the slot, with a reference. */
static struct span *ready_span(struct image *i, uint32_t slot)
{
	if (!atomic_load_explicit(&i->resident, memory_order_relaxed) || slot >= i->slots)
		return NULL;
	pthread_mutex_lock(&i->lock);
	struct span *s = i->spans[slot];
	if (s && s->state == SPAN_READY)
		span_ref(s);
	else
		s = NULL;
	pthread_mutex_unlock(&i->lock);
	return s;
}

/* How many bytes of the content, from `at` on, the span holds.  In the image of a file or view what is next to a piece is what follows it; in that of a pack it
 * may be another file's. */
static size_t ready_bytes(const struct content *c, const struct span *s, const struct piece *k, uint64_t at)
{
	const uint64_t left = k->start + k->length - at;
	const uint32_t extent = span_extent(s, k->image_offset + (at - k->start));
	return c->shape == SHAPE_SMALL && extent > left ? (size_t)left : extent;
}

static const unsigned char *span_bytes(struct span *s, uint64_t offset, size_t len)
{
	atomic_store_explicit(&s->touched, true, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->served, (uint32_t)len, memory_order_relaxed);
	return s->bytes + (offset - s->base);
}

void content_copy(void *to, const struct iovec *parts, size_t count)
{
	unsigned char *at = to;
	for (size_t i = 0; i < count; i++) {
		memcpy(at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
}

/* Takes over the reference to the span.  False: no room. */
static bool parts_add(struct parts *p, struct span *s, const unsigned char *bytes, size_t len)
{
	struct iovec *last = p->count ? &p->iov[p->count - 1] : NULL;
	if (last && p->span[p->count - 1] == s && (const unsigned char *)last->iov_base + last->iov_len == bytes) {
		last->iov_len += len;
		span_unref(s);
		return true;
	}
	if (p->count == PARTS_MAX)
		return false;
	p->span[p->count] = s;
	p->iov[p->count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	return true;
}

static void parts_drop(struct parts *p)
{
	for (size_t i = 0; i < p->count; i++)
		span_unref(p->span[i]);
	p->count = 0;
}

static void answer(content_bytes done, void *arg, const void *bytes, size_t len)
{
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = len };
	done(arg, 0, &part, 1, len);
}

static void refuse(content_bytes done, void *arg, int code)
{
	done(arg, code, NULL, 0, 0);
}

/* After a reboot a slot's bytes are checked once before they are believed.  The record was made when they were verified, so it vouches for them
 * as long as it is about the same bytes. */
static enum slot_state confirm(struct blob *b, const struct piece *k)
{
	const enum slot_state state = blob_state(b, k->slot);
	uint64_t offset;
	uint32_t length;
	if (state == SLOT_ABSENT)
		return state;
	const bool same = blob_record(b, k->slot, &offset, &length) && offset == k->image_offset && length == k->length;
	if (same && state == SLOT_PRESENT)
		return state;
	unsigned char *room = same ? thread_buffer(k->length) : NULL;
	if (room && blob_check(b, k->slot, room))
		return SLOT_PRESENT;
	log_info("a cached chunk did not survive the last reboot: fetched again");
	blob_drop(b, k->slot);
	return SLOT_ABSENT;
}

/* Chunk numbers of [offset, offset + len). */
static int chunk_span(struct content *c, uint64_t offset, size_t len, uint32_t *ret_first, uint32_t *ret_last)
{
	int r = content_chunk_index(c, offset, ret_first);
	const struct manifest_chunk *k;
	*ret_last = *ret_first;
	if (!r)
		r = content_chunk(c, *ret_first, &k);
	if (!r && offset + len > k->file_offset + k->length)
		r = content_chunk_index(c, offset + len - 1, ret_last);
	return r;
}

/* Is [offset, offset + len) on disk, in one run?  Then where. */
static bool on_disk(struct content *c, struct blob *b, uint64_t offset, size_t len, uint64_t *ret_from)
{
	uint64_t delta = 0;
	struct piece k;
	for (uint64_t at = offset; at < offset + len; at = k.start + k.length) {
		if (content_piece(c, at, &k) || confirm(b, &k) != SLOT_PRESENT)
			return false;
		if (at > offset && k.image_offset - k.start != delta) /* may wrap; added back, it is exact */
			return false;
		delta = k.image_offset - k.start;
	}
	*ret_from = offset + delta;
	return true;
}

static bool serve_disk(struct blob *b, uint64_t offset, size_t len, content_bytes done, void *arg)
{
	unsigned char *bytes = thread_buffer(len);
	if (!bytes || blob_read(b, bytes, len, offset))
		return false;
	answer(done, arg, bytes, len);
	return true;
}

/* Serves from ready spans, where all of it lies in them. */
static bool serve_memory(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg)
{
	struct parts parts = { .count = 0 };
	struct piece k;
	struct span *s;
	size_t got = 0, n = 0;
	for (; got < len; got += n) {
		const uint64_t at = offset + got;
		if (content_piece(c, at, &k) || !(s = ready_span(c->image, k.slot)))
			break;
		n = ready_bytes(c, s, &k, at);
		n = n < len - got ? n : len - got;
		if (!n || !parts_add(&parts, s, span_bytes(s, k.image_offset + (at - k.start), n), n)) {
			span_unref(s);
			break;
		}
	}
	if (got == len)
		done(arg, 0, parts.iov, parts.count, len);
	parts_drop(&parts);
	return got == len;
}

/* Serves at once from memory or disk, when all of it is there. */
static bool serve_now(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg)
{
	uint64_t from;
	bool served = false;
	if (atomic_load_explicit(&c->whole, memory_order_acquire)) {
		struct blob *b = image_blob(c->image);
		served = b && blob_whole(b) && serve_disk(b, offset, len, done, arg);
		blob_close(b);
		if (served)
			return true;
		atomic_store(&c->whole, false); /* it was evicted */
	}
	if (serve_memory(c, offset, len, done, arg))
		return true;
	struct blob *b = image_blob(c->image);
	if (b && on_disk(c, b, offset, len, &from))
		served = serve_disk(b, from, len, done, arg);
	blob_close(b);
	return served;
}

/* -- reads that wait ------------------------------------------------------------------------ */

static void op_destroy(struct wait *w)
{
	struct read_op *op = (struct read_op *)w;
	parts_drop(&op->held);
	budget_release(op->content->reader->budget, op->buffer, op->len);
	content_unref(op->content);
	free(op);
}

static void op_uncount(struct read_op *op)
{
	if (op->counted)
		atomic_fetch_sub(&op->content->domain->parked, 1);
	op->counted = false;
}

static void op_fail(struct wait *w, int code)
{
	struct read_op *op = (struct read_op *)w;
	op_uncount(op);
	refuse(op->done, op->arg, code);
}

static void op_finish(struct read_op *op, int code)
{
	struct iovec all[PARTS_MAX + 1];
	size_t count = 0;
	wait_end(op->content->reader->waits, &op->wait);
	op_uncount(op);
	if (op->copied)
		all[count++] = (struct iovec){ .iov_base = op->buffer, .iov_len = op->copied };
	memcpy(all + count, op->held.iov, op->held.count * sizeof *all);
	if (code)
		refuse(op->done, op->arg, code);
	else
		op->done(op->arg, 0, all, count + op->held.count, op->len);
	wait_unref(&op->wait);
}

/* The buffer, with everything in it that has come so far; nothing is held any more.  NULL without memory. */
static unsigned char *op_buffer(struct read_op *op)
{
	if (!op->buffer && !(op->buffer = budget_buffer(op->content->reader->budget, op->len)))
		return NULL;
	content_copy(op->buffer + op->copied, op->held.iov, op->held.count);
	parts_drop(&op->held);
	op->copied = op->pos;
	return op->buffer;
}

/* Takes bytes of a ready span; the reference passes. */
static int op_hold(struct read_op *op, struct span *s, uint64_t offset, size_t n)
{
	const unsigned char *bytes = span_bytes(s, offset, n);
	if (op->held.count == PARTS_MAX && !op_buffer(op)) {
		span_unref(s);
		return -ENOMEM;
	}
	parts_add(&op->held, s, bytes, n);
	op->pos += n;
	return 0;
}

static bool op_copy(struct read_op *op, struct blob *b, uint32_t slot, uint64_t offset, size_t n)
{
	unsigned char *buffer = op_buffer(op);
	if (!buffer)
		return false;
	if (blob_read(b, buffer + op->pos, n, offset)) {
		blob_drop(b, slot); /* the disk does not give it: the store does */
		return false;
	}
	op->copied = op->pos += n;
	return true;
}

enum look { LOOK_READY, LOOK_PARKED, LOOK_ABSENT };

/* What memory has of a slot.  LOOK_PARKED: the read waits for it now and may already be continued by another thread. */
static enum look look(struct read_op *op, struct image *i, uint32_t slot, struct span **ret)
{
	enum look found = LOOK_ABSENT;
	struct range *raise = NULL;
	if (slot >= i->slots)
		return found;
	pthread_mutex_lock(&i->lock);
	struct span *s = i->spans[slot];
	if (s && s->state == SPAN_READY) {
		span_ref(*ret = s);
		found = LOOK_READY;
	} else if (s && op->planned) {
		if (s->range && atomic_load(&s->range->priority) != FETCH_DEMAND)
			atomic_fetch_add(&(raise = s->range)->refs, 1);
		wait_ref(&op->wait);
		op->wait.next = s->waiters;
		s->waiters = &op->wait;
		wait_park(&op->wait);
		found = LOOK_PARKED;
	}
	pthread_mutex_unlock(&i->lock);
	if (raise) {
		range_raise(raise);
		range_unref(raise);
	}
	return found;
}

/* A store that hangs must not collect readers without end. */
static bool store_stalled(struct reader_domain *d)
{
	return atomic_load(&d->parked) >= PARKED_MAX && clock_mono_ms() - atomic_load(&d->progress_ms) > STALLED_MS;
}

static int op_plan(struct read_op *op)
{
	struct content *c = op->content;
	uint32_t first, last;
	op->failures = atomic_load(&c->failures);
	if (c->shape == SHAPE_VIEW) {
		op->planned = true;
		return view_content_fetch(c, op->offset + op->pos, op->len - op->pos, FETCH_DEMAND);
	}
	if (store_stalled(c->domain))
		return -EIO;
	if (!op->counted) {
		op->counted = true;
		if (atomic_fetch_add(&c->domain->parked, 1) == 0)
			atomic_store(&c->domain->progress_ms, clock_mono_ms());
		atomic_fetch_add_explicit(&c->reader->misses, 1, memory_order_relaxed);
	}
	op->planned = true;
	if (c->shape == SHAPE_FILE)
		return fetch_bytes(c, op->offset + op->pos, op->offset + op->len, FETCH_DEMAND);
	int r = chunk_span(c, op->offset + op->pos, op->len - op->pos, &first, &last);
	return r ? r : fetch_small(c, first, last, FETCH_DEMAND);
}

/* One chunk's worth of progress.  1: parked (the read may be gone); 0: go on; -errno. */
static int op_advance(struct read_op *op, unsigned *tries)
{
	struct content *c = op->content;
	uint64_t at = op->offset + op->pos;
	struct piece k;
	struct span *s = NULL;
	int r = content_piece(c, at, &k);
	if (r)
		return r;
	uint64_t from = k.image_offset + (at - k.start);
	size_t left = op->len - op->pos, n = k.start + k.length - at < left ? (size_t)(k.start + k.length - at) : left;
	struct reader *reader = c->reader;
	if (op->held.count && !(s = ready_span(c->image, k.slot)) && !op_buffer(op))
		return -ENOMEM;
	enum look found = s ? LOOK_READY : look(op, c->image, k.slot, &s);
	if (found == LOOK_PARKED)
		return 1;
	if (found == LOOK_READY) {
		const size_t held = ready_bytes(c, s, &k, at);
		n = held < left ? held : left;
		*tries = 0;
		if (n)
			return op_hold(op, s, from, n);
		span_unref(s); /* a manifest that gives two chunks one slot */
		return -EBADMSG;
	}
	struct blob *b = image_blob(c->image);
	bool copied = b && confirm(b, &k) == SLOT_PRESENT && op_copy(op, b, k.slot, from, n);
	blob_close(b);
	if (copied) {
		*tries = 0;
		return 0;
	}
	if (op->planned && op->failures != atomic_load(&c->failures))
		return atomic_load(&c->failure);
	if (atomic_load(&reader->stopping) || ++*tries > TRIES_MAX)
		return -EIO;
	return op_plan(op);
}

/* Goes on with a read until it is done, failed or parked. */
static void op_step(struct read_op *op)
{
	struct waits *ws = op->content->reader->waits;
	unsigned tries = 0;
	int r = 0;
	wait_ref(&op->wait);
	while (!r && op->pos < op->len)
		r = op_advance(op, &tries);
	if (r == 1)
		wait_check(ws, &op->wait);
	else
		op_finish(op, r == -EBADMSG ? -EIO : r);
	wait_unref(&op->wait);
}

void content_resume(struct reader *r, struct wait *waiters, int code)
{
	while (waiters) {
		struct wait *w = waiters;
		waiters = w->next;
		w->next = NULL;
		if (wait_resume(w)) {
			if (code)
				op_finish((struct read_op *)w, code);
			else
				op_step((struct read_op *)w);
		}
		wait_unref(w);
	}
	(void)r;
}

/* After each read: what to bring next. */
static void look_ahead(struct content *c, uint64_t offset, size_t len, uint64_t size)
{
	if (c->shape == SHAPE_SMALL) {
		const struct manifest_chunk *k;
		if (!content_chunk(c, 0, &k))
			fetch_advance(c, k->slot);
		return;
	}
	const uint64_t share = budget_limit(c->reader->budget) / 4;
	struct readahead_limits limits = readahead_limits(atomic_load_explicit(&c->domain->first_byte_ns, memory_order_relaxed));
	uint64_t from, to;
	limits.most = share < limits.most ? share : limits.most;
	if (atomic_load_explicit(&c->whole, memory_order_relaxed))
		return;
	pthread_mutex_lock(&c->lock);
	readahead_note(&c->readahead, offset, len, size, &limits, &from, &to);
	pthread_mutex_unlock(&c->lock);
	if (from == to)
		return;
	if (c->shape == SHAPE_VIEW)
		view_content_fetch(c, from, (size_t)(to - from), FETCH_READAHEAD);
	else if (store_healthy(c->domain->store))
		fetch_bytes(c, from, to, FETCH_READAHEAD);
}

static void read_slowly(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	struct read_op *op = calloc(1, sizeof *op);
	struct reader *r = c->reader;
	if (!op) {
		refuse(done, arg, -ENOMEM);
		return;
	}
	wait_init(&op->wait, op_fail, op_destroy);
	op->content = content_ref(c);
	op->offset = offset;
	op->len = len;
	op->done = done;
	op->arg = arg;
	if (waits_add(r->waits, &op->wait, clock_mono_ms() + r->deadline_ms)) {
		op_finish(op, -ENOMEM);
		return;
	}
	if (ret_token)
		*ret_token = op->wait.token;
	op_step(op);
}

/* A read of bytes that an image holds, looking ahead no further than `ahead_end`. */
static void read_image(struct content *c, uint64_t size, uint64_t ahead_end, uint64_t offset, size_t len, content_bytes done, void *arg,
		       uint64_t *ret_token)
{
	if (offset >= size || !len) {
		done(arg, 0, NULL, 0, 0);
		return;
	}
	if (len > size - offset)
		len = (size_t)(size - offset);
	content_ref(c); /* the callback may drop the caller's */
	atomic_fetch_add_explicit(&c->reader->served_bytes, len, memory_order_relaxed);
	if (serve_now(c, offset, len, done, arg))
		atomic_fetch_add_explicit(&c->reader->hits, 1, memory_order_relaxed);
	else
		read_slowly(c, offset, len, done, arg, ret_token);
	look_ahead(c, offset, len, ahead_end);
	content_unref(c);
}

void content_read_image(struct content *c, uint64_t size, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	read_image(c, size, size, offset, len, done, arg, ret_token);
}

void content_read_until(struct content *c, uint64_t end, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	if (ret_token)
		*ret_token = 0;
	read_image(c, c->entry.size, end < c->entry.size ? end : c->entry.size, offset, len, done, arg, ret_token);
}

void content_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	if (ret_token)
		*ret_token = 0;
	if (c->shape == SHAPE_VIEW)
		view_content_read(c, offset, len, done, arg, ret_token);
	else
		content_read_image(c, c->entry.size, offset, len, done, arg, ret_token);
}

void content_cancel(struct reader *r, uint64_t token)
{
	if (token)
		waits_cancel(r->waits, token, -EINTR);
}
