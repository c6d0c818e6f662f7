/*
 * Inside ingest: what its threads pass along.
 *
 * The reader (ingest_read.c) cuts files into items of a batch; the workers hash and compress, the packer, one thread, puts items in order into packs and
 * the stage (ingest_pack.c); the putters upload the packs (ingest_put.c).
 */
#ifndef MESHFS_CATALOG_INGEST_PRIVATE_H
#define MESHFS_CATALOG_INGEST_PRIVATE_H

#include "catalog/ingest.h"

#include "catalog/pack.h"

#include <pthread.h>

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

/* The first failure counts; `e` may be NULL or without a message. */
void ingest_fail(struct ingest *in, int code, const struct err *e);
int ingest_failed(struct ingest *in, struct err *e);
int ingest_failed_locked(struct ingest *in, struct err *e);
/* Waits for a change; wakes up now and then, since a signal handler cannot tell. */
void ingest_wait_locked(struct ingest *in);

void ingest_file_free(struct file *f); /* NULL is legal */
/* Frees what the workers made of an item. */
void ingest_item_clear(struct item *it);
/* An empty batch of at least `cap` bytes: waits for one to come back (all are made at the start).  NULL: failed. */
struct batch *ingest_batch_take(struct ingest *in, size_t cap);
void ingest_batch_submit(struct ingest *in, struct batch *b);

/* The packer's: a pack to fill; a full one to the putters. */
int ingest_builder_take(struct ingest *in);
int ingest_builder_close(struct ingest *in);
/* Deletes what was put, as far as the store answers, when `undo`; forgets it. */
void ingest_undo_puts(struct ingest *in, bool undo);

/* Threads; the argument is the struct ingest. */
void *ingest_worker(void *arg);
void *ingest_packer(void *arg);
void *ingest_uploader(void *arg);

#endif
