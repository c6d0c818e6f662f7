/* The low-level SHA-256 calls need no memory, and copy a context for less than the EVP ones take to find their way. */
#define OPENSSL_SUPPRESS_DEPRECATED
#define XXH_INLINE_ALL /* most of what is hashed is short: a call takes as long as the hash */
#include "catalog/base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>
#include <xxhash.h>

/* libcrypto fails here only without memory or in a broken installation; a wrong digest must never be returned. */
static void must(int ok)
{
	if (!ok)
		abort();
}

void sha256_of(const void *bytes, size_t len, struct digest *ret)
{
	SHA256_CTX h;
	must(SHA256_Init(&h) && SHA256_Update(&h, bytes, len) && SHA256_Final(ret->bytes, &h));
}

void sha512_256_of(const void *bytes, size_t len, struct digest *ret)
{
	must(EVP_Digest(bytes, len, ret->bytes, NULL, EVP_sha512_256(), NULL));
}

void hmac_sha256_of(const void *key, size_t key_len, const void *bytes, size_t len, struct digest *ret)
{
	unsigned int n = 0;
	must(HMAC(EVP_sha256(), key, (int)key_len, bytes, len, ret->bytes, &n) != NULL && n == SHA256_SIZE);
}

struct hmac_key {
	SHA256_CTX inner, outer;
};

struct hmac_key *hmac_key_new(const void *key, size_t key_len)
{
	struct hmac_key *k = malloc(sizeof *k);
	if (!k)
		return NULL;
	unsigned char block[SHA256_CBLOCK] = { 0 };
	if (key_len > sizeof block) {
		struct digest d;
		sha256_of(key, key_len, &d);
		memcpy(block, d.bytes, sizeof d.bytes);
		OPENSSL_cleanse(&d, sizeof d);
	} else if (key_len) {
		memcpy(block, key, key_len);
	}
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36;
	must(SHA256_Init(&k->inner) && SHA256_Update(&k->inner, block, sizeof block));
	for (size_t i = 0; i < sizeof block; i++)
		block[i] ^= 0x36 ^ 0x5c;
	must(SHA256_Init(&k->outer) && SHA256_Update(&k->outer, block, sizeof block));
	OPENSSL_cleanse(block, sizeof block);
	return k;
}

void hmac_key_sign(const struct hmac_key *k, const void *bytes, size_t len, struct digest *ret)
{
	SHA256_CTX h = k->inner;
	must(SHA256_Update(&h, bytes, len) && SHA256_Final(ret->bytes, &h));
	h = k->outer;
	must(SHA256_Update(&h, ret->bytes, sizeof ret->bytes) && SHA256_Final(ret->bytes, &h));
}

void hmac_key_free(struct hmac_key *k)
{
	if (!k)
		return;
	OPENSSL_cleanse(k, sizeof *k);
	free(k);
}

struct sha256 {
	SHA256_CTX context;
};

struct sha256 *sha256_new(void)
{
	struct sha256 *h = calloc(1, sizeof *h);
	if (h)
		must(SHA256_Init(&h->context));
	return h;
}

void sha256_update(struct sha256 *h, const void *bytes, size_t len)
{
	must(SHA256_Update(&h->context, bytes, len));
}

void sha256_final(struct sha256 *h, struct digest *ret)
{
	must(SHA256_Final(ret->bytes, &h->context));
}

void sha256_free(struct sha256 *h)
{
	free(h);
}

static void canonical(XXH128_hash_t value, struct xxh128 *ret)
{
	_Static_assert(sizeof(XXH128_canonical_t) == sizeof ret->bytes, "a canonical hash is its bytes");
	/* In place: 16 bytes copied right after they were written as twice 8 wait for the store, which costs more than the hash of a short text. */
	XXH128_canonicalFromHash((XXH128_canonical_t *)ret->bytes, value);
}

void xxh128_of(const void *bytes, size_t len, struct xxh128 *ret)
{
	canonical(XXH3_128bits(bytes, len), ret);
}

struct xxh128_state {
	XXH3_state_t *state;
};

uint64_t xxh64_of(const void *bytes, size_t len)
{
	return XXH3_64bits(bytes, len);
}

struct xxh128_state *xxh128_new(void)
{
	struct xxh128_state *h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->state = XXH3_createState();
	if (!h->state || XXH3_128bits_reset(h->state) != XXH_OK) {
		xxh128_free(h);
		return NULL;
	}
	return h;
}

void xxh128_update(struct xxh128_state *h, const void *bytes, size_t len)
{
	must(XXH3_128bits_update(h->state, bytes, len) == XXH_OK);
}

void xxh128_final(const struct xxh128_state *h, struct xxh128 *ret)
{
	canonical(XXH3_128bits_digest(h->state), ret);
}

void xxh128_free(struct xxh128_state *h)
{
	if (!h)
		return;
	XXH3_freeState(h->state);
	free(h);
}

void hex_format(const void *bytes, size_t len, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;
	for (size_t i = 0; i < len; i++) {
		ret_text[2 * i] = digits[p[i] >> 4];
		ret_text[2 * i + 1] = digits[p[i] & 15];
	}
	ret_text[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_parse(const char *text, void *ret_bytes, size_t len)
{
	unsigned char *out = ret_bytes;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(text[2 * i]);
		int low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
		if (low < 0)
			return -EINVAL;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return text[2 * len] ? -EINVAL : 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a->bytes, b->bytes, SHA256_SIZE) == 0;
}

int sha256_of_fd(int fd, struct digest *ret, int64_t *ret_size)
{
	enum { BLOCK = 1 << 20 };
	struct sha256 *h = sha256_new();
	char *bytes = malloc(BLOCK);
	int64_t size = 0;
	int r = h && bytes ? 0 : -ENOMEM;
	for (ssize_t n; !r && (n = read(fd, bytes, BLOCK));) {
		if (n < 0) {
			r = errno == EINTR ? 0 : -errno;
			continue;
		}
		sha256_update(h, bytes, (size_t)n);
		size += n;
	}
	struct digest d;
	if (h)
		sha256_final(h, &d);
	if (!r) {
		*ret = d;
		*ret_size = size;
	}
	sha256_free(h);
	free(bytes);
	return r;
}
