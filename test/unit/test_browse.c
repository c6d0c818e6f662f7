#include "fs/browse.h"

#include "check.h"

TEST(what_there_was_no_memory_for_is_told)
{
	struct buf out = BUF_INIT;
	buf_adds(&out, "whole\n");
	browse_print(&out);
	CHECK_INT(out.len, 0);
	CHECK(!browse_incomplete());
	buf_adds(&out, "part of a li");
	CHECK(!buf_reserve(&out, SIZE_MAX / 2));
	browse_print(&out);
	CHECK(browse_incomplete());
	buf_adds(&out, "the next one\n"); /* later texts are printed, and do not make up for it */
	browse_print(&out);
	CHECK(browse_incomplete());
	buf_free(&out);
}

CHECK_MAIN()
