/* Contents that are views: asking for the index, and reading through it. */
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

#define INDEX_BYTES_MAX ((size_t)2 << 30)
#define FETCH_CHUNKS_MAX 64 /* derived chunks that one read or read-ahead sets to work */

enum { JOB_READ = 0, JOB_INDEX = 1, JOB_AHEAD = 2 }; /* priorities of view work */

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

static bool is_known(const struct content *c)
{
	return atomic_load_explicit(&c->view->progress, memory_order_acquire) == VIEW_KNOWN;
}

static char *index_path(struct content *c)
{
	if (!c->reader->cache)
		return NULL;
	char content[SHA256_HEX_SIZE], view[SHA256_HEX_SIZE], maker[64];
	view_maker(c->path, maker, sizeof maker);
	hex_format(c->entry.content.bytes, SHA256_SIZE, content);
	hex_format(c->view->transform->hash.bytes, SHA256_SIZE, view);
	return text_format("%s/%s/views/%s/%s.%s", cache_folder(c->reader->cache), c->domain->name, content, view, maker);
}

static void load_index(struct content *c)
{
	struct view_state *v = c->view;
	struct view_index *x = NULL;
	struct buf b = BUF_INIT;
	if (!v->index_path || access(v->index_path, R_OK) || io_read_file(v->index_path, INDEX_BYTES_MAX, &b, NULL))
		goto out;
	if (view_index_decode(buf_text(&b), b.len, c->entry.size, c->entry.chunk_count, &x))
		unlink(v->index_path); /* damaged, or of another time: computed again */
	else {
		atomic_store(&v->one_piece, x->kind == VIEW_CHUNKED && x->count == 1 && c->entry.chunk_count > 1);
		become_known(c, x);
	}
out:
	buf_free(&b);
}

static void save_index(struct content *c, const struct view_index *x)
{
	struct buf b = BUF_INIT;
	const char *path = c->view->index_path;
	if (path && cache_writable(c->reader->cache) && !view_index_encode(x, &b) && !io_make_parents(path, 0700, NULL))
		io_write_file(path, b.data, b.len, 0600, NULL);
	buf_free(&b);
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
	v->index_path = index_path(c);
	load_index(c);
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
	int r = atomic_load(&c->reader->stopping) ? err_set(&e, -EIO, "%s: stopped", c->path) : view_build(c, &x, &e);
	if (!r && x)
		save_index(c, x);
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
	if (!is_known(c) || !c->view->index)
		return -ENODATA;
	*ret = c->view->index->hash;
	return 0;
}

uint64_t view_content_fetched(const struct content *c)
{
	return content_fetched_bytes(c->view->source);
}

int view_content_whole_fd(struct content *c, int *ret_fd)
{
	if (!is_known(c) || !c->image)
		return -EAGAIN;
	struct blob *b = image_blob(c->image);
	int r = b && blob_whole(b) ? blob_reopen(b, ret_fd) : -EAGAIN;
	blob_close(b);
	if (!r)
		atomic_store(&c->whole, true);
	return r;
}

/* -- chunks of a view ------------------------------------------------------------------------ */

static uint32_t find_chunk(const struct view_index *x, uint64_t at)
{
	uint32_t low = 0, high = x->count - 1;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (x->ends[middle] > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct piece piece_of(const struct view_index *x, uint32_t i)
{
	uint64_t start = i ? x->ends[i - 1] : 0;
	return (struct piece){ start, start, (uint32_t)(x->ends[i] - start), i, x->hashes[i] };
}

int view_content_piece(struct content *c, uint64_t at, struct piece *ret)
{
	const struct view_index *x = c->view->index;
	if (!x || at >= x->size)
		return -EBADMSG;
	*ret = piece_of(x, find_chunk(x, at));
	return 0;
}

/* Makes one derived chunk again from its source and holds it against the index. */
static int rederive(struct content *c, uint32_t index, struct span *s, struct err *e)
{
	struct view_plan *plan;
	struct buf out = BUF_INIT;
	struct view_stats stats;
	uint64_t offset;
	uint32_t length = 0;
	struct budget *budget = c->reader->budget;
	unsigned char *bytes = NULL;
	struct view_source source = view_source_of(c);
	struct xxh128 hash;
	int r = view_plan_get(c, &plan, e);
	if (!r)
		r = view_source_chunk(c, index, &offset, &length);
	if (!r && !(bytes = budget_buffer(budget, length)))
		r = -ENOMEM;
	if (!r)
		r = source.read(source.arg, offset, bytes, length, e);
	if (!r)
		r = view_chunk(plan, index, bytes, length, &out, &stats, e);
	if (!r)
		r = buf_check(&out);
	if (!r) {
		xxh128_of(buf_text(&out), out.len, &hash);
		if (out.len != s->length || memcmp(hash.bytes, s->chunk[0].hash.bytes, XXH128_SIZE) != 0)
			r = err_set(e, -EBADMSG, "%s: chunk %u of its view does not come out as its index says", c->path, index);
	}
	if (!r && !(s->bytes = budget_buffer(budget, s->length)))
		r = -ENOMEM;
	if (!r)
		memcpy(s->bytes, out.data, out.len);
	s->stored = s->bytes;
	budget_release(budget, bytes, length);
	buf_free(&out);
	return r;
}

/* Makes all of a view that cannot be made in parts; the span's bytes are then read from its blob. */
static int rebuild_whole(struct content *c, struct span *s, struct err *e)
{
	struct view_index *x = NULL;
	const struct span_chunk *k = &s->chunk[0];
	struct xxh128 hash;
	struct blob *b = NULL;
	int r = view_build(c, &x, e);
	if (!r && (!x || memcmp(x->hash.bytes, c->view->index->hash.bytes, XXH128_SIZE) != 0))
		r = err_set(e, -EBADMSG, "%s: its view does not come out as its index says", c->path);
	view_index_free(x);
	if (!r && blob_open_existing(c->reader->cache, c->domain->name, BLOB_VIEW, &c->image->name, &b))
		r = -EIO;
	if (!r && !(s->bytes = budget_buffer(c->reader->budget, s->length)))
		r = -ENOMEM;
	s->stored = s->bytes;
	if (!r)
		r = blob_read(b, s->bytes, s->length, k->offset);
	blob_close(b);
	if (!r) {
		xxh128_of(s->bytes, s->length, &hash);
		r = memcmp(hash.bytes, k->hash.bytes, XXH128_SIZE) != 0 ? -EIO : 0;
	}
	images_forget_evicted(c->image);
	return r;
}

static void chunk_job(void *arg)
{
	struct span *s = arg;
	struct content *c = content_ref(s->content);
	struct err e = ERR_INIT;
	int r = -EIO;
	if (!atomic_load(&c->reader->stopping))
		r = c->view->kind == VIEW_CHUNKED ? rederive(c, s->chunk[0].slot, s, &e) : rebuild_whole(c, s, &e);
	if (r == -EBADMSG)
		atomic_fetch_add(&c->reader->integrity_errors, 1);
	if (r && e.code && r != -EIO)
		log_error("%s", e.text);
	if (r)
		span_fail(s, r == -ESTALE ? r : -EIO);
	else
		span_ready(s);
	content_unref(c);
}

/* A span for the slot, unless it is here or being made. */
static struct span *claim_slot(struct content *c, const struct piece *k)
{
	struct image *i = c->image;
	struct span *s = calloc(1, sizeof *s + sizeof s->chunk[0]);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1);
	s->image = image_ref(i);
	s->content = content_ref(c);
	s->raw = true;
	s->base = k->image_offset;
	s->length = s->stored_length = k->length;
	s->count = 1;
	s->chunk[0] = (struct span_chunk){ .slot = k->slot, .length = k->length, .offset = k->image_offset, .hash = k->hash };
	pthread_mutex_lock(&i->lock);
	bool taken = i->spans[k->slot] != NULL;
	if (!taken) {
		i->spans[k->slot] = s;
		atomic_fetch_add(&i->resident, 1);
	}
	pthread_mutex_unlock(&i->lock);
	if (taken) {
		span_unref(s);
		return NULL;
	}
	/* Not taken from the budget before: view work is bounded by its threads. */
	s->cost = s->length;
	budget_take(c->reader->budget, s->cost, 256 * 256);
	return s;
}

int view_content_fetch(struct content *c, uint64_t offset, size_t len, enum fetch_priority priority)
{
	const struct view_index *x = c->view->index;
	struct blob *b = image_blob(c->image);
	unsigned started = 0;
	int r = 0;
	for (uint32_t i = find_chunk(x, offset); i < x->count && !r && started < FETCH_CHUNKS_MAX; i++) {
		struct piece k = piece_of(x, i);
		if (k.start >= offset + len)
			break;
		if (!k.length || (b && blob_state(b, i) != SLOT_ABSENT))
			continue;
		struct span *s = claim_slot(c, &k);
		if (!s)
			continue;
		started++;
		if (priority != FETCH_DEMAND && x->kind == VIEW_WHOLE) { /* one demand makes all of it */
			span_fail(s, -EIO);
			break;
		}
		if (pool_submit(c->reader->views, priority == FETCH_DEMAND ? JOB_READ : JOB_AHEAD, chunk_job, s)) {
			span_fail(s, -ENOMEM);
			r = -ENOMEM;
		}
	}
	blob_close(b);
	return r;
}

/* -- segments -------------------------------------------------------------------------------- */

enum { PART_ISSUING, PART_PARKED, PART_DONE };

/* A read that touches several segments: filled one after the other. */
struct segment_op {
	struct wait wait;
	struct content *content;
	uint64_t offset;
	size_t len, pos, part;
	_Atomic int phase;
	int code;
	unsigned char *buffer;
	content_bytes done;
	void *arg;
};

static void segment_destroy(struct wait *w)
{
	struct segment_op *op = (struct segment_op *)w;
	content_unref(op->content);
	free(op->buffer);
	free(op);
}

static void segment_fail(struct wait *w, int code)
{
	struct segment_op *op = (struct segment_op *)w;
	op->done(op->arg, code, NULL, 0);
}

static const struct view_segment *find_segment(const struct view_state *v, uint64_t at)
{
	size_t low = 0, high = v->segment_count - 1;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (v->segments[middle].offset + v->segments[middle].length > at)
			high = middle;
		else
			low = middle + 1;
	}
	return &v->segments[low];
}

static void segment_step(struct segment_op *op);

static void segment_part(void *arg, int code, const void *bytes, size_t len)
{
	struct segment_op *op = arg;
	/* A read that was cancelled meanwhile keeps its buffer until this reference goes. */
	if (!code && len != op->part)
		code = -EIO;
	if (!code)
		memcpy(op->buffer + op->pos, bytes, len);
	op->code = code;
	if (atomic_exchange(&op->phase, PART_DONE) == PART_PARKED)
		segment_step(op);
}

/* Goes on until the read is done or a part waits.  Runs on one thread at a time; holds one reference of its own on entry. */
static void segment_step(struct segment_op *op)
{
	struct waits *ws = op->content->reader->waits;
	for (;;) {
		if (atomic_load(&op->phase) == PART_DONE) { /* a part of the source has come */
			op->pos += op->code ? 0 : op->part;
			if (!wait_resume(&op->wait))
				break;
		}
		if (op->code || op->pos == op->len) {
			wait_end(ws, &op->wait);
			op->done(op->arg, op->code, op->code ? NULL : op->buffer, op->code ? 0 : op->len);
			wait_unref(&op->wait);
			break;
		}
		uint64_t at = op->offset + op->pos;
		const struct view_segment *g = find_segment(op->content->view, at);
		uint64_t skip = at - g->offset, left = g->length - skip;
		op->part = left < op->len - op->pos ? (size_t)left : op->len - op->pos;
		atomic_store(&op->phase, PART_ISSUING);
		if (g->kind != SEGMENT_SOURCE) {
			if (g->kind == SEGMENT_ZERO)
				memset(op->buffer + op->pos, 0, op->part);
			else
				memcpy(op->buffer + op->pos, (const unsigned char *)g->bytes + skip, op->part);
			op->pos += op->part;
			continue;
		}
		wait_ref(&op->wait); /* the one above may pass to segment_part, which may be done before we are */
		wait_park(&op->wait);
		content_read_until(op->content->view->source, g->source_offset + g->length, g->source_offset + skip, op->part, segment_part, op, NULL);
		int issuing = PART_ISSUING;
		bool passed = atomic_compare_exchange_strong(&op->phase, &issuing, PART_PARKED);
		if (passed)
			wait_check(ws, &op->wait);
		wait_unref(&op->wait);
		if (passed)
			return;
	}
	wait_unref(&op->wait);
}

static void read_segments(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	struct view_state *v = c->view;
	const struct view_segment *g = find_segment(v, offset);
	uint64_t skip = offset - g->offset;
	if (g->kind == SEGMENT_SOURCE && len <= g->length - skip) {
		content_read_until(v->source, g->source_offset + g->length, g->source_offset + skip, len, done, arg, ret_token);
		return;
	}
	struct segment_op *op = calloc(1, sizeof *op);
	if (!op || !(op->buffer = malloc(len))) {
		free(op);
		done(arg, -ENOMEM, NULL, 0);
		return;
	}
	wait_init(&op->wait, segment_fail, segment_destroy);
	op->content = content_ref(c);
	op->offset = offset;
	op->len = len;
	op->done = done;
	op->arg = arg;
	if (waits_add(c->reader->waits, &op->wait, clock_mono_ms() + c->reader->deadline_ms)) {
		op->code = -ENOMEM;
	} else if (ret_token) {
		*ret_token = op->wait.token;
	}
	wait_ref(&op->wait);
	segment_step(op);
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
		l->done(l->arg, code == -ETIMEDOUT ? -EIO : code, NULL, 0);
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
		done(arg, -ENOMEM, NULL, 0);
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
	if (!is_known(c)) {
		read_late(c, offset, len, done, arg, ret_token);
	} else if (v->kind != VIEW_SEGMENTS) {
		content_read_image(c, v->size, offset, len, done, arg, ret_token);
	} else if (offset >= v->size || !len) {
		done(arg, 0, "", 0);
	} else {
		read_segments(c, offset, len < v->size - offset ? len : (size_t)(v->size - offset), done, arg, ret_token);
	}
}

/* -- warming --------------------------------------------------------------------------------- */

struct ready {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int code;
	char reason[ERR_TEXT_MAX];
};

static void on_ready(void *arg, int code, const char *reason)
{
	struct ready *x = arg;
	pthread_mutex_lock(&x->lock);
	x->code = code;
	if (reason)
		strncpy(x->reason, reason, sizeof x->reason - 1);
	x->done = true;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

int view_content_warm(struct content *c, void (*progress)(void *arg, uint64_t bytes), void *arg, struct err *e)
{
	struct ready x = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	int r = view_content_prepare(c, INT64_MAX / 4, on_ready, &x, NULL);
	if (r)
		return err_set(e, r, "%s: %s", c->path, strerror(-r));
	pthread_mutex_lock(&x.lock);
	while (!x.done)
		pthread_cond_wait(&x.wake, &x.lock);
	pthread_mutex_unlock(&x.lock);
	if (x.code)
		return err_set(e, x.code, "%s: %s", c->path, x.reason[0] ? x.reason : strerror(-x.code));
	for (uint64_t at = 0; at < c->view->size;) {
		uint64_t left = c->view->size - at;
		size_t n = left < (1u << 20) ? (size_t)left : (1u << 20);
		r = content_read_wait(c, at, NULL, n, e);
		if (r)
			return r;
		at += n;
		if (progress)
			progress(arg, n);
	}
	return 0;
}
