#include "fs/node.h"

#include "fs/state.h"

#include "catalog/base/map.h"
#include "catalog/base/text.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW_BITS 33
#define VIEW_BITS 10
#define VIEW_SHIFT (1 + ROW_BITS)
#define SLOT_SHIFT (VIEW_SHIFT + VIEW_BITS)

struct promoted {
	uint64_t lookups;
	enum backing_mode mode;
	uint32_t backing_id;
};

struct nodes {
	pthread_mutex_t lock; /* guards everything, and refs, lookups, users of slots and vnodes */
	struct slot **slots;  /* by number; [0] is unused */
	uint32_t slot_count, slot_cap;
	uint64_t live_slots;
	struct map *current; /* address → its slot */
	struct map *by_key;  /* vnode key → vnode */
	struct map *by_id;   /* vnode id → vnode */
	struct map *promoted; /* id → struct promoted */
	uint64_t next_id, backing;
	void (*free_slot)(struct slot *);
	void (*close_backing)(void *arg, uint32_t backing_id);
	void *arg;
};

uint64_t node_id(const struct node_parts *p)
{
	assert(p->slot && p->slot <= NODE_SLOT_MAX && p->view <= NODE_VIEW_MAX && p->row <= NODE_ROW_MAX);
	return (uint64_t)p->slot << SLOT_SHIFT | (uint64_t)p->view << VIEW_SHIFT | p->row << 1 | p->promoted;
}

void node_split(uint64_t id, struct node_parts *ret)
{
	ret->slot = (uint32_t)(id >> SLOT_SHIFT);
	ret->view = (uint32_t)(id >> VIEW_SHIFT) & NODE_VIEW_MAX;
	ret->row = id >> 1 & NODE_ROW_MAX;
	ret->promoted = id & 1;
}

uint64_t node_ino(uint64_t id)
{
	if (!(id >> SLOT_SHIFT))
		return id;
	return id & ~((uint64_t)NODE_VIEW_MAX << VIEW_SHIFT | 1);
}

struct nodes *nodes_new(void (*free_slot)(struct slot *), void (*close_backing)(void *arg, uint32_t backing_id), void *arg)
{
	struct nodes *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	pthread_mutex_init(&n->lock, NULL);
	n->current = map_new();
	n->by_key = map_new();
	n->by_id = map_new();
	n->promoted = map_new();
	n->slot_count = 1;
	n->next_id = NODE_ROOT + 1;
	n->free_slot = free_slot;
	n->close_backing = close_backing;
	n->arg = arg;
	if (n->current && n->by_key && n->by_id && n->promoted)
		return n;
	nodes_free(n);
	return NULL;
}

static void vnode_free(struct nodes *n, struct vnode *v);

void nodes_free(struct nodes *n)
{
	if (!n)
		return;
	size_t i = 0;
	const void *key;
	size_t key_len;
	void *value;
	/* The kernel forgets nothing at unmount: what is left is swept here.  vnodes first, they hold slots. */
	while (n->by_id && map_next(n->by_id, &i, &key, &key_len, &value)) {
		struct vnode *v = value;
		v->slot = NULL;
		pthread_mutex_destroy(&v->lock);
		free(v->text);
		free(v->body);
		free(v->key);
		free(v);
	}
	for (i = 0; n->promoted && map_next(n->promoted, &i, &key, &key_len, &value);) {
		struct promoted *p = value;
		if (p->backing_id)
			n->close_backing(n->arg, p->backing_id);
	}
	for (uint32_t s = 1; s < n->slot_count; s++) {
		if (n->slots[s])
			n->free_slot(n->slots[s]);
	}
	free(n->slots);
	if (n->current)
		map_free(n->current, NULL);
	if (n->by_key)
		map_free(n->by_key, NULL);
	if (n->by_id)
		map_free(n->by_id, NULL);
	if (n->promoted)
		map_free(n->promoted, free);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

/* -- slots ---------------------------------------------------------------------------------- */

static int slot_room(struct nodes *n)
{
	if (n->slot_count > NODE_SLOT_MAX)
		return -ENFILE;
	if (n->slot_count < n->slot_cap)
		return 0;
	uint32_t cap = n->slot_cap ? n->slot_cap * 2 : 64;
	struct slot **slots = realloc(n->slots, cap * sizeof *slots);
	if (!slots)
		return -ENOMEM;
	n->slots = slots;
	n->slot_cap = cap;
	return 0;
}

static char *copy_text(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void copy_info(struct version_info *to, const struct version_info *from)
{
	*to = *from;
	to->failures_reason = copy_text(from->failures_reason);
	to->withdrawn_reason = copy_text(from->withdrawn_reason);
	to->publisher = copy_text(from->publisher);
	to->run = copy_text(from->run);
}

static int slot_new(struct nodes *n, struct domain_host *domain, const char *product, const struct version_info *info, const char *address,
		    struct slot **ret)
{
	int r = slot_room(n);
	if (r)
		return r;
	struct slot *s = calloc(1, sizeof *s);
	if (!s || !(s->address = strdup(address))) {
		free(s);
		return -ENOMEM;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->domain = domain;
	strncpy(s->product, product, sizeof s->product - 1);
	copy_info(&s->info, info);
	s->number = n->slot_count;
	s->refs = 1; /* as the current one */
	*ret = s;
	return 0;
}

static void slot_drop_locked(struct nodes *n, struct slot *s, uint64_t count, struct slot **ret_dead)
{
	assert(s->refs >= count);
	s->refs -= count;
	if (s->refs)
		return;
	n->slots[s->number] = NULL;
	n->live_slots--;
	*ret_dead = s;
}

int nodes_slot(struct nodes *n, struct domain_host *domain, const char *product, const struct version_info *info, struct slot **ret)
{
	char address[2 * NAME_SIZE + VERSION_SIZE + 2];
	snprintf(address, sizeof address, "%s/%s/%s", domain->config->name, product, info->version);
	struct slot *dead = NULL, *s;
	int r = 0;
	pthread_mutex_lock(&n->lock);
	s = map_gets(n->current, address);
	if (s && !digest_equal(&s->info.manifest, &info->manifest)) {
		/* An address never changes its bytes; a store that says otherwise gets new nodes, old ones keep theirs. */
		map_remove(n->current, address, strlen(address));
		slot_drop_locked(n, s, 1, &dead);
		s = NULL;
	}
	if (!s) {
		r = slot_new(n, domain, product, info, address, &s);
		if (!r && (r = map_sets(n->current, address, s))) {
			free(s->address);
			free(s);
		}
		if (!r) {
			n->slots[n->slot_count++] = s;
			n->live_slots++;
		}
	}
	if (!r) {
		s->refs++;
		*ret = s;
	}
	pthread_mutex_unlock(&n->lock);
	if (dead)
		n->free_slot(dead);
	return r;
}

struct slot *nodes_slot_find(struct nodes *n, uint32_t number)
{
	pthread_mutex_lock(&n->lock);
	struct slot *s = number < n->slot_count ? n->slots[number] : NULL;
	if (s)
		s->refs++;
	pthread_mutex_unlock(&n->lock);
	return s;
}

struct slot *nodes_slot_current(struct nodes *n, const char *address)
{
	pthread_mutex_lock(&n->lock);
	struct slot *s = map_gets(n->current, address);
	if (s)
		s->refs++;
	pthread_mutex_unlock(&n->lock);
	return s;
}

void nodes_slot_ref(struct nodes *n, struct slot *s, uint64_t count)
{
	pthread_mutex_lock(&n->lock);
	s->refs += count;
	pthread_mutex_unlock(&n->lock);
}

void nodes_slot_unref(struct nodes *n, struct slot *s, uint64_t count)
{
	struct slot *dead = NULL;
	if (!s)
		return;
	pthread_mutex_lock(&n->lock);
	slot_drop_locked(n, s, count, &dead);
	pthread_mutex_unlock(&n->lock);
	if (dead)
		n->free_slot(dead);
}

void nodes_each_slot(struct nodes *n, void (*each)(void *arg, struct slot *s), void *arg)
{
	for (uint32_t i = 1;; i++) {
		pthread_mutex_lock(&n->lock);
		while (i < n->slot_count && !n->slots[i])
			i++;
		struct slot *s = i < n->slot_count ? n->slots[i] : NULL;
		if (s)
			s->refs++;
		pthread_mutex_unlock(&n->lock);
		if (!s)
			return;
		each(arg, s);
		nodes_slot_unref(n, s, 1);
	}
}

/* -- vnodes --------------------------------------------------------------------------------- */

static void vnode_free(struct nodes *n, struct vnode *v)
{
	if (v->slot)
		nodes_slot_unref(n, v->slot, 1);
	pthread_mutex_destroy(&v->lock);
	free(v->text);
	free(v->body);
	free(v->key);
	free(v);
}

struct vnode vnode_like(const struct vnode *v)
{
	struct vnode like = { .kind = v->kind, .domain = v->domain, .slot = v->slot, .decided = v->decided, .file = v->file, .text = v->text };
	memcpy(like.product, v->product, sizeof like.product);
	return like;
}

static int vnode_new(struct nodes *n, const char *key, const struct vnode *like, struct vnode **ret)
{
	struct vnode *v = malloc(sizeof *v);
	if (!v)
		return -ENOMEM;
	*v = vnode_like(like);
	v->key = strdup(key);
	v->text = copy_text(like->text);
	v->id = n->next_id;
	if (!v->key || (like->text && !v->text) || map_set(n->by_id, &v->id, sizeof v->id, v, NULL))
		goto fail;
	if (map_sets(n->by_key, key, v)) {
		map_remove(n->by_id, &v->id, sizeof v->id);
		goto fail;
	}
	pthread_mutex_init(&v->lock, NULL);
	n->next_id++;
	if (v->slot)
		v->slot->refs++;
	*ret = v;
	return 0;
fail:
	free(v->key);
	free(v->text);
	free(v);
	return -ENOMEM;
}

int nodes_vnode(struct nodes *n, const char *key, const struct vnode *like, struct vnode **ret)
{
	int r = 0;
	pthread_mutex_lock(&n->lock);
	struct vnode *v = map_gets(n->by_key, key);
	if (!v)
		r = vnode_new(n, key, like, &v);
	if (!r) {
		v->users++;
		*ret = v;
	}
	pthread_mutex_unlock(&n->lock);
	return r;
}

struct vnode *nodes_vnode_find(struct nodes *n, uint64_t id)
{
	pthread_mutex_lock(&n->lock);
	struct vnode *v = map_get(n->by_id, &id, sizeof id);
	if (v)
		v->users++;
	pthread_mutex_unlock(&n->lock);
	return v;
}

uint64_t nodes_vnode_id(struct nodes *n, const char *key)
{
	pthread_mutex_lock(&n->lock);
	struct vnode *v = map_gets(n->by_key, key);
	uint64_t id = v && v->lookups ? v->id : 0;
	pthread_mutex_unlock(&n->lock);
	return id;
}

/* Takes it out of the table when nobody needs it; true: the caller frees it, unlocked. */
static bool vnode_idle_locked(struct nodes *n, struct vnode *v)
{
	if (v->lookups || v->users)
		return false;
	map_remove(n->by_id, &v->id, sizeof v->id);
	if (map_gets(n->by_key, v->key) == v)
		map_remove(n->by_key, v->key, strlen(v->key));
	return true;
}

void nodes_vnode_put(struct nodes *n, struct vnode *v)
{
	if (!v)
		return;
	pthread_mutex_lock(&n->lock);
	assert(v->users);
	v->users--;
	bool idle = vnode_idle_locked(n, v);
	pthread_mutex_unlock(&n->lock);
	if (idle)
		vnode_free(n, v);
}

/* -- lookup counts --------------------------------------------------------------------------- */

static int promoted_looked_up_locked(struct nodes *n, uint64_t id)
{
	struct promoted *p = map_get(n->promoted, &id, sizeof id);
	if (p) {
		p->lookups++;
		return 0;
	}
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->lookups = 1;
	if (map_set(n->promoted, &id, sizeof id, p, NULL)) {
		free(p);
		return -ENOMEM;
	}
	return 0;
}

int nodes_looked_up(struct nodes *n, uint64_t id)
{
	struct node_parts at;
	node_split(id, &at);
	int r = 0;
	pthread_mutex_lock(&n->lock);
	if (at.slot) {
		struct slot *s = at.slot < n->slot_count ? n->slots[at.slot] : NULL;
		assert(s); /* the caller holds a reference */
		if (at.promoted)
			r = promoted_looked_up_locked(n, id);
		if (!r)
			s->refs++;
	} else if (id != NODE_ROOT) {
		struct vnode *v = map_get(n->by_id, &id, sizeof id);
		assert(v);
		v->lookups++;
	}
	pthread_mutex_unlock(&n->lock);
	return r;
}

/* Returns the backing id to close, or 0. */
static uint32_t promoted_forget_locked(struct nodes *n, uint64_t id, uint64_t count)
{
	struct promoted *p = map_get(n->promoted, &id, sizeof id);
	if (!p)
		return 0;
	p->lookups -= count < p->lookups ? count : p->lookups;
	if (p->lookups)
		return 0;
	map_remove(n->promoted, &id, sizeof id);
	uint32_t backing_id = p->backing_id;
	if (backing_id)
		n->backing--;
	free(p);
	return backing_id;
}

void nodes_forget(struct nodes *n, uint64_t id, uint64_t count)
{
	struct node_parts at;
	node_split(id, &at);
	struct slot *dead = NULL;
	struct vnode *idle = NULL;
	uint32_t backing_id = 0;
	pthread_mutex_lock(&n->lock);
	if (at.slot) {
		struct slot *s = at.slot < n->slot_count ? n->slots[at.slot] : NULL;
		if (s && at.promoted)
			backing_id = promoted_forget_locked(n, id, count);
		if (s) /* counts come from the kernel: never below what we hold ourselves */
			slot_drop_locked(n, s, count < s->refs ? count : s->refs, &dead);
		if (dead && map_gets(n->current, dead->address) == dead)
			map_remove(n->current, dead->address, strlen(dead->address));
	} else {
		struct vnode *v = map_get(n->by_id, &id, sizeof id);
		if (v) {
			v->lookups -= count < v->lookups ? count : v->lookups;
			idle = vnode_idle_locked(n, v) ? v : NULL;
		}
	}
	pthread_mutex_unlock(&n->lock);
	if (backing_id)
		n->close_backing(n->arg, backing_id);
	if (dead)
		n->free_slot(dead);
	if (idle)
		vnode_free(n, idle);
}

int nodes_backing(struct nodes *n, uint64_t id, uint32_t (*decide)(void *arg), void *arg, uint32_t *ret_backing_id)
{
	pthread_mutex_lock(&n->lock);
	struct promoted *p = map_get(n->promoted, &id, sizeof id);
	if (p && p->mode == BACKING_UNDECIDED) {
		p->backing_id = decide(arg);
		p->mode = p->backing_id ? BACKING_PASSTHROUGH : BACKING_CACHED;
		n->backing += p->backing_id != 0;
	}
	if (p)
		*ret_backing_id = p->backing_id;
	pthread_mutex_unlock(&n->lock);
	return p ? 0 : -ESTALE;
}

void nodes_stats(struct nodes *n, struct nodes_stats *ret)
{
	pthread_mutex_lock(&n->lock);
	*ret = (struct nodes_stats){ n->live_slots, map_count(n->by_id), map_count(n->promoted), n->backing };
	pthread_mutex_unlock(&n->lock);
}
