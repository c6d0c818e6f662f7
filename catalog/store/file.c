/*
 * file:// — a folder.
 *
 * The folder belongs to a domain, which the reader may trust less than its own files: objects are opened beneath the
 * folder only (a link that leads out of it is refused), and only regular files are objects.
 *
 * Writing: bytes go to .mesh/tmp/<random>, are synced, and then take their name with rename() (replace) or link()
 * (exclusive: exactly one of two writers wins, also over NFS); last, the folder is synced.  A crash leaves at most a
 * temporary, which store_prepare removes once it is a day old.  .mesh is made with mode 0700; the files in it follow the
 * umask, so that a group that is let into .mesh can work there.
 */
#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/store/backend.h"
#include "catalog/store/file.h"
#include "catalog/store/file_reader.h"
#include "catalog/store/transfer.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEMP_FOLDER ".mesh/tmp"

struct file_store {
	struct store base;
	char *root; /* absolute path of the folder */
};

static struct file_store *file_store(struct store *s)
{
	return (struct file_store *)s;
}

void file_object_info(const struct stat *st, struct object_info *ret)
{
	ret->size = (uint64_t)st->st_size;
	ret->modified_ns = (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec;
	snprintf(ret->etag, sizeof ret->etag, "\"%llx-%llx-%llx\"", (unsigned long long)st->st_ino, (unsigned long long)st->st_size,
		 (unsigned long long)ret->modified_ns);
}

/* open(2) beneath `root`.  Where openat2 is missing (old kernels, narrow sandboxes) the last part at least is no link. */
static int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned long long)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = openat(root, path, flags | O_CLOEXEC | O_NOFOLLOW);
	return (int)fd;
}

static int open_root(struct file_store *s, struct err *e)
{
	int fd = open(s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* An unmounted disk is a store that cannot be reached, never one without objects. */
	if (fd < 0)
		return store_err(&s->base, NULL, e, errno == EACCES ? -EACCES : -EIO, "the store's folder %s: %s", s->root, strerror(errno));
	return fd;
}

static int open_error(struct file_store *s, const char *key, int code, struct err *e)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
		return store_err(&s->base, key, e, -ENOENT, "no such object in %s", s->root);
	case EXDEV:
	case ELOOP:
		return store_err(&s->base, key, e, -EACCES, "the file is a link that leads out of the store %s", s->root);
	case EACCES:
	case EPERM:
		return store_err(&s->base, key, e, -EACCES, "no permission to read it in %s", s->root);
	default:
		return store_err(&s->base, key, e, -EIO, "cannot open: %s", strerror(code));
	}
}

/* The object's descriptor (the caller's to close) and its state, or -errno. */
static int open_object(struct file_store *s, const char *key, const char *if_match, struct object_info *ret, struct err *e)
{
	struct stat st;
	int root = open_root(s, e);
	if (root < 0)
		return root;
	/* O_NONBLOCK: a FIFO someone put there must not hang us. */
	int fd = open_beneath(root, key, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	int code = errno;
	close(root);
	if (fd < 0)
		return open_error(s, key, code, e);
	if (fstat(fd, &st)) {
		code = errno;
		close(fd);
		return open_error(s, key, code, e);
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return store_err(&s->base, key, e, -ENOENT, "not a regular file in %s", s->root);
	}
	file_object_info(&st, ret);
	if (if_match && strcmp(if_match, ret->etag) != 0) {
		close(fd);
		return store_err(&s->base, key, e, -ESTALE, "the file was changed since it was registered");
	}
	return fd;
}

/* -- reading ------------------------------------------------------------------------------- */

static int open_for_reader(void *store, const char *key, const char *if_match, struct err *e)
{
	struct object_info info;
	return open_object(store, key, if_match, &info, e);
}

static int file_fetch(struct store *s, const struct fetch_request *q, struct fetch **ret, struct err *e)
{
	struct file_reader *reader = s->transfer ? transfer_reader(s->transfer) : NULL;
	int64_t deadline_ms = q->deadline_ms;
	if (!reader)
		return store_err(s, q->key, e, -ENOMEM, "no memory or threads to read files with");
	if (!deadline_ms)
		deadline_ms = transfer_settings(s->transfer)->deadline_ms;
	int r = file_reader_submit(reader, open_for_reader, s, q, deadline_ms, ret);
	return r ? store_err(s, q->key, e, r, "out of memory") : 0;
}

static int file_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *info, struct err *e)
{
	int r, fd = open_object(file_store(s), key, NULL, info, e);
	if (fd < 0)
		return fd;
	char *to;
	if (info->size > max_bytes)
		r = store_err(s, key, e, -EFBIG, "%llu bytes, more than the %zu allowed", (unsigned long long)info->size, max_bytes);
	else if (!(to = buf_reserve(ret, (size_t)info->size)))
		r = store_err(s, key, e, -ENOMEM, "out of memory");
	else if ((r = io_pread_full(fd, to, (size_t)info->size, 0)))
		r = store_err(s, key, e, r == -ENODATA ? -EBADMSG : -EIO, "cannot read: %s",
			      r == -ENODATA ? "the file became shorter" : strerror(-r));
	else
		buf_commit(ret, (size_t)info->size);
	close(fd);
	return r;
}

static int file_get_range(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *bytes, struct err *e)
{
	struct object_info info;
	int fd = open_object(file_store(s), key, if_match, &info, e);
	if (fd < 0)
		return fd;
	int r = io_pread_full(fd, bytes, len, offset);
	close(fd);
	if (r == -ENODATA)
		return store_err(s, key, e, -EBADMSG, "the object has %llu bytes, the range asked for ends at %llu",
				 (unsigned long long)info.size, (unsigned long long)(offset + len));
	return r ? store_err(s, key, e, -EIO, "cannot read: %s", strerror(-r)) : 0;
}

static int file_head(struct store *s, const char *key, struct object_info *info, struct err *e)
{
	int fd = open_object(file_store(s), key, NULL, info, e);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int file_get_fd(struct store *s, const char *key, int to, struct object_info *info, struct err *e)
{
	int fd = open_object(file_store(s), key, NULL, info, e);
	if (fd < 0)
		return fd;
	int r = io_copy(fd, to, info->size, NULL, NULL);
	close(fd);
	if (r == -ENODATA)
		return store_err(s, key, e, -EBADMSG, "the file became shorter while it was copied");
	return r ? store_err(s, key, e, r == -ENOSPC || r == -EDQUOT ? r : -EIO, "cannot copy: %s", strerror(-r)) : 0;
}

/* -- writing ------------------------------------------------------------------------------- */

/* Makes the folders of `path` (relative to root) and syncs the folder in which the first new one stands. */
static int make_folders(int root, const char *path)
{
	char part[STORE_KEY_MAX + 1];
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof part, "%.*s", (int)(slash - path), path);
		if (!mkdirat(root, part, !strcmp(part, ".mesh") ? 0700 : 0777)) {
			char *above = strrchr(part, '/');
			if (above)
				*above = '\0';
			int fd = open_beneath(root, above ? part : ".", O_RDONLY | O_DIRECTORY);
			int r = fd < 0 || fsync(fd) ? -errno : 0;
			if (fd >= 0)
				close(fd);
			if (r)
				return r;
		} else if (errno != EEXIST) {
			return -errno;
		}
	}
	return 0;
}

static int open_temp(int root, char name[64])
{
	unsigned char random[12];
	char hex[2 * sizeof random + 1];
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return -EIO;
	hex_format(random, sizeof random, hex);
	snprintf(name, 64, TEMP_FOLDER "/%s", hex);
	int r = make_folders(root, name);
	if (r)
		return r;
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	return fd < 0 ? -errno : fd;
}

static int sync_folder_of(int root, const char *key)
{
	char folder[STORE_KEY_MAX + 1];
	const char *slash = strrchr(key, '/');
	snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - key) : 1, slash ? key : ".");
	int fd = open_beneath(root, folder, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return -errno;
	int r = fsync(fd) ? -errno : 0;
	close(fd);
	return r;
}

/* Gives the temporary its exclusive name.  The temporary's own name may stay; the caller removes it. */
static int link_exclusive(int root, const char *temp, int temp_fd, const char *key)
{
	struct stat st;
	if (!linkat(root, temp, root, key, 0))
		return 0;
	int code = errno;
	/* An NFS server that answered twice says EEXIST for our own link: two names mean that it is ours. */
	if (code == EEXIST)
		return !fstat(temp_fd, &st) && st.st_nlink == 2 ? 0 : -EEXIST;
	if (code != EPERM && code != EOPNOTSUPP && code != ENOSYS && code != EMLINK)
		return -code;
	if (!syscall(SYS_renameat2, root, temp, root, key, 1u /* RENAME_NOREPLACE */))
		return 0;
	return errno == EEXIST ? -EEXIST : errno == EINVAL || errno == ENOSYS ? -EOPNOTSUPP : -errno;
}

/* Syncs the temporary and moves it to its place. */
static int settle(int root, const char *temp, int fd, const char *key, enum put_mode mode)
{
	if (fsync(fd))
		return -errno;
	int r = make_folders(root, key);
	if (r)
		return r;
	if (mode == PUT_EXCLUSIVE)
		r = link_exclusive(root, temp, fd, key);
	else
		r = renameat(root, temp, root, key) ? -errno : 0;
	return r ? r : sync_folder_of(root, key);
}

static int put_error(struct file_store *s, const char *key, int r, struct err *e)
{
	switch (r) {
	case -EEXIST:
		return store_err(&s->base, key, e, -EEXIST, "the object exists already");
	case -EOPNOTSUPP:
		return store_err(&s->base, key, e, -EOPNOTSUPP, "the file system of %s cannot create a file exclusively", s->root);
	case -EACCES:
	case -EPERM:
		return store_err(&s->base, key, e, -EACCES, "no permission to write in %s", s->root);
	case -ENOSPC:
	case -EDQUOT:
		return store_err(&s->base, key, e, r, "cannot write in %s: %s; make room there, and try again", s->root, strerror(-r));
	case -EROFS:
	case -ENOMEM:
		return store_err(&s->base, key, e, r, "cannot write in %s: %s", s->root, strerror(-r));
	default:
		return store_err(&s->base, key, e, -EIO, "cannot write in %s: %s", s->root, strerror(-r));
	}
}

/* Bytes from memory (from_fd < 0) or `len` bytes of a file. */
static int put_any(struct file_store *s, const char *key, const void *bytes, int from_fd, uint64_t len, enum put_mode mode,
		   void (*progress)(void *, uint64_t), void *arg, struct err *e)
{
	char temp[64];
	int root = open_root(s, e);
	if (root < 0)
		return root;
	int r, fd = open_temp(root, temp);
	if (fd < 0) {
		r = put_error(s, key, fd, e);
		close(root);
		return r;
	}
	r = from_fd < 0 ? io_write_full(fd, bytes, (size_t)len) : io_copy(from_fd, fd, len, progress, arg);
	if (r == -ENODATA)
		r = store_err(&s->base, key, e, -EBADMSG, "the source file became shorter while it was copied");
	else if (r || (r = settle(root, temp, fd, key, mode)))
		r = put_error(s, key, r, e);
	if (close(fd) && !r)
		r = put_error(s, key, -errno, e);
	unlinkat(root, temp, 0); /* gone already after a rename */
	close(root);
	return r;
}

static int file_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e)
{
	return put_any(file_store(s), key, bytes, -1, len, mode, NULL, NULL, e);
}

static int file_put_fd(struct store *s, const char *key, int fd, uint64_t size, void (*progress)(void *, uint64_t), void *arg,
		       struct err *e)
{
	return put_any(file_store(s), key, NULL, fd, size, PUT_REPLACE, progress, arg, e);
}

static int file_delete(struct store *s, const char *key, struct err *e)
{
	int root = open_root(file_store(s), e);
	if (root < 0)
		return root;
	int r = unlinkat(root, key, 0) && errno != ENOENT && errno != ENOTDIR ? -errno : 0;
	close(root);
	return r ? put_error(file_store(s), key, r, e) : 0;
}

static int file_prepare(struct store *s, struct err *e)
{
	struct file_store *f = file_store(s);
	int r = io_make_folders(f->root, 0777, e);
	if (r)
		return err_prefix(e, r, "%s", s->label);
	int root = open_root(f, e);
	if (root < 0)
		return root;
	r = make_folders(root, TEMP_FOLDER "/");
	close(root);
	if (r)
		return put_error(f, ".mesh", r, e);
	file_remove_old_temps(f->root, TEMP_FOLDER);
	return 0;
}

/* -- the rest ------------------------------------------------------------------------------ */

static int file_list(struct store *s, const char *prefix, int (*each)(void *, const char *, const struct object_info *), void *arg,
		     struct err *e)
{
	int root = open_root(file_store(s), e);
	if (root < 0)
		return root;
	int r = file_walk(root, prefix, TEMP_FOLDER, each, arg);
	close(root);
	if (r < 0 && !e->code)
		store_err(s, prefix, e, r, "cannot list: %s", strerror(-r));
	return r;
}

static void file_free(struct store *s)
{
	free(file_store(s)->root);
	free(s);
}

static bool file_ours(const struct store *s)
{
	const struct file_store *f = (const struct file_store *)s;
	struct stat st;
	int root = open(f->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool ours = root >= 0 && !fstatat(root, ".mesh", &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode) &&
		    (st.st_uid == geteuid() || (geteuid() && !faccessat(root, ".mesh", W_OK | X_OK, AT_EACCESS)));
	if (root >= 0)
		close(root);
	return ours;
}

static const struct backend file_backend = {
	.fetch = file_fetch,
	.get = file_get,
	.get_fd = file_get_fd,
	.get_range = file_get_range,
	.head = file_head,
	.put = file_put,
	.put_fd = file_put_fd,
	.delete = file_delete,
	.list = file_list,
	.prepare = file_prepare,
	.ours = file_ours,
	.free = file_free,
};

int file_store_new(struct transfer *t, const char *url, struct store **ret, struct err *e)
{
	char *path = url_file_path(url);
	(void)t;
	if (!path && errno == ENOMEM)
		return err_set(e, -ENOMEM, "out of memory");
	if (!path)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: a file store's path is absolute, as in file:///srv/sales", url);
	struct file_store *s = calloc(1, sizeof *s);
	if (!s) {
		free(path);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->root = path;
	for (size_t n = strlen(s->root); n > 1 && s->root[n - 1] == '/'; n--)
		s->root[n - 1] = '\0';
	s->base.backend = &file_backend;
	s->base.writable = true;
	*ret = &s->base;
	return 0;
}
