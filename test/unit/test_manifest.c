/* Manifests: what is written is read back, and what was tampered with is refused or read as -EBADMSG, never believed. */
#include "catalog/db.h"
#include "catalog/manifest.h"
#include "catalog/manifest_schema.h"
#include "catalog/manifest_write.h"
#include "test/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/meshfs-manifest-XXXXXX";
static char path[64], copy[64];
static struct stage_result staged;

__attribute__((constructor)) static void make_folder(void)
{
	if (!mkdtemp(folder))
		abort();
	snprintf(path, sizeof path, "%s/manifest", folder);
	snprintf(copy, sizeof copy, "%s/copy", folder);
}

__attribute__((destructor)) static void remove_folder(void)
{
	unlink(path);
	unlink(copy);
	rmdir(folder);
}

static void fill(void *to, size_t len, int value)
{
	memset(to, value, len);
}

static int put_file(struct stage *s, const char *name, uint32_t chunks, uint32_t pack, struct err *e)
{
	struct manifest_entry en = { .kind = ENTRY_FILE, .mtime_ns = 17, .size = chunks * 100, .chunk_count = chunks, .aligned = true };
	uint64_t first = 0;
	fill(&en.hash, sizeof en.hash, 7);
	fill(&en.content, sizeof en.content, 8);
	for (uint32_t i = 0; i < chunks; i++) {
		struct manifest_chunk c = { .file_offset = i * 100, .length = 100, .pack = pack, .pack_offset = 8 + i * 100,
					    .stored_length = 100, .raw_offset = i * 100, .slot = i, .piece = i };
		uint64_t id;
		fill(&c.digest, sizeof c.digest, (int)i);
		int r = stage_chunk(s, &c, NULL, &id, e);
		if (r)
			return r;
		if (!i)
			first = id;
	}
	return stage_put(s, name, &en, first, NULL, 0, false, e);
}

/* A file of one chunk of 1 MiB, with the leaves of so many zeros. */
static int put_long(struct stage *s, const char *name, uint32_t pack, struct err *e)
{
	static const unsigned char zeros[1 << 20];
	struct manifest_entry en = { .kind = ENTRY_FILE, .size = sizeof zeros, .chunk_count = 1 };
	struct manifest_chunk c = { .length = sizeof zeros, .pack = pack, .pack_offset = 8, .stored_length = sizeof zeros };
	struct leaf leaves[16];
	uint64_t id;
	chunk_digest_of(zeros, sizeof zeros, leaves, &c.digest);
	int r = stage_chunk(s, &c, leaves, &id, e);
	return r ? r : stage_put(s, name, &en, id, NULL, 0, false, e);
}

static int put_link(struct stage *s, const char *name, const char *target, struct err *e)
{
	const struct manifest_entry en = { .kind = ENTRY_SYMLINK };
	return stage_put(s, name, &en, 0, target, strlen(target), false, e);
}

static void stage_fill(struct stage *s, struct err *e)
{
	struct manifest_pack pack = { .size = 4096, .raw_size = 2000, .slots = 20 };
	const struct manifest_entry empty = { .kind = ENTRY_FOLDER, .mtime_ns = 3 };
	uint32_t number;
	snprintf(pack.key, sizeof pack.key, ".mesh/packs/%064d", 5);
	CHECK_OK(stage_pack(s, &pack, &number, e), e);
	CHECK_OK(put_file(s, "z.csv", 3, number, e), e);
	CHECK_OK(put_file(s, "a/deep/er/f.csv", 20, number, e), e);
	CHECK_OK(put_file(s, "a/\xff\n", 1, number, e), e);
	CHECK_OK(put_file(s, "a-b", 0, number, e), e);
	CHECK_OK(stage_put(s, "a/empty", &empty, 0, NULL, 0, false, e), e);
	CHECK_OK(put_link(s, "a/link", "../z.csv", e), e);
}

static void write_one(void)
{
	struct err e = ERR_INIT;
	struct stage *s;
	unlink(path);
	CHECK_OK(stage_new(folder, &s, &e), &e);
	stage_fill(s, &e);
	CHECK_OK(stage_write(s, path, "sales", "orders", "1.0.0", 99, &staged, &e), &e);
	stage_free(s);
}

static int collect_path(void *arg, const struct manifest_entry *en, const char *at)
{
	char *text = arg;
	sprintf(text + strlen(text), "%llu:%s ", (unsigned long long)en->row, at);
	return 0;
}

static int collect_name(void *arg, const struct manifest_entry *en, const char *name, size_t len)
{
	char *text = arg;
	sprintf(text + strlen(text), "%.*s|", (int)len, name);
	return en->kind == ENTRY_SYMLINK;
}

TEST(rows_are_breadth_first_and_sorted)
{
	struct err e = ERR_INIT;
	struct manifest *m;
	struct manifest_entry en;
	char text[512] = "";
	write_one();
	CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
	CHECK_INT(manifest_info(m)->files, 4);
	CHECK_INT(manifest_info(m)->bytes, 2400);
	CHECK_INT(manifest_walk(m, collect_path, text), 0);
	CHECK_STR(text, "1: 2:a 3:a-b 4:z.csv 5:a/deep 6:a/empty 7:a/link 8:a/\xff\n 9:a/deep/er 10:a/deep/er/f.csv ");
	text[0] = '\0';
	CHECK_INT(manifest_resolve(m, "a", &en), 0);
	CHECK_INT(manifest_list(m, en.row, 5, collect_name, text), 0);
	CHECK_STR(text, "empty|link|");
	CHECK_INT(manifest_resolve(m, "a/\xff\n", &en), 0);
	CHECK_INT(en.row, 8);
	CHECK_INT(manifest_resolve(m, "a/deep/er/f.csv/x", &en), -ENOENT);
	CHECK_INT(manifest_resolve(m, "a/.mesh", &en), -ENOENT);
	CHECK_INT(manifest_lookup(m, 1, "A", 1, &en), -ENOENT);
	CHECK_INT(manifest_get(m, 11, &en), -ENOENT);
	CHECK_INT(manifest_get(m, 0, &en), -ENOENT);
	manifest_unref(m);
}

TEST(chunks_are_found_by_offset_and_slot)
{
	struct err e = ERR_INIT;
	struct manifest *m;
	struct manifest_entry en;
	struct manifest_chunk c[20];
	uint32_t index;
	write_one();
	CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
	CHECK_INT(manifest_resolve(m, "a/deep/er/f.csv", &en), 0);
	CHECK_INT(manifest_chunks(m, en.row, 0, 20, c), 0);
	CHECK_INT(c[19].file_offset, 1900);
	CHECK_INT(manifest_chunks(m, en.row, 19, 2, c), -EINVAL);
	CHECK_INT(manifest_chunks(m, en.row, 5, 2, c), 0);
	CHECK_INT(c[1].file_offset, 600);
	for (uint64_t at = 0; at < 2000; at += 37) {
		CHECK_INT(manifest_chunk_at(m, en.row, at, &index), 0);
		CHECK_INT(index, at / 100);
	}
	CHECK_INT(manifest_chunk_at(m, en.row, 2000, &index), -EINVAL);
	CHECK_INT(manifest_pack_chunks(m, 1, 0, 20, c), 20); /* shared slots once */
	CHECK_INT(manifest_pack_chunks(m, 1, 18, 20, c), 2);
	CHECK_INT(manifest_pack_chunks(m, 2, 0, 20, c), 0);
	manifest_unref(m);
}

TEST(the_same_tree_has_the_same_digest_whatever_the_order_and_times)
{
	struct err e = ERR_INIT;
	struct stage *s;
	struct stage_result other;
	struct manifest_pack pack = { .size = 4096, .raw_size = 2000, .slots = 20, .key = ".mesh/packs/other" };
	const struct manifest_entry empty = { .kind = ENTRY_FOLDER, .mtime_ns = 4711 };
	uint32_t number;
	write_one();
	CHECK_OK(stage_new(folder, &s, &e), &e);
	CHECK_OK(stage_pack(s, &pack, &number, &e), &e);
	CHECK_OK(put_link(s, "a/link", "../z.csv", &e), &e);
	CHECK_OK(put_file(s, "gone/x", 1, number, &e), &e);
	CHECK_OK(put_file(s, "a/\xff\n", 1, number, &e), &e);
	CHECK_OK(put_file(s, "a-b", 0, number, &e), &e);
	CHECK_OK(stage_put(s, "a/empty", &empty, 0, NULL, 0, false, &e), &e);
	CHECK_OK(put_file(s, "a/deep/er/f.csv", 20, number, &e), &e);
	CHECK_OK(put_file(s, "z.csv", 3, number, &e), &e);
	CHECK_INT(put_file(s, "z.csv", 3, number, &e), -EEXIST);
	CHECK_INT(put_file(s, "z.csv/below", 1, number, &e), -ENOTDIR);
	CHECK_OK(stage_remove(s, "gone", &e), &e);
	CHECK_INT(stage_remove(s, "gone/x", &e), -ENOENT);
	CHECK_OK(stage_write(s, copy, "sales", "orders", "1.0.1", 100, &other, &e), &e);
	CHECK(digest_equal(&other.tree, &staged.tree));
	CHECK(!digest_equal(&other.digest, &staged.digest));
	unlink(copy);
	stage_seal(s); /* building onto it: a file may replace a folder */
	CHECK_OK(put_file(s, "a", 1, number, &e), &e);
	CHECK_OK(stage_write(s, copy, "sales", "orders", "1.0.2", 100, &other, &e), &e);
	CHECK_INT(other.files, 3);
	unlink(copy);
	stage_free(s);
}

/* -- hostile files -------------------------------------------------------------------------- */

static void read_all(const char *file)
{
	struct manifest *m;
	struct manifest_entry en;
	struct manifest_chunk c[64];
	struct buf b = BUF_INIT;
	char text[65536] = "";
	if (manifest_open(file, "sales", "orders", "1.0.0", &m, NULL))
		return;
	manifest_walk(m, collect_path, text);
	for (uint64_t row = 1; row <= 12; row++) {
		uint32_t at;
		if (manifest_get(m, row, &en))
			continue;
		text[0] = '\0';
		manifest_list(m, row, 0, collect_name, text);
		manifest_link(m, row, &b);
		manifest_path(m, row, &b);
		manifest_chunks(m, row, 0, en.chunk_count < 64 ? en.chunk_count : 64, c);
		manifest_chunk_at(m, row, en.size / 2, &at);
	}
	manifest_pack_chunks(m, 1, 0, 64, c);
	buf_free(&b);
	manifest_unref(m);
}

static size_t load(const char *from, unsigned char *bytes, size_t max)
{
	FILE *f = fopen(from, "rb");
	size_t n = fread(bytes, 1, max, f);
	fclose(f);
	return n;
}

static void save(const char *to, const unsigned char *bytes, size_t len)
{
	FILE *f = fopen(to, "wb");
	if (!f || fwrite(bytes, 1, len, f) != len)
		abort();
	fclose(f);
}

TEST(truncated_and_flipped_files_do_no_harm)
{
	static unsigned char bytes[1 << 20];
	write_one();
	size_t len = load(path, bytes, sizeof bytes);
	for (size_t n = 0; n < len; n += 509) {
		save(copy, bytes, n);
		read_all(copy);
	}
	for (size_t i = 0; i < len; i += 97) {
		bytes[i] ^= 0xff;
		save(copy, bytes, len);
		read_all(copy);
		bytes[i] ^= 0xff;
	}
	unlink(copy);
}

TEST(another_version_or_format_is_refused)
{
	static unsigned char bytes[1 << 20];
	struct err e = ERR_INIT;
	struct manifest *m;
	write_one();
	CHECK_INT(manifest_open(path, "other", "orders", "1.0.0", &m, &e), -EBADMSG);
	CHECK(strstr(e.text, "belongs to sales/orders/1.0.0") != NULL);
	CHECK_INT(manifest_open(path, "sales", "orders", "1.0.1", &m, &e), -EBADMSG);
	size_t len = load(path, bytes, sizeof bytes);
	bytes[63] = MANIFEST_FORMAT + 1;
	save(copy, bytes, len);
	err_clear(&e);
	CHECK_INT(manifest_open(copy, "sales", "orders", "1.0.0", &m, &e), -EPROTONOSUPPORT);
	CHECK(strstr(e.text, "sales/orders/1.0.0: manifest: written in format") && strstr(e.text, "newer meshfs"));
	CHECK_INT(e.kind, ERR_FAIL);
	bytes[63] = MANIFEST_FORMAT_OLDEST - 1;
	save(copy, bytes, len);
	err_clear(&e);
	CHECK_INT(manifest_open(copy, "sales", "orders", "1.0.0", &m, &e), -EPROTONOSUPPORT);
	CHECK(strstr(e.text, "older") != NULL);
	CHECK_INT(e.kind, ERR_FAIL);
	unlink(copy);
}

/* Changes a manifest by SQL, as a hostile store could. */
static void tamper(const char *sql)
{
	struct err e = ERR_INIT;
	struct db *db;
	write_one();
	CHECK_OK(db_open(path, 0, &db, &e), &e);
	CHECK_OK(db_exec(db, sql, &e), &e);
	db_close(db);
}

static const char *const hostile[] = {
	"UPDATE entry SET name = x'2e2e' WHERE row = 3",                  /* ".." */
	"UPDATE entry SET name = x'612f62' WHERE row = 3",                /* "a/b" */
	"UPDATE entry SET name = x'6100' WHERE row = 3",                  /* NUL */
	"UPDATE entry SET name = x'' WHERE row = 3",
	"UPDATE entry SET name = 'a-b' WHERE row = 3",                    /* a text */
	"UPDATE entry SET name = zeroblob(300) WHERE row = 3",
	"UPDATE entry SET name = x'2e6d657368' WHERE row = 3",            /* ".mesh" */
	"UPDATE entry SET parent = 9 WHERE row = 3",
	"UPDATE entry SET kind = 4 WHERE row = 3",
	"UPDATE entry SET size = -1 WHERE row = 4",
	"UPDATE entry SET hash = x'00' WHERE row = 4",
	"UPDATE entry SET chunk_count = 4294967296 WHERE row = 4",
	"UPDATE entry SET first_child = 1 WHERE row = 2",                 /* a loop */
	"UPDATE entry SET child_count = 1000000 WHERE row = 2",
	"DELETE FROM entry WHERE row = 3",
};

static int stop_never(void *arg, const struct manifest_entry *en, const char *at)
{
	(void)arg, (void)en, (void)at;
	return 0;
}

static int walk_and_list(struct manifest *m)
{
	struct manifest_entry en;
	char text[4096];
	int r = manifest_walk(m, stop_never, NULL);
	for (uint64_t row = 1; row <= 10 && !r; row++) {
		r = manifest_get(m, row, &en);
		text[0] = '\0';
		if (!r && en.kind == ENTRY_FOLDER)
			r = manifest_list(m, row, 0, collect_name, text);
	}
	return r;
}

TEST(tampered_entries_are_noticed)
{
	for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
		struct err e = ERR_INIT;
		struct manifest *m;
		tamper(hostile[i]);
		CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
		int r = walk_and_list(m);
		manifest_unref(m);
		if (r != -EBADMSG)
			CHECK_FAIL("%s: gave %d", hostile[i], r);
	}
}

static const char *const hostile_chunks[] = {
	"UPDATE chunk SET length = 0 WHERE file_offset = 500",
	"UPDATE chunk SET length = 99 WHERE file_offset = 500",
	"UPDATE chunk SET length = 9223372036854775807 WHERE file_offset = 500",
	"UPDATE chunk SET file_offset = 501 WHERE file_offset = 500",
	"UPDATE chunk SET codec = 7 WHERE file_offset = 500",
	"UPDATE chunk SET stored_length = 101 WHERE file_offset = 500",
	"UPDATE chunk SET pack_offset = -1 WHERE file_offset = 500",
	"UPDATE chunk SET pack = 0 WHERE file_offset = 500",
	"UPDATE chunk SET digest = x'aa' WHERE file_offset = 500",
	"UPDATE entry SET size = 2001 WHERE row = 10",
	"DELETE FROM chunk WHERE file_offset = 500",
};

TEST(tampered_chunks_are_noticed)
{
	for (size_t i = 0; i < sizeof hostile_chunks / sizeof *hostile_chunks; i++) {
		struct err e = ERR_INIT;
		struct manifest *m;
		struct manifest_chunk c[20];
		tamper(hostile_chunks[i]);
		CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
		int r = manifest_chunks(m, 10, 0, 20, c);
		manifest_unref(m);
		if (r != -EBADMSG)
			CHECK_FAIL("%s: gave %d", hostile_chunks[i], r);
	}
}

static void write_long(const char *sql)
{
	struct err e = ERR_INIT;
	struct manifest_pack pack = { .size = 2 << 20, .raw_size = 1 << 20, .slots = 1 };
	struct stage *s;
	struct db *db;
	uint32_t number;
	unlink(path);
	snprintf(pack.key, sizeof pack.key, ".mesh/packs/%064d", 5);
	CHECK_OK(stage_new(folder, &s, &e), &e);
	CHECK_OK(stage_pack(s, &pack, &number, &e), &e);
	CHECK_OK(put_long(s, "long.bin", number, &e), &e);
	CHECK_OK(stage_write(s, path, "sales", "orders", "1.0.0", 99, &staged, &e), &e);
	stage_free(s);
	if (!sql)
		return;
	CHECK_OK(db_open(path, 0, &db, &e), &e);
	CHECK_OK(db_exec(db, sql, &e), &e);
	db_close(db);
}

TEST(leaves_must_be_the_chunks)
{
	static const char *const hostile_leaves[] = {
		"UPDATE chunk SET leaves = NULL",
		"UPDATE chunk SET leaves = x''",
		"UPDATE chunk SET leaves = zeroblob(16 * 24)",
		"UPDATE chunk SET leaves = substr(leaves, 1, 15 * 24)",
		"UPDATE chunk SET leaves = leaves || zeroblob(24)",
		"UPDATE chunk SET leaves = CAST(leaves AS TEXT)",
		"UPDATE chunk SET digest = zeroblob(32)",
		"UPDATE chunk SET piece = 1",
	};
	for (size_t i = 0; i <= sizeof hostile_leaves / sizeof *hostile_leaves; i++) {
		struct err e = ERR_INIT;
		struct manifest *m;
		struct manifest_chunk c;
		struct leaf leaves[16];
		const char *sql = i ? hostile_leaves[i - 1] : NULL;
		write_long(sql);
		CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
		int r = manifest_chunks(m, 2, 0, 1, &c);
		if (!r)
			r = manifest_leaves(m, 2, 0, &c, leaves);
		CHECK_INT(manifest_leaves(m, 2, 1, &c, leaves), -EINVAL);
		manifest_unref(m);
		if (r != (i ? -EBADMSG : 0))
			CHECK_FAIL("%s: gave %d", sql ? sql : "as it was written", r);
	}
}

TEST(tampered_packs_and_links_are_noticed)
{
	static const char *const keys[] = { "../../etc/passwd", ".mesh/packs/../HEAD", ".mesh/HEAD", "/etc/passwd", "" };
	struct err e = ERR_INIT;
	struct manifest *m;
	struct manifest_pack pack;
	for (int in_place = 0; in_place < 2; in_place++) {
		for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
			char sql[200];
			snprintf(sql, sizeof sql, "UPDATE pack SET in_place = %d, key = '%s'", in_place, keys[i]);
			tamper(sql);
			CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
			CHECK_INT(manifest_pack(m, 1, &pack), -EBADMSG);
			manifest_unref(m);
		}
	}
	static const char *const targets[] = { "/etc/passwd", "../../x", "../a/../../x", "b/../../x" };
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		struct buf b = BUF_INIT;
		char sql[200];
		snprintf(sql, sizeof sql, "UPDATE entry SET target = CAST('%s' AS BLOB), size = %zu WHERE row = 7", targets[i], strlen(targets[i]));
		tamper(sql);
		CHECK_OK(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), &e);
		CHECK_INT(manifest_link(m, 7, &b), -EBADMSG);
		manifest_unref(m);
		buf_free(&b);
	}
}

TEST(other_tables_are_refused)
{
	struct err e = ERR_INIT;
	struct manifest *m;
	tamper("CREATE TRIGGER t AFTER INSERT ON entry BEGIN SELECT 1; END");
	CHECK_INT(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), -EBADMSG);
	tamper("DELETE FROM manifest");
	CHECK_INT(manifest_open(path, "sales", "orders", "1.0.0", &m, &e), -EBADMSG);
}

TEST(symlinks_must_stay_inside)
{
	CHECK_INT(symlink_check("a/l", "../x", 4), 0);
	CHECK_INT(symlink_check("a/l", "b/./c", 5), 0);
	CHECK_INT(symlink_check("a/b/l", "../../x", 7), 0);
	CHECK_INT(symlink_check("l", "../x", 4), -EXDEV);
	CHECK_INT(symlink_check("a/l", "../../x", 7), -EXDEV);
	CHECK_INT(symlink_check("a/l", "/x", 2), -EXDEV);
	CHECK_INT(symlink_check("a/l", "", 0), -EXDEV);
	CHECK_INT(symlink_check("a/l", "b/..", 4), -EXDEV); /* b may be a link that leads further up */
	CHECK_INT(symlink_check("a/l", "a\0b", 3), -EXDEV);
}

CHECK_MAIN()
