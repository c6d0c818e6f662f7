/* Views of csv from arbitrary bytes: no crash, and chunks of any size are taken. */
#include "test/fuzz/view_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_view("t.csv", data, size, 64);
	return 0;
}
