/*
 * Leaves: the pieces of a chunk that can be verified one by one.
 *
 * A chunk of more than LEAVES_FROM bytes is a row of leaves, LEAF_BYTES each, the last one shorter.  A leaf's digest is the first
 * LEAF_SIZE bytes of its SHA-256 (SHA-256/192 of NIST SP 800-208), and the chunk's digest is the SHA-512/256 of its leaves' digests in
 * order.  So a chunk's bytes are hashed once, whether as a whole or leaf by leaf, and neither is believed without the other: a
 * manifest's leaves must give the chunk's digest.  A shorter chunk has no leaves; its digest is the SHA-256 of its bytes.  These are two functions, so
 * that no chunk of one kind can pass for one of the other.
 *
 * Why 192 bits: the leaves are most of a manifest.  Whoever looks for two leaves of one digest needs 2^96 attempts, for a leaf that matches a given
 * one 2^192: both out of reach, at three quarters of the space.
 *
 * A *piece* is what reads and the cache count by: a leaf, or a chunk without leaves.
 *
 * Thread rules: pure functions.
 */
#ifndef MESHFS_CATALOG_LEAVES_H
#define MESHFS_CATALOG_LEAVES_H

#include "catalog/base/hash.h"

#include <stddef.h>
#include <stdint.h>

#define LEAF_BYTES (64u << 10)
#define LEAVES_FROM (256u << 10) /* = CHUNK_MIN: a longer chunk has leaves */
#define LEAVES_MAX 1025u         /* of one chunk: MANIFEST_CHUNK_MAX in leaves */
#define LEAF_SIZE 24

struct leaf {
	unsigned char bytes[LEAF_SIZE];
};

/* How many leaves a chunk of `length` bytes has, and how many pieces; length at least 1. */
static inline uint32_t leaf_count(uint32_t length)
{
	return length > LEAVES_FROM ? (length - 1) / LEAF_BYTES + 1 : 0;
}

static inline uint32_t piece_count(uint32_t length)
{
	return length > LEAVES_FROM ? leaf_count(length) : 1;
}

/* The digests of neighbouring leaves: `bytes` starts with a leaf.  `ret` has room for all that begin in `len` bytes. */
void leaves_of(const void *bytes, size_t len, struct leaf *ret);
/* The digest of the chunk that has these leaves. */
void leaves_digest(const struct leaf *leaves, uint32_t count, struct digest *ret);
/* The digest of a chunk; `ret_leaves` has room for leaf_count(len). */
void chunk_digest_of(const void *bytes, uint32_t len, struct leaf *ret_leaves, struct digest *ret);

#endif
