/*
 * Times.  Wall time is int64 nanoseconds since the Unix epoch (UTC); durations and deadlines use the monotonic clock.
 * Thread rules: all functions are pure or read a clock; any thread.
 */
#ifndef MESHFS_BASE_CLOCK_H
#define MESHFS_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_TEXT_MAX 40
#define NS_PER_S 1000000000LL

int64_t clock_now_ns(void);  /* wall clock */
int64_t clock_mono_ns(void); /* monotonic */
int64_t clock_mono_ms(void);

/* "2026-11-22T21:20:00.123Z" (milliseconds; the form OpenLineage and JSON readers take) into `ret_text`. */
void clock_format_ns(int64_t when_ns, char ret_text[CLOCK_TEXT_MAX]);
void clock_format_seconds(int64_t when_s, char ret_text[CLOCK_TEXT_MAX]); /* of the years 0001 to 9999 */
/* `ms` from now by that clock (CLOCK_MONOTONIC, or CLOCK_REALTIME for conditions that were made without attributes), for pthread_cond_timedwait. */
void clock_deadline(clockid_t clock, int64_t ms, struct timespec *ret);

/* "2026-11-22 21:20" in local time, for people. */
void clock_format_local(int64_t when_ns, char ret_text[CLOCK_TEXT_MAX]);

/* Reads "2026-11-22", "2026-11-22T21:20:00[.fff][Z|±hh:mm]" (a space may stand for T; no zone means UTC).
 * Returns 0 or -EINVAL, which years before 1678 and after 2261 are too. */
int clock_parse(const char *text, int64_t *ret_ns);
/* Of `len` bytes that no NUL ends, any year from 0001 to 9999: whole seconds since 1970, and the nanoseconds beyond them. */
int clock_parse_seconds(const char *text, size_t len, int64_t *ret_s, int64_t *ret_ns);
/* The same as clock_clamp gives it: 9999-12-31 is a date that stands in much data, for "no end". */
int clock_parse_text(const char *text, size_t len, int64_t *ret_ns);
/* Nanoseconds since 1970; what is before 1678 or after 2262 becomes INT64_MIN or INT64_MAX, later or earlier than all others. */
int64_t clock_clamp(int64_t seconds, int64_t ns);

#endif
