/*
 * The structure of JSON lines: a scan for newlines, quotes and, outside of strings, braces, brackets, colons and commas, 64 bytes a
 * step.  A newline ends a line wherever it stands: one inside a string is an offence that stops the scan (`broken_at`); the next
 * line starts behind it.
 *
 * Thread rules: a json_scan belongs to one thread.
 */
#ifndef MESHFS_POLICY_JSON_SCAN_H
#define MESHFS_POLICY_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_SCAN_SLACK 72 /* positions that one step may write */

/* flags[offset / 64]: what a string that touches these 64 bytes may hold (set too often rather than too seldom). */
enum { JSON_FLAG_ESCAPE = 1, JSON_FLAG_CONTROL = 2, JSON_FLAG_HIGH = 4 };

struct json_scan {
	const unsigned char *bytes;
	size_t len, at;
	unsigned char *flags; /* len / 64 + 2 bytes, zero at the start; the caller's */
	bool broken, done;
	size_t broken_at;     /* of the newline, or len when the bytes end inside a string */
	uint64_t in_string;   /* ~0: inside */
	uint64_t escaped;     /* bit 0: the next byte is escaped */
};

/* Starts at `from`, which starts a line. */
void json_scan_start(struct json_scan *s, size_t from);

typedef size_t json_scan_fn(struct json_scan *s, uint32_t *ret_positions, size_t room);
json_scan_fn json_scan_scalar, json_scan_sse2, json_scan_avx2;
json_scan_fn *json_scan_best(void);

#endif
