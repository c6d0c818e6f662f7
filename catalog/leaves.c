#include "catalog/leaves.h"

#include <string.h>

static void shorten(const struct digest *d, struct leaf *ret)
{
	memcpy(ret->bytes, d->bytes, LEAF_SIZE);
}

void leaves_of(const void *bytes, size_t len, struct leaf *ret)
{
	const unsigned char *p = bytes;
	struct digest d[2];
	while (len > LEAF_BYTES) {
		const size_t second = len - LEAF_BYTES < LEAF_BYTES ? len - LEAF_BYTES : LEAF_BYTES;
		sha256_pair(p, LEAF_BYTES, p + LEAF_BYTES, second, &d[0], &d[1]);
		shorten(&d[0], ret++);
		shorten(&d[1], ret++);
		p += LEAF_BYTES + second;
		len -= LEAF_BYTES + second;
	}
	if (len) {
		sha256_of(p, len, &d[0]);
		shorten(&d[0], ret);
	}
}

void leaves_digest(const struct leaf *leaves, uint32_t count, struct digest *ret)
{
	sha512_256_of(leaves, (size_t)count * sizeof *leaves, ret);
}

void chunk_digest_of(const void *bytes, uint32_t len, struct leaf *ret_leaves, struct digest *ret)
{
	const uint32_t count = leaf_count(len);
	if (!count) {
		sha256_of(bytes, len, ret);
		return;
	}
	leaves_of(bytes, len, ret_leaves);
	leaves_digest(ret_leaves, count, ret);
}
