/* The workers and the packer of ingest: chunks to hashes, packs and the stage. */
#include "catalog/ingest_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- workers ----------------------------------------------------------------------------------- */

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

void *ingest_worker(void *arg)
{
	struct ingest *in = arg;
	struct codec *codec = codec_new();
	if (!codec)
		ingest_fail(in, -ENOMEM, NULL);
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
			ingest_fail(in, r, NULL);
		pthread_mutex_lock(&in->lock);
		b->state = BATCH_HASHED;
		pthread_cond_broadcast(&in->changed);
	}
	pthread_mutex_unlock(&in->lock);
	codec_free(codec);
	return NULL;
}

/* -- the packer -------------------------------------------------------------------------------- */
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
		r = ingest_builder_close(in);
	if (!r && !in->builder)
		r = ingest_builder_take(in);
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
	int r = ingest_failed(in, NULL);
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
		ingest_item_clear(it);
		if (it->end)
			ingest_file_free(f);
	}
	pthread_mutex_unlock(&in->stage_lock);
	if (r)
		ingest_fail(in, r, &e);
	progress_add(in->config.progress, bytes);
	b->len = b->count = 0;
	b->state = BATCH_FILLING;
	pthread_mutex_lock(&in->lock);
	in->counts.bytes += bytes;
	pthread_mutex_unlock(&in->lock);
}

void *ingest_packer(void *arg)
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
