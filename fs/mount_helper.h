/*
 * mount(8)'s helper: `mount.fuse.meshfs SOURCE MOUNTPOINT [-sfnv] [-o OPTIONS]`, where SOURCE is the mesh file.  An fstab line:
 *
 *     /srv/mesh/mesh.yaml  /mesh  fuse.meshfs  noauto,as=ana,purpose=training  0 0
 */
#ifndef MESHFS_FS_MOUNT_HELPER_H
#define MESHFS_FS_MOUNT_HELPER_H

#include "catalog/base/err.h"

#include <stdbool.h>

struct mount_options {
	const char *purpose, *run, *user;
	bool foreground, over;
};

/* Mounts and returns when the mount answers (or, in the foreground, when it has ended). */
int mount_mesh(const char *mesh_path, const char *mountpoint, const struct mount_options *o, struct err *e);

/* Is the program called under the helper's name? */
bool mount_helper_named(const char *argv0);
int mount_helper_main(int argc, char **argv);

/* One comma-separated list of options ("purpose=training,as=ana,noauto"); `text` is cut up and stays in use. */
int mount_helper_options(char *text, struct mount_options *ret, struct err *e);

#endif
