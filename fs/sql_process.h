/*
 * Queries of sql checks, answered by a process of their own (fs/sql_worker.h) within bounds: what is not answered in time is killed, whatever it does.
 * One thread at a time.  The process ends with the thread that started it, at the latest.
 */
#ifndef MESHFS_FS_SQL_PROCESS_H
#define MESHFS_FS_SQL_PROCESS_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdatomic.h>
#include <stdint.h>

struct sql_process;

struct sql_bounds {
	int64_t time_ms; /* for all that one process is asked */
	const atomic_bool *interrupted; /* ends what it does with -EINTR; may be NULL.  Borrowed */
};

/* Starts the process, which gets ready while the caller goes on. */
int sql_process_new(const struct sql_bounds *bounds, struct sql_process **ret, struct err *e);
void sql_process_free(struct sql_process *p); /* kills it; NULL is legal */

/* First: the files that queries may read, each path with a NUL behind it. */
int sql_process_files(struct sql_process *p, const struct buf *paths, struct err *e);
/* A statement.  -EINVAL: the engine refuses it. */
int sql_process_run(struct sql_process *p, const char *sql, struct err *e);
/* The number that a query gives.  -EINVAL: the engine refuses it; -ETIME: not within the time; -EINTR; -EIO: the process came to an end.  After the last three
 * nothing is answered any more. */
int sql_process_number(struct sql_process *p, const char *query, double *ret, struct err *e);

#endif
