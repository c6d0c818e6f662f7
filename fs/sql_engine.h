/*
 * The engine of a contract's sql checks: DuckDB over the local files that are being published.  Queries run with the rights of this
 * process, so it serves the publish command only, never a draft that somebody else wrote.
 */
#ifndef MESHFS_FS_SQL_ENGINE_H
#define MESHFS_FS_SQL_ENGINE_H

#include "catalog/quality.h"

struct sql_engine;

/* `sources` as publish takes them: one folder's content, or several files and folders by name; borrowed.  NULL without memory. */
struct sql_engine *sql_engine_new(const char *const *sources, size_t count);
void sql_engine_free(struct sql_engine *s);
/* Starts the engine on a thread of its own, beside what the caller goes on to do: that takes as long as hashing a hundred megabytes.  The first question
 * waits for it.  Without a thread it starts then. */
void sql_engine_start(struct sql_engine *s);
const struct quality_engine *sql_engine_quality(struct sql_engine *s);

#endif
