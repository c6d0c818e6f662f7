/*
 * The engine of a contract's checks: DuckDB over the local files that are being published.  It reads Parquet for them, and answers sql checks.
 * Queries see the version's files and no others; a mount makes none all the same, since nothing bounds the time that they take.
 */
#ifndef MESHFS_FS_SQL_ENGINE_H
#define MESHFS_FS_SQL_ENGINE_H

#include "catalog/quality.h"

struct sql_engine;

/* `sources` as publish takes them: one folder's content, or several files and folders by name; borrowed.  NULL without memory. */
struct sql_engine *sql_engine_new(const char *const *sources, size_t count);
/* One that only reads Parquet, which `open_file` opens for reading: a descriptor that the caller of it closes, or -errno; from any thread. */
struct sql_engine *sql_engine_new_reader(int (*open_file)(void *arg, const char *path), void *arg);
/* One that reads nothing, and says why. */
struct sql_engine *sql_engine_new_absent(const char *why);
void sql_engine_free(struct sql_engine *s); /* NULL is legal */
/* Starts the engine on a thread of its own, beside what the caller goes on to do: that takes as long as hashing a hundred megabytes.  The first question
 * waits for it.  Without a thread it starts then. */
void sql_engine_start(struct sql_engine *s);
const struct quality_engine *sql_engine_quality(struct sql_engine *s);

#endif
