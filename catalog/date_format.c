#include "catalog/date_format.h"

#include "catalog/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PARTS_MAX 64u

struct part {
	char letter; /* 0: `literal` stands there */
	char literal;
	unsigned width;
};

struct date_format {
	struct part parts[PARTS_MAX];
	size_t count;
};

/* -- compiling ----------------------------------------------------------------------------- */

static bool add(struct date_format *f, char letter, char literal, unsigned width)
{
	if (f->count == PARTS_MAX)
		return false;
	f->parts[f->count++] = (struct part){ letter, literal, width };
	return true;
}

/* A text in quotes; '' is a quote, inside and outside.  NULL: too long. */
static const char *add_quoted(struct date_format *f, const char *p)
{
	if (p[1] == '\'')
		return add(f, 0, '\'', 0) ? p + 2 : NULL;
	for (p++; *p && (*p != '\'' || p[1] == '\''); p++) {
		p += *p == '\'';
		if (!add(f, 0, *p, 0))
			return NULL;
	}
	return *p ? p + 1 : p;
}

static const char *add_part(struct date_format *f, const char *p)
{
	if (*p == '\'')
		return add_quoted(f, p);
	if (!isalpha((unsigned char)*p) || *p == 'T') {
		return !strchr("[]{}#", *p) && add(f, 0, *p, 0) ? p + 1 : NULL;
	}
	unsigned width = 1;
	while (p[width] == *p)
		width++;
	return strchr("yuMdHhmsSaEXxZ", *p) && width <= 9 && add(f, *p, 0, width) ? p + width : NULL;
}

int date_format_new(const char *text, struct date_format **ret)
{
	struct date_format *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	while (text && *text)
		text = add_part(f, text);
	if (!text) {
		free(f);
		return -EOPNOTSUPP;
	}
	*ret = f;
	return 0;
}

void date_format_free(struct date_format *f)
{
	free(f);
}

/* -- reading ----------------------------------------------------------------------------------- */

struct reading {
	const char *p, *end;
	int year, month, day, hour, minute, second, offset_s;
	bool twelve, afternoon;
	int64_t fraction_ns;
};

static bool digits(struct reading *r, unsigned least, unsigned most, int *ret)
{
	int v = 0;
	unsigned n = 0;
	for (; r->p < r->end && n < most && isdigit((unsigned char)*r->p); n++)
		v = v * 10 + (*r->p++ - '0');
	*ret = v;
	return n >= least;
}

/* One of some names, whole or their first three letters, in any case; the number of it from 1. */
static bool name(struct reading *r, const char *const *names, size_t count, bool whole, int *ret)
{
	for (size_t i = 0; i < count; i++) {
		const size_t len = whole ? strlen(names[i]) : 3;
		if ((size_t)(r->end - r->p) < len || strncasecmp(r->p, names[i], len) != 0)
			continue;
		r->p += len;
		*ret = (int)i + 1;
		return true;
	}
	return false;
}

static const char *const months[] = { "January", "February", "March",	  "April",   "May",	 "June",
				      "July",	 "August",   "September", "October", "November", "December" };
static const char *const days[] = { "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday" };

static bool read_year(struct reading *r, unsigned width)
{
	if (width != 2)
		return digits(r, width == 1 ? 1 : width, width == 1 ? 4 : width, &r->year);
	if (!digits(r, 2, 2, &r->year))
		return false;
	r->year += 2000;
	return true;
}

static bool read_month(struct reading *r, unsigned width)
{
	return width >= 3 ? name(r, months, 12, width > 3, &r->month) : digits(r, width, 2, &r->month);
}

static bool read_half(struct reading *r)
{
	if (r->end - r->p < 2 || tolower((unsigned char)r->p[1]) != 'm' || !strchr("aApP", *r->p))
		return false;
	r->afternoon = tolower((unsigned char)*r->p) == 'p';
	r->p += 2;
	return true;
}

static bool read_fraction(struct reading *r, unsigned width)
{
	int v;
	if (!digits(r, width, width, &v))
		return false;
	r->fraction_ns = v;
	for (unsigned i = width; i < 9; i++)
		r->fraction_ns *= 10;
	return true;
}

/* Z, +hh, +hhmm or +hh:mm, whichever the letter: they say the same. */
static bool read_zone(struct reading *r)
{
	int hours, minutes = 0;
	if (r->p < r->end && (*r->p == 'Z' || *r->p == 'z')) {
		r->p++;
		return true;
	}
	if (r->p == r->end || (*r->p != '+' && *r->p != '-'))
		return false;
	const int sign = *r->p++ == '-' ? -1 : 1;
	if (!digits(r, 2, 2, &hours))
		return false;
	const bool colon = r->p < r->end && *r->p == ':';
	r->p += colon;
	if ((colon || (r->p < r->end && isdigit((unsigned char)*r->p))) && !digits(r, 2, 2, &minutes))
		return false;
	r->offset_s = sign * (hours * 3600 + minutes * 60);
	return hours <= 18 && minutes < 60;
}

static bool read_part(struct reading *r, const struct part *part)
{
	int ignored;
	switch (part->letter) {
	case 0:
		return r->p < r->end && *r->p++ == part->literal;
	case 'y':
	case 'u':
		return read_year(r, part->width);
	case 'M':
		return read_month(r, part->width);
	case 'd':
		return digits(r, part->width, 2, &r->day);
	case 'H':
		return digits(r, part->width, 2, &r->hour);
	case 'h':
		r->twelve = true;
		return digits(r, part->width, 2, &r->hour) && r->hour >= 1 && r->hour <= 12;
	case 'm':
		return digits(r, part->width, 2, &r->minute);
	case 's':
		return digits(r, part->width, 2, &r->second);
	case 'S':
		return read_fraction(r, part->width);
	case 'a':
		return read_half(r);
	case 'E':
		return name(r, days, 7, part->width > 3, &ignored);
	default:
		return read_zone(r);
	}
}

bool date_format_read(const struct date_format *f, const char *text, size_t len, int64_t *ret_ns)
{
	struct reading r = { .p = text, .end = text + len, .year = 1970, .month = 1, .day = 1 };
	for (size_t i = 0; i < f->count; i++)
		if (!read_part(&r, &f->parts[i]))
			return false;
	if (r.twelve)
		r.hour = r.hour % 12 + (r.afternoon ? 12 : 0);
	if (r.p != r.end || r.hour > 23 || r.minute > 59 || r.second > 60)
		return false;
	char day[24];
	int64_t s, ns;
	const int n = snprintf(day, sizeof day, "%04d-%02d-%02d", r.year, r.month, r.day);
	if (clock_parse_seconds(day, (size_t)n, &s, &ns))
		return false;
	*ret_ns = clock_clamp(s + r.hour * 3600 + r.minute * 60 + r.second - r.offset_s, r.fraction_ns);
	return true;
}
