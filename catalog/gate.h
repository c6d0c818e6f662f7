/*
 * The gate of publishing: every byte of a version meets its contract's checks, and the contract meets the last one's promises.
 *
 *     gate_new → options.observer = gate_observer(g) → publish_begin → gate_open(g, …) → publish_add_* → gate_close(g, …) →
 *     publish_commit → gate_free
 *
 * Used alike by the publish command and by drafts in a mount.  Thread rules: those of publish.h.
 */
#ifndef MESHFS_CATALOG_GATE_H
#define MESHFS_CATALOG_GATE_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/publish.h"
#include "catalog/quality.h"

#include <stdbool.h>

struct gate;

struct gate *gate_new(void); /* NULL without memory */
void gate_free(struct gate *g);
const struct publish_observer *gate_observer(struct gate *g);

/* After publish_begin, before the first file: compiles the contract's checks and compares it with the contract of the newest version
 * below this one.  `engine` (borrowed, may be NULL) reads Parquet and answers sql checks.  -EPERM (ERR_REFUSED): the version's number is too
 * small a step; `product` stands in messages. */
int gate_open(struct gate *g, struct publication *p, struct domain *d, const char *product, const struct quality_engine *engine, struct err *e);

/* After gate_open: is anything checked? */
bool gate_checks(const struct gate *g);
/* After gate_open: will gate_close ask the engine?  Then it may start meanwhile. */
bool gate_wants_engine(const struct gate *g);

/* Asks the engine's queries ahead (quality_ask_ahead). */
int gate_ask_ahead(struct gate *g);

/* After the last file: all results.  Keeps quality.json in the publication.  -EPERM (ERR_REFUSED): an error-level check failed and `failures`
 * (the reason of --with-failures) is NULL, or personal data is undeclared; then `problems` (may be NULL) has a line a problem.
 * Warnings are in `problems` too. */
int gate_close(struct gate *g, struct publication *p, const char *failures, struct buf *problems, struct err *e);
/* The results, after gate_close; NULL before, and when the version's number was taken already (the commit tells same from other
 * content).  Borrowed. */
const struct quality_report *gate_report(const struct gate *g);

#endif
