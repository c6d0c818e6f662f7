/* Contents: which there are, their chunks and images, what is known of them. */
#include "fs/reader_internal.h"

#include "catalog/base/clock.h"

#include "catalog/store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SHARED_CHUNKS_MAX 4096    /* files of more chunks do not share their blob between versions: see name_blob */

/* -- chunks --------------------------------------------------------------------------------- */

/* A manifest is input from a store: chunks must follow each other without gaps and end with the file. */
static int check_page(const struct content *c, uint32_t first, const struct chunk_page *p)
{
	for (uint32_t i = 0; i < p->count; i++) {
		const struct manifest_chunk *k = &p->chunk[i];
		uint64_t end = k->file_offset + k->length;
		if (!k->length || k->length > CHUNK_BYTES_MAX || end < k->file_offset || end > c->entry.size)
			return -EBADMSG;
		if (first + i == 0 && (k->file_offset != 0 || k->piece != 0))
			return -EBADMSG;
		if (first + i + 1 == c->entry.chunk_count ? end != c->entry.size : i + 1 < p->count && end != k[1].file_offset)
			return -EBADMSG;
		if (i + 1 < p->count && k[1].piece != k->piece + piece_count(k->length))
			return -EBADMSG;
	}
	return 0;
}

static int load_page(struct content *c, uint32_t number, struct chunk_page **ret)
{
	uint32_t first = number * CHUNK_PAGE, count = c->entry.chunk_count - first;
	if (count > CHUNK_PAGE)
		count = CHUNK_PAGE;
	struct chunk_page *p = malloc(sizeof *p + count * sizeof p->chunk[0]), *other = NULL;
	if (!p)
		return -ENOMEM;
	p->count = count;
	int r = manifest_chunks(c->manifest, c->entry.row, first, count, p->chunk);
	if (!r)
		r = check_page(c, first, p);
	if (r) {
		free(p);
		return r;
	}
	if (!atomic_compare_exchange_strong(&c->pages[number], &other, p)) {
		free(p);
		p = other;
	}
	*ret = p;
	return 0;
}

static int get_page(struct content *c, uint32_t number, struct chunk_page **ret)
{
	struct chunk_page *p = atomic_load_explicit(&c->pages[number], memory_order_acquire);
	if (!p)
		return load_page(c, number, ret);
	*ret = p;
	return 0;
}

int content_chunk(struct content *c, uint32_t index, const struct manifest_chunk **ret)
{
	struct chunk_page *p;
	if (index >= c->entry.chunk_count)
		return -EBADMSG;
	int r = get_page(c, index / CHUNK_PAGE, &p);
	if (!r)
		*ret = &p->chunk[index % CHUNK_PAGE];
	return r;
}

/* The chunk of a loaded page that holds the offset. */
static bool find_in_page(const struct chunk_page *p, uint32_t number, uint64_t offset, uint32_t *ret)
{
	uint32_t low = 0, high = p->count - 1;
	if (offset < p->chunk[0].file_offset || offset >= p->chunk[high].file_offset + p->chunk[high].length)
		return false;
	while (low < high) {
		uint32_t middle = low + (high - low + 1) / 2;
		if (p->chunk[middle].file_offset <= offset)
			low = middle;
		else
			high = middle - 1;
	}
	*ret = number * CHUNK_PAGE + low;
	return true;
}

int content_chunk_index(struct content *c, uint64_t offset, uint32_t *ret)
{
	/* Chunks are of about equal size, so a proportional guess or its neighbour is nearly always the page. */
	uint32_t guess = (uint32_t)((double)offset / (double)c->entry.size * c->page_count);
	for (uint32_t n = guess ? guess - 1 : 0; n <= guess + 1 && n < c->page_count; n++) {
		const struct chunk_page *p = atomic_load_explicit(&c->pages[n], memory_order_acquire);
		if (p && find_in_page(p, n, offset, ret))
			return 0;
	}
	uint32_t index;
	struct chunk_page *p;
	int r = c->page_count == 1 ? 0 : manifest_chunk_at(c->manifest, c->entry.row, offset, &index);
	if (c->page_count == 1)
		index = 0;
	if (!r && index >= c->entry.chunk_count)
		r = -EBADMSG;
	if (!r)
		r = get_page(c, index / CHUNK_PAGE, &p);
	if (r)
		return r;
	return find_in_page(p, index / CHUNK_PAGE, offset, ret) ? 0 : -EBADMSG;
}

uint32_t content_slot(const struct content *c, const struct manifest_chunk *k)
{
	return c->shape == SHAPE_SMALL ? k->slot : k->piece;
}

uint64_t content_image_offset(const struct content *c, const struct manifest_chunk *k)
{
	return c->shape == SHAPE_SMALL ? k->raw_offset : k->file_offset;
}

int content_pack(struct content *c, uint32_t pack, struct manifest_pack *ret)
{
	pthread_mutex_lock(&c->lock);
	bool known = c->pack.key[0] && c->pack_number == pack;
	if (known)
		*ret = c->pack;
	pthread_mutex_unlock(&c->lock);
	if (known)
		return 0;
	int r = manifest_pack(c->manifest, pack, ret);
	if (r == -ENOENT)
		r = -EBADMSG; /* a chunk lies in a pack that the manifest does not have */
	if (!r && (!ret->key[0] || ret->key[0] == '/'))
		r = -EBADMSG;
	if (r)
		return r;
	pthread_mutex_lock(&c->lock);
	c->pack = *ret;
	c->pack_number = pack;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int content_piece(struct content *c, uint64_t at, struct piece *ret)
{
	if (c->shape == SHAPE_VIEW)
		return view_content_piece(c, at, ret);
	uint32_t index;
	const struct manifest_chunk *k;
	int r = content_chunk_index(c, at, &index);
	if (!r)
		r = content_chunk(c, index, &k);
	if (r)
		return r;
	*ret = (struct piece){ k->file_offset, content_image_offset(c, k), k->length, content_slot(c, k) };
	if (c->shape == SHAPE_FILE && leaf_count(k->length)) {
		const uint32_t leaf = (uint32_t)(at - k->file_offset) / LEAF_BYTES, skip = leaf * LEAF_BYTES;
		ret->start += skip;
		ret->image_offset += skip;
		ret->length = k->length - skip < LEAF_BYTES ? k->length - skip : LEAF_BYTES;
		ret->slot += leaf;
	}
	return 0;
}

/* -- getting a content ---------------------------------------------------------------------- */

static struct reader_domain *find_domain(struct reader *r, struct domain *d)
{
	pthread_mutex_lock(&r->lock);
	struct reader_domain *x = r->domains;
	while (x && x->domain != d)
		x = x->next;
	if (!x && (x = calloc(1, sizeof *x))) {
		x->domain = d;
		x->store = domain_store(d);
		x->cache_name = domain_identity(d);
		strncpy(x->name, domain_name(d), sizeof x->name - 1);
		x->next = r->domains;
		r->domains = x;
	}
	pthread_mutex_unlock(&r->lock);
	return x;
}

/* The digest that names the content must be that of its chunks, as blobs are shared by it.  Very long files would need all their
 * chunks read for that: their blobs are their version's own. */
static int name_blob(struct content *c, const struct manifest_pack *in_place, struct digest *ret)
{
	const struct manifest_entry *f = &c->entry;
	struct sha256 *h = sha256_new();
	if (!h)
		return -ENOMEM;
	int r = 0;
	if (f->chunk_count <= SHARED_CHUNKS_MAX) {
		const struct manifest_chunk *k;
		for (uint32_t i = 0; i < f->chunk_count && !r; i++) {
			r = content_chunk(c, i, &k);
			if (!r)
				sha256_update(h, k->digest.bytes, SHA256_SIZE);
		}
		if (!r) {
			sha256_final(h, ret);
			r = digest_equal(ret, &f->content) ? 0 : -EBADMSG;
		}
		sha256_free(h);
		h = in_place ? sha256_new() : NULL;
	} else {
		const struct manifest_info *info = manifest_info(c->manifest);
		sha256_update(h, info->product, strlen(info->product) + 1);
		sha256_update(h, info->version, strlen(info->version) + 1);
	}
	if (h && !r) {
		sha256_update(h, f->content.bytes, SHA256_SIZE);
		if (in_place) {
			sha256_update(h, in_place->key, strlen(in_place->key) + 1);
			sha256_update(h, in_place->etag, strlen(in_place->etag) + 1);
		}
		sha256_final(h, ret);
	}
	sha256_free(h);
	return r;
}

static int attach_image(struct content *c)
{
	const struct manifest_chunk *k;
	struct manifest_pack pack;
	struct digest name;
	int r = content_chunk(c, 0, &k);
	if (!r)
		r = content_pack(c, k->pack, &pack);
	if (r)
		return r;
	if (c->entry.size < FILE_BLOB_MIN && !pack.in_place && pack.slots && pack.raw_size) {
		c->shape = SHAPE_SMALL;
		for (uint32_t i = 1; i < c->entry.chunk_count && c->shape == SHAPE_SMALL; i++) {
			const struct manifest_chunk *other;
			r = content_chunk(c, i, &other);
			if (r)
				return r;
			if (other->pack != k->pack) /* spread over packs: cached as a file */
				c->shape = SHAPE_FILE;
		}
	} else {
		c->shape = SHAPE_FILE;
	}
	r = name_blob(c, pack.in_place ? &pack : NULL, &name);
	if (r)
		return r;
	if (c->shape == SHAPE_FILE) {
		r = content_chunk(c, c->entry.chunk_count - 1, &k);
		return r ? r : image_get(c->reader, c->domain, BLOB_FILE, &name, c->entry.size, k->piece + piece_count(k->length), &c->image);
	}
	sha256_of(pack.key, strlen(pack.key), &name);
	return image_get(c->reader, c->domain, BLOB_PACK, &name, pack.raw_size, pack.slots, &c->image);
}

static void unwatch(struct content *c);

static void content_free(struct content *c)
{
	if (!c)
		return;
	unwatch(c);
	view_content_fini(c);
	image_unref(c->image);
	for (uint32_t i = 0; c->pages && i < c->page_count; i++)
		free(atomic_load(&c->pages[i]));
	free(c->pages);
	manifest_unref(c->manifest);
	pthread_mutex_destroy(&c->lock);
	free(c->path);
	free(c);
}

static int content_init(struct content *c, struct domain *d, struct transform *view, struct err *e)
{
	if (view)
		return view_content_init(c, d, view, e);
	if (!c->entry.size) {
		c->shape = SHAPE_EMPTY;
		return 0;
	}
	if (!c->entry.chunk_count)
		return err_set(e, -EBADMSG, "%s: the manifest gives a size and no chunks", c->path);
	c->page_count = (c->entry.chunk_count - 1) / CHUNK_PAGE + 1;
	c->pages = calloc(c->page_count, sizeof *c->pages);
	int r = c->pages ? attach_image(c) : -ENOMEM;
	if (r == -EBADMSG)
		return err_set(e, r, "%s: the manifest contradicts itself about its chunks", c->path);
	return r ? err_set(e, r, "%s: %s", c->path, strerror(-r)) : 0;
}

/* Two contents are one when domain, content, view and, for in-place files, the object are the same. */
static void make_key(struct content *c, const struct transform *view)
{
	size_t n = 0;
	memcpy(c->key + n, &c->domain, sizeof c->domain);
	n += sizeof c->domain;
	memcpy(c->key + n, c->entry.content.bytes, SHA256_SIZE);
	n += SHA256_SIZE;
	if (view) {
		memcpy(c->key + n, view->hash.bytes, SHA256_SIZE);
		n += SHA256_SIZE;
	}
	if (view || (c->image && c->image->kind == BLOB_FILE)) {
		/* A view's plan rests on the file's name (its format), too. */
		struct digest d = { { 0 } };
		if (view)
			sha256_of(c->path, strlen(c->path), &d);
		else
			d = c->image->name;
		memcpy(c->key + n, d.bytes, SHA256_SIZE);
		n += SHA256_SIZE;
	}
	c->key_len = n;
}

static struct content *content_new(struct reader *r, struct domain *d, struct manifest *m, const struct manifest_entry *entry, const char *path)
{
	struct content *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	atomic_init(&c->refs, 1);
	pthread_mutex_init(&c->lock, NULL);
	c->reader = r;
	c->entry = *entry;
	c->manifest = manifest_ref(m);
	c->path = strdup(path);
	c->domain = find_domain(r, d);
	if (c->path && c->domain)
		return c;
	content_free(c);
	return NULL;
}

/* The open content of the same key, with a reference. */
static struct content *find_content(struct reader *r, const struct content *like)
{
	pthread_mutex_lock(&r->lock);
	struct content *c = map_get(r->contents, like->key, like->key_len);
	if (c)
		atomic_fetch_add(&c->refs, 1);
	pthread_mutex_unlock(&r->lock);
	return c;
}

/* Adds it, unless another thread was first. */
static int add_content(struct reader *r, struct content *c, struct content **ret_other)
{
	pthread_mutex_lock(&r->lock);
	struct content *other = map_get(r->contents, c->key, c->key_len);
	int code = other ? 0 : map_set(r->contents, c->key, c->key_len, c, NULL);
	if (other)
		atomic_fetch_add(&other->refs, 1);
	pthread_mutex_unlock(&r->lock);
	*ret_other = other;
	return code;
}

int content_get(struct reader *r, struct domain *d, struct manifest *m, const struct manifest_entry *entry, const char *path,
		struct transform *view, struct content **ret, struct err *e)
{
	if (entry->kind != ENTRY_FILE)
		return err_set(e, -EINVAL, "%s: not a file", path);
	struct content *c = content_new(r, d, m, entry, path), *other = NULL;
	if (!c)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	int code = 0;
	if (view) { /* spares an open view the work of making another */
		make_key(c, view);
		other = find_content(r, c);
	}
	if (!other)
		code = content_init(c, d, view, e);
	if (!other && !code) {
		make_key(c, view);
		code = add_content(r, c, &other);
		if (code)
			err_set(e, code, "%s: out of memory", path);
	}
	if (other || code)
		content_free(c);
	if (!code)
		*ret = other ? other : c;
	return code;
}

struct content *content_ref(struct content *c)
{
	atomic_fetch_add(&c->refs, 1);
	return c;
}

void content_unref(struct content *c)
{
	if (!c)
		return;
	int refs = atomic_load(&c->refs);
	while (refs > 1)
		if (atomic_compare_exchange_weak(&c->refs, &refs, refs - 1))
			return;
	/* The last reference is dropped under the map's lock, where content_get could take a new one. */
	struct reader *r = c->reader;
	pthread_mutex_lock(&r->lock);
	bool last = atomic_fetch_sub(&c->refs, 1) == 1;
	if (last && c->key_len && map_get(r->contents, c->key, c->key_len) == c)
		map_remove(r->contents, c->key, c->key_len);
	pthread_mutex_unlock(&r->lock);
	if (last)
		content_free(c);
}

/* -- what is known -------------------------------------------------------------------------- */

int content_prepare(struct content *c, int64_t deadline_ms, content_ready done, void *arg, uint64_t *ret_token)
{
	if (ret_token)
		*ret_token = 0;
	if (c->shape == SHAPE_VIEW)
		return view_content_prepare(c, deadline_ms, done, arg, ret_token);
	done(arg, 0, NULL);
	return 0;
}

int content_size(const struct content *c, uint64_t *ret_size)
{
	if (c->shape == SHAPE_VIEW)
		return view_content_size(c, ret_size);
	*ret_size = c->entry.size;
	return 0;
}

const char *content_denied(const struct content *c)
{
	return c->shape == SHAPE_VIEW ? view_content_denied(c) : "";
}

int content_hash(const struct content *c, struct xxh128 *ret)
{
	if (c->shape == SHAPE_VIEW)
		return view_content_hash(c, ret);
	*ret = c->entry.hash;
	return 0;
}

uint64_t content_fetched_bytes(const struct content *c)
{
	return c->shape == SHAPE_VIEW ? view_content_fetched(c) : atomic_load(&c->fetched);
}

int content_whole_fd(struct content *c, int *ret_fd)
{
	if (c->shape == SHAPE_VIEW)
		return view_content_whole_fd(c, ret_fd);
	if (c->shape != SHAPE_FILE)
		return -EAGAIN;
	struct blob *b = image_blob(c->image);
	int r = b && blob_whole(b) ? blob_reopen(b, ret_fd) : -EAGAIN;
	if (!r)
		atomic_store(&c->whole, true);
	blob_close(b);
	return r;
}

/* Calls back once; the caller has a reference on the content, which is dropped. */
static void tell(struct content *c)
{
	pthread_mutex_lock(&c->lock);
	void (*notify)(void *) = c->notify;
	void *arg = c->notify_arg;
	c->notify = NULL;
	pthread_mutex_unlock(&c->lock);
	atomic_store(&c->whole, true);
	if (notify)
		notify(arg);
	content_unref(c);
}

/* Watchers are not references: a content whose last one is gone (only ever under reader.lock) is skipped and unlinks itself. */
void content_tell_whole(struct image *i)
{
	struct content *told = NULL;
	pthread_mutex_lock(&i->reader->lock);
	pthread_mutex_lock(&i->lock);
	struct content **at = &i->watchers;
	while (*at) {
		struct content *c = *at;
		if (!atomic_load(&c->refs)) {
			at = &c->next_watcher;
			continue;
		}
		*at = c->next_watcher;
		atomic_fetch_add(&c->refs, 1);
		c->watching = false;
		c->next_watcher = told;
		told = c;
	}
	pthread_mutex_unlock(&i->lock);
	pthread_mutex_unlock(&i->reader->lock);
	while (told) {
		struct content *c = told;
		told = c->next_watcher;
		tell(c);
	}
}

void content_watch(struct content *c)
{
	struct image *i = c->image;
	pthread_mutex_lock(&i->lock);
	if (!c->watching) {
		c->watching = true;
		c->next_watcher = i->watchers;
		i->watchers = c;
	}
	pthread_mutex_unlock(&i->lock);
	struct blob *b = image_blob(i);
	if (b && blob_whole(b)) /* it became whole before it was watched */
		content_tell_whole(i);
	blob_close(b);
}

static void unwatch(struct content *c)
{
	struct image *i = c->image;
	if (!i)
		return;
	pthread_mutex_lock(&i->lock);
	for (struct content **at = &i->watchers; *at; at = &(*at)->next_watcher) {
		if (*at == c) {
			*at = c->next_watcher;
			break;
		}
	}
	pthread_mutex_unlock(&i->lock);
}

void content_on_whole(struct content *c, void (*notify)(void *arg), void *arg)
{
	if (c->shape != SHAPE_FILE && c->shape != SHAPE_VIEW)
		return;
	pthread_mutex_lock(&c->lock);
	c->notify = notify;
	c->notify_arg = arg;
	pthread_mutex_unlock(&c->lock);
	if (c->image)
		content_watch(c);
}
