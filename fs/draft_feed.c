/*
 * The feeder: one thread a draft, which publishes it: when, and what its rename is answered.
 *
 * While the draft is written, files that have been closed for a moment are added to a publication, and so chunked, checked and
 * uploaded.  At the rename the folder is walked: what is in the publication with the same inode, size and times is left alone, the
 * rest is added or removed.  Did anything come twice, or go again, then the checks have seen too much, and run again over the
 * files as they are (from the local disk; nothing is uploaded twice).  Any failure before the rename only drops what was done early.
 *
 * The publication, the gate and the table of what was fed belong to this thread; no lock is held while it works.
 */
#include "fs/draft_feed.h"

#include "fs/notify.h"
#include "fs/state.h"
#include "fs/views_ahead.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/pool.h"
#include "catalog/publish.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_MS 400         /* a file closed for that long is worth feeding: rsync renames right after the close */
#define AHEAD_MS 1000	     /* nothing was written for that long: the rename may be next, and queries are asked ahead of it */
#define AHEAD_MAX_MS 64000   /* each time that was wrong, twice as long */
#define WRITERS_WAIT_MS 1000 /* how long a rename waits for files whose RELEASE is under way */
#define TRIES 3              /* when gc takes away what the publication rests on */

/* -- before the rename ------------------------------------------------------------------------------------- */

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
	if (!r)
		r = feed_file_over(d, where, where + 6, &e);
	if (r && r != -EBUSY && r != -ENOENT && r != -ENOTDIR) {
		log_debug("%s/%s/%s.draft: %s", d->domain->config->name, d->product, d->version, e.text);
		feed_drop(f);
		f->broken = true;
	}
}

void draft_due_locked(struct draft *d, const char *path)
{
	map_sets(d->due, path, (void *)(intptr_t)(clock_mono_ms() + QUIET_MS)); /* without memory: at the rename */
	if (d->asking && !d->publish)
		atomic_store(&d->cancel, true);
	if (!draft_feed_start(d))
		pthread_cond_broadcast(&d->wake);
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
	if (r == -EXDEV || r == -EINVAL || r == -EACCES || r == -ENOENT || r == -EFBIG || e->kind == ERR_REFUSED || e->kind == ERR_PARSE)
		return -EPERM;
	return r == -EBUSY || r == -ENOSPC || r == -ENOMEM || r == -EINTR || r == -EROFS || r == -EPERM ? r : -EIO;
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
		r = feed_publish(d, &result, &e);
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
		const uint64_t bytes = r ? 0 : draft_bytes(d);
		pthread_mutex_lock(&d->set->lock);
		d->committing = false;
		if (!r)
			draft_end_locked(d, bytes);
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

/* -- ahead of the rename -------------------------------------------------------------------------------- */

/* Waits until something is due, at most so long (-1: for ever). */
static void wait_locked(struct draft *d, int64_t wait_ms)
{
	struct timespec until;
	if (wait_ms < 0) {
		pthread_cond_wait(&d->wake, &d->set->lock);
		return;
	}
	clock_deadline(CLOCK_MONOTONIC, wait_ms + 1, &until);
	pthread_cond_timedwait(&d->wake, &d->set->lock, &until);
}

/* Nothing is due.  Was that so for a while, what takes long at the rename is done before it: the kernel holds the product's folder for as long as
 * that lasts. */
static void idle_locked(struct draft *d)
{
	struct feed *f = d->feed;
	const int64_t patience_ms = f->patience_ms ? f->patience_ms : AHEAD_MS, start_ms = clock_mono_ms();
	if (d->writers || !feed_may_ask(d)) {
		wait_locked(d, -1);
		return;
	}
	while (!map_count(d->due) && !d->writers && !d->publish && !atomic_load(&d->stop) && clock_mono_ms() < start_ms + patience_ms)
		wait_locked(d, start_ms + patience_ms - clock_mono_ms());
	if (map_count(d->due) || d->writers || d->publish || atomic_load(&d->stop))
		return;
	d->asking = true;
	pthread_mutex_unlock(&d->set->lock);
	int r = feed_ask_ahead(d);
	pthread_mutex_lock(&d->set->lock);
	d->asking = false;
	atomic_store(&d->cancel, atomic_load(&d->stop) || (d->publish && atomic_load(&d->cancel)));
	if (r)
		f->patience_ms = patience_ms < AHEAD_MAX_MS ? patience_ms * 2 : AHEAD_MAX_MS;
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
			idle_locked(d);
		} else {
			wait_locked(d, wait_ms);
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
	const bool gone = d->gone;
	pthread_mutex_unlock(&d->set->lock);
	if (gone)
		draft_sweep(d);
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
