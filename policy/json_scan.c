#include "policy/json_scan.h"

#include "catalog/base/simd.h"

#include <string.h>

struct json_masks {
	uint64_t quotes, backslashes, newlines, structure, controls, high;
};

void json_scan_start(struct json_scan *s, size_t from)
{
	s->at = from;
	s->broken = s->done = false;
	s->broken_at = 0;
	s->in_string = s->escaped = 0;
}

static inline void masks_scalar(const unsigned char *p, struct json_masks *m)
{
	*m = (struct json_masks){ 0, 0, 0, 0, 0, 0 };
	for (int i = 0; i < 64; i++) {
		unsigned char c = p[i];
		bool structure = c == '{' || c == '}' || c == '[' || c == ']' || c == ':' || c == ',';
		m->quotes |= (uint64_t)(c == '"') << i;
		m->backslashes |= (uint64_t)(c == '\\') << i;
		m->newlines |= (uint64_t)(c == '\n') << i;
		m->structure |= (uint64_t)structure << i;
		m->controls |= (uint64_t)(c < 0x20) << i;
		m->high |= (uint64_t)(c >= 0x80) << i;
	}
}

#define SCAN_NAME json_scan_scalar
#define SCAN_TARGET
#define SCAN_MASKS masks_scalar
#define SCAN_PREFIX_XOR simd_prefix_xor
#include "policy/json_scan_loop.h"

#ifdef __x86_64__
static inline __m128i is_sse2(__m128i v, char c)
{
	return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}

static inline void masks_sse2(const unsigned char *p, struct json_masks *m)
{
	*m = (struct json_masks){ 0, 0, 0, 0, 0, 0 };
	for (int i = 0; i < 64; i += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
		__m128i folded = _mm_or_si128(v, _mm_set1_epi8(0x20)); /* '[' and ']' fold into '{' and '}' */
		__m128i structure = _mm_or_si128(_mm_or_si128(is_sse2(folded, '{'), is_sse2(folded, '}')), _mm_or_si128(is_sse2(v, ':'), is_sse2(v, ',')));
		__m128i control = is_sse2(_mm_max_epu8(v, _mm_set1_epi8(0x1f)), 0x1f);
		m->quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(is_sse2(v, '"')) << i;
		m->backslashes |= (uint64_t)(unsigned)_mm_movemask_epi8(is_sse2(v, '\\')) << i;
		m->newlines |= (uint64_t)(unsigned)_mm_movemask_epi8(is_sse2(v, '\n')) << i;
		m->structure |= (uint64_t)(unsigned)_mm_movemask_epi8(structure) << i;
		m->controls |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
		m->high |= (uint64_t)(unsigned)_mm_movemask_epi8(v) << i;
	}
}

#define SCAN_NAME json_scan_sse2
#define SCAN_TARGET
#define SCAN_MASKS masks_sse2
#define SCAN_PREFIX_XOR simd_prefix_xor
#include "policy/json_scan_loop.h"

SIMD_AVX2 static inline __m256i is_avx2(__m256i v, char c)
{
	return _mm256_cmpeq_epi8(v, _mm256_set1_epi8(c));
}

SIMD_AVX2 static inline uint64_t bits_avx2(__m256i a, __m256i b)
{
	return (uint32_t)_mm256_movemask_epi8(a) | (uint64_t)(uint32_t)_mm256_movemask_epi8(b) << 32;
}

SIMD_AVX2 static inline __m256i structure_avx2(__m256i v)
{
	__m256i folded = _mm256_or_si256(v, _mm256_set1_epi8(0x20));
	return _mm256_or_si256(_mm256_or_si256(is_avx2(folded, '{'), is_avx2(folded, '}')), _mm256_or_si256(is_avx2(v, ':'), is_avx2(v, ',')));
}

SIMD_AVX2 static inline __m256i control_avx2(__m256i v)
{
	return is_avx2(_mm256_max_epu8(v, _mm256_set1_epi8(0x1f)), 0x1f);
}

SIMD_AVX2 static inline void masks_avx2(const unsigned char *p, struct json_masks *m)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
	m->quotes = bits_avx2(is_avx2(a, '"'), is_avx2(b, '"'));
	m->backslashes = bits_avx2(is_avx2(a, '\\'), is_avx2(b, '\\'));
	m->newlines = bits_avx2(is_avx2(a, '\n'), is_avx2(b, '\n'));
	m->structure = bits_avx2(structure_avx2(a), structure_avx2(b));
	m->controls = bits_avx2(control_avx2(a), control_avx2(b));
	m->high = bits_avx2(a, b);
}

#define SCAN_NAME json_scan_avx2
#define SCAN_TARGET SIMD_AVX2
#define SCAN_MASKS masks_avx2
#define SCAN_PREFIX_XOR simd_prefix_xor_avx2
#include "policy/json_scan_loop.h"

json_scan_fn *json_scan_best(void)
{
	return simd_has_avx2() ? json_scan_avx2 : json_scan_sse2;
}
#else
size_t json_scan_sse2(struct json_scan *s, uint32_t *ret, size_t room)
{
	return json_scan_scalar(s, ret, room);
}

size_t json_scan_avx2(struct json_scan *s, uint32_t *ret, size_t room)
{
	return json_scan_scalar(s, ret, room);
}

json_scan_fn *json_scan_best(void)
{
	return json_scan_scalar;
}
#endif
