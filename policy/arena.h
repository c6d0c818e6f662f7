/* Memory that is freed at once: what a parsed policy consists of.  Owned by one struct; not thread-safe while it grows. */
#ifndef MESHFS_POLICY_ARENA_H
#define MESHFS_POLICY_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t left; /* bytes free at the end of the newest block */
};

void *arena_alloc(struct arena *a, size_t n); /* zeroed; NULL without memory */
char *arena_text(struct arena *a, const char *bytes, size_t n);
/* Grows an array by one zeroed item: the new item, or NULL.  `*items` moves; the old one stays in the arena. */
void *arena_push(struct arena *a, void *items, size_t *count, size_t item_size);
void arena_free(struct arena *a);

#endif
