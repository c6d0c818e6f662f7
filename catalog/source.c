#include "catalog/source.h"

#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/manifest.h"
#include "catalog/manifest_schema.h"
#include "catalog/publish.h"
#include "catalog/store/store.h"
#include "catalog/store/url.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 512 /* a descriptor a level */

struct walk {
	struct publication *p;        /* NULL: only look */
	struct source_totals *totals; /* when only looking */
	const char *key;              /* in place: the key of what is walked; NULL: bytes are copied */
	struct buf path;              /* in the version */
	struct buf local;             /* for messages */
	struct err *e;
	int depth;
};

static int64_t time_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* An error about the path under way, printed safely. */
static int say(struct walk *w, enum err_kind kind, int code, const char *what)
{
	char *name = text_printable(buf_text(&w->local), w->local.len);
	err_set_kind(w->e, kind, code, "%s: %s", name ? name : "(a file)", what);
	free(name);
	return code;
}

static int say_errno(struct walk *w, int code)
{
	if (code == -ENOENT)
		return say(w, ERR_FAIL, -ENOENT, "vanished while it was published; publish again when nothing changes the source");
	return say(w, ERR_FAIL, code, strerror(-code));
}

static int check_kind(struct walk *w, const struct stat *st)
{
	const char *what = S_ISFIFO(st->st_mode)   ? "a pipe"
			   : S_ISSOCK(st->st_mode) ? "a socket"
			   : S_ISBLK(st->st_mode)  ? "a block device"
			   : S_ISCHR(st->st_mode)  ? "a character device"
						   : NULL;
	char text[128];
	if (!what)
		return 0;
	snprintf(text, sizeof text, "is %s and cannot be published; remove it or leave it out", what);
	return say(w, ERR_FAIL, -EINVAL, text);
}

static int visit_link(struct walk *w, int folder, const char *name, const struct stat *st)
{
	char target[MANIFEST_TARGET_MAX + 1];
	ssize_t n = readlinkat(folder, name, target, sizeof target);
	if (n < 0)
		return say_errno(w, -errno);
	if (w->p)
		return publish_add_symlink(w->p, buf_text(&w->path), target, (size_t)n, time_ns(st->st_mtim), w->e);
	if (!symlink_check(buf_text(&w->path), target, (size_t)n))
		return 0;
	return say(w, ERR_FAIL, -EXDEV,
		   "the symlink may lead out of the version; make it relative to a file in the version, or leave it out");
}

static int register_file(struct walk *w, const struct stat *st)
{
	char *key = *w->key ? text_format("%s/%s", w->key, buf_text(&w->path)) : strdup(buf_text(&w->path));
	int r = key ? publish_add_object(w->p, buf_text(&w->path), key, st->st_mode & S_IXUSR, w->e) : err_set(w->e, -ENOMEM, "no memory");
	free(key);
	return r;
}

static int visit_file(struct walk *w, int folder, const char *name, const struct stat *st)
{
	if (!w->p) {
		w->totals->files++;
		w->totals->bytes += (uint64_t)st->st_size;
		return 0;
	}
	if (w->key)
		return register_file(w, st);
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return say_errno(w, -errno);
	char *printable = text_printable(buf_text(&w->local), w->local.len);
	int r = printable ? publish_add_fd(w->p, buf_text(&w->path), fd, printable, w->e) : err_set(w->e, -ENOMEM, "no memory");
	free(printable);
	close(fd);
	return r;
}

/* -- folders -------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct names {
	struct buf text;
	char **items; /* into `text` */
	size_t count;
};

static void names_free(struct names *n)
{
	buf_free(&n->text);
	free(n->items);
}

/* The folder's names, sorted. */
static int names_read(int fd, struct names *ret)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	if (!d) {
		int r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	for (;;) {
		errno = 0;
		struct dirent *de = readdir(d);
		if (!de)
			break;
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		buf_add(&ret->text, de->d_name, strlen(de->d_name) + 1);
		ret->count++;
	}
	int r = errno ? -errno : buf_check(&ret->text);
	closedir(d);
	ret->items = r ? NULL : malloc((ret->count + 1) * sizeof *ret->items);
	if (!ret->items)
		return r ? r : -ENOMEM;
	char *at = ret->text.data;
	for (size_t i = 0; i < ret->count; i++, at += strlen(at) + 1)
		ret->items[i] = at;
	if (ret->count > 1)
		qsort(ret->items, ret->count, sizeof *ret->items, compare_names);
	return 0;
}

static int visit_folder(struct walk *w, int fd, const struct stat *st);

static int visit_subfolder(struct walk *w, int folder, const char *name)
{
	struct stat st;
	int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return say_errno(w, -errno);
	int r = fstat(fd, &st) ? say_errno(w, -errno) : visit_folder(w, fd, &st);
	close(fd);
	return r;
}

/* One name of a folder.  Subfolders are only counted in the first pass: *ret_is_folder. */
static int visit_name(struct walk *w, int folder, const char *name, bool *ret_is_folder)
{
	struct stat st;
	if (!strcmp(name, ".mesh") && w->key && !*w->key && w->depth == 1)
		return 0; /* the catalog of the store that is being registered whole */
	if (!strcmp(name, ".mesh"))
		return say(w, ERR_FAIL, -EINVAL, "'.mesh' is reserved and cannot be published; rename it or leave it out");
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW))
		return say_errno(w, -errno);
	int r = check_kind(w, &st);
	if (r)
		return r;
	*ret_is_folder = S_ISDIR(st.st_mode);
	if (S_ISDIR(st.st_mode))
		return 0;
	return S_ISLNK(st.st_mode) ? visit_link(w, folder, name, &st) : visit_file(w, folder, name, &st);
}

static void enter(struct walk *w, const char *name, size_t *ret_path, size_t *ret_local)
{
	*ret_path = w->path.len;
	*ret_local = w->local.len;
	if (w->path.len)
		buf_addc(&w->path, '/');
	buf_adds(&w->path, name);
	if (w->local.len && w->local.data[w->local.len - 1] != '/')
		buf_addc(&w->local, '/');
	buf_adds(&w->local, name);
}

static void cut(struct buf *b, size_t len)
{
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

static void leave(struct walk *w, size_t path, size_t local)
{
	cut(&w->path, path);
	cut(&w->local, local);
}

static int visit_folder(struct walk *w, int fd, const struct stat *st)
{
	struct names names = { .text = BUF_INIT };
	size_t path, local, folders = 0;
	if (++w->depth > DEPTH_MAX)
		return say(w, ERR_FAIL, -ELOOP, "folders are nested too deeply to be published");
	int r = w->p ? publish_add_folder(w->p, buf_text(&w->path), time_ns(st->st_mtim), w->e) : 0;
	if (!r) {
		r = names_read(fd, &names);
		if (r)
			say_errno(w, r);
	}
	/* Files first, so that the files of a folder are neighbours in their packs; folders move to the front of the list. */
	for (size_t i = 0; i < names.count && !r; i++) {
		bool is_folder = false;
		enter(w, names.items[i], &path, &local);
		r = visit_name(w, fd, names.items[i], &is_folder);
		leave(w, path, local);
		if (is_folder)
			names.items[folders++] = names.items[i];
	}
	for (size_t i = 0; i < folders && !r; i++) {
		enter(w, names.items[i], &path, &local);
		r = visit_subfolder(w, fd, names.items[i]);
		leave(w, path, local);
	}
	names_free(&names);
	w->depth--;
	return r;
}

/* -- what was named on the command line ----------------------------------------------------- */

/* The name that a source stands under: its last part ("." and "x/.." by what they really are).  The caller's; NULL: none. */
static char *source_name(const char *path)
{
	char *real = NULL;
	size_t len = strlen(path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	const char *name = memrchr(path, '/', len);
	name = name ? name + 1 : path;
	size_t n = len - (size_t)(name - path);
	if (!n || (n == 1 && name[0] == '.') || (n == 2 && !memcmp(name, "..", 2))) {
		real = realpath(path, NULL);
		name = real ? strrchr(real, '/') + 1 : "";
		n = strlen(name);
	}
	char *copy = n ? strndup(name, n) : NULL;
	free(real);
	return copy;
}

static int visit_source(struct walk *w, const char *path, bool alone)
{
	struct stat st;
	cut(&w->path, 0);
	cut(&w->local, 0);
	buf_adds(&w->local, path);
	/* A symlink that was named is followed: its target is meant. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return say(w, ERR_ABSENT, -ENOENT, "no such file or folder");
	int r = fd < 0 ? (errno == ENXIO ? say(w, ERR_FAIL, -EINVAL, "is a socket or a pipe and cannot be published") : say_errno(w, -errno))
		       : fstat(fd, &st) ? say_errno(w, -errno)
					: check_kind(w, &st);
	char *name = NULL;
	if (!r && !(alone && S_ISDIR(st.st_mode))) {
		name = source_name(path);
		r = !name		    ? say(w, ERR_FAIL, -EINVAL, "has no name to be published under")
		    : !strcmp(name, ".mesh") ? say(w, ERR_FAIL, -EINVAL, "'.mesh' is reserved and cannot be published")
					     : 0;
		if (!r)
			buf_adds(&w->path, name);
	}
	if (!r && S_ISDIR(st.st_mode)) {
		r = visit_folder(w, fd, &st);
	} else if (!r && !w->p) {
		w->totals->files++;
		w->totals->bytes += (uint64_t)st.st_size;
	} else if (!r) {
		r = w->key ? register_file(w, &st) : publish_add_fd(w->p, buf_text(&w->path), fd, path, w->e);
	}
	free(name);
	if (fd >= 0)
		close(fd);
	return r;
}

static int visit_sources(struct walk *w, const char *const *paths, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && !r; i++)
		r = visit_source(w, paths[i], count == 1);
	buf_free(&w->path);
	buf_free(&w->local);
	return r;
}

int source_scan(const char *const *paths, size_t count, struct source_totals *ret, struct err *e)
{
	struct walk w = { .totals = ret, .path = BUF_INIT, .local = BUF_INIT, .e = e };
	*ret = (struct source_totals){ 0, 0 };
	return visit_sources(&w, paths, count);
}

int source_publish(struct publication *p, const char *const *paths, size_t count, struct err *e)
{
	struct walk w = { .p = p, .path = BUF_INIT, .local = BUF_INIT, .e = e };
	return visit_sources(&w, paths, count);
}

/* -- in place ------------------------------------------------------------------------------- */

/* The key of `source` in the store: the caller's; NULL with an error when it is not in there. */
static char *in_place_key(struct store *s, const char *source, struct err *e)
{
	const char *url = store_url(s);
	const char *key = source;
	char *root = NULL, *real = NULL, *ret = NULL;
	if (text_starts(url, "file://")) {
		char *path = url_file_path(url);
		root = path ? realpath(path, NULL) : NULL;
		free(path);
		real = realpath(source, NULL);
		size_t len = root ? strlen(root) : 0;
		if (!real) {
			err_set(e, -ENOENT, "%s: %s", source, strerror(errno));
		} else if (!root || strncmp(real, root, len) != 0 || (real[len] != '/' && real[len])) {
			err_set(e, -EINVAL, "%s: does not lie in the store %s; leave --in-place out to publish a copy", source, url);
			real[0] = '\0';
		} else {
			key = real[len] ? real + len + 1 : "";
		}
		if (!real || !*real)
			goto out;
	} else if (text_starts(source, url)) {
		key = source + strlen(url);
	}
	while (*key == '/')
		key++;
	ret = strdup(key);
	for (size_t n = ret ? strlen(ret) : 0; n && ret[n - 1] == '/'; n--)
		ret[n - 1] = '\0';
	if (ret && (!strcmp(ret, ".mesh") || text_starts(ret, ".mesh/"))) {
		err_set(e, -EINVAL, "%s: the catalog's own folder cannot be published", source);
		free(ret);
		ret = NULL;
	}
out:
	free(root);
	free(real);
	return ret;
}

struct listing {
	struct publication *p;
	struct source_totals *totals;
	struct buf keys; /* NUL after each */
	const char *prefix;
	size_t count;
};

/* Keys are kept and registered after the listing: callbacks must not call the store. */
static int list_key(void *arg, const char *key, const struct object_info *info)
{
	struct listing *l = arg;
	const size_t n = strlen(l->prefix);
	const bool below = !n || (!strncmp(key, l->prefix, n) && key[n] == '/');
	if ((!below && strcmp(key, l->prefix) != 0) || text_starts(key, ".mesh/") || text_ends(key, "/"))
		return 0;
	l->totals->files++;
	l->totals->bytes += info->size;
	buf_add(&l->keys, key, strlen(key) + 1);
	l->count++;
	return buf_check(&l->keys);
}

static int list_objects(struct store *s, const char *prefix, struct listing *l, const char *source, struct err *e)
{
	l->prefix = prefix;
	int r = store_list(s, prefix, list_key, l, e);
	if (!r && !l->count)
		r = err_set(e, -ENOENT, "%s: there is no such object in %s", source, store_url(s));
	return r;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int register_objects(struct listing *l, struct err *e)
{
	const char **keys = malloc((l->count + 1) * sizeof *keys);
	const size_t n = strlen(l->prefix);
	int r = keys ? 0 : err_set(e, -ENOMEM, "no memory");
	const char *at = l->keys.data;
	for (size_t i = 0; !r && i < l->count; i++, at += strlen(at) + 1)
		keys[i] = at;
	if (!r)
		qsort(keys, l->count, sizeof *keys, compare_keys);
	for (size_t i = 0; !r && i < l->count; i++) {
		const char *slash = strrchr(keys[i], '/');
		const char *path = strcmp(keys[i], l->prefix) ? keys[i] + n + (n ? 1 : 0) : slash ? slash + 1 : keys[i];
		r = publish_add_object(l->p, path, keys[i], false, e);
	}
	free(keys);
	return r;
}

/* A file:// store is walked, so that folders, links and executable bits are kept; other stores are listed. */
static int in_place(struct walk *w, struct store *s, const char *source, struct source_totals *totals)
{
	char *key = in_place_key(s, source, w->e);
	if (!key)
		return w->e && w->e->code ? w->e->code : -EINVAL;
	int r;
	if (text_starts(store_url(s), "file://")) {
		struct stat st;
		if (stat(source, &st) == 0 && !S_ISDIR(st.st_mode)) { /* one file: its folder's key */
			char *slash = strrchr(key, '/');
			if (slash)
				*slash = '\0';
			else
				*key = '\0';
		}
		w->key = key;
		r = visit_sources(w, &source, 1);
	} else {
		struct listing l = { .p = w->p, .totals = totals, .keys = BUF_INIT };
		r = list_objects(s, key, &l, source, w->e);
		if (!r && w->p)
			r = register_objects(&l, w->e);
		buf_free(&l.keys);
	}
	free(key);
	return r;
}

int source_in_place_scan(struct store *s, const char *source, struct source_totals *ret, struct err *e)
{
	struct walk w = { .totals = ret, .path = BUF_INIT, .local = BUF_INIT, .e = e };
	*ret = (struct source_totals){ 0, 0 };
	return in_place(&w, s, source, ret);
}

int source_in_place(struct publication *p, struct store *s, const char *source, struct err *e)
{
	struct source_totals totals = { 0, 0 };
	struct walk w = { .p = p, .path = BUF_INIT, .local = BUF_INIT, .e = e };
	return in_place(&w, s, source, &totals);
}
