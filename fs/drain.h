/*
 * Journals into the lineage database.
 *
 * Anyone may drain any journal at any time: the position reached stands in the database, in the transaction that holds the
 * records, so that nothing counts twice.  Thread rules: as `struct lineage`.
 */
#ifndef MESHFS_FS_DRAIN_H
#define MESHFS_FS_DRAIN_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"

#include <stdint.h>

struct journal;
struct lineage;

#define DRAIN_BATCH 65536u

/* The folder of a database's journals; the caller frees it. */
char *drain_folder_path(const char *db_path);

/* One batch, in one transaction: up to `max` records from where the database stands (or `*ret_position`, when that is further and the
 * journal is our own: its file was deleted, and the database forgot).  `ret_position` is how many records of this journal are
 * in the database then; nothing more to do when it did not reach position + max. */
int drain_batch(struct lineage *l, struct journal *j, uint32_t max, uint32_t *ret_position, struct err *e);

/* Every journal of the database: those of living processes up to now, those of dead ones wholly, which are deleted then.  Runs whose
 * process is gone end.  A journal that cannot be read is left and logged. */
int drain_folder(struct lineage *l, struct err *e);

/* Ends runs whose process is gone, seals what is due, and prunes reads that are older than `keep_ms` (0: none), as many as take a moment: the journal fills
 * meanwhile.  *ret_more: there are others. */
int drain_tidy(struct lineage *l, int64_t keep_ms, bool *ret_more, struct err *e);

/* What a command that asks the database starts with: opens the mesh's database with everything served so far in it. */
int drain_open(const struct mesh_config *mesh, struct lineage **ret, struct err *e);

#endif
