#include "fs/mountpoint.h"

#include "catalog/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_BYTES 16384

/* mountinfo writes blanks, tabs, newlines and backslashes of paths as \ooo. */
static void unescape(char *text)
{
	char *to = text;
	for (char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

/* "36 35 98:0 /root /mount/point rw,noatime … - type source options" */
static bool parse_line(char *line, const char *path, struct mount_entry *ret)
{
	unsigned major_number, minor_number;
	int at = 0, end = 0;
	if (sscanf(line, "%*s %*s %u:%u %*s %n%*s%n", &major_number, &minor_number, &at, &end) < 2 || end <= at)
		return false;
	char *tail = strstr(line + end, " - ");
	line[end] = '\0';
	unescape(line + at);
	if (strcmp(line + at, path) != 0)
		return false;
	char type[64] = "", source[256] = "";
	int options = 0;
	if (tail)
		sscanf(tail + 3, "%63s %255s %n", type, source, &options);
	const char *user = options ? strstr(tail + 3 + options, "user_id=") : NULL;
	ret->user = user ? (uid_t)strtoul(user + strlen("user_id="), NULL, 10) : 0;
	unescape(source);
	ret->device = makedev(major_number, minor_number);
	ret->ours = !strcmp(type, "fuse.meshfs");
	snprintf(ret->source, sizeof ret->source, "%s", source);
	return true;
}

int mountpoint_find(const char *path, struct mount_entry *ret)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = malloc(LINE_MAX_BYTES);
	bool found = false;
	while (f && line && fgets(line, LINE_MAX_BYTES, f))
		found |= parse_line(line, path, ret); /* later lines lie on top */
	if (f)
		fclose(f);
	free(line);
	return found ? 0 : -ENOENT;
}

int mountpoint_device(const char *path, dev_t *ret)
{
	struct mount_entry entry;
	int r = mountpoint_find(path, &entry);
	if (!r)
		*ret = entry.device;
	return r;
}

static int fusermount(const char *path, bool lazy, struct err *e)
{
	char unmount[] = "fusermount3", u[] = "-u", q[] = "-q", z[] = "-z", end[] = "--";
	char *argv[] = { unmount, u, q, lazy ? z : end, (char *)path, NULL };
	extern char **environ;
	pid_t pid;
	int status = 0;
	int r = posix_spawnp(&pid, "fusermount3", NULL, NULL, argv, environ);
	if (r == ENOENT) /* the mounting looks there too */
		r = posix_spawn(&pid, "/usr/bin/fusermount3", NULL, NULL, argv, environ);
	if (r)
		return err_set(e, -r, "%s: cannot be unmounted: fusermount3: %s; is the package fuse3 installed?", path, strerror(r));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EBUSY;
}

int mountpoint_unmount(const char *path, struct err *e)
{
	int r = 0;
	if (geteuid() != 0)
		r = fusermount(path, false, e);
	else if (umount2(path, UMOUNT_NOFOLLOW))
		r = -errno;
	if (r == -EBUSY)
		return err_set(e, r, "%s: is in use: a program reads it or has it as its current folder (fuser -vm %s shows which)", path, path);
	if (r && (!e || !e->code))
		return err_set(e, r, "%s: cannot be unmounted: %s", path, strerror(-r));
	return r;
}

int mountpoint_detach(const char *path)
{
	if (geteuid() != 0)
		return fusermount(path, true, NULL);
	return umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) ? -errno : 0;
}

/* realpath of the folder the mount point stands in, so that a dead mount at its end is not touched. */
static char *resolve(const char *path)
{
	char *whole = realpath(path, NULL);
	if (whole || errno != ENOTCONN)
		return whole;
	char *copy = strdup(path), *resolved = NULL;
	if (!copy)
		return NULL;
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *last = slash ? slash + 1 : copy;
	char *parent = realpath(!slash ? "." : slash == copy ? "/" : (*slash = '\0', copy), NULL);
	if (parent && asprintf(&resolved, "%s/%s", strcmp(parent, "/") ? parent : "", last) < 0)
		resolved = NULL;
	free(parent);
	free(copy);
	return resolved;
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	if (!dir)
		return true; /* the mount will say what is wrong */
	int entries = 0;
	while (entries < 3 && readdir(dir))
		entries++;
	closedir(dir);
	return entries <= 2;
}

/* A mount point that answers "Transport endpoint is not connected" was left behind by a process that was killed. */
static int mend(const char *path, struct err *e)
{
	struct stat st;
	struct mount_entry entry;
	if (!stat(path, &st) || errno != ENOTCONN || mountpoint_find(path, &entry))
		return 0;
	if (!entry.ours)
		return err_set(e, -ENOTCONN, "%s: a dead mount of another program (%s); unmount it first", path, entry.source);
	int r = mountpoint_detach(path);
	if (r)
		return err_set(e, r, "%s: a dead mount is left here and cannot be removed: %s", path, strerror(-r));
	log_info("%s: removed the mount that a killed process left behind", path);
	return 0;
}

int mountpoint_resolve(const char *path, char **ret, struct err *e)
{
	*ret = resolve(path);
	if (*ret)
		return 0;
	if (errno == ENOENT)
		return err_set_kind(e, ERR_FAIL, -ENOENT, "%s: no such folder", path);
	return err_set(e, -errno, "%s: %s", path, strerror(errno));
}

/* What fusermount3 asks of a mount point, which it refuses in words of its own. */
static bool may_mount_on(const char *path, const struct stat *st)
{
	uid_t user = geteuid();
	return user == 0 || (access(path, W_OK) == 0 && (!(st->st_mode & S_ISVTX) || st->st_uid == user));
}

int mountpoint_prepare(const char *path, bool over, char **ret, struct err *e)
{
	struct stat st;
	struct mount_entry entry;
	char *real = NULL;
	int r = mountpoint_resolve(path, &real, e);
	if (r == -ENOENT)
		return err_set_kind(e, ERR_FAIL, r, "%s: no such folder; make it first: mkdir -p %s", path, path);
	if (r)
		return r;
	r = mend(real, e);
	if (!r && stat(real, &st))
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
	else if (!r && !S_ISDIR(st.st_mode))
		r = err_set(e, -ENOTDIR, "%s: is not a folder", path);
	else if (!r && !mountpoint_find(real, &entry) && entry.ours)
		r = err_set(e, -EBUSY, "%s: %s is mounted here already; 'meshfs umount %s' first", path, entry.source, path);
	else if (!r && !may_mount_on(real, &st))
		r = err_set(e, -EACCES, "%s: only a folder of your own, in which you may write, can be mounted on; choose another one", path);
	else if (!r && !over && !is_empty(real))
		r = err_set(e, -ENOTEMPTY, "%s: is not empty; mount on an empty folder, or say --over to hide what is in it", path);
	if (r)
		free(real);
	else
		*ret = real;
	return r;
}
