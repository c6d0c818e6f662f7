#include "catalog/csv_scan.h"

#include "catalog/base/simd.h"

#include <string.h>

struct csv_masks {
	uint64_t quotes, separators, newlines, returns;
};

void csv_scan_start(struct csv_scan *s, const void *bytes, size_t len, size_t from, char separator)
{
	*s = (struct csv_scan){ .bytes = bytes, .len = len, .at = from, .separator = (unsigned char)separator, .may_open = 1 };
}

static inline void masks_scalar(const unsigned char *p, unsigned char separator, struct csv_masks *m)
{
	*m = (struct csv_masks){ 0, 0, 0, 0 };
	for (int i = 0; i < 64; i++) {
		m->quotes |= (uint64_t)(p[i] == '"') << i;
		m->separators |= (uint64_t)(p[i] == separator) << i;
		m->newlines |= (uint64_t)(p[i] == '\n') << i;
		m->returns |= (uint64_t)(p[i] == '\r') << i;
	}
}

#define SCAN_NAME csv_scan_scalar
#define SCAN_TARGET
#define SCAN_MASKS masks_scalar
#define SCAN_PREFIX_XOR simd_prefix_xor
#include "catalog/csv_scan_loop.h"

#ifdef __x86_64__
static inline uint64_t equal_sse2(const __m128i v[4], unsigned char c)
{
	__m128i want = _mm_set1_epi8((char)c);
	uint64_t m = 0;
	for (int i = 0; i < 4; i++)
		m |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], want)) << (16 * i);
	return m;
}

static inline void masks_sse2(const unsigned char *p, unsigned char separator, struct csv_masks *m)
{
	__m128i v[4];
	for (int i = 0; i < 4; i++)
		v[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
	*m = (struct csv_masks){ equal_sse2(v, '"'), equal_sse2(v, separator), equal_sse2(v, '\n'), equal_sse2(v, '\r') };
}

#define SCAN_NAME csv_scan_sse2
#define SCAN_TARGET
#define SCAN_MASKS masks_sse2
#define SCAN_PREFIX_XOR simd_prefix_xor
#include "catalog/csv_scan_loop.h"

SIMD_AVX2 static inline uint64_t equal_avx2(__m256i a, __m256i b, unsigned char c)
{
	__m256i want = _mm256_set1_epi8((char)c);
	uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, want));
	uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, want));
	return low | (uint64_t)high << 32;
}

SIMD_AVX2 static inline void masks_avx2(const unsigned char *p, unsigned char separator, struct csv_masks *m)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
	*m = (struct csv_masks){ equal_avx2(a, b, '"'), equal_avx2(a, b, separator), equal_avx2(a, b, '\n'), equal_avx2(a, b, '\r') };
}

#define SCAN_NAME csv_scan_avx2
#define SCAN_TARGET SIMD_AVX2
#define SCAN_MASKS masks_avx2
#define SCAN_PREFIX_XOR simd_prefix_xor_avx2
#include "catalog/csv_scan_loop.h"

csv_scan_fn *csv_scan_best(void)
{
	return simd_has_avx2() ? csv_scan_avx2 : csv_scan_sse2;
}
#else
size_t csv_scan_sse2(struct csv_scan *s, uint32_t *ret, size_t room)
{
	return csv_scan_scalar(s, ret, room);
}

size_t csv_scan_avx2(struct csv_scan *s, uint32_t *ret, size_t room)
{
	return csv_scan_scalar(s, ret, room);
}

csv_scan_fn *csv_scan_best(void)
{
	return csv_scan_scalar;
}
#endif

size_t csv_skip_record(const void *bytes, size_t len, size_t from, char separator, bool *ret_ended)
{
	const char *p = bytes;
	*ret_ended = false;
	for (size_t i = from; i < len;) {
		if (p[i] == '"') { /* at the start of a field */
			for (i++; i < len; i++) {
				const char *quote = memchr(p + i, '"', len - i);
				i = quote ? (size_t)(quote - p) + 1 : len;
				if (i >= len || p[i] != '"')
					break;
			}
		}
		while (i < len && p[i] != separator && p[i] != '\n')
			i++;
		if (i < len && p[i++] == '\n') {
			*ret_ended = true;
			return i;
		}
	}
	return len;
}
