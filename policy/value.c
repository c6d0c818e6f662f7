#include "policy/value.h"

#include <string.h>

#define NUMBER_EXACT_DIGITS 18 /* any integer of so many digits fits an int64 */
#define EXPONENT_MAX 1000000   /* beyond it a number is no number: nothing real is meant */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A decimal taken apart: ± 0.d1d2d3… × 10^point, first and last digit not zero; count 0 is zero. */
struct decimal {
	bool negative;
	const char *digits; /* may contain one '.', to be skipped */
	size_t span;        /* bytes that `digits` spans */
	long point;
};

/* The grammar is the caller's: `text` is known to be a number. */
static void decimal_open(const char *text, size_t len, struct decimal *ret)
{
	size_t i = 0, end = len;
	long exponent = 0;
	ret->negative = text[0] == '-';
	if (text[0] == '-' || text[0] == '+')
		i++;
	for (size_t k = i; k < len; k++) {
		if (text[k] != 'e' && text[k] != 'E')
			continue;
		end = k++;
		bool minus = text[k] == '-';
		if (text[k] == '-' || text[k] == '+')
			k++;
		for (; k < len; k++)
			exponent = exponent * 10 + (text[k] - '0');
		if (minus)
			exponent = -exponent;
		break;
	}
	const char *dot = memchr(text + i, '.', end - i);
	long whole = dot ? dot - (text + i) : (long)(end - i);
	while (i < end && (text[i] == '0' || text[i] == '.')) {
		if (text[i] == '0')
			whole--;
		i++;
	}
	/* Past the dot, `whole` counts what is before the first digit that is not zero. */
	while (end > i && (text[end - 1] == '0' || text[end - 1] == '.'))
		end--;
	ret->digits = text + i;
	ret->span = end - i;
	ret->point = whole + exponent;
	if (!ret->span)
		ret->negative = false;
}

static int decimal_compare_digits(const struct decimal *a, const struct decimal *b)
{
	size_t i = 0, k = 0;
	for (;;) {
		if (i < a->span && a->digits[i] == '.')
			i++;
		if (k < b->span && b->digits[k] == '.')
			k++;
		if (i == a->span || k == b->span)
			return i < a->span ? 1 : k < b->span ? -1 : 0;
		if (a->digits[i] != b->digits[k])
			return a->digits[i] < b->digits[k] ? -1 : 1;
		i++;
		k++;
	}
}

static int decimal_compare(const struct row_value *a, const struct row_value *b)
{
	struct decimal x, y;
	decimal_open(a->text, a->len, &x);
	decimal_open(b->text, b->len, &y);
	if (!x.span || !y.span)
		return x.span ? (x.negative ? -1 : 1) : y.span ? (y.negative ? 1 : -1) : 0;
	if (x.negative != y.negative)
		return x.negative ? -1 : 1;
	int order = x.point != y.point ? (x.point < y.point ? -1 : 1) : decimal_compare_digits(&x, &y);
	return x.negative ? -order : order;
}

bool value_parse_number(const char *text, size_t len, struct row_value *ret)
{
	size_t i = 0, digits = 0;
	uint64_t v = 0;
	bool integer = true;
	if (len && (text[0] == '-' || text[0] == '+'))
		i++;
	for (; i < len && is_digit(text[i]); i++, digits++)
		v = v * 10 + (uint64_t)(text[i] - '0');
	size_t whole = digits;
	if (i < len && text[i] == '.') {
		integer = false;
		for (i++; i < len && is_digit(text[i]); i++)
			digits++;
	}
	if (!digits)
		return false;
	if (i < len && (text[i] == 'e' || text[i] == 'E')) {
		long exponent = 0;
		integer = false;
		if (++i < len && (text[i] == '-' || text[i] == '+'))
			i++;
		if (i == len)
			return false;
		for (; i < len && is_digit(text[i]); i++)
			if ((exponent = exponent * 10 + (text[i] - '0')) > EXPONENT_MAX)
				return false;
	}
	if (i != len)
		return false;
	*ret = (struct row_value){ .kind = VALUE_NUMBER, .text = text, .len = len };
	if (integer && whole <= NUMBER_EXACT_DIGITS) {
		ret->exact = true;
		ret->integer = text[0] == '-' ? -(int64_t)v : (int64_t)v;
	}
	return true;
}

/* Exactly `n` digits. */
static bool read_digits(const char **p, const char *end, int n, int *ret)
{
	int v = 0;
	if (end - *p < n)
		return false;
	for (int i = 0; i < n; i++) {
		if (!is_digit((*p)[i]))
			return false;
		v = v * 10 + ((*p)[i] - '0');
	}
	*p += n;
	*ret = v;
	return true;
}

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar; the year starts in March, so that leap days come last. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
	int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool read_clock(const char **p, const char *end, int64_t *ret_s, int32_t *ret_nanos)
{
	int h, m, s = 0, nanos = 0, scale = 100000000;
	if (!read_digits(p, end, 2, &h) || *p == end || **p != ':')
		return false;
	(*p)++;
	if (!read_digits(p, end, 2, &m))
		return false;
	if (*p < end && **p == ':') {
		(*p)++;
		if (!read_digits(p, end, 2, &s))
			return false;
		if (*p < end && **p == '.') {
			(*p)++;
			if (*p == end || !is_digit(**p))
				return false;
			for (; *p < end && is_digit(**p); (*p)++, scale /= 10)
				nanos += (**p - '0') * scale;
		}
	}
	if (h > 23 || m > 59 || s > 60)
		return false;
	*ret_s = (h * 60 + m) * 60 + s;
	*ret_nanos = nanos;
	return true;
}

static bool read_zone(const char **p, const char *end, int64_t *ret_s)
{
	int h, m = 0, sign;
	*ret_s = 0;
	if (*p == end)
		return true;
	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		return true;
	}
	if (**p != '+' && **p != '-')
		return false;
	sign = **p == '-' ? -1 : 1;
	(*p)++;
	if (!read_digits(p, end, 2, &h))
		return false;
	if (*p < end && **p == ':')
		(*p)++;
	if (*p < end && !read_digits(p, end, 2, &m))
		return false;
	*ret_s = sign * (h * 60 + m) * 60;
	return h <= 23 && m <= 59;
}

bool value_parse_time(const char *text, size_t len, struct row_value *ret)
{
	static const int month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const char *p = text, *end = text + len;
	int year, month, day;
	int64_t seconds = 0, zone = 0;
	int32_t nanos = 0;
	if (!read_digits(&p, end, 4, &year) || p == end || *p++ != '-' || !read_digits(&p, end, 2, &month) || p == end ||
	    *p++ != '-' || !read_digits(&p, end, 2, &day))
		return false;
	if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1])
		return false;
	if (month == 2 && day == 29 && (year % 4 || (year % 100 == 0 && year % 400)))
		return false;
	if (p < end) {
		if (*p != 'T' && *p != 't' && *p != ' ')
			return false;
		p++;
		if (!read_clock(&p, end, &seconds, &nanos) || !read_zone(&p, end, &zone) || p != end)
			return false;
	}
	*ret = (struct row_value){ .kind = VALUE_TIME, .nanos = nanos, .text = text, .len = len };
	ret->integer = days_of(year, month, day) * 86400 + seconds - zone;
	return true;
}

static bool parse_bool(const char *text, size_t len, struct row_value *ret)
{
	bool yes = len == 4 && (!memcmp(text, "true", 4) || !memcmp(text, "True", 4) || !memcmp(text, "TRUE", 4));
	bool no = len == 5 && (!memcmp(text, "false", 5) || !memcmp(text, "False", 5) || !memcmp(text, "FALSE", 5));
	*ret = (struct row_value){ .kind = VALUE_BOOL, .truth = yes, .text = text, .len = len };
	return yes || no;
}

static bool parse_clock(const char *text, size_t len, struct row_value *ret)
{
	const char *p = text;
	*ret = (struct row_value){ .kind = VALUE_TIME, .text = text, .len = len };
	return read_clock(&p, text + len, &ret->integer, &ret->nanos) && p == text + len;
}

void row_value_parse(enum logical_type type, const char *text, size_t len, struct row_value *ret)
{
	if (type == TYPE_STRING || type == TYPE_NONE) {
		*ret = (struct row_value){ .kind = VALUE_TEXT, .text = text, .len = len };
		return;
	}
	while (len && (*text == ' ' || *text == '\t')) {
		text++;
		len--;
	}
	while (len && (text[len - 1] == ' ' || text[len - 1] == '\t'))
		len--;
	bool ok = false;
	if (!len) {
		*ret = (struct row_value){ .kind = VALUE_NULL };
		return;
	}
	switch (type) {
	case TYPE_NUMBER:
	case TYPE_INTEGER:
		ok = value_parse_number(text, len, ret);
		break;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
		ok = value_parse_time(text, len, ret);
		break;
	case TYPE_TIME:
		ok = parse_clock(text, len, ret);
		break;
	case TYPE_BOOLEAN:
		ok = parse_bool(text, len, ret);
		break;
	default:
		break;
	}
	if (!ok)
		*ret = (struct row_value){ .kind = VALUE_INVALID };
}

bool value_compare(const struct row_value *a, const struct row_value *b, int *ret_order)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case VALUE_TEXT: {
		size_t n = a->len < b->len ? a->len : b->len;
		int order = n ? memcmp(a->text, b->text, n) : 0;
		*ret_order = order ? order : a->len < b->len ? -1 : a->len > b->len;
		return true;
	}
	case VALUE_NUMBER:
		if (a->exact && b->exact)
			*ret_order = a->integer < b->integer ? -1 : a->integer > b->integer;
		else
			*ret_order = decimal_compare(a, b);
		return true;
	case VALUE_BOOL:
		*ret_order = (int)a->truth - (int)b->truth;
		return true;
	case VALUE_TIME:
		if (a->integer != b->integer)
			*ret_order = a->integer < b->integer ? -1 : 1;
		else
			*ret_order = a->nanos < b->nanos ? -1 : a->nanos > b->nanos;
		return true;
	default:
		return false;
	}
}

bool value_like(const char *glob, size_t glob_len, const char *text, size_t len)
{
	size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;
	while (t < len) {
		if (g < glob_len && glob[g] == '*') {
			star = ++g;
			mark = t;
		} else if (g < glob_len && (glob[g] == '?' || glob[g] == text[t])) {
			bool character = glob[g++] == '?';
			for (t++; character && t < len && ((unsigned char)text[t] & 0xC0) == 0x80; t++)
				;
		} else if (star != SIZE_MAX) {
			g = star;
			t = ++mark;
		} else {
			return false;
		}
	}
	while (g < glob_len && glob[g] == '*')
		g++;
	return g == glob_len;
}
