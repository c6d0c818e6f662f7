#include "policy/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 4096

struct arena_block {
	struct arena_block *next;
	size_t size;
	alignas(max_align_t) char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t unit = alignof(max_align_t);
	if (n > (size_t)1 << 40)
		return NULL;
	n = (n + unit - 1) / unit * unit;
	if (!a->blocks || a->left < n) {
		size_t size = n > BLOCK_SIZE / 4 ? n : BLOCK_SIZE;
		struct arena_block *b = calloc(1, sizeof *b + size);
		if (!b)
			return NULL;
		b->size = size;
		b->next = a->blocks;
		a->blocks = b;
		a->left = size;
	}
	void *p = a->blocks->bytes + (a->blocks->size - a->left);
	a->left -= n;
	return p;
}

char *arena_text(struct arena *a, const char *bytes, size_t n)
{
	char *p = arena_alloc(a, n + 1);
	if (p && n)
		memcpy(p, bytes, n);
	return p;
}

void *arena_push(struct arena *a, void *items, size_t *count, size_t item_size)
{
	char **list = items;
	/* Room doubles: a new block is needed when the count is a power of two. */
	if ((*count & (*count - 1)) == 0) {
		char *more = arena_alloc(a, (*count ? *count * 2 : 1) * item_size);
		if (!more)
			return NULL;
		if (*count)
			memcpy(more, *list, *count * item_size);
		*list = more;
	}
	return *list + item_size * (*count)++;
}

void arena_free(struct arena *a)
{
	while (a->blocks) {
		struct arena_block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
	a->left = 0;
}
