/*
 * OpenLineage 2-0-2 events of the lineage database: a START and a COMPLETE (FAIL, or none while it is under way) of every run, a dataset for
 * every product version.
 */
#ifndef MESHFS_FS_OPENLINEAGE_H
#define MESHFS_FS_OPENLINEAGE_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/contract.h"
#include "catalog/lineage_query.h"
#include "catalog/mesh.h"

struct lineage;

/* Where contracts come from: a reference, or NULL when a version has none or its domain is not reached. */
struct openlineage_contracts {
	struct contract *(*get)(void *arg, const char *version_address);
	void *arg;
};

/* Appends one event, a line: the run's start, or what has come of it by now. */
int openlineage_event(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts,
		      const struct lineage_run_row *run, bool start, struct buf *ret, struct err *e);
/* Appends both of the run's events. */
int openlineage_run(struct lineage *l, const struct mesh_config *mesh, const struct openlineage_contracts *contracts,
		    const struct lineage_run_row *run, struct buf *ret, struct err *e);

#endif
