#include "fs/buffers.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define GRAIN ((size_t)64 << 10)
#define LARGE_PAGE ((size_t)2 << 20)

enum grain { GRAIN_FREE, GRAIN_USED };

struct buffers {
	unsigned char *base; /* of `count` grains; at a large page */
	void *map;
	size_t map_size, count;
	pthread_mutex_t lock; /* guards what follows; a leaf */
	unsigned char *grain; /* enum grain */
	size_t top;           /* grains from here on hold no memory */
	bool busy;            /* something was taken since the last trim */
};

static size_t grains_of(size_t size)
{
	return (size + GRAIN - 1) / GRAIN;
}

struct buffers *buffers_new(size_t bytes)
{
	struct buffers *b = calloc(1, sizeof *b);
	if (!b)
		return NULL;
	pthread_mutex_init(&b->lock, NULL);
	b->count = grains_of(bytes);
	b->map_size = b->count * GRAIN + LARGE_PAGE;
	b->grain = calloc(b->count ? b->count : 1, 1);
	b->map = mmap(NULL, b->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!b->grain || b->map == MAP_FAILED) {
		b->map = b->map == MAP_FAILED ? NULL : b->map;
		buffers_free(b);
		return NULL;
	}
	b->base = (unsigned char *)b->map + (LARGE_PAGE - (size_t)b->map % LARGE_PAGE) % LARGE_PAGE;
	madvise(b->map, b->map_size, MADV_HUGEPAGE); /* without them it is only slower */
	return b;
}

void buffers_free(struct buffers *b)
{
	if (!b)
		return;
	if (b->map)
		munmap(b->map, b->map_size);
	pthread_mutex_destroy(&b->lock);
	free(b->grain);
	free(b);
}

/* The first run of free grains; SIZE_MAX: none. */
static size_t find_locked(const struct buffers *b, size_t want)
{
	size_t run = 0;
	for (size_t i = 0; i < b->count; i++) {
		run = b->grain[i] == GRAIN_FREE ? run + 1 : 0;
		if (run == want)
			return i + 1 - want;
	}
	return SIZE_MAX;
}

void *buffers_take(struct buffers *b, size_t size)
{
	size_t want = grains_of(size ? size : 1);
	pthread_mutex_lock(&b->lock);
	size_t at = find_locked(b, want);
	if (at != SIZE_MAX) {
		memset(b->grain + at, GRAIN_USED, want);
		b->top = at + want > b->top ? at + want : b->top;
	}
	b->busy = true;
	pthread_mutex_unlock(&b->lock);
	if (at != SIZE_MAX)
		return b->base + at * GRAIN;
	void *map = mmap(NULL, want * GRAIN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return map == MAP_FAILED ? NULL : map;
}

void buffers_give(struct buffers *b, void *buffer, size_t size)
{
	size_t count = grains_of(size ? size : 1);
	unsigned char *bytes = buffer;
	if (!bytes)
		return;
	if (bytes < b->base || bytes >= b->base + b->count * GRAIN) {
		munmap(bytes, count * GRAIN);
		return;
	}
	size_t at = (size_t)(bytes - b->base) / GRAIN;
	pthread_mutex_lock(&b->lock);
	assert(at + count <= b->count && b->grain[at] == GRAIN_USED && b->grain[at + count - 1] == GRAIN_USED);
	memset(b->grain + at, GRAIN_FREE, count);
	pthread_mutex_unlock(&b->lock);
}

/* The lock is held over the system calls: whoever wants a buffer now would fault those pages in again anyway. */
void buffers_trim(struct buffers *b)
{
	size_t used = 0;
	pthread_mutex_lock(&b->lock);
	if (!b->busy && b->top) {
		for (size_t i = 0, end; i < b->top; i = end) {
			for (end = i + 1; end < b->top && b->grain[end] == b->grain[i]; end++)
				;
			if (b->grain[i] == GRAIN_FREE)
				madvise(b->base + i * GRAIN, (end - i) * GRAIN, MADV_DONTNEED);
			else
				used = end;
		}
		b->top = used;
	}
	b->busy = false;
	pthread_mutex_unlock(&b->lock);
}
