/*
 * What a contract obliges to, in the words of a record of processing: the categories of its data, and the day by which a version is to be erased.
 * Pure; any thread.
 */
#ifndef MESHFS_FS_OBLIGATIONS_H
#define MESHFS_FS_OBLIGATIONS_H

#include "catalog/base/buf.h"
#include "catalog/contract.h"

#include <stdint.h>

struct obligations {
	char erase_by[11];     /* 2028-11-25 (UTC); "": the contract sets no retention that is a time */
	struct buf categories; /* classifications and tags of its columns, each once, one a line */
};

/* `published_ns`: when the version was; retention (slaProperties) counts from there, the shortest when there are several, years and months by the
 * calendar.  -ENOMEM.  Fini what is returned. */
int obligations_read(const struct contract *c, int64_t published_ns, struct obligations *ret);
void obligations_fini(struct obligations *o);

#endif
