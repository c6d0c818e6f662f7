/* fs/readahead.h: what is fetched ahead of streams and of jumps, and how far for near and far stores. */
#include "fs/readahead.h"
#include "test/unit/check.h"

#define MIB ((uint64_t)1 << 20)
#define MS ((int64_t)1000000)
#define SIZE (1024 * MIB)

TEST(a_far_store_is_read_further_ahead)
{
	CHECK_INT(readahead_window_max(0), 32 * MIB); /* not known yet */
	CHECK_INT(readahead_window_max(1), 20 * MIB);
	CHECK_INT(readahead_window_max(3 * MS), 23 * MIB);
	CHECK_INT(readahead_window_max(12 * MS), 32 * MIB);
	CHECK_INT(readahead_window_max(INT64_MAX), 32 * MIB);
}

TEST(a_stream_is_ahead_by_its_window_and_no_more)
{
	struct readahead r = { 0 };
	uint64_t from, to, ahead = 0, most = 0;
	for (uint64_t at = 0; at < 256 * MIB; at += MIB / 4) {
		readahead_note(&r, at, MIB / 4, SIZE, 20 * MIB, &from, &to);
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
	readahead_note(&r, 500 * MIB, MIB, SIZE, 20 * MIB, &from, &to);
	CHECK_INT(to - from, 0); /* one read is no stream */
	readahead_note(&r, 501 * MIB, MIB, SIZE, 20 * MIB, &from, &to);
	CHECK_INT(from, 502 * MIB);
	CHECK_INT(to, 510 * MIB); /* four times what was read in sequence */
	readahead_note(&r, 0, MIB, 2 * MIB, 20 * MIB, &from, &to);
	CHECK_INT(to, 2 * MIB);
}

CHECK_MAIN()
