/*
 * Texts of JSON: strings as they stand between their quotes, numbers, literals.  Pure functions; any thread.
 */
#ifndef MESHFS_POLICY_JSON_TEXT_H
#define MESHFS_POLICY_JSON_TEXT_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Escapes well-formed, no control characters.  (Whether the bytes are UTF-8 is asked elsewhere.) */
bool json_string_valid(const char *raw, size_t len);
/* The text of a valid string into `ret` (room for `len` bytes).  A surrogate without its other half becomes three bytes that are no UTF-8.  The
 * length; *ret_lone tells whether there was one. */
size_t json_string_unescape(const char *raw, size_t len, char *ret, bool *ret_lone);
/* Appends the text as a JSON string with its quotes. */
void json_string_add(struct buf *out, const char *text, size_t len);

bool json_number_valid(const char *text, size_t len);

/* The same for most numbers, in few steps: no sign, no exponent, at most 16 bytes.  Reads JSON_NUMBER_READS bytes whatever `len` is; false: ask
 * json_number_valid. */
#define JSON_NUMBER_READS 16
static inline bool json_number_plain(const char *text, size_t len)
{
#ifdef __SSE2__
	if (len - 1 >= JSON_NUMBER_READS || (text[0] == '0' && len > 1 && text[1] != '.'))
		return false;
	__m128i v = _mm_sub_epi8(_mm_loadu_si128((const __m128i *)(const void *)text), _mm_set1_epi8('0'));
	__m128i digits = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(9)), v);
	unsigned other = ~(unsigned)_mm_movemask_epi8(digits) & ((1u << len) - 1);
	if (!other) /* else one point, neither first nor last */
		return true;
	return !(other & (other - 1)) && !(other & 1) && !(other >> (len - 1)) && text[__builtin_ctz(other)] == '.';
#else
	return json_number_valid(text, len);
#endif
}

#endif
