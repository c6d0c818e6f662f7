/*
 * The files that publish --onto keeps of the earlier version, under the checks of the new one: keys, counts and queries are of the whole version, so what
 * is kept is read back from the store.
 *
 *     kept_new → options.observer = kept_observer(k) → publish_begin … source_publish → kept_check → gate_close → kept_free
 *
 * One thread calls; the observer is called by the packer.
 */
#ifndef MESHFS_FS_PUBLISH_KEPT_H
#define MESHFS_FS_PUBLISH_KEPT_H

#include "catalog/gate.h"
#include "fs/domain_command.h"
#include "fs/sql_engine.h"

struct kept;

/* Remembers what is added, and passes it on to `next` (borrowed).  NULL without memory. */
struct kept *kept_new(const struct publish_observer *next);
void kept_free(struct kept *k); /* removes what an engine read; NULL is legal */
const struct publish_observer *kept_observer(struct kept *k);

/* After all files were added: reads what `p` keeps of the version that it is built onto, if the gate checks anything.  The engine (may be NULL) finds Parquet, and
 * everything that queries ask about, in a temporary folder. */
int kept_check(struct kept *k, const struct domain_command *c, struct publication *p, const char *product, struct gate *gate, struct sql_engine *engine,
	       struct err *e);

#endif
