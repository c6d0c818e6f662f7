/*
 * LINK in drafts: a copy.  In a version each name is a file of its own (its bytes are stored once all the same), and to the kernel a name is a node, so
 * that two names of one file would have pages that do not know of each other.  tar, rsync -H and cp -a want the name and the bytes.
 */
#include "fs/draft_internal.h"
#include "fs/op_draft_write.h"
#include "fs/state.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct copy {
	struct draft *draft;
	int in, out;
	struct stat st; /* of what is copied */
	uint64_t taken; /* room */
};

static int copy_bytes(const struct copy *c)
{
	if (!ioctl(c->out, FICLONE, c->in))
		return 0;
	int r = io_copy(c->in, c->out, (uint64_t)c->st.st_size, NULL, NULL);
	return r == -ENODATA ? 0 : r; /* it became shorter meanwhile */
}

/* Without the lock. */
static int copy_file(struct copy *c)
{
	if (fstat(c->in, &c->st))
		return -errno;
	if (!drafts_take(c->draft->set, (uint64_t)c->st.st_size))
		return -ENOSPC;
	c->taken = (uint64_t)c->st.st_size;
	const struct timespec times[2] = { c->st.st_atim, c->st.st_mtim };
	int r = copy_bytes(c);
	return r ? r : fchmod(c->out, c->st.st_mode & 0777) || futimens(c->out, times) ? -errno : 0;
}

static int may_link_locked(const struct dnode *from, const struct dnode *to, const char *name)
{
	if (!from || !to)
		return from ? -ESTALE : -EXDEV;
	if (from->draft != to->draft)
		return -EXDEV;
	if (from->kind != DNODE_ENTRY || from->parent->kind == DNODE_META || to->kind == DNODE_META)
		return -EPERM; /* a contract is written, and problems.txt is ours */
	return draft_may_make_locked(to, name, true);
}

/* A new file there, and what goes into it.  A symlink is made at once: then ret->out stays -1. */
static int begin_locked(struct dnode *from, struct dnode *to, const char *name, struct copy *ret)
{
	char path[DRAFT_PATH_SIZE], target[PATH_MAX];
	struct stat st;
	int r = dnode_stat(from, &st);
	if (!r)
		r = dnode_child_path(to, name, path, sizeof path);
	if (r)
		return r;
	if (S_ISLNK(st.st_mode)) {
		char own[DRAFT_PATH_SIZE];
		ssize_t n = (r = dnode_path(from, own, sizeof own)) ? 0 : readlinkat(to->draft->dir, own, target, sizeof target - 1);
		if (r || n < 0)
			return r ? r : -errno;
		target[n] = '\0';
		return symlinkat(target, to->draft->dir, path) ? -errno : 0;
	}
	if (!S_ISREG(st.st_mode))
		return -EPERM;
	ret->in = dnode_open(from, O_RDONLY, 0);
	if (ret->in < 0)
		return ret->in;
	ret->out = openat(to->draft->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (ret->out < 0)
		return -errno;
	ret->draft = to->draft;
	to->draft->writers++;
	return 0;
}

/* `r`: how the copy went.  The folder cannot go meanwhile: the kernel knows it for as long as the request lasts. */
static int end_locked(struct copy *c, struct dnode *to, const char *name, int r)
{
	char path[DRAFT_PATH_SIZE];
	int named = dnode_child_path(to, name, path, sizeof path);
	c->draft->writers--;
	pthread_cond_broadcast(&c->draft->wake);
	if (r)
		drafts_give(c->draft->set, c->taken);
	if (r && !named)
		unlinkat(c->draft->dir, path, 0);
	if (!r && !named)
		draft_due_locked(c->draft, path);
	return r ? r : named;
}

static int link_locked(struct drafts *ds, struct op *op, uint64_t file, struct op_entry *ret)
{
	struct copy c = { .in = -1, .out = -1 };
	struct dnode *from = draft_is(file) ? dnode_find_locked(ds, file) : NULL, *to = dnode_find_locked(ds, op->node);
	int r = may_link_locked(from, to, op->name);
	if (!r)
		r = begin_locked(from, to, op->name, &c);
	if (!r && c.out >= 0) {
		pthread_mutex_unlock(&ds->lock);
		r = copy_file(&c);
		pthread_mutex_lock(&ds->lock);
		r = end_locked(&c, to, op->name, r);
	}
	if (c.in >= 0)
		close(c.in);
	if (c.out >= 0)
		close(c.out);
	return r ? r : draft_child_locked(to, op->name, ret);
}

void draft_op_link(struct op *op, uint64_t file)
{
	struct drafts *ds = op->session->drafts;
	struct op_entry entry;
	pthread_mutex_lock(&ds->lock);
	int r = link_locked(ds, op, file, &entry);
	pthread_mutex_unlock(&ds->lock);
	if (r)
		op_fail(op, r);
	else
		draft_reply_entry(op, &entry);
}
