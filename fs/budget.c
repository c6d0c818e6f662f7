#include "fs/budget.h"

#include "fs/buffers.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SMALL_MAX (32u << 10) /* below: malloc does as well */

struct budget {
	uint64_t limit;
	_Atomic uint64_t used;
	struct buffers *buffers;
};

struct budget *budget_new(uint64_t limit_bytes)
{
	struct budget *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->limit = limit_bytes;
	b->buffers = buffers_new((size_t)(limit_bytes + limit_bytes / 4)); /* grains are rounded up, and there are gaps between them */
	if (!b->buffers) {
		free(b);
		return NULL;
	}
	return b;
}

void budget_free(struct budget *b)
{
	if (!b)
		return;
	buffers_free(b->buffers);
	free(b);
}

bool budget_take(struct budget *b, uint64_t bytes, unsigned share)
{
	uint64_t limit = b->limit / 256 * share, used = atomic_load(&b->used);
	do {
		if (used && used + bytes > limit)
			return false;
	} while (!atomic_compare_exchange_weak(&b->used, &used, used + bytes));
	return true;
}

void budget_give(struct budget *b, uint64_t bytes)
{
	atomic_fetch_sub(&b->used, bytes);
}

uint64_t budget_used(const struct budget *b)
{
	return atomic_load(&b->used);
}

uint64_t budget_limit(const struct budget *b)
{
	return b->limit;
}

void *budget_buffer(struct budget *b, size_t size)
{
	return size < SMALL_MAX ? malloc(size ? size : 1) : buffers_take(b->buffers, size);
}

void budget_release(struct budget *b, void *buffer, size_t size)
{
	if (size < SMALL_MAX)
		free(buffer);
	else
		buffers_give(b->buffers, buffer, size);
}

void budget_trim(struct budget *b)
{
	buffers_trim(b->buffers);
}
