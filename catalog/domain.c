#include "catalog/domain.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/store/url.h"
#include "catalog/domain_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HISTORY_CHECK_MS 60000       /* how often a refresh makes sure that the store did not go backwards */
#define FETCH_PIECE (8u << 20)
#define SCRATCH_KEPT_S (24 * 3600)   /* old snapshots may still be open in another process, scratch files in use */

/* -- opening ------------------------------------------------------------------------------- */

static char *folder_of(const struct mesh_config *mesh, const struct mesh_domain *config)
{
	struct digest digest;
	char hex[SHA256_HEX_SIZE];
	char *identity = text_format("%s\n%s", config->store, config->endpoint ? config->endpoint : "");
	if (!identity)
		return NULL;
	sha256_of(identity, strlen(identity), &digest);
	free(identity);
	hex_format(digest.bytes, SHA256_SIZE, hex);
	return text_format("%s/domains/%s-%.16s", mesh->cache_folder, config->name, hex);
}

/* "file:///srv/data" to "/srv/data/.mesh/heads"; NULL for other stores. */
static char *heads_folder_of(const char *url)
{
	char *path = url_file_path(url);
	char *ret = path ? text_format("%s/.mesh/heads", path) : NULL;
	free(path);
	return ret;
}

static int make_folders(struct domain *d, struct err *e)
{
	const char *folders[] = { d->folder, d->snapshots, d->manifests_folder, d->tmp };
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		int r = folders[i] ? io_make_folders(folders[i], 0700, e) : err_set(e, -ENOMEM, "%s: out of memory", d->name);
		if (r)
			return r;
	}
	return 0;
}

/* -- a cache that cannot be written ---------------------------------------------------------- */

/* Does a disk that is full, broken, not ours or not there (a home that cannot be made) say so? */
static bool spare_error(int code)
{
	return code == -ENOENT || code == -ENOTDIR || code == -ENOSPC || code == -EDQUOT || code == -EROFS || code == -EACCES || code == -EPERM || code == -EIO;
}

static char *spare_folder(struct domain *d)
{
	char *there = atomic_load(&d->spare), *none = NULL;
	if (there)
		return there;
	char *name = text_format("meshfs-%s", d->name), *made = NULL;
	if (name)
		io_make_scratch_folder(name, &made);
	free(name);
	if (!made)
		return NULL;
	if (atomic_compare_exchange_strong(&d->spare, &none, made))
		return made;
	rmdir(made);
	free(made);
	return none;
}

static void drop_spare(struct domain *d)
{
	char *folder = atomic_load(&d->spare);
	if (folder)
		io_remove_tree(folder, NULL);
	free(folder);
}

static int load_local(struct domain *d, bool *ret_changed);

int domain_open(const struct mesh_config *mesh, const struct mesh_domain *config, struct transfer *t, struct domain **ret, struct err *e)
{
	struct domain *d = calloc(1, sizeof *d);
	if (!d)
		return err_set(e, -ENOMEM, "%s: out of memory", config->name);
	bool changed;
	struct err why = ERR_INIT;
	strncpy(d->name, config->name, NAME_SIZE - 1);
	d->single_writer = config->single_writer;
	pthread_mutex_init(&d->commit_lock, NULL);
	pthread_mutex_init(&d->refresh_lock, NULL);
	pthread_mutex_init(&d->lock, NULL);
	int r = manifest_cache_new(&d->manifests);
	if (r)
		err_set(e, r, "%s: out of memory", d->name);
	d->folder = folder_of(mesh, config);
	if (!r && d->folder) {
		d->snapshots = io_join(d->folder, "snapshots");
		d->manifests_folder = io_join(d->folder, "manifests");
		d->tmp = io_join(d->folder, "tmp");
		d->heads_folder = heads_folder_of(config->store);
	}
	if (!r && (r = make_folders(d, &why)) != 0) {
		/* A catalog that is already here is read all the same, others go to the spare folder. */
		r = spare_error(r) ? 0 : err_move(e, &why);
	}
	if (!r)
		r = store_open(t, config->name, config->store, config->endpoint, config->region, &d->store, e);
	if (r) {
		domain_free(d);
		return r;
	}
	load_local(d, &changed); /* nothing usable there is no error: a refresh fetches it */
	*ret = d;
	return 0;
}

void domain_free(struct domain *d)
{
	if (!d)
		return;
	manifest_cache_free(d->manifests);
	snapshot_unref(d->current);
	store_free(d->store);
	pthread_mutex_destroy(&d->commit_lock);
	pthread_mutex_destroy(&d->refresh_lock);
	pthread_mutex_destroy(&d->lock);
	drop_spare(d);
	free(d->folder);
	free(d->snapshots);
	free(d->manifests_folder);
	free(d->tmp);
	free(d->heads_folder);
	free(d);
}

const char *domain_name(const struct domain *d)
{
	return d->name;
}

const char *domain_identity(const struct domain *d)
{
	return strrchr(d->folder, '/') + 1;
}

struct store *domain_store(struct domain *d)
{
	return d->store;
}

const char *domain_cache_folder(const struct domain *d)
{
	return d->folder;
}

void domain_watch_folders(const struct domain *d, const char **ret_cache, const char **ret_heads)
{
	*ret_cache = d->folder;
	*ret_heads = d->heads_folder && access(d->heads_folder, R_OK | X_OK) == 0 ? d->heads_folder : NULL;
}

struct snapshot *domain_snapshot(struct domain *d)
{
	pthread_mutex_lock(&d->lock);
	struct snapshot *s = snapshot_ref(d->current);
	pthread_mutex_unlock(&d->lock);
	return s;
}

static void get_seen(struct domain *d, struct head *ret, bool *ret_current)
{
	pthread_mutex_lock(&d->lock);
	*ret = d->seen;
	*ret_current = d->current && digest_equal(snapshot_digest(d->current), &d->seen.snapshot);
	pthread_mutex_unlock(&d->lock);
}

/* Takes over the reference `s` (may be NULL: only the head is known); an older generation changes nothing. */
static bool set_current(struct domain *d, const struct head *h, struct snapshot *s)
{
	pthread_mutex_lock(&d->lock);
	bool newer = h->generation >= d->seen.generation;
	if (newer)
		d->seen = *h;
	struct snapshot *old = s;
	bool changed = newer && s && (!d->current || snapshot_generation(s) > snapshot_generation(d->current));
	if (changed) {
		old = d->current;
		d->current = s;
	}
	pthread_mutex_unlock(&d->lock);
	snapshot_unref(old);
	return changed;
}

/* -- the cache folder ---------------------------------------------------------------------- */

static char *hashed_path(const char *folder, const struct digest *digest)
{
	char hex[SHA256_HEX_SIZE];
	hex_format(digest->bytes, SHA256_SIZE, hex);
	return io_join(folder, hex);
}

static int read_local_head(struct domain *d, struct head *ret)
{
	struct buf text = BUF_INIT;
	char *path = io_join(d->folder, "generation");
	int r = path ? io_read_file(path, HEAD_BYTES_MAX, &text, NULL) : -ENOMEM;
	if (!r)
		r = head_parse(path, buf_text(&text), text.len, ret, NULL);
	if (!r && strcmp(ret->domain, d->name) != 0)
		r = -EBADMSG;
	buf_free(&text);
	free(path);
	return r;
}

/* Opens the snapshot of `h` at `path` and checks that the two agree. */
static int open_snapshot(struct domain *d, const struct head *h, const char *path, struct snapshot **ret, struct err *e)
{
	struct snapshot *s;
	int r = snapshot_open(path, d->name, &h->snapshot, &s, e);
	if (r)
		return r;
	if (snapshot_generation(s) != h->generation) {
		r = err_set(e, -EBADMSG, "%s: head %" PRIu64 " names a snapshot of generation %" PRIu64, d->name, h->generation,
			    snapshot_generation(s));
		snapshot_unref(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* What another process, or this one earlier, left in the cache folder. */
static int load_local(struct domain *d, bool *ret_changed)
{
	struct head h, seen;
	struct snapshot *s = NULL;
	bool current;
	*ret_changed = false;
	get_seen(d, &seen, &current);
	int r = read_local_head(d, &h);
	if (r || (h.generation <= seen.generation && current))
		return r;
	char *path = hashed_path(d->snapshots, &h.snapshot);
	r = path ? open_snapshot(d, &h, path, &s, NULL) : -ENOMEM;
	if (r == -EBADMSG)
		unlink(path);
	*ret_changed = set_current(d, &h, s);
	free(path);
	return r;
}

/* Replaces `generation`, unless another process has put a newer one there. */
static int write_local_head(struct domain *d, const struct head *h, struct err *e)
{
	struct buf text = BUF_INIT;
	struct head there;
	char *path = io_join(d->folder, "generation"), *lock = io_join(d->folder, "lock");
	int fd = -1, r = path && lock ? 0 : err_set(e, -ENOMEM, "%s: out of memory", d->name);
	if (!r) {
		fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		while (fd >= 0 && flock(fd, LOCK_EX) && errno == EINTR)
			;
		if (fd < 0)
			r = err_set(e, -errno, "%s: %s", lock, strerror(errno));
	}
	if (!r && (read_local_head(d, &there) || there.generation < h->generation)) {
		head_format(h, &text);
		r = buf_check(&text) ? -ENOMEM : io_write_file(path, text.data, text.len, 0600, e);
	}
	if (fd >= 0)
		close(fd);
	buf_free(&text);
	free(path);
	free(lock);
	return r;
}

/* Removes files of `folder` that are older than a day, but for `keep` (may be NULL). */
static void tidy(const char *folder, const char *keep)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	struct stat st;
	if (!dir)
		return;
	int64_t limit_s = clock_now_ns() / NS_PER_S - SCRATCH_KEPT_S;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' || (keep && !strcmp(entry->d_name, keep)))
			continue;
		if (!fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && st.st_mtime < limit_s)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}

static bool in_spare(struct domain *d, const char *path)
{
	const char *spare = atomic_load(&d->spare);
	return spare && text_starts(path, spare) && path[strlen(spare)] == '/';
}

int domain_adopt_locked(struct domain *d, const struct head *h, const char *path, struct err *e)
{
	struct snapshot *s = NULL;
	struct err why = ERR_INIT;
	char hex[SHA256_HEX_SIZE];
	char *kept = hashed_path(d->snapshots, &h->snapshot);
	int r = kept ? 0 : err_set(e, -ENOMEM, "%s: out of memory", d->name);
	if (!r && strcmp(kept, path) != 0 && !in_spare(d, path) && rename(path, kept))
		r = err_set(e, -errno, "%s: %s", kept, strerror(errno));
	if (!r)
		r = open_snapshot(d, h, in_spare(d, path) ? path : kept, &s, e);
	if (!r && (r = write_local_head(d, h, &why)) != 0)
		r = spare_error(r) ? 0 : err_move(e, &why); /* then the next process asks the store anew */
	if (!r) {
		set_current(d, h, s);
		hex_format(h->snapshot.bytes, SHA256_SIZE, hex);
		tidy(d->snapshots, hex);
		tidy(d->tmp, NULL);
	} else {
		snapshot_unref(s);
	}
	free(kept);
	return r;
}

/* -- the store ----------------------------------------------------------------------------- */

static int fetch_pieces(struct domain *d, const char *key, uint64_t size, const struct digest *digest, int fd, int *ret_disk, struct err *e)
{
	struct digest found;
	struct sha256 *h = sha256_new();
	char *piece = malloc(size < FETCH_PIECE ? (size ? size : 1) : FETCH_PIECE);
	int r = h && piece ? 0 : err_set(e, -ENOMEM, "%s: out of memory", d->name);
	for (uint64_t at = 0; !r && at < size;) {
		size_t n = size - at < FETCH_PIECE ? (size_t)(size - at) : FETCH_PIECE;
		r = store_get_range(d->store, key, at, n, NULL, piece, e);
		if (r)
			break;
		sha256_update(h, piece, n);
		*ret_disk = r = io_write_full(fd, piece, n);
		at += n;
	}
	if (!r) {
		sha256_final(h, &found);
		if (!digest_equal(&found, digest))
			r = err_set(e, -EBADMSG, "%s: %s: the bytes in the store do not match their hash", d->name, key);
	}
	if (!r && fsync(fd))
		*ret_disk = r = -errno;
	sha256_free(h);
	free(piece);
	return r;
}

/* To <folder>/<digest> by way of `tmp`.  `ret_disk`: what the disk failed with (and `e` says nothing yet), else 0. */
static int fetch_to(struct domain *d, const char *key, uint64_t size, const struct digest *digest, const char *tmp, const char *folder,
		    char **ret_path, int *ret_disk, struct err *e)
{
	char *scratch = text_format("%s/fetch-XXXXXX", tmp), *path = hashed_path(folder, digest);
	int fd = -1, r = scratch && path ? 0 : err_set(e, -ENOMEM, "%s: out of memory", d->name);
	*ret_disk = 0;
	if (!r && (fd = mkostemp(scratch, O_CLOEXEC)) < 0)
		*ret_disk = r = -errno;
	if (!r)
		*ret_disk = r = io_check_room(fd, size);
	if (!r)
		r = fetch_pieces(d, key, size, digest, fd, ret_disk, e);
	if (!r && rename(scratch, path))
		*ret_disk = r = -errno;
	if (fd >= 0) {
		close(fd);
		if (r)
			unlink(scratch);
	}
	free(scratch);
	if (r)
		free(path);
	else
		*ret_path = path;
	return r;
}

static int cannot_keep(struct domain *d, const char *key, uint64_t size, const char *where, int code, struct err *e)
{
	if (code == -ENOSPC)
		return err_set(e, code, "%s: %s: there is no room for its %" PRIu64 " bytes in %s: make room ('meshfs cache prune'), or set cache: dir: in mesh.yaml",
			       d->name, key, size, where);
	return err_set(e, code, "%s: %s: %s", d->name, where, strerror(-code));
}

int domain_fetch(struct domain *d, const char *key, uint64_t size, const struct digest *digest, const char *folder, char **ret_path,
		 struct err *e)
{
	int disk;
	int r = fetch_to(d, key, size, digest, d->tmp, folder, ret_path, &disk, e);
	const char *spare = disk && spare_error(disk) ? spare_folder(d) : NULL;
	if (!spare)
		return disk ? cannot_keep(d, key, size, d->tmp, disk, e) : r;
	if (!d->folder_told) {
		d->folder_told = true;
		log_warn("%s: %s: %s: its catalog is kept in %s while this runs", d->name, d->tmp, strerror(-disk), spare);
	}
	r = fetch_to(d, key, size, digest, spare, spare, ret_path, &disk, e);
	return disk ? cannot_keep(d, key, size, spare, disk, e) : r;
}

/* Heads are never replaced or deleted, so the one we know must still be there, unchanged. */
static int check_history(struct domain *d, const struct head *seen, struct err *e)
{
	struct head there;
	int r = heads_read(d->store, d->name, seen->generation, &there, e);
	if (r && r != -ENOENT)
		return r;
	if (!r && digest_equal(&there.snapshot, &seen->snapshot))
		return 0;
	if (r == -ENOENT)
		return err_set_kind(e, ERR_INTEGRITY, -ESTALE,
				    "%s: the store went backwards: generation %" PRIu64 " was seen here and is gone (an old copy was restored, "
				    "or it was tampered with); the newer one is kept. If that is meant, remove %s",
				    d->name, seen->generation, d->folder);
	return err_set_kind(e, ERR_INTEGRITY, -ESTALE,
			    "%s: the store's generation %" PRIu64 " is not the one that was seen here (another history was put there, or it was "
			    "tampered with); the one seen is kept. If that is meant, remove %s",
			    d->name, seen->generation, d->folder);
}

static int fetch_snapshot(struct domain *d, const struct head *h, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	char *path = hashed_path(d->snapshots, &h->snapshot);
	if (!path)
		return err_set(e, -ENOMEM, "%s: out of memory", d->name);
	snapshot_key(&h->snapshot, key);
	int r = 0;
	struct snapshot *s;
	if (!access(path, R_OK) && !open_snapshot(d, h, path, &s, NULL)) {
		snapshot_unref(s); /* it is here already */
	} else {
		free(path);
		path = NULL;
		r = domain_fetch(d, key, h->size, &h->snapshot, d->snapshots, &path, e);
	}
	if (r == -ENOENT)
		r = err_set(e, -EBADMSG, "%s: head %" PRIu64 " names a snapshot that is not in the store", d->name, h->generation);
	if (!r)
		r = domain_adopt_locked(d, h, path, e);
	free(path);
	if (r == -EBADMSG)
		r = err_advise(e, r, "whoever runs domain %s must restore %s in its store from a copy", d->name, key);
	return r;
}

static int refresh_locked(struct domain *d, bool check, bool *ret_changed, struct err *e)
{
	struct head seen, newest;
	bool current, changed = false;
	load_local(d, &changed);
	get_seen(d, &seen, &current);
	*ret_changed = changed;
	if (seen.generation && (check || !d->checked_ms || clock_mono_ms() - d->checked_ms > HISTORY_CHECK_MS)) {
		int r = check_history(d, &seen, e);
		if (r)
			return r;
	}
	int r = heads_newest(d->store, d->name, &seen, &newest, e);
	if (r)
		return r;
	if (!seen.generation || check || !d->checked_ms || clock_mono_ms() - d->checked_ms > HISTORY_CHECK_MS)
		d->checked_ms = clock_mono_ms();
	if (!newest.generation)
		return err_set(e, -ENOENT, "%s: there is no catalog in %s; check the URL, or make one with 'meshfs domain add'", d->name,
			       store_url(d->store));
	if (newest.generation == seen.generation && current)
		return 0;
	r = fetch_snapshot(d, &newest, e);
	if (!r)
		*ret_changed = true;
	return r;
}

int domain_refresh_now(struct domain *d, bool check_the_history, bool *ret_changed, struct err *e)
{
	bool changed = false;
	pthread_mutex_lock(&d->refresh_lock);
	int r = refresh_locked(d, check_the_history, &changed, e);
	pthread_mutex_unlock(&d->refresh_lock);
	if (ret_changed)
		*ret_changed = changed;
	return r;
}

int domain_refresh(struct domain *d, bool *ret_changed, struct err *e)
{
	return domain_refresh_now(d, false, ret_changed, e);
}
