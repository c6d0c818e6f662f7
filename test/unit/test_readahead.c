/* fs/readahead.h: what is fetched ahead of streams and of jumps, and how far for near and far stores. */
#include "fs/readahead.h"
#include "test/unit/check.h"

#define MIB ((uint64_t)1 << 20)
#define MS ((int64_t)1000000)
#define SIZE (1024 * MIB)

static const struct readahead_limits limits = { .first = 2 * MIB, .most = 20 * MIB };

TEST(a_far_store_is_read_further_ahead)
{
	CHECK_INT(readahead_limits(0).most, 32 * MIB); /* not known yet */
	CHECK_INT(readahead_limits(1).most, 20 * MIB);
	CHECK_INT(readahead_limits(3 * MS).most, 23 * MIB);
	CHECK_INT(readahead_limits(12 * MS).most, 32 * MIB);
	CHECK_INT(readahead_limits(INT64_MAX).most, 32 * MIB);
	CHECK_INT(readahead_limits(0).first, 2 * MIB);
	CHECK_INT(readahead_limits(3 * MS - 1).first, 0);
	CHECK_INT(readahead_limits(3 * MS).first, 2 * MIB);
}

TEST(a_first_read_of_a_near_store_is_alone)
{
	const struct readahead_limits near = readahead_limits(MS), far = readahead_limits(30 * MS);
	struct readahead r = { 0 };
	uint64_t from, to;
	readahead_note(&r, 0, MIB / 4, SIZE, &near, &from, &to);
	CHECK_INT(to - from, 0);
	readahead_note(&r, MIB / 4, MIB / 4, SIZE, &near, &from, &to);
	CHECK_INT(from, MIB / 2);
	CHECK_INT(to, 5 * MIB / 2);
	memset(&r, 0, sizeof r);
	readahead_note(&r, 0, MIB / 4, SIZE, &far, &from, &to);
	CHECK_INT(from, MIB / 4);
	CHECK_INT(to, 9 * MIB / 4);
}

TEST(a_stream_is_ahead_by_its_window_and_no_more)
{
	struct readahead r = { 0 };
	uint64_t from, to, ahead = 0, most = 0;
	for (uint64_t at = 0; at < 256 * MIB; at += MIB / 4) {
		readahead_note(&r, at, MIB / 4, SIZE, &limits, &from, &to);
		if (from != to) {
			CHECK(!ahead || from == ahead); /* nothing twice, nothing left out */
			ahead = to;
		}
		CHECK(ahead >= at + MIB / 4);
		most = ahead - at > most ? ahead - at : most;
	}
	CHECK_INT(most, 20 * MIB + MIB / 4);
}

TEST(a_jump_and_the_end_of_the_file)
{
	struct readahead r = { 0 };
	uint64_t from, to;
	readahead_note(&r, 500 * MIB, MIB, SIZE, &limits, &from, &to);
	CHECK_INT(to - from, 0); /* one read is no stream */
	readahead_note(&r, 501 * MIB, MIB, SIZE, &limits, &from, &to);
	CHECK_INT(from, 502 * MIB);
	CHECK_INT(to, 510 * MIB); /* four times what was read in sequence */
	readahead_note(&r, 0, MIB, 2 * MIB, &limits, &from, &to);
	CHECK_INT(to, 2 * MIB);
}

CHECK_MAIN()
