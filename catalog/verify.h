/*
 * Reading a version back from its store and hashing everything again: the manifest, every chunk (SHA-256 and XXH3-128), every file.
 *
 * Nothing comes from a cache.  Memory is bounded by the number of workers.  One thread calls; `problem` is called under a lock, by any of
 * the workers.
 */
#ifndef MESHFS_CATALOG_VERIFY_H
#define MESHFS_CATALOG_VERIFY_H

#include "catalog/base/err.h"
#include "catalog/base/progress.h"
#include "catalog/domain.h"

#include <stdatomic.h>
#include <stdint.h>

struct verify_problem {
	const char *product, *version;
	const char *path; /* NULL: the manifest itself */
	int64_t chunk;    /* -1: the whole file */
	const char *what;
};

struct verify_options {
	const char *path;               /* only this file or what is below this folder; NULL: everything */
	void (*problem)(void *arg, const struct verify_problem *p);
	void *arg;
	struct progress *progress;      /* or NULL */
	const atomic_bool *interrupted; /* or NULL */
};

struct verify_counts {
	uint64_t files, chunks, bytes, problems;
};

/* Adds to `counts`.  An error says that verifying could not go on; broken bytes are problems, not errors. */
int verify_version(struct domain *d, const char *product, const struct version_info *v, const struct verify_options *o,
		   struct verify_counts *counts, struct err *e);

#endif
