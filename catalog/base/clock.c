#include "catalog/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;
	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_now_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
	return read_clock(CLOCK_MONOTONIC) / 1000000;
}

static void split_ns(int64_t when_ns, time_t *ret_s, long *ret_ns)
{
	int64_t s = when_ns / NS_PER_S, ns = when_ns % NS_PER_S;
	if (ns < 0) {
		ns += NS_PER_S;
		s--;
	}
	*ret_s = (time_t)s;
	*ret_ns = (long)ns;
}

static void format(time_t s, long ns, char ret_text[CLOCK_TEXT_MAX])
{
	struct tm tm;
	gmtime_r(&s, &tm);
	char day[16];
	strftime(day, sizeof day, "%m-%dT%H:%M:%S", &tm);
	snprintf(ret_text, CLOCK_TEXT_MAX, "%04u-%s.%03uZ", (unsigned)(tm.tm_year + 1900) % 10000, day, (unsigned)(ns / 1000000) % 1000);
}

void clock_format_ns(int64_t when_ns, char ret_text[CLOCK_TEXT_MAX])
{
	time_t s;
	long ns;
	split_ns(when_ns, &s, &ns);
	format(s, ns, ret_text);
}

void clock_format_seconds(int64_t when_s, char ret_text[CLOCK_TEXT_MAX])
{
	format((time_t)when_s, 0, ret_text);
}

void clock_deadline(clockid_t clock, int64_t ms, struct timespec *ret)
{
	clock_gettime(clock, ret);
	ret->tv_sec += ms / 1000;
	ret->tv_nsec += ms % 1000 * 1000000;
	if (ret->tv_nsec >= NS_PER_S) {
		ret->tv_sec++;
		ret->tv_nsec -= NS_PER_S;
	}
}

void clock_format_local(int64_t when_ns, char ret_text[CLOCK_TEXT_MAX])
{
	time_t s;
	long ns;
	split_ns(when_ns, &s, &ns);
	struct tm tm;
	localtime_r(&s, &tm);
	strftime(ret_text, CLOCK_TEXT_MAX, "%Y-%m-%d %H:%M", &tm);
}

/* Reads exactly `digits` decimal digits at *p and moves past them. */
static int take_number(const char **p, int digits, int *ret)
{
	int v = 0;
	for (int i = 0; i < digits; i++) {
		if (!isdigit((unsigned char)(*p)[i]))
			return -EINVAL;
		v = v * 10 + ((*p)[i] - '0');
	}
	*p += digits;
	*ret = v;
	return 0;
}

static int take_zone(const char **p, int *ret_offset_s)
{
	*ret_offset_s = 0;
	if (**p == 'Z' || **p == 'z') {
		(*p)++;
		return 0;
	}
	if (**p != '+' && **p != '-')
		return 0;
	int sign = **p == '-' ? -1 : 1, h, m = 0;
	(*p)++;
	if (take_number(p, 2, &h))
		return -EINVAL;
	if (**p == ':')
		(*p)++;
	if (**p && take_number(p, 2, &m))
		return -EINVAL;
	if (h > 23 || m > 59)
		return -EINVAL;
	*ret_offset_s = sign * (h * 3600 + m * 60);
	return 0;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar.  Years are counted from March, so that a leap day is the last of its year; 400
 * years have 146,097 days. */
static int64_t days_since_epoch(int year, int month, int day)
{
	int y = year - (month <= 2);
	int era = y / 400; /* years here are positive */
	int year_of_era = y - era * 400;
	int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return (int64_t)era * 146097 + day_of_era - 719468;
}

static bool is_date(int y, int mo, int d)
{
	static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	return y >= 1 && mo >= 1 && mo <= 12 && d >= 1 && d <= month_days[mo - 1] + (mo == 2 && leap);
}

/* The whole seconds since 1970, and what is beyond them. */
static int parse(const char *text, int64_t *ret_s, int64_t *ret_ns)
{
	const char *p = text;
	int y, mo, d, h = 0, mi = 0, s = 0, offset = 0;
	int64_t frac = 0;
	if (take_number(&p, 4, &y) || *p++ != '-' || take_number(&p, 2, &mo) || *p++ != '-' || take_number(&p, 2, &d))
		return -EINVAL;
	if (!is_date(y, mo, d))
		return -EINVAL;
	if (*p == 'T' || *p == 't' || *p == ' ') {
		p++;
		if (take_number(&p, 2, &h) || *p++ != ':' || take_number(&p, 2, &mi))
			return -EINVAL;
		if (*p == ':') {
			p++;
			if (take_number(&p, 2, &s))
				return -EINVAL;
		}
		if (*p == '.' || *p == ',') {
			p++;
			int64_t unit = NS_PER_S / 10;
			if (!isdigit((unsigned char)*p))
				return -EINVAL;
			for (; isdigit((unsigned char)*p); p++, unit /= 10)
				frac += (*p - '0') * unit;
		}
		if (h > 23 || mi > 59 || s > 60 || take_zone(&p, &offset))
			return -EINVAL;
	}
	if (*p)
		return -EINVAL;
	*ret_s = days_since_epoch(y, mo, d) * 86400 + h * 3600 + mi * 60 + s - offset;
	*ret_ns = frac;
	return 0;
}

int64_t clock_clamp(int64_t seconds, int64_t ns)
{
	int64_t all;
	if (__builtin_mul_overflow(seconds, NS_PER_S, &all) || __builtin_add_overflow(all, ns, &all))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return all;
}

int clock_parse(const char *text, int64_t *ret_ns)
{
	int64_t s, ns;
	int r = parse(text, &s, &ns);
	if (r)
		return r;
	/* Nanoseconds in an int64 reach from 1678 to 2261: years outside are refused, not wrapped. */
	if (s < -9214560000 || s >= 9214646400)
		return -EINVAL;
	*ret_ns = s * NS_PER_S + ns;
	return 0;
}

/* Two digits; more than 99 when they are none. */
static unsigned two(const char *p)
{
	const unsigned tens = (unsigned)p[0] - '0', ones = (unsigned)p[1] - '0';
	return tens > 9 || ones > 9 ? 1000 : tens * 10 + ones;
}

/* What most moments look like, "2026-11-22" and "2026-11-22T21:20:00Z" (a space may stand for T, the Z may lack), in one go. */
static bool parse_plain(const char *t, size_t len, int64_t *ret_s)
{
	unsigned h = 0, mi = 0, s = 0;
	if ((len != 10 && len != 19 && len != 20) || t[4] != '-' || t[7] != '-')
		return false;
	const unsigned century = two(t), year = two(t + 2), mo = two(t + 5), d = two(t + 8);
	if (century > 99 || year > 99 || !is_date((int)(century * 100 + year), (int)mo, (int)d))
		return false;
	if (len > 10) {
		h = two(t + 11);
		mi = two(t + 14);
		s = two(t + 17);
		if ((t[10] != 'T' && t[10] != ' ') || t[13] != ':' || t[16] != ':' || h > 23 || mi > 59 || s > 60 || (len == 20 && t[19] != 'Z'))
			return false;
	}
	*ret_s = days_since_epoch((int)(century * 100 + year), (int)mo, (int)d) * 86400 + h * 3600 + mi * 60 + s;
	return true;
}

int clock_parse_seconds(const char *text, size_t len, int64_t *ret_s, int64_t *ret_ns)
{
	char copy[64];
	*ret_ns = 0;
	if (parse_plain(text, len, ret_s))
		return 0;
	if (len >= sizeof copy)
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	return parse(copy, ret_s, ret_ns);
}

int clock_parse_text(const char *text, size_t len, int64_t *ret_ns)
{
	int64_t s, ns;
	int r = clock_parse_seconds(text, len, &s, &ns);
	if (!r)
		*ret_ns = clock_clamp(s, ns);
	return r;
}
