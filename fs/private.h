/*
 * A private mount namespace for a run: what is mounted there is seen by the run's processes only.
 *
 * Root makes one directly.  Others make it inside a user namespace in which they keep their own uid and gid; where the machine
 * forbids that, -EPERM.  Call it while the process has one thread.
 */
#ifndef MESHFS_FS_PRIVATE_H
#define MESHFS_FS_PRIVATE_H

#include "catalog/base/err.h"

int private_mounts(struct err *e);

#endif
