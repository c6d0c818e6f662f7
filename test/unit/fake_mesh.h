/*
 * A mesh in memory for tests of the read path: it stands in for the store and the manifest at their headers, so that a test
 * decides what a store answers, how fast, how often, and what it breaks.  Include it once a test program.
 */
#ifndef MESHFS_TEST_FAKE_MESH_H
#define MESHFS_TEST_FAKE_MESH_H

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"
#include "catalog/domain.h"
#include "catalog/manifest.h"
#include "catalog/store/store.h"
#include "policy/view.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <zstd.h>

#define FAKE_PACKS 64

struct fake_pack {
	struct manifest_pack info;
	unsigned char *bytes;
	size_t len, cap;
	struct manifest_chunk *chunks;
};

struct fake_file {
	struct manifest_entry entry;
	char path[64];
	unsigned char *bytes;
	struct manifest_chunk *chunks;
};

struct manifest {
	_Atomic int refs;
	struct manifest_info info;
	struct fake_pack packs[FAKE_PACKS];
	unsigned pack_count;
	struct fake_file *files;
	unsigned file_count;
};

struct fetch {
	struct fetch_request request;
	char key[512];
	_Atomic bool cancelled;
	struct fetch *next;
};

struct store {
	struct manifest *manifest;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct fetch *queue;
	pthread_t threads[4];
	unsigned thread_count;
	bool stopping;
	/* What it does wrong. */
	_Atomic bool hang, down, unhealthy;
	_Atomic int corrupt;    /* this many answers have a flipped bit */
	_Atomic int cut;        /* this many answers end in the middle */
	_Atomic int fail_code;  /* every answer fails with it */
	_Atomic int delay_ms;
	size_t piece;           /* bytes a call of on_data */
	/* Small objects beside the packs (indexes of views): one, under `object_key`; lock. */
	bool ours;
	char object_key[512];
	struct buf object;
	/* What it saw. */
	_Atomic unsigned requests, raised;
	_Atomic uint64_t bytes;
};

struct domain {
	char name[64];
	struct store *store;
};

/* -- the manifest ---------------------------------------------------------------------------- */

static inline struct manifest *fake_manifest_new(void)
{
	struct manifest *m = calloc(1, sizeof *m);
	m->refs = 1;
	strcpy(m->info.domain, "sales");
	strcpy(m->info.product, "orders");
	strcpy(m->info.version, "1.0.0");
	return m;
}

static inline void fake_manifest_free(struct manifest *m)
{
	for (unsigned i = 0; i < m->pack_count; i++) {
		free(m->packs[i].bytes);
		free(m->packs[i].chunks);
	}
	for (unsigned i = 0; i < m->file_count; i++) {
		free(m->files[i].bytes);
		free(m->files[i].chunks);
	}
	free(m->files);
	free(m);
}

static inline void fake_fill(unsigned char *bytes, size_t len, uint64_t seed, bool text)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = text ? (unsigned char)"abcdefgh"[x & 7] : (unsigned char)x;
	}
}

static inline void fake_add_chunk(struct manifest *m, unsigned pack, const unsigned char *bytes, uint32_t len, uint64_t file_offset, bool zstd,
				  struct manifest_chunk *ret)
{
	struct fake_pack *p = &m->packs[pack];
	size_t room = ZSTD_compressBound(len);
	if (p->len + room > p->cap) {
		p->cap = (p->len + room) * 2;
		p->bytes = realloc(p->bytes, p->cap);
	}
	size_t stored = len;
	if (zstd)
		stored = ZSTD_compress(p->bytes + p->len, room, bytes, len, 1);
	else
		memcpy(p->bytes + p->len, bytes, len);
	*ret = (struct manifest_chunk){
		.file_offset = file_offset,
		.length = len,
		.pack = pack + 1,
		.pack_offset = p->len,
		.stored_length = (uint32_t)stored,
		.codec = zstd ? CODEC_ZSTD : CODEC_RAW,
		.raw_offset = p->info.raw_size,
		.slot = p->info.slots,
	};
	struct leaf *leaves = calloc(leaf_count(len) + 1, sizeof *leaves);
	chunk_digest_of(bytes, len, leaves, &ret->digest);
	free(leaves);
	xxh128_of(bytes, len, &ret->hash);
	p->len += stored;
	p->info.size = p->len;
	p->info.raw_size += len;
	p->chunks = realloc(p->chunks, (p->info.slots + 1) * sizeof *p->chunks);
	p->chunks[p->info.slots++] = *ret;
	if (pack >= m->pack_count) {
		m->pack_count = pack + 1;
		snprintf(p->info.key, sizeof p->info.key, ".mesh/packs/%04u", pack);
	}
}

/* What follows from a file's chunks, in their order. */
static inline void fake_seal_file(struct fake_file *f, uint32_t count)
{
	struct sha256 *h = sha256_new();
	for (uint32_t n = 0; n < count; n++) {
		const struct manifest_chunk *before = n ? &f->chunks[n - 1] : NULL;
		f->chunks[n].file_offset = before ? before->file_offset + before->length : 0;
		f->chunks[n].piece = before ? before->piece + piece_count(before->length) : 0;
		sha256_update(h, f->chunks[n].digest.bytes, SHA256_SIZE);
	}
	f->entry.chunk_count = count;
	sha256_final(h, &f->entry.content);
	sha256_free(h);
}

/* A file of random bytes in chunks of about `chunk_size`, in packs of up to `pack_size` stored bytes. */
static inline struct fake_file *fake_add_file(struct manifest *m, size_t size, uint32_t chunk_size, size_t pack_size, bool zstd)
{
	m->files = realloc(m->files, (m->file_count + 1) * sizeof *m->files);
	struct fake_file *f = &m->files[m->file_count++];
	memset(f, 0, sizeof *f);
	snprintf(f->path, sizeof f->path, "part-%u.bin", m->file_count);
	f->bytes = malloc(size ? size : 1);
	fake_fill(f->bytes, size, m->file_count, zstd);
	f->entry = (struct manifest_entry){ .row = m->file_count, .kind = ENTRY_FILE, .size = size };
	xxh128_of(f->bytes, size, &f->entry.hash);
	uint32_t n = 0;
	for (size_t at = 0; at < size; n++) {
		uint32_t len = chunk_size - (uint32_t)((n * 7919u) % (chunk_size / 4 + 1));
		if (len > size - at)
			len = (uint32_t)(size - at);
		unsigned pack = m->pack_count ? m->pack_count - 1 : 0;
		if (m->packs[pack].len + len > pack_size && m->packs[pack].len)
			pack++;
		f->chunks = realloc(f->chunks, (n + 1) * sizeof *f->chunks);
		fake_add_chunk(m, pack, f->bytes + at, len, at, zstd && n % 3 != 1, &f->chunks[n]);
		at += len;
	}
	fake_seal_file(f, n);
	return f;
}

struct manifest *manifest_ref(struct manifest *m)
{
	m->refs++;
	return m;
}

void manifest_unref(struct manifest *m)
{
	if (m)
		m->refs--;
}

const struct manifest_info *manifest_info(const struct manifest *m)
{
	return &m->info;
}

int manifest_chunks(struct manifest *m, uint64_t row, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct fake_file *f = &m->files[row - 1];
	if (first + count > f->entry.chunk_count)
		return -EBADMSG;
	memcpy(ret, f->chunks + first, count * sizeof *ret);
	return 0;
}

int manifest_leaves(struct manifest *m, uint64_t row, uint32_t index, const struct manifest_chunk *chunk, struct leaf *ret)
{
	struct fake_file *f = &m->files[row - 1];
	leaves_of(f->bytes + f->chunks[index].file_offset, chunk->length, ret);
	return 0;
}

int manifest_chunk_at(struct manifest *m, uint64_t row, uint64_t offset, uint32_t *ret_index)
{
	struct fake_file *f = &m->files[row - 1];
	for (uint32_t i = 0; i < f->entry.chunk_count; i++)
		if (offset < f->chunks[i].file_offset + f->chunks[i].length) {
			*ret_index = i;
			return 0;
		}
	return -EBADMSG;
}

int manifest_pack(struct manifest *m, uint32_t pack, struct manifest_pack *ret)
{
	if (!pack || pack > m->pack_count)
		return -EBADMSG;
	*ret = m->packs[pack - 1].info;
	return 0;
}

int manifest_pack_chunks(struct manifest *m, uint32_t pack, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct fake_pack *p = &m->packs[pack - 1];
	uint32_t n = 0;
	for (uint32_t i = first; i < p->info.slots && n < count; i++)
		ret[n++] = p->chunks[i];
	return (int)n;
}

/* -- views: what the transform's text says ---------------------------------------------------- */

/* "chunk": every byte 'a' is left out.  "segments": of each 1000 bytes, 400 of the source, 300 zeros, 300 'x'.  "whole": all bytes
 * xor 1.  "deny": not possible.  "huge": chunks without a byte. */
struct view_plan {
	enum view_kind kind;
	const char *text;
	struct view_segment *segments;
	size_t count;
};

static _Atomic int fake_plans, fake_chunks, fake_wholes, fake_view_delay_ms;

struct transform *transform_ref(struct transform *t)
{
	__atomic_add_fetch(&t->refs, 1, __ATOMIC_ACQ_REL);
	return t;
}

void transform_unref(struct transform *t)
{
	if (!__atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL))
		free(t);
}

const char *view_format(const char *path)
{
	(void)path;
	return "other";
}

int view_plan_new(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret, struct err *e)
{
	static const char filler[300] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
					"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
	(void)keys;
	char head[16];
	size_t n = source->size < sizeof head ? (size_t)source->size : sizeof head;
	int r = source->read(source->arg, 0, head, n, e);
	if (r)
		return r;
	fake_plans++;
	if (!strcmp(t->text, "deny"))
		return err_set(e, -EACCES, "this cannot be filtered");
	struct view_plan *p = calloc(1, sizeof *p);
	p->text = t->text;
	p->kind = !strcmp(t->text, "segments") ? VIEW_SEGMENTS : !strcmp(t->text, "whole") ? VIEW_WHOLE : VIEW_CHUNKED;
	p->segments = calloc(source->size / 400 * 3 + 1, sizeof *p->segments);
	for (uint64_t at = 0, to = 0; p->kind == VIEW_SEGMENTS && at + 400 <= source->size; at += 400, to += 1000) {
		p->segments[p->count++] = (struct view_segment){ SEGMENT_SOURCE, to, 400, at, NULL };
		p->segments[p->count++] = (struct view_segment){ SEGMENT_ZERO, to + 400, 300, 0, NULL };
		p->segments[p->count++] = (struct view_segment){ SEGMENT_BYTES, to + 700, 300, 0, filler };
	}
	*ret = p;
	return 0;
}

void view_plan_free(struct view_plan *p)
{
	if (p)
		free(p->segments);
	free(p);
}

enum view_kind view_plan_kind(const struct view_plan *p)
{
	return p->kind;
}

int view_chunk(const struct view_plan *p, uint32_t index, const void *bytes, size_t len, struct buf *ret, struct view_stats *ret_stats,
	       struct err *e)
{
	(void)p;
	(void)index;
	(void)e;
	fake_chunks++;
	if (fake_view_delay_ms) {
		struct timespec t = { fake_view_delay_ms / 1000, fake_view_delay_ms % 1000 * 1000000L };
		nanosleep(&t, NULL);
	}
	const char *b = bytes;
	char *to = buf_reserve(ret, len);
	size_t n = 0;
	for (size_t i = 0; i < len; i++)
		if (b[i] != 'a')
			to[n++] = b[i];
	buf_commit(ret, n);
	ret_stats->rows_in = len;
	ret_stats->rows_out = ret->len;
	ret_stats->rows_rejected = 0;
	return 0;
}

size_t view_segments(const struct view_plan *p, const struct view_segment **ret)
{
	*ret = p->segments;
	return p->count;
}

int view_whole(const struct view_plan *p, const struct view_source *source, int (*write)(void *arg, const void *bytes, size_t len), void *arg,
	       struct view_stats *ret_stats, struct err *e)
{
	(void)p;
	fake_wholes++;
	for (uint64_t at = 0; at < source->size;) {
		char part[70000];
		size_t n = source->size - at < sizeof part ? (size_t)(source->size - at) : sizeof part;
		int r = source->read(source->arg, at, part, n, e);
		for (size_t i = 0; i < n; i++)
			part[i] ^= 1;
		if (!r)
			r = write(arg, part, n);
		if (r)
			return r;
		at += n;
	}
	*ret_stats = (struct view_stats){ 0 };
	return 0;
}

/* -- the store ------------------------------------------------------------------------------- */

static inline struct fake_pack *fake_find(struct manifest *m, const char *key)
{
	for (unsigned i = 0; i < m->pack_count; i++)
		if (!strcmp(m->packs[i].info.key, key))
			return &m->packs[i];
	return NULL;
}

static inline void fake_sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	nanosleep(&t, NULL);
}

static inline bool fake_takes_one(_Atomic int *count)
{
	int left = *count;
	while (left > 0)
		if (atomic_compare_exchange_weak(count, &left, left - 1))
			return true;
	return false;
}

static inline int fake_deliver(struct store *s, struct fetch *f)
{
	struct fetch_request *q = &f->request;
	struct fake_pack *p = fake_find(s->manifest, f->key);
	int64_t end = clock_mono_ms() + (q->deadline_ms ? q->deadline_ms : 60000);
	if (s->delay_ms)
		fake_sleep_ms(s->delay_ms);
	while (s->hang && !f->cancelled && clock_mono_ms() < end)
		fake_sleep_ms(2);
	if (f->cancelled)
		return -ECANCELED;
	if (s->hang)
		return -ETIMEDOUT;
	if (s->down || s->fail_code)
		return s->fail_code ? s->fail_code : -EIO;
	if (!p || q->offset + q->length > p->len)
		return -ENOENT;
	if (q->if_match && strcmp(q->if_match, p->info.etag) != 0)
		return -ESTALE;
	const bool corrupt = fake_takes_one(&s->corrupt), cut = fake_takes_one(&s->cut);
	for (uint64_t at = 0; at < q->length;) {
		if (cut && at >= q->length / 2)
			return -ECONNRESET;
		size_t n = q->length - at < s->piece ? (size_t)(q->length - at) : s->piece;
		unsigned char *copy = malloc(n);
		memcpy(copy, p->bytes + q->offset + at, n);
		if (corrupt)
			copy[n / 2] ^= 4;
		s->bytes += n; /* before whoever waits for them may look */
		int r = f->cancelled ? -ECANCELED : q->on_data(q->arg, copy, n);
		free(copy);
		if (r)
			return r;
		at += n;
	}
	return 0;
}

static inline void *fake_serve(void *arg)
{
	struct store *s = arg;
	pthread_mutex_lock(&s->lock);
	for (;;) {
		while (!s->queue && !s->stopping)
			pthread_cond_wait(&s->wake, &s->lock);
		struct fetch **best = &s->queue;
		if (!*best)
			break;
		for (struct fetch **at = &s->queue; *at; at = &(*at)->next)
			if ((*at)->request.priority < (*best)->request.priority)
				best = at;
		struct fetch *f = *best;
		*best = f->next;
		pthread_mutex_unlock(&s->lock);
		int r = fake_deliver(s, f);
		struct err e = ERR_INIT;
		if (r)
			err_set(&e, r, "fake store: %s", strerror(-r));
		f->request.on_done(f->request.arg, r, &e);
		free(f);
		pthread_mutex_lock(&s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

static inline struct store *fake_store_new(struct manifest *m, unsigned threads)
{
	struct store *s = calloc(1, sizeof *s);
	s->manifest = m;
	s->piece = 64 << 10;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, NULL);
	for (; s->thread_count < threads; s->thread_count++)
		thread_start(&s->threads[s->thread_count], "fake-store", fake_serve, s);
	return s;
}

static inline void fake_store_free(struct store *s)
{
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_broadcast(&s->wake);
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < s->thread_count; i++)
		pthread_join(s->threads[i], NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	buf_free(&s->object);
	free(s);
}

int store_fetch(struct store *s, const struct fetch_request *request, struct fetch **ret, struct err *e)
{
	(void)e;
	struct fetch *f = calloc(1, sizeof *f), **at;
	f->request = *request;
	snprintf(f->key, sizeof f->key, "%s", request->key);
	s->requests++;
	pthread_mutex_lock(&s->lock);
	*ret = f; /* before it can end */
	for (at = &s->queue; *at; at = &(*at)->next)
		;
	*at = f;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

void fetch_cancel(struct fetch *f)
{
	f->cancelled = true;
}

void fetch_raise(struct fetch *f, enum fetch_priority priority)
{
	(void)f;
	(void)priority;
}

bool store_healthy(const struct store *s)
{
	return !s->unhealthy;
}

int store_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *ret_info, struct err *e)
{
	(void)max_bytes;
	(void)ret_info;
	int r = -ENOENT;
	pthread_mutex_lock(&s->lock);
	if (!s->down && !strcmp(s->object_key, key)) {
		buf_add(ret, s->object.data, s->object.len);
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r ? err_set(e, r, "fake store: %s", strerror(-r)) : 0;
}

int store_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e)
{
	pthread_mutex_lock(&s->lock);
	bool there = !strcmp(s->object_key, key) && mode == PUT_EXCLUSIVE;
	if (!there) {
		snprintf(s->object_key, sizeof s->object_key, "%s", key);
		buf_clear(&s->object);
		buf_add(&s->object, bytes, len);
	}
	pthread_mutex_unlock(&s->lock);
	return there ? err_set(e, -EEXIST, "fake store: it exists") : 0;
}

bool store_ours(const struct store *s)
{
	return s->ours;
}

struct store *domain_store(struct domain *d)
{
	return d->store;
}

const char *domain_name(const struct domain *d)
{
	return d->name;
}

const char *domain_identity(const struct domain *d)
{
	return domain_name(d);
}

#endif
