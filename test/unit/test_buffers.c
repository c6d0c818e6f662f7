/* fs/buffers.h: buffers do not overlap, the lowest address is used again first, idle pages go back, and the budget's two kinds. */
#include "fs/budget.h"
#include "fs/buffers.h"
#include "test/unit/check.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define MIB ((size_t)1 << 20)
#define PAGE 4096

static size_t resident(void *bytes, size_t size)
{
	unsigned char there[256];
	size_t count = 0;
	if (size > sizeof there * PAGE || mincore(bytes, size, there))
		abort();
	for (size_t i = 0; i < size / PAGE; i++)
		count += there[i] & 1;
	return count * PAGE;
}

TEST(buffers_are_used_again_from_the_lowest_address)
{
	struct buffers *b = buffers_new(8 * MIB);
	unsigned char *first = buffers_take(b, MIB), *second = buffers_take(b, 1), *third = buffers_take(b, MIB + 1);
	CHECK(first && second >= first + MIB && third > second);
	memset(first, 1, MIB);
	memset(third, 3, MIB + 1);
	*second = 2;
	CHECK_INT(first[MIB - 1], 1);
	buffers_give(b, first, MIB);
	CHECK(buffers_take(b, MIB + 1) > (void *)third); /* does not fit into the gap */
	CHECK(buffers_take(b, MIB / 2) == (void *)first);
	CHECK_INT(*second, 2);
	CHECK_INT(third[MIB], 3);
	buffers_free(b);
}

TEST(what_does_not_fit_comes_from_the_system)
{
	struct buffers *b = buffers_new(2 * MIB);
	unsigned char *small = buffers_take(b, MIB), *large = buffers_take(b, 5 * MIB), *more = buffers_take(b, MIB);
	CHECK(small && large && more == small + MIB);
	memset(large, 7, 5 * MIB);
	CHECK_INT(large[5 * MIB - 1], 7);
	buffers_give(b, large, 5 * MIB);
	buffers_give(b, NULL, 3);
	buffers_give(b, small, MIB);
	CHECK(buffers_take(b, MIB) == (void *)small);
	buffers_free(b);
	CHECK((b = buffers_new(0)) != NULL); /* all of it comes from the system */
	CHECK((small = buffers_take(b, 1)) != NULL);
	buffers_give(b, small, 1);
	buffers_free(b);
}

TEST(idle_pages_go_back)
{
	struct buffers *b = buffers_new(8 * MIB);
	unsigned char *one = buffers_take(b, MIB), *two = buffers_take(b, MIB), *three = buffers_take(b, MIB);
	memset(one, 1, MIB);
	memset(two, 2, MIB);
	memset(three, 3, MIB);
	buffers_give(b, one, MIB);
	buffers_give(b, three, MIB);
	buffers_trim(b); /* they were taken since the last time: kept */
	CHECK_INT(resident(one, MIB), MIB);
	buffers_trim(b);
	CHECK_INT(resident(one, MIB), 0);
	CHECK_INT(resident(three, MIB), 0);
	CHECK_INT(resident(two, MIB), MIB);
	CHECK_INT(two[MIB - 1], 2);
	CHECK(buffers_take(b, MIB) == (void *)one);
	CHECK_INT(one[0], 0);
	buffers_free(b);
}

struct crowd {
	struct budget *budget;
	unsigned char mark;
	int bad;
};

static void *many(void *arg)
{
	struct crowd *c = arg;
	for (size_t i = 0; i < 2000; i++) {
		size_t size = (i * 7919 + c->mark * 104729u) % (300u << 10) + 1;
		unsigned char *bytes = budget_buffer(c->budget, size);
		if (!bytes)
			abort();
		bytes[0] = bytes[size - 1] = c->mark;
		if (i % 64 == 0)
			budget_trim(c->budget);
		c->bad += bytes[0] != c->mark || bytes[size - 1] != c->mark;
		budget_release(c->budget, bytes, size);
	}
	return NULL;
}

TEST(threads_never_share_a_buffer)
{
	struct budget *budget = budget_new(MIB);
	struct crowd crowd[4];
	pthread_t threads[4];
	for (unsigned char i = 0; i < 4; i++) {
		crowd[i] = (struct crowd){ budget, (unsigned char)(i + 1), 0 };
		pthread_create(&threads[i], NULL, many, &crowd[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		CHECK_INT(crowd[i].bad, 0);
	}
	budget_free(budget);
}

CHECK_MAIN()
