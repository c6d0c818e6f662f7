/* The cache as a whole: what lies in it, making room, checking it. */
#include "fs/cache.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORPHAN_AGE_NS (600 * NS_PER_S) /* half-made files younger than this may be another process's work */

static bool is_folder_name(const char *name)
{
	return name[0] != '.' && strchr(name, '/') == NULL;
}

static int each_name(const char *folder, int (*each)(void *arg, const char *path, const char *name), void *arg)
{
	DIR *d = opendir(folder);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	struct dirent *e;
	int r = 0;
	while (!r && (e = readdir(d))) {
		if (!is_folder_name(e->d_name))
			continue;
		char *path = io_join(folder, e->d_name);
		r = path ? each(arg, path, e->d_name) : -ENOMEM;
		free(path);
	}
	closedir(d);
	return r;
}

struct walk {
	int (*each)(void *arg, const struct blob_info *info);
	void *arg;
	const char *domain;
};

static int walk_file(void *arg, const char *path, const char *name)
{
	struct walk *w = arg;
	struct stat data, state;
	size_t n = strlen(name);
	char hex[SHA256_HEX_SIZE];
	struct blob_info info = { .domain = w->domain, .data_path = path };
	if (n != 1 + 64 + strlen(".data") || !text_ends(name, ".data"))
		return 0;
	info.kind = (enum blob_kind)name[0];
	memcpy(hex, name + 1, 64);
	hex[64] = '\0';
	if (hex_parse(hex, info.name.bytes, SHA256_SIZE) || lstat(path, &data))
		return 0;
	char *state_path = text_format("%.*s.state", (int)(strlen(path) - strlen(".data")), path);
	if (!state_path)
		return -ENOMEM;
	info.state_path = state_path;
	info.size_bytes = (uint64_t)data.st_size;
	info.allocated_bytes = (uint64_t)data.st_blocks * 512;
	if (!lstat(state_path, &state)) {
		info.allocated_bytes += (uint64_t)state.st_blocks * 512;
		info.used_ns = (int64_t)state.st_mtim.tv_sec * NS_PER_S + state.st_mtim.tv_nsec;
	} else {
		info.used_ns = (int64_t)data.st_mtim.tv_sec * NS_PER_S;
	}
	int r = w->each(w->arg, &info);
	free(state_path);
	return r;
}

static int walk_shard(void *arg, const char *path, const char *name)
{
	return strlen(name) == 2 ? each_name(path, walk_file, arg) : 0;
}

static int walk_domain(void *arg, const char *path, const char *name)
{
	struct walk *w = arg;
	w->domain = name;
	char *blobs = io_join(path, "blobs");
	int r = blobs ? each_name(blobs, walk_shard, w) : -ENOMEM;
	free(blobs);
	return r;
}

int cache_walk(struct cache *c, int (*each)(void *arg, const struct blob_info *info), void *arg)
{
	struct walk w = { each, arg, NULL };
	return each_name(cache_folder(c), walk_domain, &w);
}

/* -- making room ----------------------------------------------------------------------------- */

struct candidate {
	char *data_path, *state_path;
	uint64_t bytes;
	int64_t used_ns;
};

struct candidates {
	struct candidate *items;
	size_t count, cap;
	uint64_t bytes;
};

static int collect(void *arg, const struct blob_info *info)
{
	struct candidates *all = arg;
	if (all->count == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 256;
		struct candidate *grown = realloc(all->items, cap * sizeof *grown);
		if (!grown)
			return -ENOMEM;
		all->items = grown;
		all->cap = cap;
	}
	struct candidate k = { strdup(info->data_path), strdup(info->state_path), info->allocated_bytes, info->used_ns };
	if (!k.data_path || !k.state_path) {
		free(k.data_path);
		free(k.state_path);
		return -ENOMEM;
	}
	all->items[all->count++] = k;
	all->bytes += k.bytes;
	return 0;
}

static int by_age(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	return x->used_ns < y->used_ns ? -1 : x->used_ns > y->used_ns;
}

int cache_prune(struct cache *c, uint64_t to_bytes, uint64_t *ret_freed, uint64_t *ret_blobs, struct err *e)
{
	struct candidates all = { NULL, 0, 0, 0 };
	uint64_t freed = 0, blobs = 0;
	int r = cache_walk(c, collect, &all);
	if (!r)
		r = cache_lock(c);
	if (r) {
		err_set(e, r, "%s: cannot look through the cache: %s", cache_folder(c), strerror(-r));
		goto out;
	}
	if (all.count)
		qsort(all.items, all.count, sizeof *all.items, by_age);
	for (size_t i = 0; i < all.count && all.bytes - freed > to_bytes; i++) {
		/* The data file first: a state file without its data is discarded when it is opened. */
		if (unlink(all.items[i].data_path) && errno != ENOENT) {
			r = err_set(e, -errno, "%s: cannot remove: %s", all.items[i].data_path, strerror(errno));
			break;
		}
		unlink(all.items[i].state_path);
		freed += all.items[i].bytes;
		blobs++;
	}
	cache_set_usage(c, all.bytes - freed);
	cache_unlock(c);
	if (!r && ret_freed)
		*ret_freed = freed;
	if (!r && ret_blobs)
		*ret_blobs = blobs;
out:
	for (size_t i = 0; i < all.count; i++) {
		free(all.items[i].data_path);
		free(all.items[i].state_path);
	}
	free(all.items);
	return r;
}

/* -- checking -------------------------------------------------------------------------------- */

struct checking {
	struct cache *cache;
	void (*progress)(void *arg, uint64_t bytes);
	void *arg;
	uint64_t checked, bad;
	unsigned char *buffer;
	size_t size;
};

static int check_slot(struct checking *k, struct blob *b, uint32_t slot)
{
	uint64_t offset;
	uint32_t length;
	if (blob_state(b, slot) == SLOT_ABSENT)
		return 0;
	bool sound = blob_record(b, slot, &offset, &length);
	if (sound && length > k->size) {
		unsigned char *grown = realloc(k->buffer, length);
		if (!grown)
			return -ENOMEM;
		k->buffer = grown;
		k->size = length;
	}
	if (sound)
		sound = blob_check(b, slot, k->buffer);
	else
		blob_drop(b, slot);
	k->checked++;
	k->bad += !sound;
	if (k->progress && sound)
		k->progress(k->arg, length);
	return 0;
}

static int check_blob(void *arg, const struct blob_info *info)
{
	struct checking *k = arg;
	struct blob *b;
	int r = blob_open_existing(k->cache, info->domain, info->kind, &info->name, &b);
	if (r == -ENOENT) { /* evicted meanwhile, or half made long ago */
		if (clock_now_ns() - info->used_ns > ORPHAN_AGE_NS && !cache_lock(k->cache)) {
			unlink(info->data_path);
			unlink(info->state_path);
			cache_unlock(k->cache);
		}
		return 0;
	}
	if (r)
		return r;
	for (uint32_t slot = 0; slot < blob_slots(b) && !r; slot++)
		r = check_slot(k, b, slot);
	blob_close(b);
	return r;
}

int cache_verify(struct cache *c, void (*progress)(void *arg, uint64_t bytes), void *arg, uint64_t *ret_checked, uint64_t *ret_bad,
		 struct err *e)
{
	struct checking k = { .cache = c, .progress = progress, .arg = arg };
	int r = cache_walk(c, check_blob, &k);
	free(k.buffer);
	if (r)
		return err_set(e, r, "%s: cannot check the cache: %s", cache_folder(c), strerror(-r));
	*ret_checked = k.checked;
	*ret_bad = k.bad;
	return 0;
}
