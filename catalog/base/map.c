#include "catalog/base/map.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct slot {
	uint64_t hash;
	void *key; /* NULL: the slot was never used, or its pair was removed (then `gone`) */
	size_t key_len;
	void *value;
	int gone;
};

struct map {
	struct slot *slots;
	size_t capacity; /* a power of two */
	size_t count;    /* live pairs */
	size_t used;     /* live pairs and removed ones: bounds the probe length */
};

struct map *map_new(void)
{
	struct map *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	m->capacity = 16;
	m->slots = calloc(m->capacity, sizeof *m->slots);
	if (!m->slots) {
		free(m);
		return NULL;
	}
	return m;
}

void map_free(struct map *m, void (*free_value)(void *))
{
	if (!m)
		return;
	for (size_t i = 0; i < m->capacity; i++) {
		if (!m->slots[i].key)
			continue;
		if (free_value)
			free_value(m->slots[i].value);
		free(m->slots[i].key);
	}
	free(m->slots);
	free(m);
}

size_t map_count(const struct map *m)
{
	return m->count;
}

static uint64_t hash_of(const void *key, size_t len)
{
	return XXH3_64bits(key, len);
}

/* The slot of the key, or NULL. */
static struct slot *find(const struct map *m, uint64_t hash, const void *key, size_t len)
{
	for (size_t i = hash & (m->capacity - 1);; i = (i + 1) & (m->capacity - 1)) {
		struct slot *s = &m->slots[i];
		if (!s->key && !s->gone)
			return NULL;
		if (s->key && s->hash == hash && s->key_len == len && memcmp(s->key, key, len) == 0)
			return s;
	}
}

static int grow(struct map *m)
{
	size_t capacity = m->count * 2 >= m->capacity ? m->capacity * 2 : m->capacity;
	struct slot *slots = calloc(capacity, sizeof *slots);
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->capacity; i++) {
		if (!m->slots[i].key)
			continue;
		size_t j = m->slots[i].hash & (capacity - 1);
		while (slots[j].key)
			j = (j + 1) & (capacity - 1);
		slots[j] = m->slots[i];
		slots[j].gone = 0;
	}
	free(m->slots);
	m->slots = slots;
	m->capacity = capacity;
	m->used = m->count;
	return 0;
}

void *map_get(const struct map *m, const void *key, size_t key_len)
{
	struct slot *s = find(m, hash_of(key, key_len), key, key_len);
	return s ? s->value : NULL;
}

int map_set(struct map *m, const void *key, size_t key_len, void *value, void **ret_old)
{
	uint64_t hash = hash_of(key, key_len);
	struct slot *s = find(m, hash, key, key_len);
	if (s) {
		if (ret_old)
			*ret_old = s->value;
		s->value = value;
		return 0;
	}
	if ((m->used + 1) * 4 > m->capacity * 3) {
		int r = grow(m);
		if (r)
			return r;
	}
	void *copy = malloc(key_len ? key_len : 1);
	if (!copy)
		return -ENOMEM;
	if (key_len)
		memcpy(copy, key, key_len);
	size_t i = hash & (m->capacity - 1);
	while (m->slots[i].key)
		i = (i + 1) & (m->capacity - 1);
	if (!m->slots[i].gone)
		m->used++;
	m->slots[i] = (struct slot){ hash, copy, key_len, value, 0 };
	m->count++;
	if (ret_old)
		*ret_old = NULL;
	return 0;
}

void *map_remove(struct map *m, const void *key, size_t key_len)
{
	struct slot *s = find(m, hash_of(key, key_len), key, key_len);
	if (!s)
		return NULL;
	void *value = s->value;
	free(s->key);
	*s = (struct slot){ .gone = 1 };
	m->count--;
	return value;
}

int map_next(const struct map *m, size_t *i, const void **ret_key, size_t *ret_key_len, void **ret_value)
{
	for (; *i < m->capacity; (*i)++) {
		const struct slot *s = &m->slots[*i];
		if (!s->key)
			continue;
		if (ret_key)
			*ret_key = s->key;
		if (ret_key_len)
			*ret_key_len = s->key_len;
		if (ret_value)
			*ret_value = s->value;
		(*i)++;
		return 1;
	}
	return 0;
}

void *map_gets(const struct map *m, const char *key)
{
	return map_get(m, key, strlen(key));
}

int map_sets(struct map *m, const char *key, void *value)
{
	return map_set(m, key, strlen(key), value, NULL);
}
