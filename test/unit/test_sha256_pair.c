#include "catalog/base/hash.h"
#include "test/unit/check.h"

static void fill(unsigned char *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(rand_r(&seed) >> 5);
}

static void check_lengths(const unsigned char *x, size_t x_len, const unsigned char *y, size_t y_len)
{
	struct digest dx, dy, want;
	sha256_pair(x, x_len, y, y_len, &dx, &dy);
	sha256_of(x, x_len, &want);
	if (!digest_equal(&dx, &want))
		CHECK_FAIL("first of %zu and %zu bytes", x_len, y_len);
	sha256_of(y, y_len, &want);
	if (!digest_equal(&dy, &want))
		CHECK_FAIL("second of %zu and %zu bytes", x_len, y_len);
}

TEST(equals_the_plain_digest_at_every_length)
{
	unsigned char x[700], y[700];
	fill(x, sizeof x, 1);
	fill(y, sizeof y, 2);
	for (size_t a = 0; a <= 260; a++)
		for (size_t b = 0; b <= 260; b += 1 + a % 5)
			check_lengths(x, a, y + a % 3, b);
	check_lengths(x, 0, y, 700);
	check_lengths(x, 699, y, 1);
}

TEST(equals_the_plain_digest_of_large_messages)
{
	size_t n = 3 << 20;
	unsigned char *x = malloc(n), *y = malloc(n);
	fill(x, n, 3);
	fill(y, n, 4);
	check_lengths(x, n, y, n);
	check_lengths(x + 1, n - 1, y + 3, n - 77);
	check_lengths(x, 1000000, y, 17);
	check_lengths(x, 5, y, n);
	free(x);
	free(y);
}

CHECK_MAIN()
