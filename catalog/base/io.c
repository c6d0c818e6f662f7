#include "catalog/base/io.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/fs.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define COPY_STEP (8u << 20) /* bytes between two words to a progress callback */

int io_read_fd(int fd, const char *name, size_t max_bytes, struct buf *ret, struct err *e)
{
	size_t total = 0;
	for (;;) {
		size_t room = 65536;
		char *to = buf_reserve(ret, room);
		if (!to)
			return err_set(e, -ENOMEM, "%s: out of memory", name);
		ssize_t n = read(fd, to, room);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, -errno, "%s: %s", name, strerror(errno));
		buf_commit(ret, (size_t)n);
		total += (size_t)n;
		if (n == 0)
			return 0;
		if (total > max_bytes)
			return err_set(e, -EFBIG, "%s: larger than %zu bytes", name, max_bytes);
	}
}

int io_read_file(const char *path, size_t max_bytes, struct buf *ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	int r = io_read_fd(fd, path, max_bytes, ret, e);
	close(fd);
	return r;
}

static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	char *slash = strrchr(copy, '/');
	if (slash)
		slash[slash == copy] = '\0';
	int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd < 0)
		return -errno;
	int r = fsync(fd) ? -errno : 0;
	close(fd);
	return r;
}

static int replace(const char *path, const void *bytes, size_t len, mode_t mode, bool sync, struct err *e)
{
	char *temp = text_format("%s.XXXXXX", path);
	if (!temp)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	int r = 0, fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	r = io_write_full(fd, bytes, len);
	if (!r && (fchmod(fd, mode) || (sync && fsync(fd))))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(temp, path))
		r = -errno;
	if (r)
		unlink(temp);
	else if (sync)
		r = sync_parent(path);
out:
	free(temp);
	return r ? err_set(e, r, "%s: cannot write: %s", path, strerror(-r)) : 0;
}

int io_write_file(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e)
{
	return replace(path, bytes, len, mode, true, e);
}

int io_write_cached(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e)
{
	return replace(path, bytes, len, mode, false, e);
}

static int write_into(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, mode), r = fd < 0 ? -errno : io_write_full(fd, bytes, len);
	if (fd >= 0 && close(fd) && !r)
		r = -errno;
	return r ? err_set(e, r, "%s: cannot write: %s", path, strerror(-r)) : 0;
}

int io_write_output(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e)
{
	struct stat st;
	if (lstat(path, &st))
		return io_write_file(path, bytes, len, mode, e);
	if (stat(path, &st) || !S_ISREG(st.st_mode)) /* a link to what is not there yet, a device, a pipe */
		return write_into(path, bytes, len, mode, e);
	char *real = realpath(path, NULL);
	int r = io_write_file(real ? real : path, bytes, len, mode, e);
	free(real);
	return r;
}

int io_read_full(int fd, void *bytes, size_t len)
{
	char *p = bytes;
	while (len) {
		ssize_t n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pread_full(int fd, void *bytes, size_t len, uint64_t offset)
{
	char *p = bytes;
	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int io_write_full(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int io_pwrite_full(int fd, const void *bytes, size_t len, uint64_t offset)
{
	const char *p = bytes;
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int io_open_nameless(const char *folder)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return fd >= 0 ? fd : -errno;
	char *path = text_format("%s/nameless-XXXXXX", folder); /* a file system without O_TMPFILE */
	if (!path)
		return -ENOMEM;
	fd = mkostemp(path, O_CLOEXEC);
	int r = fd >= 0 ? fd : -errno;
	if (fd >= 0)
		unlink(path);
	free(path);
	return r;
}

int io_open_scratch(void)
{
	const char *folder = getenv("TMPDIR");
	return io_open_nameless(folder && *folder == '/' ? folder : "/tmp");
}

int io_make_scratch_folder(const char *name, char **ret)
{
	const char *place = getenv("TMPDIR");
	char *folder = text_format("%s/%s-XXXXXX", place && *place ? place : "/tmp", name);
	int r = !folder ? -ENOMEM : mkdtemp(folder) ? 0 : -errno;
	*ret = r ? NULL : folder;
	if (r)
		free(folder);
	return r;
}

int io_copy(int from, int to, uint64_t size, void (*progress)(void *arg, uint64_t bytes), void *arg)
{
	char *block = NULL;
	int r = 0;
	while (size && !r) {
		size_t want = size < COPY_STEP ? (size_t)size : COPY_STEP;
		ssize_t n = -1;
		if (!block) {
			n = copy_file_range(from, NULL, to, NULL, want, 0);
			if (n < 0 && errno == EINTR)
				continue;
			/* Not across these file systems, not for this kind of file, or a kernel that says 0 for /proc-like ones. */
			if (n <= 0 && !(block = malloc(COPY_STEP)))
				r = -ENOMEM;
			if (n <= 0)
				continue;
		} else {
			n = read(from, block, want);
			if (n < 0 && errno == EINTR)
				continue;
			r = n < 0 ? -errno : n == 0 ? -ENODATA : io_write_full(to, block, (size_t)n);
		}
		if (!r) {
			size -= (uint64_t)n;
			if (progress)
				progress(arg, (uint64_t)n);
		}
	}
	free(block);
	return r;
}

int io_make_folders(const char *path, mode_t mode, struct err *e)
{
	char *copy = strdup(path);
	if (!copy)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	int r = 0;
	for (char *p = copy + 1;; p++) {
		if (*p && *p != '/')
			continue;
		char c = *p;
		*p = '\0';
		if (mkdir(copy, mode) && errno != EEXIST) {
			r = err_set(e, -errno, "%s: cannot make the folder: %s", copy, strerror(errno));
			break;
		}
		*p = c;
		if (!c)
			break;
	}
	struct stat st;
	if (!r && (stat(path, &st) || !S_ISDIR(st.st_mode)))
		r = err_set(e, -ENOTDIR, "%s: not a folder", path);
	free(copy);
	return r;
}

int io_make_parents(const char *path, mode_t mode, struct err *e)
{
	const char *slash = strrchr(path, '/');
	if (!slash || slash == path)
		return 0;
	char *folder = strndup(path, (size_t)(slash - path));
	if (!folder)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	int r = io_make_folders(folder, mode, e);
	free(folder);
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path) && errno != ENOENT ? -1 : 0;
}

int io_remove_tree(const char *path, struct err *e)
{
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) && errno != ENOENT)
		return err_set(e, -errno, "%s: cannot remove: %s", path, strerror(errno));
	return 0;
}

char *io_join(const char *folder, const char *name)
{
	size_t n = strlen(folder);
	return text_format("%s%s%s", folder, n && folder[n - 1] == '/' ? "" : "/", name);
}

static const char *home(void)
{
	const char *h = getenv("HOME");
	if (h && *h)
		return h;
	const struct passwd *pw = getpwuid(getuid());
	return pw && pw->pw_dir ? pw->pw_dir : "/";
}

char *io_expand_home(const char *path)
{
	if (path[0] != '~' || (path[1] && path[1] != '/'))
		return strdup(path);
	return text_format("%s%s", home(), path + 1);
}

char *io_absolute(const char *base, const char *path)
{
	if (*path == '/')
		return strdup(path);
	char here[PATH_MAX];
	if (!base) {
		if (!getcwd(here, sizeof here))
			return NULL;
		base = here;
	}
	while (text_starts(path, "./"))
		path += 2;
	if (!strcmp(path, ".") || !*path)
		return strdup(base);
	return io_join(base, path);
}

char *io_canonical(const char *path)
{
	char *absolute = io_absolute(NULL, path), *slash = absolute ? strrchr(absolute, '/') : NULL;
	if (!slash || !slash[1] || !strcmp(slash, "/..") || !strcmp(slash, "/."))
		return absolute;
	*slash = '\0';
	char *folder = realpath(slash == absolute ? "/" : absolute, NULL);
	char *ret = folder ? io_join(folder, slash + 1) : NULL;
	*slash = '/';
	if (folder) {
		free(absolute);
		absolute = ret;
	}
	free(folder);
	return absolute;
}

static char *xdg(const char *variable, const char *under_home, const char *for_root)
{
	const char *v = getenv(variable);
	if (v && *v == '/')
		return io_join(v, "meshfs");
	if (geteuid() == 0)
		return strdup(for_root);
	return text_format("%s/%s/meshfs", home(), under_home);
}

char *io_state_folder(void)
{
	return xdg("XDG_STATE_HOME", ".local/state", "/var/lib/meshfs");
}

char *io_cache_folder(void)
{
	return xdg("XDG_CACHE_HOME", ".cache", "/var/cache/meshfs");
}

char *io_runtime_folder(void)
{
	const char *v = getenv("XDG_RUNTIME_DIR");
	if (v && *v == '/' && !access(v, W_OK))
		return io_join(v, "meshfs");
	if (geteuid() == 0)
		return strdup("/run/meshfs");
	char *folder = text_format("/tmp/meshfs-%u", (unsigned)geteuid());
	struct stat st;
	if (!folder)
		return NULL;
	if ((mkdir(folder, 0700) && errno != EEXIST) || lstat(folder, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 077)) {
		free(folder);
		return NULL;
	}
	return folder;
}

int io_check_room(int fd, uint64_t bytes)
{
	struct statvfs st;
	if (fstatvfs(fd, &st))
		return 0; /* the writes will tell */
	uint64_t room = (uint64_t)st.f_bavail * st.f_frsize;
	return bytes > room - room / 16 ? -ENOSPC : 0;
}

int io_is_network(const char *path)
{
	static const unsigned long network[] = {
		0x6969 /* NFS */, 0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */, 0x01021997 /* 9p */,
		0x65735546 /* FUSE */, 0x00c36400 /* Ceph */, 0x5346414f /* AFS */, 0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */,
	};
	struct statfs st;
	if (statfs(path, &st))
		return -errno;
	for (size_t i = 0; i < sizeof network / sizeof *network; i++)
		if ((unsigned long)(unsigned int)st.f_type == network[i])
			return 1;
	return 0;
}

void io_no_access_time(int fd)
{
	int flags = 0;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) || flags & FS_NOATIME_FL)
		return;
	flags |= FS_NOATIME_FL;
	ioctl(fd, FS_IOC_SETFLAGS, &flags);
}
