/* From stored bytes to served ones: decompress, check every chunk against its digest, answer who waits, write the cache. */
#include "fs/reader_internal.h"

#include "catalog/base/hash.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define BATCH_SPANS 16

void verify_push(struct reader *r, struct span *first, struct span **last, size_t count)
{
	struct verify_queue *q = &r->verify;
	pthread_mutex_lock(&q->lock);
	*q->last = first;
	q->last = last;
	q->queued += count;
	bool wake = q->idle > 0;
	pthread_mutex_unlock(&q->lock);
	if (wake)
		pthread_cond_signal(&q->work);
}

/* Two spans, or several small ones: the cost of a hand-off is paid a batch, and pairs are hashed faster. */
static struct span *pop(struct verify_queue *q)
{
	struct span *s = q->first, *end = s;
	uint64_t bytes = s->length;
	size_t n = 1;
	while (end->next && n < BATCH_SPANS && (n < 2 || bytes + end->next->length <= SPAN_BYTES_MAX * 2)) {
		end = end->next;
		bytes += end->length;
		n++;
	}
	q->first = end->next;
	if (!q->first)
		q->last = &q->first;
	end->next = NULL;
	q->queued -= n;
	return s;
}

/* Takes the span out of the table with its waiters.  `code` 0: it stays in the table, ready. */
static struct wait *settle(struct span *s, int code, bool *ret_detached)
{
	pthread_mutex_lock(&s->image->lock);
	s->state = code ? SPAN_FAILED : SPAN_READY;
	struct wait *waiters = s->waiters;
	s->waiters = NULL;
	*ret_detached = code && span_detach_locked(s);
	pthread_mutex_unlock(&s->image->lock);
	return waiters;
}

void span_fail(struct span *s, int code)
{
	bool detached;
	struct reader *r = s->image->reader;
	span_ref(s);
	if (s->content) { /* a read that comes to look after the span is gone learns of it here */
		atomic_store(&s->content->failure, code);
		atomic_fetch_add(&s->content->failures, 1);
	}
	struct wait *waiters = settle(s, code, &detached);
	if (detached)
		span_unref(s);
	content_resume(r, waiters, code);
	span_unref(s);
}

/* Without memory `bytes` stays NULL. */
static void decompress(struct span *s)
{
	if (s->raw || s->answered)
		return;
	s->bytes = budget_buffer(s->image->reader->budget, s->length);
	if (!s->bytes)
		return;
	for (uint32_t i = 0; i < s->count; i++) {
		const struct span_chunk *k = &s->chunk[i];
		unsigned char *to = s->bytes + (k->offset - s->base);
		const unsigned char *from = s->stored + k->stored_skip;
		if (k->codec == CODEC_RAW) {
			memcpy(to, from, k->length);
			continue;
		}
		size_t n = ZSTD_decompress(to, k->length, from, k->stored_length);
		if (n != k->length)
			memset(to, 0, k->length); /* cannot match its digest, except if it should be zeros, and then it is right */
	}
}

struct checking {
	const void *bytes;
	struct span_chunk *chunk;
};

static void judge(struct span_chunk *k, const struct digest *d)
{
	k->bad = !digest_equal(d, &k->digest);
}

/* Leaves are hashed two at once among themselves: this is for what has some. */
static void check_leaves(struct span_chunk *k, const unsigned char *bytes)
{
	struct leaf own[LEAVES_MAX], *leaves = k->leaves && !k->part ? k->leaves : own;
	struct digest d;
	if (k->part) {
		leaves_of(bytes, k->length, own);
		k->bad = memcmp(own, k->leaves, k->slots * sizeof *own) != 0;
	} else {
		chunk_digest_of(bytes, k->length, leaves, &d);
		judge(k, &d);
	}
}

/* Holds every chunk of a batch against its digest.  Two are hashed at once, see sha256_pair. */
static void check(struct span *first)
{
	struct checking waiting = { NULL, NULL };
	struct digest d[2];
	for (struct span *s = first; s; s = s->next) {
		for (uint32_t i = 0; s->bytes && !s->answered && i < s->count; i++) {
			struct span_chunk *k = &s->chunk[i];
			const unsigned char *bytes = s->bytes + (k->offset - s->base);
			if (k->part || leaf_count(k->length)) {
				check_leaves(k, bytes);
				continue;
			}
			if (!waiting.chunk) {
				waiting = (struct checking){ bytes, k };
				continue;
			}
			sha256_pair(waiting.bytes, waiting.chunk->length, bytes, k->length, &d[0], &d[1]);
			judge(waiting.chunk, &d[0]);
			judge(k, &d[1]);
			waiting.chunk = NULL;
		}
	}
	if (waiting.chunk) {
		sha256_of(waiting.bytes, waiting.chunk->length, &d[0]);
		judge(waiting.chunk, &d[0]);
	}
}

static void mark_slots(struct blob *b, const struct span_chunk *k)
{
	if (!k->leaves)
		blob_mark(b, k->slot, k->offset, k->length, &k->hash);
	for (uint32_t i = 0; k->leaves && i < k->slots; i++) {
		const uint32_t skip = i * LEAF_BYTES, left = k->length - skip;
		blob_mark_sha256(b, k->slot + i, k->offset + skip, left < LEAF_BYTES ? left : LEAF_BYTES, k->leaves[i].bytes);
	}
}

/* Neighbouring good chunks are written with one call; only then are they marked. */
static void write_cache(struct span *s)
{
	struct blob *b = image_blob(s->image);
	bool all = b != NULL;
	for (uint32_t i = 0, end; b && i < s->count; i = end) {
		end = i + 1;
		if (s->chunk[i].bad)
			continue;
		while (end < s->count && !s->chunk[end].bad)
			end++;
		uint64_t from = s->chunk[i].offset, to = s->chunk[end - 1].offset + s->chunk[end - 1].length;
		if (blob_write(b, s->bytes + (from - s->base), (size_t)(to - from), from)) {
			all = false;
			continue;
		}
		for (uint32_t j = i; j < end; j++)
			mark_slots(b, &s->chunk[j]);
	}
	atomic_store(&s->written, all);
	bool whole = all && s->image->kind != BLOB_PACK && blob_whole(b);
	blob_close(b);
	if (whole)
		content_tell_whole(s->image);
}

static void report_bad(struct span *s, const struct span_chunk *k)
{
	struct content *c = s->content;
	char hex[SHA256_HEX_SIZE], part[64] = "";
	const struct manifest_info *info = manifest_info(c->manifest);
	hex_format(k->digest.bytes, SHA256_SIZE, hex);
	if (k->part)
		snprintf(part, sizeof part, ", leaves %u to %u", k->first_leaf, k->first_leaf + k->slots - 1);
	log_error("%s/%s/%s/%s: chunk %u (%s)%s: the store's bytes do not match their hash, twice; run 'meshfs verify'", c->domain->name,
		  info->product, info->version, c->path, k->index, hex, part);
}

/* The chunks that did not match are asked for once more, each as a span of its own; a second mismatch is the end. */
static void handle_bad(struct span *s)
{
	struct reader *r = s->image->reader;
	for (uint32_t i = 0; i < s->count; i++) {
		if (!s->chunk[i].bad)
			continue;
		const struct span_chunk *k = &s->chunk[i];
		if (s->retried) {
			atomic_fetch_add(&r->integrity_errors, 1);
			report_bad(s, k);
			continue;
		}
		pthread_mutex_lock(&s->image->lock);
		span_drop_slots_locked(s, k);
		pthread_mutex_unlock(&s->image->lock);
		fetch_again(s, k);
	}
}

static bool in_table(struct span *s)
{
	bool any = false;
	pthread_mutex_lock(&s->image->lock);
	for (uint32_t i = 0; i < s->count && !any; i++)
		for (uint32_t j = 0; j < s->chunk[i].slots && !any; j++)
			any = s->image->spans[s->chunk[i].slot + j] == s;
	pthread_mutex_unlock(&s->image->lock);
	return any;
}

static void finish_bad(struct reader *r, struct span *s, uint32_t bad_count)
{
	handle_bad(s);
	if (s->retried) {
		span_fail(s, -EIO);
		return;
	}
	bool detached;
	span_ref(s);
	bool table = in_table(s);
	struct wait *waiters = settle(s, 0, &detached);
	content_resume(r, waiters, 0); /* those of a bad chunk find its second try */
	if (bad_count < s->count) {
		write_cache(s);
		hot_add(r, s);
	}
	if (!table)
		span_unref(s);
	span_unref(s);
}

/* Serves a span whose bytes are right.  The reference taken here is for keep. */
static void answer(struct span *s)
{
	bool detached;
	span_ref(s);
	struct wait *waiters = settle(s, 0, &detached);
	content_resume(s->image->reader, waiters, 0);
	content_unref(s->content); /* a hot span must not keep contents open */
	s->content = NULL;
	s->answered = true;
}

/* What is left to do for a span that was answered. */
static void keep(struct span *s)
{
	write_cache(s);
	if (s->brief && atomic_load(&s->written))
		span_forget(s);
	else
		hot_add(s->image->reader, s);
	span_unref(s);
}

void span_ready(struct span *s)
{
	answer(s);
	keep(s);
}

void verify_now(struct reader *r, struct span *s)
{
	uint32_t bad = 0;
	check(s);
	for (uint32_t i = 0; i < s->count; i++)
		bad += s->chunk[i].bad;
	if (!bad)
		answer(s);
	verify_push(r, s, &s->next, 1);
}

static void finish(struct reader *r, struct span *s)
{
	uint32_t bad_count = 0;
	if (s->answered) {
		keep(s);
		return;
	}
	if (!s->bytes) {
		span_fail(s, -ENOMEM);
		return;
	}
	if (s->stored != s->bytes) {
		budget_release(r->budget, s->stored, s->stored_length);
		s->stored = NULL;
		s->cost -= s->stored_length;
		budget_give(r->budget, s->stored_length);
	}
	for (uint32_t i = 0; i < s->count; i++)
		bad_count += s->chunk[i].bad;
	if (bad_count)
		finish_bad(r, s, bad_count);
	else
		span_ready(s);
}

static void finish_batch(struct reader *r, struct span *first)
{
	for (struct span *s = first; s; s = s->next)
		decompress(s);
	check(first);
	for (struct span *s = first, *next; s; s = next) {
		next = s->next;
		s->next = NULL;
		finish(r, s);
	}
}

static void *work(void *arg)
{
	struct reader *r = arg;
	struct verify_queue *q = &r->verify;
	pthread_mutex_lock(&q->lock);
	for (;;) {
		while (!q->first && !q->stopping) {
			q->idle++;
			pthread_cond_wait(&q->work, &q->lock);
			q->idle--;
		}
		if (!q->first)
			break;
		struct span *s = pop(q);
		bool more = q->first && q->idle;
		pthread_mutex_unlock(&q->lock);
		if (more)
			pthread_cond_signal(&q->work);
		finish_batch(r, s);
		fetch_pump(r);
		pthread_mutex_lock(&q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

int verify_start(struct reader *r, unsigned threads)
{
	struct verify_queue *q = &r->verify;
	q->ids = calloc(threads, sizeof *q->ids);
	if (!q->ids)
		return -ENOMEM;
	for (; q->threads < threads; q->threads++) {
		int code = thread_start(&q->ids[q->threads], "mesh-verify", work, r);
		if (code)
			return code;
	}
	return 0;
}

void verify_stop(struct reader *r)
{
	struct verify_queue *q = &r->verify;
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_mutex_unlock(&q->lock);
	pthread_cond_broadcast(&q->work);
	for (unsigned i = 0; i < q->threads; i++)
		pthread_join(q->ids[i], NULL);
	free(q->ids);
	q->ids = NULL;
	q->threads = 0;
}
