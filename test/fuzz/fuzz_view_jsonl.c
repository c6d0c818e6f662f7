/* Views of jsonl from arbitrary bytes: no crash, and chunks of any size are taken.  The odd lengths go in small ones; in large ones, lines meet
 * those of the same shape. */
#include "test/fuzz/view_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_view("t.jsonl", data, size, size % 2 ? 64 : 1 << 20);
	return 0;
}
