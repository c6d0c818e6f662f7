#include "fs/opaque.h"
#include "test/unit/check.h"

TEST(numbers_come_back_and_never_meet)
{
	struct opaque o;
	uint64_t seen[1000];
	CHECK_INT(opaque_init(&o, false), 0);
	for (uint64_t i = 0; i < 1000; i++) {
		seen[i] = opaque_put(&o, i, 31);
		CHECK(seen[i] < (uint64_t)1 << 62);
		CHECK_INT(opaque_get(&o, seen[i], 31), i);
		CHECK_INT(opaque_get(&o, opaque_put(&o, i << 44 | i, 32), 32), i << 44 | i);
		for (uint64_t k = 0; k < i; k++)
			CHECK(seen[k] != seen[i]);
	}
}

TEST(open_numbers_go_as_they_are)
{
	struct opaque o;
	CHECK_INT(opaque_init(&o, true), 0);
	CHECK_INT(opaque_put(&o, 7, 31), 7);
	CHECK_INT(opaque_get(&o, 7, 31), 7);
}

CHECK_MAIN()
