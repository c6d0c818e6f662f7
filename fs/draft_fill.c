/*
 * The publication and the folder: files go into it as they are, and what has gone from the folder goes from it.
 *
 * What is in the publication with the same inode, size and times is left alone.  Did anything come twice, or go again, then the checks have
 * seen too much (feed->dirty).
 */
#include "fs/draft_feed.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- files ------------------------------------------------------------------------------------------- */

static bool same_file(const struct fed_file *f, const struct stat *st)
{
	return f->dev == st->st_dev && f->ino == st->st_ino && f->size == st->st_size && f->mtime.tv_sec == st->st_mtim.tv_sec &&
	       f->mtime.tv_nsec == st->st_mtim.tv_nsec && f->ctime.tv_sec == st->st_ctim.tv_sec && f->ctime.tv_nsec == st->st_ctim.tv_nsec;
}

static int remember(struct feed *f, const char *path, const struct stat *st, struct err *e)
{
	struct fed_file *file = map_gets(f->files, path);
	if (!file && (!(file = malloc(sizeof *file)) || map_sets(f->files, path, file))) {
		free(file);
		return err_set(e, -ENOMEM, "no memory");
	}
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
		if (map_set(f->folders, path, (size_t)(slash - path), f, NULL))
			return err_set(e, -ENOMEM, "no memory");
	*file = (struct fed_file){ st->st_dev, st->st_ino, st->st_size, st->st_mtim, st->st_ctim };
	return 0;
}

int feed_file(struct draft *d, const char *where, const char *path, struct err *e)
{
	struct feed *f = d->feed;
	struct stat st;
	int fd = draft_open_file(d, where);
	if (fd < 0)
		return err_set(e, fd, "%s: %s", path, strerror(-fd));
	int r = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	struct fed_file *known = r ? NULL : map_gets(f->files, path);
	if (!r && !(known && same_file(known, &st))) {
		feed_changed(f);
		f->dirty |= known != NULL;
		r = publish_add_fd(f->publication, path, fd, path, e);
		if (!r)
			r = remember(f, path, &st, e);
		else
			f->dirty = true; /* the checks may have seen a part of it */
	}
	close(fd);
	return r;
}

/* -- what has gone --------------------------------------------------------------------------------------- */

/* A path that was fed and is not the same file any more, or -ENOENT. */
static int find_stale(struct draft *d, struct buf *ret)
{
	struct feed *f = d->feed;
	size_t i = 0, len;
	const void *key;
	void *value;
	struct stat st;
	while (map_next(f->files, &i, &key, &len, &value)) {
		buf_clear(ret);
		buf_adds(ret, "files/");
		buf_add(ret, key, len);
		if (draft_stat(d, buf_text(ret), &st) || !S_ISREG(st.st_mode) || !same_file(value, &st))
			return buf_check(ret);
	}
	return -ENOENT;
}

/* The folders that a file came with go with it, where they are folders no more.  `where` is cut at them. */
static int remove_folders(struct draft *d, char *where, struct err *e)
{
	struct stat st;
	char *slash;
	int r = 0;
	while (!r && (slash = strrchr(where, '/')) && slash > where + 5) {
		*slash = '\0';
		if (!draft_stat(d, where, &st) && S_ISDIR(st.st_mode))
			break;
		r = publish_remove(d->feed->publication, where + 6, e);
	}
	return r;
}

static int remove_stale(struct draft *d, char *where, struct err *e)
{
	struct feed *f = d->feed;
	const char *path = where + 6;
	int r = publish_remove(f->publication, path, e);
	free(map_remove(f->files, path, strlen(path)));
	feed_changed(f);
	f->dirty = true;
	return r;
}

/* Removes from the publication what is not in the folder as it was taken. */
static int remove_gone(struct draft *d, struct err *e)
{
	struct buf path = BUF_INIT, gone = BUF_INIT;
	int r = 0;
	while (!r && !find_stale(d, &path)) {
		buf_add(&gone, buf_text(&path), path.len + 1);
		r = remove_stale(d, path.data, e);
	}
	if (!r && buf_check(&gone))
		r = err_set(e, -ENOMEM, "no memory");
	for (size_t i = 0, next; !r && i < gone.len; i = next) {
		next = i + strlen(gone.data + i) + 1; /* before it is cut */
		r = remove_folders(d, gone.data + i, e);
		if (r == -ENOENT) { /* with another file */
			err_clear(e);
			r = 0;
		}
	}
	buf_free(&path);
	buf_free(&gone);
	return r;
}

/* Was a file taken where the path needs a folder, or a folder where it is a file? */
static bool is_in_the_way(const struct feed *f, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
		if (map_get(f->files, path, (size_t)(slash - path)))
			return true;
	return map_gets(f->folders, path) != NULL;
}

int feed_file_over(struct draft *d, const char *where, const char *path, struct err *e)
{
	int r = is_in_the_way(d->feed, path) ? remove_gone(d, e) : 0;
	return r ? r : feed_file(d, where, path, e);
}

/* -- the walk ------------------------------------------------------------------------------------------ */

static int feed_link(struct draft *d, const char *where, const char *path, const struct stat *st, struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(d->dir, where, target, sizeof target);
	if (n < 0 || (size_t)n == sizeof target)
		return err_set(e, n < 0 ? -errno : -ENAMETOOLONG, "%s: the symlink cannot be read", path);
	return publish_add_symlink(d->feed->publication, path, target, (size_t)n,
				   (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec, e);
}

static int walk(struct draft *d, const char *where, struct err *e);

static int walk_entry(struct draft *d, const char *where, struct err *e)
{
	const char *path = where + 6; /* "files/" */
	struct stat st;
	if (atomic_load(&d->cancel))
		return err_set(e, -EINTR, "interrupted");
	if (fstatat(d->dir, where, &st, AT_SYMLINK_NOFOLLOW))
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (S_ISREG(st.st_mode))
		return feed_file(d, where, path, e);
	if (S_ISLNK(st.st_mode))
		return feed_link(d, where, path, &st, e);
	if (!S_ISDIR(st.st_mode))
		return err_set_kind(e, ERR_REFUSED, -EPERM, "%s: only files, folders and symlinks can be published", path);
	int r = publish_add_folder(d->feed->publication, path, (int64_t)st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec, e);
	return r ? r : walk(d, where, e);
}

static int walk(struct draft *d, const char *where, struct err *e)
{
	struct dirent **entries = NULL;
	int r = 0, count = scandirat(d->dir, where, &entries, NULL, alphasort);
	if (count < 0)
		return err_set(e, -errno, "%s: %s", where, strerror(errno));
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		char *path = NULL;
		if (!r && strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
			path = io_join(where, name);
			r = path ? walk_entry(d, path, e) : err_set(e, -ENOMEM, "no memory");
		}
		free(path);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int feed_settle(struct draft *d, struct err *e)
{
	int r = remove_gone(d, e);
	return r ? r : walk(d, "files", e);
}
