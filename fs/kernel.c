#define FUSE_USE_VERSION 314
#include "fs/kernel.h"

#include "fs/mountpoint.h"
#include "fs/op.h"
#include "fs/op_table.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#define THREADS_MIN 4
#define THREADS_MAX 16
#define MAX_BACKGROUND 512
#define MAX_READAHEAD (8u << 20)
#define READ_AHEAD_KB 2048
#define BACKING_MAX 16384 /* each pins an open file in the kernel */

/* The wire, as far as it is spoken by hand (include/uapi/linux/fuse.h). */
#define WIRE_INIT 26
#define WIRE_INIT_EXT (1u << 30)
#define WIRE_PASSTHROUGH2 (1u << 5) /* bit 37 of the flags */
#define WIRE_FOPEN_DIRECT_IO (1u << 0)
#define WIRE_FOPEN_KEEP_CACHE (1u << 1)
#define WIRE_FOPEN_PASSTHROUGH (1u << 7)
#define WIRE_NOTIFY_INC_EPOCH 8

struct wire_in_header {
	uint32_t len, opcode;
	uint64_t unique, nodeid;
	uint32_t uid, gid, pid, padding;
};
struct wire_init_in {
	uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};
struct wire_out_header {
	uint32_t len;
	int32_t error;
	uint64_t unique;
};
struct wire_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth, unused[6];
};
struct wire_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
struct wire_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define WIRE_BACKING_OPEN _IOW(229, 1, struct wire_backing_map)
#define WIRE_BACKING_CLOSE _IOW(229, 2, uint32_t)

struct kernel {
	struct session *session;
	struct fuse_session *fuse;
	char *mountpoint;
	int fd;
	bool want_passthrough;
	atomic_bool passthrough, ready, tuned, no_epoch;
	uint64_t init_unique; /* of the INIT request; only the thread that answers it looks */
	bool offered;         /* the kernel can pass through */
	atomic_uint backing;

	pthread_t threads[THREADS_MAX];
	unsigned thread_count;
	atomic_uint running;
	atomic_bool stopping;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t cond;
	bool ended; /* the connection is gone */
	bool asked; /* somebody wants the end */
};

/* -- INIT ------------------------------------------------------------------------------------ */

static ssize_t wire_read(int fd, void *bytes, size_t len, void *arg)
{
	struct kernel *k = ((struct session *)arg)->kernel;
	ssize_t n = read(fd, bytes, len);
	const struct wire_in_header *in = bytes;
	if (atomic_load_explicit(&k->ready, memory_order_relaxed) || n < (ssize_t)(sizeof *in + 20) || in->opcode != WIRE_INIT)
		return n;
	const struct wire_init_in *init = (const void *)(in + 1);
	k->init_unique = in->unique;
	k->offered = (init->flags & WIRE_INIT_EXT) && (init->flags2 & WIRE_PASSTHROUGH2);
	return n;
}

/* Adds passthrough to the reply to INIT. */
static void extend_init(struct kernel *k, struct iovec *iov, int count)
{
	struct wire_out_header *out = iov[0].iov_base;
	if (count < 2 || iov[0].iov_len != sizeof *out || out->unique != k->init_unique || out->error)
		return;
	atomic_store(&k->ready, true);
	if (!k->want_passthrough || !k->offered || iov[1].iov_len < sizeof(struct wire_init_out))
		return;
	struct wire_init_out *init = iov[1].iov_base;
	init->flags |= WIRE_INIT_EXT;
	init->flags2 |= WIRE_PASSTHROUGH2;
	init->max_stack_depth = 1;
	atomic_store(&k->passthrough, true);
}

static ssize_t wire_writev(int fd, struct iovec *iov, int count, void *arg)
{
	struct kernel *k = ((struct session *)arg)->kernel;
	if (!atomic_load_explicit(&k->ready, memory_order_relaxed))
		extend_init(k, iov, count);
	return writev(fd, iov, count);
}

static void ll_init(void *arg, struct fuse_conn_info *conn)
{
	(void)arg;
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND * 3 / 4;
	conn->max_readahead = MAX_READAHEAD;
	/* A node's bytes never change: nothing of the kernel's cache is ever dropped because times look different. */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ);
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
}

static void fill_ops(struct fuse_lowlevel_ops *ops)
{
	*ops = (struct fuse_lowlevel_ops){
		.init = ll_init,
		.lookup = ll_lookup,
		.forget = ll_forget,
		.forget_multi = ll_forget_multi,
		.getattr = ll_getattr,
		.readlink = ll_readlink,
		.access = ll_access,
		.statfs = ll_statfs,
		.opendir = ll_opendir,
		.readdir = ll_readdir,
		.readdirplus = ll_readdirplus,
		.releasedir = ll_releasedir,
		.open = ll_open,
		.read = ll_read,
		.release = ll_release,
		.getxattr = ll_getxattr,
		.listxattr = ll_listxattr,
	};
	ll_writes(ops);
}

/* -- mounting -------------------------------------------------------------------------------- */

/* libfuse writes what went wrong to stderr; it is the cause our own message needs. */
static char fuse_said[256];
static void keep_message(enum fuse_log_level level, const char *fmt, va_list ap)
{
	if (level <= FUSE_LOG_ERR)
		vsnprintf(fuse_said, sizeof fuse_said, fmt, ap);
	fuse_said[strcspn(fuse_said, "\n")] = '\0';
}

static int new_fuse(struct kernel *k, const struct kernel_config *c, struct err *e)
{
	struct fuse_lowlevel_ops ops;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char source[320];
	snprintf(source, sizeof source, "-ofsname=%s,subtype=meshfs,nosuid,nodev,noatime%s", c->source,
		 c->binding ? ",allow_other,default_permissions" : "");
	fill_ops(&ops);
	fuse_set_log_func(keep_message);
	if (!fuse_opt_add_arg(&args, "meshfs") && !fuse_opt_add_arg(&args, source))
		k->fuse = fuse_session_new(&args, &ops, sizeof ops, k->session);
	fuse_opt_free_args(&args);
	return k->fuse ? 0 : err_set(e, -EIO, "cannot set up FUSE: %s", fuse_said);
}

static int mount_failed(struct kernel *k, struct err *e)
{
	if (access("/dev/fuse", R_OK | W_OK))
		return err_set(e, -EIO, "%s: cannot be mounted: /dev/fuse: %s; load the fuse module, or ask for access to it", k->mountpoint,
			       strerror(errno));
	return err_set(e, -EIO, "%s: cannot be mounted: %s", k->mountpoint,
		       *fuse_said ? fuse_said : "fusermount3 failed; is the package fuse3 installed?");
}

int kernel_mount(struct session *s, const struct kernel_config *c, struct kernel **ret, struct err *e)
{
	static const struct fuse_custom_io io = { .read = wire_read, .writev = wire_writev };
	struct kernel *k = calloc(1, sizeof *k);
	if (!k || !(k->mountpoint = strdup(c->mountpoint))) {
		free(k);
		return err_set(e, -ENOMEM, "no memory");
	}
	k->session = s;
	k->fd = -1;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&k->cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	k->want_passthrough = !c->no_passthrough && geteuid() == 0;
	s->kernel = k;
	*ret = k;
	int r = new_fuse(k, c, e);
	if (r)
		return r;
	if (fuse_session_mount(k->fuse, c->mountpoint))
		return mount_failed(k, e);
	k->fd = fuse_session_fd(k->fuse);
	fcntl(k->fd, F_SETFD, FD_CLOEXEC);
	if ((r = fuse_session_custom_io(k->fuse, &io, k->fd)))
		return err_set(e, -EIO, "cannot set up FUSE: %s", strerror(-r));
	return 0;
}

/* -- the loop -------------------------------------------------------------------------------- */

static void on_wake(int sig)
{
	(void)sig; /* only ends a read(2) */
}

static void *serve(void *arg)
{
	struct kernel *k = arg;
	struct fuse_buf buf = { 0 };
	sigset_t wake;
	sigemptyset(&wake);
	sigaddset(&wake, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	while (!atomic_load(&k->stopping) && !fuse_session_exited(k->fuse)) {
		int n = fuse_session_receive_buf(k->fuse, &buf);
		if (n > 0)
			fuse_session_process_buf(k->fuse, &buf);
		else if (n != -EINTR && n != -EAGAIN)
			break; /* unmounted (0) or the connection was aborted */
	}
	free(buf.mem);
	pthread_mutex_lock(&k->lock);
	k->ended = true; /* one thread that sees the end speaks for all */
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
	atomic_fetch_sub(&k->running, 1);
	return NULL;
}

int kernel_serve(struct kernel *k, struct err *e)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = cores * 2 < THREADS_MIN ? THREADS_MIN : cores * 2 > THREADS_MAX ? THREADS_MAX : (unsigned)cores * 2;
	struct sigaction wake = { .sa_handler = on_wake };
	sigaction(SIGUSR1, &wake, NULL);
	while (k->thread_count < want) {
		atomic_fetch_add(&k->running, 1);
		int r = thread_start(&k->threads[k->thread_count], "kernel", serve, k);
		if (r) {
			atomic_fetch_sub(&k->running, 1);
			if (!k->thread_count)
				return err_set(e, r, "cannot start a thread: %s", strerror(-r));
			break;
		}
		k->thread_count++;
	}
	return 0;
}

int kernel_wait(struct kernel *k, int64_t timeout_ms)
{
	struct timespec until;
	clock_deadline(CLOCK_MONOTONIC, timeout_ms < 0 ? 0 : timeout_ms, &until);
	int r = 0;
	pthread_mutex_lock(&k->lock);
	while (!k->ended && !k->asked && r != ETIMEDOUT)
		r = timeout_ms < 0 ? pthread_cond_wait(&k->cond, &k->lock) : pthread_cond_timedwait(&k->cond, &k->lock, &until);
	r = k->ended || k->asked ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&k->lock);
	return r;
}

void kernel_end(struct kernel *k)
{
	pthread_mutex_lock(&k->lock);
	k->asked = true;
	pthread_cond_broadcast(&k->cond);
	pthread_mutex_unlock(&k->lock);
}

static bool has_ended(struct kernel *k)
{
	pthread_mutex_lock(&k->lock);
	bool ended = k->ended;
	pthread_mutex_unlock(&k->lock);
	return ended;
}

void kernel_stop(struct kernel *k)
{
	if (!k || k->fd < 0)
		return;
	struct pollfd p = { .fd = k->fd };
	/* POLLERR: somebody unmounted it already. */
	if (!has_ended(k) && poll(&p, 1, 0) >= 0 && !(p.revents & POLLERR))
		mountpoint_detach(k->mountpoint);
	atomic_store(&k->stopping, true);
	fuse_session_exit(k->fuse);
	/* A signal that comes between the test and the read(2) is lost: again until all are out. */
	while (atomic_load(&k->running)) {
		for (unsigned i = 0; i < k->thread_count; i++)
			pthread_kill(k->threads[i], SIGUSR1);
		usleep(2000);
	}
	for (unsigned i = 0; i < k->thread_count; i++)
		pthread_join(k->threads[i], NULL);
	k->thread_count = 0;
}

void kernel_free(struct kernel *k)
{
	if (!k)
		return;
	if (k->fuse) {
		fuse_session_unmount(k->fuse); /* it is: this frees what libfuse keeps of it */
		fuse_session_destroy(k->fuse); /* closes the descriptor */
	}
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->cond);
	free(k->mountpoint);
	free(k);
}

/* -- passthrough ----------------------------------------------------------------------------- */

bool kernel_passthrough(const struct kernel *k)
{
	return atomic_load_explicit(&k->passthrough, memory_order_relaxed);
}

uint32_t kernel_backing_open(struct kernel *k, int fd)
{
	struct wire_backing_map map = { .fd = fd };
	if (atomic_load(&k->backing) >= BACKING_MAX)
		return 0;
	int id = ioctl(k->fd, WIRE_BACKING_OPEN, &map);
	if (id <= 0) {
		/* No CAP_SYS_ADMIN, or a cache on a stacked file system: it will not get better. */
		if (id < 0 && (errno == EPERM || errno == ELOOP || errno == EOPNOTSUPP) && atomic_exchange(&k->passthrough, false))
			log_info("files are read without passthrough: %s", strerror(errno));
		return 0;
	}
	atomic_fetch_add(&k->backing, 1);
	return (uint32_t)id;
}

void kernel_backing_close(struct kernel *k, uint32_t backing_id)
{
	ioctl(k->fd, WIRE_BACKING_CLOSE, &backing_id);
	atomic_fetch_sub(&k->backing, 1);
}

int kernel_reply_open(struct kernel *k, struct fuse_req *req, const struct op_open *open)
{
	(void)k;
	struct wire_open_out out = { .fh = open->handle, .backing_id = (int32_t)open->backing_id };
	if (open->backing_id)
		out.open_flags = WIRE_FOPEN_PASSTHROUGH;
	else if (open->direct_io)
		out.open_flags = WIRE_FOPEN_DIRECT_IO;
	else if (open->keep_cache)
		out.open_flags = WIRE_FOPEN_KEEP_CACHE;
	return fuse_reply_buf(req, (const char *)&out, sizeof out);
}

/* -- invalidations --------------------------------------------------------------------------- */

void kernel_notify_entry(struct kernel *k, uint64_t parent, const char *name)
{
	fuse_lowlevel_notify_inval_entry(k->fuse, opaque_node_put(&k->session->opaque, parent), name, strlen(name));
}

void kernel_notify_attributes(struct kernel *k, uint64_t node)
{
	fuse_lowlevel_notify_inval_inode(k->fuse, opaque_node_put(&k->session->opaque, node), -1, 0);
}

bool kernel_notify_epoch(struct kernel *k)
{
	struct wire_out_header out = { .len = sizeof out, .error = WIRE_NOTIFY_INC_EPOCH };
	if (atomic_load(&k->no_epoch))
		return false;
	if (write(k->fd, &out, sizeof out) == sizeof out)
		return true;
	atomic_store(&k->no_epoch, true);
	return false;
}

bool kernel_tune(struct kernel *k)
{
	if (atomic_load(&k->tuned) || geteuid() != 0)
		return true;
	if (!atomic_load(&k->ready))
		return false;
	atomic_store(&k->tuned, true);
	dev_t dev;
	char path[80], text[16];
	if (mountpoint_device(k->mountpoint, &dev))
		return true;
	snprintf(path, sizeof path, "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	int n = snprintf(text, sizeof text, "%d\n", READ_AHEAD_KB);
	if (write(fd, text, (size_t)n) != n)
		log_info("%s: %s; read-ahead stays small", path, strerror(errno));
	close(fd);
	return true;
}
