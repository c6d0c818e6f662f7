#include "catalog/base/pool.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct job {
	void (*run)(void *arg);
	void *arg;
	int priority;
	struct job *next;
};

struct pool {
	pthread_mutex_t lock; /* guards everything below; a leaf: no other lock is taken under it */
	pthread_cond_t work, room, idle;
	struct job *first; /* sorted by priority */
	size_t queued, queue_max, running;
	bool stopping;
	unsigned threads;
	pthread_t *ids;
};

static _Thread_local const struct pool *current; /* the pool whose worker this thread is */

int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(ret, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r)
		return -r;
	pthread_setname_np(*ret, name);
	return 0;
}

static void *work(void *arg)
{
	struct pool *p = arg;
	current = p;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->first && !p->stopping)
			pthread_cond_wait(&p->work, &p->lock);
		struct job *j = p->first;
		if (!j)
			break;
		p->first = j->next;
		p->queued--;
		p->running++;
		pthread_cond_signal(&p->room);
		pthread_mutex_unlock(&p->lock);
		j->run(j->arg);
		free(j);
		pthread_mutex_lock(&p->lock);
		p->running--;
		if (!p->running && !p->queued)
			pthread_cond_broadcast(&p->idle);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

struct pool *pool_new(const char *name, unsigned threads, size_t queue_max)
{
	struct pool *p = calloc(1, sizeof *p);
	if (!p || !(p->ids = calloc(threads, sizeof *p->ids))) {
		free(p);
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->room, NULL);
	pthread_cond_init(&p->idle, NULL);
	p->queue_max = queue_max;
	for (unsigned i = 0; i < threads; i++) {
		char label[16];
		snprintf(label, sizeof label, "%.11s-%u", name, i % 1000);
		if (thread_start(&p->ids[i], label, work, p)) {
			pool_free(p);
			return NULL;
		}
		p->threads++;
	}
	return p;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->work);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->ids[i], NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->room);
	pthread_cond_destroy(&p->idle);
	free(p->ids);
	free(p);
}

int pool_submit(struct pool *p, int priority, void (*run)(void *arg), void *arg)
{
	struct job *j = malloc(sizeof *j);
	if (!j)
		return -ENOMEM;
	*j = (struct job){ run, arg, priority, NULL };
	pthread_mutex_lock(&p->lock);
	while (p->queued >= p->queue_max && current != p)
		pthread_cond_wait(&p->room, &p->lock);
	struct job **at = &p->first;
	while (*at && (*at)->priority <= priority)
		at = &(*at)->next;
	j->next = *at;
	*at = j;
	p->queued++;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void pool_drain(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->queued || p->running)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
}
