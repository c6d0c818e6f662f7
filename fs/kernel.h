/*
 * The connection to the kernel: INIT, the request loop, mounting, passthrough, invalidations.
 *
 * libfuse 3.17 and later know passthrough.  Before (Debian 12, Ubuntu 24.04 ship 3.14) it is spoken by hand: requests are read and replies
 * written by functions of ours (fuse_session_custom_io), which add FUSE_PASSTHROUGH to the INIT reply; backing files are
 * registered with the ioctls of /dev/fuse; the reply to OPEN is our own struct.  It needs CAP_SYS_ADMIN and Linux 6.9; where either is
 * missing kernel_passthrough() is false and files are read through us with FOPEN_KEEP_CACHE, which is always right because a node's
 * bytes never change.
 *
 * Modes do not mix: a node id is cached or passthrough, and passthrough opens must all name the same backing id.  Hence
 * promoted twins (node.h): only they pass through, their first open decides, and the id is held until FORGET.
 *
 * Thread rules: kernel_notify_* only from the notifier thread, without locks: the kernel may hold what a handler needs.
 */
#ifndef MESHFS_FS_KERNEL_H
#define MESHFS_FS_KERNEL_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct fuse_req;
struct kernel;
struct op_open;
struct session;

struct kernel_config {
	const char *mountpoint;
	const char *source;   /* shown by mount(8): "meshfs:acme" */
	bool binding;         /* for another user: allow_other and default_permissions */
	bool no_passthrough;
};

/* Mounts.  No request is answered before kernel_serve. */
int kernel_mount(struct session *s, const struct kernel_config *c, struct kernel **ret, struct err *e);
/* Starts the threads that answer requests. */
int kernel_serve(struct kernel *k, struct err *e);
/* Waits until the connection has ended.  0 or -ETIMEDOUT; a negative timeout waits for ever. */
int kernel_wait(struct kernel *k, int64_t timeout_ms);
void kernel_end(struct kernel *k); /* kernel_wait returns */
/* Ends the loop and joins the threads; unmounts (lazily when busy).  Replies to parked requests are still legal afterwards. */
void kernel_stop(struct kernel *k);
void kernel_free(struct kernel *k); /* no request may be unanswered any more */

bool kernel_passthrough(const struct kernel *k);
/* Registers an open file; 0 when it cannot be.  The descriptor may be closed afterwards. */
uint32_t kernel_backing_open(struct kernel *k, int fd);
void kernel_backing_close(struct kernel *k, uint32_t backing_id);
/* For op.c: the answer to OPEN. */
int kernel_reply_open(struct kernel *k, struct fuse_req *req, const struct op_open *open);

void kernel_notify_entry(struct kernel *k, uint64_t parent, const char *name);
/* Stales every name the kernel knows (Linux 6.16); false: it cannot. */
bool kernel_notify_epoch(struct kernel *k);
void kernel_notify_attributes(struct kernel *k, uint64_t node);
/* After INIT, and as root: larger read-ahead for this mount.  True when there is nothing left to do. */
bool kernel_tune(struct kernel *k);

#endif
