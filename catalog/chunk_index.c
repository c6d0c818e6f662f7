#include "catalog/chunk_index.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct slot {
	uint64_t prefix;
	uint64_t ref; /* source << 48 | id + 1; 0: empty */
};

struct chunk_index {
	pthread_mutex_t lock; /* guards the table; a leaf */
	struct slot *slots;
	size_t count, mask;
};

struct chunk_index *chunk_index_new(void)
{
	struct chunk_index *x = calloc(1, sizeof *x);
	if (!x)
		return NULL;
	x->mask = 1023;
	x->slots = calloc(x->mask + 1, sizeof *x->slots);
	if (!x->slots) {
		free(x);
		return NULL;
	}
	pthread_mutex_init(&x->lock, NULL);
	return x;
}

void chunk_index_free(struct chunk_index *x)
{
	if (!x)
		return;
	pthread_mutex_destroy(&x->lock);
	free(x->slots);
	free(x);
}

static uint64_t prefix_of(const struct digest *d)
{
	uint64_t v;
	memcpy(&v, d->bytes, sizeof v);
	return v;
}

static void insert(struct slot *slots, size_t mask, struct slot s)
{
	size_t i = s.prefix & mask;
	while (slots[i].ref)
		i = (i + 1) & mask;
	slots[i] = s;
}

static int grow_locked(struct chunk_index *x)
{
	const size_t mask = x->mask * 2 + 1;
	struct slot *slots = calloc(mask + 1, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i <= x->mask; i++) {
		if (x->slots[i].ref)
			insert(slots, mask, x->slots[i]);
	}
	free(x->slots);
	x->slots = slots;
	x->mask = mask;
	return 0;
}

int chunk_index_add(struct chunk_index *x, const struct digest *d, unsigned source, uint64_t id)
{
	int r = 0;
	pthread_mutex_lock(&x->lock);
	if ((x->count + 1) * 4 > (x->mask + 1) * 3)
		r = grow_locked(x);
	if (!r) {
		insert(x->slots, x->mask, (struct slot){ prefix_of(d), (uint64_t)source << 48 | (id + 1) });
		x->count++;
	}
	pthread_mutex_unlock(&x->lock);
	return r;
}

bool chunk_index_maybe(struct chunk_index *x, const struct digest *d)
{
	const uint64_t prefix = prefix_of(d);
	bool found = false;
	pthread_mutex_lock(&x->lock);
	for (size_t i = prefix & x->mask; x->slots[i].ref && !found; i = (i + 1) & x->mask)
		found = x->slots[i].prefix == prefix;
	pthread_mutex_unlock(&x->lock);
	return found;
}

int chunk_index_find(struct chunk_index *x, const struct digest *d, int (*match)(void *arg, unsigned source, uint64_t id), void *arg)
{
	/* Without the lock: only the one thread that may call this changes the table. */
	const uint64_t prefix = prefix_of(d);
	for (size_t i = prefix & x->mask; x->slots[i].ref; i = (i + 1) & x->mask) {
		if (x->slots[i].prefix != prefix)
			continue;
		const uint64_t ref = x->slots[i].ref;
		int r = match(arg, (unsigned)(ref >> 48), (ref & ((UINT64_C(1) << 48) - 1)) - 1);
		if (r)
			return r;
	}
	return 0;
}
