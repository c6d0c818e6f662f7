#include "fs/row_sort.h"

#include "catalog/base/io.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES_MIN 1024 /* in memory, however little is allowed */
#define AHEAD_MIN 64    /* of each run, while runs are merged */
#define DIGIT_BITS 8
#define DIGITS (1u << DIGIT_BITS)

struct run { /* sorted places in the file */
	uint64_t offset, count;
	struct row_place *ahead; /* the next ones; the last run's are what is left in memory */
	size_t at, filled;
};

struct row_sort {
	char *folder;
	struct row_place *places, *spare; /* the spare is what sorting moves them to */
	size_t count, room, limit, spare_room;
	struct run *runs;
	size_t run_count;
	int fd; /* -1 until the memory is full */
	uint64_t file_size;
};

struct row_sort *row_sort_new(const char *folder, size_t memory_bytes)
{
	struct row_sort *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->fd = -1;
	s->limit = memory_bytes / 2 / sizeof *s->places;
	if (s->limit < PLACES_MIN)
		s->limit = PLACES_MIN;
	s->folder = strdup(folder);
	if (s->folder)
		return s;
	free(s);
	return NULL;
}

void row_sort_free(struct row_sort *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	free(s->runs);
	free(s->places);
	free(s->spare);
	free(s->folder);
	free(s);
}

/* -- in memory ----------------------------------------------------------------------------------- */

/*
 * From the lowest digit of the print to the highest, each time keeping the order of equals: so pieces of equal prints stay as they were added.  An even
 * number of digits leaves the places where they were.
 */
static int sort_places(struct row_sort *s)
{
	if (s->spare_room < s->count) {
		free(s->spare);
		s->spare = malloc(s->room * sizeof *s->spare);
		s->spare_room = s->spare ? s->room : 0;
	}
	if (s->count && !s->spare)
		return -ENOMEM;
	for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
		size_t starts[DIGITS] = { 0 }, at = 0;
		for (size_t i = 0; i < s->count; i++)
			starts[(s->places[i].print >> shift) % DIGITS]++;
		for (unsigned d = 0; d < DIGITS; d++) {
			size_t n = starts[d];
			starts[d] = at;
			at += n;
		}
		for (size_t i = 0; i < s->count; i++)
			s->spare[starts[(s->places[i].print >> shift) % DIGITS]++] = s->places[i];
		struct row_place *sorted = s->spare;
		s->spare = s->places;
		s->places = sorted;
	}
	return 0;
}

static bool same(const struct row_place *a, const struct row_place *b)
{
	return a->print == b->print && a->piece == b->piece;
}

static void drop_repeats(struct row_sort *s)
{
	size_t n = 0;
	for (size_t i = 0; i < s->count; i++)
		if (!n || !same(&s->places[n - 1], &s->places[i]))
			s->places[n++] = s->places[i];
	s->count = n;
}

/* -- on disk --------------------------------------------------------------------------------------- */

static int spill(struct row_sort *s)
{
	const size_t bytes = s->count * sizeof *s->places;
	struct run *more = realloc(s->runs, (s->run_count + 2) * sizeof *more); /* one besides for what stays in memory */
	if (!more)
		return -ENOMEM;
	s->runs = more;
	if (s->fd < 0)
		s->fd = io_open_nameless(s->folder);
	int r = s->fd < 0 ? s->fd : io_pwrite_full(s->fd, s->places, bytes, s->file_size);
	if (r)
		return r;
	s->runs[s->run_count++] = (struct run){ .offset = s->file_size, .count = s->count };
	s->file_size += bytes;
	s->count = 0;
	return 0;
}

static int make_room(struct row_sort *s)
{
	if (s->count < s->room)
		return 0;
	if (s->room < s->limit) {
		size_t room = s->room ? 2 * s->room : PLACES_MIN;
		if (room > s->limit)
			room = s->limit;
		struct row_place *more = realloc(s->places, room * sizeof *more);
		if (!more)
			return -ENOMEM;
		s->places = more;
		s->room = room;
		return 0;
	}
	int r = sort_places(s);
	if (r)
		return r;
	drop_repeats(s);
	return s->count > s->limit / 2 ? spill(s) : 0;
}

int row_sort_add(struct row_sort *s, uint64_t print, uint32_t piece)
{
	int r = make_room(s);
	if (!r)
		s->places[s->count++] = (struct row_place){ print, piece };
	return r;
}

/* -- merging ----------------------------------------------------------------------------------------- */

/* The run's next place; NULL at its end. */
static int look_ahead(struct row_sort *s, struct run *run, size_t room, const struct row_place **ret)
{
	if (run->at == run->filled && run->count) {
		size_t n = run->count < room ? (size_t)run->count : room;
		int r = io_pread_full(s->fd, run->ahead, n * sizeof *run->ahead, run->offset);
		if (r)
			return r;
		run->offset += n * sizeof *run->ahead;
		run->count -= n;
		run->filled = n;
		run->at = 0;
	}
	*ret = run->at < run->filled ? &run->ahead[run->at] : NULL;
	return 0;
}

/* Does run `a` come before run `b`?  Of equal prints the earlier run has the lower pieces. */
static bool before(const struct row_sort *s, size_t a, size_t b)
{
	const struct row_place *x = &s->runs[a].ahead[s->runs[a].at], *y = &s->runs[b].ahead[s->runs[b].at];
	return x->print != y->print ? x->print < y->print : a < b;
}

static void sink(const struct row_sort *s, size_t *heap, size_t count, size_t at)
{
	for (size_t child = 2 * at + 1; child < count; at = child, child = 2 * at + 1) {
		if (child + 1 < count && before(s, heap[child + 1], heap[child]))
			child++;
		if (!before(s, heap[child], heap[at]))
			return;
		size_t swapped = heap[at];
		heap[at] = heap[child];
		heap[child] = swapped;
	}
}

static int merge(struct row_sort *s, size_t *heap, size_t room, int (*each)(void *arg, const struct row_place *place), void *arg)
{
	const struct row_place *place;
	struct row_place last = { 0 };
	size_t count = 0;
	bool any = false;
	int r = 0;
	for (size_t i = 0; !r && i < s->run_count; i++) {
		r = look_ahead(s, &s->runs[i], room, &place);
		if (!r && place)
			heap[count++] = i;
	}
	for (size_t i = count / 2; i--;)
		sink(s, heap, count, i);
	while (!r && count) {
		struct run *run = &s->runs[heap[0]];
		place = &run->ahead[run->at];
		if (!any || !same(&last, place))
			r = each(arg, place);
		last = *place;
		any = true;
		run->at++;
		if (!r)
			r = look_ahead(s, run, room, &place);
		if (!r && !place)
			heap[0] = heap[--count];
		sink(s, heap, count, 0);
	}
	return r;
}

/* What is left in memory is the last run; the others are read into the spare room, a part of it each. */
static int merge_runs(struct row_sort *s, int (*each)(void *arg, const struct row_place *place), void *arg)
{
	size_t room = s->limit / s->run_count, disk = s->run_count;
	if (room < AHEAD_MIN)
		room = AHEAD_MIN;
	struct row_place *ahead = malloc(disk * room * sizeof *ahead);
	size_t *heap = malloc((disk + 1) * sizeof *heap);
	int r = ahead && heap ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < disk; i++)
		s->runs[i].ahead = ahead + i * room;
	if (!r) {
		s->runs[s->run_count++] = (struct run){ .ahead = s->places, .filled = s->count };
		r = merge(s, heap, room, each, arg);
	}
	free(ahead);
	free(heap);
	return r;
}

int row_sort_each(struct row_sort *s, int (*each)(void *arg, const struct row_place *place), void *arg)
{
	int r = sort_places(s);
	if (r)
		return r;
	drop_repeats(s);
	free(s->spare);
	s->spare = NULL;
	s->spare_room = 0;
	if (s->run_count)
		return merge_runs(s, each, arg);
	for (size_t i = 0; !r && i < s->count; i++)
		r = each(arg, &s->places[i]);
	return r;
}
