/* What a process has once: domains with their threads, transfer engine, read path, recorder, policy, notifier. */
#include "fs/state.h"

#include "fs/notify.h"
#include "fs/policy_facts.h"
#include "fs/views_ahead.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"
#include "policy/key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOMAIN_THREADS 3
#define DOMAIN_QUEUE_MAX (1u << 20)
#define FIRST_REFRESH_MS 3000 /* how long a start waits for the stores */
#define QUIET_MS 2000         /* how long a stop waits for them */
#define VIEWS_GRACE_MS 5000   /* how long it waits for views of what was published */

/* -- domains -------------------------------------------------------------------------------- */

struct domain_host *mesh_domain_host(struct mesh *m, const char *name)
{
	for (size_t i = 0; i < m->domain_count; i++) {
		if (!strcmp(m->domains[i].config->name, name))
			return &m->domains[i];
	}
	return NULL;
}

struct host_job {
	struct domain_host *host;
	void (*run)(void *arg);
	void *arg;
};

static void run_job(void *arg)
{
	struct host_job job = *(struct host_job *)arg;
	free(arg);
	job.run(job.arg);
	atomic_fetch_sub(&job.host->jobs, 1);
}

int domain_host_submit(struct domain_host *h, void (*run)(void *arg), void *arg)
{
	struct host_job *job = malloc(sizeof *job);
	if (!job)
		return -ENOMEM;
	*job = (struct host_job){ h, run, arg };
	pthread_mutex_lock(&h->lock);
	if (!h->pool)
		h->pool = pool_new(h->config->name, DOMAIN_THREADS, DOMAIN_QUEUE_MAX);
	struct pool *pool = h->pool;
	pthread_mutex_unlock(&h->lock);
	atomic_fetch_add(&h->jobs, 1);
	int r = pool ? pool_submit(pool, 0, run_job, job) : -ENOMEM;
	if (r) {
		atomic_fetch_sub(&h->jobs, 1);
		free(job);
	}
	return r;
}

static void refresh_job(void *arg)
{
	struct domain_host *h = arg;
	struct err e = ERR_INIT;
	bool changed = false;
	int code = domain_refresh(h->domain, &changed, &e);
	pthread_mutex_lock(&h->lock);
	bool news = h->asked && (code != 0) != (h->code != 0);
	if (code && (!h->code || !h->asked))
		log_warn("%s; what is cached stays readable", e.text);
	else if (!code && news)
		log_warn("%s: reached again", h->config->name);
	h->refreshing = false;
	h->asked = true;
	h->code = code;
	snprintf(h->reason, sizeof h->reason, "%.250s", code ? e.text : "");
	h->refreshed_ms = clock_mono_ms();
	struct op *waiters = h->waiters;
	h->waiters = NULL;
	pthread_mutex_unlock(&h->lock);
	if (changed)
		notify_domain(h->mesh->notifier, h);
	while (waiters) {
		struct op *op = waiters;
		waiters = op->next;
		atomic_fetch_sub(&h->parked, 1);
		op_resume(op);
	}
}

int domain_host_refresh(struct domain_host *h, struct op *op)
{
	pthread_mutex_lock(&h->lock);
	bool start = !h->refreshing;
	h->refreshing = true;
	if (op) {
		op->waited = true;
		op->next = h->waiters;
		h->waiters = op;
		atomic_fetch_add(&h->parked, 1);
		op_park(op);
	}
	pthread_mutex_unlock(&h->lock);
	return start ? domain_host_submit(h, refresh_job, h) : 0;
}

static void refresh_all(struct mesh *m, int64_t timeout_ms)
{
	for (size_t i = 0; i < m->domain_count; i++)
		domain_host_refresh(&m->domains[i], NULL);
	int64_t deadline = clock_mono_ms() + timeout_ms;
	for (size_t i = 0; i < m->domain_count; i++) {
		struct domain_host *h = &m->domains[i];
		for (;;) {
			pthread_mutex_lock(&h->lock);
			bool asked = h->asked;
			pthread_mutex_unlock(&h->lock);
			if (asked || clock_mono_ms() >= deadline)
				break;
			usleep(2000);
		}
	}
}

static int open_domains(struct mesh *m, struct err *e)
{
	m->domains = calloc(m->config->domain_count + 1, sizeof *m->domains);
	if (!m->domains)
		return err_set(e, -ENOMEM, "no memory");
	for (size_t i = 0; i < m->config->domain_count; i++) {
		struct domain_host *h = &m->domains[i];
		h->mesh = m;
		h->config = &m->config->domains[i];
		int r = domain_open(m->config, h->config, m->transfer, &h->domain, e);
		if (r)
			return err_prefix(e, r, "%s", h->config->name);
		pthread_mutex_init(&h->lock, NULL);
		pthread_mutex_init(&h->contract_lock, NULL);
		m->domain_count++;
	}
	return 0;
}

static void close_domains(struct mesh *m)
{
	for (size_t i = 0; i < m->domain_count; i++) {
		domain_free(m->domains[i].domain);
		policy_sources_free(&m->domains[i].good);
		contract_unref(m->domains[i].contract);
		pthread_mutex_destroy(&m->domains[i].contract_lock);
		pthread_mutex_destroy(&m->domains[i].lock);
	}
	free(m->domains);
}

/* -- keys of the hmac mask -------------------------------------------------------------------- */

static int key_get(void *arg, const char *name, unsigned char ret_key[POLICY_KEY_SIZE], struct err *e)
{
	return policy_key_read(arg, name, ret_key, e);
}

/* -- start and stop --------------------------------------------------------------------------- */

static void on_outdated(void *arg)
{
	struct mesh *m = arg;
	notify_views(m->notifier);
}

static int start_parts(struct mesh *m, struct err *e)
{
	int r = mesh_transfer_start(m->config, &m->transfer, e);
	if (r)
		return r;
	struct reader_config reader = { .cache_folder = m->config->cache_folder,
					.cache_limit_bytes = m->config->cache_limit_bytes,
					.deadline_ms = m->config->timeout_ms,
					.keys = { key_get, (void *)m->config },
					.outdated = on_outdated,
					.outdated_arg = m };
	if ((r = reader_start(&reader, m->transfer, &m->reader, e)))
		return r;
	if ((r = recorder_start(m->config, &m->recorder, e)))
		return r;
	if ((r = open_domains(m, e)))
		return r;
	if (!(m->views_ahead = views_ahead_new(m)))
		return err_set(e, -ENOMEM, "no memory");
	if ((r = notify_start(m, &m->notifier, e)))
		return r;
	refresh_all(m, FIRST_REFRESH_MS);
	mesh_reload_policy(m, e);
	/* A mount under a policy that does not parse would show nothing: better said at once, with the line. */
	return m->policy ? 0 : e->code;
}

/* Do the domains' threads stand still? */
static bool is_quiet(struct mesh *m, int64_t timeout_ms)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	for (size_t i = 0; i < m->domain_count; i++) {
		struct domain_host *h = &m->domains[i];
		while (atomic_load(&h->jobs)) {
			if (clock_mono_ms() >= deadline)
				return false;
			usleep(1000);
		}
	}
	return true;
}

int mesh_start(const struct mesh_config *config, struct mesh **ret, struct err *e)
{
	struct err own = ERR_INIT;
	if (!e)
		e = &own;
	struct mesh *m = calloc(1, sizeof *m);
	if (!m)
		return err_set(e, -ENOMEM, "no memory");
	m->config = config;
	m->started_ns = clock_now_ns();
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->reload_lock, NULL);
	gethostname(m->host, sizeof m->host - 1);
	int r = start_parts(m, e);
	if (r) {
		mesh_stop(m, NULL, NULL);
		return r;
	}
	*ret = m;
	return 0;
}

int mesh_stop(struct mesh *m, bool *ret_left, struct err *e)
{
	int r = 0;
	if (!m)
		return 0;
	notify_stop(m->notifier);
	if (m->recorder)
		r = recorder_stop(m->recorder, e);
	/* A job may wait for a dead store until its deadline.  The end of a process does not wait for that: it leaves
	 * what the job uses as it is. */
	if (!views_ahead_stop(m->views_ahead, VIEWS_GRACE_MS) || atomic_load(&m->abandoned) || !is_quiet(m, QUIET_MS)) {
		if (ret_left)
			*ret_left = true;
		return r;
	}
	views_ahead_free(m->views_ahead);
	for (size_t i = 0; i < m->domain_count; i++)
		pool_free(m->domains[i].pool);
	if (m->reader)
		reader_stop(m->reader);
	close_domains(m);
	transfer_stop(m->transfer);
	notify_free(m->notifier);
	policy_unref(m->policy);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->reload_lock);
	free(m);
	return r;
}

struct recorder *mesh_recorder(struct mesh *m)
{
	return m->recorder;
}

struct snapshot *session_pin(struct session *s, struct domain_host *h)
{
	struct mesh *m = s->mesh;
	size_t i = (size_t)(h - m->domains);
	if (!s->pinned)
		return domain_snapshot(h->domain);
	pthread_mutex_lock(&m->lock);
	if (!s->pins[i])
		s->pins[i] = domain_snapshot(h->domain);
	struct snapshot *pin = s->pins[i] ? snapshot_ref(s->pins[i]) : NULL;
	pthread_mutex_unlock(&m->lock);
	return pin;
}
