#include "catalog/cell.h"

#include "catalog/base/clock.h"

#include <math.h>
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
