#include "catalog/distinct.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PARTITIONS 256
#define BLOCK 4096 /* items written to the file at a time and partition */
#define RUNS_MAX 16384u
#define RUNS_OPEN 8u /* the last ones: files that are read in turn or beside each other go on with theirs */
#define SPANS_MAX 4096u

struct partition {
	struct distinct_item *items;
	size_t count, capacity;
	uint64_t *blocks; /* file offsets of spilled blocks of BLOCK items */
	size_t block_count;
};

/* Integers from low to high: of a run all of them, the first at `place`; of hashed ones, some. */
struct span {
	int64_t low, high;
	uint64_t place;
	bool run;
};

struct distinct {
	pthread_mutex_t lock; /* a leaf; guards everything */
	struct span *runs, *hashed;
	size_t run_count, hashed_count;
	struct partition partitions[PARTITIONS];
	size_t memory, limit;
	int fd; /* -1 until something is spilled */
	uint64_t file_size;
};

struct distinct *distinct_new(size_t memory_limit_bytes)
{
	struct distinct *d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->limit = memory_limit_bytes;
	d->fd = -1;
	return d;
}

void distinct_free(struct distinct *d)
{
	if (!d)
		return;
	for (int i = 0; i < PARTITIONS; i++) {
		free(d->partitions[i].items);
		free(d->partitions[i].blocks);
	}
	free(d->runs);
	free(d->hashed);
	if (d->fd >= 0)
		close(d->fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static int spill(struct distinct *d, struct partition *p)
{
	if (d->fd < 0 && (d->fd = io_open_scratch()) < 0)
		return d->fd;
	uint64_t *blocks = realloc(p->blocks, (p->block_count + 1) * sizeof *blocks);
	if (!blocks)
		return -ENOMEM;
	p->blocks = blocks;
	int r = io_pwrite_full(d->fd, p->items + p->count - BLOCK, BLOCK * sizeof(struct distinct_item), d->file_size);
	if (r)
		return -EIO;
	p->blocks[p->block_count++] = d->file_size;
	d->file_size += BLOCK * sizeof(struct distinct_item);
	p->count -= BLOCK;
	return 0;
}

static int add_locked(struct distinct *d, const struct distinct_item *item)
{
	struct partition *p = &d->partitions[item->hash.bytes[0]];
	if (p->count == p->capacity) {
		size_t capacity = p->capacity ? p->capacity * 2 : 64;
		if (capacity > BLOCK && d->memory + (capacity - p->capacity) * sizeof(struct distinct_item) > d->limit && p->count >= BLOCK) {
			int r = spill(d, p);
			if (r)
				return r;
		} else {
			struct distinct_item *items = realloc(p->items, capacity * sizeof *items);
			if (!items)
				return -ENOMEM;
			d->memory += (capacity - p->capacity) * sizeof *items;
			p->items = items;
			p->capacity = capacity;
		}
	}
	p->items[p->count++] = *item;
	return 0;
}

/* -- integers ------------------------------------------------------------------------------------ */

/* Beyond the most, the last span takes in the new one. */
static int note_hashed(struct distinct *d, int64_t low, int64_t high)
{
	struct span *last = d->hashed_count ? &d->hashed[d->hashed_count - 1] : NULL;
	if (low > high)
		return 0;
	if (!d->hashed && !(d->hashed = malloc(SPANS_MAX * sizeof *d->hashed)))
		return -ENOMEM;
	if (d->hashed_count == SPANS_MAX) {
		last->low = low < last->low ? low : last->low;
		last->high = high > last->high ? high : last->high;
	} else {
		d->hashed[d->hashed_count++] = (struct span){ .low = low, .high = high };
	}
	return 0;
}

static int hash_run(struct distinct *d, int64_t low, int64_t high, uint64_t place)
{
	char room[24];
	int r = 0;
	for (uint64_t i = 0, n = (uint64_t)high - (uint64_t)low; i <= n && !r; i++) {
		struct distinct_item item = { .place = place + i };
		const char *text = text_integer((int64_t)((uint64_t)low + i), room + sizeof room);
		xxh128_of(text, (size_t)(room + sizeof room - text), &item.hash);
		r = add_locked(d, &item);
	}
	return r;
}

static int add_run_locked(struct distinct *d, const struct span *new)
{
	for (size_t i = d->run_count; i-- > 0 && i + RUNS_OPEN >= d->run_count;) {
		struct span *s = &d->runs[i];
		if (s->high < INT64_MAX && s->high + 1 == new->low && s->place + ((uint64_t)new->low - (uint64_t)s->low) == new->place) {
			s->high = new->high;
			return 0;
		}
	}
	if (d->run_count == RUNS_MAX) {
		int r = note_hashed(d, new->low, new->high);
		return r ? r : hash_run(d, new->low, new->high, new->place);
	}
	if (!d->runs && !(d->runs = malloc(RUNS_MAX * sizeof *d->runs)))
		return -ENOMEM;
	d->runs[d->run_count++] = *new;
	return 0;
}

int distinct_add_run(struct distinct *d, int64_t first, uint64_t count, uint64_t place)
{
	const struct span new = { first, (int64_t)((uint64_t)first + count - 1), place, true };
	pthread_mutex_lock(&d->lock);
	int r = add_run_locked(d, &new);
	pthread_mutex_unlock(&d->lock);
	return r;
}

static int by_low(const void *a, const void *b)
{
	const struct span *x = a, *y = b;
	return x->low < y->low ? -1 : x->low > y->low;
}

/* Hashes what of the run all[at] other spans may repeat: from the lowest to the highest integer that another has.  `before`: the highest of those that
 * start before it. */
static int hash_shared(struct distinct *d, const struct span *all, size_t count, size_t at, const int64_t *before)
{
	const struct span *run = &all[at];
	int64_t low = run->high, high = run->low;
	bool shared = before && *before >= run->low;
	if (shared) {
		low = run->low;
		high = *before < run->high ? *before : run->high;
	}
	for (size_t i = at + 1; i < count && all[i].low <= run->high && (!shared || high < run->high || low > all[i].low); i++) {
		shared = true;
		low = all[i].low < low ? all[i].low : low;
		high = all[i].high > high ? all[i].high : high;
	}
	high = high < run->high ? high : run->high;
	return shared ? hash_run(d, low, high, run->place + ((uint64_t)low - (uint64_t)run->low)) : 0;
}

/* Runs that overlap nothing repeat nothing. */
static int settle_runs(struct distinct *d)
{
	const size_t count = d->run_count + d->hashed_count;
	struct span *all = malloc((count ? count : 1) * sizeof *all);
	int64_t before = 0;
	int r = all ? 0 : -ENOMEM;
	if (!r && d->run_count)
		memcpy(all, d->runs, d->run_count * sizeof *all);
	if (!r && d->hashed_count)
		memcpy(all + d->run_count, d->hashed, d->hashed_count * sizeof *all);
	if (!r)
		qsort(all, count, sizeof *all, by_low);
	for (size_t i = 0; i < count && !r; i++) {
		if (all[i].run)
			r = hash_shared(d, all, count, i, i ? &before : NULL);
		before = i && before > all[i].high ? before : all[i].high;
	}
	d->run_count = d->hashed_count = 0;
	free(all);
	return r;
}

int distinct_add_many(struct distinct *d, const struct distinct_item *items, size_t count, int64_t low, int64_t high)
{
	pthread_mutex_lock(&d->lock);
	int r = note_hashed(d, low, high);
	for (size_t i = 0; i < count && !r; i++)
		r = add_locked(d, &items[i]);
	pthread_mutex_unlock(&d->lock);
	return r;
}

int distinct_add(struct distinct *d, const struct xxh128 *hash, uint64_t place)
{
	const struct distinct_item item = { *hash, place };
	return distinct_add_many(d, &item, 1, INT64_MAX, INT64_MIN);
}

/* -- the end --------------------------------------------------------------------------------------- */

/* Keeps the `max` lowest places, sorted. */
static void keep_place(uint64_t *places, size_t max, size_t *count, uint64_t place)
{
	size_t at = *count;
	if (at == max) {
		if (!max || places[max - 1] <= place)
			return;
		at = max - 1;
	} else {
		(*count)++;
	}
	for (; at > 0 && places[at - 1] > place; at--)
		places[at] = places[at - 1];
	places[at] = place;
}

static int load(struct distinct *d, struct partition *p, struct distinct_item **ret, size_t *ret_count)
{
	size_t total = p->count + p->block_count * BLOCK;
	struct distinct_item *all = malloc((total ? total : 1) * sizeof *all);
	*ret = all;
	if (!all)
		return -ENOMEM;
	if (p->count)
		memcpy(all, p->items, p->count * sizeof *all);
	for (size_t b = 0; b < p->block_count; b++) {
		int r = io_pread_full(d->fd, all + p->count + b * BLOCK, BLOCK * sizeof *all, p->blocks[b]);
		if (r)
			return -EIO; /* the caller frees *ret */
	}
	*ret_count = total;
	return 0;
}

/* Finds what repeats among `count` items with a table of their numbers (open addressing; the hashes are random already).  Of equal items
 * the one with the lowest place counts as the first. */
static int count_repeats(const struct distinct_item *all, size_t count, uint64_t *duplicates, uint64_t *places, size_t max, size_t *place_count)
{
	size_t slots = 16;
	while (slots < count * 2)
		slots *= 2;
	uint32_t *table = calloc(slots, sizeof *table);
	if (!table || count >= UINT32_MAX) {
		free(table);
		return -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		uint64_t at;
		memcpy(&at, all[i].hash.bytes + 8, sizeof at);
		for (at &= slots - 1;; at = (at + 1) & (slots - 1)) {
			if (!table[at]) {
				table[at] = (uint32_t)i + 1;
				break;
			}
			const struct distinct_item *first = &all[table[at] - 1];
			if (memcmp(first->hash.bytes, all[i].hash.bytes, XXH128_SIZE) != 0)
				continue;
			(*duplicates)++;
			bool earlier = all[i].place < first->place;
			keep_place(places, max, place_count, earlier ? first->place : all[i].place);
			if (earlier)
				table[at] = (uint32_t)i + 1;
			break;
		}
	}
	free(table);
	return 0;
}

int distinct_finish(struct distinct *d, uint64_t *ret_duplicates, uint64_t *ret_places, size_t max, size_t *ret_place_count)
{
	uint64_t duplicates = 0;
	*ret_place_count = 0;
	int r = settle_runs(d);
	for (int i = 0; i < PARTITIONS && !r; i++) {
		struct distinct_item *all;
		size_t count;
		r = load(d, &d->partitions[i], &all, &count);
		if (!r)
			r = count_repeats(all, count, &duplicates, ret_places, max, ret_place_count);
		free(all);
	}
	*ret_duplicates = duplicates;
	return r;
}
