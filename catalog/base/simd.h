/*
 * What the scanners of line formats share: they look at 64 bytes a step, in variants for what processors can do.  Every variant is compiled, and the
 * best that runs here is picked when a plan is made; tests run all of them.
 */
#ifndef MESHFS_BASE_SIMD_H
#define MESHFS_BASE_SIMD_H

#include <stdbool.h>
#include <stdint.h>

/* Bit i: whether an odd number of the bits up to i is set (inside of quotes, when the bits are quotes). */
static inline uint64_t simd_prefix_xor(uint64_t x)
{
	for (int by = 1; by < 64; by <<= 1)
		x ^= x << by;
	return x;
}

#ifdef __x86_64__
#include <immintrin.h>

#define SIMD_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,pclmul")))

SIMD_AVX2 static inline uint64_t simd_prefix_xor_avx2(uint64_t x)
{
	return (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(_mm_set_epi64x(0, (long long)x), _mm_set1_epi8('\xff'), 0));
}

/* Does this processor run what SIMD_AVX2 asks for?  Else SSE2, which all of its kind have. */
static inline bool simd_has_avx2(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
	       __builtin_cpu_supports("pclmul");
}
#endif

#endif
