#include "test/unit/check.h"

#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/map.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(err_positions_and_kinds)
{
	struct err e = ERR_INIT;
	CHECK_INT(err_exit_status(&e), 0);
	CHECK_INT(err_at(&e, "mesh.yaml", 3, 7, "no %s", "store"), -EINVAL);
	CHECK_STR(e.text, "mesh.yaml:3:7: no store");
	CHECK_INT(err_exit_status(&e), 2);
	CHECK_INT(err_set(&e, -ENOENT, "no such version"), -ENOENT);
	CHECK_INT(err_prefix(&e, -EIO, "sales"), -ENOENT);
	CHECK_STR(e.text, "sales: no such version");
	CHECK_INT(err_exit_status(&e), 4);
	err_set(&e, -EBADMSG, "line\nbreak %s", e.text);
	CHECK_STR(e.text, "line break sales: no such version");
	CHECK_INT(err_exit_status(&e), 5);
	CHECK_INT(err_set(NULL, -EIO, "dropped"), -EIO);
}

TEST(err_survives_long_text)
{
	struct err e = ERR_INIT;
	char big[4 * ERR_TEXT_MAX];
	memset(big, 'x', sizeof big - 1);
	big[sizeof big - 1] = '\0';
	err_set(&e, -EIO, "%s", big);
	CHECK(strlen(e.text) < ERR_TEXT_MAX);
	err_prefix(&e, -EIO, "%s", big);
	CHECK(strlen(e.text) < ERR_TEXT_MAX);
}

TEST(globs)
{
	static const struct {
		const char *glob, *path;
		bool match;
	} cases[] = {
		{ "a", "a", true }, { "a", "b", false }, { "*.csv", "x.csv", true }, { "*.csv", "d/x.csv", false },
		{ "**", "", true }, { "**", "a/b/c", true }, { "a/**", "a", true }, { "a/**", "a/b/c", true },
		{ "a/**", "ab", false }, { "**/x.csv", "x.csv", true }, { "**/x.csv", "a/b/x.csv", true },
		{ "**/x.csv", "a/bx.csv", false }, { "a/**/z", "a/z", true }, { "a/**/z", "a/b/c/z", true },
		{ "a/*/z", "a/b/z", true }, { "a/*/z", "a/b/c/z", false }, { "?.csv", "a.csv", true },
		{ "?.csv", "/.csv", false }, { "*", "", true }, { "a*b*c", "axxbyyc", true }, { "a*b*c", "axxbyy", false },
		{ "**.csv", "a/b.csv", true }, { "health/encounters/**", "health/encounters/2.0.0/e.csv", true },
		{ "health/encounters/**", "health/encounters2/e", false }, { "a/**/b/**/c", "a/b/b/c", true },
		{ "M?ller", "M\xC3\xBCller", true }, { "M??ller", "M\xC3\xBCller", false }, { "*?ller", "M\xC3\xBCller", true }, { "a/???", "a/\xE2\x82\xACuro", false },
		{ "a/?uro", "a/\xE2\x82\xACuro", true }, { "a/?", "a/\xFF", true },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (text_glob(cases[i].glob, cases[i].path) != cases[i].match)
			CHECK_FAIL("glob %s on %s", cases[i].glob, cases[i].path);
}

TEST(nearest_names)
{
	static const char *const names[] = { "publish", "withdraw", "mount", "umount" };
	CHECK_STR(text_nearest("publsh", names, 4), "publish");
	CHECK(text_nearest("zebra", names, 4) == NULL);
}

TEST(sizes_and_durations)
{
	uint64_t n;
	int64_t ms;
	CHECK(!text_parse_size("20GiB", &n) && n == 20ull << 30);
	CHECK(!text_parse_size("1.5 MiB", &n) && n == 3u << 19);
	CHECK(!text_parse_size("100", &n) && n == 100);
	CHECK(text_parse_size("-1", &n) && text_parse_size("5 parsecs", &n) && text_parse_size("1e300 TiB", &n));
	CHECK(!text_parse_duration_ms("5s", &ms) && ms == 5000);
	CHECK(!text_parse_duration_ms("250ms", &ms) && ms == 250);
	CHECK(text_parse_duration_ms("5 fortnights", &ms) && text_parse_duration_ms("", &ms));
	char text[TEXT_SIZE_MAX];
	text_size(1536, text);
	CHECK_STR(text, "1.5 KiB");
}

TEST(times)
{
	int64_t ns;
	char text[CLOCK_TEXT_MAX];
	CHECK(!clock_parse("2026-11-22T21:20:00.5Z", &ns));
	clock_format_ns(ns, text);
	CHECK_STR(text, "2026-11-22T21:20:00.500Z");
	CHECK(!clock_parse("2026-11-22T23:20:00+02:00", &ns));
	clock_format_ns(ns, text);
	CHECK_STR(text, "2026-11-22T21:20:00.000Z");
	CHECK(!clock_parse("2024-02-29", &ns));
	static const char *const bad[] = { "2023-02-29", "2026-13-01", "2026-1-1", "22.11.2026", "2026-11-22x", "2026-11-22T25:00", "", "1500-01-01" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!clock_parse(bad[i], &ns))
			CHECK_FAIL("accepted %s", bad[i]);
	clock_format_ns(-1, text);
	CHECK_STR(text, "1969-12-31T23:59:59.999Z");
}

TEST(hashes)
{
	struct digest d;
	struct xxh128 x;
	char hex[SHA256_HEX_SIZE];
	sha256_of("abc", 3, &d);
	hex_format(d.bytes, SHA256_SIZE, hex);
	CHECK_STR(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	struct digest again;
	CHECK(!hex_parse(hex, again.bytes, SHA256_SIZE) && digest_equal(&d, &again));
	CHECK(hex_parse("zz", again.bytes, 1) && hex_parse("abc", again.bytes, 1) && hex_parse("a", again.bytes, 1));
	hmac_sha256_of("key", 3, "The quick brown fox jumps over the lazy dog", 43, &d);
	hex_format(d.bytes, SHA256_SIZE, hex);
	CHECK_STR(hex, "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
	xxh128_of("", 0, &x);
	hex_format(x.bytes, XXH128_SIZE, hex);
	CHECK_STR(hex, "99aa06d3014798d86001c324468d497f");
}

static struct doc *doc(const char *text, struct err *e)
{
	struct doc *d = NULL;
	doc_parse("t.yaml", text, strlen(text), &d, e);
	return d;
}

TEST(doc_yaml_1_2)
{
	struct err e = ERR_INIT;
	struct doc *d = doc("day: 2026-11-22\nyes: no\nn: 12\nq: \"12\"\nlist: [a, ~, {b: 1.50}]\nbase: &x {k: v}\nuse: {<<: *x, l: w}\n", &e);
	if (!d)
		CHECK_FAIL("%s", e.text);
	const struct doc_node *r = doc_root(d);
	int64_t n;
	bool b;
	CHECK_STR(doc_get_text(r, "day"), "2026-11-22");
	CHECK_STR(doc_get_text(r, "yes"), "no");
	CHECK(doc_bool(doc_get(r, "yes"), &b));
	CHECK(!doc_int(doc_get(r, "n"), &n) && n == 12);
	CHECK(doc_int(doc_get(r, "q"), &n));
	CHECK_INT(doc_count(doc_get(r, "list")), 3);
	CHECK_INT(doc_kind(doc_item(doc_get(r, "list"), 1)), DOC_NULL);
	CHECK_STR(doc_text(doc_path(r, "use.k")), "v");
	CHECK_INT(doc_line(doc_get(r, "n")), 3);
	CHECK_INT(doc_column(doc_get(r, "n")), 4);
	struct buf json = BUF_INIT;
	doc_to_json(doc_get(r, "list"), &json);
	CHECK_STR(buf_text(&json), "[\"a\",null,{\"b\":1.5}]");
	buf_free(&json);
	doc_free(d);
}

static void doc_refused(const char *text, const char *words)
{
	struct err e = ERR_INIT;
	struct doc *d = doc(text, &e);
	doc_free(d);
	if (d)
		CHECK_FAIL("accepted: %s", text);
	if (!strstr(e.text, words))
		CHECK_FAIL("\"%s\" does not say \"%s\"", e.text, words);
	CHECK(text_starts(e.text, "t.yaml:"));
}

TEST(doc_refusals)
{
	doc_refused("a: 1\nb: [\n", "t.yaml:");
	doc_refused("a: 1\na: 2\n", "2:1: 'a' stands here twice");
	doc_refused("a: *nowhere\n", "no anchor");
	doc_refused("a: &x [*x]\n", "no anchor");
	doc_refused("a: 1\n---\nb: 2\n", "more than one");
	doc_refused("a: \"\\0\"\n", "NUL");
	doc_refused("\xff\xfe", "UTF-8");
	char deep[400];
	memset(deep, '[', 200);
	memset(deep + 200, ']', 199);
	deep[399] = '\0';
	doc_refused(deep, "t.yaml:");
}

/* Aliases make little text a great deal of JSON: it ends as a failed buffer, in maps and in lists, not as an abort. */
/* Each level names the one below `width` times; levels below 0 are in `leaf`. */
static int parse_levels(const char *leaf, int levels, int width, struct doc **ret, struct err *e)
{
	struct buf text = BUF_INIT;
	buf_addf(&text, "a0: &a0 %s\n", leaf);
	for (int i = 1; i < levels; i++) {
		buf_addf(&text, "a%d: &a%d {", i, i);
		for (int j = 0; j < width; j++)
			buf_addf(&text, "%sk%d: *a%d", j ? ", " : "", j, i - 1);
		buf_adds(&text, "}\n");
	}
	int r = doc_parse("bomb", text.data, text.len, ret, e);
	buf_free(&text);
	return r;
}

TEST(doc_aliases_written_out_have_a_bound)
{
	struct err e = ERR_INIT;
	struct doc *d = NULL;
	CHECK_INT(parse_levels("{k: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, l: [1, 2]}", 9, 10, &d, &e), -EINVAL);
	CHECK(strstr(e.text, "with its aliases written out") != NULL);
	CHECK_INT(parse_levels("x", DOC_DEPTH_MAX + 2, 1, &d, &e), -EINVAL);
	CHECK(strstr(e.text, "nested deeper than 64 levels") != NULL);
	CHECK(!d);
	CHECK_OK(parse_levels("x", DOC_DEPTH_MAX - 2, 1, &d, &e), &e);
	doc_free(d);
	CHECK_OK(parse_levels("{k: x}", 4, 10, &d, &e), &e);
	doc_free(d);
}

/* Escapes make JSON six times as long as the text. */
TEST(doc_json_too_long_fails)
{
	struct buf text = BUF_INIT, json = BUF_INIT;
	struct err e = ERR_INIT;
	struct doc *d = NULL;
	buf_adds(&text, "{a: &a \"");
	for (int i = 0; i < 1 << 20; i++)
		buf_adds(&text, "\\a\\b\\a");
	buf_adds(&text, "\", k: [*a, *a, *a, *a], z: 1}");
	CHECK_OK(doc_parse("long", text.data, text.len, &d, &e), &e);
	doc_to_json(doc_root(d), &json);
	CHECK_INT(buf_check(&json), -ENOMEM);
	CHECK(json.len < (90u << 20));
	buf_free(&json);
	buf_free(&text);
	doc_free(d);
}

TEST(doc_json_and_empty)
{
	struct err e = ERR_INIT;
	struct doc *d = doc("{\"a\": [1, true, \"x\\u0041\"]}", &e);
	CHECK(d != NULL);
	CHECK_STR(doc_text(doc_item(doc_get(doc_root(d), "a"), 2)), "xA");
	doc_free(d);
	d = doc("", &e);
	CHECK(d != NULL);
	CHECK_INT(doc_kind(doc_root(d)), DOC_NULL);
	doc_free(d);
}

TEST(json_is_always_valid)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "a\"b", "x\n\x01\xff\xc3\xa9");
	json_field_double(&j, "inf", 1.0 / 0.0);
	json_field_text(&j, "none", NULL);
	json_key(&j, "l");
	json_open(&j, '[');
	json_int(&j, 1);
	json_bool(&j, true);
	json_close(&j, ']');
	json_close(&j, '}');
	CHECK_STR(buf_text(&b), "{\"a\\\"b\":\"x\\n\\u0001\xef\xbf\xbd\xc3\xa9\",\"inf\":null,\"none\":null,\"l\":[1,true]}");
	buf_free(&b);
}

TEST(map_many)
{
	struct map *m = map_new();
	for (uintptr_t i = 1; i <= 5000; i++)
		CHECK(!map_set(m, &i, sizeof i, (void *)i, NULL));
	for (uintptr_t i = 1; i <= 5000; i += 2)
		CHECK(map_remove(m, &i, sizeof i) == (void *)i);
	CHECK_INT(map_count(m), 2500);
	for (uintptr_t i = 1; i <= 5000; i++)
		CHECK(map_get(m, &i, sizeof i) == (i % 2 ? NULL : (void *)i));
	size_t at = 0, n = 0;
	while (map_next(m, &at, NULL, NULL, NULL))
		n++;
	CHECK_INT(n, 2500);
	map_free(m, NULL);
}

static atomic_int ran;

static void job(void *arg)
{
	struct pool *p = arg;
	if (atomic_fetch_add(&ran, 1) < 50)
		pool_submit(p, 0, job, p);
}

TEST(pool_runs_everything)
{
	struct pool *p = pool_new("test", 4, 8);
	CHECK(p != NULL);
	atomic_store(&ran, 0);
	for (int i = 0; i < 100; i++)
		CHECK(!pool_submit(p, i % 3, job, p));
	pool_drain(p);
	CHECK_INT(atomic_load(&ran), 150);
	pool_free(p);
}

TEST(files)
{
	char folder[] = "/tmp/meshfs-test-XXXXXX";
	CHECK(mkdtemp(folder) != NULL);
	struct err e = ERR_INIT;
	char *path = io_join(folder, "a/b/c");
	CHECK_OK(io_make_parents(path, 0700, &e), &e);
	CHECK_OK(io_write_file(path, "hello", 5, 0600, &e), &e);
	CHECK_OK(io_write_file(path, "world!", 6, 0640, &e), &e);
	struct stat st;
	CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0640);
	struct buf b = BUF_INIT;
	CHECK_OK(io_read_file(path, 100, &b, &e), &e);
	CHECK_STR(buf_text(&b), "world!");
	buf_clear(&b);
	CHECK_OK(io_write_cached(path, "cached", 6, 0600, &e), &e);
	CHECK(!stat(path, &st) && (st.st_mode & 0777) == 0600);
	CHECK_OK(io_read_file(path, 100, &b, &e), &e);
	CHECK_STR(buf_text(&b), "cached");
	buf_clear(&b);
	CHECK_INT(io_read_file(path, 3, &b, &e), -EFBIG);
	CHECK_INT(io_read_file("/nonexistent/x", 3, &b, &e), -ENOENT);
	CHECK_OK(io_remove_tree(folder, &e), &e);
	CHECK(stat(folder, &st) && errno == ENOENT);
	CHECK_OK(io_remove_tree(folder, &e), &e);
	buf_free(&b);
	free(path);
}

TEST(printable)
{
	char *t = text_printable("a\n\xff\xc3\xa9", 5);
	CHECK_STR(t, "a\\x0a\\xff\xc3\xa9");
	free(t);
	char line[100];
	for (size_t at = 0; at < sizeof line; at++) { /* wherever it stands */
		memset(line, 'a', sizeof line);
		CHECK(text_is_utf8(line, sizeof line));
		line[at] = '\xff';
		CHECK(!text_is_utf8(line, sizeof line) && text_is_utf8(line, at));
	}
	CHECK(text_is_utf8("\xf0\x9f\x98\x80", 4));
	CHECK(!text_is_utf8("\xed\xa0\x80", 3) && !text_is_utf8("\xc0\x80", 2) && !text_is_utf8("\xf5\x80\x80\x80", 4));
}

CHECK_MAIN()
