/* The table of contents at the end of a pack: input is the object's last bytes, trailer included. */
#include "catalog/pack.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
	uint64_t stored, raw;
	uint32_t slots;
};

static int add(void *arg, const struct manifest_chunk *c)
{
	struct sum *s = arg;
	if (c->raw_offset != s->raw || c->slot != s->slots)
		abort();
	s->stored += c->stored_length;
	s->raw += c->length;
	s->slots++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t offset;
	size_t len;
	struct digest name;
	struct sum s = { 0 };
	if (size < PACK_TRAILER)
		return 0;
	/* The object is as long as it needs to be for the table to be looked at. */
	const uint64_t object_size = size > 64 && data[0] & 1 ? size : size + data[0] * 1000u;
	if (pack_toc_find(object_size, data + size - PACK_TRAILER, &offset, &len) || len > size - PACK_TRAILER)
		return 0;
	const uint8_t *toc = data + size - PACK_TRAILER - len;
	sha256_of(toc, len, &name);
	if (!pack_toc_parse(toc, len, offset, &name, add, &s) && s.stored + 8 != offset)
		abort();
	return 0;
}
