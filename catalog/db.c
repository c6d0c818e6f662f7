#include "catalog/db.h"
#include "catalog/db_vfs.h"

#include "catalog/base/buf.h"
#include "catalog/base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CACHED_MAX 64 /* different literals a connection keeps prepared */
#define NAME_MAX_SHOWN 256

struct db_stmt {
	struct db *db;
	sqlite3_stmt *stmt;
	const char *sql; /* the literal of a cached statement, NULL for the caller's own */
	int bind_error;  /* the first failed bind since the last reset, an SQLite result */
	struct db_stmt *next;
};

struct db {
	sqlite3 *handle;
	char *name; /* stands in errors */
	bool untrusted;
	struct db_stmt *statements; /* all that are not finalized */
	unsigned cached;
};

/* -- errors -------------------------------------------------------------------------------- */

/* The one table from SQLite's results to errno. */
static const struct {
	int result;
	int code;
	const char *advice;
} results[] = {
	{ SQLITE_BUSY, -EBUSY, "another process holds its lock; try again" },
	{ SQLITE_LOCKED, -EBUSY, "another statement holds its lock" },
	{ SQLITE_NOMEM, -ENOMEM, "out of memory" },
	{ SQLITE_FULL, -ENOSPC, "the disk is full; make room" },
	{ SQLITE_READONLY, -EROFS, "it is read only" },
	{ SQLITE_CORRUPT, -EBADMSG, "the file is broken" },
	{ SQLITE_NOTADB, -EBADMSG, "the file is not a database" },
	{ SQLITE_INTERRUPT, -EINTR, "interrupted" },
	{ SQLITE_CONSTRAINT, -EINVAL, NULL },
	{ SQLITE_TOOBIG, -EFBIG, "a value is too large" },
	{ SQLITE_PERM, -EACCES, "permission denied" },
	{ SQLITE_AUTH, -EACCES, "permission denied" },
	{ SQLITE_CANTOPEN, -ENOENT, NULL },
	{ SQLITE_MISMATCH, -EINVAL, NULL },
	{ SQLITE_RANGE, -EINVAL, NULL },
};

static int code_of(sqlite3 *handle, int result, const char **ret_advice)
{
	int extended = handle ? sqlite3_extended_errcode(handle) : result;
	*ret_advice = NULL;
	if ((extended & 0xff) != (result & 0xff))
		extended = result;
	if (extended == SQLITE_CONSTRAINT_UNIQUE || extended == SQLITE_CONSTRAINT_PRIMARYKEY || extended == SQLITE_CONSTRAINT_ROWID)
		return -EEXIST;
	int system = handle ? sqlite3_system_errno(handle) : 0;
	if ((result & 0xff) == SQLITE_IOERR && system == ENOSPC)
		result = SQLITE_FULL; /* the shared memory of a WAL tells it so */
	if ((result & 0xff) == SQLITE_CANTOPEN && system)
		return -system;
	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		if (results[i].result == (result & 0xff)) {
			*ret_advice = results[i].advice;
			return results[i].code;
		}
	}
	return -EIO;
}

static int fail(struct db *db, int result, struct err *e)
{
	const char *advice;
	int code = code_of(db->handle, result, &advice);
	if (db->untrusted && (result & 0xff) == SQLITE_ERROR) { /* our SQL fits the format: the file does not */
		code = -EBADMSG;
		advice = "the file is broken";
	} else if (db->untrusted && code == -EFBIG) {
		code = -EBADMSG; /* no writer of ours puts such a value there */
	}
	if ((result & 0xff) == SQLITE_CANTOPEN && !advice && code != -ENOENT)
		return err_set(e, code, "%s: cannot be opened: %s", db->name, strerror(-code));
	return err_set(e, code, "%s: %s", db->name, advice ? advice : db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(result));
}

/* -- opening ------------------------------------------------------------------------------- */

static pthread_once_t configured = PTHREAD_ONCE_INIT;

static void configure(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* its counters take a global lock at every allocation */
	db_vfs_register();
}

/* `vfs` NULL: SQLite's own. */
static int new_db(const char *name, const char *path, int flags, const char *vfs, struct db **ret, struct err *e)
{
	pthread_once(&configured, configure);
	struct db *db = calloc(1, sizeof *db);
	if (!db || !(db->name = strndup(name, NAME_MAX_SHOWN))) {
		free(db);
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	}
	int r = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);
	if (r != SQLITE_OK) {
		r = fail(db, r, e);
		db_close(db);
		return r;
	}
	sqlite3_busy_timeout(db->handle, DB_BUSY_TIMEOUT_MS);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
	*ret = db;
	return 0;
}

int db_open(const char *path, unsigned flags, struct db **ret, struct err *e)
{
	int mode = flags & DB_READONLY ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | (flags & DB_CREATE ? SQLITE_OPEN_CREATE : 0);
	struct db *db;
	int r = new_db(path, path, mode, NULL, &db, e);
	if (r)
		return r;
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL); /* ours have none: one that is there is somebody else's */
	r = db_exec(db, "PRAGMA trusted_schema = off; PRAGMA foreign_keys = on; PRAGMA temp_store = memory", e);
	if (!r && (flags & DB_WAL))
		r = db_exec(db, "PRAGMA journal_mode = wal", e);
	if (!r && (flags & DB_SYNC_NONE))
		r = db_exec(db, "PRAGMA synchronous = off; PRAGMA locking_mode = exclusive; PRAGMA journal_mode = memory", e);
	else if (!r && (flags & DB_SYNC_FULL))
		r = db_exec(db, "PRAGMA synchronous = full", e);
	else if (!r && (flags & DB_WAL))
		r = db_exec(db, "PRAGMA synchronous = normal", e);
	if (r) {
		db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

int db_open_memory(struct db **ret, struct err *e)
{
	return new_db("memory", ":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL, ret, e);
}

void db_close(struct db *db)
{
	if (!db)
		return;
	while (db->statements)
		db_finalize(db->statements);
	sqlite3_close(db->handle);
	free(db->name);
	free(db);
}

static const struct {
	int id, value;
} untrusted_limits[] = {
	{ SQLITE_LIMIT_LENGTH, DB_UNTRUSTED_VALUE_MAX + 4096 },
	{ SQLITE_LIMIT_SQL_LENGTH, 65536 },
	{ SQLITE_LIMIT_COLUMN, 64 },
	{ SQLITE_LIMIT_EXPR_DEPTH, 64 },
	{ SQLITE_LIMIT_COMPOUND_SELECT, 8 },
	{ SQLITE_LIMIT_VDBE_OP, 25000 },
	{ SQLITE_LIMIT_FUNCTION_ARG, 16 },
	{ SQLITE_LIMIT_ATTACHED, 0 },
	{ SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256 },
	{ SQLITE_LIMIT_VARIABLE_NUMBER, 64 },
	{ SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
	{ SQLITE_LIMIT_WORKER_THREADS, 0 },
};

/* Before the schema is read.  No mmap: an I/O error would be a SIGBUS instead of -EIO. */
static int defend(struct db *db, struct err *e)
{
	for (size_t i = 0; i < sizeof untrusted_limits / sizeof *untrusted_limits; i++)
		sqlite3_limit(db->handle, untrusted_limits[i].id, untrusted_limits[i].value);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return db_exec(db, "PRAGMA mmap_size = 0; PRAGMA cell_size_check = on; PRAGMA query_only = on; PRAGMA temp_store = memory", e);
}

#define SCHEMA_SQL "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master ORDER BY type, name"

static int dump_schema(struct db *db, struct buf *out, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(db, SCHEMA_SQL, &s, e);
	if (r)
		return r;
	while ((r = db_step(s, e)) == DB_ROW) {
		for (int i = 0; i < 4; i++) {
			size_t len = 0;
			const char *text = db_text_n(s, i, &len);
			buf_add(out, text ? text : "", len);
			buf_addc(out, '\0');
		}
		if (out->len > 1u << 20) { /* no format of ours comes near */
			r = err_set(e, -EBADMSG, "%s: its schema is not the one of this format", db->name);
			break;
		}
	}
	db_finalize(s);
	return r ? r : buf_check(out);
}

static int check_schema(struct db *db, const char *schema, struct err *e)
{
	struct buf actual = BUF_INIT, expected = BUF_INIT;
	struct db *model = NULL;
	int r = dump_schema(db, &actual, e);
	if (!r)
		r = db_open_memory(&model, e);
	if (!r)
		r = db_exec(model, schema, e);
	if (!r)
		r = dump_schema(model, &expected, e);
	if (!r && (actual.len != expected.len || memcmp(actual.data, expected.data, actual.len) != 0))
		r = err_set(e, -EBADMSG, "%s: its tables are not those of this format", db->name);
	db_close(model);
	buf_free(&actual);
	buf_free(&expected);
	return r;
}

int db_open_fd(int fd, const char *name, const char *schema, struct db **ret, struct err *e)
{
	char uri[48];
	struct db *db;
	snprintf(uri, sizeof uri, "file:%d?immutable=1", fd);
	int r = new_db(name, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, DB_VFS, &db, e);
	if (r)
		return r;
	db->untrusted = true;
	r = defend(db, e);
	if (!r && schema)
		r = check_schema(db, schema, e);
	if (r) {
		db_close(db);
		return r;
	}
	*ret = db;
	return 0;
}

int db_open_untrusted(const char *path, const char *name, const char *schema, struct db **ret, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", name, strerror(errno));
	int r = db_open_fd(fd, name, schema, ret, e);
	close(fd);
	return r;
}

/* The file's header: 16 bytes of magic, the user version at 60, the application id at 68, big-endian. */
#define HEADER_BYTES 100

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int db_check_format(const char *path, const char *name, uint32_t application_id, uint32_t oldest, uint32_t newest, uint32_t *ret_found, struct err *e)
{
	unsigned char header[HEADER_BYTES];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	int r = io_pread_full(fd, header, sizeof header, 0);
	close(fd);
	if (r && r != -ENODATA)
		return err_set(e, r, "%s: %s", path, strerror(-r));
	uint32_t found = r ? 0 : be32(header + 60); /* 0: nobody set it */
	if (!found || memcmp(header, "SQLite format 3", 16) != 0 || be32(header + 68) != application_id)
		return err_set(e, -EBADMSG, "%s: not a file of this kind, or broken", name);
	if (found > newest)
		return err_set(e, -EPROTONOSUPPORT, "%s: written in format %u, and this meshfs reads formats up to %u: use a newer meshfs",
			       name, found, newest);
	if (found < oldest)
		return err_set(e, -EPROTONOSUPPORT, "%s: written in format %u, older than what this meshfs reads (%u): it has to be made anew", name,
			       found, oldest);
	*ret_found = found;
	return 0;
}

int db_set_format(struct db *db, uint32_t application_id, uint32_t format, struct err *e)
{
	char sql[96];
	snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %u", (int)application_id, format);
	return db_exec(db, sql, e);
}

int db_check_pages(struct db *db, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(db, "PRAGMA quick_check(1)", &s, e);
	if (r)
		return r;
	r = db_step(s, e);
	if (r == DB_ROW) {
		const char *text = db_text(s, 0);
		r = text && !strcmp(text, "ok") ? 0 : err_set(e, -EBADMSG, "%s: the file is broken", db->name);
	} else if (r == 0) {
		r = err_set(e, -EBADMSG, "%s: the file is broken", db->name);
	}
	db_finalize(s);
	return r;
}

/* -- statements ---------------------------------------------------------------------------- */

int db_exec(struct db *db, const char *sql, struct err *e)
{
	int r = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	return r == SQLITE_OK ? 0 : fail(db, r, e);
}

static int prepare(struct db *db, const char *sql, unsigned flags, struct db_stmt **ret, struct err *e)
{
	struct db_stmt *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "%s: out of memory", db->name);
	int r = sqlite3_prepare_v3(db->handle, sql, -1, flags, &s->stmt, NULL);
	if (r != SQLITE_OK) {
		free(s);
		return fail(db, r, e);
	}
	s->db = db;
	s->next = db->statements;
	db->statements = s;
	*ret = s;
	return 0;
}

int db_prepare(struct db *db, const char *sql, struct db_stmt **ret, struct err *e)
{
	return prepare(db, sql, 0, ret, e);
}

int db_cached(struct db *db, const char *sql, struct db_stmt **ret, struct err *e)
{
	for (struct db_stmt *s = db->statements; s; s = s->next) {
		if (s->sql == sql) {
			db_reset(s);
			*ret = s;
			return 0;
		}
	}
	if (db->cached == CACHED_MAX)
		return err_set(e, -EMFILE, "%s: more than %d kept statements", db->name, CACHED_MAX);
	int r = prepare(db, sql, SQLITE_PREPARE_PERSISTENT, ret, e);
	if (r)
		return r;
	(*ret)->sql = sql;
	db->cached++;
	return 0;
}

void db_finalize(struct db_stmt *s)
{
	if (!s)
		return;
	struct db_stmt **link = &s->db->statements;
	while (*link != s)
		link = &(*link)->next;
	*link = s->next;
	if (s->sql)
		s->db->cached--;
	sqlite3_finalize(s->stmt);
	free(s);
}

static void bound(struct db_stmt *s, int result)
{
	if (result != SQLITE_OK && s->bind_error == SQLITE_OK)
		s->bind_error = result;
}

void db_bind_int(struct db_stmt *s, int i, int64_t v)
{
	bound(s, sqlite3_bind_int64(s->stmt, i, v));
}

void db_bind_double(struct db_stmt *s, int i, double v)
{
	bound(s, sqlite3_bind_double(s->stmt, i, v));
}

void db_bind_text(struct db_stmt *s, int i, const char *text)
{
	bound(s, sqlite3_bind_text(s->stmt, i, text, -1, SQLITE_TRANSIENT));
}

void db_bind_text_n(struct db_stmt *s, int i, const char *text, size_t len)
{
	bound(s, sqlite3_bind_text64(s->stmt, i, text, len, SQLITE_TRANSIENT, SQLITE_UTF8));
}

void db_bind_blob(struct db_stmt *s, int i, const void *bytes, size_t len)
{
	if (bytes && !len)
		bound(s, sqlite3_bind_zeroblob(s->stmt, i, 0));
	else
		bound(s, sqlite3_bind_blob64(s->stmt, i, bytes, len, SQLITE_TRANSIENT));
}

void db_bind_null(struct db_stmt *s, int i)
{
	bound(s, sqlite3_bind_null(s->stmt, i));
}

int db_step(struct db_stmt *s, struct err *e)
{
	if (s->bind_error != SQLITE_OK)
		return fail(s->db, s->bind_error, e);
	int r = sqlite3_step(s->stmt);
	if (r == SQLITE_ROW)
		return DB_ROW;
	if (r == SQLITE_DONE)
		return 0;
	r = fail(s->db, r, e);
	sqlite3_reset(s->stmt);
	return r;
}

int db_run(struct db_stmt *s, struct err *e)
{
	int r;
	do
		r = db_step(s, e);
	while (r == DB_ROW);
	sqlite3_reset(s->stmt);
	return r;
}

void db_reset(struct db_stmt *s)
{
	sqlite3_reset(s->stmt);
	sqlite3_clear_bindings(s->stmt);
	s->bind_error = SQLITE_OK;
}

bool db_is_null(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->stmt, i) == SQLITE_NULL;
}

bool db_is_int(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->stmt, i) == SQLITE_INTEGER;
}

bool db_is_double(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->stmt, i) == SQLITE_FLOAT;
}

bool db_is_text(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->stmt, i) == SQLITE_TEXT;
}

bool db_is_blob(struct db_stmt *s, int i)
{
	return sqlite3_column_type(s->stmt, i) == SQLITE_BLOB;
}

int64_t db_int(struct db_stmt *s, int i)
{
	return sqlite3_column_int64(s->stmt, i);
}

double db_double(struct db_stmt *s, int i)
{
	return sqlite3_column_double(s->stmt, i);
}

const char *db_text(struct db_stmt *s, int i)
{
	return (const char *)sqlite3_column_text(s->stmt, i);
}

const char *db_text_n(struct db_stmt *s, int i, size_t *ret_len)
{
	const char *text = (const char *)sqlite3_column_text(s->stmt, i);
	*ret_len = text ? (size_t)sqlite3_column_bytes(s->stmt, i) : 0;
	return text;
}

const void *db_blob(struct db_stmt *s, int i, size_t *ret_len)
{
	const void *bytes = sqlite3_column_blob(s->stmt, i);
	*ret_len = bytes ? (size_t)sqlite3_column_bytes(s->stmt, i) : 0;
	if (!bytes && sqlite3_column_type(s->stmt, i) != SQLITE_NULL)
		return "";
	return bytes;
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_changes(struct db *db)
{
	return sqlite3_changes64(db->handle);
}

int db_begin(struct db *db, struct err *e)
{
	return db_exec(db, "BEGIN IMMEDIATE", e);
}

int db_commit(struct db *db, struct err *e)
{
	return db_exec(db, "COMMIT", e);
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

void db_interrupt(struct db *db)
{
	sqlite3_interrupt(db->handle);
}
