/*
 * Hashes.
 *
 * SHA-256 (OpenSSL's libcrypto) names chunks, packs, manifests and snapshots: it is what integrity rests on.  SHA-512/256 names chunks that have
 * leaves (catalog/leaves.h).
 * XXH3-128 (xxHash) is the fast check of bytes that were verified before; it stops accidents, not attackers.
 * HMAC-SHA-256 keys the `hmac` mask and the chain of lineage seals.
 *
 * Thread rules: pure functions; a `struct sha256` belongs to one thread at a time.
 */
#ifndef MESHFS_BASE_HASH_H
#define MESHFS_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65 /* with the NUL */
#define XXH128_SIZE 16
#define XXH128_HEX_SIZE 33

struct digest {
	unsigned char bytes[SHA256_SIZE];
};

struct xxh128 {
	unsigned char bytes[XXH128_SIZE]; /* canonical (big-endian) order, as xxhsum -H2 prints it */
};

void sha256_of(const void *bytes, size_t len, struct digest *ret);
/* Of all that can be read from the descriptor on, and how much that is.  0 or -errno. */
int sha256_of_fd(int fd, struct digest *ret, int64_t *ret_size);
void sha512_256_of(const void *bytes, size_t len, struct digest *ret); /* another function of the same length */
/* The digests of two messages, faster than one after the other when they are of about equal length. */
void sha256_pair(const void *x, size_t x_len, const void *y, size_t y_len, struct digest *ret_x, struct digest *ret_y);
void xxh128_of(const void *bytes, size_t len, struct xxh128 *ret);
uint64_t xxh64_of(const void *bytes, size_t len); /* XXH3-64: for estimates, where equal hashes need not mean equal bytes */
void hmac_sha256_of(const void *key, size_t key_len, const void *bytes, size_t len, struct digest *ret);

/* A key whose first blocks are hashed once: for many short texts under one key.  Immutable, any thread; _free wipes it. */
struct hmac_key;
struct hmac_key *hmac_key_new(const void *key, size_t key_len); /* NULL without memory */
void hmac_key_sign(const struct hmac_key *k, const void *bytes, size_t len, struct digest *ret);
void hmac_key_free(struct hmac_key *k);

/* Incremental forms.  _new returns NULL without memory; _final may be called once; _free(NULL) is legal. */
struct sha256 *sha256_new(void);
void sha256_update(struct sha256 *h, const void *bytes, size_t len);
void sha256_final(struct sha256 *h, struct digest *ret);
void sha256_free(struct sha256 *h);

struct xxh128_state *xxh128_new(void);
void xxh128_update(struct xxh128_state *h, const void *bytes, size_t len);
void xxh128_final(const struct xxh128_state *h, struct xxh128 *ret); /* may be called repeatedly */
void xxh128_free(struct xxh128_state *h);

void hex_format(const void *bytes, size_t len, char *ret_text /* 2 * len + 1 */);
/* Reads exactly 2 * len lower- or upper-case hex digits and then the end of the text.  0 or -EINVAL. */
int hex_parse(const char *text, void *ret_bytes, size_t len);
bool digest_equal(const struct digest *a, const struct digest *b);

#endif
