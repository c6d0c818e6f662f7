#include "catalog/store/file.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/store/backend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WALK_DEPTH_MAX 128 /* also bounds the descriptors held */
#define TEMP_AGE_S (24 * 3600)

struct walk {
	const char *prefix, *skip;
	int (*each)(void *, const char *, const struct object_info *);
	void *arg;
	char path[STORE_KEY_MAX + 1]; /* of the entry at hand, relative to the root */
};

/* May `path`, a folder, hold keys that start with the prefix? */
static bool leads_to_prefix(const char *path, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);
	return n <= len ? strncmp(path, prefix, n) == 0 : strncmp(path, prefix, len) == 0 && prefix[len] == '/';
}

static int walk_folder(struct walk *w, int fd, size_t len, int depth);

static int walk_entry(struct walk *w, int folder, const char *name, size_t len, int depth)
{
	struct stat st;
	size_t start = len ? len + 1 : 0, n = strlen(name);
	if (start + n > STORE_KEY_MAX)
		return 0; /* longer than any key: not ours */
	if (len)
		w->path[len] = '/';
	memcpy(w->path + start, name, n + 1);
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (S_ISREG(st.st_mode) && text_starts(w->path, w->prefix)) {
		struct object_info info;
		file_object_info(&st, &info);
		return w->each(w->arg, w->path, &info);
	}
	if (!S_ISDIR(st.st_mode) || !strcmp(w->path, w->skip) || !leads_to_prefix(w->path, start + n, w->prefix))
		return 0;
	if (depth >= WALK_DEPTH_MAX)
		return -ELOOP;
	int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return walk_folder(w, fd, start + n, depth + 1);
}

/* Takes `fd`. */
static int walk_folder(struct walk *w, int fd, size_t len, int depth)
{
	DIR *d = fdopendir(fd);
	if (!d) {
		int code = errno;
		close(fd);
		return -code;
	}
	int r = 0;
	const struct dirent *entry;
	while (!r && (errno = 0, entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = walk_entry(w, fd, entry->d_name, len, depth);
	}
	if (!r && errno)
		r = -errno;
	closedir(d);
	return r;
}

int file_walk(int root, const char *prefix, const char *skip, int (*each)(void *, const char *, const struct object_info *), void *arg)
{
	struct walk *w = malloc(sizeof *w);
	if (!w)
		return -ENOMEM;
	*w = (struct walk){ .prefix = prefix, .skip = skip, .each = each, .arg = arg };
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : walk_folder(w, fd, 0, 0);
	free(w);
	return r;
}

void file_remove_old_temps(const char *root, const char *folder)
{
	char *path = io_join(root, folder);
	DIR *d = path ? opendir(path) : NULL;
	const struct dirent *entry;
	struct stat st;
	while (d && (entry = readdir(d)))
		if (!fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
		    time(NULL) - st.st_mtime > TEMP_AGE_S)
			unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	free(path);
}
