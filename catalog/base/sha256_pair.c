/*
 * Two SHA-256 digests at once.
 *
 * The SHA instructions of x86 have a latency of several cycles and each round waits for the one before, so a single stream leaves the
 * unit idle half of the time.  Two independent messages, their rounds interleaved, fill the gaps: about 1.8 times the bytes per
 * second of one after the other (test/bench/hash_bench.c).  What verifying costs decides how fast a cold read can be.
 *
 * Only whole blocks that both messages have run here; the rest, and machines without the instructions, go the plain way.
 */
#include "catalog/base/hash.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define BLOCK 64

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
	0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
	0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
	0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

#define TARGET __attribute__((target("sha,sse4.1,ssse3")))

/* The working variables in the order the instructions want: a b e f, c d g h. */
struct lane {
	__m128i abef, cdgh;
};

TARGET static inline void load_state(const uint32_t h[8], struct lane *l)
{
	__m128i dcba = _mm_loadu_si128((const __m128i *)h), hgfe = _mm_loadu_si128((const __m128i *)(h + 4));
	__m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
	l->abef = _mm_alignr_epi8(cdab, efgh, 8);
	l->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

TARGET static inline void store_state(const struct lane *l, uint32_t h[8])
{
	__m128i feba = _mm_shuffle_epi32(l->abef, 0x1b), dchg = _mm_shuffle_epi32(l->cdgh, 0xb1);
	_mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
	_mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four rounds of both lanes. */
#define ROUNDS(i, wx, wy)                                                                        \
	do {                                                                                     \
		__m128i k = _mm_load_si128((const __m128i *)(round_constants + 4 * (i)));        \
		__m128i kx = _mm_add_epi32(wx, k), ky = _mm_add_epi32(wy, k);                    \
		x.cdgh = _mm_sha256rnds2_epu32(x.cdgh, x.abef, kx);                              \
		y.cdgh = _mm_sha256rnds2_epu32(y.cdgh, y.abef, ky);                              \
		kx = _mm_shuffle_epi32(kx, 0x0e);                                                \
		ky = _mm_shuffle_epi32(ky, 0x0e);                                                \
		x.abef = _mm_sha256rnds2_epu32(x.abef, x.cdgh, kx);                              \
		y.abef = _mm_sha256rnds2_epu32(y.abef, y.cdgh, ky);                              \
	} while (0)

/* The next four words of the message schedule from the sixteen before: m[i] … m[i + 3] are w[t-16], w[t-12], w[t-8], w[t-4]. */
#define SCHEDULE(m, a, b, c, d)                                                                  \
	(m[a] = _mm_sha256msg2_epu32(                                                            \
		 _mm_add_epi32(_mm_sha256msg1_epu32(m[a], m[b]), _mm_alignr_epi8(m[d], m[c], 4)), m[d]))

TARGET static void blocks_pair(uint32_t hx[8], uint32_t hy[8], const unsigned char *px, const unsigned char *py, size_t blocks)
{
	const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
	struct lane x, y;
	load_state(hx, &x);
	load_state(hy, &y);
	for (; blocks; blocks--, px += BLOCK, py += BLOCK) {
		struct lane x0 = x, y0 = y;
		__m128i mx[4], my[4];
		for (int i = 0; i < 4; i++) {
			mx[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)px + i), swap);
			my[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)py + i), swap);
		}
		ROUNDS(0, mx[0], my[0]);
		ROUNDS(1, mx[1], my[1]);
		ROUNDS(2, mx[2], my[2]);
		ROUNDS(3, mx[3], my[3]);
#pragma GCC unroll 3
		for (int i = 4; i < 16; i += 4) {
			ROUNDS(i, SCHEDULE(mx, 0, 1, 2, 3), SCHEDULE(my, 0, 1, 2, 3));
			ROUNDS(i + 1, SCHEDULE(mx, 1, 2, 3, 0), SCHEDULE(my, 1, 2, 3, 0));
			ROUNDS(i + 2, SCHEDULE(mx, 2, 3, 0, 1), SCHEDULE(my, 2, 3, 0, 1));
			ROUNDS(i + 3, SCHEDULE(mx, 3, 0, 1, 2), SCHEDULE(my, 3, 0, 1, 2));
		}
		x.abef = _mm_add_epi32(x.abef, x0.abef);
		x.cdgh = _mm_add_epi32(x.cdgh, x0.cdgh);
		y.abef = _mm_add_epi32(y.abef, y0.abef);
		y.cdgh = _mm_add_epi32(y.cdgh, y0.cdgh);
	}
	store_state(&x, hx);
	store_state(&y, hy);
}

/* The last blocks of one message, with its padding. */
TARGET static void finish_one(uint32_t h[8], const unsigned char *rest, size_t rest_len, size_t len, struct digest *ret)
{
	unsigned char tail[2 * BLOCK] = { 0 }, other[2 * BLOCK] = { 0 };
	uint32_t scratch[8] = { 0 };
	size_t blocks = rest_len + 9 <= BLOCK ? 1 : 2;
	memcpy(tail, rest, rest_len);
	tail[rest_len] = 0x80;
	uint64_t bits = (uint64_t)len * 8;
	for (int i = 0; i < 8; i++)
		tail[blocks * BLOCK - 1 - (size_t)i] = (unsigned char)(bits >> 8 * i);
	blocks_pair(h, scratch, tail, other, blocks);
	for (int i = 0; i < 8; i++) {
		ret->bytes[4 * i] = (unsigned char)(h[i] >> 24);
		ret->bytes[4 * i + 1] = (unsigned char)(h[i] >> 16);
		ret->bytes[4 * i + 2] = (unsigned char)(h[i] >> 8);
		ret->bytes[4 * i + 3] = (unsigned char)h[i];
	}
}

/* Hashes what is left of a message after `done` bytes (whole blocks), whose state is `h`. */
static void finish_lane(uint32_t h[8], const unsigned char *p, size_t len, size_t done, struct digest *ret)
{
	size_t whole = (len - done) / BLOCK;
	uint32_t scratch[8] = { 0 };
	if (whole)
		blocks_pair(h, scratch, p + done, p + done, whole);
	done += whole * BLOCK;
	finish_one(h, p + done, len - done, len, ret);
}

static const uint32_t initial[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static bool have_sha(void)
{
	unsigned a, b, c, d;
	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
	(void)a;
	(void)c;
	(void)d;
	return (b >> 29 & 1) && __builtin_cpu_supports("sse4.1");
}
#endif

void sha256_pair(const void *x, size_t x_len, const void *y, size_t y_len, struct digest *ret_x, struct digest *ret_y)
{
#if defined(__x86_64__)
	static _Atomic int usable; /* 0: not known yet, 1: yes, -1: no */
	int can = usable;
	if (!can)
		usable = can = have_sha() ? 1 : -1;
	if (can > 0) {
		uint32_t hx[8], hy[8];
		size_t blocks = (x_len < y_len ? x_len : y_len) / BLOCK;
		memcpy(hx, initial, sizeof hx);
		memcpy(hy, initial, sizeof hy);
		if (blocks)
			blocks_pair(hx, hy, x, y, blocks);
		finish_lane(hx, x, x_len, blocks * BLOCK, ret_x);
		finish_lane(hy, y, y_len, blocks * BLOCK, ret_y);
		return;
	}
#endif
	sha256_of(x, x_len, ret_x);
	sha256_of(y, y_len, ret_y);
}
