/* Contents that are views: asking for the index, and reading through it. */
#include "fs/view_store.h"
#include "fs/view_state.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* -- becoming known -------------------------------------------------------------------------- */

static int make_image(struct content *c, const struct view_index *x)
{
	struct digest name;
	if (!x->size)
		return 0;
	view_blob_name(c, x, &name);
	return image_get(c->reader, c->domain, BLOB_VIEW, &name, x->size, x->count, &c->image);
}

/* Publishes what was computed or loaded.  Takes the index over. */
static int become_known(struct content *c, struct view_index *x)
{
	struct view_state *v = c->view;
	if (x) {
		int r = make_image(c, x);
		if (r) {
			view_index_free(x);
			return r;
		}
		v->index = x;
		v->kind = x->kind;
		atomic_store(&v->one_piece, x->kind == VIEW_CHUNKED && x->count == 1 && c->entry.chunk_count > 1);
		atomic_store(&v->claimed, x->claimed);
		v->size = x->size;
	} else {
		v->kind = VIEW_SEGMENTS;
		v->segment_count = view_segments(v->plan, &v->segments);
		if (v->segment_count)
			v->size = v->segments[v->segment_count - 1].offset + v->segments[v->segment_count - 1].length;
	}
	atomic_store_explicit(&v->progress, VIEW_KNOWN, memory_order_release);
	return 0;
}

bool view_is_known(const struct content *c)
{
	return atomic_load_explicit(&c->view->progress, memory_order_acquire) == VIEW_KNOWN;
}

int view_content_init(struct content *c, struct domain *d, struct transform *view, struct err *e)
{
	struct view_state *v = c->view = calloc(1, sizeof *v);
	if (!v)
		return err_set(e, -ENOMEM, "%s: out of memory", c->path);
	c->shape = SHAPE_VIEW;
	pthread_mutex_init(&v->plan_lock, NULL);
	v->transform = transform_ref(view);
	int r = content_get(c->reader, d, c->manifest, &c->entry, c->path, NULL, &v->source, e);
	if (r)
		return r;
	if (!c->entry.size) { /* nothing in, nothing out */
		struct view_index *x;
		r = view_index_new(VIEW_WHOLE, 0, 0, &x);
		if (!r)
			xxh128_of("", 0, &x->hash);
		return r ? err_set(e, r, "%s: out of memory", c->path) : become_known(c, x);
	}
	struct view_index *x;
	v->index_path = view_index_path(c);
	if (!view_index_load(c, &x))
		become_known(c, x);
	return 0;
}

void view_content_fini(struct content *c)
{
	struct view_state *v = c->view;
	if (!v)
		return;
	view_plan_free(v->plan);
	view_index_free(v->index);
	transform_unref(v->transform);
	content_unref(v->source);
	pthread_mutex_destroy(&v->plan_lock);
	free(v->index_path);
	free(v);
	c->view = NULL;
}

/* -- asking ---------------------------------------------------------------------------------- */

struct prepare_op {
	struct wait wait;
	struct content *content;
	content_ready done;
	void *arg;
};

static void prepare_destroy(struct wait *w)
{
	struct prepare_op *op = (struct prepare_op *)w;
	content_unref(op->content);
	free(op);
}

static void prepare_fail(struct wait *w, int code)
{
	struct prepare_op *op = (struct prepare_op *)w;
	if (code == -EIO && !atomic_load(&op->content->reader->stopping))
		op->done(op->arg, -ETIMEDOUT, "the view's size is still being computed");
	else
		op->done(op->arg, code, NULL);
}

/* What callers are told of a failure.  Anything that is not a passing trouble of stores or memory denies. */
static int told_code(int code)
{
	switch (code) {
	case -EIO:
	case -ESTALE:
	case -ENOMEM:
	case -ETIMEDOUT:
		return code;
	case -ECANCELED:
	case -EBADMSG:
		return -EIO;
	default:
		return -EACCES;
	}
}

static void finish_index(struct content *c, int code, const struct err *e)
{
	struct view_state *v = c->view;
	struct waits *ws = c->reader->waits;
	int told = code ? told_code(code) : 0;
	pthread_mutex_lock(&c->lock);
	if (code) {
		memcpy(v->reason, e->text, sizeof v->reason);
		atomic_store_explicit(&v->progress, told == -EACCES ? VIEW_DENIED : VIEW_UNKNOWN, memory_order_release);
	}
	struct wait *w = v->waiters;
	v->waiters = NULL;
	pthread_mutex_unlock(&c->lock);
	while (w) {
		struct wait *next = w->next;
		struct prepare_op *op = (struct prepare_op *)w;
		w->next = NULL;
		if (wait_resume(w)) {
			wait_end(ws, w);
			op->done(op->arg, told, told ? e->text : NULL);
			wait_unref(w);
		}
		wait_unref(w);
		w = next;
	}
}

static void index_job(void *arg)
{
	struct content *c = arg;
	struct view_index *x = NULL;
	struct err e = ERR_INIT;
	int r = atomic_load(&c->reader->stopping) ? err_set(&e, -EIO, "%s: stopped", c->path) : 0;
	if (!r && view_store_find(c, &x))
		r = view_build(c, &x, &e);
	if (!r && x)
		view_index_save(c, x);
	if (!r && (r = become_known(c, x)))
		err_set(&e, r, "%s: %s", c->path, strerror(-r));
	if (r && !e.code)
		err_set(&e, r, "%s: %s", c->path, strerror(-r));
	pthread_mutex_lock(&c->lock);
	bool watched = c->notify != NULL;
	pthread_mutex_unlock(&c->lock);
	finish_index(c, r, &e);
	if (!r && watched && c->image)
		content_watch(c);
	if (!r && x && !c->reader->collects)
		view_store_offer(c, x);
	content_unref(c);
}

/* Starts the computation unless it runs; content.lock is held. */
static int start_index_locked(struct content *c)
{
	struct view_state *v = c->view;
	if (atomic_load(&v->progress) != VIEW_UNKNOWN)
		return 0;
	atomic_store(&v->progress, VIEW_BUSY);
	content_ref(c);
	int r = pool_submit(c->reader->views, JOB_INDEX, index_job, c);
	if (r) {
		atomic_store(&v->progress, VIEW_UNKNOWN);
		atomic_fetch_sub(&c->refs, 1); /* the caller has another */
	}
	return r;
}

int view_content_prepare(struct content *c, int64_t deadline_ms, content_ready done, void *arg, uint64_t *ret_token)
{
	struct view_state *v = c->view;
	struct waits *ws = c->reader->waits;
	int progress = atomic_load_explicit(&v->progress, memory_order_acquire);
	if (progress == VIEW_KNOWN || progress == VIEW_DENIED) {
		done(arg, progress == VIEW_KNOWN ? 0 : -EACCES, progress == VIEW_KNOWN ? NULL : v->reason);
		return 0;
	}
	struct prepare_op *op = calloc(1, sizeof *op);
	if (!op)
		return -ENOMEM;
	wait_init(&op->wait, prepare_fail, prepare_destroy);
	op->content = content_ref(c);
	op->done = done;
	op->arg = arg;
	int r = waits_add(ws, &op->wait, clock_mono_ms() + (deadline_ms ? deadline_ms : c->reader->deadline_ms));
	if (!r && ret_token)
		*ret_token = op->wait.token;
	pthread_mutex_lock(&c->lock);
	if (!r)
		r = start_index_locked(c);
	progress = atomic_load(&v->progress);
	if (!r && progress == VIEW_BUSY) {
		wait_ref(&op->wait);
		op->wait.next = v->waiters;
		v->waiters = &op->wait;
		wait_ref(&op->wait); /* ours, for wait_check */
		wait_park(&op->wait);
	}
	pthread_mutex_unlock(&c->lock);
	if (!r && progress == VIEW_BUSY) {
		wait_check(ws, &op->wait);
		wait_unref(&op->wait);
		return 0;
	}
	wait_end(ws, &op->wait);
	if (!r) /* it became known, or was denied, just now */
		done(arg, progress == VIEW_KNOWN ? 0 : -EACCES, progress == VIEW_KNOWN ? NULL : v->reason);
	wait_unref(&op->wait);
	return r;
}

int view_content_size(const struct content *c, uint64_t *ret_size)
{
	int progress = atomic_load_explicit(&c->view->progress, memory_order_acquire);
	if (progress != VIEW_KNOWN)
		return progress == VIEW_DENIED ? -EACCES : -EAGAIN;
	*ret_size = c->view->size;
	return 0;
}

const char *view_content_denied(const struct content *c)
{
	return atomic_load_explicit(&c->view->progress, memory_order_acquire) == VIEW_DENIED ? c->view->reason : "";
}

int view_content_hash(const struct content *c, struct xxh128 *ret)
{
	if (!view_is_known(c) || !c->view->index || atomic_load(&c->view->claimed) || atomic_load(&c->view->unhashed))
		return -ENODATA;
	*ret = c->view->index->hash;
	return 0;
}

uint64_t view_content_progress(const struct content *c)
{
	return atomic_load_explicit(&c->view->gone_through, memory_order_relaxed);
}

uint64_t view_content_fetched(const struct content *c)
{
	return content_fetched_bytes(c->view->source);
}

int view_content_whole_fd(struct content *c, int *ret_fd)
{
	if (!view_is_known(c) || !c->image || atomic_load(&c->view->claimed) || atomic_load(&c->view->broken))
		return -EAGAIN;
	struct blob *b = image_blob(c->image);
	int r = b && blob_whole(b) ? blob_reopen(b, ret_fd) : -EAGAIN;
	blob_close(b);
	if (!r)
		atomic_store(&c->whole, true);
	return r;
}

/* -- reading --------------------------------------------------------------------------------- */

struct late_read {
	struct content *content;
	uint64_t offset;
	size_t len;
	content_bytes done;
	void *arg;
};

static void late_ready(void *arg, int code, const char *reason)
{
	struct late_read *l = arg;
	(void)reason;
	if (code)
		l->done(l->arg, code == -ETIMEDOUT ? -EIO : code, NULL, 0, 0);
	else
		content_read(l->content, l->offset, l->len, l->done, l->arg, NULL);
	content_unref(l->content);
	free(l);
}

/* A read before the size is known waits for it. */
static void read_late(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	struct late_read *l = malloc(sizeof *l);
	if (!l) {
		done(arg, -ENOMEM, NULL, 0, 0);
		return;
	}
	*l = (struct late_read){ content_ref(c), offset, len, done, arg };
	int r = view_content_prepare(c, 0, late_ready, l, ret_token);
	if (r)
		late_ready(l, r, NULL);
}

void view_content_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	struct view_state *v = c->view;
	if (view_is_known(c) && atomic_load(&v->claimed))
		view_prove(c);
	if (atomic_load(&v->broken)) {
		done(arg, -ESTALE, NULL, 0, 0);
	} else if (!view_is_known(c)) {
		read_late(c, offset, len, done, arg, ret_token);
	} else if (v->kind != VIEW_SEGMENTS) {
		content_read_image(c, v->size, offset, len, done, arg, ret_token);
	} else if (offset >= v->size || !len) {
		done(arg, 0, NULL, 0, 0);
	} else {
		view_segments_read(c, offset, len < v->size - offset ? len : (size_t)(v->size - offset), done, arg, ret_token);
	}
}
