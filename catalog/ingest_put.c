/* The putters of ingest: packs to the store. */
#include "catalog/ingest_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

void *ingest_uploader(void *arg)
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
		const bool skip = in->config.dry_run || ingest_failed_locked(in, NULL) || in->stopping;
		in->uploading++;
		pthread_mutex_unlock(&in->lock);
		if (!skip) {
			struct err e = ERR_INIT;
			remember_put(in, u->key);
			int r = store_put(in->config.store, u->key, u->bytes, u->len, PUT_REPLACE, &e);
			if (r)
				ingest_fail(in, r, &e);
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

int ingest_builder_take(struct ingest *in)
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

int ingest_builder_close(struct ingest *in)
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

void ingest_undo_puts(struct ingest *in, bool undo)
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
