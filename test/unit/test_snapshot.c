#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/snapshot_format.h"
#include "test/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static char folder[] = "/tmp/meshfs-test-snapshot-XXXXXX";
static struct err e;

#define CHECKS "{\"rows\":7,\"score\":0.5,\"failed_errors\":2,\"failed_warnings\":1,\"checks\":[]}"

static const char *scratch(void)
{
	if (strstr(folder, "XXXXXX") && !mkdtemp(folder))
		abort();
	err_clear(&e);
	return folder;
}

static struct version_info version(const char *number, unsigned char manifest)
{
	struct version_info v = { 0 };
	if (semver_parse(number, &v.number))
		abort();
	memset(v.manifest.bytes, manifest, SHA256_SIZE);
	v.manifest_size = 4096;
	v.published_ns = 1700000000000000000;
	v.files = 3;
	v.bytes = 12345;
	return v;
}

/* Ends an edit and opens what it wrote; the file stays (the edit's scratch file is moved away). */
static struct snapshot *finish(struct snapshot_edit *x, uint64_t generation)
{
	const char *path;
	struct digest digest;
	uint64_t size;
	struct snapshot *s = NULL;
	char *kept = text_format("%s/snapshot-%d", folder, (int)generation);
	if (snapshot_edit_finish(x, generation, 42, &path, &digest, &size, &e) || rename(path, kept) ||
	    snapshot_open(kept, "sales", &digest, &s, &e))
		printf("finish: %s\n", e.text);
	snapshot_edit_free(x);
	free(kept);
	return s;
}

static int count_products(void *arg, const struct product_info *p)
{
	buf_addf(arg, "%s(%u,%s,%s) ", p->name, p->versions, p->latest ? p->latest : "-", p->title ? p->title : "-");
	return 0;
}

static int count_versions(void *arg, const struct version_info *v)
{
	buf_addf(arg, "%s%s ", v->version, v->status == VERSION_ACTIVE ? "" : "!");
	return 0;
}

static int count_texts(void *arg, const char *name, const char *text, size_t len)
{
	buf_addf(arg, "%s=%.*s ", name, (int)len, text);
	return 0;
}

/* "2/1/0.5", "none" or "broken". */
static const char *checks_of(struct snapshot *s, const char *number)
{
	static char text[64];
	struct version_checks c;
	struct semver n;
	if (semver_parse(number, &n))
		abort();
	int r = snapshot_checks(s, "orders", &n, &c);
	snprintf(text, sizeof text, "%d/%d/%g", (int)c.failed_errors, (int)c.failed_warnings, c.score);
	return r == -ENOENT ? "none" : r == -EBADMSG ? "broken" : r ? "failed" : text;
}

static const char *versions_of(struct snapshot *s, const char *selector, struct buf *text)
{
	struct version_selector sel;
	buf_clear(text);
	if (version_selector_parse(selector, &sel) || snapshot_versions_matching(s, "orders", &sel, count_versions, text))
		return "failed";
	return buf_text(text);
}

static int count_condemned(void *arg, const struct condemned *c)
{
	buf_addf(arg, "%s@%d ", c->key, (int)c->generation);
	return 0;
}

TEST(round_trip)
{
	struct snapshot_edit *x;
	struct digest contract;
	struct buf text = BUF_INIT;
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	CHECK(snapshot_edit_base(x) == NULL);
	struct version_info v = version("1.9.0", 1);
	CHECK_OK(snapshot_edit_contract(x, "a: b\n", 5, &contract, &e), &e);
	v.contract = contract;
	v.publisher = (char *)"ana";
	CHECK_OK(snapshot_edit_add_version(x, "orders", &v, CHECKS, &e), &e);
	v = version("1.10.0", 2);
	CHECK_OK(snapshot_edit_add_version(x, "orders", &v, NULL, &e), &e);
	CHECK_INT(snapshot_edit_add_version(x, "orders", &v, NULL, &e), -EEXIST);
	v = version("2.0.0", 3);
	CHECK_OK(snapshot_edit_add_version(x, "orders", &v, NULL, &e), &e);
	CHECK_OK(snapshot_edit_withdraw(x, "orders", &v.number, "wrong", &e), &e);
	v = version("3.0.0", 4);
	CHECK_INT(snapshot_edit_withdraw(x, "orders", &v.number, "wrong", &e), -ENOENT);
	CHECK_OK(snapshot_edit_add_version(x, "a", &v, NULL, &e), &e);
	struct product_text t = { "All orders", "What was ordered", "active", "order_id price", "pii" };
	CHECK_OK(snapshot_edit_describe(x, "orders", &t, &e), &e);
	CHECK_INT(snapshot_edit_describe(x, "none", &t, &e), -ENOENT);
	CHECK_OK(snapshot_edit_policy(x, "x.policy", "policy x", 8, &e), &e);
	CHECK_INT(snapshot_edit_policy(x, "../x.policy", "policy x", 8, &e), -EINVAL);
	CHECK_OK(snapshot_edit_condemn(x, ".mesh/packs/ab", 7, &e), &e);
	CHECK_INT(snapshot_edit_condemn(x, "data/x.csv", 7, &e), -EINVAL);
	CHECK_INT(snapshot_edit_condemn(x, ".mesh/packs/../../x", 7, &e), -EINVAL);
	struct snapshot *s = finish(x, 1);
	CHECK(s != NULL);
	CHECK_INT(snapshot_generation(s), 1);
	CHECK_INT(snapshot_time_ns(s), 42);
	CHECK_INT(snapshot_products(s, count_products, &text), 0);
	CHECK_STR(buf_text(&text), "a(1,3.0.0,-) orders(2,1.10.0,All orders) ");
	buf_clear(&text);
	CHECK_INT(snapshot_versions(s, "orders", count_versions, &text), 0);
	CHECK_STR(buf_text(&text), "2.0.0! 1.10.0 1.9.0 ");
	buf_clear(&text);
	CHECK_INT(snapshot_policies(s, count_texts, &text), 0);
	CHECK_INT(snapshot_condemned(s, count_condemned, &text), 0);
	CHECK_STR(buf_text(&text), "x.policy=policy x .mesh/packs/ab@1 ");
	buf_clear(&text);
	int64_t since;
	CHECK_INT(snapshot_is_condemned(s, ".mesh/packs/ab", &since), 0);
	CHECK_INT(since, 7);
	CHECK_INT(snapshot_is_condemned(s, ".mesh/packs/abc", NULL), -ENOENT);
	struct version_info got;
	CHECK_INT(snapshot_version(s, "orders", "latest", &got), 0);
	CHECK_STR(got.version, "1.10.0");
	version_info_fini(&got);
	CHECK_INT(snapshot_version(s, "orders", "1.9", &got), 0);
	CHECK_STR(got.version, "1.9.0");
	CHECK_STR(got.publisher, "ana");
	CHECK(got.checked);
	CHECK_STR(checks_of(s, "1.9.0"), "2/1/0.5");
	CHECK_STR(checks_of(s, "1.10.0"), "none");
	CHECK_STR(checks_of(s, "1.8.0"), "none");
	buf_clear(&text);
	CHECK_INT(snapshot_quality(s, "orders", &got.number, &text), 0);
	CHECK_STR(buf_text(&text), CHECKS);
	buf_clear(&text);
	CHECK(!got.run && digest_equal(&got.contract, &contract) && got.manifest.bytes[5] == 1);
	version_info_fini(&got);
	CHECK_INT(snapshot_version(s, "orders", "2", &got), -ENOENT);
	CHECK_INT(snapshot_version(s, "orders", "2.0.0", &got), 0);
	CHECK_INT(got.status, VERSION_WITHDRAWN);
	CHECK_STR(got.withdrawn_reason, "wrong");
	version_info_fini(&got);
	CHECK_INT(snapshot_version(s, "none", "latest", &got), -ENOENT);
	CHECK_INT(snapshot_contract(s, &contract, &text), 0);
	CHECK_STR(buf_text(&text), "a: b\n");
	contract.bytes[0] ^= 1;
	CHECK_INT(snapshot_contract(s, &contract, &text), -ENOENT);
	buf_free(&text);
	snapshot_unref(s);
}

TEST(a_selector_finds_its_versions)
{
	static const char *const numbers[] = { "0.9.0", "1.2.0", "1.2.3", "1.10.0", "2.0.0", "2.0.1" };
	struct snapshot_edit *x;
	struct buf text = BUF_INIT;
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		struct version_info v = version(numbers[i], (unsigned char)i);
		CHECK_OK(snapshot_edit_add_version(x, "orders", &v, NULL, &e), &e);
		CHECK_OK(snapshot_edit_add_version(x, "other", &v, NULL, &e), &e);
	}
	struct snapshot *s = finish(x, 1);
	CHECK_STR(versions_of(s, "latest", &text), "2.0.1 2.0.0 1.10.0 1.2.3 1.2.0 0.9.0 ");
	CHECK_STR(versions_of(s, "1", &text), "1.10.0 1.2.3 1.2.0 ");
	CHECK_STR(versions_of(s, "1.2", &text), "1.2.3 1.2.0 ");
	CHECK_STR(versions_of(s, "1.2.3", &text), "1.2.3 ");
	CHECK_STR(versions_of(s, "1.2.4", &text), "");
	CHECK_STR(versions_of(s, "3", &text), "");
	buf_free(&text);
	snapshot_unref(s);
}

TEST(results_of_checks_that_cannot_be_read_are_broken)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "{\"score\":1,\"failed_errors\":0,\"failed_warnings\":0}", "0/0/1" },
		{ "{}", "broken" },
		{ "", "broken" },
		{ "[[[", "broken" },
		{ "{\"score\":1,\"failed_errors\":0}", "broken" },
		{ "{\"score\":1,\"failed_errors\":\"0\",\"failed_warnings\":0}", "broken" },
		{ "{\"score\":1,\"failed_errors\":0.5,\"failed_warnings\":0}", "broken" },
		{ "{\"score\":1,\"failed_errors\":99999999999999999999,\"failed_warnings\":0}", "broken" },
		{ "{\"score\":1e400,\"failed_errors\":0,\"failed_warnings\":0}", "broken" },
		{ "{\"score\":null,\"failed_errors\":0,\"failed_warnings\":0}", "broken" },
	};
	struct snapshot_edit *x;
	char number[VERSION_SIZE];
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(number, sizeof number, "1.%zu.0", i);
		struct version_info v = version(number, 1);
		CHECK_OK(snapshot_edit_add_version(x, "orders", &v, cases[i].text, &e), &e);
	}
	struct snapshot *s = finish(x, 1);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(number, sizeof number, "1.%zu.0", i);
		CHECK_STR(checks_of(s, number), cases[i].want);
	}
	snapshot_unref(s);
}

TEST(an_edit_leaves_its_base_alone)
{
	struct snapshot_edit *x;
	struct digest contract;
	struct buf text = BUF_INIT;
	struct version_info v = version("1.0.0", 1);
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	CHECK_OK(snapshot_edit_contract(x, "unused", 6, &contract, &e), &e);
	CHECK_OK(snapshot_edit_add_version(x, "orders", &v, NULL, &e), &e);
	struct snapshot *first = finish(x, 1);
	CHECK(first != NULL);
	CHECK_INT(snapshot_contract(first, &contract, &text), -ENOENT);
	CHECK_OK(snapshot_edit_begin("sales", first, scratch(), &x, &e), &e);
	CHECK(snapshot_edit_base(x) == first);
	v = version("1.1.0", 2);
	CHECK_OK(snapshot_edit_add_version(x, "orders", &v, NULL, &e), &e);
	CHECK_OK(snapshot_edit_condemn(x, ".mesh/packs/cd", 9, &e), &e);
	struct snapshot *second = finish(x, 2);
	CHECK(second != NULL);
	CHECK_INT(snapshot_versions(first, "orders", count_versions, &text), 0);
	CHECK_STR(buf_text(&text), "1.0.0 ");
	buf_clear(&text);
	CHECK_INT(snapshot_versions(second, "orders", count_versions, &text), 0);
	CHECK_INT(snapshot_condemned(second, count_condemned, &text), 0);
	CHECK_STR(buf_text(&text), "1.1.0 1.0.0 .mesh/packs/cd@2 ");
	buf_free(&text);
	snapshot_unref(first);
	snapshot_unref(second);
}

static int add_hit(void *arg, const struct search_hit *h)
{
	buf_addf(arg, "%s ", h->product);
	return h->score > 0 ? 0 : -ERANGE;
}

static void finds(struct snapshot *s, const char *a, const char *b, const char *expected)
{
	struct buf text = BUF_INIT;
	const char *words[] = { a, b };
	CHECK_INT(snapshot_search(s, words, b ? 2 : 1, add_hit, &text), 0);
	CHECK_STR(buf_text(&text), expected);
	buf_free(&text);
}

TEST(descriptions_make_the_newer_format)
{
	struct snapshot_edit *x;
	struct buf text = BUF_INIT;
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	struct snapshot *before = finish(x, 1);
	CHECK_INT(snapshot_descriptions(before, count_texts, &text), 0);
	CHECK_OK(snapshot_edit_begin("sales", before, scratch(), &x, &e), &e);
	CHECK_OK(snapshot_edit_description(x, "p-1", "id: p-1", 7, &e), &e);
	CHECK_OK(snapshot_edit_description(x, "p-2", "id: p-2", 7, &e), &e);
	CHECK_INT(snapshot_edit_description(x, "", "x", 1, &e), -EINVAL);
	CHECK_INT(snapshot_edit_description(x, "p-3", "\xff", 1, &e), -EINVAL);
	struct snapshot *s = finish(x, 2);
	CHECK(s != NULL);
	CHECK_INT(snapshot_descriptions(s, count_texts, &text), 0);
	CHECK_OK(snapshot_edit_begin("sales", s, scratch(), &x, &e), &e);
	CHECK_OK(snapshot_edit_description(x, "p-1", NULL, 0, &e), &e);
	CHECK_INT(snapshot_edit_description(x, "p-1", NULL, 0, &e), -ENOENT);
	struct snapshot *after = finish(x, 3);
	CHECK_INT(snapshot_descriptions(after, count_texts, &text), 0);
	CHECK_STR(buf_text(&text), "p-1=id: p-1 p-2=id: p-2 p-2=id: p-2 ");
	buf_free(&text);
	snapshot_unref(before);
	snapshot_unref(s);
	snapshot_unref(after);
}

TEST(search)
{
	static const struct {
		const char *name;
		struct product_text text;
	} products[] = {
		{ "orders", { "All orders", "What was ordered, by day", "active", "order_id customer_id price", "finance" } },
		{ "returns", { "Returned goods", "Which orders came back", "active", "return_id order_id reason", "finance" } },
		{ "customers", { "Customers", "Who buys", "active", "customer_id email caf\xc3\xa9", "pii" } },
		{ "gone", { "Orders of old", NULL, NULL, NULL, NULL } },
		{ "roads", { "Stra\xc3\x9f" "e", "Auftr\xc3\xa4ge je Stra\xc3\x9f" "e", "active", "category", "" } },
		{ "nyc-flights", { "Flights from New York", NULL, NULL, "dep_time OR", "" } },
	};
	struct snapshot_edit *x;
	struct version_info v = version("1.0.0", 1);
	CHECK_OK(snapshot_edit_begin("sales", NULL, scratch(), &x, &e), &e);
	for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
		CHECK_OK(snapshot_edit_add_version(x, products[i].name, &v, NULL, &e), &e);
		CHECK_OK(snapshot_edit_describe(x, products[i].name, &products[i].text, &e), &e);
	}
	CHECK_OK(snapshot_edit_withdraw(x, "gone", &v.number, "old", &e), &e);
	struct snapshot *s = finish(x, 1);
	CHECK(s != NULL);
	finds(s, "order", NULL, "orders returns ");
	finds(s, "ordering", NULL, "");
	finds(s, "finances", NULL, "orders returns ");
	finds(s, "flighty", NULL, "nyc-flights ");
	finds(s, "strasse", NULL, "roads ");
	finds(s, "Stra\xc3\x9f" "en", NULL, "roads ");
	finds(s, "auftraege", NULL, "roads ");
	finds(s, "AUFTR\xc3\x84GE", NULL, "roads ");
	finds(s, "category", NULL, "roads ");
	finds(s, "categories", NULL, "roads ");
	finds(s, "busses", NULL, "");
	finds(s, "orders", NULL, "orders returns ");
	finds(s, "ORDER", NULL, "orders returns ");
	finds(s, "customer", "pii", "customers ");
	finds(s, "finance", "reason", "returns ");
	finds(s, "finance", "nothing", "");
	finds(s, "cafe", NULL, "customers ");
	finds(s, "nyc-fli", NULL, "nyc-flights ");
	finds(s, "OR", NULL, "orders returns nyc-flights ");
	finds(s, "\"", "NEAR(", "");
	finds(s, "*", ")", "");
	finds(s, "", NULL, "");
	finds(s, "title:orders", NULL, "");
	snapshot_unref(s);
}

/* A valid snapshot changed by `sql`, opened with its true hash as domain `sales`. */
static int open_hostile(const char *sql)
{
	static char path[256];
	struct db *db;
	struct digest digest;
	uint64_t size;
	struct snapshot *s = NULL;
	struct version_info v = version("1.0.0", 1);
	struct snapshot_edit *x;
	if (snapshot_edit_begin("sales", NULL, scratch(), &x, &e) || snapshot_edit_add_version(x, "orders", &v, NULL, &e))
		abort();
	s = finish(x, 1);
	snprintf(path, sizeof path, "%s/snapshot-1", folder);
	snapshot_unref(s);
	s = NULL;
	if (db_open(path, 0, &db, &e) || db_exec(db, sql, &e)) {
		printf("%s\n", e.text);
		abort();
	}
	db_close(db);
	if (digest_of_file(path, &digest, &size, &e))
		abort();
	int r = snapshot_open(path, "sales", &digest, &s, &e);
	snapshot_unref(s);
	return r;
}

TEST(hostile_snapshots_are_refused)
{
	static const char *const broken[] = {
		"UPDATE meta SET domain = 'health'",
		"UPDATE meta SET generation = 0",
		"INSERT INTO meta SELECT * FROM meta",
		"DELETE FROM meta",
		"UPDATE product SET name = '../etc'",
		"UPDATE product SET name = 'latest'",
		"UPDATE product SET name = 'Orders'",
		"UPDATE product SET latest = '../../x'",
		"UPDATE product SET name = CAST(x'6f7200646572' AS TEXT)",
		"UPDATE version SET major = -1",
		"UPDATE version SET minor = 4294967296",
		"UPDATE version SET status = 7",
		"UPDATE version SET manifest = x'0102'",
		"UPDATE version SET contract = x''",
		"UPDATE version SET product = 77",
		"UPDATE version SET bytes = -5",
		"INSERT INTO policy VALUES ('a/b.policy', '')",
		"INSERT INTO policy VALUES ('x.policy', CAST(zeroblob(2000000) AS TEXT))",
		"INSERT INTO condemned VALUES ('data/precious.csv', 1, 1)",
		"INSERT INTO condemned VALUES ('.mesh/packs/../../precious', 1, 1)",
		"DROP TABLE policy",
		"CREATE VIEW extra AS SELECT * FROM product",
		"ALTER TABLE product RENAME TO real; CREATE VIEW product AS SELECT * FROM real",
		"CREATE TRIGGER t AFTER INSERT ON product BEGIN DELETE FROM product; END",
		"PRAGMA application_id = 1",
		"PRAGMA user_version = 0",
	};
	CHECK_INT(open_hostile("SELECT 1"), 0);
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		int r = open_hostile(broken[i]);
		if (r != -EBADMSG)
			CHECK_FAIL("%s: gave %d (%s)", broken[i], r, e.text);
	}
}

TEST(newer_format_says_so)
{
	CHECK_INT(open_hostile("PRAGMA user_version = 3"), -EPROTONOSUPPORT);
	CHECK(strstr(e.text, "newer meshfs"));
	CHECK_INT(open_hostile("UPDATE meta SET domain = 'health'"), -EBADMSG);
	CHECK(strstr(e.text, "another domain"));
}

/* Whatever bytes stand there: an error, or a snapshot that can be read without a crash. */
TEST(bit_flips_under_a_true_hash)
{
	struct buf good = BUF_INIT, out = BUF_INIT;
	char path[256];
	CHECK_INT(open_hostile("SELECT 1"), 0);
	snprintf(path, sizeof path, "%s/snapshot-1", folder);
	CHECK_OK(io_read_file(path, 1 << 24, &good, &e), &e);
	unsigned refused = 0;
	for (size_t i = 0; i < good.len; i += 1 + i % 97) {
		struct digest digest;
		struct snapshot *s = NULL;
		good.data[i] ^= (char)(1 + i % 255);
		sha256_of(good.data, good.len, &digest);
		int fd = open(path, O_WRONLY | O_TRUNC);
		CHECK(fd >= 0);
		CHECK_INT(io_write_full(fd, good.data, good.len), 0);
		close(fd);
		good.data[i] ^= (char)(1 + i % 255);
		if (snapshot_open(path, "sales", &digest, &s, &e)) {
			refused++;
			continue;
		}
		buf_clear(&out);
		snapshot_products(s, count_products, &out);
		snapshot_versions(s, "orders", count_versions, &out);
		snapshot_search(s, (const char *const[]){ "ord" }, 1, add_hit, &out);
		snapshot_unref(s);
	}
	CHECK(refused > 10);
	buf_free(&good);
	buf_free(&out);
}

TEST(wrong_hash_is_refused)
{
	struct snapshot *s = NULL;
	struct digest digest = { { 1 } };
	char path[256];
	CHECK_INT(open_hostile("SELECT 1"), 0);
	snprintf(path, sizeof path, "%s/snapshot-1", folder);
	CHECK_INT(snapshot_open(path, "sales", &digest, &s, &e), -EBADMSG);
	CHECK_INT(e.kind, ERR_INTEGRITY);
	CHECK_OK(io_remove_tree(folder, &e), &e);
}

CHECK_MAIN()
