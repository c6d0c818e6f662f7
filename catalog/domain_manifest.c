/*
 * Manifests of a domain: from memory, the cache folder, or the store, in this order.
 *
 * Concurrent calls for one manifest share one load and its outcome.  A file in the cache is hashed when this process first
 * opens it, and fetched again when it does not match.
 */
#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/domain_private.h"
#include "catalog/snapshot_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_MAX 64  /* manifests kept open though nobody may use them */
#define LOAD_TRIES 5 /* for a copy that is gone before it was opened */

struct slot {
	struct manifest *manifest; /* a reference; NULL while loading and after a failure */
	bool loading;
	unsigned waiters;
	uint64_t attempt; /* counts loads that ended: a waiter knows its own by it */
	int failed;       /* how the last one ended */
	struct err why;
	uint64_t used; /* by the cache's clock */
	struct digest digest;
};

struct manifest_cache {
	pthread_mutex_t lock; /* guards everything; not held while loading */
	pthread_cond_t loaded;
	struct map *slots; /* digest → struct slot */
	uint64_t clock;
};

static void slot_free(void *arg)
{
	struct slot *slot = arg;
	manifest_unref(slot->manifest);
	free(slot);
}

int manifest_cache_new(struct manifest_cache **ret)
{
	struct manifest_cache *c = calloc(1, sizeof *c);
	if (!c || !(c->slots = map_new())) {
		free(c);
		return -ENOMEM;
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->loaded, NULL);
	*ret = c;
	return 0;
}

void manifest_cache_free(struct manifest_cache *c)
{
	if (!c)
		return;
	map_free(c->slots, slot_free);
	pthread_cond_destroy(&c->loaded);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static struct slot *slot_get_locked(struct manifest_cache *c, const struct digest *digest)
{
	struct slot *slot = map_get(c->slots, digest->bytes, SHA256_SIZE);
	if (slot)
		return slot;
	slot = calloc(1, sizeof *slot);
	if (!slot)
		return NULL;
	slot->digest = *digest;
	if (map_set(c->slots, digest->bytes, SHA256_SIZE, slot, NULL)) {
		free(slot);
		return NULL;
	}
	return slot;
}

/* Drops the slot that was used longest ago; what others hold stays open for them. */
static void evict_locked(struct manifest_cache *c)
{
	const void *key;
	size_t key_len;
	void *value;
	struct slot *oldest = NULL;
	for (size_t i = 0; map_next(c->slots, &i, &key, &key_len, &value);) {
		struct slot *slot = value;
		if (!slot->loading && !slot->waiters && (!oldest || slot->used < oldest->used))
			oldest = slot;
	}
	if (!oldest)
		return;
	map_remove(c->slots, oldest->digest.bytes, SHA256_SIZE);
	slot_free(oldest);
}

/* One file serves one version: a catalog that names it for another is broken. */
static int give(struct domain *d, struct slot *slot, const char *product, const struct version_info *v, struct manifest **ret, struct err *e)
{
	const struct manifest_info *info = manifest_info(slot->manifest);
	if (strcmp(info->product, product) != 0 || strcmp(info->version, v->version) != 0)
		return err_set(e, -EBADMSG, "%s/%s/%s: its manifest is that of %s/%s", d->name, product, v->version, info->product,
			       info->version);
	*ret = manifest_ref(slot->manifest);
	return 0;
}

static char *path_of(struct domain *d, const struct digest *digest)
{
	char hex[SHA256_HEX_SIZE];
	hex_format(digest->bytes, SHA256_SIZE, hex);
	return io_join(d->manifests_folder, hex);
}

/* 0 when the cached file is whole; -ENOENT when it is not there or had to be removed. */
static int check_cached(const char *path, const struct version_info *v)
{
	struct digest found;
	uint64_t size;
	int r = digest_of_file(path, &found, &size, NULL);
	if (r)
		return r;
	if (digest_equal(&found, &v->manifest))
		return 0;
	unlink(path);
	return -ENOENT;
}

/* -ENOENT: the cached file was there and is gone (a cleaner, an operator who empties the cache); -EAGAIN: only the store has it. */
static int load_once(struct domain *d, const char *product, const struct version_info *v, bool network, struct manifest **ret, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	char *path = path_of(d, &v->manifest);
	if (!path)
		return err_set(e, -ENOMEM, "%s: out of memory", d->name);
	manifest_key(&v->manifest, key);
	int r = check_cached(path, v);
	if (r && !network) {
		free(path);
		return -EAGAIN;
	}
	if (r) {
		free(path);
		path = NULL;
		r = domain_fetch(d, key, v->manifest_size, &v->manifest, d->manifests_folder, &path, e);
		if (r == -ENOENT)
			r = err_set(e, -EIO, "%s/%s/%s: its manifest is not in the store; restore it, or withdraw the version", d->name,
				    product, v->version);
	}
	if (!r)
		r = manifest_open(path, d->name, product, v->version, ret, e);
	if (!r)
		manifest_set_digest(*ret, &v->manifest);
	else if (r == -EBADMSG)
		r = err_advise(e, r, "whoever runs domain %s must restore %s in its store from a copy, or withdraw the version", d->name, key);
	free(path);
	return r;
}

/* Never -ENOENT: the version is there, whatever became of a copy of its manifest. */
static int load(struct domain *d, const char *product, const struct version_info *v, bool network, struct manifest **ret, struct err *e)
{
	struct err why = ERR_INIT;
	int r = -ENOENT;
	for (int i = 0; i < LOAD_TRIES && r == -ENOENT; i++) {
		err_clear(&why);
		r = load_once(d, product, v, network, ret, &why);
	}
	if (r == -ENOENT && !network)
		r = -EAGAIN;
	else if (r == -ENOENT)
		r = err_set(e, -EIO, "%s/%s/%s: something removes its manifest from %s as soon as it is there", d->name, product, v->version,
			    d->manifests_folder);
	else if (r)
		err_move(e, &why);
	return r;
}

/* Waits for the load under way, or makes one.  The lock is held on entry and on return. */
static int load_locked(struct domain *d, struct slot *slot, const char *product, const struct version_info *v, bool network, struct err *e)
{
	struct manifest_cache *c = d->manifests;
	if (slot->loading && !network)
		return -EAGAIN;
	if (slot->loading) {
		uint64_t attempt = slot->attempt;
		slot->waiters++;
		while (slot->loading && slot->attempt == attempt)
			pthread_cond_wait(&c->loaded, &c->lock);
		slot->waiters--;
		if (slot->manifest)
			return 0;
		if (slot->failed == -EAGAIN) /* that one was not allowed to ask the store */
			return load_locked(d, slot, product, v, network, e);
		err_move(e, &slot->why);
		return slot->failed;
	}
	struct manifest *m = NULL;
	struct err why = ERR_INIT;
	slot->loading = true;
	pthread_mutex_unlock(&c->lock);
	int r = load(d, product, v, network, &m, &why);
	pthread_mutex_lock(&c->lock);
	slot->loading = false;
	slot->attempt++;
	slot->manifest = m;
	slot->failed = r;
	slot->why = why;
	pthread_cond_broadcast(&c->loaded);
	if (r)
		err_move(e, &why);
	return r;
}

static int get(struct domain *d, const char *product, const struct version_info *v, bool network, struct manifest **ret, struct err *e)
{
	struct manifest_cache *c = d->manifests;
	pthread_mutex_lock(&c->lock);
	struct slot *slot = slot_get_locked(c, &v->manifest);
	int r = slot ? 0 : err_set(e, -ENOMEM, "%s: out of memory", d->name);
	if (!r) {
		slot->used = ++c->clock;
		if (!slot->manifest)
			r = load_locked(d, slot, product, v, network, e);
	}
	if (!r)
		r = give(d, slot, product, v, ret, e);
	if (map_count(c->slots) > OPEN_MAX)
		evict_locked(c);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int domain_manifest(struct domain *d, const char *product, const struct version_info *v, struct manifest **ret, struct err *e)
{
	return get(d, product, v, true, ret, e);
}

int domain_manifest_cached(struct domain *d, const char *product, const struct version_info *v, struct manifest **ret, struct err *e)
{
	return get(d, product, v, false, ret, e);
}
