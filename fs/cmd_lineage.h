/* The subcommands of `meshfs lineage`: the table is in cmd_lineage.c. */
#ifndef MESHFS_FS_CMD_LINEAGE_H
#define MESHFS_FS_CMD_LINEAGE_H

#include "fs/options.h"

typedef int lineage_verb(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e);

lineage_verb lineage_verb_runs, lineage_verb_reads, lineage_verb_denials, lineage_verb_up, lineage_verb_down, lineage_verb_verify, lineage_verb_prune,
	lineage_verb_export;

#endif
