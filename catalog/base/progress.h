/*
 * Progress of long work on stderr: a bar with rate and time left on a terminal, a plain line every ten seconds elsewhere,
 * nothing with -q.  Thread rules: progress_add from any thread; start and end from one.
 */
#ifndef MESHFS_BASE_PROGRESS_H
#define MESHFS_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress;

/* `label` is borrowed; `total` in `unit` ("B" prints sizes; else counts such as "files"), 0 when it is not known yet.
 * NULL is a legal progress everywhere (quiet). */
struct progress *progress_start(const char *label, const char *unit, uint64_t total, bool quiet);
void progress_total(struct progress *p, uint64_t total);
void progress_add(struct progress *p, uint64_t n);
/* Clears the bar, so that something else can be printed; it comes back when there is news. */
void progress_hide(struct progress *p);
/* Clears the bar (a terminal) and frees it. */
void progress_end(struct progress *p);

#endif
