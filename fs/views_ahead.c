#include "fs/views_ahead.h"

#include "fs/state.h"
#include "fs/warm.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/base/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 256     /* publications that wait */
#define STOP_WAIT_MS 3000 /* for a thread that was told to end, and may wait for a store */

struct published {
	struct published *next;
	struct address address; /* its path is "" */
};

struct views_ahead {
	struct mesh *mesh;
	pthread_mutex_t lock; /* guards what follows; rank "queue": a leaf */
	pthread_cond_t wake;  /* something was added, or the thread is idle or ended */
	struct published *first, **last;
	unsigned queued;
	bool busy, started, ended, closing;
	pthread_t thread;
	atomic_bool stop;
};

struct views_ahead *views_ahead_new(struct mesh *m)
{
	struct views_ahead *v = calloc(1, sizeof *v);
	pthread_condattr_t monotonic;
	if (!v)
		return NULL;
	v->mesh = m;
	v->last = &v->first;
	pthread_mutex_init(&v->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&v->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return v;
}

/* -- one publication ------------------------------------------------------------------------- */

/* What the commands open for themselves, borrowed from the mesh.  It stands for the mesh, not for a reader: nothing is kept from it. */
static int borrow(struct mesh *m, struct policy_command *ret)
{
	*ret = (struct policy_command){ .browse = { .mesh = (struct mesh_config *)m->config, .transfer = m->transfer } };
	ret->policy = mesh_policy(m, NULL);
	ret->browse.domains = calloc(m->domain_count + 1, sizeof *ret->browse.domains);
	if (!ret->policy || !ret->browse.domains)
		return -ENOMEM;
	for (size_t i = 0; i < m->domain_count; i++)
		ret->browse.domains[i] = (struct browse_domain){ .config = m->domains[i].config,
								 .domain = m->domains[i].domain,
								 .snapshot = domain_snapshot(m->domains[i].domain),
								 .reached = true };
	ret->browse.count = m->domain_count;
	return 0;
}

static void give_back(struct policy_command *c)
{
	for (size_t i = 0; i < c->browse.count; i++)
		snapshot_unref(c->browse.domains[i].snapshot);
	free(c->browse.domains);
	policy_unref(c->policy);
}

static void compute(struct views_ahead *v, const struct address *a)
{
	struct policy_command c;
	const struct warm_means by = { &c, v->mesh->reader, &v->stop, true };
	if (!v->mesh->config->view_count && !warm_has_used(v->mesh->config, a))
		return;
	if (!borrow(v->mesh, &c))
		warm_published(&by, a);
	give_back(&c);
}

/* -- the thread ------------------------------------------------------------------------------ */

static struct published *take_locked(struct views_ahead *v)
{
	struct published *p = v->first;
	if (!p)
		return NULL;
	v->first = p->next;
	if (!v->first)
		v->last = &v->first;
	v->queued--;
	return p;
}

static void *work(void *arg)
{
	struct views_ahead *v = arg;
	pthread_mutex_lock(&v->lock);
	while (!atomic_load(&v->stop)) {
		struct published *p = take_locked(v);
		v->busy = p != NULL;
		if (!p) {
			pthread_cond_broadcast(&v->wake);
			if (v->closing)
				break;
			pthread_cond_wait(&v->wake, &v->lock);
			continue;
		}
		pthread_mutex_unlock(&v->lock);
		compute(v, &p->address);
		free(p);
		pthread_mutex_lock(&v->lock);
	}
	v->ended = true;
	pthread_cond_broadcast(&v->wake);
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

void views_ahead_add(struct views_ahead *v, struct domain_host *h, const char *product, const char *version)
{
	struct published *p = calloc(1, sizeof *p);
	if (!p)
		return;
	snprintf(p->address.domain, sizeof p->address.domain, "%s", h->config->name);
	snprintf(p->address.product, sizeof p->address.product, "%s", product);
	snprintf(p->address.version, sizeof p->address.version, "%s", version);
	p->address.path = "";
	pthread_mutex_lock(&v->lock);
	if (!v->started)
		v->started = !thread_start(&v->thread, "views", work, v);
	bool room = v->started && !v->closing && v->queued < QUEUE_MAX;
	if (room) {
		*v->last = p;
		v->last = &p->next;
		v->queued++;
		pthread_cond_broadcast(&v->wake);
	}
	pthread_mutex_unlock(&v->lock);
	if (room)
		return;
	log_info("%s/%s/%s: its views are computed when they are needed", h->config->name, product, version);
	free(p);
}

/* -- the end --------------------------------------------------------------------------------- */

/* Until the thread has ended, or the time is over. */
static bool ends_locked(struct views_ahead *v, int64_t wait_ms)
{
	struct timespec until;
	clock_deadline(CLOCK_MONOTONIC, wait_ms, &until);
	while (!v->ended && pthread_cond_timedwait(&v->wake, &v->lock, &until) != ETIMEDOUT)
		;
	return v->ended;
}

bool views_ahead_stop(struct views_ahead *v, int64_t grace_ms)
{
	if (!v)
		return true;
	pthread_mutex_lock(&v->lock);
	v->closing = true;
	bool ended = !v->started;
	pthread_cond_broadcast(&v->wake);
	if (!ended)
		ended = ends_locked(v, grace_ms);
	if (!ended) {
		atomic_store(&v->stop, true);
		ended = ends_locked(v, STOP_WAIT_MS);
	}
	pthread_mutex_unlock(&v->lock);
	if (ended && v->started)
		pthread_join(v->thread, NULL);
	v->started &= !ended;
	return ended;
}

void views_ahead_free(struct views_ahead *v)
{
	if (!v)
		return;
	for (struct published *p; (p = take_locked(v));)
		free(p);
	pthread_cond_destroy(&v->wake);
	pthread_mutex_destroy(&v->lock);
	free(v);
}
