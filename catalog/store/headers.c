#include "catalog/store/headers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int digits(const char **at, const char *end, uint64_t *ret)
{
	const char *p = *at;
	uint64_t v = 0;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return -EBADMSG;
	if (p == *at)
		return -EBADMSG;
	*at = p;
	*ret = v;
	return 0;
}

static void trim(const char **text, const char **end)
{
	while (*text < *end && (**text == ' ' || **text == '\t'))
		(*text)++;
	while (*end > *text && ((*end)[-1] == ' ' || (*end)[-1] == '\t'))
		(*end)--;
}

int header_decimal_parse(const char *text, size_t len, uint64_t *ret)
{
	const char *end = text + len;
	uint64_t v;
	trim(&text, &end);
	if (digits(&text, end, &v) || text != end)
		return -EBADMSG;
	*ret = v;
	return 0;
}

int content_range_parse(const char *text, size_t len, struct content_range *ret)
{
	const char *end = text + len;
	struct content_range r = { .total = UINT64_MAX };
	trim(&text, &end);
	if (end - text < 6 || memcmp(text, "bytes ", 6) != 0)
		return -EBADMSG;
	text += 6;
	if (digits(&text, end, &r.first) || text == end || *text++ != '-' || digits(&text, end, &r.last) || text == end || *text++ != '/')
		return -EBADMSG;
	if (end - text == 1 && *text == '*')
		text++;
	else if (digits(&text, end, &r.total))
		return -EBADMSG;
	if (text != end || r.first > r.last || r.last == UINT64_MAX || (r.total != UINT64_MAX && r.last >= r.total))
		return -EBADMSG;
	*ret = r;
	return 0;
}

int http_date_parse(const char *text, size_t len, int64_t *ret_s)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *end = text + len;
	char copy[40], day_name[4], month[4];
	struct tm tm = { 0 };
	int used = 0;
	trim(&text, &end);
	if ((size_t)(end - text) >= sizeof copy)
		return -EBADMSG;
	memcpy(copy, text, (size_t)(end - text));
	copy[end - text] = '\0';
	if (sscanf(copy, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", day_name, &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour,
		   &tm.tm_min, &tm.tm_sec, &used) != 7 ||
	    !used || copy[used])
		return -EBADMSG;
	const char *at = strlen(month) == 3 ? strstr(months, month) : NULL;
	if (!at || (at - months) % 3 || tm.tm_year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 || tm.tm_hour > 23 ||
	    tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
		return -EBADMSG;
	tm.tm_mon = (int)(at - months) / 3;
	tm.tm_year -= 1900;
	*ret_s = timegm(&tm);
	return 0;
}

int64_t retry_after_ms(const char *text, size_t len, int64_t now_s)
{
	uint64_t seconds;
	int64_t when;
	if (!header_decimal_parse(text, len, &seconds))
		return seconds < 86400 ? (int64_t)seconds * 1000 : 86400 * 1000LL;
	if (!http_date_parse(text, len, &when) && when > now_s)
		return when - now_s < 86400 ? (when - now_s) * 1000 : 86400 * 1000LL;
	return 0;
}

bool status_is_transient(int status)
{
	return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

int64_t retry_delay_ms(unsigned attempt, uint32_t random)
{
	int64_t most = RETRY_FIRST_MS;
	for (unsigned i = 1; i < attempt && most < RETRY_MOST_MS; i++)
		most *= 2;
	if (most > RETRY_MOST_MS)
		most = RETRY_MOST_MS;
	return most / 2 + (int64_t)(((uint64_t)(most / 2 + 1) * random) >> 32);
}
