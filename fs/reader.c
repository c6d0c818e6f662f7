/* Start and stop of the read path, its clock, its counters. */
#include "fs/reader_internal.h"
#include "fs/view_store.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MEMORY_DEFAULT (128u << 20)
#define DEADLINE_DEFAULT_MS 30000
#define TICK_MS 100
#define TEND_TICKS 10 /* images are looked after once a second */
#define VIEW_QUEUE_MAX 65536
#define BLOBS_MAX 4096

/* Tells the counters that all processes share what happened since the last time. */
static void count(struct reader *r)
{
	struct cache_counters now = {
		.hits = atomic_load(&r->hits),
		.misses = atomic_load(&r->misses),
		.fetched_bytes = atomic_load(&r->fetched_bytes),
		.served_bytes = atomic_load(&r->served_bytes),
		.integrity_errors = atomic_load(&r->integrity_errors),
	};
	struct cache_counters more = {
		.hits = now.hits - r->counted.hits,
		.misses = now.misses - r->counted.misses,
		.fetched_bytes = now.fetched_bytes - r->counted.fetched_bytes,
		.served_bytes = now.served_bytes - r->counted.served_bytes,
		.integrity_errors = now.integrity_errors - r->counted.integrity_errors,
	};
	r->counted = now;
	if (r->cache)
		cache_count(r->cache, &more);
}

static void tend(struct reader *r)
{
	struct err e = ERR_INIT;
	count(r);
	if (r->cache && cache_usage(r->cache) > cache_limit(r->cache) &&
	    cache_prune(r->cache, cache_limit(r->cache) / 10 * 9, NULL, NULL, &e))
		log_warn("%s", e.text);
	images_tend(r, false);
	budget_trim(r->budget);
}

static void *tick(void *arg)
{
	struct reader *r = arg;
	unsigned n = 0;
	pthread_mutex_lock(&r->timer_lock);
	while (!r->timer_stop) {
		struct timespec until;
		clock_deadline(CLOCK_REALTIME, TICK_MS, &until);
		pthread_cond_timedwait(&r->timer_wake, &r->timer_lock, &until);
		if (r->timer_stop)
			break;
		pthread_mutex_unlock(&r->timer_lock);
		waits_expire(r->waits, clock_mono_ms(), -EIO);
		fetch_pump(r);
		if (++n % TEND_TICKS == 0)
			tend(r);
		pthread_mutex_lock(&r->timer_lock);
	}
	pthread_mutex_unlock(&r->timer_lock);
	return NULL;
}

static unsigned blob_limit(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / 8 > BLOBS_MAX)
		return BLOBS_MAX;
	return limit.rlim_cur / 8 < 32 ? 32 : (unsigned)(limit.rlim_cur / 8); /* two descriptors each */
}

static struct reader *reader_new(const struct reader_config *config)
{
	struct reader *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	r->workers = config->workers ? config->workers : processors > 0 ? (unsigned)processors : 2;
	r->deadline_ms = config->deadline_ms ? config->deadline_ms : DEADLINE_DEFAULT_MS;
	r->keys = config->keys;
	r->blob_max = blob_limit();
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->pending_lock, NULL);
	pthread_mutex_init(&r->timer_lock, NULL);
	pthread_cond_init(&r->timer_wake, NULL);
	pthread_mutex_init(&r->hot.lock, NULL);
	pthread_mutex_init(&r->verify.lock, NULL);
	pthread_cond_init(&r->verify.work, NULL);
	r->hot.last = &r->hot.first;
	r->verify.last = &r->verify.first;
	uint64_t memory = config->memory_budget_bytes ? config->memory_budget_bytes : MEMORY_DEFAULT;
	r->hot.max_bytes = memory / 4;
	r->budget = budget_new(memory);
	r->waits = waits_new();
	r->contents = map_new();
	r->images = map_new();
	r->views = pool_new("mesh-view", r->workers, VIEW_QUEUE_MAX);
	r->view_sets = view_sets_new();
	r->collects = config->collects;
	r->outdated = config->outdated;
	r->outdated_arg = config->outdated_arg;
	if (!r->budget || !r->waits || !r->contents || !r->images || !r->views || !r->view_sets) {
		reader_stop(r);
		return NULL;
	}
	return r;
}

int reader_start(const struct reader_config *config, struct transfer *t, struct reader **ret, struct err *e)
{
	(void)t; /* domains bring their stores */
	struct err why = ERR_INIT;
	struct reader *r = reader_new(config);
	if (!r)
		return err_set(e, -ENOMEM, "cannot start the read path: out of memory");
	if (cache_open(config->cache_folder, config->cache_limit_bytes, NULL, &r->cache, &why))
		log_warn("%s: serving without caching", why.text);
	int code = verify_start(r, r->workers);
	if (!code)
		code = thread_start(&r->timer, "mesh-reader", tick, r);
	r->timer_running = !code;
	if (code) {
		reader_stop(r);
		return err_set(e, code, "cannot start the read path: %s", strerror(-code));
	}
	*ret = r;
	return 0;
}

static void stop_timer(struct reader *r)
{
	if (!r->timer_running)
		return;
	pthread_mutex_lock(&r->timer_lock);
	r->timer_stop = true;
	pthread_cond_signal(&r->timer_wake);
	pthread_mutex_unlock(&r->timer_lock);
	pthread_join(r->timer, NULL);
}

/* Nothing new starts (stopping is set); a request that slipped past that is caught by a later round. */
static void end_requests(struct reader *r)
{
	fetch_cancel_all(r);
	while (atomic_load(&r->ranges)) {
		fetch_cancel_all(r);
		struct timespec pause = { 0, 1000000 };
		nanosleep(&pause, NULL);
	}
}

void reader_stop(struct reader *r)
{
	if (!r)
		return;
	atomic_store(&r->stopping, true);
	if (r->waits)
		waits_expire(r->waits, INT64_MAX, -EIO);
	stop_timer(r);
	if (r->budget)
		end_requests(r);
	pool_free(r->views); /* its jobs read, and their reads fail now */
	if (r->budget)
		end_requests(r);
	verify_stop(r);
	if (r->budget)
		hot_clear(r);
	if (r->images)
		images_tend(r, true);
	count(r);
	map_free(r->contents, NULL);
	images_free(r); /* what images_tend had no memory for */
	waits_free(r->waits);
	budget_free(r->budget);
	cache_close(r->cache);
	view_sets_free(r->view_sets);
	while (r->domains) {
		struct reader_domain *d = r->domains;
		r->domains = d->next;
		free(d);
	}
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->pending_lock);
	pthread_mutex_destroy(&r->timer_lock);
	pthread_cond_destroy(&r->timer_wake);
	pthread_mutex_destroy(&r->hot.lock);
	pthread_mutex_destroy(&r->verify.lock);
	pthread_cond_destroy(&r->verify.work);
	free(r);
}

void reader_stats(struct reader *r, struct reader_stats *ret)
{
	*ret = (struct reader_stats){
		.cache_bytes = r->cache ? cache_usage(r->cache) : 0,
		.cache_limit_bytes = r->cache ? cache_limit(r->cache) : 0,
		.memory_bytes = budget_used(r->budget),
		.hits = atomic_load(&r->hits),
		.misses = atomic_load(&r->misses),
		.fetched_bytes = atomic_load(&r->fetched_bytes),
		.served_bytes = atomic_load(&r->served_bytes),
		.integrity_errors = atomic_load(&r->integrity_errors),
		.fetch_errors = atomic_load(&r->fetch_errors),
		.parked = waits_count(r->waits),
	};
}
