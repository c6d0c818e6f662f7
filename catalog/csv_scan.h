/*
 * Where fields and records of separated text end: a scan for separators and newlines outside of quotes, 64 bytes a step.
 *
 * The grammar is RFC 4180's, strictly: a quote opens only at the start of a field, closes before a separator or a line end, and is
 * doubled inside; a carriage return outside of quotes stands only before a newline.  The first offence stops the scan (`broken`);
 * csv_skip_record then finds where the offending record ends as lenient readers do, and the scan starts anew behind it.
 *
 * Thread rules: a csv_scan belongs to one thread.
 */
#ifndef MESHFS_CATALOG_CSV_SCAN_H
#define MESHFS_CATALOG_CSV_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_SCAN_SLACK 72 /* room that one step may need */

struct csv_scan {
	const unsigned char *bytes;
	size_t len, at;
	unsigned char separator;
	bool broken;        /* an offence lies in the record behind the last position given */
	bool done;          /* all of the bytes were looked at (never together with broken) */
	/* of the byte before `at`: all bits or bit 0 */
	uint64_t in_quotes; /* ~0: inside quotes */
	uint64_t may_open;  /* it ended a field, or closed a quote */
	uint64_t closed;    /* it closed a quote */
	uint64_t after_cr;
};

/* Starts at `from`, which starts a record. */
void csv_scan_start(struct csv_scan *s, const void *bytes, size_t len, size_t from, char separator);

/* Writes the next positions of separators and newlines; stops when fewer than CSV_SCAN_SLACK of `room` are left, at an offence, or at the end.
 * Returns how many.  `len` fits 32 bits. */
typedef size_t csv_scan_fn(struct csv_scan *s, uint32_t *ret_positions, size_t room);
csv_scan_fn csv_scan_scalar, csv_scan_sse2, csv_scan_avx2;
/* The fastest that this processor runs. */
csv_scan_fn *csv_scan_best(void);

/* The offset behind the record that starts at `from`, leniently: a quote at the start of a field opens it and the next lone quote closes it, anything
 * else is text.  Returns len with *ret_ended false when no newline ended it. */
size_t csv_skip_record(const void *bytes, size_t len, size_t from, char separator, bool *ret_ended);

#endif
