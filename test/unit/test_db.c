#include "catalog/base/io.h"
#include "catalog/db.h"
#include "test/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB) STRICT; CREATE INDEX ta ON t(a); CREATE VIRTUAL TABLE s USING fts5(x)"

static char folder[] = "/tmp/meshfs-test-db-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[256];
	if (strstr(folder, "XXXXXX") && !mkdtemp(folder))
		abort();
	snprintf(path, sizeof path, "%s/%s", folder, name);
	unlink(path);
	return path;
}

static const char *make(const char *name, const char *sql)
{
	struct err e = ERR_INIT;
	struct db *db;
	const char *path = path_of(name);
	if (db_open(path, DB_CREATE | DB_SYNC_NONE, &db, &e) || db_exec(db, sql, &e)) {
		printf("%s\n", e.text);
		abort();
	}
	db_close(db);
	return path;
}

TEST(values_round_trip)
{
	struct err e = ERR_INIT;
	struct db *db;
	struct db_stmt *s, *again;
	static const char insert[] = "INSERT INTO t VALUES (?, ?, ?)";
	CHECK_OK(db_open_memory(&db, &e), &e);
	CHECK_OK(db_exec(db, SCHEMA, &e), &e);
	CHECK_OK(db_begin(db, &e), &e);
	CHECK_OK(db_cached(db, insert, &s, &e), &e);
	db_bind_int(s, 1, 7);
	db_bind_text_n(s, 2, "a\0b", 3);
	db_bind_blob(s, 3, "", 0);
	CHECK_OK(db_run(s, &e), &e);
	CHECK_INT(db_last_id(db), 7);
	CHECK_OK(db_cached(db, insert, &again, &e), &e);
	CHECK(s == again);
	db_bind_int(s, 1, 7);
	CHECK_INT(db_run(s, &e), -EEXIST);
	db_reset(s);
	db_bind_int(s, 9, 1);
	CHECK_INT(db_run(s, &e), -EINVAL);
	CHECK_OK(db_commit(db, &e), &e);
	db_rollback(db);
	CHECK_OK(db_prepare(db, "SELECT * FROM t", &s, &e), &e);
	CHECK_INT(db_step(s, &e), DB_ROW);
	size_t len = 0;
	CHECK(db_is_int(s, 0) && db_is_text(s, 1) && db_is_blob(s, 2) && !db_is_null(s, 2));
	CHECK(!memcmp(db_text_n(s, 1, &len), "a\0b", 3));
	CHECK_INT(len, 3);
	CHECK(db_blob(s, 2, &len) != NULL);
	CHECK_INT(len, 0);
	CHECK_INT(db_step(s, &e), 0);
	db_finalize(s);
	db_close(db);
}

TEST(untrusted_opens_what_fits)
{
	struct err e = ERR_INIT;
	struct db *db;
	const char *path = make("odd %41?name#.db", SCHEMA "; INSERT INTO t VALUES (1, 'x', NULL)");
	CHECK_OK(db_open_untrusted(path, "x", SCHEMA, &db, &e), &e);
	CHECK_OK(db_check_pages(db, &e), &e);
	CHECK(db_exec(db, "INSERT INTO t VALUES (2, 'y', NULL)", &e) < 0);
	CHECK(db_exec(db, "ATTACH ':memory:' AS m", &e) < 0);
	CHECK(db_exec(db, "SELECT load_extension('x')", &e) < 0);
	db_close(db);
}

static void refused(const char *sql)
{
	struct err e = ERR_INIT;
	struct db *db = NULL;
	const char *path = make("bad.db", sql);
	CHECK_INT(db_open_untrusted(path, "bad.db", SCHEMA, &db, &e), -EBADMSG);
	CHECK_INT(e.kind, ERR_INTEGRITY);
}

TEST(untrusted_schema_must_be_exact)
{
	refused("CREATE VIEW t AS SELECT 1 AS id, 'a' AS a, x'00' AS b");
	refused(SCHEMA "; CREATE TRIGGER z AFTER INSERT ON t BEGIN SELECT 1; END");
	refused(SCHEMA "; CREATE VIEW z AS SELECT * FROM t");
	refused(SCHEMA "; CREATE INDEX z ON t(b)");
	refused("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b BLOB); CREATE INDEX ta ON t(a); CREATE VIRTUAL TABLE s USING fts5(x)");
	refused("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT AS (upper('x')), b BLOB) STRICT; CREATE INDEX ta ON t(a)");
	refused("CREATE TABLE u(x)");
}

TEST(untrusted_is_not_a_database)
{
	struct err e = ERR_INIT;
	struct db *db = NULL;
	const char *path = path_of("junk");
	char junk[8192];
	memset(junk, 'j', sizeof junk);
	CHECK_OK(io_write_file(path, junk, sizeof junk, 0600, &e), &e);
	CHECK_INT(db_open_untrusted(path, "junk", SCHEMA, &db, &e), -EBADMSG);
	CHECK_OK(io_write_file(path, "", 0, 0600, &e), &e);
	CHECK_INT(db_open_untrusted(path, "junk", SCHEMA, &db, &e), -EBADMSG);
	unlink(path);
	CHECK_INT(db_open_untrusted(path, "junk", SCHEMA, &db, &e), -ENOENT);
}

/* Every byte of a small database flipped in turn: an error or some answer, never a crash. */
TEST(untrusted_bit_flips)
{
	struct err e = ERR_INIT;
	struct buf good = BUF_INIT;
	char path[256];
	snprintf(path, sizeof path, "%s",
		 make("flip.db", "PRAGMA page_size = 512;" SCHEMA "; INSERT INTO t VALUES (1, 'xyz', x'0102'); INSERT INTO s VALUES ('two words')"));
	CHECK_OK(io_read_file(path, 1 << 20, &good, &e), &e);
	for (size_t i = 0; i < good.len; i += 7) {
		good.data[i] ^= 0x55;
		int fd = open(path, O_WRONLY | O_TRUNC);
		CHECK(fd >= 0);
		CHECK_INT(io_write_full(fd, good.data, good.len), 0);
		close(fd);
		good.data[i] ^= 0x55;
		struct db *db = NULL;
		if (db_open_untrusted(path, "flip", SCHEMA, &db, &e))
			continue;
		struct db_stmt *s;
		db_check_pages(db, &e);
		if (!db_prepare(db, "SELECT a, b, (SELECT count(*) FROM s WHERE s MATCH 'wor*') FROM t WHERE a = 'xyz'", &s, &e))
			while (db_step(s, &e) == DB_ROW)
				;
		db_close(db);
	}
	buf_free(&good);
}

TEST(pool_gives_and_takes)
{
	struct err e = ERR_INIT;
	struct db_pool *p;
	struct db *a, *b;
	const char *path = make("pool.db", SCHEMA);
	CHECK_OK(db_pool_open(path, "pool", SCHEMA, 1, &p, &e), &e);
	CHECK_OK(db_pool_take(p, &a, &e), &e);
	CHECK_OK(db_pool_take(p, &b, &e), &e);
	CHECK(a != b);
	db_pool_give(p, a);
	db_pool_give(p, b);
	CHECK_OK(db_pool_take(p, &b, &e), &e);
	CHECK(a == b);
	db_pool_give(p, b);
	db_pool_close(p);
}

TEST(pool_stays_with_its_file)
{
	struct err e = ERR_INIT;
	struct db_pool *p;
	struct db *a, *b;
	struct db_stmt *s;
	const char *path = make("gone.db", SCHEMA);
	CHECK_OK(db_pool_open(path, "pool", SCHEMA, 1, &p, &e), &e);
	CHECK_OK(db_pool_take(p, &a, &e), &e);
	CHECK_INT(unlink(path), 0);
	CHECK_OK(db_pool_take(p, &b, &e), &e);
	CHECK(a != b);
	CHECK_OK(db_prepare(b, "SELECT count(*) FROM sqlite_master", &s, &e), &e);
	CHECK_INT(db_step(s, &e), DB_ROW);
	CHECK(db_int(s, 0) > 0);
	db_finalize(s);
	db_pool_give(p, a);
	db_pool_give(p, b);
	db_pool_close(p);
	CHECK_INT(db_pool_open(path, "pool", SCHEMA, 1, &p, &e), -ENOENT);
}

TEST(clean_up)
{
	struct err e = ERR_INIT;
	CHECK_OK(io_remove_tree(folder, &e), &e);
}

CHECK_MAIN()
