/* Leaves against their definition: SHA-256 shortened, SHA-512/256 over them. */
#include "catalog/leaves.h"

#include "test/unit/check.h"

#include <stdlib.h>
#include <string.h>

static unsigned char *bytes_new(size_t len)
{
	unsigned char *b = malloc(len);
	for (size_t i = 0; i < len; i++)
		b[i] = (unsigned char)(i * 2654435761u >> 13);
	return b;
}

TEST(a_short_chunk_is_named_by_its_sha256)
{
	unsigned char *b = bytes_new(LEAVES_FROM);
	struct digest d, want;
	CHECK_INT(leaf_count(LEAVES_FROM), 0);
	CHECK_INT(piece_count(LEAVES_FROM), 1);
	CHECK_INT(piece_count(1), 1);
	chunk_digest_of(b, LEAVES_FROM, NULL, &d);
	sha256_of(b, LEAVES_FROM, &want);
	CHECK(digest_equal(&d, &want));
	free(b);
}

TEST(leaves_are_what_they_say)
{
	static const uint32_t lengths[] = { LEAVES_FROM + 1, LEAVES_FROM + LEAF_BYTES, LEAVES_FROM + LEAF_BYTES + 1, 1 << 20, (1 << 20) + 17, 3 * LEAVES_FROM - 1 };
	for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
		const uint32_t len = lengths[n], count = leaf_count(len);
		unsigned char *b = bytes_new(len);
		struct leaf leaves[32];
		struct digest d, again, want;
		CHECK(count == (len + LEAF_BYTES - 1) / LEAF_BYTES && count == piece_count(len));
		chunk_digest_of(b, len, leaves, &d);
		for (uint32_t i = 0; i < count; i++) {
			const uint32_t left = len - i * LEAF_BYTES;
			sha256_of(b + (size_t)i * LEAF_BYTES, left < LEAF_BYTES ? left : LEAF_BYTES, &want);
			CHECK(!memcmp(leaves[i].bytes, want.bytes, LEAF_SIZE));
		}
		sha512_256_of(leaves, count * sizeof *leaves, &want);
		CHECK(digest_equal(&d, &want));
		leaves_digest(leaves, count, &again);
		CHECK(digest_equal(&d, &again));
		b[len - 1] ^= 1;
		chunk_digest_of(b, len, leaves, &again);
		CHECK(!digest_equal(&d, &again));
		free(b);
	}
}

TEST(sha512_256_is_the_standard_one)
{
	char hex[SHA256_HEX_SIZE];
	struct digest d;
	sha512_256_of("abc", 3, &d); /* FIPS 180-4's example */
	hex_format(d.bytes, SHA256_SIZE, hex);
	CHECK_STR(hex, "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23");
}

CHECK_MAIN()
