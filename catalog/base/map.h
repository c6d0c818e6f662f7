/*
 * A hash map from byte strings to pointers (XXH3, open addressing, grows).  Iteration order is unspecified.
 * Keys are copied; values are borrowed.  Not thread-safe: the owner's lock guards it.
 */
#ifndef MESHFS_BASE_MAP_H
#define MESHFS_BASE_MAP_H

#include <stddef.h>

struct map;

struct map *map_new(void); /* NULL without memory */
void map_free(struct map *m, void (*free_value)(void *)); /* free_value may be NULL */

size_t map_count(const struct map *m);
void *map_get(const struct map *m, const void *key, size_t key_len); /* NULL when absent */
/* Sets (value must not be NULL); `ret_old` (may be NULL) gets the value that was replaced, or NULL.  0 or -ENOMEM. */
int map_set(struct map *m, const void *key, size_t key_len, void *value, void **ret_old);
void *map_remove(struct map *m, const void *key, size_t key_len); /* the value that was there, or NULL */

/* for (size_t i = 0; map_next(m, &i, &key, &key_len, &value);) …   The map must not change meanwhile. */
int map_next(const struct map *m, size_t *i, const void **ret_key, size_t *ret_key_len, void **ret_value);

void *map_gets(const struct map *m, const char *key);
int map_sets(struct map *m, const char *key, void *value);

#endif
