/* Files of drafts: CREATE, OPEN, READ, WRITE, SETATTR, FALLOCATE, FSYNC.  RELEASE is handle_free. */
#define FUSE_USE_VERSION 314
#include "fs/op_draft.h"

#include "fs/draft_internal.h"
#include "fs/handle.h"
#include "fs/op_draft_write.h"
#include "fs/state.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- opening -------------------------------------------------------------------------------------------- */

/* What the daemon opens for what the caller asked: it reads to publish, the kernel reads to write a part of a page, and offsets of O_APPEND are
 * the kernel's. */
static int open_flags(int flags)
{
	return ((flags & O_ACCMODE) == O_RDONLY ? O_RDONLY : O_RDWR) | (flags & O_TRUNC);
}

static bool is_read_only(const struct dnode *n)
{
	return n->kind == DNODE_ENTRY && n->parent->kind == DNODE_META && !strcmp(n->name, "problems.txt");
}

static int open_locked(struct session *s, struct dnode *n, int flags, mode_t mode, struct handle **ret)
{
	bool writing = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	struct stat before = { 0 };
	if (writing && n->draft->committing)
		return -EBUSY;
	if (writing && is_read_only(n))
		return -EACCES;
	if ((flags & O_TRUNC) && dnode_stat(n, &before))
		before.st_size = 0;
	int own = open_flags(flags) | (flags & (O_CREAT | O_EXCL));
	if (flags & O_TRUNC)
		own = (own & ~O_ACCMODE) | O_RDWR;
	int fd = dnode_open(n, own, mode);
	if (fd < 0)
		return fd;
	struct handle *h = handle_new(s, HANDLE_DRAFT);
	char path[40];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (h && n->fd < 0 && (n->fd = open(path, O_PATH | O_CLOEXEC)) < 0) {
		handle_free(h);
		h = NULL;
	}
	if (!h) {
		close(fd);
		return -ENOMEM;
	}
	if ((flags & O_TRUNC) && before.st_size > 0)
		drafts_give(n->draft->set, (uint64_t)before.st_size);
	n->opens++;
	n->draft->writers += writing;
	h->fd = fd;
	h->dnode = n;
	h->writing = writing;
	*ret = h;
	return 0;
}

static struct op_open reply_of(const struct handle *h)
{
	/* Everything that changes a file comes through the kernel's own pages; problems.txt we write ourselves. */
	bool own = is_read_only(h->dnode);
	return (struct op_open){ .handle = (uintptr_t)h, .keep_cache = !own, .direct_io = own };
}

void draft_op_open(struct op *op)
{
	struct drafts *ds = op->session->drafts;
	struct handle *h = NULL;
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = dnode_find_locked(ds, op->node);
	int r = !n ? -ESTALE : n->kind != DNODE_ENTRY ? -EISDIR : open_locked(op->session, n, op->flags & ~(O_CREAT | O_EXCL), 0, &h);
	struct op_open open = r ? (struct op_open){ 0 } : reply_of(h);
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else if (op_reply_open(op, &open))
		handle_free(h);
}

static int create_locked(struct op *op, struct dnode *parent, mode_t mode, struct handle **ret, struct op_entry *entry)
{
	int r = draft_may_make_locked(parent, op->name, true);
	struct dnode *n = r ? NULL : dnode_child_locked(parent, op->name);
	struct stat st;
	if (!n)
		return r ? r : -ENOMEM;
	int flags = (op->flags & (O_ACCMODE | O_TRUNC | O_EXCL)) | O_CREAT;
	if ((flags & O_ACCMODE) == O_RDONLY)
		flags |= O_RDWR;
	r = open_locked(op->session, n, flags, (mode & 0777) | 0600, ret);
	if (r) {
		dnode_idle_locked(n);
		return r;
	}
	r = dnode_stat(n, &st);
	if (!r)
		dnode_entry(n, &st, entry);
	return r;
}

void draft_op_create(struct op *op, mode_t mode)
{
	struct session *s = op->session;
	struct drafts *ds = s->drafts;
	struct handle *h = NULL;
	struct op_entry entry;
	pthread_mutex_lock(&ds->lock);
	struct dnode *parent = dnode_find_locked(ds, op->node);
	int r = parent ? create_locked(op, parent, mode, &h, &entry) : -ESTALE;
	struct op_open open = r ? (struct op_open){ 0 } : reply_of(h);
	pthread_mutex_unlock(&ds->lock);
	if (r) {
		handle_free(h);
		op_fail(op, r);
	} else if (op_reply_create(op, &entry, &open)) {
		draft_forget(s, entry.id, 1);
		handle_free(h);
	}
}

/* -- bytes ------------------------------------------------------------------------------------------------ */

void draft_op_read(struct op *op)
{
	struct handle *h = handle_of(op->handle);
	char *bytes = malloc(op->size ? op->size : 1);
	size_t used = 0;
	int r = bytes ? 0 : -ENOMEM;
	while (!r && used < op->size) {
		ssize_t n = pread(h->fd, bytes + used, op->size - used, (off_t)((uint64_t)op->offset + used));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			r = n < 0 ? -errno : 0;
			break;
		}
		used += (size_t)n;
	}
	if (r)
		op_fail(op, r);
	else
		op_reply_bytes(op, bytes, used);
	free(bytes);
}

/* Room for the file to be `size` bytes long; *ret_taken is to be given back when it does not get there. */
static int take_room(struct drafts *ds, int fd, uint64_t size, uint64_t *ret_taken)
{
	struct stat st;
	*ret_taken = 0;
	if (fstat(fd, &st))
		return -errno;
	if (size <= (uint64_t)st.st_size)
		return 0;
	if (!drafts_take(ds, size - (uint64_t)st.st_size))
		return -ENOSPC;
	*ret_taken = size - (uint64_t)st.st_size;
	return 0;
}

static bool is_frozen(struct draft *d)
{
	pthread_mutex_lock(&d->set->lock);
	bool frozen = d->committing || d->gone;
	pthread_mutex_unlock(&d->set->lock);
	return frozen;
}

void draft_op_write(struct op *op, const char *bytes)
{
	struct drafts *ds = op->session->drafts;
	struct handle *h = handle_of(op->handle);
	uint64_t taken = 0;
	int r = op->offset < 0 || (uint64_t)op->offset > INT64_MAX - op->size ? -EFBIG : !h->writing ? -EBADF : is_frozen(h->dnode->draft) ? -ESTALE : 0;
	if (!r)
		r = take_room(ds, h->fd, (uint64_t)op->offset + op->size, &taken);
	if (!r && (r = io_pwrite_full(h->fd, bytes, op->size, (uint64_t)op->offset)))
		drafts_give(ds, taken);
	if (r)
		op_fail(op, r);
	else
		op_reply_written(op, op->size);
}

void draft_op_fallocate(struct op *op, int mode, int64_t length)
{
	struct drafts *ds = op->session->drafts;
	struct handle *h = handle_of(op->handle);
	uint64_t taken = 0;
	int r = h->writing ? 0 : -EBADF;
	if (!r && op->offset >= 0 && length > 0 && !(mode & FALLOC_FL_KEEP_SIZE))
		r = take_room(ds, h->fd, (uint64_t)op->offset + (uint64_t)length, &taken);
	if (!r && fallocate(h->fd, mode, (off_t)op->offset, (off_t)length)) {
		r = -errno;
		drafts_give(ds, taken);
	}
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
}

void draft_op_fsync(struct op *op, bool data_only)
{
	struct handle *h = handle_of(op->handle);
	int r = h->kind != HANDLE_DRAFT ? 0 : (data_only ? fdatasync(h->fd) : fsync(h->fd)) ? -errno : 0;
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
}

/* -- attributes ---------------------------------------------------------------------------------------------- */

static int set_size_locked(struct dnode *n, uint64_t size)
{
	struct drafts *ds = n->draft->set;
	struct stat st;
	char path[DRAFT_PATH_SIZE];
	uint64_t taken = 0;
	if (size > INT64_MAX)
		return -EFBIG;
	if (is_read_only(n))
		return -EACCES;
	int fd = dnode_open(n, O_RDWR, 0);
	if (fd < 0)
		return fd;
	int r = fstat(fd, &st) ? -errno : take_room(ds, fd, size, &taken);
	if (!r && ftruncate(fd, (off_t)size)) {
		r = -errno;
		drafts_give(ds, taken);
	}
	if (!r && size < (uint64_t)st.st_size)
		drafts_give(ds, (uint64_t)st.st_size - size);
	close(fd);
	if (!r && !n->opens && !dnode_path(n, path, sizeof path))
		draft_due_locked(n->draft, path);
	return r;
}

static int set_mode_locked(struct dnode *n, mode_t mode)
{
	struct stat st;
	char path[DRAFT_PATH_SIZE];
	int r = dnode_stat(n, &st);
	if (r)
		return r;
	if (S_ISLNK(st.st_mode))
		return -EOPNOTSUPP;
	mode = (mode & 0777) | (S_ISDIR(st.st_mode) ? 0700 : 0600); /* whoever publishes it has to read it */
	if (n->fd >= 0) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
		return chmod(path, mode) ? -errno : 0;
	}
	r = dnode_path(n, path, sizeof path);
	return r ? r : fchmodat(n->draft->dir, path, mode, 0) ? -errno : 0;
}

static int set_times_locked(struct dnode *n, const struct stat *attr, int to_set)
{
	char path[DRAFT_PATH_SIZE];
	struct timespec times[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	if (to_set & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_ATIME)
		times[0] = attr->st_atim;
	if (to_set & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	else if (to_set & FUSE_SET_ATTR_MTIME)
		times[1] = attr->st_mtim;
	if (n->fd >= 0) {
		snprintf(path, sizeof path, "/proc/self/fd/%d", n->fd);
		return utimensat(AT_FDCWD, path, times, 0) ? -errno : 0;
	}
	int r = dnode_path(n, path, sizeof path);
	return r ? r : utimensat(n->draft->dir, path, times, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int set_locked(struct dnode *n, const struct stat *attr, int to_set, struct stat *ret)
{
	const struct session *s = n->draft->set->session;
	int r = n->draft->committing ? -EBUSY : 0;
	/* It belongs to the session's user, and in a version to nobody: a group is not kept, nor an owner that root names, as tar and rsync do. */
	if ((to_set & FUSE_SET_ATTR_UID) && attr->st_uid != s->who.uid && s->who.uid)
		return -EPERM;
	if (!r && (to_set & FUSE_SET_ATTR_SIZE))
		r = set_size_locked(n, (uint64_t)attr->st_size);
	if (!r && (to_set & FUSE_SET_ATTR_MODE))
		r = set_mode_locked(n, attr->st_mode);
	if (!r && (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW)))
		r = set_times_locked(n, attr, to_set);
	return r ? r : dnode_stat(n, ret);
}

void draft_op_setattr(struct op *op, const struct stat *attr, int to_set)
{
	struct drafts *ds = op->session->drafts;
	struct stat st;
	pthread_mutex_lock(&ds->lock);
	struct dnode *n = dnode_find_locked(ds, op->node);
	int r = n ? set_locked(n, attr, to_set, &st) : -ESTALE;
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		op_reply_attr(op, &st, 0);
}
