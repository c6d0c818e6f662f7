#include "catalog/base/text.h"

#include "catalog/base/buf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

char *text_format(const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;
	va_start(ap, fmt);
	buf_addv(&b, fmt, ap);
	va_end(ap);
	return buf_take(&b);
}

bool text_starts(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends(const char *text, const char *suffix)
{
	size_t n = strlen(text), m = strlen(suffix);
	return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

bool text_glob(const char *glob, const char *path)
{
	const char *star_glob = NULL, *star_path = NULL;   /* after the last `*` */
	const char *multi_glob = NULL, *multi_path = NULL; /* after the last `**` */
	for (;;) {
		if (glob[0] == '*' && glob[1] == '*') {
			while (*glob == '*')
				glob++;
			if (!*glob)
				return true;
			multi_glob = glob;
			multi_path = path;
			star_glob = NULL;
			/* `**` between two slashes also matches no part at all. */
			if (*glob == '/' && text_glob(glob + 1, path))
				return true;
			continue;
		}
		if (*glob == '*') {
			star_glob = ++glob;
			star_path = path;
			continue;
		}
		if (*path && (*glob == *path || (*glob == '?' && *path != '/'))) {
			bool character = *glob++ == '?';
			for (path++; character && ((unsigned char)*path & 0xC0) == 0x80; path++)
				;
			continue;
		}
		if (!*path && !*glob)
			return true;
		if (!*path && strcmp(glob, "/**") == 0)
			return true;
		if (star_glob && *star_path && *star_path != '/') {
			path = ++star_path;
			glob = star_glob;
			continue;
		}
		if (multi_glob && *multi_path) {
			path = ++multi_path;
			glob = multi_glob;
			star_glob = NULL;
			continue;
		}
		return false;
	}
}

/* Levenshtein distance, given up (returns `limit` + 1) for words longer than the row. */
static size_t distance(const char *a, const char *b, size_t limit)
{
	enum { LONGEST = 64 };
	size_t n = strlen(a), m = strlen(b), row[LONGEST + 1];
	if (n > LONGEST || m > LONGEST)
		return limit + 1;
	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t keep = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			size_t best = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			row[j] = best < keep ? best : keep;
		}
	}
	return row[m];
}

const char *text_nearest(const char *word, const char *const *names, size_t count)
{
	size_t limit = strlen(word) / 3 + 1, best = 4;
	if (limit > 3)
		limit = 3;
	const char *found = NULL;
	for (size_t i = 0; i < count; i++) {
		size_t d = distance(word, names[i], limit);
		if (d <= limit && d < best) {
			best = d;
			found = names[i];
		}
	}
	return found;
}

char *text_integer(int64_t n, char *end)
{
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	do
		*--end = (char)('0' + left % 10);
	while (left /= 10);
	if (n < 0)
		*--end = '-';
	return end;
}

bool text_is_integer(const char *text, size_t len, int64_t *ret)
{
	const size_t first = len && *text == '-';
	int64_t n = 0;
	if (len == first || len - first > 19 || (text[first] == '0' && len > 1))
		return false;
	for (size_t i = first; i < len; i++) {
		const int digit = text[i] - '0';
		if (digit < 0 || digit > 9)
			return false;
		if (i - first < 18)
			n = n * 10 + digit;
		else if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
			return false; /* nor the one number whose opposite there is not */
	}
	*ret = first ? -n : n;
	return true;
}

void text_size(uint64_t bytes, char ret_text[TEXT_SIZE_MAX])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	if (bytes < 1024) {
		snprintf(ret_text, TEXT_SIZE_MAX, "%u B", (unsigned)bytes);
		return;
	}
	double v = (double)bytes;
	int u = -1;
	while (v >= 1024 && u < 5) {
		v /= 1024;
		u++;
	}
	snprintf(ret_text, TEXT_SIZE_MAX, v < 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

int text_parse_size(const char *text, uint64_t *ret_bytes)
{
	static const struct {
		const char *name;
		uint64_t factor;
	} units[] = {
		{ "", 1 }, { "b", 1 }, { "k", 1ULL << 10 }, { "kib", 1ULL << 10 }, { "kb", 1000ULL },
		{ "m", 1ULL << 20 }, { "mib", 1ULL << 20 }, { "mb", 1000000ULL }, { "g", 1ULL << 30 },
		{ "gib", 1ULL << 30 }, { "gb", 1000000000ULL }, { "t", 1ULL << 40 }, { "tib", 1ULL << 40 },
		{ "tb", 1000000000000ULL },
	};
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	char *end;
	double v = strtod(text, &end);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcasecmp(end, units[i].name) != 0)
			continue;
		double bytes = v * (double)units[i].factor;
		if (!(bytes >= 0) || bytes >= 9.2e18)
			return -EINVAL;
		*ret_bytes = (uint64_t)bytes;
		return 0;
	}
	return -EINVAL;
}

int text_parse_duration_ms(const char *text, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		double ms;
	} units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60e3 }, { "min", 60e3 }, { "h", 3600e3 }, { "d", 86400e3 } };
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	char *end;
	double v = strtod(text, &end);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		if (!(v >= 0) || v * units[i].ms > 9e15)
			return -EINVAL;
		*ret_ms = (int64_t)(v * units[i].ms);
		return 0;
	}
	return -EINVAL;
}

/* The length of the well-formed UTF-8 sequence at `p`, or 0.  RFC 3629, table 3-7 of the Unicode standard. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	if (p[0] < 0x80)
		return 1;
	size_t n = p[0] >= 0xc2 && p[0] <= 0xdf ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : 0;
	if (!n || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool text_is_utf8(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes, *end = p + len;
	while (p < end) {
		uint64_t eight, more[4]; /* most text is ASCII */
		for (; end - p >= 32 && (memcpy(more, p, 32), !((more[0] | more[1] | more[2] | more[3]) & 0x8080808080808080u)); p += 32)
			;
		for (; end - p >= 8 && (memcpy(&eight, p, 8), !(eight & 0x8080808080808080u)); p += 8)
			;
		if (p == end)
			break;
		size_t n = utf8_sequence(p, (size_t)(end - p));
		if (!n)
			return false;
		p += n;
	}
	return true;
}

/* How many bytes of a character that is not whole a text ends with. */
static size_t torn_bytes(const char *bytes, size_t len)
{
	for (size_t n = 1; n <= 3 && n <= len; n++) {
		const unsigned char c = (unsigned char)bytes[len - n];
		if (c >= 0xc0)
			return n < (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u) ? n : 0;
		if (c < 0x80)
			return 0;
	}
	return 0;
}

bool text_feed_utf8(struct text_torn *torn, const char *bytes, size_t len)
{
	while (torn->len && len) {
		if (torn->len == sizeof torn->bytes)
			return false;
		torn->bytes[torn->len++] = *bytes++;
		len--;
		if (!torn_bytes(torn->bytes, torn->len)) {
			if (!text_is_utf8(torn->bytes, torn->len))
				return false;
			torn->len = 0;
		}
	}
	const size_t n = torn->len ? 0 : torn_bytes(bytes, len);
	memcpy(torn->bytes, bytes + len - n, n);
	torn->len += n;
	return text_is_utf8(bytes, len - n);
}

char *text_printable(const char *bytes, size_t len)
{
	struct buf b = BUF_INIT;
	const unsigned char *p = (const unsigned char *)bytes, *end = p + len;
	while (p < end) {
		size_t n = utf8_sequence(p, (size_t)(end - p));
		if (n == 0 || *p < 0x20 || *p == 0x7f) {
			buf_addf(&b, "\\x%02x", *p);
			p++;
		} else {
			buf_add(&b, p, n);
			p += n;
		}
	}
	return buf_take(&b);
}

/* Bytes of a control character, or of one that overrides the direction of text; 0: it is none. */
static size_t arms(const unsigned char *p, size_t len)
{
	if ((*p < 0x20 && *p != '\n' && *p != '\t') || *p == 0x7f)
		return 1;
	if (len >= 2 && p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f) /* U+0080 to U+009F */
		return 2;
	const bool turns = len >= 3 && p[0] == 0xe2 && ((p[1] == 0x80 && p[2] >= 0xaa && p[2] <= 0xae) || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));
	return turns ? 3 : 0; /* U+202A to U+202E, U+2066 to U+2069 */
}

void text_disarm(char *text, size_t len)
{
	for (size_t i = 0, n; i < len; i += n ? n : 1) {
		n = arms((const unsigned char *)text + i, len - i);
		memset(text + i, '?', n);
	}
}
