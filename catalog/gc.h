/*
 * Removing what nothing refers to any more from a domain's store.
 *
 * Two phases, so that publishers and readers can work beside it.  First, packs, manifests, snapshots and indexes of views and rows that no active
 * version needs are condemned: listed in a generation.  From that generation on no publication may rest on them (publish_commit
 * looks), so a verdict is final.  Later, when the grace time is over, they are deleted.  Objects younger than the
 * grace time are never condemned: a publisher may be about to commit them.
 *
 * Kept: all heads, the snapshots of the last GC_GENERATIONS generations, whatever active versions need.  A withdrawn version
 * keeps its record; its data goes.
 *
 * Blocks on the store; one thread.
 */
#ifndef MESHFS_CATALOG_GC_H
#define MESHFS_CATALOG_GC_H

#include "catalog/base/err.h"
#include "catalog/domain.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define GC_GENERATIONS 8
#define GC_GRACE_DEFAULT_NS (INT64_C(24) * 3600 * 1000000000)
#define GC_TOMBSTONE_NS (INT64_C(30) * 24 * 3600 * 1000000000) /* how long a deleted key stays listed after its grace */

enum gc_action { GC_CONDEMNED, GC_DELETED };

struct gc_options {
	int64_t grace_ns;
	bool dry_run;
	void (*each)(void *arg, enum gc_action action, const char *key, uint64_t size); /* or NULL */
	void *arg;
	const atomic_bool *interrupted; /* or NULL */
};

struct gc_report {
	uint64_t objects, bytes; /* looked at */
	uint64_t condemned, condemned_bytes, deleted, deleted_bytes, waiting, waiting_bytes;
	uint64_t generation;
};

int gc_run(struct domain *d, const struct gc_options *o, struct gc_report *ret, struct err *e);

#endif
