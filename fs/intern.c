#include "fs/intern.h"

#include "fs/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct place {
	uint32_t hash;   /* the half that did not choose the place */
	uint32_t offset; /* 0: free */
};

struct intern {
	struct journal *j;
	struct place *places;
	uint32_t size; /* a power of two */
	uint32_t used;
};

struct intern *intern_new(uint32_t records)
{
	struct intern *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	/* Small enough to stay in the processor's cache.  A record may name three texts, but nearly all name one that is new. */
	for (t->size = 64; t->size < 2 * (uint64_t)records && t->size < 1u << 30;)
		t->size *= 2;
	t->places = calloc(t->size, sizeof *t->places);
	if (!t->places) {
		free(t);
		return NULL;
	}
	return t;
}

void intern_free(struct intern *t)
{
	if (!t)
		return;
	free(t->places);
	free(t);
}

void intern_reset(struct intern *t, struct journal *j)
{
	t->j = j;
	if (t->used)
		memset(t->places, 0, t->size * sizeof *t->places);
	t->used = 0;
}

/* The journal verifies a text whenever it is read back; our own, written a moment ago, need only be compared. */
static bool same(const struct intern *t, uint32_t offset, const void *bytes, size_t len)
{
	const char *text = journal_own_text(t->j, offset, len);
	return text && !memcmp(text, bytes, len);
}

int intern(struct intern *t, const void *bytes, size_t len, uint32_t *ret, bool *ret_new)
{
	uint64_t hash = XXH3_64bits(bytes, len);
	uint32_t i = (uint32_t)hash & (t->size - 1);
	for (; t->places[i].offset; i = (i + 1) & (t->size - 1)) {
		if (t->places[i].hash != (uint32_t)(hash >> 32) || !same(t, t->places[i].offset, bytes, len))
			continue;
		*ret = t->places[i].offset;
		*ret_new = false;
		return 0;
	}
	if (t->used + 1 >= t->size - t->size / 8)
		return -ENOSPC;
	uint32_t offset;
	int r = journal_add_text(t->j, bytes, len, &offset);
	if (r)
		return r;
	t->places[i] = (struct place){ (uint32_t)(hash >> 32), offset };
	t->used++;
	*ret = offset;
	*ret_new = true;
	return 0;
}
