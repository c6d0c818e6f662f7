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

TEST(node_ids_come_back_and_the_root_stays)
{
	struct opaque o;
	CHECK_INT(opaque_init(&o, false), 0);
	CHECK_INT(opaque_node_put(&o, 0), 0);
	CHECK_INT(opaque_node_put(&o, 1), 1);
	CHECK_INT(opaque_node_get(&o, 1), 1);
	for (uint64_t i = 2; i < 1000; i++) {
		uint64_t id = i << 44 | i << 1;
		CHECK(opaque_node_put(&o, id) > 1);
		CHECK(opaque_node_put(&o, id) != id);
		CHECK_INT(opaque_node_get(&o, opaque_node_put(&o, id)), id);
	}
	/* What leads to 0 or 1 goes on from there. */
	for (uint64_t fixed = 0; fixed < 2; fixed++) {
		uint64_t before = opaque_get(&o, fixed, 32);
		if (before < 2)
			continue;
		CHECK(opaque_node_put(&o, before) > 1);
		CHECK_INT(opaque_node_get(&o, opaque_node_put(&o, before)), before);
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
