#include "fs/hold.h"

#include "fs/op.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct hold {
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t wake;  /* of the monotonic clock */
	struct op *first, *last; /* by due_ns; `last` counts while there is a first */
	bool stop;
};

/* Waits until there is one and it is due; NULL: it is over. */
static struct op *take_due(struct hold *h)
{
	struct op *op = NULL;
	pthread_mutex_lock(&h->lock);
	while (!op && (h->first || !h->stop)) {
		if (!h->first) {
			pthread_cond_wait(&h->wake, &h->lock);
		} else if (h->first->due_ns > clock_mono_ns()) {
			struct timespec until = { h->first->due_ns / NS_PER_S, h->first->due_ns % NS_PER_S };
			pthread_cond_timedwait(&h->wake, &h->lock, &until);
		} else {
			op = h->first;
			h->first = op->next;
		}
	}
	pthread_mutex_unlock(&h->lock);
	return op;
}

static void *resume_due(void *arg)
{
	for (struct op *op; (op = take_due(arg));)
		op_resume(op);
	return NULL;
}

struct hold *hold_new(void)
{
	struct hold *h = calloc(1, sizeof *h);
	pthread_condattr_t monotonic;
	if (!h)
		return NULL;
	pthread_mutex_init(&h->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&h->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	if (!thread_start(&h->thread, "hold", resume_due, h))
		return h;
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
	return NULL;
}

void hold_free(struct hold *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->stop = true;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	pthread_cond_destroy(&h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void hold_until(struct hold *h, struct op *op, int64_t arrived_ns)
{
	int64_t steps = (clock_mono_ns() - arrived_ns) / HOLD_NS + 1;
	op->due_ns = arrived_ns + steps * HOLD_NS;
	op->reading = true; /* so short a wait is no reason for EINTR */
	op_park(op);
	pthread_mutex_lock(&h->lock);
	/* Nearly all come in order. */
	struct op **at = h->first && h->last->due_ns <= op->due_ns ? &h->last->next : &h->first;
	while (*at && (*at)->due_ns <= op->due_ns)
		at = &(*at)->next;
	op->next = *at;
	*at = op;
	if (!op->next)
		h->last = op;
	pthread_cond_signal(&h->wake);
	pthread_mutex_unlock(&h->lock);
}
