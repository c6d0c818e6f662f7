/* Computing a view: every source chunk once, in parallel, the derived bytes in order into a blob of their own. */
#include "fs/view_state.h"

#include "catalog/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AHEAD_BYTES_MAX (32u << 20) /* source bytes that may be worked on at once */
#define PIECE_BYTES (1u << 20)      /* a whole view is kept in pieces of this size */
/* Derived chunks are small where few rows are shown.  Written one by one they would lie in the page cache as single pages, and every read of the
 * finished view would look each of them up: half as fast as a file that was written in large aligned blocks. */
#define WRITE_BYTES (1u << 20)

static int read_source(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	struct content *c = arg, *source = c->view->source;
	unsigned char *to = bytes;
	if (offset > source->entry.size || len > source->entry.size - offset)
		return err_set(e, -EINVAL, "%s: a view asks for bytes outside its source", source->path);
	while (len) {
		size_t n = len < (8u << 20) ? len : (8u << 20);
		int r = content_read_wait(source, offset, to, n, e);
		if (r)
			return r;
		atomic_fetch_add_explicit(&c->view->gone_through, n, memory_order_relaxed);
		to += n;
		offset += n;
		len -= n;
	}
	return 0;
}

struct view_source view_source_of(struct content *c)
{
	return (struct view_source){ .read = read_source, .arg = c, .size = c->entry.size, .path = c->path };
}

int view_plan_get(struct content *c, struct view_plan **ret, struct err *e)
{
	struct view_state *v = c->view;
	struct view_source source = view_source_of(c);
	int r = 0;
	pthread_mutex_lock(&v->plan_lock);
	if (!v->plan)
		r = view_plan_new(v->transform, &source, &c->reader->keys, &v->plan, e);
	*ret = v->plan;
	pthread_mutex_unlock(&v->plan_lock);
	return r;
}

static bool by_chunks(const struct content *c)
{
	return c->entry.chunk_count <= 1 || (c->entry.aligned && !atomic_load(&c->view->one_piece));
}

int view_source_chunk(struct content *c, uint32_t index, uint64_t *ret_offset, uint32_t *ret_length)
{
	const struct manifest_chunk *k;
	if (!by_chunks(c)) {
		*ret_offset = 0;
		*ret_length = (uint32_t)c->entry.size;
		return c->entry.size <= VIEW_ROW_MAX ? 0 : -EACCES;
	}
	int r = content_chunk(c->view->source, index, &k);
	if (!r) {
		*ret_offset = k->file_offset;
		*ret_length = k->length;
	}
	return r;
}

void view_blob_name(const struct content *c, const struct view_index *x, struct digest *ret)
{
	char named[2 * SHA256_SIZE + VIEW_MAKER_SIZE + sizeof x->size + XXH128_SIZE], *at = named;
	at = mempcpy(at, c->entry.content.bytes, SHA256_SIZE);
	at = mempcpy(at, c->view->transform->hash.bytes, SHA256_SIZE);
	view_maker(c->path, at, VIEW_MAKER_SIZE);
	at += strlen(at) + 1;
	at = mempcpy(at, &x->size, sizeof x->size);
	at = mempcpy(at, x->hash.bytes, XXH128_SIZE);
	sha256_of(named, (size_t)(at - named), ret);
}

/* -- by chunks ------------------------------------------------------------------------------- */

struct derived {
	struct buf bytes;
	struct view_stats stats;
	struct xxh128 hash;
	uint32_t source_length;
	bool done;
};

/* Shared by the workers of one view; each takes the next chunk, whoever can flushes what is next in order. */
struct build {
	_Atomic int refs;
	struct content *content;
	struct view_plan *plan;
	struct view_index *index;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	pthread_cond_t moved;
	struct derived *derived; /* by chunk; bytes only between computing and flushing */
	uint32_t count, next, flushed;
	uint64_t ahead_bytes;
	unsigned working;
	bool flushing;
	int fd; /* the blob to be, or -1 */
	unsigned char *block; /* what is not written yet: the last `block_len` bytes of `size`, from a multiple of WRITE_BYTES on; who flushes has it */
	size_t block_len;
	uint64_t size;
	struct xxh128_state *hash;
	int code;
	struct err error;
};

static void build_unref(struct build *b)
{
	if (atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	for (uint32_t i = 0; b->derived && i < b->count; i++)
		buf_free(&b->derived[i].bytes);
	free(b->derived);
	if (b->fd >= 0)
		close(b->fd);
	free(b->block);
	xxh128_free(b->hash);
	view_index_free(b->index);
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->moved);
	content_unref(b->content);
	free(b);
}

static void build_fail_locked(struct build *b, int code, const struct err *e)
{
	if (!b->code) {
		b->code = code;
		b->error = *e;
		if (!b->error.code)
			err_set(&b->error, code, "%s: %s", b->content->path, strerror(-code));
	}
	pthread_cond_broadcast(&b->moved);
}

static int derive(struct content *c, const struct view_plan *plan, uint32_t index, struct derived *d, struct err *e)
{
	uint64_t offset;
	int r = view_source_chunk(c, index, &offset, &d->source_length);
	if (r == -EACCES)
		return err_set(e, r, "%s: a record is longer than %u MiB, or it holds bytes that no text has", c->path, VIEW_ROW_MAX >> 20);
	if (r)
		return err_set(e, r, "%s: %s", c->path, strerror(-r));
	unsigned char *bytes = budget_buffer(c->reader->budget, d->source_length);
	if (!bytes)
		return err_set(e, -ENOMEM, "%s: out of memory", c->path);
	r = read_source(c, offset, bytes, d->source_length, e);
	if (!r)
		r = view_chunk(plan, index, bytes, d->source_length, &d->bytes, &d->stats, e);
	budget_release(c->reader->budget, bytes, d->source_length);
	/* The chunks were cut by somebody else's idea of a record.  Chunk 0 starts with one; that each chunk ends with one, as the view
	 * reads records, proves the next. */
	if (!r && d->stats.cut && by_chunks(c) && index + 1 < c->entry.chunk_count)
		r = -EXDEV;
	if (!r && buf_check(&d->bytes))
		r = err_set(e, -ENOMEM, "%s: out of memory", c->path);
	if (!r && d->bytes.len > UINT32_MAX)
		r = err_set(e, -EACCES, "%s: a chunk of the view is too large", c->path);
	if (!r)
		xxh128_of(buf_text(&d->bytes), d->bytes.len, &d->hash);
	return r;
}

/* No room: the index alone will do. */
static void give_up_blob(struct build *b)
{
	close(b->fd);
	b->fd = -1;
}

static void write_block(struct build *b)
{
	size_t done = 0;
	while (b->fd >= 0 && done < b->block_len) {
		ssize_t n = pwrite(b->fd, b->block + done, b->block_len - done, (off_t)(b->size - b->block_len + done));
		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			give_up_blob(b);
	}
	b->block_len = 0;
}

static void write_derived(struct build *b, const char *bytes, size_t len)
{
	if (b->fd >= 0 && !b->block && !(b->block = malloc(WRITE_BYTES)))
		give_up_blob(b);
	while (b->fd >= 0 && len) {
		size_t room = WRITE_BYTES - b->block_len, n = len < room ? len : room;
		memcpy(b->block + b->block_len, bytes, n);
		b->block_len += n;
		b->size += n;
		bytes += n;
		len -= n;
		if (b->block_len == WRITE_BYTES)
			write_block(b);
	}
	b->size += len;
}

static void store_derived(struct build *b, struct derived *d, uint32_t index)
{
	struct view_index *x = b->index;
	xxh128_update(b->hash, buf_text(&d->bytes), d->bytes.len);
	write_derived(b, buf_text(&d->bytes), d->bytes.len);
	x->ends[index] = b->size;
	x->rows[index] = d->stats.rows_out;
	x->hashes[index] = d->hash;
	x->stats.rows_in += d->stats.rows_in;
	x->stats.rows_out += d->stats.rows_out;
	x->stats.rows_rejected += d->stats.rows_rejected;
	buf_free(&d->bytes);
}

/* b->lock is held, and dropped while writing; `flushing` keeps others out and the order right. */
static void flush_locked(struct build *b)
{
	if (b->flushing)
		return;
	b->flushing = true;
	while (b->flushed < b->count && b->derived[b->flushed].done && !b->code) {
		uint32_t i = b->flushed;
		pthread_mutex_unlock(&b->lock);
		store_derived(b, &b->derived[i], i);
		pthread_mutex_lock(&b->lock);
		b->flushed++;
		b->ahead_bytes -= b->derived[i].source_length;
		pthread_cond_broadcast(&b->moved);
	}
	b->flushing = false;
}

/* Takes the next chunk, waiting while too much is worked on; false when there is none left. */
static bool take_locked(struct build *b, uint32_t *ret)
{
	for (;;) {
		uint64_t offset;
		uint32_t length = 0;
		if (b->code || b->next >= b->count || atomic_load(&b->content->reader->stopping))
			return false;
		view_source_chunk(b->content, b->next, &offset, &length);
		if (!b->ahead_bytes || b->ahead_bytes + length <= AHEAD_BYTES_MAX) {
			b->ahead_bytes += length;
			b->derived[b->next].source_length = length;
			*ret = b->next++;
			return true;
		}
		pthread_cond_wait(&b->moved, &b->lock);
	}
}

static void build_work(void *arg)
{
	struct build *b = arg;
	uint32_t i;
	pthread_mutex_lock(&b->lock);
	b->working++;
	while (take_locked(b, &i)) {
		struct err e = ERR_INIT;
		pthread_mutex_unlock(&b->lock);
		int r = derive(b->content, b->plan, i, &b->derived[i], &e);
		pthread_mutex_lock(&b->lock);
		if (r) {
			build_fail_locked(b, r, &e);
			break;
		}
		b->derived[i].done = true;
		flush_locked(b);
	}
	b->working--;
	pthread_cond_broadcast(&b->moved);
	pthread_mutex_unlock(&b->lock);
	build_unref(b);
}

static struct build *build_new(struct content *c, struct view_plan *plan)
{
	struct build *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->count = by_chunks(c) ? c->entry.chunk_count : 1;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->moved, NULL);
	atomic_init(&b->refs, 1);
	b->fd = -1;
	b->content = content_ref(c);
	b->plan = plan;
	b->hash = xxh128_new();
	if (view_index_new(VIEW_CHUNKED, b->count, c->entry.size, &b->index) || !b->hash ||
	    !(b->derived = calloc(b->count ? b->count : 1, sizeof *b->derived))) {
		build_unref(b);
		return NULL;
	}
	return b;
}

static void adopt(struct content *c, const struct view_index *x, int fd)
{
	struct digest name;
	if (fd < 0 || !x->size)
		return;
	view_blob_name(c, x, &name);
	int r = blob_adopt(c->reader->cache, c->domain->cache_name, BLOB_VIEW, &name, fd, x->size, x->count, x->ends, x->hashes);
	if (r)
		log_info("%s: its view was computed but cannot be kept: %s", c->path, strerror(-r));
}

static int build_chunks(struct content *c, struct view_plan *plan, struct view_index **ret, struct err *e)
{
	struct build *b = build_new(c, plan);
	if (!b)
		return err_set(e, -ENOMEM, "%s: out of memory", c->path);
	if (c->reader->cache && blob_temp(c->reader->cache, c->domain->cache_name, &b->fd))
		b->fd = -1;
	for (unsigned i = 1; i < c->reader->workers && i < b->count; i++) {
		atomic_fetch_add(&b->refs, 1);
		if (pool_submit(c->reader->views, 1, build_work, b))
			atomic_fetch_sub(&b->refs, 1);
	}
	atomic_fetch_add(&b->refs, 1);
	build_work(b);
	pthread_mutex_lock(&b->lock);
	/* Helpers that never started find nothing left; those at work end or fail. */
	while (b->working || b->flushing)
		pthread_cond_wait(&b->moved, &b->lock);
	int r = b->code;
	bool complete = b->flushed == b->count;
	if (!b->code)
		b->code = -ECANCELED; /* a helper that starts late does nothing */
	pthread_mutex_unlock(&b->lock);
	if (r)
		err_move(e, &b->error);
	else if (!complete)
		r = err_set(e, -EIO, "%s: stopped", c->path);
	if (!r) {
		write_block(b);
		b->index->size = b->size;
		xxh128_final(b->hash, &b->index->hash);
		adopt(c, b->index, b->fd);
		*ret = b->index;
		b->index = NULL;
	}
	build_unref(b);
	return r;
}

/* -- in one piece ---------------------------------------------------------------------------- */

struct whole {
	struct content *content;
	struct view_index *index;
	struct xxh128_state *hash;
	struct buf piece;
	int fd;
	uint64_t size;
};

static int flush_piece(struct whole *w)
{
	struct view_index *x = w->index;
	if (!w->piece.len)
		return 0;
	int r = x->count % 1024 == 0 ? view_index_grow(x, x->count + 1024) : 0;
	for (size_t done = 0; done < w->piece.len && !r;) {
		ssize_t n = pwrite(w->fd, w->piece.data + done, w->piece.len - done, (off_t)(w->size + done));
		if (n < 0 && errno != EINTR)
			r = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (r)
		return r;
	xxh128_update(w->hash, w->piece.data, w->piece.len);
	w->size += w->piece.len;
	xxh128_of(w->piece.data, w->piece.len, &x->hashes[x->count]);
	x->rows[x->count] = 0;
	x->ends[x->count++] = w->size;
	buf_clear(&w->piece);
	return 0;
}

static int take_bytes(void *arg, const void *bytes, size_t len)
{
	struct whole *w = arg;
	const unsigned char *p = bytes;
	if (atomic_load(&w->content->reader->stopping))
		return -ECANCELED;
	while (len) {
		size_t room = PIECE_BYTES - w->piece.len, n = len < room ? len : room;
		buf_add(&w->piece, p, n);
		if (buf_check(&w->piece))
			return -ENOMEM;
		p += n;
		len -= n;
		int r = w->piece.len == PIECE_BYTES ? flush_piece(w) : 0;
		if (r)
			return r;
	}
	return 0;
}

static int build_whole(struct content *c, struct view_plan *plan, struct view_index **ret, struct err *e)
{
	struct whole w = { .content = c, .fd = -1 };
	struct view_source source = view_source_of(c);
	int r = c->reader->cache ? blob_temp(c->reader->cache, c->domain->cache_name, &w.fd) : -EIO;
	if (r)
		return err_set(e, -EIO, "%s: this view has to be kept in the cache, and the cache cannot be written: %s", c->path, strerror(-r));
	r = view_index_new(VIEW_WHOLE, 0, c->entry.size, &w.index);
	if (!r && !(w.hash = xxh128_new()))
		r = -ENOMEM;
	if (!r)
		r = view_whole(plan, &source, take_bytes, &w, &w.index->stats, e);
	if (!r)
		r = flush_piece(&w);
	if (!r) {
		w.index->size = w.size;
		xxh128_final(w.hash, &w.index->hash);
		adopt(c, w.index, w.fd);
		*ret = w.index;
		w.index = NULL;
	} else if (r == -ENOSPC || (e && !e->code)) {
		r = err_set(e, -EIO, "%s: the cache cannot hold this view: %s", c->path, strerror(-r));
	}
	close(w.fd);
	buf_free(&w.piece);
	xxh128_free(w.hash);
	view_index_free(w.index);
	return r;
}

int view_build(struct content *c, struct view_index **ret, struct err *e)
{
	struct view_plan *plan;
	int r = view_plan_get(c, &plan, e);
	if (r)
		return r;
	switch (view_plan_kind(plan)) {
	case VIEW_CHUNKED:
		r = build_chunks(c, plan, ret, e);
		if (r != -EXDEV)
			return r;
		atomic_store(&c->view->one_piece, true);
		err_clear(e);
		return build_chunks(c, plan, ret, e);
	case VIEW_WHOLE:
		return build_whole(c, plan, ret, e);
	case VIEW_SEGMENTS:
		*ret = NULL;
		return 0;
	}
	return err_set(e, -EACCES, "%s: a view of an unknown kind", c->path);
}
