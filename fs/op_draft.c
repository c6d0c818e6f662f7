/* Names within drafts: LOOKUP, GETATTR, SETATTR, READLINK, READDIR, MKDIR, UNLINK, RMDIR, SYMLINK, RENAME. */
#define FUSE_USE_VERSION 314
#include "fs/op_draft.h"

#include "fs/draft_internal.h"
#include "fs/handle.h"
#include "fs/op_draft_write.h"
#include "fs/state.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* -- what may stand where -------------------------------------------------------------------------- */

static bool is_meta_name(const char *name)
{
	return !strcmp(name, "contract.yaml") || !strcmp(name, "problems.txt");
}

int draft_may_make_locked(const struct dnode *parent, const char *name, bool file)
{
	if (parent->draft->committing)
		return -EBUSY;
	if (!strcmp(name, ".mesh"))
		return -EPERM;
	if (parent->kind == DNODE_META)
		return file && !strcmp(name, "contract.yaml") ? 0 : -EPERM;
	return 0;
}

/* -- looking ------------------------------------------------------------------------------------------ */

int draft_child_locked(struct dnode *parent, const char *name, struct op_entry *ret)
{
	struct stat st;
	struct dnode *n;
	if (parent->kind == DNODE_ROOT && !strcmp(name, ".mesh")) {
		n = parent->draft->meta;
	} else if (parent->kind == DNODE_META && !is_meta_name(name)) {
		return -ENOENT;
	} else if (!(n = dnode_child_locked(parent, name))) {
		return -ENOMEM;
	}
	int r = dnode_stat(n, &st);
	if (r)
		dnode_idle_locked(n);
	else
		dnode_entry(n, &st, ret);
	return r;
}

int draft_reply_entry(struct op *op, struct op_entry *entry)
{
	struct session *s = op->session;
	uint64_t id = entry->id;
	int r = op_reply_entry(op, entry);
	if (r)
		draft_forget(s, id, 1);
	return r;
}

void draft_op_lookup(struct op *op)
{
	struct drafts *ds = op->session->drafts;
	struct op_entry entry;
	pthread_mutex_lock(&ds->lock);
	struct dnode *parent = dnode_find_locked(ds, op->node);
	int r = parent ? draft_child_locked(parent, op->name, &entry) : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		draft_reply_entry(op, &entry);
}

static int attributes(struct op *op, struct stat *ret)
{
	struct drafts *ds = op->session->drafts;
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = dnode_find_locked(ds, op->node);
	int r = n ? dnode_stat(n, ret) : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	return r;
}

void draft_op_getattr(struct op *op)
{
	struct stat st;
	int r = attributes(op, &st);
	if (r)
		op_fail(op, r);
	else
		op_reply_attr(op, &st, 0);
}

void draft_op_readlink(struct op *op)
{
	struct drafts *ds = op->session->drafts;
	char path[DRAFT_PATH_SIZE], target[PATH_MAX];
	ssize_t len = 0;
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = dnode_find_locked(ds, op->node);
	int r = n ? dnode_path(n, path, sizeof path) : -ESTALE;
	if (!r && (len = readlinkat(n->draft->dir, path, target, sizeof target - 1)) < 0)
		r = -errno;
	pthread_mutex_unlock(&ds->lock);
	if (r) {
		op_fail(op, r);
		return;
	}
	target[len] = '\0';
	op_reply_link(op, target);
}

void draft_op_statfs(struct op *op)
{
	struct drafts *ds = op->session->drafts;
	struct statvfs disk, st = { .f_bsize = 4096, .f_frsize = 4096, .f_namemax = 255 };
	uint64_t used = atomic_load(&ds->used), room = used < ds->limit ? ds->limit - used : 0;
	pthread_mutex_lock(&ds->lock);
	if (ds->folder && !statvfs(ds->folder, &disk) && (uint64_t)disk.f_bavail * disk.f_frsize < room)
		room = (uint64_t)disk.f_bavail * disk.f_frsize;
	pthread_mutex_unlock(&ds->lock);
	st.f_blocks = (used + room) / 4096;
	st.f_bfree = st.f_bavail = room / 4096;
	op_reply_statfs(op, &st);
}

/* -- folders ------------------------------------------------------------------------------------------- */

static int list_folder(int fd, struct handle *h, bool meta)
{
	DIR *dir = fdopendir(fd);
	struct dirent *entry;
	if (!dir) {
		close(fd);
		return -errno;
	}
	int r = 0;
	while (!r && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || (meta && !is_meta_name(entry->d_name)))
			continue;
		r = folder_add(h, entry->d_name,
			       entry->d_type == DT_DIR ? KIND_DOMAIN : entry->d_type == DT_LNK ? KIND_LINK : KIND_FILE, 0);
	}
	closedir(dir);
	return r;
}

/* The listing as it is when the reading begins. */
static int read_items(struct op *op, struct handle *h)
{
	struct drafts *ds = op->session->drafts;
	folder_clear(h);
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = dnode_find_locked(ds, op->node);
	int fd = n ? dnode_open(n, O_RDONLY | O_DIRECTORY, 0) : -ESTALE;
	bool meta = n && n->kind == DNODE_META;
	pthread_mutex_unlock(&ds->lock);
	return fd < 0 ? fd : list_folder(fd, h, meta);
}

void draft_op_opendir(struct op *op)
{
	struct stat st;
	int r = attributes(op, &st);
	struct handle *h = r ? NULL : handle_new(op->session, HANDLE_FOLDER);
	struct op_open open = { .handle = (uintptr_t)h };
	if (!h)
		op_fail(op, r ? r : -ENOMEM);
	else if (op_reply_open(op, &open))
		handle_free(h);
}

void draft_op_readdir(struct op *op)
{
	struct handle *h = handle_of(op->handle);
	char *bytes = malloc(op->size);
	size_t used = 0;
	int r = !bytes ? -ENOMEM : op->offset ? 0 : read_items(op, h);
	for (size_t i = (size_t)op->offset; !r && i < h->item_count + 2; i++) {
		const struct folder_item *item = i < 2 ? NULL : &h->items[i - 2];
		struct stat st = { .st_ino = 0xffffffff,
				   .st_mode = !item || item->kind == KIND_DOMAIN ? S_IFDIR : item->kind == KIND_LINK ? S_IFLNK : S_IFREG };
		const char *name = item ? item->name : i ? ".." : ".";
		size_t n = op->plus ? op_add_entry_plus(op, bytes + used, op->size - used, name, &st, NULL, (int64_t)i + 1)
				    : op_add_entry(op, bytes + used, op->size - used, name, &st, (int64_t)i + 1);
		if (n > op->size - used)
			break;
		used += n;
	}
	if (r)
		op_fail(op, r);
	else
		op_reply_bytes(op, bytes, used);
	free(bytes);
}

/* -- making and removing ----------------------------------------------------------------------------------- */

static int make_locked(struct op *op, struct dnode *parent, const char *target, mode_t mode, struct op_entry *ret)
{
	char path[DRAFT_PATH_SIZE];
	int r = draft_may_make_locked(parent, op->name, false);
	if (!r)
		r = dnode_child_path(parent, op->name, path, sizeof path);
	if (r)
		return r;
	if (target ? symlinkat(target, parent->draft->dir, path) : mkdirat(parent->draft->dir, path, (mode & 0777) | 0700))
		return -errno;
	return draft_child_locked(parent, op->name, ret);
}

static void make(struct op *op, const char *target, mode_t mode)
{
	struct drafts *ds = op->session->drafts;
	struct op_entry entry;
	pthread_mutex_lock(&ds->lock);
	struct dnode *parent = dnode_find_locked(ds, op->node);
	int r = parent ? make_locked(op, parent, target, mode, &entry) : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		draft_reply_entry(op, &entry);
}

void draft_op_mkdir(struct op *op, mode_t mode)
{
	make(op, NULL, mode);
}

void draft_op_symlink(struct op *op, const char *target)
{
	make(op, target, 0);
}

static int remove_locked(struct dnode *parent, const char *name, bool folder)
{
	char path[DRAFT_PATH_SIZE];
	struct stat st;
	if (parent->draft->committing)
		return -EBUSY;
	if (parent->kind == DNODE_META && strcmp(name, "contract.yaml") != 0)
		return -EPERM;
	if (parent->kind == DNODE_ROOT && !strcmp(name, ".mesh")) /* goes with the draft */
		return -EPERM;
	int r = dnode_child_path(parent, name, path, sizeof path);
	if (!r && fstatat(parent->draft->dir, path, &st, AT_SYMLINK_NOFOLLOW))
		r = -errno;
	if (!r && unlinkat(parent->draft->dir, path, folder ? AT_REMOVEDIR : 0))
		r = -errno;
	if (r)
		return r;
	struct dnode *n = dnode_known_locked(parent, name);
	if (S_ISREG(st.st_mode) && !(n && n->opens))
		drafts_give(parent->draft->set, (uint64_t)st.st_size);
	if (n)
		dnode_gone_locked(n);
	return 0;
}

void draft_op_remove(struct op *op, bool folder)
{
	struct drafts *ds = op->session->drafts;
	pthread_mutex_lock(&ds->lock);
	struct dnode *parent = dnode_find_locked(ds, op->node);
	int r = parent ? remove_locked(parent, op->name, folder) : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
}

/* -- renaming within a draft ---------------------------------------------------------------------------------- */

static void moved_locked(struct dnode *from, const char *name, struct dnode *to, const char *to_name, bool exchange,
			 const struct stat *replaced)
{
	struct dnode *n = dnode_known_locked(from, name), *old = dnode_known_locked(to, to_name);
	if (n == old)
		return;
	if (old && exchange) {
		/* Out of the way first: both names are taken. */
		dnode_moved_locked(old, from, "\001exchange");
	} else if (old) {
		dnode_gone_locked(old);
	}
	if (!exchange && S_ISREG(replaced->st_mode) && !(old && old->opens))
		drafts_give(to->draft->set, (uint64_t)replaced->st_size);
	if (n)
		dnode_moved_locked(n, to, to_name);
	if (old && exchange)
		dnode_moved_locked(old, from, name);
}

static int rename_locked(struct dnode *from, const char *name, struct dnode *to, const char *to_name, unsigned flags)
{
	char path[DRAFT_PATH_SIZE], to_path[DRAFT_PATH_SIZE];
	struct stat replaced = { 0 }, st;
	struct draft *d = from->draft;
	if (to->draft != d)
		return -EXDEV;
	bool metas = from->kind == DNODE_META || to->kind == DNODE_META;
	if (metas && (strcmp(to_name, "contract.yaml") != 0 || to->kind != DNODE_META))
		return -EPERM;
	int r = draft_may_make_locked(to, to_name, true);
	if (!r && !strcmp(name, ".mesh"))
		r = -EPERM;
	if (!r)
		r = dnode_child_path(from, name, path, sizeof path);
	if (!r)
		r = dnode_child_path(to, to_name, to_path, sizeof to_path);
	if (r)
		return r;
	/* A contract is a file: a symlink would have us read what its maker may not. */
	if (metas && (fstatat(d->dir, path, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode)))
		return -EPERM;
	if (fstatat(d->dir, to_path, &replaced, AT_SYMLINK_NOFOLLOW))
		replaced.st_mode = 0;
	if (renameat2(d->dir, path, d->dir, to_path, flags))
		return -errno;
	moved_locked(from, name, to, to_name, flags & RENAME_EXCHANGE, &replaced);
	if (!fstatat(d->dir, to_path, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode))
		draft_due_locked(d, to_path);
	return 0;
}

void draft_op_rename(struct op *op, uint64_t to, const char *to_name, unsigned flags)
{
	struct drafts *ds = op->session->drafts;
	pthread_mutex_lock(&ds->lock);
	struct dnode *from = dnode_find_locked(ds, op->node), *target = dnode_find_locked(ds, to);
	int r = from && target ? rename_locked(from, op->name, target, to_name, flags) : from ? -EXDEV : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
}
