/* Commits: an edit on the newest generation becomes the next one, however many others try the same. */
#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/domain_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define BACKOFF_FIRST_MS 10
#define BACKOFF_DOUBLINGS 6

/* Whoever lost waits a random while, so that racing writers spread out. */
static void back_off(unsigned tries)
{
	uint32_t random = 0;
	uint32_t limit_ms = BACKOFF_FIRST_MS << (tries < BACKOFF_DOUBLINGS ? tries : BACKOFF_DOUBLINGS);
	if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
		random = (uint32_t)clock_mono_ns();
	int64_t ns = (int64_t)(random % limit_ms) * 1000000;
	nanosleep(&(struct timespec){ ns / NS_PER_S, ns % NS_PER_S }, NULL);
}

/* Snapshot, head, hint, in this order.  -EEXIST: another writer was first. */
static int put_generation(struct domain *d, const struct head *h, const char *path, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	struct err hint = ERR_INIT;
	snapshot_key(&h->snapshot, key);
	int r = store_put_file(d->store, key, path, NULL, NULL, e);
	if (!r)
		r = heads_create(d->store, h, d->single_writer, e);
	if (r) {
		if (r == -EEXIST)
			store_delete(d->store, key, NULL); /* garbage; gc would find it too */
		return r;
	}
	if (heads_hint(d->store, h, &hint)) /* readers find the head without it */
		log_info("%s: the hint of the newest generation was not written: %s", d->name, hint.text);
	return 0;
}

/* Committed is committed: what fails on this side afterwards is mended by the next refresh. */
static void adopt(struct domain *d, const struct head *h, const char *path)
{
	struct err e = ERR_INIT;
	pthread_mutex_lock(&d->refresh_lock);
	if (domain_adopt_locked(d, h, path, &e))
		log_info("%s: generation %" PRIu64 " is committed but not in the cache: %s", d->name, h->generation, e.text);
	pthread_mutex_unlock(&d->refresh_lock);
}

/* 0, a positive number when `edit` found nothing to change, or -errno; *ret_lost when another writer was first (an -EEXIST of
 * `edit` itself is an error like any other). */
static int attempt(struct domain *d, struct snapshot *base, int (*edit)(void *, struct snapshot_edit *, struct err *), void *arg,
		   uint64_t *ret_generation, bool *ret_lost, struct err *e)
{
	struct snapshot_edit *x = NULL;
	const char *path;
	struct head h = { .generation = base ? snapshot_generation(base) + 1 : 1, .time_ns = clock_now_ns() };
	memcpy(h.domain, d->name, sizeof h.domain);
	int r = snapshot_edit_begin(d->name, base, d->tmp, &x, e);
	if (r)
		return r;
	r = edit(arg, x, e);
	if (r == 0)
		r = snapshot_edit_finish(x, h.generation, h.time_ns, &path, &h.snapshot, &h.size, e);
	else if (r > 0)
		*ret_generation = h.generation - 1;
	if (r == 0) {
		r = put_generation(d, &h, path, e);
		*ret_lost = r == -EEXIST;
	}
	if (r == 0) {
		adopt(d, &h, path);
		*ret_generation = h.generation;
	}
	snapshot_edit_free(x);
	return r;
}

static int commit_locked(struct domain *d, int (*edit)(void *, struct snapshot_edit *, struct err *), void *arg, uint64_t *ret_generation,
			 struct err *e)
{
	for (unsigned tries = 0; tries < COMMIT_TRIES_MAX; tries++) {
		struct err why = ERR_INIT;
		int r = domain_refresh_now(d, tries == 0, NULL, &why);
		struct snapshot *base = r ? NULL : domain_snapshot(d);
		if (r && r != -ENOENT)
			return err_move(e, &why);
		err_clear(&why);
		bool lost = false;
		r = attempt(d, base, edit, arg, ret_generation, &lost, &why);
		snapshot_unref(base);
		if (r >= 0)
			return 0;
		if (!lost)
			return why.code ? err_move(e, &why) : err_set(e, r, "%s: %s", d->name, strerror(-r));
		log_debug("%s: %s; trying again on top of it", d->name, why.text);
		back_off(tries);
	}
	return err_set(e, -EAGAIN, "%s: %d other publications came first, one after the other; try again", d->name, COMMIT_TRIES_MAX);
}

int domain_commit(struct domain *d, int (*edit)(void *arg, struct snapshot_edit *x, struct err *e), void *arg, uint64_t *ret_generation,
		  struct err *e)
{
	uint64_t generation = 0;
	if (!store_writable(d->store))
		return err_set(e, -EROFS, "%s: its store %s is read only; publish where its owner does", d->name, store_url(d->store));
	pthread_mutex_lock(&d->commit_lock);
	int r = commit_locked(d, edit, arg, &generation, e);
	pthread_mutex_unlock(&d->commit_lock);
	if (!r && ret_generation)
		*ret_generation = generation;
	return r;
}

static int only_first(void *arg, struct snapshot_edit *x, struct err *e)
{
	(void)arg;
	(void)e;
	return snapshot_edit_base(x) ? 1 : 0;
}

int domain_ensure_catalog(struct domain *d, struct err *e)
{
	int r = domain_refresh_now(d, false, NULL, e);
	if (r != -ENOENT || !store_writable(d->store))
		return r;
	err_clear(e);
	return domain_commit(d, only_first, NULL, NULL, e);
}
