/*
 * The feeder: one thread a draft, which publishes it.
 *
 * While the draft is written, files that have been closed for a moment are added to a publication, and so chunked, checked and
 * uploaded.  At the rename the folder is walked: what is in the publication with the same inode, size and times is left alone, the
 * rest is added or removed.  Did anything come twice, or go again, then the checks have seen too much, and run again over the
 * files as they are (from the local disk; nothing is uploaded twice).  Any failure before the rename only drops what was done early.
 *
 * The publication, the gate and the table of what was fed belong to this thread; no lock is held while it works.
 */
#include "fs/draft_internal.h"

#include "fs/notify.h"
#include "fs/row_index.h"
#include "fs/sql_engine.h"
#include "fs/state.h"
#include "fs/views_ahead.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/pool.h"
#include "catalog/gate.h"
#include "catalog/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS 400         /* a file closed for that long is worth feeding: rsync renames right after the close */
#define WRITERS_WAIT_MS 1000 /* how long a rename waits for files whose RELEASE is under way */
#define TRIES 3              /* when gc takes away what the publication rests on */
#define CONTRACT_MAX (4u << 20)
#define FEED_BYTES (1u << 20)

struct fed_file {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct feed {
	struct publication *publication; /* NULL: none yet, or dropped */
	struct gate *gate, *again;       /* the observer's, and the one that ran again */
	struct row_maker *rows, *rows_again; /* beside the gates */
	struct sql_engine *engine;       /* of both gates */
	char *files_folder;		 /* that it reads from */
	struct map *files;               /* path in the version → struct fed_file */
	struct map *folders;             /* of these files: a set */
	struct buf contract;             /* the draft's own, as the publication has it */
	bool has_contract;
	bool dirty;  /* the gate has seen what is not in the version */
	bool broken; /* nothing more is fed before the rename */
	struct buf problems;
};

/* -- the publication ------------------------------------------------------------------------------- */

static void feed_drop(struct feed *f)
{
	publish_free(f->publication);
	row_maker_free(f->rows);
	row_maker_free(f->rows_again);
	gate_free(f->gate);
	gate_free(f->again);
	sql_engine_free(f->engine);
	free(f->files_folder);
	f->files_folder = NULL;
	f->engine = NULL;
	f->rows = f->rows_again = NULL;
	map_free(f->files, free);
	map_free(f->folders, NULL);
	f->publication = NULL;
	f->gate = f->again = NULL;
	f->files = f->folders = NULL;
	f->dirty = false;
}

static void feed_free(struct feed *f)
{
	if (!f)
		return;
	feed_drop(f);
	buf_free(&f->contract);
	buf_free(&f->problems);
	free(f);
}

static int read_contract(struct draft *d, struct buf *ret, bool *ret_has, struct err *e)
{
	struct stat st;
	int fd = draft_open_file(d, "meta/contract.yaml");
	*ret_has = fd >= 0;
	if (fd == -ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		if (fd >= 0)
			close(fd);
		return err_set_kind(e, ERR_REFUSED, -EPERM, ".mesh/contract.yaml: not a regular file");
	}
	int r = io_read_fd(fd, ".mesh/contract.yaml", CONTRACT_MAX, ret, e);
	close(fd);
	return r;
}

static int open_for_engine(void *arg, const char *path)
{
	char where[DRAFT_PATH_SIZE + 8];
	snprintf(where, sizeof where, "files/%s", path);
	return draft_open_file(arg, where);
}

static int feed_begin(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	const struct session *s = d->set->session;
	const struct sql_bounds bounds = { s->mesh->config->sql_limit_ms, &d->cancel };
	f->files = map_new();
	f->folders = map_new();
	f->gate = gate_new();
	f->rows = f->gate ? row_maker_new(gate_observer(f->gate)) : NULL;
	f->files_folder = io_join(d->folder, "files");
	if (f->files_folder)
		f->engine = sql_engine_new_opened((const char *const *)&f->files_folder, open_for_engine, d, &bounds);
	if (!f->files || !f->folders || !f->rows || !f->engine)
		return err_set(e, -ENOMEM, "no memory");
	const struct publish_options options = { .product = d->product,
						 .version = d->version,
						 .contract_name = f->has_contract ? ".mesh/contract.yaml" : NULL,
						 .contract_text = f->has_contract ? buf_text(&f->contract) : NULL,
						 .contract_len = f->contract.len,
						 .publisher = s->subject.user,
						 .run = s->run_id,
						 .replace = true,
						 .observer = row_maker_observer(f->rows),
						 .interrupted = &d->cancel };
	int r = publish_begin(d->domain->domain, &options, &f->publication, e);
	if (!r)
		r = gate_open(f->gate, f->publication, d->domain->domain, d->product, sql_engine_quality(f->engine), e);
	return r ? r : row_maker_open(f->rows, f->publication, d->domain->domain, e);
}

/* A publication under the contract that the draft has now. */
static int feed_ready(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	struct buf now = BUF_INIT;
	bool has = false;
	int r = read_contract(d, &now, &has, e);
	bool same = !r && has == f->has_contract && now.len == f->contract.len && !memcmp(buf_text(&now), buf_text(&f->contract), now.len);
	if (!r && !same) {
		feed_drop(f);
		buf_free(&f->contract);
		f->contract = now;
		f->has_contract = has;
	} else {
		buf_free(&now);
	}
	if (!r && !f->publication)
		r = feed_begin(d, e);
	if (r)
		feed_drop(f);
	return r;
}

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

/* Adds a file unless the publication has it as it is.  `where` is below the draft's folder. */
static int feed_file(struct draft *d, const char *where, const char *path, struct err *e)
{
	struct feed *f = d->feed;
	struct stat st;
	int fd = draft_open_file(d, where);
	if (fd < 0)
		return err_set(e, fd, "%s: %s", path, strerror(-fd));
	int r = fstat(fd, &st) ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
	struct fed_file *known = r ? NULL : map_gets(f->files, path);
	if (!r && !(known && same_file(known, &st))) {
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

static void due_take(struct draft *d, char path[DRAFT_PATH_SIZE], int64_t *ret_wait_ms)
{
	size_t i = 0, len;
	const void *key;
	void *value;
	int64_t now = clock_mono_ms();
	*path = '\0';
	*ret_wait_ms = -1;
	while (map_next(d->due, &i, &key, &len, &value)) {
		int64_t wait = (int64_t)(intptr_t)value - now;
		if (wait <= 0 && len < DRAFT_PATH_SIZE) {
			memcpy(path, key, len);
			path[len] = '\0';
			break;
		}
		if (*ret_wait_ms < 0 || wait < *ret_wait_ms)
			*ret_wait_ms = wait > 0 ? wait : 0;
	}
	if (*path)
		map_remove(d->due, path, strlen(path));
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

/* Feeds one file early.  Whatever goes wrong is for the rename to say. */
static void feed_early(struct draft *d, const char *where)
{
	struct feed *f = d->feed;
	struct err e = ERR_INIT;
	struct stat st;
	if (f->broken || strncmp(where, "files/", 6) != 0 || publish_path_check(where + 6, NULL) ||
	    draft_stat(d, where, &st) || !S_ISREG(st.st_mode))
		return;
	int r = feed_ready(d, &e);
	if (!r && is_in_the_way(f, where + 6))
		r = remove_gone(d, &e);
	if (!r)
		r = feed_file(d, where, where + 6, &e);
	if (r && r != -EBUSY && r != -ENOENT && r != -ENOTDIR) {
		log_debug("%s/%s/%s.draft: %s", d->domain->config->name, d->product, d->version, e.text);
		feed_drop(f);
		f->broken = true;
	}
}

void draft_due_locked(struct draft *d, const char *path)
{
	map_sets(d->due, path, (void *)(intptr_t)(clock_mono_ms() + QUIET_MS)); /* without memory: at the rename */
	if (!draft_feed_start(d))
		pthread_cond_broadcast(&d->wake);
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

/* Makes the publication what the folder is. */
static int settle(struct draft *d, struct err *e)
{
	int r = remove_gone(d, e);
	return r ? r : walk(d, "files", e);
}

/* -- checks -------------------------------------------------------------------------------------------- */

static int observe(struct draft *d, const struct publish_observer *o, const char *path, char *bytes, struct err *e)
{
	char where[DRAFT_PATH_SIZE + 8];
	snprintf(where, sizeof where, "files/%s", path);
	struct stat st;
	int fd = draft_open_file(d, where), r = 0;
	if (fd < 0 || fstat(fd, &st))
		r = err_set(e, fd < 0 ? fd : -errno, "%s: %s", path, strerror(fd < 0 ? -fd : errno));
	if (!r)
		r = o->file_begin(o->arg, path, (uint64_t)st.st_size, e);
	ssize_t n = 1;
	while (!r && n) {
		if (atomic_load(&d->cancel)) {
			r = err_set(e, -EINTR, "interrupted");
			break;
		}
		n = read(fd, bytes, FEED_BYTES);
		if (n < 0)
			r = err_set(e, -errno, "%s: %s", path, strerror(errno));
		else if (n)
			r = o->bytes(o->arg, path, bytes, (size_t)n, e);
	}
	if (!r)
		r = o->file_end(o->arg, path, e);
	if (fd >= 0)
		close(fd);
	return r;
}

/* Runs the checks over the files as they are. */
static int check_again(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	size_t i = 0, len;
	const void *key;
	void *value;
	struct buf path = BUF_INIT;
	char *bytes = malloc(FEED_BYTES);
	row_maker_free(f->rows_again);
	gate_free(f->again);
	f->again = gate_new();
	f->rows_again = f->again ? row_maker_new(gate_observer(f->again)) : NULL;
	int r = bytes && f->rows_again ? 0 : err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = gate_open(f->again, f->publication, d->domain->domain, d->product, sql_engine_quality(f->engine), e);
	if (!r)
		r = row_maker_open(f->rows_again, f->publication, d->domain->domain, e);
	while (!r && map_next(f->files, &i, &key, &len, &value)) {
		buf_clear(&path);
		buf_add(&path, key, len);
		r = observe(d, row_maker_observer(f->rows_again), buf_text(&path), bytes, e);
	}
	buf_free(&path);
	free(bytes);
	return r;
}

static int check(struct draft *d, struct err *e)
{
	struct feed *f = d->feed;
	int r = f->dirty ? check_again(d, e) : 0;
	if (!r)
		r = gate_close(f->dirty ? f->again : f->gate, f->publication, NULL, &f->problems, e);
	return r ? r : row_maker_close(f->dirty ? f->rows_again : f->rows, f->publication, e);
}

/* -- the rename ------------------------------------------------------------------------------------------ */

void draft_say_problems(struct draft *d, const char *why, const char *checks)
{
	struct buf text = BUF_INIT;
	char *path = io_join(d->folder, "meta/problems.txt");
	buf_addf(&text, "%s/%s/%s was not published: %s\n", d->domain->config->name, d->product, d->version, why);
	if (*checks)
		buf_addf(&text, "\n%s", checks);
	if (path && !buf_check(&text))
		io_write_file(path, buf_text(&text), text.len, 0444, NULL);
	free(path);
	buf_free(&text);
}

/* What `mv` must not hear: it would copy (EXDEV), or take it for something about the names. */
static int answer_of(const struct err *e, int r)
{
	if (r == -EXDEV || r == -EINVAL || r == -EACCES || r == -ENOENT || e->kind == ERR_REFUSED || e->kind == ERR_PARSE)
		return -EPERM;
	return r == -EBUSY || r == -ENOSPC || r == -ENOMEM || r == -EINTR || r == -EROFS || r == -EPERM ? r : -EIO;
}

static int publish_once(struct draft *d, struct publish_result *result, struct err *e)
{
	struct feed *f = d->feed;
	buf_clear(&f->problems);
	int r = feed_ready(d, e);
	if (!r)
		r = settle(d, e);
	if (!r)
		r = check(d, e);
	if (!r)
		r = publish_commit(f->publication, result, e);
	feed_drop(f); /* it committed, or what it holds may not be what the next try finds */
	return r;
}

/* Waits until nobody writes.  The lock is held. */
static int quiesce_locked(struct draft *d)
{
	struct timespec until;
	int r = 0;
	clock_deadline(CLOCK_MONOTONIC, WRITERS_WAIT_MS, &until);
	while (d->writers && !atomic_load(&d->stop) && r != ETIMEDOUT)
		r = pthread_cond_timedwait(&d->wake, &d->set->lock, &until);
	if (d->writers)
		return -EBUSY;
	d->committing = true;
	return 0;
}

static int publish_all(struct draft *d, bool *ret_new)
{
	struct session *s = d->set->session;
	struct publish_result result;
	struct err e = ERR_INIT;
	int r = draft_permitted(s, d->domain, d->product, d->version, &e);
	for (int i = 0; i < TRIES && !r; i++) {
		err_clear(&e);
		r = publish_once(d, &result, &e);
		if (r != -EAGAIN)
			break;
		r = i + 1 < TRIES ? 0 : r;
	}
	if (!r) {
		log_info("published %s/%s/%s: %llu files", d->domain->config->name, d->product, d->version, (unsigned long long)result.files);
		*ret_new = !result.unchanged;
		return 0;
	}
	log_warn("%s/%s/%s.draft was not published: %s", d->domain->config->name, d->product, d->version, e.text);
	if (r != -EBUSY && r != -EINTR)
		draft_say_problems(d, e.text, buf_text(&d->feed->problems));
	return answer_of(&e, r);
}

static void publish_locked(struct draft *d)
{
	struct op *op = d->publish;
	struct domain_host *h = d->domain;
	bool is_new = false;
	int r = quiesce_locked(d);
	if (!r) {
		pthread_mutex_unlock(&d->set->lock);
		r = publish_all(d, &is_new);
		pthread_mutex_lock(&d->set->lock);
		d->committing = false;
		if (!r)
			draft_end_locked(d);
	}
	d->publish = NULL;
	d->feed->broken = false;
	pthread_mutex_unlock(&d->set->lock);
	atomic_fetch_sub(&h->parked, 1);
	if (!r)
		notify_domain(h->mesh->notifier, h);
	if (r)
		op_fail(op, r);
	else
		op_ok(op);
	if (is_new)
		views_ahead_add(h->mesh->views_ahead, h, d->product, d->version);
	pthread_mutex_lock(&d->set->lock);
}

/* -- the thread -------------------------------------------------------------------------------------------- */

void *draft_feeder(void *arg)
{
	struct draft *d = arg;
	char path[DRAFT_PATH_SIZE];
	int64_t wait_ms;
	pthread_mutex_lock(&d->set->lock);
	while (!atomic_load(&d->stop)) {
		if (d->publish) {
			publish_locked(d);
			continue;
		}
		due_take(d, path, &wait_ms);
		if (*path) {
			pthread_mutex_unlock(&d->set->lock);
			feed_early(d, path);
			pthread_mutex_lock(&d->set->lock);
		} else if (wait_ms < 0) {
			pthread_cond_wait(&d->wake, &d->set->lock);
		} else {
			struct timespec until;
			clock_deadline(CLOCK_MONOTONIC, wait_ms + 1, &until);
			pthread_cond_timedwait(&d->wake, &d->set->lock, &until);
		}
	}
	struct op *op = d->publish;
	d->publish = NULL;
	pthread_mutex_unlock(&d->set->lock);
	if (op) {
		atomic_fetch_sub(&d->domain->parked, 1);
		op_fail(op, -EIO);
	}
	feed_free(d->feed);
	d->feed = NULL;
	pthread_mutex_lock(&d->set->lock);
	d->ended = true;
	pthread_mutex_unlock(&d->set->lock);
	return NULL;
}

int draft_feed_start(struct draft *d)
{
	if (d->fed)
		return 0;
	if (!d->feed && !(d->feed = calloc(1, sizeof *d->feed)))
		return -ENOMEM;
	int r = thread_start(&d->thread, "draft", draft_feeder, d);
	d->fed = !r;
	return r;
}
