/* Fingerprints and their pieces come out sorted, each once, whatever fits in memory. */
#include "catalog/base/io.h"
#include "fs/row_sort.h"
#include "test/unit/check.h"

#include <errno.h>
#include <stdbool.h>
#include <dirent.h>

static char folder[] = "/tmp/meshfs-sort-XXXXXX";

__attribute__((constructor)) static void make_folder(void)
{
	if (!mkdtemp(folder))
		abort();
}

__attribute__((destructor)) static void remove_folder(void)
{
	io_remove_tree(folder, NULL);
}

struct list {
	struct row_place *places;
	size_t count, room;
	size_t stop; /* after as many; 0: never */
};

static int keep(void *arg, const struct row_place *place)
{
	struct list *l = arg;
	if (l->count == l->room)
		return -E2BIG;
	l->places[l->count++] = *place;
	return l->count == l->stop ? 7 : 0;
}

static int order(const void *a, const void *b)
{
	const struct row_place *x = a, *y = b;
	if (x->print != y->print)
		return x->print < y->print ? -1 : 1;
	return x->piece < y->piece ? -1 : x->piece > y->piece;
}

static uint64_t state;

static uint64_t next_random(void)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return state ^ state >> 29;
}

/* `kinds`: so many different prints; 0: any. */
static void compare(size_t count, uint64_t kinds, size_t a_piece, size_t memory)
{
	struct row_sort *s = row_sort_new(folder, memory);
	struct list expected = { calloc(count + 1, sizeof(struct row_place)), 0, count, 0 }, got = expected;
	size_t n = 0;
	CHECK(s && expected.places && (got.places = calloc(count + 1, sizeof(struct row_place))));
	state = count + kinds;
	for (size_t i = 0; i < count; i++) {
		struct row_place p = { kinds ? next_random() % kinds * 0x9e3779b97f4a7c15ull : next_random(), (uint32_t)(i / a_piece) };
		expected.places[i] = p;
		CHECK_INT(row_sort_add(s, p.print, p.piece), 0);
	}
	qsort(expected.places, count, sizeof *expected.places, order);
	for (size_t i = 0; i < count; i++)
		if (!n || order(&expected.places[n - 1], &expected.places[i]))
			expected.places[n++] = expected.places[i];
	CHECK_INT(row_sort_each(s, keep, &got), 0);
	CHECK_INT(got.count, n);
	for (size_t i = 0; i < n; i++)
		CHECK(!order(&got.places[i], &expected.places[i]));
	row_sort_free(s);
	free(expected.places);
	free(got.places);
}

TEST(all_in_memory)
{
	compare(0, 0, 10, 1 << 20);
	compare(1, 0, 10, 1 << 20);
	compare(20000, 0, 700, 1 << 20);
	compare(20000, 5, 700, 1 << 20);
}

TEST(runs_on_disk_are_merged)
{
	compare(1025, 0, 100, 0);
	compare(300000, 0, 1000, 100000);
	compare(300000, 100000, 1000, 100000);
	compare(200000, 3, 1, 100000); /* one print in many runs */
	compare(1024 * 64, 0, 1, 0);   /* the last run is empty or whole */
}

TEST(what_repeats_takes_no_disk)
{
	struct row_sort *s = row_sort_new("/nowhere", 1 << 16);
	struct list got = { calloc(8, sizeof(struct row_place)), 0, 8, 0 };
	for (int i = 0; i < 1000000; i++)
		CHECK_INT(row_sort_add(s, (uint64_t)(i % 4), 0), 0);
	CHECK_INT(row_sort_each(s, keep, &got), 0);
	CHECK_INT(got.count, 4);
	row_sort_free(s);
	free(got.places);
}

TEST(nothing_is_left_in_the_folder)
{
	struct row_sort *s = row_sort_new(folder, 1 << 16);
	for (uint64_t i = 0; i < 100000; i++)
		CHECK_INT(row_sort_add(s, i, 0), 0);
	DIR *d = opendir(folder);
	size_t n = 0;
	for (struct dirent *entry; (entry = readdir(d));)
		n += entry->d_name[0] != '.';
	closedir(d);
	CHECK_INT(n, 0);
	row_sort_free(s);
}

TEST(errors_come_back)
{
	struct row_sort *s = row_sort_new("/nowhere", 1 << 16);
	int r = 0;
	for (uint64_t i = 0; !r && i < 100000; i++)
		r = row_sort_add(s, i * 0x9e3779b97f4a7c15ull, 0);
	CHECK_INT(r, -ENOENT);
	row_sort_free(s);
	for (size_t memory = 1 << 16; memory < 1 << 24; memory *= 128) {
		struct list got = { calloc(100, sizeof(struct row_place)), 0, 100, 50 };
		s = row_sort_new(folder, memory);
		for (uint64_t i = 0; i < 50000; i++)
			CHECK_INT(row_sort_add(s, i, 0), 0);
		CHECK_INT(row_sort_each(s, keep, &got), 7);
		CHECK_INT(got.count, 50);
		row_sort_free(s);
		free(got.places);
	}
}

CHECK_MAIN()
