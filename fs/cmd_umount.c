#include "fs/commands.h"

#include "fs/mountpoint.h"
#include "fs/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int not_yours(const char *path, uid_t user, struct err *e)
{
	if (!user)
		return err_set_kind(e, ERR_FAIL, -EPERM, "%s: root made this mount, and only root can unmount it", path);
	return err_set_kind(e, ERR_FAIL, -EPERM, "%s: the user with uid %u made this mount; only that user and root can unmount it", path, (unsigned)user);
}

static int umount_one(const char *path, struct err *e)
{
	struct mount_entry entry;
	char problem[ERR_TEXT_MAX];
	char *real = NULL;
	int r = mountpoint_resolve(path, &real, e);
	if (r)
		return r;
	if (mountpoint_find(real, &entry) || !entry.ours)
		r = err_set_kind(e, ERR_FAIL, -EINVAL, "%s: no mesh is mounted here", path);
	else if (geteuid() && geteuid() != entry.user)
		r = not_yours(path, entry.user, e);
	else
		r = mountpoint_unmount(real, e);
	/* What is mounted by another user's process has its file in that user's folder: the unmounting has to do. */
	if (!r && !registry_wait(real, problem, sizeof problem) && *problem)
		r = err_set(e, -EIO, "%s: is unmounted, but: %s", path, problem);
	free(real);
	return r;
}

int cmd_umount(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	int words;
	(void)inv;
	(void)ret_status;
	int r = options_parse("umount MOUNTPOINT…", "Unmounts.  Returns when everything that was read is on record.", NULL, 0, false, argc, argv,
			      &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (!words)
		return options_wrong(e, "umount", "umount: wants a mount point");
	for (int i = 0; i < words && !r; i++)
		r = umount_one(argv[i], e);
	return r;
}
