#include "policy/json_text.h"

#include <stdint.h>
#include <string.h>

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;
	for (int i = 0; i < 4; i++) {
		int d = hex_digit(p[i]);
		if (d < 0)
			return false;
		v = v << 4 | (uint32_t)d;
	}
	*ret = v;
	return true;
}

bool json_string_valid(const char *raw, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint32_t unit;
		if ((unsigned char)raw[i] < 0x20)
			return false;
		if (raw[i] != '\\')
			continue;
		if (++i == len)
			return false;
		if (raw[i] == 'u') {
			if (len - i < 5 || !hex4(raw + i + 1, &unit))
				return false;
			i += 4;
		} else if (!raw[i] || !strchr("\"\\/bfnrt", raw[i])) {
			return false;
		}
	}
	return true;
}

static char *add_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
		return to;
	}
	if (c < 0x800) {
		*to++ = (char)(0xC0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*to++ = (char)(0xE0 | c >> 12);
		} else {
			*to++ = (char)(0xF0 | c >> 18);
			*to++ = (char)(0x80 | (c >> 12 & 63));
		}
		*to++ = (char)(0x80 | (c >> 6 & 63));
	}
	*to++ = (char)(0x80 | (c & 63));
	return to;
}

size_t json_string_unescape(const char *raw, size_t len, char *ret, bool *ret_lone)
{
	char *to = ret;
	*ret_lone = false;
	for (size_t i = 0; i < len;) {
		const char *escape = memchr(raw + i, '\\', len - i);
		size_t plain = escape ? (size_t)(escape - raw) - i : len - i;
		memmove(to, raw + i, plain);
		to += plain;
		i += plain;
		if (!escape || len - i < 2)
			break;
		char c = raw[i + 1];
		uint32_t unit = 0, low;
		i += 2;
		if (c != 'u') {
			const char *at = strchr("b\bf\fn\nr\rt\t", c);
			*to++ = at && c >= 'a' ? at[1] : c;
			continue;
		}
		if (len - i < 4 || !hex4(raw + i, &unit))
			break;
		i += 4;
		if (unit >= 0xD800 && unit < 0xDC00 && len - i >= 6 && raw[i] == '\\' && raw[i + 1] == 'u' && hex4(raw + i + 2, &low) &&
		    low >= 0xDC00 && low < 0xE000) {
			unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
			i += 6;
		} else if (unit >= 0xD800 && unit < 0xE000) {
			*ret_lone = true;
		}
		to = add_utf8(to, unit);
	}
	return (size_t)(to - ret);
}

/* Does one of eight bytes need an escape? */
static inline bool needs_escape(uint64_t x)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x80 * ones;
	uint64_t quote = x ^ '"' * ones, backslash = x ^ '\\' * ones;
	return (((x - 0x20 * ones) & ~x) | ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash)) & high;
}

void json_string_add(struct buf *out, const char *text, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	char *p = buf_reserve(out, 6 * len + 2);
	if (!p)
		return;
	char *to = p;
	*to++ = '"';
	for (size_t i = 0; i < len; i++) {
		uint64_t eight;
		for (; len - i >= 8 && (memcpy(&eight, text + i, 8), !needs_escape(eight)); i += 8, to += 8)
			memcpy(to, &eight, 8);
		if (i == len)
			break;
		unsigned char c = (unsigned char)text[i];
		if (c >= 0x20 && c != '"' && c != '\\') {
			*to++ = (char)c;
			continue;
		}
		*to++ = '\\';
		if (c >= 0x20) {
			*to++ = (char)c;
		} else if (c == '\n' || c == '\r' || c == '\t') {
			*to++ = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
		} else {
			memcpy(to, "u00", 3);
			to[3] = hex[c >> 4];
			to[4] = hex[c & 15];
			to += 5;
		}
	}
	*to++ = '"';
	buf_commit(out, (size_t)(to - p));
}

static size_t skip_digits(const char *text, size_t len, size_t i)
{
	while (i < len && text[i] >= '0' && text[i] <= '9')
		i++;
	return i;
}

bool json_number_valid(const char *text, size_t len)
{
	size_t i = len && text[0] == '-', start = i;
	i = skip_digits(text, len, i);
	if (i == start || (text[start] == '0' && i - start > 1))
		return false;
	if (i < len && text[i] == '.') {
		start = ++i;
		i = skip_digits(text, len, i);
		if (i == start)
			return false;
	}
	if (i < len && (text[i] == 'e' || text[i] == 'E')) {
		i++;
		i += i < len && (text[i] == '+' || text[i] == '-');
		start = i;
		i = skip_digits(text, len, i);
		if (i == start)
			return false;
	}
	return i == len;
}
