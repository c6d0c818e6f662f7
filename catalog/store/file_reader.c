#include "catalog/store/file_reader.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"
#include "catalog/store/backend.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct read_job {
	struct fetch base;
	struct file_reader *reader;
	file_reader_open_fn *open;
	void *store;
	struct fetch_request request; /* key and if_match are our copies */
	int64_t deadline_at_ms;
	atomic_bool cancelled;
	/* Guarded by reader->lock. */
	bool queued;
	struct read_job *next, **at; /* at: the pointer that points to us while queued */
};

struct queue {
	struct read_job *first, **last;
};

struct file_reader {
	pthread_mutex_t lock; /* guards the queues and `stopping`; a leaf */
	pthread_cond_t work;
	struct queue queues[3]; /* by priority */
	atomic_bool stopping;
	unsigned threads;
	pthread_t ids[READER_THREADS];
};

static void enqueue_locked(struct file_reader *r, struct read_job *j)
{
	struct queue *q = &r->queues[j->request.priority];
	j->next = NULL;
	j->at = q->last;
	*q->last = j;
	q->last = &j->next;
	j->queued = true;
}

static void unlink_locked(struct file_reader *r, struct read_job *j)
{
	*j->at = j->next;
	if (j->next)
		j->next->at = j->at;
	else
		r->queues[j->request.priority].last = j->at;
	j->queued = false;
}

static struct read_job *take_locked(struct file_reader *r)
{
	for (size_t i = 0; i < sizeof r->queues / sizeof *r->queues; i++) {
		struct read_job *j = r->queues[i].first;
		if (j) {
			unlink_locked(r, j);
			return j;
		}
	}
	return NULL;
}

static int stream(struct read_job *j, int fd, char *block, struct err *e)
{
	const struct fetch_request *q = &j->request;
	const struct store *s = j->store;
	uint64_t offset = q->offset, left = q->length;
	while (left) {
		if (atomic_load(&j->cancelled) || atomic_load(&j->reader->stopping))
			return store_err(s, q->key, e, -ECANCELED, "the read was cancelled");
		if (clock_mono_ms() > j->deadline_at_ms)
			return store_err(s, q->key, e, -ETIMEDOUT, "the disk did not answer in time");
		size_t want = left < READER_BLOCK ? (size_t)left : READER_BLOCK;
		ssize_t n = pread(fd, block, want, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return store_err(s, q->key, e, -EIO, "cannot read: %s", strerror(errno));
		if (n == 0)
			return store_err(s, q->key, e, -EBADMSG, "the object ends at byte %llu, inside the range asked for",
					 (unsigned long long)offset);
		int r = q->on_data(q->arg, block, (size_t)n);
		if (r)
			return store_err(s, q->key, e, -ECANCELED, "the read was cancelled by its consumer");
		offset += (uint64_t)n;
		left -= (uint64_t)n;
	}
	return 0;
}

static void free_job(struct read_job *j)
{
	free((char *)j->request.key);
	free((char *)j->request.if_match);
	free(j);
}

/* A file that ends too early may have been replaced while it was read: then that is what to tell. */
static int explain_short(struct read_job *j, int code, struct err *e)
{
	struct err changed = ERR_INIT;
	int fd = j->open(j->store, j->request.key, j->request.if_match, &changed);
	if (fd >= 0)
		close(fd);
	if (fd != -ESTALE)
		return code;
	err_clear(e);
	return err_move(e, &changed);
}

static void run(struct read_job *j, char *block)
{
	struct err e = ERR_INIT;
	int code, fd = -1;
	if (atomic_load(&j->cancelled) || atomic_load(&j->reader->stopping)) {
		code = store_err(j->store, j->request.key, &e, -ECANCELED, "the read was cancelled");
	} else if (clock_mono_ms() > j->deadline_at_ms) {
		code = store_err(j->store, j->request.key, &e, -ETIMEDOUT, "the disk did not answer in time");
	} else {
		fd = j->open(j->store, j->request.key, j->request.if_match, &e);
		code = fd < 0 ? fd : stream(j, fd, block, &e);
		if (fd >= 0 && code == -EBADMSG && j->request.if_match)
			code = explain_short(j, code, &e);
	}
	if (fd >= 0)
		close(fd);
	j->request.on_done(j->request.arg, code, code ? &e : NULL);
	free_job(j);
}

static void *work(void *arg)
{
	struct file_reader *r = arg;
	char *block = malloc(READER_BLOCK);
	pthread_mutex_lock(&r->lock);
	for (;;) {
		struct read_job *j;
		while (!(j = take_locked(r)) && !atomic_load(&r->stopping))
			pthread_cond_wait(&r->work, &r->lock);
		if (!j)
			break;
		pthread_mutex_unlock(&r->lock);
		if (!block) {
			struct err e = ERR_INIT;
			err_set(&e, -ENOMEM, "out of memory");
			j->request.on_done(j->request.arg, -ENOMEM, &e);
			free_job(j);
		} else {
			run(j, block);
		}
		pthread_mutex_lock(&r->lock);
	}
	pthread_mutex_unlock(&r->lock);
	free(block);
	return NULL;
}

struct file_reader *file_reader_start(void)
{
	struct file_reader *r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->work, NULL);
	for (size_t i = 0; i < sizeof r->queues / sizeof *r->queues; i++)
		r->queues[i].last = &r->queues[i].first;
	for (; r->threads < READER_THREADS; r->threads++)
		if (thread_start(&r->ids[r->threads], "store-file", work, r)) {
			file_reader_stop(r);
			return NULL;
		}
	return r;
}

void file_reader_stop(struct file_reader *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	atomic_store(&r->stopping, true);
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	for (unsigned i = 0; i < r->threads; i++)
		pthread_join(r->ids[i], NULL);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->work);
	free(r);
}

static void cancel(struct fetch *f)
{
	struct read_job *j = (struct read_job *)f;
	atomic_store(&j->cancelled, true);
}

static void raise_priority(struct fetch *f, enum fetch_priority priority)
{
	struct read_job *j = (struct read_job *)f;
	struct file_reader *r = j->reader;
	pthread_mutex_lock(&r->lock);
	if (j->queued && priority < j->request.priority) {
		unlink_locked(r, j);
		j->request.priority = priority;
		enqueue_locked(r, j);
	}
	pthread_mutex_unlock(&r->lock);
}

int file_reader_submit(struct file_reader *r, file_reader_open_fn *open, void *store, const struct fetch_request *request, int64_t deadline_ms,
		  struct fetch **ret)
{
	struct read_job *j = calloc(1, sizeof *j);
	if (!j)
		return -ENOMEM;
	j->base = (struct fetch){ cancel, raise_priority };
	j->reader = r;
	j->open = open;
	j->store = store;
	j->request = *request;
	j->request.key = strdup(request->key);
	j->request.if_match = request->if_match ? strdup(request->if_match) : NULL;
	j->deadline_at_ms = clock_mono_ms() + deadline_ms;
	atomic_init(&j->cancelled, false);
	if (!j->request.key || (request->if_match && !j->request.if_match)) {
		free_job(j);
		return -ENOMEM;
	}
	pthread_mutex_lock(&r->lock);
	if (ret)
		*ret = &j->base;
	enqueue_locked(r, j);
	pthread_cond_signal(&r->work);
	pthread_mutex_unlock(&r->lock);
	return 0;
}
