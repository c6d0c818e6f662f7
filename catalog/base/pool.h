/*
 * A pool of worker threads with a bounded, prioritised queue.
 *
 * Thread rules: pool_submit from any thread; jobs run on the workers, in order of priority (lower first), then of
 * submission.  Signals are blocked in the workers.  pool_free runs what is queued, then joins.
 */
#ifndef MESHFS_BASE_POOL_H
#define MESHFS_BASE_POOL_H

#include <stddef.h>

struct pool;

/* `name` (at most 15 bytes) shows in ps; `queue_max` jobs may wait (pool_submit blocks beyond that). NULL on failure. */
struct pool *pool_new(const char *name, unsigned threads, size_t queue_max);
void pool_free(struct pool *p); /* NULL is legal */
/* 0 or -ENOMEM.  From a worker of the same pool it never blocks (the bound is ignored), so that jobs may submit jobs. */
int pool_submit(struct pool *p, int priority, void (*run)(void *arg), void *arg);
/* Waits until no job is queued or running. */
void pool_drain(struct pool *p);

/* A thread with all signals blocked and a name; 0 or -errno. */
#include <pthread.h>
int thread_start(pthread_t *ret, const char *name, void *(*run)(void *), void *arg);

#endif
