/*
 * The mounts of this user on this host: one file each in the runtime folder, locked (flock) by the process that serves
 * it, so that a killed one is known by its free lock.  `umount` waits for the lock; `status` lists.
 */
#ifndef MESHFS_FS_REGISTRY_H
#define MESHFS_FS_REGISTRY_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct registration;

struct mount_facts {
	const char *mountpoint, *mesh, *mesh_path, *user, *purpose, *run, *run_id, *log;
	pid_t pid;
	int64_t started_ns;
};

/* The lock lasts until registry_end (or the process is gone). */
int registry_begin(const struct mount_facts *facts, struct registration **ret, struct err *e);
/* `problem`: what could not be done at the end ("" when all is well); who waits is told. */
void registry_end(struct registration *r, const char *problem);

/* Waits until the process that serves the mount is gone.  -ENOENT: none is known; 0, with its problem ("" mostly) in ret_problem. */
int registry_wait(const char *mountpoint, char *ret_problem, size_t size);

/* Calls `each` for every mount on record; `alive`: its process still serves it.  Files of dead ones that are not mounted are removed. */
int registry_list(int (*each)(void *arg, const struct mount_facts *facts, bool alive), void *arg);

#endif
