/*
 * The chunks of a view: made when they are read, each held against the index before a byte of it is served.
 *
 * An index that a store gave is a claim.  Its first read starts a job that goes through all chunks, beside the reading and at the lowest
 * priority, until the claim is proven (and kept as if it had been computed here) or the file is closed with much of it left.  What does not come out as claimed
 * ends the content: its readers get ESTALE, the kernel forgets the size, and this host computes the index itself from then on.
 */
#include "fs/view_state.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL_CHUNK (128u << 10)
#define BLOCK_BYTES (1u << 20)
#define WHOLE_WAIT_MS 500
#define PROVE_CLOSED_MAX 64 /* chunks that are proven though the file was closed */
#define FETCH_CHUNKS_MAX 64 /* derived chunks that one read or read-ahead sets to work */

static uint32_t find_chunk(const struct view_index *x, uint64_t at)
{
	uint32_t low = 0, high = x->count - 1;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (x->ends[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct piece piece_of(const struct view_index *x, uint32_t i)
{
	uint64_t start = i ? x->ends[i - 1] : 0;
	return (struct piece){ start, start, (uint32_t)(x->ends[i] - start), i };
}

int view_content_piece(struct content *c, uint64_t at, struct piece *ret)
{
	const struct view_index *x = c->view->index;
	if (!x || at >= x->size)
		return -EBADMSG;
	*ret = piece_of(x, find_chunk(x, at));
	return 0;
}

/* Is that a failure of reading or of memory, which says nothing about the index? */
static bool may_pass(int code)
{
	return code == -EIO || code == -ESTALE || code == -ENOMEM || code == -ETIMEDOUT || code == -ECANCELED || code == -EINTR;
}

/* Derives one chunk from its bytes, and holds it against the index: length, hash, and that it ends with a record. */
static int derive_from(struct content *c, uint32_t index, const void *bytes, uint32_t len, struct buf *out, struct err *e)
{
	const struct view_index *x = c->view->index;
	const struct piece k = piece_of(x, index);
	struct view_plan *plan;
	struct view_stats stats = { 0 };
	struct xxh128 hash;
	int r = view_plan_get(c, &plan, e);
	if (!r)
		r = view_chunk(plan, index, bytes, len, out, &stats, e);
	if (!r)
		r = buf_check(out);
	if (r)
		return r;
	xxh128_of(buf_text(out), out->len, &hash);
	if (out->len != k.length || memcmp(hash.bytes, x->hashes[index].bytes, XXH128_SIZE) != 0 || (stats.cut && index + 1 < x->count))
		return err_set(e, -EBADMSG, "%s: chunk %u of its view does not come out as its index says", c->path, index);
	return 0;
}

/* The derived chunk of an index, from its source.  -EBADMSG: the index is wrong. */
static int rederive(struct content *c, uint32_t index, struct buf *out, struct err *e)
{
	uint64_t offset;
	uint32_t length = 0;
	struct budget *budget = c->reader->budget;
	struct view_source source = view_source_of(c);
	int r = view_source_chunk(c, index, &offset, &length);
	unsigned char *bytes = r ? NULL : budget_buffer(budget, length);
	if (!r && !bytes)
		r = -ENOMEM;
	if (!r)
		r = source.read(source.arg, offset, bytes, length, e);
	if (!r)
		r = derive_from(c, index, bytes, length, out, e);
	budget_release(budget, bytes, length);
	return !r || may_pass(r) || r == -EBADMSG ? r : err_set(e, -EBADMSG, "%s: its view cannot be made as its index says", c->path);
}

/* Only now is it taken from the budget: a span that waits for its source must not keep the memory that the source's bytes need.  Work on views is bounded
 * by its threads, so that this may pass the limit. */
static int span_room(struct content *c, struct span *s)
{
	s->stored = s->bytes = budget_buffer(c->reader->budget, s->length);
	if (!s->bytes)
		return -ENOMEM;
	s->cost = s->length;
	budget_take(c->reader->budget, s->cost, 256 * 256);
	return 0;
}

static int make_chunk(struct content *c, struct span *s, struct err *e)
{
	struct buf out = BUF_INIT;
	int r = rederive(c, s->chunk[0].slot, &out, e);
	if (!r)
		r = span_room(c, s);
	if (!r)
		memcpy(s->bytes, out.data, out.len);
	buf_free(&out);
	return r;
}

/* It is as good as one that was computed here. */
static void proven(struct content *c)
{
	if (!atomic_load(&c->view->claimed))
		return;
	c->view->index->claimed = false;
	view_index_save(c, c->view->index);
	atomic_store(&c->view->claimed, false);
}

/* Goes once through the bytes that were proven chunk by chunk.  Those are often small, and lie in the page cache as they were written: a copy in
 * large blocks (`to`, or -1) takes the place of the blob, as view_build.c would have written it. */
static int hash_blob(struct blob *b, const struct view_index *x, int to, struct xxh128 *ret, bool *ret_copied)
{
	struct xxh128_state *h = xxh128_new();
	unsigned char *block = malloc(BLOCK_BYTES);
	int r = h && block ? 0 : -ENOMEM;
	*ret_copied = to >= 0;
	for (uint64_t at = 0; !r && at < x->size;) {
		size_t n = x->size - at < BLOCK_BYTES ? (size_t)(x->size - at) : BLOCK_BYTES;
		r = blob_read(b, block, n, at);
		if (!r)
			xxh128_update(h, block, n);
		*ret_copied = !r && *ret_copied && !io_pwrite_full(to, block, n, at);
		at += n;
	}
	if (!r)
		xxh128_final(h, ret);
	xxh128_free(h);
	free(block);
	return r;
}

/* The last chunks may be on their way to it. */
static struct blob *await_whole(struct content *c)
{
	int64_t until = clock_mono_ms() + WHOLE_WAIT_MS;
	struct blob *b = c->reader->cache && cache_writable(c->reader->cache) ? image_blob(c->image) : NULL;
	while (b && !blob_whole(b) && clock_mono_ms() < until && !atomic_load(&c->reader->stopping))
		usleep(2000);
	if (b && blob_whole(b))
		return b;
	blob_close(b);
	return NULL;
}

/* Does the whole have the hash that the index says?  -EAGAIN: it is not all in the cache; -EBADMSG: no. */
static int hold_whole(struct content *c, struct err *e)
{
	const struct view_index *x = c->view->index;
	struct blob *b = await_whole(c);
	struct xxh128 hash;
	bool copied = false;
	int to = -1, r = b ? 0 : -EAGAIN;
	if (!r && x->size / x->count < SMALL_CHUNK && blob_temp(c->reader->cache, c->domain->cache_name, &to))
		to = -1;
	if (!r && (r = hash_blob(b, x, to, &hash, &copied)))
		r = -EAGAIN;
	if (!r && memcmp(hash.bytes, x->hash.bytes, XXH128_SIZE) != 0)
		r = err_set(e, -EBADMSG, "%s: its view has another hash than its index says", c->path);
	if (!r && copied && !blob_adopt(c->reader->cache, c->domain->cache_name, BLOB_VIEW, &c->image->name, to, x->size, x->count, x->ends, x->hashes))
		images_forget_evicted(c->image);
	if (to >= 0)
		close(to);
	blob_close(b);
	return r;
}

/* Every chunk came out as the index says.  Is the whole not at hand to be hashed, then nobody is told a hash of it, and the next process begins anew. */
static void all_proven(struct content *c)
{
	struct err e = ERR_INIT;
	int r = hold_whole(c, &e);
	if (!r) {
		proven(c);
	} else if (r == -EBADMSG) {
		view_distrust(c, &e);
	} else {
		atomic_store(&c->view->unhashed, true);
		atomic_store(&c->view->claimed, false);
	}
}

static bool same_pieces(const struct view_index *a, const struct view_index *b)
{
	return a->kind == b->kind && a->count == b->count && a->size == b->size && !memcmp(a->hash.bytes, b->hash.bytes, XXH128_SIZE) &&
	       !memcmp(a->ends, b->ends, a->count * sizeof *a->ends) && !memcmp(a->hashes, b->hashes, a->count * sizeof *a->hashes);
}

/* Makes all of a view that cannot be made in parts; the span's bytes are then read from its blob. */
static int rebuild_whole(struct content *c, struct span *s, struct err *e)
{
	struct view_index *x = NULL;
	const struct span_chunk *k = &s->chunk[0];
	struct xxh128 hash;
	struct blob *b = NULL;
	int r = view_build(c, &x, e);
	if (!r && (!x || !same_pieces(x, c->view->index)))
		r = err_set(e, -EBADMSG, "%s: its view does not come out as its index says", c->path);
	else if (r && !may_pass(r))
		r = err_set(e, -EBADMSG, "%s: its view cannot be made as its index says", c->path);
	view_index_free(x);
	if (!r && blob_open_existing(c->reader->cache, c->domain->cache_name, BLOB_VIEW, &c->image->name, &b))
		r = -EIO;
	if (!r)
		r = span_room(c, s);
	if (!r)
		r = blob_read(b, s->bytes, s->length, k->offset);
	blob_close(b);
	if (!r) {
		xxh128_of(s->bytes, s->length, &hash);
		r = memcmp(hash.bytes, k->hash.bytes, XXH128_SIZE) != 0 ? -EIO : 0;
	}
	images_forget_evicted(c->image);
	if (!r)
		proven(c);
	return r;
}

void view_distrust(struct content *c, const struct err *why)
{
	struct reader *reader = c->reader;
	if (atomic_exchange(&c->view->broken, true))
		return;
	log_error("%s: %s; the index is thrown away and computed here", c->domain->name, why->text);
	atomic_fetch_add(&reader->integrity_errors, 1);
	view_index_discard(c);
	pthread_mutex_lock(&reader->lock);
	if (map_get(reader->contents, c->key, c->key_len) == c)
		map_remove(reader->contents, c->key, c->key_len);
	pthread_mutex_unlock(&reader->lock);
	if (reader->outdated)
		reader->outdated(reader->outdated_arg);
}

static void chunk_job(void *arg)
{
	struct span *s = arg;
	struct content *c = content_ref(s->content);
	struct err e = ERR_INIT;
	int r = -EIO;
	if (!atomic_load(&c->reader->stopping))
		r = c->view->kind == VIEW_CHUNKED ? make_chunk(c, s, &e) : rebuild_whole(c, s, &e);
	if (r == -EBADMSG)
		view_distrust(c, &e);
	else if (r && e.code && r != -EIO)
		log_error("%s", e.text);
	if (r)
		span_fail(s, r == -ESTALE || r == -EBADMSG ? -ESTALE : -EIO);
	else
		span_ready(s);
	content_unref(c);
}

/* A span for the slot, unless it is here or being made. */
static struct span *claim_slot(struct content *c, uint32_t index)
{
	const struct view_index *x = c->view->index;
	const struct piece k = piece_of(x, index);
	struct image *i = c->image;
	struct span *s = calloc(1, sizeof *s + sizeof s->chunk[0]);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->image = image_ref(i);
	s->content = content_ref(c);
	s->raw = true;
	s->base = k.image_offset;
	s->length = s->stored_length = k.length;
	s->count = 1;
	s->chunk[0] = (struct span_chunk){
		.index = k.slot, .slot = k.slot, .slots = 1, .length = k.length, .offset = k.image_offset, .hash = x->hashes[index]
	};
	pthread_mutex_lock(&i->lock);
	bool taken = i->spans[k.slot] != NULL;
	if (!taken) {
		i->spans[k.slot] = s;
		atomic_fetch_add(&i->resident, 1);
	}
	pthread_mutex_unlock(&i->lock);
	if (taken) {
		span_unref(s);
		return NULL;
	}
	return s;
}

int view_content_fetch(struct content *c, uint64_t offset, size_t len, enum fetch_priority priority)
{
	const struct view_index *x = c->view->index;
	struct blob *b = image_blob(c->image);
	unsigned started = 0;
	int r = 0;
	for (uint32_t i = find_chunk(x, offset); i < x->count && !r && started < FETCH_CHUNKS_MAX; i++) {
		struct piece k = piece_of(x, i);
		if (k.start >= offset + len)
			break;
		if (!k.length || (b && blob_state(b, i) != SLOT_ABSENT))
			continue;
		struct span *s = claim_slot(c, i);
		if (!s)
			continue;
		started++;
		if (priority != FETCH_DEMAND && x->kind == VIEW_WHOLE) { /* one demand makes all of it */
			span_fail(s, -EIO);
			break;
		}
		if (pool_submit(c->reader->views, priority == FETCH_DEMAND ? JOB_READ : JOB_AHEAD, chunk_job, s)) {
			span_fail(s, -ENOMEM);
			r = -ENOMEM;
		}
	}
	blob_close(b);
	return r;
}


/* -- proving --------------------------------------------------------------------------------- */

/* 0 when the chunk comes out as the index says, or somebody else is at it, who will see. */
static int prove_chunk(struct content *c, uint32_t i)
{
	struct piece k = piece_of(c->view->index, i);
	struct blob *b = k.length ? image_blob(c->image) : NULL;
	bool here = b && blob_state(b, i) != SLOT_ABSENT;
	blob_close(b);
	if (here)
		return 0;
	struct span *s = k.length ? claim_slot(c, i) : NULL;
	if (s) {
		unsigned failures = atomic_load(&c->failures);
		chunk_job(s);
		return atomic_load(&c->failures) != failures ? -EIO : 0;
	}
	if (k.length)
		return 0;
	struct buf out = BUF_INIT;
	struct err e = ERR_INIT;
	int r = rederive(c, i, &out, &e);
	if (r == -EBADMSG)
		view_distrust(c, &e);
	buf_free(&out);
	return r;
}

static void prove_job(void *arg)
{
	struct content *c = arg;
	struct view_state *v = c->view;
	int r = atomic_load(&c->reader->stopping) || atomic_load(&v->broken) ? -EIO : prove_chunk(c, v->proven);
	if (!r && ++v->proven == v->index->count)
		all_proven(c);
	/* Nobody but us holds it: a long rest is proven when it is read again. */
	bool wanted = atomic_load(&c->refs) > 1 || v->index->count - v->proven <= PROVE_CLOSED_MAX;
	bool more = !r && atomic_load(&v->claimed) && wanted;
	if (more && !pool_submit(c->reader->views, JOB_AHEAD, prove_job, c))
		return;
	atomic_store(&v->proving, false);
	content_unref(c);
}

void view_prove(struct content *c)
{
	struct view_state *v = c->view;
	if (v->kind != VIEW_CHUNKED || !v->index->count || atomic_exchange(&v->proving, true))
		return;
	if (pool_submit(c->reader->views, JOB_AHEAD, prove_job, content_ref(c))) {
		atomic_store(&v->proving, false);
		content_unref(c);
	}
}
