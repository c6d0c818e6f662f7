/*
 * One request of the kernel: answered exactly once, parked while it waits, interruptible.
 *
 * A handler gets an op, fills in what it needs and ends in exactly one op_reply_* or op_fail, which consume it, or in
 * op_park, after which somebody else takes it up again (op_resume) or fails it.  A parked request that its caller
 * interrupts is answered with EINTR by a worker; whoever comes later finds it claimed, and the reply functions then report
 * -EINTR so that what was taken for the reply (lookup counts, handles) can be given back.
 *
 * Locks: op->lock is taken with nothing else held and held only to settle who answers.  The interrupt callback of libfuse runs
 * under libfuse's own locks and takes no lock but the worker queue's.
 */
#ifndef MESHFS_FS_OP_H
#define MESHFS_FS_OP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

struct content;
struct fuse_req;
struct session;
struct place;

struct op {
	struct fuse_req *req;
	struct session *session;
	/* Takes the request up, at first and again after a wait.  Runs on a kernel thread or a worker; must not wait for the network. */
	void (*run)(struct op *op);

	/* What was asked, copied so that it outlives the kernel's buffer. */
	uint64_t node;
	const char *name; /* NULL when the request has none */
	uint64_t handle;
	size_t size;
	int64_t offset;
	int flags;
	pid_t pid;
	int64_t arrived_ns; /* monotonic; of lookups and readings of folders */

	/* How far it got; read and written by the thread that holds the op. */
	bool waited;    /* a domain was asked once already */
	bool on_worker; /* runs on a session worker: may take long */
	bool plus;      /* readdirplus */
	bool held;      /* the list of the folder is made, and the moment to show it has come (fs/hold.h) */
	struct content *content; /* a reference that goes with the op: what it waited for */

	/* Owned by this module. */
	pthread_mutex_t lock; /* guards claimed, registered */
	bool claimed;         /* somebody answers or has answered */
	bool registered;      /* the interrupt callback holds a reference */
	bool reading;         /* interrupts count only when the caller is being killed */
	atomic_uint refs;
	atomic_bool interrupted;
	_Atomic uint64_t token; /* the wait of fs/content.h to end when interrupted; 0: none */
	atomic_bool *cancel;	/* set by an interrupt, which then leaves the answer to who works for the op; NULL: it answers */
	struct op *parked_next, **parked_at; /* in the session's list while registered; guarded by session->parked_lock */
	int64_t due_ns;         /* fs/hold.h: when it may be answered; guarded by its lock */
	struct op *next;        /* in the list of who waits for the same thing; guarded by the list's lock */
};

/* What the session calls the node that the kernel calls `number` (fs/opaque.h): every handler begins with it. */
uint64_t op_node(struct fuse_req *req, uint64_t number);
/* NULL without memory (then the request is answered). */
struct op *op_new(struct fuse_req *req, void (*run)(struct op *op), uint64_t node, const char *name);
struct op *op_ref(struct op *op);
void op_unref(struct op *op);

/* From here on the caller may be interrupted.  The reference passes to who will resume or fail it. */
void op_park(struct op *op);
/* The same for an op that somebody works for, who alone knows how it ends: an interrupt sets *cancel, which outlives the op. */
void op_park_cancel(struct op *op, atomic_bool *cancel);
void op_resume(struct op *op);
/* A wait of the read path began (or ended: 0).  Ends it at once when the interrupt came first. */
void op_set_token(struct op *op, uint64_t token);
/* Goes on with op->run on a worker of the session, where it may take long. */
void op_defer(struct op *op);

/* After the loop has ended: ends every wait of the read path and waits a while for the rest.  False: some still wait for a store. */
bool op_settle(struct session *s, int64_t timeout_ms);

/* Answers.  Each consumes the op; 0, or a negative errno when the kernel did not take the answer. */
struct op_entry {
	uint64_t id;
	struct stat st;
	double entry_timeout, attr_timeout; /* seconds */
};
#define FOREVER_S (365.0 * 86400)

struct op_open {
	uint64_t handle;
	bool keep_cache, direct_io;
	uint32_t backing_id; /* passthrough when not 0 */
};

int op_fail(struct op *op, int code); /* a negative errno; the only place where errnos turn positive */
int op_ok(struct op *op);
int op_reply_entry(struct op *op, const struct op_entry *entry);
int op_reply_attr(struct op *op, const struct stat *st, double timeout);
int op_reply_link(struct op *op, const char *target);
int op_reply_open(struct op *op, const struct op_open *open);
int op_reply_bytes(struct op *op, const void *bytes, size_t len);
int op_reply_parts(struct op *op, const struct iovec *parts, size_t count);
int op_reply_size(struct op *op, size_t size); /* extended attributes: how large it is */
int op_reply_written(struct op *op, size_t size);
int op_reply_create(struct op *op, const struct op_entry *entry, const struct op_open *open);
int op_reply_statfs(struct op *op, const struct statvfs *st);

/* A buffer of directory entries as the kernel wants them. */
size_t op_add_entry(struct op *op, char *at, size_t room, const char *name, const struct stat *st, int64_t next_offset);
/* `entry` NULL: listed without attributes. */
size_t op_add_entry_plus(struct op *op, char *at, size_t room, const char *name, const struct stat *st, const struct op_entry *entry,
			 int64_t next_offset);

#endif
