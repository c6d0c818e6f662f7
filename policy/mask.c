#include "policy/mask.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "policy/key.h"
#include "policy/scrub.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECIMAL_DIGITS_MAX 36
#define DECIMAL_EXPONENT_MAX 60

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The digits on both sides of the point.  Moves *p; false when there is no digit or there are too many. */
static bool parse_digits(const char **p, const char *end, struct decimal *d)
{
	int significant = 0, seen = 0;
	bool point = false;
	for (; *p < end && (is_digit(**p) || (**p == '.' && !point)); (*p)++) {
		if (**p == '.') {
			point = true;
			continue;
		}
		seen++;
		if (significant || **p != '0')
			significant++;
		if (significant > DECIMAL_DIGITS_MAX)
			return false;
		d->digits = d->digits * 10 + (unsigned)(**p - '0');
		d->exponent -= point;
	}
	return seen > 0;
}

/* No zeros at the end of a fraction, and one zero only. */
static void normalise(struct decimal *d)
{
	while (d->digits && d->digits % 10 == 0 && d->exponent < 0) {
		d->digits /= 10;
		d->exponent++;
	}
	if (!d->digits)
		*d = (struct decimal){ false, 0, 0 };
}

bool decimal_parse(const char *text, size_t len, struct decimal *ret)
{
	struct decimal d = { false, 0, 0 };
	const char *p = text, *end = text + len;
	if (p < end && (*p == '-' || *p == '+'))
		d.negative = *p++ == '-';
	if (!parse_digits(&p, end, &d))
		return false;
	if (p < end && (*p == 'e' || *p == 'E')) {
		int sign = 1, exponent = 0;
		p++;
		if (p < end && (*p == '-' || *p == '+'))
			sign = *p++ == '-' ? -1 : 1;
		if (p == end)
			return false;
		for (; p < end && is_digit(*p); p++)
			if ((exponent = exponent * 10 + (*p - '0')) > 10000)
				return false;
		d.exponent += sign * exponent;
	}
	if (p != end || d.exponent > DECIMAL_EXPONENT_MAX || d.exponent < -DECIMAL_EXPONENT_MAX)
		return false;
	normalise(&d);
	*ret = d;
	return true;
}

static void decimal_print(const struct decimal *d, struct buf *ret)
{
	char text[DECIMAL_DIGITS_MAX + 2 * DECIMAL_EXPONENT_MAX + 8], *end = text + sizeof text, *p = end;
	unsigned __int128 v = d->digits;
	if (d->exponent > 0 && v)
		for (int i = 0; i < d->exponent; i++)
			*--p = '0';
	int left = d->exponent < 0 ? -d->exponent : 0;
	do {
		*--p = (char)('0' + (int)(v % 10));
		v /= 10;
		if (left && !--left)
			*--p = '.';
	} while (v || left);
	if (*p == '.')
		*--p = '0';
	if (d->negative && d->digits)
		*--p = '-';
	buf_add(ret, p, (size_t)(end - p));
}

/* digits * 10^by, or false when it does not fit. */
static bool scale(unsigned __int128 *digits, int by)
{
	const unsigned __int128 limit = ~(unsigned __int128)0 / 40;
	for (; by > 0 && *digits; by--) {
		if (*digits > limit)
			return false;
		*digits *= 10;
	}
	return true;
}

/* Both with the smaller exponent. */
static bool align(struct decimal *a, struct decimal *b)
{
	int exponent = a->exponent < b->exponent ? a->exponent : b->exponent;
	if (!scale(&a->digits, a->exponent - exponent) || !scale(&b->digits, b->exponent - exponent))
		return false;
	a->exponent = b->exponent = exponent;
	return true;
}

/* To the nearest multiple of the step; half goes away from zero. */
static bool mask_round(const struct mask_run *m, const char *text, size_t len, struct buf *ret)
{
	struct decimal v, step = m->number;
	if (!m->number_ok || !step.digits || !decimal_parse(text, len, &v) || !align(&v, &step))
		return false;
	unsigned __int128 count = v.digits / step.digits, rest = v.digits % step.digits;
	count += rest >= step.digits - rest;
	if (count && m->number.digits > ~(unsigned __int128)0 / count)
		return false;
	struct decimal rounded = { v.negative, count * m->number.digits, m->number.exponent };
	normalise(&rounded);
	decimal_print(&rounded, ret);
	return true;
}

static bool mask_top(const struct mask_run *m, const char *text, size_t len, struct buf *ret)
{
	struct decimal v, top = m->number;
	if (!m->number_ok || !decimal_parse(text, len, &v))
		return false;
	bool above;
	if (v.negative != top.negative) {
		above = top.negative;
	} else {
		if (!align(&v, &top))
			return false;
		above = v.negative ? v.digits < top.digits : v.digits > top.digits;
	}
	if (above)
		decimal_print(&m->number, ret);
	else
		buf_add(ret, text, len);
	return true;
}

/* "2024-05-17T10:11:12.5+02:00" to "2024-01-01T00:00:00.0+02:00" (or "2024-05-01T…"). */
static bool mask_date(bool keep_month, const char *text, size_t len, struct buf *ret)
{
	char copy[CLOCK_TEXT_MAX + 1];
	int64_t when;
	if (len < 10 || len > CLOCK_TEXT_MAX || memchr(text, 0, len))
		return false;
	memcpy(copy, text, len);
	copy[len] = 0;
	if (clock_parse(copy, &when) != 0)
		return false;
	if (!keep_month)
		memcpy(copy + 5, "01", 2);
	memcpy(copy + 8, "01", 2);
	for (size_t i = 10; i < len && copy[i] != '+' && copy[i] != '-'; i++)
		if (is_digit(copy[i]))
			copy[i] = '0';
	buf_add(ret, copy, len);
	return true;
}

bool mask_zip3_is_small(const char area[3])
{
	static const char small[][4] = { "036", "059", "063", "102", "203", "556", "692", "790", "821",
					 "823", "830", "831", "878", "879", "884", "890", "893" };
	for (size_t i = 0; i < sizeof small / sizeof *small; i++)
		if (memcmp(area, small[i], 3) == 0)
			return true;
	return false;
}

/* Five digits, nine, or five and four with a hyphen.  A shorter number may have lost its leading zeros, and its first three
 * digits would then tell more than the area. */
static bool mask_zip3(const char *text, size_t len, struct buf *ret)
{
	if (len != 5 && len != 9 && len != 10)
		return false;
	for (size_t i = 0; i < len; i++)
		if (len == 10 && i == 5 ? text[i] != '-' : !is_digit(text[i]))
			return false;
	buf_add(ret, mask_zip3_is_small(text) ? "000" : text, 3);
	return true;
}

static bool is_ascii(const char *text, size_t len)
{
	uint64_t any = 0, eight;
	size_t i = 0;
	for (; len - i >= 8; i += 8) {
		memcpy(&eight, text + i, 8);
		any |= eight;
	}
	for (; i < len; i++)
		any |= (unsigned char)text[i];
	return !(any & 0x8080808080808080u);
}

/* Where each next character starts: UTF-8 when the whole text is, else bytes. */
static size_t count_characters(const char *text, size_t len, bool utf8)
{
	size_t n = utf8 ? 0 : len;
	for (size_t i = 0; utf8 && i < len; i++)
		n += ((unsigned char)text[i] & 0xC0) != 0x80;
	return n;
}

static void add_stars(size_t n, struct buf *ret)
{
	char *p = buf_reserve(ret, n);
	if (!p)
		return;
	memset(p, '*', n);
	buf_commit(ret, n);
}

/* N characters stay, a star stands for each other; a text of N characters or fewer would stay whole, so none of it does. */
static void mask_partial(const struct mask *m, const char *text, size_t len, struct buf *ret)
{
	bool utf8 = !is_ascii(text, len) && text_is_utf8(text, len);
	size_t n = count_characters(text, len, utf8);
	size_t keep = m->number > 0 ? (m->number < 1e9 ? (size_t)m->number : 1000000000) : 0;
	if (n <= keep) {
		add_stars(n, ret);
		return;
	}
	size_t skip = m->last ? n - keep : keep, at = 0;
	for (; skip && at < len; skip--)
		for (at++; utf8 && at < len && ((unsigned char)text[at] & 0xC0) == 0x80; at++)
			;
	if (m->last) {
		add_stars(n - keep, ret);
		buf_add(ret, text + at, len - at);
	} else {
		buf_add(ret, text, at);
		add_stars(n - keep, ret);
	}
}

static void mask_hmac(const struct mask_run *m, const char *text, size_t len, struct buf *ret)
{
	static const char hex[16] = "0123456789abcdef";
	struct digest d;
	hmac_key_sign(m->key, text, len, &d);
	char *p = buf_reserve(ret, MASK_HMAC_SIZE);
	if (!p)
		return;
	for (size_t i = 0; i < MASK_HMAC_SIZE / 2; i++) {
		p[2 * i] = hex[d.bytes[i] >> 4];
		p[2 * i + 1] = hex[d.bytes[i] & 15];
	}
	buf_commit(ret, MASK_HMAC_SIZE);
}

/* Numbers, dates and areas may stand between spaces, as they may for a filter. */
static void trim(const char **text, size_t *len)
{
	while (*len && (**text == ' ' || **text == '\t'))
		(*text)++, (*len)--;
	while (*len && ((*text)[*len - 1] == ' ' || (*text)[*len - 1] == '\t'))
		(*len)--;
}

bool mask_value(const struct mask_run *m, const char *text, size_t len, struct buf *ret)
{
	if (m->mask.kind >= MASK_YEAR && m->mask.kind <= MASK_TOP)
		trim(&text, &len);
	switch (m->mask.kind) {
	case MASK_REDACT:
		if (m->mask.keep_length)
			add_stars(count_characters(text, len, !is_ascii(text, len) && text_is_utf8(text, len)), ret);
		else
			buf_add(ret, MASK_REDACTED, strlen(MASK_REDACTED));
		return true;
	case MASK_HMAC:
		mask_hmac(m, text, len, ret);
		return true;
	case MASK_YEAR:
		return mask_date(false, text, len, ret);
	case MASK_MONTH:
		return mask_date(true, text, len, ret);
	case MASK_ZIP3:
		return mask_zip3(text, len, ret);
	case MASK_ROUND:
		return mask_round(m, text, len, ret);
	case MASK_TOP:
		return mask_top(m, text, len, ret);
	case MASK_SCRUB:
		scrub_text(m->mask.entities, text, len, ret);
		return true;
	case MASK_PARTIAL:
		mask_partial(&m->mask, text, len, ret);
		return true;
	case MASK_KEEP:
		buf_add(ret, text, len);
		return true;
	case MASK_DROP:
	case MASK_NULL:
		break;
	}
	return false; /* and for a kind that this code does not know */
}

bool mask_keeps_number(const struct mask_run *m)
{
	return m->mask.kind == MASK_ROUND || m->mask.kind == MASK_TOP || m->mask.kind == MASK_KEEP;
}

/* The shortest decimal that reads back as the same double: what the rule's author wrote. */
static bool decimal_of_double(double number, struct decimal *ret)
{
	char text[40];
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*e", digits - 1, number);
		if (strtod(text, NULL) == number)
			return decimal_parse(text, strlen(text), ret);
	}
	return false;
}

static int load_key(const struct mask *m, const struct view_keys *keys, struct mask_run *ret, struct err *e)
{
	unsigned char key[POLICY_KEY_SIZE], fingerprint[sizeof m->key_fingerprint];
	if (!keys || !keys->get)
		return err_set(e, -EACCES, "the key %s of an hmac mask is not at hand", m->key);
	int r = keys->get(keys->arg, m->key, key, e);
	if (r != 0) {
		err_prefix(e, r, "key %s", m->key);
		return -EACCES;
	}
	policy_key_fingerprint_of(key, fingerprint);
	if (memcmp(fingerprint, m->key_fingerprint, sizeof fingerprint) != 0) { /* the view's name would promise other bytes */
		explicit_bzero(key, sizeof key);
		return err_set(e, -EACCES, "the key %s is not the one that the policy was loaded with", m->key);
	}
	ret->key = hmac_key_new(key, sizeof key);
	explicit_bzero(key, sizeof key);
	return ret->key ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int mask_prepare(const struct mask *m, const struct view_keys *keys, struct mask_run *ret, struct err *e)
{
	struct mask_run run = { *m, NULL, { false, 0, 0 }, false };
	if (m->kind == MASK_ROUND || m->kind == MASK_TOP)
		run.number_ok = decimal_of_double(m->number, &run.number);
	if (m->kind == MASK_HMAC) {
		int r = load_key(m, keys, &run, e);
		if (r != 0)
			return r;
	}
	*ret = run;
	return 0;
}

void mask_fini(struct mask_run *m)
{
	hmac_key_free(m->key);
	m->key = NULL;
}
