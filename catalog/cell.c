#include "catalog/cell.h"

#include "catalog/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER_BYTES_MAX 400

static size_t digits(const char *t, size_t n, size_t from)
{
	size_t i = from;
	while (i < n && t[i] >= '0' && t[i] <= '9')
		i++;
	return i - from;
}

/* Sets *ret_integer when there is neither point nor exponent. */
static bool number_shape(const char *t, size_t n, bool *ret_integer)
{
	size_t i = n && (*t == '-' || *t == '+'), count = digits(t, n, i);
	i += count;
	*ret_integer = count && i == n;
	if (i < n && t[i] == '.') {
		const size_t fraction = digits(t, n, i + 1);
		i += 1 + fraction;
		count += fraction;
	}
	if (!count)
		return false;
	if (i < n && (t[i] == 'e' || t[i] == 'E')) {
		i++;
		i += i < n && (t[i] == '-' || t[i] == '+');
		count = digits(t, n, i);
		if (!count)
			return false;
		i += count;
	}
	return i == n;
}

/* A decimal of up to 15 digits and 10^22 is exact in a double, and so is their quotient as the nearest one: most numbers need no strtod. */
static bool short_number(struct cell *v)
{
	static const double powers[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15 };
	const char *t = v->text;
	const size_t n = v->len, first = *t == '-';
	size_t i = first, point = 0;
	uint64_t sum = 0;
	if (n > 16 || i == n)
		return false;
	for (; i < n && t[i] >= '0' && t[i] <= '9'; i++)
		sum = sum * 10 + (uint64_t)(t[i] - '0');
	if (i < n && t[i] == '.' && i > first)
		for (point = ++i; i < n && t[i] >= '0' && t[i] <= '9'; i++)
			sum = sum * 10 + (uint64_t)(t[i] - '0');
	if (i < n || sum > 999999999999999)
		return false;
	const double size = point ? (double)sum / powers[n - point] : (double)sum;
	v->number = first ? -size : size;
	v->is_number = v->has_number = true;
	v->is_integer = !point;
	return true;
}

static void know_number(struct cell *v)
{
	char copy[NUMBER_BYTES_MAX];
	v->number_known = true;
	v->is_number = v->is_integer = v->has_number = false;
	if (!v->len || short_number(v))
		return;
	v->is_number = number_shape(v->text, v->len, &v->is_integer);
	if (!v->is_number || v->len >= sizeof copy)
		return;
	memcpy(copy, v->text, v->len);
	copy[v->len] = '\0';
	v->number = strtod(copy, NULL);
	v->has_number = isfinite(v->number);
}

bool cell_is_number(struct cell *v)
{
	if (!v->number_known)
		know_number(v);
	return v->is_number;
}

bool cell_is_integer(struct cell *v)
{
	if (!v->number_known)
		know_number(v);
	return v->is_integer;
}

bool cell_number(struct cell *v, double *ret)
{
	if (!v->number_known)
		know_number(v);
	*ret = v->number;
	return v->has_number;
}

bool cell_moment(struct cell *v, int64_t *ret_ns)
{
	if (!v->moment_known) {
		v->moment_known = true;
		v->has_moment = clock_parse_text(v->text, v->len, &v->moment_ns) == 0;
	}
	*ret_ns = v->moment_ns;
	return v->has_moment;
}

/* -- one way to write a number ------------------------------------------------------------------ */

#define DIGITS_MAX 120 /* of a number that is written anew */
#define ZEROS_MAX 40   /* that are written out; beyond them an exponent stands */

/* [-]digits[.digits], without zeros that say nothing. */
static bool is_plain(const char *t, size_t n)
{
	const size_t sign = n && *t == '-', whole = digits(t, n, sign);
	if (!whole || (t[sign] == '0' && whole > 1))
		return false;
	if (sign + whole == n)
		return !(sign && t[sign] == '0');
	return t[sign + whole] == '.' && sign + whole + 1 + digits(t, n, sign + whole + 1) == n && n > sign + whole + 1 && t[n - 1] != '0';
}

/* The number is `digits` times ten to the power of `exponent`. */
struct parts {
	char digits[DIGITS_MAX];
	size_t count;
	long exponent;
};

static bool take_apart(const char *t, size_t n, struct parts *ret)
{
	bool fraction = false;
	size_t i = *t == '-' || *t == '+';
	*ret = (struct parts){ .count = 0 };
	for (; i < n && t[i] != 'e' && t[i] != 'E'; i++) {
		if (t[i] == '.') {
			fraction = true;
			continue;
		}
		ret->exponent -= fraction;
		if (!ret->count && t[i] == '0')
			continue;
		if (ret->count == DIGITS_MAX)
			return false;
		ret->digits[ret->count++] = t[i];
	}
	if (i < n)
		ret->exponent += strtol(t + i + 1, NULL, 10);
	while (ret->count && ret->digits[ret->count - 1] == '0') {
		ret->count--;
		ret->exponent++;
	}
	return true;
}

/* The digits, then `zeros` zeros. */
static size_t put(char *to, const char *from, size_t count, size_t zeros)
{
	memcpy(to, from, count);
	memset(to + count, '0', zeros);
	return count + zeros;
}

static size_t put_together(const struct parts *p, char *to)
{
	const long count = (long)p->count, point = count + p->exponent; /* digits before the point */
	size_t n = 0;
	if (!count)
		return put(to, "0", 1, 0);
	if (p->exponent >= 0 && p->exponent <= ZEROS_MAX)
		return put(to, p->digits, p->count, (size_t)p->exponent);
	if (p->exponent < 0 && point > 0) {
		n = put(to, p->digits, (size_t)point, 0);
		to[n++] = '.';
		return n + put(to + n, p->digits + point, (size_t)(count - point), 0);
	}
	if (p->exponent < 0 && point >= -ZEROS_MAX) {
		n = put(to, "0.", 2, (size_t)-point);
		return n + put(to + n, p->digits, p->count, 0);
	}
	n = put(to, p->digits, p->count, 0);
	return n + (size_t)sprintf(to + n, "e%ld", p->exponent);
}

size_t cell_plain_number(const struct cell *v, char room[CELL_NUMBER_MAX])
{
	char copy[NUMBER_BYTES_MAX];
	struct parts p;
	bool integer;
	if (is_plain(v->text, v->len) || !v->len || v->len >= sizeof copy || !number_shape(v->text, v->len, &integer))
		return 0;
	memcpy(copy, v->text, v->len);
	copy[v->len] = '\0'; /* for strtol */
	if (!take_apart(copy, v->len, &p))
		return 0;
	size_t n = 0;
	if (*v->text == '-' && p.count)
		room[n++] = '-';
	return n + put_together(&p, room + n);
}
