#include "fs/private.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = io_write_full(fd, text, strlen(text));
	close(fd);
	return r;
}

/* The caller keeps his numbers: files look and are owned as before, and exec takes the namespace's capabilities away again. */
static int map_self(uid_t uid, gid_t gid)
{
	char text[64];
	int r = write_text("/proc/self/setgroups", "deny");
	snprintf(text, sizeof text, "%u %u 1\n", uid, uid);
	if (!r || r == -ENOENT)
		r = write_text("/proc/self/uid_map", text);
	snprintf(text, sizeof text, "%u %u 1\n", gid, gid);
	return r ? r : write_text("/proc/self/gid_map", text);
}

/* In a chroot "/" need not be a mount, and the mount that it lies in cannot be named.  The others can.  If the hidden one is shared,
 * what the run mounts directly beneath it shows outside the chroot too, to this user alone as any mount, and goes with the run. */
static int stop_each(void)
{
	char room[8192];
	struct mntent entry;
	FILE *table = setmntent("/proc/self/mounts", "re");
	if (!table)
		return -errno;
	while (getmntent_r(table, &entry, room, sizeof room))
		mount(NULL, entry.mnt_dir, NULL, MS_SLAVE, NULL); /* one that another covers is out of reach for us as well */
	endmntent(table);
	return 0;
}

/* What others mount still comes in; what the run mounts does not go out. */
static int stop_propagation(void)
{
	if (!mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		return 0;
	return errno == EINVAL ? stop_each() : -errno;
}

int private_mounts(struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	if (uid != 0 || unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			return err_set_kind(e, ERR_FAIL, -EPERM,
					    "a private mount namespace is not allowed here (%s); give --at FOLDER to mount in the open, or run as root",
					    strerror(errno));
		int r = map_self(uid, gid);
		if (r)
			return err_set_kind(e, ERR_FAIL, -EIO, "cannot map the user into the new namespace: %s", strerror(-r));
	}
	int r = stop_propagation();
	return r ? err_set_kind(e, ERR_FAIL, r, "cannot make the mounts private: %s", strerror(-r)) : 0;
}
