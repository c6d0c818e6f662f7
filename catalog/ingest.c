#include "catalog/ingest_private.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 200 /* how often who waits looks whether it is interrupted */

/* -- failure ----------------------------------------------------------------------------------- */

void ingest_fail(struct ingest *in, int code, const struct err *e)
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

int ingest_failed_locked(struct ingest *in, struct err *e)
{
	if (!in->error.code && in->config.interrupted && atomic_load(in->config.interrupted))
		err_set(&in->error, -EINTR, "interrupted; nothing was published");
	return in->error.code ? err_move(e, &in->error) : 0;
}

void ingest_wait_locked(struct ingest *in)
{
	struct timespec until;
	clock_deadline(CLOCK_REALTIME, LOOK_MS, &until);
	pthread_cond_timedwait(&in->changed, &in->lock, &until);
}

int ingest_failed(struct ingest *in, struct err *e)
{
	pthread_mutex_lock(&in->lock);
	int r = ingest_failed_locked(in, e);
	pthread_mutex_unlock(&in->lock);
	return r;
}

void ingest_file_free(struct file *f)
{
	if (!f)
		return;
	xxh128_free(f->hash);
	sha256_free(f->content);
	free(f->path);
	free(f);
}

/* -- batches ----------------------------------------------------------------------------------- */

void ingest_item_clear(struct item *it)
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
		ingest_item_clear(&b->items[i]);
		if (b->items[i].end)
			ingest_file_free(b->items[i].file);
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

struct batch *ingest_batch_take(struct ingest *in, size_t cap)
{
	pthread_mutex_lock(&in->lock);
	while (!in->free_batches && !ingest_failed_locked(in, NULL))
		ingest_wait_locked(in);
	struct batch *b = ingest_failed_locked(in, NULL) ? NULL : in->free_batches;
	if (b)
		in->free_batches = b->next;
	pthread_mutex_unlock(&in->lock);
	if (b && (b->cap < cap || b->cap > BATCH_BYTES)) { /* one that held a giant record gives its room back */
		const size_t size = cap > BATCH_BYTES ? cap : BATCH_BYTES;
		unsigned char *bytes = b->cap == size ? b->bytes : malloc(size);
		if (!bytes) {
			ingest_fail(in, -ENOMEM, NULL);
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

void ingest_batch_submit(struct ingest *in, struct batch *b)
{
	pthread_mutex_lock(&in->lock);
	b->state = BATCH_READY;
	b->next = NULL;
	*in->last = b;
	in->last = &b->next;
	pthread_cond_broadcast(&in->changed);
	pthread_mutex_unlock(&in->lock);
}

/* -- start and stop ---------------------------------------------------------------------------- */
int ingest_flush(struct ingest *in, struct err *e)
{
	pthread_mutex_lock(&in->reader);
	if (in->filling && in->filling->count) {
		ingest_batch_submit(in, in->filling);
		in->filling = NULL;
	}
	pthread_mutex_unlock(&in->reader);
	pthread_mutex_lock(&in->lock);
	while ((in->first || in->packing) && !ingest_failed_locked(in, NULL))
		ingest_wait_locked(in);
	int r = ingest_failed_locked(in, e);
	pthread_mutex_unlock(&in->lock);
	return r;
}

int ingest_finish(struct ingest *in, struct err *e)
{
	int r = ingest_flush(in, e);
	if (!r && in->builder && !pack_builder_empty(in->builder)) {
		pthread_mutex_lock(&in->stage_lock);
		r = ingest_builder_close(in);
		pthread_mutex_unlock(&in->stage_lock);
		if (r)
			return err_set(e, r, "cannot finish a pack: %s", strerror(-r));
	}
	if (r)
		return r;
	pthread_mutex_lock(&in->lock);
	while ((in->first_upload || in->uploading) && !ingest_failed_locked(in, NULL))
		ingest_wait_locked(in);
	r = ingest_failed_locked(in, e);
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
		r = thread_start(&in->workers[in->worker_count], "mesh-hash", ingest_worker, in);
	for (; !r && in->uploader_count < UPLOADERS; in->uploader_count += !r)
		r = thread_start(&in->uploaders[in->uploader_count], "mesh-put", ingest_uploader, in);
	if (!r)
		r = thread_start(&in->packer, "mesh-pack", ingest_packer, in);
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
	ingest_undo_puts(in, undo);
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
