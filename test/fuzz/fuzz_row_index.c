/*
 * An index of rows as a store gives it: a sound one with damage, a list of patches (where: 3 bytes, what: 1 byte).  Pieces that come out lie in the file, in
 * order.
 */
#include "catalog/base/io.h"
#include "catalog/db.h"
#include "fs/row_index.h"
#include "test/fuzz/suppress.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FILE_BYTES 40000
#define ROWS 200
#define PAGES 4
#define STEP 0x0123456789abcdefull

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf sound;
static int memory;
static char path[64];
static uint64_t asked[ROWS];

static void must(int r)
{
	if (r)
		abort();
}

/* Prints i * STEP for i from 1 to ROWS, five a piece. */
static void add_page(struct db *db, uint64_t page)
{
	unsigned char bytes[ROWS / PAGES * ROW_PLACE_BYTES];
	struct db_stmt *s;
	for (uint64_t i = 0; i < ROWS / PAGES; i++) {
		const uint64_t row = page * (ROWS / PAGES) + i, print = (row + 1) * STEP;
		const uint32_t piece = (uint32_t)row / 5;
		memcpy(bytes + i * ROW_PLACE_BYTES, &print, 8);
		memcpy(bytes + i * ROW_PLACE_BYTES + 8, &piece, 4);
	}
	must(db_prepare(db, "INSERT INTO page VALUES (?1, ?2)", &s, NULL));
	db_bind_int(s, 1, ROW_PAGE_KEY((page * (ROWS / PAGES) + 1) * STEP));
	db_bind_blob(s, 2, bytes, sizeof bytes);
	must(db_run(s, NULL));
	db_finalize(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	char folder[] = "/tmp/meshfs-fuzz-XXXXXX", file[64];
	struct db *db;
	struct err e = ERR_INIT;
	must(!mkdtemp(folder));
	snprintf(file, sizeof file, "%s/index", folder);
	must(db_open(file, DB_CREATE | DB_SYNC_NONE, &db, &e));
	must(db_exec(db,
		     ROW_INDEX_SCHEMA "INSERT INTO file VALUES (1, 'a.csv', 40000, 0, 40), (2, 'b.csv', 40000, 40, 0);"
				      "INSERT INTO field VALUES (1, 'id'), (2, 'id');"
				      "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 39)"
				      " INSERT INTO piece SELECT i, 1, i * 1000, 1000, i * 5 + 1 FROM n;",
		     &e));
	for (uint64_t page = 0; page < PAGES; page++)
		add_page(db, page);
	must(db_set_format(db, ROW_INDEX_APPLICATION_ID, ROW_INDEX_FORMAT, &e));
	db_close(db);
	must(io_read_file(file, 16 << 20, &sound, &e));
	io_remove_tree(folder, NULL);
	for (uint64_t i = 0; i < ROWS; i++)
		asked[i] = (i + 1) * STEP;
	memory = memfd_create("index", MFD_CLOEXEC);
	must(memory < 0 || ftruncate(memory, (off_t)sound.len));
	snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
	return 0;
}

static bool any_column(void *arg, const char *name)
{
	(void)arg;
	return name != NULL;
}

static void look_at_file(struct row_index *x, const char *name, bool head)
{
	struct row_piece *p = NULL;
	size_t n = 0;
	struct err e = ERR_INIT;
	if (row_index_pieces(x, name, FILE_BYTES, head, any_column, NULL, &p, &n, &e))
		return;
	for (size_t i = 0; i < n; i++)
		if (p[i].start + p[i].length > FILE_BYTES || !p[i].length || !p[i].first_row || (i && p[i].start < p[i - 1].start + p[i - 1].length))
			abort();
	if (head && n && p[0].start)
		abort();
	free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct row_index *x;
	struct err e = ERR_INIT;
	must(pwrite(memory, sound.data, sound.len, 0) != (ssize_t)sound.len);
	for (; size >= 4; data += 4, size -= 4)
		must(pwrite(memory, data + 3, 1, (off_t)((((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % sound.len))) != 1);
	if (row_index_open(path, "index", &x, &e))
		return 0;
	if (!row_index_probe(x, asked, ROWS, &e)) {
		look_at_file(x, "a.csv", true);
		look_at_file(x, "a.csv", false);
		look_at_file(x, "b.csv", true);
	}
	row_index_close(x);
	return 0;
}
