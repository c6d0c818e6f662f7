/*
 * Mount points as the system sees them (/proc/self/mountinfo): never by touching the mount itself, which may be ours or dead.
 * Thread rules: any thread.
 */
#ifndef MESHFS_FS_MOUNTPOINT_H
#define MESHFS_FS_MOUNTPOINT_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <sys/types.h>

struct mount_entry {
	dev_t device;
	bool ours;        /* type fuse.meshfs */
	uid_t user;       /* who mounted it */
	char source[256]; /* "meshfs:acme" */
};

/* The topmost mount at exactly this path: 0, or -ENOENT. */
int mountpoint_find(const char *path, struct mount_entry *ret);
int mountpoint_device(const char *path, dev_t *ret);

/* The path without symlinks; a dead mount at its end is not touched.  The caller's. */
int mountpoint_resolve(const char *path, char **ret, struct err *e);

/* May something be mounted there?  An absolute path without symlinks is returned (the caller's).  A mount whose process was killed is
 * removed first.  Refuses what is mounted already, and a folder that is not there or (unless `over`) not empty. */
int mountpoint_prepare(const char *path, bool over, char **ret, struct err *e);

/* Unmounts now (busy: -EBUSY), as root or through fusermount3. */
int mountpoint_unmount(const char *path, struct err *e);
/* Takes it out of the tree even when it is busy. */
int mountpoint_detach(const char *path);

#endif
