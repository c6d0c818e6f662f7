/* The heads of a catalog, as a store gives them; what is taken must survive being written and read again. */
#include "catalog/heads.h"
#include "test/fuzz/suppress.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct head h, again;
	struct buf text = BUF_INIT;
	if (head_parse("head", (const char *)data, size, &h, &e))
		return 0;
	head_format(&h, &text);
	if (buf_check(&text) || head_parse("head", text.data, text.len, &again, &e) || memcmp(&h.snapshot, &again.snapshot, sizeof h.snapshot) ||
	    h.generation != again.generation || h.size != again.size || h.time_ns != again.time_ns || strcmp(h.domain, again.domain) != 0)
		abort();
	buf_free(&text);
	return 0;
}
