/* Text patterns of contracts (PCRE2), matched against a whole value with bounded work.  A compiled pattern may be used by any thread. */
#ifndef MESHFS_CATALOG_PATTERN_H
#define MESHFS_CATALOG_PATTERN_H

#include "catalog/base/err.h"

#include <stddef.h>

struct pattern;

int pattern_new(const char *text, struct pattern **ret, struct err *e); /* -EINVAL: not a pattern */
void pattern_free(struct pattern *p);
/* 1: the whole value matches; 0: it does not; -E2BIG: given up (too much backtracking), -ENOMEM. */
int pattern_match(const struct pattern *p, const char *text, size_t len);

#endif
