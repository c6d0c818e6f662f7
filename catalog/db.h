/*
 * SQLite databases.  Only db.c and db_vfs.c include sqlite3.h.
 *
 * A `struct db` is one connection with its statements; it belongs to one thread at a time (connections are opened without
 * SQLite's mutexes) and must not cross a fork.  db_interrupt alone may be called from another thread.  A `struct db_pool` gives
 * connections to one file to any number of threads.
 *
 * Errors: -EBUSY another connection holds the lock past the busy timeout; -EEXIST a unique or primary key is there already;
 * -EINVAL another constraint; -ENOSPC disk full; -EROFS read only; -EBADMSG the file is broken or not a database; -EINTR interrupted;
 * -EFBIG a value over the limits; -ENOENT no such file; -ENOMEM; -EIO anything else.
 */
#ifndef MESHFS_CATALOG_DB_H
#define MESHFS_CATALOG_DB_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct db_stmt;

#define DB_UNTRUSTED_VALUE_MAX (32u << 20) /* the longest text or blob that is read from an untrusted file */

enum db_flags {
	DB_CREATE = 1 << 0,    /* make the file if absent (mode 0600) */
	DB_WAL = 1 << 1,       /* write-ahead log: readers and one writer at once; local disks only */
	DB_SYNC_NONE = 1 << 2, /* a scratch file whose writer syncs it, or throws it away after a crash: no journal on disk, no fsync */
	DB_SYNC_FULL = 1 << 3, /* a commit survives a power cut (with DB_WAL the default survives a crash of the process only) */
	DB_READONLY = 1 << 4,  /* our own file, read only */
};

#define DB_BUSY_TIMEOUT_MS 10000

/* Opens one of our own files.  `flags` are enum db_flags. */
int db_open(const char *path, unsigned flags, struct db **ret, struct err *e);
int db_open_memory(struct db **ret, struct err *e);
/*
 * Opens a file that came from outside: read only, immutable (nobody changes it while it is open: the caller owns the copy),
 * defensive, no trusted schema, cell sizes checked, tight limits.  `schema` is the SQL that makes an empty database of this format;
 * a file whose tables, indexes, views or triggers are not exactly those is refused (-EBADMSG).  `name` stands in errors.
 */
int db_open_untrusted(const char *path, const char *name, const char *schema, struct db **ret, struct err *e);
/* The same for an open file, which the caller closes when he likes.  `schema` NULL: it was checked before. */
int db_open_fd(int fd, const char *name, const char *schema, struct db **ret, struct err *e);
/* Reads the header of an untrusted file: -EBADMSG when it is no database with this application id, -EPROTONOSUPPORT when its
 * format (PRAGMA user_version) is newer than `newest` or older than `oldest`: so that such a file is told from a broken one before its tables are looked at. */
int db_check_format(const char *path, const char *name, uint32_t application_id, uint32_t oldest, uint32_t newest, uint32_t *ret_found, struct err *e);
/* Marks a database being written with the ids that db_check_format reads. */
int db_set_format(struct db *db, uint32_t application_id, uint32_t format, struct err *e);
void db_close(struct db *db); /* NULL is legal; finalizes what is still prepared */

/* Walks every page and index (PRAGMA quick_check): -EBADMSG when the file is broken.  For small untrusted files. */
int db_check_pages(struct db *db, struct err *e);

/* One or more statements without results. */
int db_exec(struct db *db, const char *sql, struct err *e);

/* A statement of the caller's own; db_finalize it. */
int db_prepare(struct db *db, const char *sql, struct db_stmt **ret, struct err *e);
void db_finalize(struct db_stmt *s);
/* A statement that the connection keeps: prepared once, found again by the address of `sql` (a string literal), reset and with its
 * bindings cleared.  At most one use of the same literal at a time. */
int db_cached(struct db *db, const char *sql, struct db_stmt **ret, struct err *e);

/* Parameters count from 1.  A failed bind is remembered and returned by the next db_step.  Texts and blobs are copied; NULL binds NULL. */
void db_bind_int(struct db_stmt *s, int i, int64_t v);
void db_bind_double(struct db_stmt *s, int i, double v);
void db_bind_text(struct db_stmt *s, int i, const char *text);
void db_bind_text_n(struct db_stmt *s, int i, const char *text, size_t len);
void db_bind_blob(struct db_stmt *s, int i, const void *bytes, size_t len);
void db_bind_null(struct db_stmt *s, int i);

#define DB_ROW 1
/* DB_ROW, 0 at the end, or -errno. */
int db_step(struct db_stmt *s, struct err *e);
/* Runs a statement without results to its end and resets it (bindings stay).  0 or -errno. */
int db_run(struct db_stmt *s, struct err *e);
/* Ready for the next execution; bindings are cleared. */
void db_reset(struct db_stmt *s);

/* Columns of the current row count from 0.  Texts and blobs stay valid until the next step or reset; NULL for SQL NULL, except that
 * an empty blob gives a non-NULL pointer. */
bool db_is_null(struct db_stmt *s, int i);
int64_t db_int(struct db_stmt *s, int i);
double db_double(struct db_stmt *s, int i);
const char *db_text(struct db_stmt *s, int i);
const char *db_text_n(struct db_stmt *s, int i, size_t *ret_len);
const void *db_blob(struct db_stmt *s, int i, size_t *ret_len);
/* For untrusted files, where a column holds whatever its writer liked: true when the value really is of that type. */
bool db_is_int(struct db_stmt *s, int i);
bool db_is_double(struct db_stmt *s, int i);
bool db_is_text(struct db_stmt *s, int i);
bool db_is_blob(struct db_stmt *s, int i);

int64_t db_last_id(struct db *db);  /* rowid of the last insert */
int64_t db_changes(struct db *db);  /* rows that the last statement changed */

/* BEGIN IMMEDIATE: takes the write lock at once.  db_rollback outside a transaction is harmless. */
int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);

/* Makes what runs on the connection fail with -EINTR; from any thread while the connection is open. */
void db_interrupt(struct db *db);

/* -- connections to one untrusted file for many threads ------------------------------------- */

struct db_pool;

/* Opens one connection at once, so that a broken file fails here.  At most `max_idle` unused connections are kept.  The pool stays
 * with the file it opened: removing its name, or putting another file there, changes nothing for later connections. */
int db_pool_open(const char *path, const char *name, const char *schema, unsigned max_idle, struct db_pool **ret, struct err *e);
void db_pool_close(struct db_pool *p); /* all connections must be back; NULL is legal */
int db_pool_take(struct db_pool *p, struct db **ret, struct err *e);
void db_pool_give(struct db_pool *p, struct db *db); /* no statement may be in use; NULL is legal */

#endif
