/*
 * The engine of a contract's checks: DuckDB over the local files that are being published.  It reads Parquet for them in this process, and has sql checks answered
 * in another, within bounds (fs/sql_process.h).  Queries see the version's files and no others.
 */
#ifndef MESHFS_FS_SQL_ENGINE_H
#define MESHFS_FS_SQL_ENGINE_H

#include "catalog/quality.h"
#include "fs/sql_process.h"

struct sql_engine;

/* `sources` as publish takes them: one folder's content, or several files and folders by name; borrowed.  NULL without memory. */
struct sql_engine *sql_engine_new(const char *const *sources, size_t count, const struct sql_bounds *bounds);
/* The content of one folder (borrowed), whose Parquet files `open_file` opens for reading: a descriptor that the caller of it closes, or -errno; from any thread.
 * Queries read its files by their paths: nobody may change them meanwhile. */
struct sql_engine *sql_engine_new_opened(const char *const *folder, int (*open_file)(void *arg, const char *path), void *arg, const struct sql_bounds *bounds);
/* One that reads nothing, and says why. */
struct sql_engine *sql_engine_new_absent(const char *why);
void sql_engine_free(struct sql_engine *s); /* NULL is legal */
/* Files of the version that lie in this folder (borrowed) instead, by their paths. */
void sql_engine_keep(struct sql_engine *s, const char *folder);
/* Starts what answers queries, beside what the caller goes on to do.  It ends with the calling thread. */
void sql_engine_start(struct sql_engine *s);
/* Ends what answers queries; the answers stay, and what is asked again is answered by them. */
void sql_engine_rest(struct sql_engine *s);
/* The files are others from here on: so are the answers.  NULL is legal. */
void sql_engine_forget(struct sql_engine *s);
const struct quality_engine *sql_engine_quality(struct sql_engine *s);

#endif
