#include "fs/budget.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define SMALL_MAX (64u << 10)    /* below: malloc does as well */
#define GRAIN (256u << 10)       /* sizes are rounded up to this, so that buffers fit again */
#define KEEP_MAX 24              /* buffers kept for reuse … */
#define KEEP_BYTES (16u << 20)   /* … and their bytes */

struct kept {
	void *buffer;
	size_t size;
};

struct budget {
	uint64_t limit;
	_Atomic uint64_t used;
	pthread_mutex_t lock; /* guards the kept buffers; a leaf */
	struct kept kept[KEEP_MAX];
	size_t kept_count, kept_bytes;
};

struct budget *budget_new(uint64_t limit_bytes)
{
	struct budget *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	b->limit = limit_bytes;
	pthread_mutex_init(&b->lock, NULL);
	return b;
}

void budget_free(struct budget *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->kept_count; i++)
		munmap(b->kept[i].buffer, b->kept[i].size);
	pthread_mutex_destroy(&b->lock);
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

static size_t rounded(size_t size)
{
	return (size + GRAIN - 1) / GRAIN * GRAIN;
}

void *budget_buffer(struct budget *b, size_t size)
{
	if (size < SMALL_MAX)
		return malloc(size ? size : 1);
	size = rounded(size);
	void *found = NULL;
	pthread_mutex_lock(&b->lock);
	for (size_t i = b->kept_count; i-- > 0 && !found;) { /* the newest is warmest */
		if (b->kept[i].size != size)
			continue;
		found = b->kept[i].buffer;
		b->kept_bytes -= size;
		b->kept_count--;
		for (size_t j = i; j < b->kept_count; j++)
			b->kept[j] = b->kept[j + 1];
	}
	pthread_mutex_unlock(&b->lock);
	if (found)
		return found;
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return map == MAP_FAILED ? NULL : map;
}

void budget_release(struct budget *b, void *buffer, size_t size)
{
	if (!buffer)
		return;
	if (size < SMALL_MAX) {
		free(buffer);
		return;
	}
	size = rounded(size);
	struct kept drop = { NULL, 0 };
	pthread_mutex_lock(&b->lock);
	if (b->kept_count == KEEP_MAX || (b->kept_count && b->kept_bytes + size > KEEP_BYTES)) {
		drop = b->kept[0];
		b->kept_bytes -= drop.size;
		b->kept_count--;
		for (size_t j = 0; j < b->kept_count; j++)
			b->kept[j] = b->kept[j + 1];
	}
	if (b->kept_bytes + size <= KEEP_BYTES) {
		b->kept[b->kept_count++] = (struct kept){ buffer, size };
		b->kept_bytes += size;
		buffer = NULL;
	}
	pthread_mutex_unlock(&b->lock);
	if (drop.buffer)
		munmap(drop.buffer, drop.size);
	if (buffer)
		munmap(buffer, size);
}
