#include "fs/intern.h"

#include "fs/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define NAMES 8192u /* power of two */
#define WAYS 4u     /* places that a name may have, newest first: half a line of the processor's cache */

struct place {
	uint32_t hash;   /* the half that did not choose the place */
	uint32_t offset; /* 0: free */
};

struct intern {
	struct journal *j;
	struct place *places;
	uint32_t size; /* a power of two */
	uint32_t used;
	/* The names that came last.  A table of all that a segment holds does not stay in the processor's cache: its misses cost as much as the rest of a record. */
	struct place names[NAMES];
};

struct intern *intern_new(uint32_t texts)
{
	struct intern *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	for (t->size = 64; t->size < 2 * (uint64_t)texts && t->size < 1u << 30;)
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
	memset(t->names, 0, sizeof t->names);
}

/* The journal verifies a text whenever it is read back; our own, written a moment ago, need only be compared. */
static bool same(const struct intern *t, uint32_t offset, const void *bytes, size_t len)
{
	const char *text = journal_own_text(t->j, offset, len);
	return text && !memcmp(text, bytes, len);
}

static bool is_at(const struct intern *t, const struct place *p, uint64_t hash, const void *bytes, size_t len)
{
	return p->hash == (uint32_t)(hash >> 32) && same(t, p->offset, bytes, len);
}

static int put(struct intern *t, struct place *p, uint64_t hash, const void *bytes, size_t len)
{
	uint32_t offset;
	int r = journal_add_text(t->j, bytes, len, &offset);
	if (!r)
		*p = (struct place){ (uint32_t)(hash >> 32), offset };
	return r;
}

int intern(struct intern *t, const void *bytes, size_t len, uint32_t *ret, bool *ret_new)
{
	uint64_t hash = XXH3_64bits(bytes, len);
	uint32_t i = (uint32_t)hash & (t->size - 1);
	while (t->places[i].offset && !is_at(t, &t->places[i], hash, bytes, len))
		i = (i + 1) & (t->size - 1);
	bool found = t->places[i].offset != 0;
	if (!found && t->used + 1 >= t->size - t->size / 8)
		return -ENOSPC;
	int r = found ? 0 : put(t, &t->places[i], hash, bytes, len);
	if (r)
		return r;
	t->used += !found;
	*ret = t->places[i].offset;
	*ret_new = !found;
	return 0;
}

int intern_name(struct intern *t, const void *bytes, size_t len, uint32_t *ret)
{
	uint64_t hash = XXH3_64bits(bytes, len);
	struct place *set = &t->names[(uint32_t)hash & (NAMES - 1) & ~(WAYS - 1)], fresh;
	for (unsigned i = 0; i < WAYS && set[i].offset; i++)
		if (is_at(t, &set[i], hash, bytes, len)) {
			*ret = set[i].offset;
			return 0;
		}
	int r = put(t, &fresh, hash, bytes, len);
	if (r)
		return r;
	memmove(set + 1, set, (WAYS - 1) * sizeof *set);
	set[0] = fresh;
	*ret = fresh.offset;
	return 0;
}
