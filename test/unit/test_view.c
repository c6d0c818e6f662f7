/* Views of line formats: what each quirk of real files gives.  Random cases and other readers: test/e2e/test_views_oracle.py. */
#include "catalog/csv_scan.h"
#include "policy/json_scan.h"
#include "test/unit/check.h"
#include "test/view_case.h"

#include <zlib.h>
#include <zstd.h>

#define PEOPLE                                                                                       \
	"contract\n"                                                                                 \
	"  - {name: id, logicalType: integer}\n"                                                     \
	"  - {name: email, logicalType: string}\n"                                                   \
	"  - {name: age, logicalType: number}\n"                                                     \
	"  - {name: address, logicalType: object, properties: [{name: zip, logicalType: string}, {name: city, logicalType: string}]}\n" \
	"  - {name: orders, logicalType: array, items: {logicalType: object, properties: [{name: sku, logicalType: string}]}}\n"        \
	"end\n"

static char denied[] = "denied";

/* The derived file as a string that the caller frees, or `denied`. */
static char *view(const char *spec, const char *path, const char *text, struct view_stats *ret_stats)
{
	struct view_case c;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	int r = view_case_init(&c, path, spec, &e);
	if (r == 0) {
		r = view_case_apply(&c, path, text, strlen(text), 1 << 20, &out, ret_stats, &e);
		view_case_fini(&c);
	}
	if (r == -EACCES) {
		buf_free(&out);
		return denied;
	}
	if (r != 0)
		printf("%s\n", e.text);
	char *ret = r == 0 ? strdup(buf_text(&out)) : NULL;
	buf_free(&out);
	return ret;
}

static void gives_rejecting(const char *spec, const char *path, const char *text, const char *want, unsigned long rejected)
{
	struct view_stats s;
	char *got = view(spec, path, text, &s);
	char *copy = got ? strdup(got) : NULL;
	if (got != denied)
		free(got);
	if (!copy || strcmp(copy, want) != 0 || (strcmp(want, "denied") != 0 && s.rows_rejected != rejected)) {
		printf("%s%s", spec, text);
		printf("got  \"%s\"\nwant \"%s\"\n", copy ? copy : "(failed)", want);
		check_failed = 1;
	}
	free(copy);
}

static void csv(const char *rules, const char *text, const char *want, unsigned long rejected)
{
	char *spec = text_format(PEOPLE "%s", rules);
	gives_rejecting(spec, "t.csv", text, want, rejected);
	free(spec);
}

static void jsonl(const char *rules, const char *text, const char *want, unsigned long rejected)
{
	char *spec = text_format(PEOPLE "%s", rules);
	gives_rejecting(spec, "t.jsonl", text, want, rejected);
	free(spec);
}

TEST(csv_keeps_every_byte_that_no_rule_concerns)
{
	csv("mask email drop\n", "id,email,age\n1,a,2\n", "id,age\n1,2\n", 0);
	csv("mask id drop\n", "id,email,age\r\n1,\"a,\"\"b\",2\r\n", "email,age\r\n\"a,\"\"b\",2\r\n", 0);
	csv("mask age drop\n", "id,email,age\n1, a ,2", "id,email\n1, a ", 0);
	csv("mask age drop\n", "\xEF\xBB\xBFid,\"email\",age\n\"1\",\"two\nlines\",2\n", "\xEF\xBB\xBFid,\"email\"\n\"1\",\"two\nlines\"\n", 0);
	csv("mask id drop\n", "\xEF\xBB\xBFid,email\n1,x\n", "\xEF\xBB\xBF" "email\nx\n", 0);
	csv("mask id drop\nmask email drop\n", "id,email\n1,x\n", "", 0);
	csv("mask email drop\n", "", "", 0);
	csv("mask email drop\n", "id,email\n", "id\n", 0);
	csv("mask id drop\n", "id,email\n1,\n2,\"\"\n3,x\n", "email\n\"\"\n\"\"\nx\n", 0);
}

TEST(csv_shows_no_broken_record)
{
	csv("mask email drop\n", "id,email,age\n1,a,b,2\n1,a\n\n3,c,4\n", "id,age\n3,4\n", 3);
	csv("mask email drop\n", "id,email,age\n1,a\"b,2\n3,c,4\n", "id,age\n3,4\n", 1);
	csv("mask email drop\n", "id,email,age\n1,\"a\"b,2\n3,c,4\n", "id,age\n3,4\n", 1);
	csv("mask email drop\n", "id,email,age\n1,c,4\n1,\"a,2\n3,c,4\n", "id,age\n1,4\n", 1);
	csv("mask email drop\n", "id,email,age\n1,a\rb,2\n3,c,4\n", "id,age\n3,4\n", 1);
	csv("mask email drop\n", "id,email,age\n1,\"a\"\r,2\n3,c,4\n", "id,age\n3,4\n", 1);
	csv("mask email drop\n", "id,em\"ail,age\n1,a,2\n", "denied", 0);
}

TEST(csv_masks_quote_what_needs_it)
{
	csv("mask email partial first 1\n", "id,email\n1,\"a,b\"\n2,\n3,\"\"\n4,\"x\"\n", "id,email\n1,\"a**\"\n2,\n3,\"\"\n4,\"*\"\n", 0);
	csv("mask email partial last 3\n", "id,email\n1,\"abc,\"\"d\"\n", "id,email\n1,\"***,\"\"d\"\n", 0);
	csv("mask email null\n", "id,email\n1,x\n2,\"\"\n", "id,email\n1,\n2,\n", 0);
	csv("mask email redact keep length\n", "id,email\n1,\xC3\xA9x\n", "id,email\n1,**\n", 0);
	csv("mask age round 5\n", "id,age\n1,12.5\n2,x\n3,-12.5\n", "id,age\n1,15\n2,\n3,-15\n", 0);
}

TEST(csv_separators_and_headers)
{
	csv("mask email drop\n", "id;email;age\n1;a,b;2\n", "id;age\n1;2\n", 0);
	csv("mask email drop\n", "id|email\n1|a\n", "id\n1\n", 0);
	gives_rejecting(PEOPLE "mask email drop\n", "t.tsv", "id\temail\n1\ta,b\n", "id\n1\n", 0);
	gives_rejecting(PEOPLE "mask email drop\n", "t.psv", "id|email\n1|a\n", "id\n1\n", 0);
	csv("custom [{property: separator, value: '^'}]\nmask email drop\n", "id^email\n1^a\n", "id\n1\n", 0);
	gives_rejecting("custom [{property: header, value: false}]\ncontract\n  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\nend\n"
			"mask email drop\nrows row.id > 1\n", "t.csv", "1,a\n2,b\n3\n", "2\n", 1);
	/* Data without a header must not pass for one, nor what the contract does not name for what it does. */
	csv("unnamed drop\nmask email drop\n", "1,a@x,3\n4,b@x,6\n", "denied", 0);
	csv("unnamed drop\nmask email drop\n", "id,Email,extra\n1,a,b\n", "id\n1\n", 0);
	csv("unnamed hmac k1\n", "id,extra\n1,\n", "id,extra\n1,\n", 0);
	csv("rows row.age > 3\n", "id,email\n1,a\n", "denied", 0);
	csv("rows row.age > 3\n", "id,age,age\n1,4,4\n", "denied", 0);
	csv("mask email hmac absent\n", "id,email\n1,a\n", "denied", 0);
	gives_rejecting(PEOPLE "mask email drop\n", "t.xlsx", "id,email\n", "denied", 0);
}

TEST(csv_filters_by_the_contract_s_types)
{
	csv("rows row.age >= 18\n", "id,age\n1,17.9\n2,18.0\n3,\n4,old\n5,\"1e2\"\n", "id,age\n2,18.0\n5,\"1e2\"\n", 0);
	csv("rows row.email is null\n", "id,email\n1,\n2,\"\"\n3,x\n", "id,email\n1,\n", 0);
	csv("rows row.email == \"a\\\"b\"\n", "id,email\n1,\"a\"\"b\"\n2,ab\n", "id,email\n1,\"a\"\"b\"\n", 0);
	csv("rows row.age > 1\nmask age drop\n", "age,id\n1,x\n2,y\n", "id\ny\n", 0);
}

/* A field holds no members: in the place of some that rules concern it may hold all of them as text. */
TEST(csv_field_in_the_place_of_members)
{
	csv("mask address.zip drop\n", "id,address\n1,\"{\"\"zip\"\":\"\"1\"\"}\"\n", "id,address\n1,\n", 0);
	csv("mask address.zip redact\n", "address,address.zip\nx 12345,12345\n", "address,address.zip\n,REDACTED\n", 0);
	csv("unnamed redact\n", "id,address\n1,x\n", "id,address\n1,\n", 0);
	csv("mask email redact\n", "id,address\n1,x\n", "id,address\n1,x\n", 0);
}

/* What stands where a column does that the contract calls one value, and that has members, the contract does not name; a text where it names members may hold
 * any of them. */
TEST(wrong_shapes_tighten)
{
	jsonl("unnamed drop\n", "{\"email\":{\"ssn\":\"1\"},\"id\":[1,{\"ssn\":\"2\",\"deep\":{\"ssn\":3}}]}\n", "{\"email\":{},\"id\":[1,{}]}\n", 0);
	jsonl("unnamed redact\n", "{\"email\":{\"ssn\":\"1\"}}\n{\"email\":\"x\"}\n", "{\"email\":{\"ssn\":\"REDACTED\"}}\n{\"email\":\"x\"}\n", 0);
	jsonl("mask age drop\n", "{\"email\":{\"ssn\":\"1\"},\"age\":1}\n", "{\"email\":{\"ssn\":\"1\"}}\n", 0);
	gives_rejecting("contract\n  - {name: id}\n  - {name: free, logicalType: object}\n  - {name: list, logicalType: array}\nend\nunnamed drop\n", "t.jsonl",
			"{\"id\":{\"a\":1},\"free\":{\"a\":1},\"list\":[{\"a\":1}],\"more\":1}\n", "{\"id\":{\"a\":1},\"free\":{\"a\":1},\"list\":[{\"a\":1}]}\n", 0);
	jsonl("mask address partial first 9\nmask address.zip drop\n", "{\"address\":\"12345 Town\"}\n{\"address\":{\"zip\":1}}\n", "{\"address\":null}\n{\"address\":null}\n", 0);
	jsonl("mask address partial first 9\nunnamed drop\n", "{\"address\":\"12345 Town\"}\n", "{\"address\":null}\n", 0);
	jsonl("mask address partial first 9\nmask address.zip redact\n", "{\"address\":\"12345 Town\"}\n", "{\"address\":\"REDACTED\"}\n", 0);
	jsonl("mask address partial first 1\nmask address.city partial first 3\n", "{\"address\":\"Town\"}\n", "{\"address\":\"T***\"}\n", 0);
	csv("mask address partial first 9\nmask address.zip drop\n", "id,address\n1,12345 Town\n", "id,address\n1,\n", 0);
	jsonl("rows row.address.zip is null\n", "{\"address\":\"12345\"}\n{\"address\":7}\n{\"address\":null}\n{\"address\":{}}\n{\"id\":1}\n",
	      "{\"address\":null}\n{\"address\":{}}\n{\"id\":1}\n", 0);
}

/* Readers of JSON differ in which of two members of one name counts: what a filter reads there is unknown. */
TEST(jsonl_filter_reads_no_member_twice)
{
	jsonl("rows row.age > 1\n", "{\"age\":2,\"age\":0}\n{\"age\":0,\"age\":2}\n{\"age\":2}\n{\"age\":2,\"\\u0061ge\":2}\n", "{\"age\":2}\n", 0);
	jsonl("rows row.address.zip == \"1\"\n",
	      "{\"address\":{\"zip\":\"1\"},\"address\":null}\n{\"address\":null,\"address\":{\"zip\":\"1\"}}\n{\"address\":{\"zip\":\"1\"}}\n",
	      "{\"address\":{\"zip\":\"1\"}}\n", 0);
	jsonl("rows row.age > 1 or row.address.zip is null\n", "{\"address\":[{\"zip\":\"1\"},{\"zip\":\"2\"}],\"age\":2}\n", "{\"address\":[{\"zip\":\"1\"},{\"zip\":\"2\"}],\"age\":2}\n", 0);
}

TEST(jsonl_members_go_with_their_commas)
{
	jsonl("mask email drop\n", "{\"id\": 1, \"email\": \"x\", \"age\": 2}\n", "{\"id\": 1, \"age\": 2}\n", 0);
	jsonl("mask id drop\n", "{ \"id\":1 , \"age\":2.50 }\r\n", "{ \"age\":2.50 }\r\n", 0);
	jsonl("mask age drop\n", "{\"id\":1 , \"age\":2 }\n", "{\"id\":1 }\n", 0);
	jsonl("mask id drop\nmask email drop\n", "{\"id\":1,\"email\":\"\"}\n{}\n", "{}\n{}\n", 0);
	jsonl("mask email drop\n", "{\"email\":1,\"id\":1,\"email\":2,\"em\\u0061il\":3,\"age\":4}\n", "{\"id\":1,\"age\":4}\n", 0);
	jsonl("mask email drop\n", "{\"id\":1,\"email\":{\"a\":[1,{\"b\":2}]}}", "{\"id\":1}", 0);
	jsonl("unnamed drop\n", "{\"id\":1,\"extra\":[],\"address\":{\"zip\":\"1\",\"phone\":\"2\"}}\n", "{\"id\":1,\"address\":{\"zip\":\"1\"}}\n", 0);
}

TEST(jsonl_nested_columns)
{
	jsonl("mask address.zip drop\n", "{\"address\":{\"zip\":\"1\",\"city\":\"X\"}}\n", "{\"address\":{\"city\":\"X\"}}\n", 0);
	jsonl("mask orders.sku null\n", "{\"orders\":[{\"sku\":\"a\",\"n\":1},{\"sku\":null},{}]}\n", "{\"orders\":[{\"sku\":null,\"n\":1},{\"sku\":null},{}]}\n", 0);
	jsonl("mask orders.sku drop\n", "{\"orders\":[[{\"sku\":\"a\",\"n\":1}]]}\n", "{\"orders\":[[{\"n\":1}]]}\n", 0);
	jsonl("mask address redact\n", "{\"address\":{\"zip\":1}}\n{\"address\":\"x\"}\n", "{\"address\":null}\n{\"address\":\"REDACTED\"}\n", 0);
	/* The contract says that members stand here: a text in their place may hold what a rule hides. */
	jsonl("mask address.zip drop\n", "{\"address\":\"12345 Town\"}\n{\"address\":[\"12345\"]}\n", "{\"address\":null}\n{\"address\":[null]}\n", 0);
	jsonl("rows row.address.zip == \"1\"\n", "{\"address\":{\"zip\":\"1\"}}\n{\"address\":{\"zip\":\"2\"}}\n{\"address\":[{\"zip\":\"1\"}]}\n",
	      "{\"address\":{\"zip\":\"1\"}}\n", 0);
}

/* Lines of one shape take the short way from the second line on: it must see what the long way sees. */
TEST(jsonl_lines_of_one_shape)
{
	static const char pad[] = "                                                                \n"; /* the short way wants some bytes to come */
	static const struct {
		const char *rules, *line, *want;
		unsigned long rejected;
	} cases[] = {
		{ "mask age drop\nrows row.age > 1\n", "{\"id\":1,\"age\":2,\"x\":\"y\"}", "{\"id\":1,\"x\":\"y\"}", 0 },
		{ "mask age drop\nrows row.age > 2\n", "{\"id\":1,\"age\":2}", "", 0 },
		{ "mask id drop\nmask email partial first 1\n", "{ \"id\": 1 , \"email\": \"ab\", \"age\":0.5}", "{ \"email\": \"a*\", \"age\":0.5}", 0 },
		{ "mask address.zip drop\n", "{\"address\":\"12345\",\"id\":null}", "{\"address\":null,\"id\":null}", 0 },
		{ "unnamed drop\n", "{\"other\":1234567890123456789,\"id\":true}", "{\"id\":true}", 0 },
		{ "mask email drop\n", "{\"em\\u0061il\":\"x\",\"id\":1}", "{\"id\":1}", 0 },
		{ "mask email drop\n", "{\"id\":01}", "", 1 },
		{ "mask email drop\n", "{\"id\":1.2.3}", "", 1 },
		{ "mask email drop\n", "{\"id\":1,\"age\":}", "", 1 },
		{ "mask email drop\n", "{\"id\":1,\"age\":1:}", "", 1 },
		{ "mask email drop\n", "{\"id\":1,\"age\":\"a\"b}", "", 1 },
		{ "mask email drop\n", "{\"id\":1,\"age\":\"\\x\"}", "", 1 },
		{ "mask email drop\n", "{\"id\":1,\"age\":\"\xC3\"}", "", 1 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *line = cases[i].line, *newline = *cases[i].want ? "\n" : "";
		char *text = text_format("%s\n%s\n%s\n%s", line, line, line, pad);
		char *want = text_format("%s%s%s%s%s%s", cases[i].want, newline, cases[i].want, newline, cases[i].want, newline);
		jsonl(cases[i].rules, text, want, 3 * cases[i].rejected);
		free(text);
		free(want);
	}
}

TEST(jsonl_masks)
{
	jsonl("mask email partial last 1\n", "{\"email\":\"\\u00e9\\\"\\n\"}\n", "{\"email\":\"**\\n\"}\n", 0);
	jsonl("mask age round 5\n", "{\"age\":12.5}\n{\"age\":\"12\"}\n{\"age\":null}\n{\"age\":true}\n", "{\"age\":15}\n{\"age\":\"10\"}\n{\"age\":null}\n{\"age\":null}\n", 0);
	jsonl("mask email hmac k1\n", "{\"email\":null}\n{\"email\":\"\\ud800\"}\n", "{\"email\":null}\n{\"email\":null}\n", 0);
	jsonl("mask email null\n", "{\"email\":{\"a\":1}}\n", "{\"email\":null}\n", 0);
}

TEST(jsonl_shows_no_broken_line)
{
	static const char *const broken[] = {
		"{", "}", "[]", "1", "nul", "{\"a\":01}", "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1 2}", "{\"a\":tru}", "{\"a\":1}{", "{\"a\":1}}",
		"{\"a\":[1,]}", "{\"a\":[1}", "{\"a\":\"b}", "{'a':1}", "{\"a\":\"\t\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}", "{\"a\":\"\xff\"}", "{a:1}",
		"{\"a\":1.}", "{\"a\":-}", "{\"a\":NaN}", "{\"a\":\\\"x\\\"}",
	};
	for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
		char *text = text_format("{\"id\":1}\n%s\n{\"id\":2}\n", broken[i]), *alone = text_format("%s", broken[i]);
		jsonl("mask email drop\n", text, "{\"id\":1}\n{\"id\":2}\n", 1);
		jsonl("mask email drop\n", alone, "", 1);
		free(text);
		free(alone);
	}
	struct buf deep = BUF_INIT;
	buf_adds(&deep, "{\"a\":");
	for (int i = 0; i < 100000; i++)
		buf_addc(&deep, '[');
	jsonl("mask email drop\n", buf_text(&deep), "", 1);
	buf_free(&deep);
}

/* Every instruction set finds the same in random bytes of the interesting kind. */
TEST(scanners_agree)
{
	static const char alphabet[] = ",;\"\n\r\\ab{}[]: \xC3\xA9,\"\n";
	static const size_t lengths[] = { 0, 1, 63, 64, 65, 127, 500 };
	unsigned seed = 7;
	char bytes[500];
	uint32_t a[600], b[600];
	for (int round = 0; round < 4000; round++) {
		size_t len = lengths[round % 7];
		unsigned spread = round % 3 == 0 ? 4 : sizeof alphabet - 1;
		for (size_t i = 0; i < len; i++)
			bytes[i] = alphabet[(seed = seed * 1103515245 + 12345) / 65536 % spread];
		csv_scan_fn *const csv_fns[] = { csv_scan_sse2, csv_scan_best() };
		json_scan_fn *const json_fns[] = { json_scan_sse2, json_scan_best() };
		for (int k = 0; k < 2; k++) {
			struct csv_scan s, t;
			csv_scan_start(&s, bytes, len, 0, ',');
			csv_scan_start(&t, bytes, len, 0, ',');
			size_t n = csv_scan_scalar(&s, a, 600), m = csv_fns[k](&t, b, 600);
			CHECK(n == m && !memcmp(a, b, n * sizeof *a) && s.broken == t.broken && s.done == t.done);
			unsigned char f[16] = { 0 }, g[16] = { 0 };
			struct json_scan x = { .bytes = (unsigned char *)bytes, .len = len, .flags = f }, y = x;
			y.flags = g;
			json_scan_start(&x, 0);
			json_scan_start(&y, 0);
			n = json_scan_scalar(&x, a, 600);
			m = json_fns[k](&y, b, 600);
			CHECK(n == m && !memcmp(a, b, n * sizeof *a) && x.broken == y.broken && x.broken_at == y.broken_at && !memcmp(f, g, sizeof f));
		}
	}
}

TEST(names_with_nul_bytes_are_not_the_contract_s)
{
	static const char text[] = "id,email\0x,email\na,b,c\n", want[] = "id\na\n";
	struct view_case c;
	struct view_stats stats;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	CHECK_OK(view_case_init(&c, "t.csv", PEOPLE "unnamed drop\nmask email drop\nmask age drop\n", &e), &e);
	CHECK_OK(view_case_apply(&c, "t.csv", text, sizeof text - 1, 1 << 20, &out, &stats, &e), &e);
	CHECK_STR(buf_text(&out), want);
	buf_free(&out);
	view_case_fini(&c);
}

TEST(a_record_over_the_limit_is_denied)
{
	struct buf text = BUF_INIT;
	buf_adds(&text, "id,email\n1,");
	char *p = buf_reserve(&text, VIEW_ROW_MAX + 1);
	CHECK(p != NULL);
	memset(p, 'x', VIEW_ROW_MAX + 1);
	buf_commit(&text, VIEW_ROW_MAX + 1);
	buf_adds(&text, "\n2,y\n");
	csv("mask email drop\n", buf_text(&text), "denied", 0);
	buf_free(&text);
}

/* Another zlib or zstd packs the same rows into other bytes: a host that has it must not take this one's sizes. */
TEST(a_view_is_named_after_who_makes_its_bytes)
{
	char maker[VIEW_MAKER_SIZE], want[VIEW_MAKER_SIZE];
	view_maker("a/t.csv", maker, sizeof maker);
	CHECK_STR(maker, "csv");
	snprintf(want, sizeof want, "jsonl.gz-%s", zlibVersion());
	view_maker("a/t.jsonl.gz", maker, sizeof maker);
	CHECK_STR(maker, want);
	snprintf(want, sizeof want, "csv.zst-%s", ZSTD_versionString());
	view_maker("a/t.csv.zst", maker, sizeof maker);
	CHECK_STR(maker, want);
	view_maker("t.parquet", maker, sizeof maker);
	CHECK(strncmp(maker, "parquet-duckdb-", 15) == 0);
}

CHECK_MAIN()
