/*
 * What HTTP headers say, and when to try again.  Pure functions on text from servers: every value is checked.
 */
#ifndef MESHFS_CATALOG_STORE_HEADERS_H
#define MESHFS_CATALOG_STORE_HEADERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct content_range {
	uint64_t first, last; /* both inclusive, first <= last */
	uint64_t total;       /* of the object; UINT64_MAX when the server does not say ("*") */
};

/* "bytes 0-9/100".  0 or -EBADMSG. */
int content_range_parse(const char *text, size_t len, struct content_range *ret);
/* A decimal number with nothing around it but blanks.  0 or -EBADMSG. */
int header_decimal_parse(const char *text, size_t len, uint64_t *ret);
/* "Mon, 02 Nov 2026 10:00:00 GMT" as seconds since 1970.  0 or -EBADMSG. */
int http_date_parse(const char *text, size_t len, int64_t *ret_s);
/* Retry-After: seconds or a date; as milliseconds from `now_s`.  0 when it says nothing usable. */
int64_t retry_after_ms(const char *text, size_t len, int64_t now_s);

/* Is this status worth another try (408, 425, 429, 5xx but 501 and 505)? */
bool status_is_transient(int status);

#define RETRY_FIRST_MS 200
#define RETRY_MOST_MS 10000

/* How long to wait before attempt `attempt` (1: the first retry): doubles each time; `random` in [0, 2^32) spreads it over the
 * upper half, so that many readers of a broken store do not come back at once. */
int64_t retry_delay_ms(unsigned attempt, uint32_t random);

#endif
