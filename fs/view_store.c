#include "fs/view_store.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "catalog/domain.h"
#include "catalog/store/store.h"
#include "fs/view_set.h"
#include "fs/view_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_OBJECT_MIN (8u << 20)        /* of the source: smaller files are computed as soon as fetched */
#define SETS_MAX 64                      /* remembered by a reader */
#define SETS_BYTES_MAX ((size_t)64 << 20) /* of them; one larger set is kept alone */
#define ABSENT_MS 30000                  /* how long a set that was not there is not asked for */

struct known_set {
	char key[VIEW_SET_KEY_SIZE]; /* with the domain's name in front; "" for a free place */
	bool loading;
	struct view_set *set; /* NULL: not there at `tried_ms` */
	int64_t tried_ms;
	uint64_t used;
};

struct view_sets {
	pthread_mutex_t lock; /* guards all; a leaf */
	pthread_cond_t loaded;
	struct known_set known[SETS_MAX];
	uint64_t clock;
};

struct view_sets *view_sets_new(void)
{
	struct view_sets *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->loaded, NULL);
	return s;
}

void view_sets_free(struct view_sets *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < SETS_MAX; i++)
		view_set_unref(s->known[i].set);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->loaded);
	free(s);
}

/* -- fetching -------------------------------------------------------------------------------- */

/* 0, -ENOENT, or why it could not be fetched or is not sound. */
static int fetch_set(struct reader_domain *d, const char *key, const struct digest *manifest, const struct digest *view, struct view_set **ret)
{
	struct buf bytes = BUF_INIT;
	struct err e = ERR_INIT;
	int r = store_healthy(d->store) ? store_get(d->store, key, VIEW_SET_BYTES_MAX, &bytes, NULL, &e) : -EIO;
	if (!r && (r = view_set_decode(&bytes, manifest, view, ret)) == -EBADMSG)
		log_error("%s: %s is not a sound index of a view; it is computed here instead", d->name, key);
	else if (r && r != -ENOENT && e.code)
		log_info("%s; the view is computed here", e.text);
	buf_free(&bytes);
	return r;
}

static struct known_set *find_locked(struct view_sets *s, const char *key)
{
	for (size_t i = 0; i < SETS_MAX; i++)
		if (!strcmp(s->known[i].key, key))
			return &s->known[i];
	return NULL;
}

/* The place that was used longest ago, of those that are free to be taken; NULL when all are being loaded. */
static struct known_set *oldest_locked(struct view_sets *s, bool full)
{
	struct known_set *oldest = NULL;
	for (size_t i = 0; i < SETS_MAX; i++) {
		struct known_set *k = &s->known[i];
		if (!k->loading && (!full || k->set) && (!oldest || k->used < oldest->used))
			oldest = k;
	}
	return oldest;
}

static void forget_locked(struct known_set *k)
{
	view_set_unref(k->set);
	*k = (struct known_set){ .key = "" };
}

static void make_room_locked(struct view_sets *s, const struct known_set *keep)
{
	for (;;) {
		size_t bytes = 0;
		for (size_t i = 0; i < SETS_MAX; i++)
			bytes += s->known[i].set ? view_set_bytes(s->known[i].set) : 0;
		struct known_set *k = oldest_locked(s, true);
		if (bytes <= SETS_BYTES_MAX || !k || k == keep)
			return;
		forget_locked(k);
	}
}

/* Waits while another worker fetches the set; true: `*ret` is what is known of it now. */
static bool know_locked(struct view_sets *s, const char *key, struct view_set **ret)
{
	struct known_set *k;
	while ((k = find_locked(s, key)) && k->loading)
		pthread_cond_wait(&s->loaded, &s->lock);
	if (!k || (!k->set && clock_mono_ms() - k->tried_ms >= ABSENT_MS))
		return false;
	k->used = ++s->clock;
	*ret = k->set ? view_set_ref(k->set) : NULL;
	return true;
}

/* The set with a reference; NULL when there is none. */
static struct view_set *get_set(struct view_sets *s, struct reader_domain *d, const struct digest *manifest, const struct digest *view)
{
	char key[VIEW_SET_KEY_SIZE], name[VIEW_SET_KEY_SIZE + sizeof d->name];
	struct view_set *set = NULL;
	view_set_key(manifest, view, NULL, key);
	snprintf(name, sizeof name, "%s/%s", d->name, key + strlen(".mesh/views/"));
	name[VIEW_SET_KEY_SIZE - 1] = '\0';
	pthread_mutex_lock(&s->lock);
	if (know_locked(s, name, &set)) {
		pthread_mutex_unlock(&s->lock);
		return set;
	}
	struct known_set *k = find_locked(s, name);
	if (!k && (k = oldest_locked(s, false)))
		forget_locked(k);
	if (k) {
		memcpy(k->key, name, VIEW_SET_KEY_SIZE);
		k->loading = true;
	}
	pthread_mutex_unlock(&s->lock);
	fetch_set(d, key, manifest, view, &set);
	pthread_mutex_lock(&s->lock);
	if (k) {
		k->loading = false;
		k->set = set ? view_set_ref(set) : NULL;
		k->tried_ms = clock_mono_ms();
		k->used = ++s->clock;
		make_room_locked(s, k);
		pthread_cond_broadcast(&s->loaded);
	}
	pthread_mutex_unlock(&s->lock);
	return set;
}

/* -- finding --------------------------------------------------------------------------------- */

static int take_index(struct content *c, const struct view_set *set, struct view_index **ret)
{
	const void *bytes;
	size_t len;
	struct view_index *x = NULL;
	int r = view_set_find(set, &c->entry.content, &bytes, &len);
	if (!r)
		r = view_index_decode(bytes, len, c->entry.size, c->entry.chunk_count, &x);
	if (r == -EBADMSG)
		log_error("%s: %s: the store's index of its view is not sound; it is computed here instead", c->domain->name, c->path);
	if (r)
		return r;
	if (!x->size) {
		view_index_free(x);
		return -ENOENT;
	}
	x->claimed = true;
	*ret = x;
	return 0;
}

int view_store_find(struct content *c, struct view_index **ret)
{
	const struct digest *manifest = &manifest_info(c->manifest)->digest;
	struct digest view;
	char key[VIEW_SET_KEY_SIZE];
	if (c->view->own)
		return -ENOENT;
	view_identity(c->view->transform, c->path, &view);
	struct view_set *set = get_set(c->reader->view_sets, c->domain, manifest, &view);
	int r = set ? take_index(c, set, ret) : -ENOENT;
	view_set_unref(set);
	if (!r || c->entry.size < OWN_OBJECT_MIN)
		return r;
	set = NULL;
	view_set_key(manifest, &view, &c->entry.content, key);
	r = fetch_set(c->domain, key, manifest, &view, &set);
	if (!r)
		r = take_index(c, set, ret);
	view_set_unref(set);
	return r;
}

/* -- giving ---------------------------------------------------------------------------------- */

static bool may_give(struct reader_domain *d)
{
	return store_ours(d->store) && !atomic_load(&d->refuses);
}

static void refused(struct reader_domain *d, const struct err *e)
{
	if (!atomic_exchange(&d->refuses, true))
		log_info("%s; indexes of views are kept in the cache only", e->text);
}

/* The draft under its key; what another host put there meanwhile is joined with it. */
static int put_set(struct reader_domain *d, const char *key, const struct digest *manifest, const struct digest *view, struct view_set_draft *draft,
		   struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct view_set *there = NULL;
	bool news = true;
	int r = view_set_draft_encode(draft, manifest, view, &bytes);
	if (!r)
		r = store_put(d->store, key, bytes.data, bytes.len, PUT_EXCLUSIVE, e);
	if (r == -EEXIST || r == -EOPNOTSUPP) {
		err_clear(e);
		r = fetch_set(d, key, manifest, view, &there);
		if (!r)
			r = view_set_draft_merge(draft, there, &news);
		else if (r == -EBADMSG || r == -ENOENT)
			r = 0;
		buf_clear(&bytes);
		if (!r && news)
			r = view_set_draft_encode(draft, manifest, view, &bytes);
		if (!r && news)
			r = store_put(d->store, key, bytes.data, bytes.len, PUT_REPLACE, e);
	}
	view_set_unref(there);
	buf_free(&bytes);
	return r && !e->code ? err_set(e, r, "%s: %s: %s", d->name, key, strerror(-r)) : r;
}

void view_store_offer(struct content *c, const struct view_index *x)
{
	const struct digest *manifest = &manifest_info(c->manifest)->digest;
	struct digest view;
	char key[VIEW_SET_KEY_SIZE];
	struct buf bytes = BUF_INIT;
	struct err e = ERR_INIT;
	if (c->entry.size < OWN_OBJECT_MIN || x->claimed || !may_give(c->domain))
		return;
	struct view_set_draft *draft = view_set_draft_new();
	view_identity(c->view->transform, c->path, &view);
	view_set_key(manifest, &view, &c->entry.content, key);
	int r = draft ? view_index_encode(x, &bytes) : -ENOMEM;
	if (!r)
		r = view_set_draft_add(draft, &c->entry.content, bytes.data, bytes.len);
	if (!r && put_set(c->domain, key, manifest, &view, draft, &e))
		refused(c->domain, &e);
	view_set_draft_free(draft);
	buf_free(&bytes);
}

/* -- gifts ----------------------------------------------------------------------------------- */

struct gift_set {
	struct reader_domain *domain;
	struct digest manifest, view;
	struct view_set_draft *draft;
	struct gift_set *next;
};

struct view_gift {
	pthread_mutex_t lock; /* guards the rest; a leaf */
	struct gift_set *sets;
};

struct view_gift *view_gift_new(void)
{
	struct view_gift *g = calloc(1, sizeof *g);
	if (g)
		pthread_mutex_init(&g->lock, NULL);
	return g;
}

static struct gift_set *gift_set_locked(struct view_gift *g, const struct content *c)
{
	struct digest view;
	const struct digest *manifest = &manifest_info(c->manifest)->digest;
	view_identity(c->view->transform, c->path, &view);
	struct gift_set *s = g->sets;
	while (s && (s->domain != c->domain || !digest_equal(&s->manifest, manifest) || !digest_equal(&s->view, &view)))
		s = s->next;
	if (s || !(s = calloc(1, sizeof *s)))
		return s;
	*s = (struct gift_set){ c->domain, *manifest, view, view_set_draft_new(), g->sets };
	if (!s->draft) {
		free(s);
		return NULL;
	}
	g->sets = s;
	return s;
}

int view_gift_add(struct view_gift *g, struct content *c)
{
	struct buf bytes = BUF_INIT;
	const struct view_index *x = c->shape == SHAPE_VIEW && view_is_known(c) ? c->view->index : NULL;
	if (!x || !x->size || atomic_load(&c->view->claimed) || !may_give(c->domain))
		return 0;
	int r = view_index_encode(x, &bytes);
	pthread_mutex_lock(&g->lock);
	struct gift_set *s = r ? NULL : gift_set_locked(g, c);
	if (!r)
		r = s ? view_set_draft_add(s->draft, &c->entry.content, bytes.data, bytes.len) : -ENOMEM;
	pthread_mutex_unlock(&g->lock);
	buf_free(&bytes);
	return r;
}

static void give(struct gift_set *s)
{
	char key[VIEW_SET_KEY_SIZE];
	struct err e = ERR_INIT;
	if (!view_set_draft_count(s->draft) || !may_give(s->domain))
		return;
	view_set_key(&s->manifest, &s->view, NULL, key);
	if (put_set(s->domain, key, &s->manifest, &s->view, s->draft, &e))
		refused(s->domain, &e);
}

void view_gift_give(struct view_gift *g)
{
	while (g && g->sets) {
		struct gift_set *s = g->sets;
		g->sets = s->next;
		give(s);
		view_set_draft_free(s->draft);
		free(s);
	}
	if (g)
		pthread_mutex_destroy(&g->lock);
	free(g);
}

