/* The index of a version's rows: what is asked comes back as the pieces that hold it; what is broken is refused. */
#include "catalog/base/io.h"
#include "catalog/db.h"
#include "fs/row_index.h"
#include "test/unit/check.h"

#include <errno.h>
#include <unistd.h>

static char folder[] = "/tmp/meshfs-rows-XXXXXX", path[64];

__attribute__((constructor)) static void make_folder(void)
{
	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof path, "%s/index", folder);
}

__attribute__((destructor)) static void remove_folder(void)
{
	io_remove_tree(folder, NULL);
}

/* Two files: a.csv of three pieces (rows 1-10, 11-20, 21-30), b.csv of one.  Prints: 7 and 9 in a.csv's third piece, 7 in b.csv, -7 in a.csv's second. */
#define CONTENT                                                                                                                           \
	"INSERT INTO file VALUES (1, 'a.csv', 3000, 0, 3), (2, 'b.csv', 50, 3, 1);"                                                       \
	"INSERT INTO field VALUES (1, 'id'), (1, 'word'), (2, 'id');"                                                                     \
	"INSERT INTO piece VALUES (0, 1, 0, 1000, 1), (1, 1, 1000, 1000, 11), (2, 1, 2000, 1000, 21), (3, 2, 0, 50, 1);"                 \
	"INSERT INTO page VALUES (-9223372036854775801, x'" SEVEN "02000000" SEVEN "03000000" NINE "02000000'),"                          \
	" (9223372036854775801, x'" MINUS_SEVEN "01000000');"
#define SEVEN "0700000000000000"
#define NINE "0900000000000000"
#define MINUS_SEVEN "f9ffffffffffffff"
#define FIRST_PAGE " WHERE first < 0"

static struct row_index *open_with(const char *more, int *ret_code)
{
	struct db *db;
	struct row_index *x = NULL;
	struct err e = ERR_INIT;
	unlink(path);
	*ret_code = db_open(path, DB_CREATE | DB_SYNC_NONE, &db, &e);
	if (*ret_code)
		return NULL;
	*ret_code = db_exec(db, ROW_INDEX_SCHEMA CONTENT, &e);
	if (!*ret_code)
		*ret_code = db_set_format(db, ROW_INDEX_APPLICATION_ID, ROW_INDEX_FORMAT, &e);
	if (!*ret_code)
		*ret_code = db_exec(db, more, &e);
	db_close(db);
	if (!*ret_code)
		*ret_code = row_index_open(path, "index", &x, &e);
	return *ret_code ? NULL : x;
}

static bool any_column(void *arg, const char *name)
{
	(void)arg;
	(void)name;
	return true;
}

static bool only_id(void *arg, const char *name)
{
	(void)arg;
	return !strcmp(name, "id");
}

static const uint64_t asked[] = { 0, 5, 7, 8, 100, (uint64_t)-8, (uint64_t)-7, (uint64_t)-1 };

static int pieces_of(const char *more, const char *file, uint64_t size, bool head, bool (*column)(void *, const char *), struct row_piece **ret, size_t *ret_count)
{
	struct err e = ERR_INIT;
	int r;
	struct row_index *x = open_with(more, &r);
	*ret = NULL;
	if (!r)
		r = row_index_probe(x, asked, sizeof asked / sizeof *asked, &e);
	if (!r)
		r = row_index_pieces(x, file, size, head, column, NULL, ret, ret_count, &e);
	row_index_close(x);
	return r;
}

TEST(pieces_come_once_and_in_order)
{
	struct row_piece *p;
	size_t n;
	CHECK(!pieces_of("", "a.csv", 3000, false, any_column, &p, &n));
	CHECK(n == 2 && p[0].start == 1000 && p[0].first_row == 11 && p[1].start == 2000 && p[1].length == 1000 && p[1].first_row == 21);
	free(p);
	CHECK(!pieces_of("", "a.csv", 3000, true, any_column, &p, &n));
	CHECK(n == 3 && p[0].start == 0 && p[0].first_row == 1);
	free(p);
	CHECK(!pieces_of("", "b.csv", 50, true, only_id, &p, &n));
	CHECK(n == 1 && p[0].length == 50);
	free(p);
	CHECK(!pieces_of("UPDATE page SET places = x'" SEVEN "03000000'" FIRST_PAGE "; DELETE FROM page WHERE first > 0", "a.csv", 3000, true, any_column, &p, &n));
	CHECK(n == 0);
	free(p);
}

TEST(what_it_cannot_tell_is_scanned)
{
	struct row_piece *p;
	size_t n;
	CHECK(pieces_of("", "c.csv", 3000, false, any_column, &p, &n) == -ENOENT);
	CHECK(pieces_of("", "a.csv", 3000, false, only_id, &p, &n) == -ENOENT);
}

TEST(lies_are_refused)
{
	static const char *const lies[] = {
		"UPDATE file SET size = 2999",
		"UPDATE piece SET start = 2001 WHERE number = 2",
		"UPDATE piece SET length = 0",
		"UPDATE piece SET length = -1",
		"UPDATE piece SET start = 9223372036854775807",
		"UPDATE piece SET start = 1500, length = 600 WHERE number = 1",
		"UPDATE piece SET first_row = 5 WHERE number = 2",
		"UPDATE piece SET first_row = 'eleven'",
		"UPDATE piece SET first_row = 0",
		"UPDATE piece SET start = 1 WHERE number = 0",
		"UPDATE piece SET file = 2 WHERE number = 2",
		"DELETE FROM piece WHERE number = 2",
		"DELETE FROM piece WHERE number = 3",
		"INSERT INTO piece VALUES (-1, 1, 0, 1, 1); DELETE FROM piece WHERE number > -1",
		"INSERT INTO piece VALUES (67108864, 1, 0, 1, 1)",
		"UPDATE file SET first_piece = 1",
		"UPDATE file SET first_piece = -1",
		"UPDATE file SET first_piece = 4294967296",
		"UPDATE file SET pieces = 5",
		"UPDATE file SET pieces = 'three'",
		"UPDATE page SET places = x''",
		"UPDATE page SET places = 'text'",
		"UPDATE page SET places = x'" SEVEN "02000000" SEVEN "030000'" FIRST_PAGE,
		"UPDATE page SET places = x'" SEVEN "02000000" SEVEN "02000000'" FIRST_PAGE,
		"UPDATE page SET places = x'" SEVEN "03000000" SEVEN "02000000'" FIRST_PAGE,
		"UPDATE page SET places = x'" SEVEN "04000000'" FIRST_PAGE,
		"UPDATE page SET places = x'" SEVEN "ffffffff'" FIRST_PAGE,
		"UPDATE page SET places = x'" NINE "02000000'" FIRST_PAGE,
		"UPDATE page SET places = x'" SEVEN "02000000" "0600000000000000" "03000000'" FIRST_PAGE,
		"UPDATE page SET places = zeroblob(20 << 20)" FIRST_PAGE,
		"UPDATE field SET name = x'00'",
	};
	struct row_piece *p;
	size_t n;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		int r = pieces_of(lies[i], "a.csv", 3000, true, any_column, &p, &n);
		if (r != -EBADMSG)
			printf("not refused (%d): %s\n", r, lies[i]);
		CHECK(r == -EBADMSG);
	}
}

TEST(another_file_is_no_index)
{
	int r;
	CHECK(!open_with("CREATE TABLE more (x)", &r) && r == -EBADMSG);
	CHECK(!open_with("DROP INDEX field_file", &r) && r == -EBADMSG);
	CHECK(!open_with("PRAGMA user_version = 1", &r) && r == -EPROTONOSUPPORT);
	CHECK(!open_with("PRAGMA user_version = 3", &r) && r == -EPROTONOSUPPORT);
	CHECK(!open_with("PRAGMA application_id = 1", &r) && r == -EBADMSG);
}

CHECK_MAIN()
