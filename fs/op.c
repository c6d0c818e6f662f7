#define FUSE_USE_VERSION 314
#include "fs/op.h"

#include "fs/content.h"
#include "fs/kernel.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"

#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint64_t op_node(struct fuse_req *req, uint64_t number)
{
	const struct session *s = fuse_req_userdata(req);
	return opaque_node_get(&s->opaque, number);
}

struct op *op_new(struct fuse_req *req, void (*run)(struct op *op), uint64_t node, const char *name)
{
	size_t room = name ? strlen(name) + 1 : 0;
	struct op *op = calloc(1, sizeof *op + room);
	if (!op) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	op->req = req;
	op->session = fuse_req_userdata(req);
	op->run = run;
	op->node = node;
	op->pid = fuse_req_ctx(req)->pid;
	atomic_fetch_add(&op->session->ops, 1);
	if (name)
		op->name = memcpy((char *)(op + 1), name, room);
	pthread_mutex_init(&op->lock, NULL);
	atomic_init(&op->refs, 1);
	return op;
}

struct op *op_ref(struct op *op)
{
	atomic_fetch_add(&op->refs, 1);
	return op;
}

void op_unref(struct op *op)
{
	if (atomic_fetch_sub(&op->refs, 1) != 1)
		return;
	assert(op->claimed); /* freed unanswered: the caller would hang for ever */
	struct session *s = op->session;
	if (op->content)
		content_unref(op->content);
	pthread_mutex_destroy(&op->lock);
	free(op);
	atomic_fetch_sub(&s->ops, 1); /* the last that is touched: the session may be freed at 0 */
}

static void list_parked(struct op *op)
{
	struct session *s = op->session;
	pthread_mutex_lock(&s->parked_lock);
	op->parked_next = s->parked;
	op->parked_at = &s->parked;
	if (s->parked)
		s->parked->parked_at = &op->parked_next;
	s->parked = op;
	pthread_mutex_unlock(&s->parked_lock);
}

static void unlist_parked(struct op *op)
{
	pthread_mutex_lock(&op->session->parked_lock);
	*op->parked_at = op->parked_next;
	if (op->parked_next)
		op->parked_next->parked_at = op->parked_at;
	pthread_mutex_unlock(&op->session->parked_lock);
}

/* True for the one who may answer.  The interrupt callback is gone when this returns true. */
static bool claim(struct op *op)
{
	pthread_mutex_lock(&op->lock);
	bool mine = !op->claimed, registered = op->registered;
	assert(mine || atomic_load(&op->interrupted)); /* a second answer */
	op->claimed = true;
	if (mine)
		op->registered = false;
	pthread_mutex_unlock(&op->lock);
	if (mine && registered) {
		fuse_req_interrupt_func(op->req, NULL, NULL);
		unlist_parked(op);
		op_unref(op);
	}
	return mine;
}

/* Is the caller being killed?  A signal that it handles must not turn a page read into an error. */
static bool is_dying(pid_t pid)
{
	char path[40], line[128];
	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return true;
	bool dying = false;
	while (fgets(line, sizeof line, f)) {
		if (strncmp(line, "SigPnd:", 7) && strncmp(line, "ShdPnd:", 7))
			continue;
		dying |= (strtoull(line + 7, NULL, 16) >> (9 - 1)) & 1;
	}
	fclose(f);
	return dying;
}

static void interrupt(struct op *op)
{
	atomic_store(&op->interrupted, true);
	uint64_t token = atomic_exchange(&op->token, 0);
	if (claim(op))
		fuse_reply_err(op->req, EINTR);
	if (token)
		content_cancel(session_mesh(op->session)->reader, token);
}

static void cancel(struct op *op)
{
	pthread_mutex_lock(&op->lock);
	if (!op->claimed)
		atomic_store(op->cancel, true);
	pthread_mutex_unlock(&op->lock);
}

static void interrupt_job(void *arg)
{
	struct op *op = arg;
	if (op->cancel)
		cancel(op);
	else if (!op->reading || is_dying(op->pid))
		interrupt(op);
	op_unref(op);
}

bool op_settle(struct session *s, int64_t timeout_ms)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	for (;;) {
		pthread_mutex_lock(&s->parked_lock);
		struct op *op = s->parked ? op_ref(s->parked) : NULL;
		pthread_mutex_unlock(&s->parked_lock);
		if (!op)
			break;
		interrupt(op);
		op_unref(op);
	}
	while (atomic_load(&s->ops) && clock_mono_ms() < deadline)
		usleep(1000);
	return !atomic_load(&s->ops);
}

static void on_interrupt(struct fuse_req *req, void *arg)
{
	(void)req;
	struct op *op = arg;
	if (pool_submit(op->session->workers, 0, interrupt_job, op_ref(op)))
		op_unref(op); /* no memory: the request waits for its deadline instead */
}

void op_park(struct op *op)
{
	pthread_mutex_lock(&op->lock);
	if (!op->claimed && !op->registered) {
		op->registered = true;
		op_ref(op);
		list_parked(op);
		fuse_req_interrupt_func(op->req, on_interrupt, op);
	}
	pthread_mutex_unlock(&op->lock);
}

void op_park_cancel(struct op *op, atomic_bool *cancel_flag)
{
	op->cancel = cancel_flag;
	op_park(op);
}

void op_resume(struct op *op)
{
	op->run(op);
}

void op_set_token(struct op *op, uint64_t token)
{
	atomic_store(&op->token, token);
	if (token && atomic_load(&op->interrupted) && atomic_exchange(&op->token, 0))
		content_cancel(session_mesh(op->session)->reader, token);
}

static void deferred(void *arg)
{
	op_resume(arg);
}

void op_defer(struct op *op)
{
	op->on_worker = true;
	op_park(op);
	if (pool_submit(op->session->workers, 1, deferred, op))
		op_fail(op, -ENOMEM);
}

/* Every answer is `if (!claim) -EINTR else send`, then the reference goes. */
#define ANSWER(op, send)                                          \
	do {                                                      \
		int answer_r = claim(op) ? (send) : -EINTR;       \
		op_unref(op);                                     \
		return answer_r;                                  \
	} while (0)

int op_fail(struct op *op, int code)
{
	assert(code < 0);
	if (code == -EBADMSG || code == -EPROTONOSUPPORT)
		code = -EIO; /* what is wrong inside a store is nobody's errno */
	ANSWER(op, fuse_reply_err(op->req, -code));
}

int op_ok(struct op *op)
{
	ANSWER(op, fuse_reply_err(op->req, 0));
}

static void fill_entry(const struct op *op, struct fuse_entry_param *p, const struct op_entry *entry)
{
	*p = (struct fuse_entry_param){ .ino = opaque_node_put(&op->session->opaque, entry->id),
					.attr = entry->st,
					.entry_timeout = entry->entry_timeout,
					.attr_timeout = entry->attr_timeout };
}

int op_reply_entry(struct op *op, const struct op_entry *entry)
{
	struct fuse_entry_param p;
	fill_entry(op, &p, entry);
	ANSWER(op, fuse_reply_entry(op->req, &p));
}

int op_reply_create(struct op *op, const struct op_entry *entry, const struct op_open *open)
{
	struct fuse_entry_param p;
	struct fuse_file_info fi = { .fh = open->handle, .keep_cache = open->keep_cache, .direct_io = open->direct_io };
	fill_entry(op, &p, entry);
	ANSWER(op, fuse_reply_create(op->req, &p, &fi));
}

int op_reply_written(struct op *op, size_t size)
{
	ANSWER(op, fuse_reply_write(op->req, size));
}

int op_reply_attr(struct op *op, const struct stat *st, double timeout)
{
	ANSWER(op, fuse_reply_attr(op->req, st, timeout));
}

int op_reply_link(struct op *op, const char *target)
{
	ANSWER(op, fuse_reply_readlink(op->req, target));
}

int op_reply_open(struct op *op, const struct op_open *open)
{
	ANSWER(op, kernel_reply_open(op->session->kernel, op->req, open));
}

int op_reply_bytes(struct op *op, const void *bytes, size_t len)
{
	ANSWER(op, fuse_reply_buf(op->req, bytes, len));
}

int op_reply_parts(struct op *op, const struct iovec *parts, size_t count)
{
	ANSWER(op, fuse_reply_iov(op->req, parts, (int)count));
}

int op_reply_size(struct op *op, size_t size)
{
	ANSWER(op, fuse_reply_xattr(op->req, size));
}

int op_reply_statfs(struct op *op, const struct statvfs *st)
{
	ANSWER(op, fuse_reply_statfs(op->req, st));
}

size_t op_add_entry(struct op *op, char *at, size_t room, const char *name, const struct stat *st, int64_t next_offset)
{
	return fuse_add_direntry(op->req, at, room, name, st, next_offset);
}

size_t op_add_entry_plus(struct op *op, char *at, size_t room, const char *name, const struct stat *st, const struct op_entry *entry,
			 int64_t next_offset)
{
	struct fuse_entry_param p;
	struct op_entry bare = { .st = *st };
	fill_entry(op, &p, entry ? entry : &bare);
	return fuse_add_direntry_plus(op->req, at, room, name, &p, next_offset);
}
