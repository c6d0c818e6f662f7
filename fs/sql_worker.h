/*
 * The process that answers the queries of sql checks.  They are words of others, and no engine can be trusted to stop one within a given time or to
 * count all the memory it takes, so they run where they can be killed: this program once more, under the name SQL_WORKER_NAME, in a sandbox
 * (fs/sandbox.h), with one end of a socket as its standard input.  It ends when the other end is closed.
 *
 * The other end is fs/sql_process.h.  A request is a head and `len` bytes, answered by a head and `len` bytes: why it failed.
 */
#ifndef MESHFS_FS_SQL_WORKER_H
#define MESHFS_FS_SQL_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#define SQL_WORKER_NAME "meshfs-sql"
#define SQL_REQUEST_MAX (256u << 20)

enum sql_request_kind {
	SQL_FILES = 1, /* first: all that queries may read, as paths with a NUL after each */
	SQL_RUN,       /* a statement */
	SQL_NUMBER,    /* a query that gives a number */
};

struct sql_request {
	uint32_t kind, len;
};

struct sql_answer {
	int32_t code; /* 0 or -errno */
	uint32_t len;
	double number;
};

/* The engine takes some characters of a name for a pattern; in brackets they stand for themselves.  Appends. */
struct buf;
void sql_pattern_of(const char *path, struct buf *ret);

bool sql_worker_named(const char *argv0);
int sql_worker_main(void);

#endif
