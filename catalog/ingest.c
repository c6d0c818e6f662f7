#include "catalog/ingest.h"

#include "catalog/base/pool.h"
#include "catalog/chunker.h"
#include "catalog/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_BYTES (8u << 20)
#define BATCH_ITEMS 1024
#define READ_STEP (1u << 20)
#define WORKERS_MAX 16
#define UPLOADERS 3

/* A file under way: made by the reader, passed along with its chunks, finished by the packer. */
struct file {
	char *path;
	struct manifest_entry entry;
	bool replace;
	uint32_t object;
	struct xxh128_state *hash; /* reader's; NULL for files of one chunk */
	/* The packer's: */
	struct sha256 *content;
	uint64_t first_chunk;
	struct manifest_chunk last; /* of a file with one chunk, its hash is the file's */
	uint32_t pieces;
	bool begun;
};

struct item {
	struct file *file;
	bool end, discard; /* end: no bytes, the file is complete, or discarded */
	size_t offset, len; /* in the batch's bytes */
	struct digest digest;
	struct leaf *leaves; /* owned; NULL: it has none */
	struct xxh128 hash;
	void *compressed; /* owned, or NULL: stored raw */
	size_t compressed_len;
};

enum batch_state { BATCH_FILLING, BATCH_READY, BATCH_HASHING, BATCH_HASHED };

struct batch {
	unsigned char *bytes;
	size_t len, cap;
	struct item items[BATCH_ITEMS];
	size_t count;
	enum batch_state state; /* in->lock */
	struct batch *next;
};

struct upload {
	struct pack_builder *builder;
	const void *bytes;
	size_t len;
	char key[PACK_KEY_SIZE];
	struct upload *next;
};

struct put_key {
	char key[PACK_KEY_SIZE];
	struct put_key *next;
};

struct ingest {
	struct ingest_config config;
	pthread_mutex_t reader; /* rank 1: one file at a time; guards `filling` */
	struct batch *filling;

	pthread_mutex_t stage_lock; /* rank 2: the stage, when the packer is not alone with it */

	pthread_mutex_t lock; /* rank 3: everything below */
	pthread_cond_t changed;
	struct batch *first, **last; /* in order: ready, hashing, hashed */
	struct batch *free_batches;
	struct upload *first_upload, **last_upload;
	struct pack_builder *free_builders[UPLOADERS + 1];
	size_t free_builder_count, builders;
	unsigned uploading;
	bool packing; /* the packer is at a batch */
	bool stopping;
	struct err error;
	struct put_key *put; /* keys that were put */
	struct ingest_counts counts;

	struct pack_builder *builder; /* the packer's: the pack being filled */
	uint32_t builder_number;
	unsigned pending; /* names packs in the stage until their keys are known */

	pthread_t workers[WORKERS_MAX], uploaders[UPLOADERS], packer;
	unsigned worker_count, uploader_count;
	bool packer_started;
};

/* -- failure -------------------------------------------------------------------------------- */

static void fail(struct ingest *in, int code, const struct err *e)
{
	pthread_mutex_lock(&in->lock);
	if (!in->error.code) {
		if (e && e->code)
			in->error = *e;
		else
			err_set(&in->error, code, "publishing failed: %s", strerror(-code));
	}
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
}

static int failed_locked(struct ingest *in, struct err *e)
{
	if (!in->error.code && in->config.interrupted && atomic_load(in->config.interrupted))
		err_set(&in->error, -EINTR, "interrupted; nothing was published");
	return in->error.code ? err_move(e, &in->error) : 0;
}

/* Waits for a change; wakes up now and then, since a signal handler cannot tell. */
static void wait_locked(struct ingest *in)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 200 * 1000 * 1000;
	if (until.tv_nsec >= 1000 * 1000 * 1000) {
		until.tv_nsec -= 1000 * 1000 * 1000;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&in->changed, &in->lock, &until);
}

static int failed(struct ingest *in, struct err *e)
{
	pthread_mutex_lock(&in->lock);
	int r = failed_locked(in, e);
	pthread_mutex_unlock(&in->lock);
	return r;
}

static void file_free(struct file *f)
{
	if (!f)
		return;
	xxh128_free(f->hash);
	sha256_free(f->content);
	free(f->path);
	free(f);
}

/* -- batches -------------------------------------------------------------------------------- */

/* What the workers made of an item. */
static void item_clear(struct item *it)
{
	free(it->leaves);
	free(it->compressed);
	it->leaves = NULL;
	it->compressed = NULL;
}

static void batch_free(struct batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		item_clear(&b->items[i]);
		if (b->items[i].end)
			file_free(b->items[i].file);
	}
	free(b->bytes);
	free(b);
}

static struct batch *batch_new(size_t cap)
{
	struct batch *b = malloc(sizeof *b);
	unsigned char *bytes = malloc(cap);
	if (!b || !bytes) {
		free(b);
		free(bytes);
		return NULL;
	}
	b->bytes = bytes;
	b->cap = cap;
	b->len = b->count = 0;
	b->state = BATCH_FILLING;
	b->next = NULL;
	return b;
}

/* An empty batch of at least `cap` bytes: waits for one to come back (all are made at the start).  NULL: failed. */
static struct batch *batch_take(struct ingest *in, size_t cap)
{
	pthread_mutex_lock(&in->lock);
	while (!in->free_batches && !failed_locked(in, NULL))
		wait_locked(in);
	struct batch *b = failed_locked(in, NULL) ? NULL : in->free_batches;
	if (b)
		in->free_batches = b->next;
	pthread_mutex_unlock(&in->lock);
	if (b && (b->cap < cap || b->cap > BATCH_BYTES)) { /* one that held a giant record gives its room back */
		const size_t size = cap > BATCH_BYTES ? cap : BATCH_BYTES;
		unsigned char *bytes = b->cap == size ? b->bytes : malloc(size);
		if (!bytes) {
			fail(in, -ENOMEM, NULL);
			batch_free(b);
			return NULL;
		}
		if (bytes != b->bytes)
			free(b->bytes);
		b->bytes = bytes;
		b->cap = size;
	}
	return b;
}

static void batch_submit(struct ingest *in, struct batch *b)
{
	pthread_mutex_lock(&in->lock);
	b->state = BATCH_READY;
	b->next = NULL;
	*in->last = b;
	in->last = &b->next;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
}

/* -- workers -------------------------------------------------------------------------------- */

static int hash_item(struct ingest *in, struct codec *codec, struct batch *b, struct item *it)
{
	const unsigned char *bytes = b->bytes + it->offset;
	const uint32_t leaves = leaf_count((uint32_t)it->len);
	if (leaves && !(it->leaves = malloc(leaves * sizeof *it->leaves)))
		return -ENOMEM;
	chunk_digest_of(bytes, (uint32_t)it->len, it->leaves, &it->digest);
	xxh128_of(bytes, it->len, &it->hash);
	if (it->file->object || chunk_index_maybe(in->config.index, &it->digest))
		return 0;
	const void *stored;
	enum chunk_codec kind;
	int r = codec_pack(codec, bytes, it->len, &stored, &it->compressed_len, &kind);
	if (r || kind == CODEC_RAW)
		return r;
	it->compressed = malloc(it->compressed_len);
	if (!it->compressed)
		return -ENOMEM;
	memcpy(it->compressed, stored, it->compressed_len);
	return 0;
}

static void *worker(void *arg)
{
	struct ingest *in = arg;
	struct codec *codec = codec_new();
	if (!codec)
		fail(in, -ENOMEM, NULL);
	pthread_mutex_lock(&in->lock);
	while (!in->stopping) {
		struct batch *b = in->first;
		while (b && b->state != BATCH_READY)
			b = b->next;
		if (!b || !codec) {
			pthread_cond_wait(&in->changed, &in->lock);
			continue;
		}
		b->state = BATCH_HASHING;
		pthread_mutex_unlock(&in->lock);
		int r = 0;
		for (size_t i = 0; i < b->count && !r; i++) {
			if (b->items[i].len)
				r = hash_item(in, codec, b, &b->items[i]);
		}
		if (r)
			fail(in, r, NULL);
		pthread_mutex_lock(&in->lock);
		b->state = BATCH_HASHED;
		pthread_cond_broadcast(&in->changed);
	}
	pthread_mutex_unlock(&in->lock);
	codec_free(codec);
	return NULL;
}

/* -- uploads -------------------------------------------------------------------------------- */

static void remember_put(struct ingest *in, const char *key)
{
	struct put_key *k = malloc(sizeof *k);
	if (!k)
		return; /* then gc finds it */
	memcpy(k->key, key, sizeof k->key);
	pthread_mutex_lock(&in->lock);
	k->next = in->put;
	in->put = k;
	pthread_mutex_unlock(&in->lock);
}

static void *uploader(void *arg)
{
	struct ingest *in = arg;
	pthread_mutex_lock(&in->lock);
	for (;;) {
		struct upload *u = in->first_upload;
		if (!u) {
			if (in->stopping)
				break;
			pthread_cond_wait(&in->changed, &in->lock);
			continue;
		}
		in->first_upload = u->next;
		if (!in->first_upload)
			in->last_upload = &in->first_upload;
		const bool skip = in->config.dry_run || failed_locked(in, NULL) || in->stopping;
		in->uploading++;
		pthread_mutex_unlock(&in->lock);
		if (!skip) {
			struct err e = ERR_INIT;
			remember_put(in, u->key);
			int r = store_put(in->config.store, u->key, u->bytes, u->len, PUT_REPLACE, &e);
			if (r)
				fail(in, r, &e);
		}
		pack_builder_reset(u->builder);
		pthread_mutex_lock(&in->lock);
		in->free_builders[in->free_builder_count++] = u->builder;
		in->uploading--;
		free(u);
		pthread_cond_broadcast(&in->changed);
	}
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

/* -- the packer ----------------------------------------------------------------------------- */

static int builder_take(struct ingest *in)
{
	struct manifest_pack pending = { .size = 0 };
	pthread_mutex_lock(&in->lock);
	while (!in->free_builder_count && in->builders > UPLOADERS && !in->error.code)
		pthread_cond_wait(&in->changed, &in->lock);
	if (in->free_builder_count)
		in->builder = in->free_builders[--in->free_builder_count];
	const bool make = !in->builder && !in->error.code;
	in->builders += make;
	pthread_mutex_unlock(&in->lock);
	if (make)
		in->builder = pack_builder_new();
	if (!in->builder)
		return -ENOMEM;
	snprintf(pending.key, sizeof pending.key, "pending-%u", in->pending++);
	return stage_pack(in->config.stage, &pending, &in->builder_number, NULL);
}

/* Closes the pack and hands it to the uploaders. */
static int builder_close(struct ingest *in)
{
	struct manifest_pack pack;
	struct upload *u = malloc(sizeof *u);
	if (!u)
		return -ENOMEM;
	int r = pack_builder_finish(in->builder, &u->bytes, &u->len, &pack);
	if (!r)
		r = stage_pack_set(in->config.stage, in->builder_number, &pack, NULL);
	if (r) {
		free(u);
		return r;
	}
	u->builder = in->builder;
	in->builder = NULL;
	memcpy(u->key, pack.key, sizeof u->key);
	u->next = NULL;
	pthread_mutex_lock(&in->lock);
	*in->last_upload = u;
	in->last_upload = &u->next;
	in->counts.stored_bytes += u->len;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
	return 0;
}

struct known_search {
	struct ingest *in;
	const struct item *item;
	struct manifest_chunk chunk;
};

/* Is the reference the very chunk?  1 and its place (with the stage's pack number), 0, or -errno. */
static int match_known(void *arg, unsigned source, uint64_t id)
{
	struct known_search *k = arg;
	struct ingest *in = k->in;
	int r = source ? manifest_chunk_by_id(in->config.known[source - 1], id, &k->chunk)
		       : stage_chunk_get(in->config.stage, id, &k->chunk, NULL);
	if (r)
		return r;
	if (!digest_equal(&k->chunk.digest, &k->item->digest) || k->chunk.length != k->item->len)
		return 0;
	if (!source)
		return 1;
	struct manifest_pack pack;
	r = manifest_pack(in->config.known[source - 1], k->chunk.pack, &pack);
	if (!r)
		r = stage_pack(in->config.stage, &pack, &k->chunk.pack, NULL);
	return r ? r : 1;
}

/* Puts a new chunk into the pack under way; `c` gets its place. */
static int pack_chunk(struct ingest *in, const struct batch *b, const struct item *it, struct manifest_chunk *c)
{
	c->codec = it->compressed ? CODEC_ZSTD : CODEC_RAW;
	c->stored_length = (uint32_t)(it->compressed ? it->compressed_len : it->len);
	int r = 0;
	if (in->builder && pack_builder_full(in->builder, c->stored_length))
		r = builder_close(in);
	if (!r && !in->builder)
		r = builder_take(in);
	if (!r)
		r = pack_builder_add(in->builder, it->compressed ? it->compressed : b->bytes + it->offset, c);
	c->pack = in->builder_number;
	return r;
}

/* 0; or 1 when the chunk is new in a pack of ours. */
static int place_chunk(struct ingest *in, const struct batch *b, const struct item *it, struct manifest_chunk *c)
{
	struct file *f = it->file;
	if (f->object) {
		c->pack = f->object;
		c->pack_offset = c->raw_offset = c->file_offset;
		c->stored_length = c->length;
		c->slot = f->entry.chunk_count;
		return 0;
	}
	struct known_search k = { .in = in, .item = it };
	int r = chunk_index_find(in->config.index, &it->digest, match_known, &k);
	if (r < 0)
		return r;
	if (!r) {
		pthread_mutex_lock(&in->lock);
		in->counts.new_bytes += it->len;
		pthread_mutex_unlock(&in->lock);
		r = pack_chunk(in, b, it, c);
		return r ? r : 1;
	}
	const uint64_t file_offset = c->file_offset;
	const uint32_t piece = c->piece;
	*c = k.chunk;
	c->file_offset = file_offset;
	c->piece = piece;
	return 0;
}

static int pack_item(struct ingest *in, const struct batch *b, const struct item *it, struct err *e)
{
	struct file *f = it->file;
	struct manifest_chunk c = { .digest = it->digest,
				    .hash = it->hash,
				    .length = (uint32_t)it->len,
				    .file_offset = f->entry.size,
				    .piece = f->pieces };
	const struct publish_observer *o = in->config.observer;
	uint64_t id;
	int r = place_chunk(in, b, it, &c);
	const bool is_new = r > 0;
	if (r >= 0)
		r = stage_chunk(in->config.stage, &c, it->leaves, &id, e);
	if (!r && is_new)
		r = chunk_index_add(in->config.index, &it->digest, 0, id);
	if (!r && !f->content && !(f->content = sha256_new()))
		r = -ENOMEM;
	if (r)
		return r;
	sha256_update(f->content, it->digest.bytes, SHA256_SIZE);
	if (!f->entry.chunk_count++)
		f->first_chunk = id;
	f->entry.size += it->len;
	f->pieces += piece_count(c.length);
	f->last = c;
	if (o && o->bytes)
		r = o->bytes(o->arg, f->path, b->bytes + it->offset, it->len, e);
	return r;
}

static int finish_file(struct ingest *in, struct item *it, struct err *e)
{
	struct file *f = it->file;
	struct manifest_entry *en = &f->entry;
	const struct publish_observer *o = in->config.observer;
	if (it->discard)
		return 0;
	if (en->chunk_count == 1)
		en->hash = f->last.hash;
	else if (f->hash)
		xxh128_final(f->hash, &en->hash);
	else
		xxh128_of("", 0, &en->hash);
	if (f->content)
		sha256_final(f->content, &en->content);
	else
		sha256_of("", 0, &en->content);
	int r = o && o->file_end ? o->file_end(o->arg, f->path, e) : 0;
	return r ? r : stage_put(in->config.stage, f->path, en, f->first_chunk, NULL, 0, f->replace, e);
}

static void pack_batch(struct ingest *in, struct batch *b)
{
	struct err e = ERR_INIT;
	const struct publish_observer *o = in->config.observer;
	uint64_t bytes = 0;
	pthread_mutex_lock(&in->stage_lock);
	int r = failed(in, NULL);
	for (size_t i = 0; i < b->count; i++) {
		struct item *it = &b->items[i];
		struct file *f = it->file;
		if (!r && !f->begun) {
			f->begun = true;
			uint64_t size = f->entry.size;
			f->entry.size = 0; /* from here on: what was packed */
			r = o && o->file_begin ? o->file_begin(o->arg, f->path, size, &e) : 0;
		}
		if (!r)
			r = it->end ? finish_file(in, it, &e) : pack_item(in, b, it, &e);
		bytes += it->len;
		item_clear(it);
		if (it->end)
			file_free(f);
	}
	pthread_mutex_unlock(&in->stage_lock);
	if (r)
		fail(in, r, &e);
	progress_add(in->config.progress, bytes);
	b->len = b->count = 0;
	b->state = BATCH_FILLING;
	pthread_mutex_lock(&in->lock);
	in->counts.bytes += bytes;
	pthread_mutex_unlock(&in->lock);
}

static void *packer(void *arg)
{
	struct ingest *in = arg;
	pthread_mutex_lock(&in->lock);
	while (!in->stopping) {
		struct batch *b = in->first;
		if (!b || b->state != BATCH_HASHED) {
			pthread_cond_wait(&in->changed, &in->lock);
			continue;
		}
		in->first = b->next;
		if (!in->first)
			in->last = &in->first;
		in->packing = true;
		pthread_mutex_unlock(&in->lock);
		pack_batch(in, b);
		pthread_mutex_lock(&in->lock);
		in->packing = false;
		b->next = in->free_batches;
		in->free_batches = b;
		pthread_cond_broadcast(&in->changed);
	}
	pthread_mutex_unlock(&in->lock);
	return NULL;
}

/* -- the reader ----------------------------------------------------------------------------- */

/* Room for another item in the batch being filled, with at least `room` bytes after the `keep` last ones (the start of a chunk), which
 * move along when a new batch is begun. */
static int need_room(struct ingest *in, size_t keep, size_t room)
{
	struct batch *b = in->filling;
	if (b && b->count + 2 <= BATCH_ITEMS && b->cap - b->len >= room)
		return 0;
	struct batch *next = batch_take(in, keep + room);
	if (!next)
		return -EIO;
	if (b) {
		memcpy(next->bytes, b->bytes + b->len - keep, keep);
		b->len -= keep;
		batch_submit(in, b);
	}
	next->len = keep;
	in->filling = next;
	return 0;
}

static void add_item(struct ingest *in, struct item it)
{
	struct batch *b = in->filling;
	b->items[b->count++] = it;
}

/* State of one file's way through the reader. */
struct feed {
	struct ingest *in;
	const struct ingest_source *source;
	struct file *file;
	struct chunker *chunker;
	uint64_t left; /* bytes of the source */
	size_t open;   /* bytes at the end of the batch that are in no chunk yet */
};

static int feed_start(struct feed *f)
{
	const struct batch *b = f->in->filling;
	char separator = 0;
	enum chunk_rule rule = f->source->cuts ? CHUNK_BYTES
					       : chunk_rule_for(f->source->path, b->bytes + b->len - f->open, f->open, &separator);
	f->chunker = chunker_new(rule, separator);
	if (!f->chunker)
		return -ENOMEM;
	return f->source->cuts ? chunker_force(f->chunker, f->source->cuts, f->source->cut_count) : 0;
}

/* Cuts what is there into items. */
static int feed_cut(struct feed *f)
{
	for (;;) {
		struct batch *b = f->in->filling;
		size_t n = chunker_next(f->chunker, b->bytes + b->len - f->open, f->open, f->left == 0);
		if (!n)
			return 0;
		add_item(f->in, (struct item){ .file = f->file, .offset = b->len - f->open, .len = n });
		f->open -= n;
		if (b->count + 2 > BATCH_ITEMS && need_room(f->in, f->open, f->left ? READ_STEP : 0))
			return -EIO;
	}
}

static int feed_read(struct feed *f, struct err *e)
{
	struct ingest *in = f->in;
	size_t step = f->left < READ_STEP ? (size_t)f->left : READ_STEP;
	/* A chunk that outgrew half a batch (a giant record) doubles its room each time it moves. */
	size_t room = in->filling && in->filling->cap - in->filling->len >= step ? step : f->open > step ? f->open : step;
	int r = need_room(in, f->open, room);
	if (r)
		return r;
	struct batch *b = in->filling;
	size_t got = 0;
	r = f->source->read(f->source->arg, b->bytes + b->len, step, &got, e);
	if (!r && !got)
		r = err_set(e, -EBUSY, "%s: the file became shorter while it was read; publish again when nothing writes it",
			    f->source->path);
	if (r)
		return r;
	if (f->file->hash)
		xxh128_update(f->file->hash, b->bytes + b->len, got);
	b->len += got;
	f->open += got;
	f->left -= got;
	return 0;
}

static struct file *file_new(const struct ingest_source *s)
{
	struct file *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	f->path = strdup(s->path);
	f->entry = (struct manifest_entry){ .kind = ENTRY_FILE, .executable = s->executable, .mtime_ns = s->mtime_ns, .size = s->size };
	f->replace = s->replace;
	f->object = s->object;
	if (s->size > CHUNK_MIN - 64 || s->cuts) /* else it is one chunk */
		f->hash = xxh128_new();
	if (!f->path || ((s->size > CHUNK_MIN - 64 || s->cuts) && !f->hash)) {
		file_free(f);
		return NULL;
	}
	return f;
}

static int feed_all(struct feed *f, struct err *e)
{
	/* An empty file needs an item of its own, in a batch. */
	int r = need_room(f->in, 0, f->left < BATCH_BYTES / 2 ? (size_t)f->left : READ_STEP);
	/* The head decides how the file is cut. */
	while (!r && f->left && f->open < CHUNK_SNIFF)
		r = feed_read(f, e);
	if (!r)
		r = feed_start(f);
	while (!r) {
		r = feed_cut(f);
		if (r || !f->left)
			break;
		r = feed_read(f, e);
	}
	if (!r && f->source->check)
		r = f->source->check(f->source->arg, e);
	return r;
}

int ingest_file(struct ingest *in, const struct ingest_source *source, struct err *e)
{
	struct err own = ERR_INIT;
	struct feed f = { .in = in, .source = source, .left = source->size };
	int r = failed(in, e);
	if (r)
		return r;
	f.file = file_new(source);
	if (!f.file)
		return err_set(e, -ENOMEM, "no memory");
	pthread_mutex_lock(&in->reader);
	r = feed_all(&f, &own);
	if (in->filling) { /* need_room keeps a place for the end */
		in->filling->len -= f.open; /* bytes of a file that failed */
		f.file->entry.aligned = f.chunker && chunker_aligned(f.chunker);
		add_item(in, (struct item){ .file = f.file, .end = true, .discard = r != 0 });
	} else {
		file_free(f.file); /* no batch was to be had, so that nothing refers to it */
	}
	pthread_mutex_unlock(&in->reader);
	chunker_free(f.chunker);
	if (r && !own.code)
		failed(in, &own);
	if (r && !own.code)
		err_set(&own, r, "%s: %s", source->path, strerror(-r));
	return r ? err_move(e, &own) : 0;
}

int ingest_entry(struct ingest *in, const char *path, const struct manifest_entry *entry, const char *target, size_t target_len,
		 bool replace, struct err *e)
{
	pthread_mutex_lock(&in->stage_lock);
	int r = stage_put(in->config.stage, path, entry, 0, target, target_len, replace, e);
	pthread_mutex_unlock(&in->stage_lock);
	return r;
}

/* -- start and stop ------------------------------------------------------------------------- */

int ingest_flush(struct ingest *in, struct err *e)
{
	pthread_mutex_lock(&in->reader);
	if (in->filling && in->filling->count) {
		batch_submit(in, in->filling);
		in->filling = NULL;
	}
	pthread_mutex_unlock(&in->reader);
	pthread_mutex_lock(&in->lock);
	while ((in->first || in->packing) && !failed_locked(in, NULL))
		wait_locked(in);
	int r = failed_locked(in, e);
	pthread_mutex_unlock(&in->lock);
	return r;
}

int ingest_finish(struct ingest *in, struct err *e)
{
	int r = ingest_flush(in, e);
	if (!r && in->builder && !pack_builder_empty(in->builder)) {
		pthread_mutex_lock(&in->stage_lock);
		r = builder_close(in);
		pthread_mutex_unlock(&in->stage_lock);
		if (r)
			return err_set(e, r, "cannot finish a pack: %s", strerror(-r));
	}
	if (r)
		return r;
	pthread_mutex_lock(&in->lock);
	while ((in->first_upload || in->uploading) && !failed_locked(in, NULL))
		wait_locked(in);
	r = failed_locked(in, e);
	pthread_mutex_unlock(&in->lock);
	return r;
}

void ingest_counts(struct ingest *in, struct ingest_counts *ret)
{
	pthread_mutex_lock(&in->lock);
	*ret = in->counts;
	pthread_mutex_unlock(&in->lock);
}

static int start_threads(struct ingest *in)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned workers = cpus < 1 ? 1 : cpus > WORKERS_MAX ? WORKERS_MAX : (unsigned)cpus;
	for (unsigned i = 0; i < workers + 3; i++) { /* one filling, one packing, one ready */
		struct batch *b = batch_new(BATCH_BYTES);
		if (!b)
			return -ENOMEM;
		b->next = in->free_batches;
		in->free_batches = b;
	}
	int r = 0;
	for (; !r && in->worker_count < workers; in->worker_count += !r)
		r = thread_start(&in->workers[in->worker_count], "mesh-hash", worker, in);
	for (; !r && in->uploader_count < UPLOADERS; in->uploader_count += !r)
		r = thread_start(&in->uploaders[in->uploader_count], "mesh-put", uploader, in);
	if (!r)
		r = thread_start(&in->packer, "mesh-pack", packer, in);
	in->packer_started = !r;
	return r;
}

int ingest_start(const struct ingest_config *config, struct ingest **ret, struct err *e)
{
	struct ingest *in = calloc(1, sizeof *in);
	if (!in)
		return err_set(e, -ENOMEM, "no memory");
	in->config = *config;
	in->last = &in->first;
	in->last_upload = &in->first_upload;
	pthread_mutex_init(&in->reader, NULL);
	pthread_mutex_init(&in->stage_lock, NULL);
	pthread_mutex_init(&in->lock, NULL);
	pthread_cond_init(&in->changed, NULL);
	int r = start_threads(in);
	if (r) {
		ingest_free(in, false);
		return err_set(e, r, "cannot start the publishing threads: %s", strerror(-r));
	}
	*ret = in;
	return 0;
}

static void undo_puts(struct ingest *in, bool undo)
{
	while (in->put) {
		struct put_key *k = in->put;
		in->put = k->next;
		/* A store that does not answer keeps garbage; gc removes it. */
		if (undo && store_delete(in->config.store, k->key, NULL))
			undo = false;
		free(k);
	}
}

static void batches_free(struct batch *b)
{
	while (b) {
		struct batch *next = b->next;
		batch_free(b);
		b = next;
	}
}

void ingest_free(struct ingest *in, bool undo)
{
	if (!in)
		return;
	pthread_mutex_lock(&in->lock);
	in->stopping = true;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
	for (unsigned i = 0; i < in->worker_count; i++)
		pthread_join(in->workers[i], NULL);
	if (in->packer_started)
		pthread_join(in->packer, NULL);
	for (unsigned i = 0; i < in->uploader_count; i++)
		pthread_join(in->uploaders[i], NULL);
	undo_puts(in, undo);
	batches_free(in->first);
	batches_free(in->free_batches);
	batch_free(in->filling);
	pack_builder_free(in->builder);
	while (in->free_builder_count)
		pack_builder_free(in->free_builders[--in->free_builder_count]);
	pthread_mutex_destroy(&in->reader);
	pthread_mutex_destroy(&in->stage_lock);
	pthread_mutex_destroy(&in->lock);
	pthread_cond_destroy(&in->changed);
	free(in);
}
