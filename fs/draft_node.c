/* The nodes of drafts: what the kernel knows of them, and where they lie. */
#include "fs/draft_internal.h"

#include "fs/handle.h"
#include "fs/state.h"

#include "catalog/base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_SIZE (8 + 256)
#define TIMEOUT_S 1.0

static size_t key_of(const struct dnode *parent, const char *name, char ret[KEY_SIZE])
{
	size_t n = strlen(name);
	memcpy(ret, &parent->id, 8);
	memcpy(ret + 8, name, n < 256 ? n : 256);
	return 8 + (n < 256 ? n : 256);
}

struct dnode *dnode_find_locked(struct drafts *ds, uint64_t id)
{
	struct dnode *n = map_get(ds->by_id, &id, sizeof id);
	return n && !n->draft->gone ? n : NULL;
}

struct dnode *dnode_known_locked(struct dnode *parent, const char *name)
{
	char key[KEY_SIZE];
	return map_get(parent->draft->set->by_name, key, key_of(parent, name, key));
}

static void unlist_locked(struct dnode *n)
{
	char key[KEY_SIZE];
	struct map *by_name = n->draft->set->by_name;
	if (!n->parent)
		return;
	size_t len = key_of(n->parent, n->name, key);
	if (map_get(by_name, key, len) == n)
		map_remove(by_name, key, len);
}

struct dnode *dnode_child_locked(struct dnode *parent, const char *name)
{
	struct drafts *ds = parent->draft->set;
	char key[KEY_SIZE];
	size_t len = key_of(parent, name, key);
	struct dnode *n = map_get(ds->by_name, key, len);
	if (n)
		return n;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	*n = (struct dnode){ .id = ds->next_id, .kind = DNODE_ENTRY, .draft = parent->draft, .parent = parent, .name = strdup(name), .fd = -1 };
	if (!n->name || map_set(ds->by_id, &n->id, sizeof n->id, n, NULL))
		goto fail;
	if (map_set(ds->by_name, key, len, n, NULL)) {
		map_remove(ds->by_id, &n->id, sizeof n->id);
		goto fail;
	}
	ds->next_id++;
	parent->children++;
	return n;
fail:
	free(n->name);
	free(n);
	return NULL;
}

void dnode_idle_locked(struct dnode *n)
{
	while (n && n->kind == DNODE_ENTRY && !n->lookups && !n->opens && !n->children) {
		struct dnode *parent = n->parent;
		unlist_locked(n);
		map_remove(n->draft->set->by_id, &n->id, sizeof n->id);
		if (n->fd >= 0)
			close(n->fd);
		free(n->name);
		free(n);
		parent->children--;
		n = parent;
	}
}

void dnode_gone_locked(struct dnode *n)
{
	unlist_locked(n);
	n->gone = true;
	dnode_idle_locked(n);
}

void dnode_moved_locked(struct dnode *n, struct dnode *parent, const char *name)
{
	struct dnode *old = n->parent;
	char key[KEY_SIZE], *copy = strdup(name);
	unlist_locked(n);
	if (!copy || map_set(parent->draft->set->by_name, key, key_of(parent, name, key), n, NULL)) {
		free(copy); /* without memory the node is stale from here on: the kernel looks the name up again */
		n->gone = true;
		return;
	}
	free(n->name);
	n->name = copy;
	n->parent = parent;
	parent->children++;
	old->children--;
	dnode_idle_locked(old);
}

/* -- where it lies ----------------------------------------------------------------------------- */

int dnode_path(const struct dnode *n, char *ret, size_t size)
{
	char *at = ret + size - 1;
	*at = '\0';
	for (;; n = n->parent) {
		const char *name = n->kind == DNODE_ROOT ? "files" : n->kind == DNODE_META ? "meta" : n->name;
		size_t len = strlen(name);
		if (n->gone)
			return -ESTALE;
		if ((size_t)(at - ret) < len + 1)
			return -ENAMETOOLONG;
		at -= len;
		memcpy(at, name, len);
		if (n->kind != DNODE_ENTRY)
			break;
		*--at = '/';
	}
	memmove(ret, at, strlen(at) + 1);
	return 0;
}

int dnode_child_path(const struct dnode *parent, const char *name, char *ret, size_t size)
{
	int r = dnode_path(parent, ret, size);
	size_t len = r ? 0 : strlen(ret);
	if (!r && len + strlen(name) + 2 > size)
		return -ENAMETOOLONG;
	if (!r)
		snprintf(ret + len, size - len, "/%s", name);
	return r;
}

int dnode_open(struct dnode *n, int flags, mode_t mode)
{
	char path[DRAFT_PATH_SIZE];
	int fd, r = 0;
	if (n->fd >= 0) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
		fd = open(path, (flags & ~(O_CREAT | O_EXCL)) | O_CLOEXEC);
	} else {
		r = dnode_path(n, path, sizeof path);
		if (r)
			return r;
		fd = openat(n->draft->dir, path, flags | O_NOFOLLOW | O_CLOEXEC, mode);
	}
	return fd < 0 ? -errno : fd;
}

static int raw_stat(struct dnode *n, struct stat *ret)
{
	char path[DRAFT_PATH_SIZE];
	if (n->fd >= 0)
		return fstat(n->fd, ret) ? -errno : 0;
	int r = dnode_path(n, path, sizeof path);
	if (!r && fstatat(n->draft->dir, path, ret, AT_SYMLINK_NOFOLLOW))
		r = -errno;
	return r;
}

int dnode_stat(struct dnode *n, struct stat *ret)
{
	const struct session *s = n->draft->set->session;
	int r = raw_stat(n, ret);
	if (r)
		return r;
	ret->st_ino = n->id;
	ret->st_dev = 0;
	ret->st_uid = s->who.uid;
	ret->st_gid = s->who.gid;
	ret->st_blksize = 1 << 20;
	if (s->binding && !S_ISLNK(ret->st_mode))
		ret->st_mode &= ~(mode_t)077;
	return 0;
}

void dnode_entry(struct dnode *n, const struct stat *st, struct op_entry *ret)
{
	n->lookups++;
	/* The root is looked up every time: its name leads to the version once it is published.  So is what we write ourselves. */
	double timeout = n->kind == DNODE_ENTRY && n->parent->kind != DNODE_META ? TIMEOUT_S : 0;
	*ret = (struct op_entry){ .id = n->id, .st = *st, .entry_timeout = timeout, .attr_timeout = timeout };
}

void draft_forget(struct session *s, uint64_t id, uint64_t count)
{
	struct drafts *ds = s->drafts;
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = map_get(ds->by_id, &id, sizeof id);
	if (n) {
		n->lookups -= count < n->lookups ? count : n->lookups;
		dnode_idle_locked(n);
	}
	pthread_mutex_unlock(&ds->lock);
}

void draft_close(struct handle *h)
{
	struct dnode *n = h->dnode;
	struct draft *d = n->draft;
	struct drafts *ds = d->set;
	char path[DRAFT_PATH_SIZE];
	struct stat st;
	pthread_mutex_lock(&ds->lock);
	n->opens--;
	if (h->writing) {
		d->writers--;
		if (!d->gone && !n->gone && !dnode_path(n, path, sizeof path))
			draft_due_locked(d, path);
		pthread_cond_broadcast(&d->wake);
	}
	if (!n->opens && n->gone && !fstat(h->fd, &st)) /* removed while it was open: its room is free now */
		drafts_give(ds, (uint64_t)st.st_size);
	if (!n->opens && n->fd >= 0) {
		close(n->fd);
		n->fd = -1;
	}
	dnode_idle_locked(n);
	pthread_mutex_unlock(&ds->lock);
	close(h->fd);
}

bool drafts_take(struct drafts *ds, uint64_t bytes)
{
	uint64_t used = atomic_load(&ds->used);
	do {
		if (bytes > ds->limit || used > ds->limit - bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&ds->used, &used, used + bytes));
	return true;
}

void drafts_give(struct drafts *ds, uint64_t bytes)
{
	uint64_t used = atomic_load(&ds->used);
	while (!atomic_compare_exchange_weak(&ds->used, &used, used > bytes ? used - bytes : 0)) {
	}
}

/* -- by path ---------------------------------------------------------------------------------------- */

/* The folder of `where` ("files/a/b"; below the draft's folder) and the name in it.  What was a folder when the path was written down may be a
 * symlink to anywhere by now: none is followed, so that nothing outside of the draft is ever read.  -ENOTDIR, -ENOENT. */
static int open_folder_of(const struct draft *d, const char *where, const char **ret_name)
{
	char part[NAME_MAX + 1];
	int at = d->dir;
	for (const char *slash; (slash = strchr(where, '/')); where = slash + 1) {
		size_t len = (size_t)(slash - where);
		int next = -1, r = -ENAMETOOLONG;
		if (len < sizeof part) {
			memcpy(part, where, len);
			part[len] = '\0';
			next = openat(at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			r = -errno;
		}
		if (at != d->dir)
			close(at);
		if (next < 0)
			return r;
		at = next;
	}
	*ret_name = where;
	return at;
}

int draft_open_file(const struct draft *d, const char *where)
{
	const char *name;
	int folder = open_folder_of(d, where, &name);
	if (folder < 0)
		return folder;
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	fd = fd < 0 ? -errno : fd;
	if (folder != d->dir)
		close(folder);
	return fd;
}

int draft_stat(const struct draft *d, const char *where, struct stat *ret)
{
	const char *name;
	int folder = open_folder_of(d, where, &name);
	if (folder < 0)
		return folder;
	int r = fstatat(folder, name, ret, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
	if (folder != d->dir)
		close(folder);
	return r;
}
