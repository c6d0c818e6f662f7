/* OpenLineage events to a file or a collector: each once, none lost (catalog/lineage_spool.h). */
#ifndef MESHFS_FS_OPENLINEAGE_SEND_H
#define MESHFS_FS_OPENLINEAGE_SEND_H

#include "fs/openlineage.h"

struct transfer;

/*
 * `target`: an http(s) address, or the path of a file to append to.  Makes the events of runs that began or ended since the last time, then sends
 * all that wait, oldest first; stops at the first that is not taken, and says how many wait.  `ret_sent` counts, also then.
 */
int openlineage_send(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts, struct transfer *t,
		     const char *target, int64_t *ret_sent, struct err *e);

#endif
