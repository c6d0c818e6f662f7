#include "test/unit/check.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/distinct.h"
#include "catalog/pattern.h"
#include "catalog/quality.h"
#include "catalog/quality_table.h"

#include <errno.h>
#include <math.h>

#define HEAD "kind: DataContract\napiVersion: v3.1.0\nid: orders\nversion: 1.0.0\nstatus: active\nschema:\n- name: t\n"

static struct contract *contract;

static struct quality_report *report_of(const char *yaml, const char *path, const char *data, const struct quality_engine *engine)
{
	struct err e = ERR_INIT;
	struct quality *q = NULL;
	struct quality_file *f = NULL;
	struct quality_report *r = NULL;
	contract = NULL;
	if (contract_parse("c.yaml", yaml, strlen(yaml), &contract, &e) || quality_new(contract, engine, &q, &e) || quality_file_begin(q, path, &f) ||
	    quality_file_feed(f, data, strlen(data)) || quality_file_end(f) || quality_finish(q, &r, &e))
		printf("%s\n", e.text);
	quality_free(q);
	contract_unref(contract);
	return r;
}

static const struct quality_result *result(const struct quality_report *r, const char *check, const char *column)
{
	const struct quality_result *all;
	size_t n = quality_report_results(r, &all);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(all[i].check, check) && (column ? all[i].column && !strcmp(all[i].column, column) : !all[i].column))
			return &all[i];
	return NULL;
}

static void expect(const struct quality_report *r, const char *check, const char *column, double measured, bool passed)
{
	const struct quality_result *x = result(r, check, column);
	if (!x)
		CHECK_FAIL("no check %s of %s", check, column ? column : "the object");
	if (x->measured != measured || x->passed != passed)
		CHECK_FAIL("%s of %s: %g, %s; expected %g, %s", check, column ? column : "the object", x->measured,
			   x->passed ? "passed" : "failed", measured, passed ? "passed" : "failed");
}

TEST(types_nulls_and_keys)
{
	struct quality_report *r = report_of(HEAD "  properties:\n"
						  "  - {name: id, logicalType: integer, primaryKey: true}\n"
						  "  - {name: when, logicalType: date}\n"
						  "  - {name: code, logicalType: string, unique: true}\n",
					     "a.csv",
					     "id,when,code\n1,2026-01-01,x\n2,2026-02-30,y\n2,,x\n,2026-01-01,z\nx,2026-01-01,w\n", NULL);
	CHECK(r != NULL);
	expect(r, "logicalType", "id", 1, false);
	expect(r, "logicalType", "when", 1, false);
	expect(r, "required", "id", 1, false);
	expect(r, "unique", "code", 1, false);
	expect(r, "primaryKey", NULL, 1, false);
	const struct quality_result *x = result(r, "unique", "code");
	CHECK_INT(x->offender_count, 1);
	CHECK_STR(x->offenders[0].file, "a.csv");
	CHECK_INT(x->offenders[0].row, 3);
	CHECK_INT(result(r, "required", "id")->offenders[0].row, 4);
	CHECK_INT(quality_report_rows(r), 5);
	CHECK_INT(quality_report_failed_errors(r), 5);
	quality_report_free(r);
}

TEST(options)
{
	struct quality_report *r = report_of(HEAD "  properties:\n"
						  "  - {name: zip, logicalType: string, logicalTypeOptions: {minLength: 5, maxLength: 5, pattern: '[0-9]+'}}\n"
						  "  - {name: age, logicalType: integer, logicalTypeOptions: {minimum: 18, exclusiveMaximum: 100}}\n"
						  "  - {name: mail, logicalType: string, logicalTypeOptions: {format: email}}\n"
						  "  - {name: ip, logicalType: string, logicalTypeOptions: {format: ipv4}}\n"
						  "  - {name: half, logicalType: number, logicalTypeOptions: {multipleOf: 0.5}}\n"
						  "  - {name: odd, logicalType: string, logicalTypeOptions: {format: colour}}\n",
					     "a.jsonl",
					     "{\"zip\":\"12345\",\"age\":18,\"mail\":\"a@b.org\",\"ip\":\"10.0.0.1\",\"half\":1.5}\n"
					     "{\"zip\":\"1234a\",\"age\":17,\"mail\":\"a@b\",\"ip\":\"10.0.0.256\",\"half\":1.4}\n"
					     "{\"zip\":\"123456\",\"age\":100,\"mail\":\"@b.org\",\"ip\":\"10.0.1\",\"half\":-2}\n"
					     "{\"zip\":\"12345\",\"ip\":\"1.2.3.4.5\"}\n",
					     NULL);
	CHECK(r != NULL);
	expect(r, "length", "zip", 1, false);
	expect(r, "pattern", "zip", 1, false);
	expect(r, "range", "age", 2, false);
	expect(r, "format", "mail", 2, false);
	expect(r, "format", "ip", 3, false);
	expect(r, "multipleOf", "half", 1, false);
	expect(r, "format", "odd", 0, false); /* a check that cannot run has failed */
	expect(r, "logicalType", "age", 0, true);
	quality_report_free(r);
}

/* One column of options, one value a row: which rows are wrong. */
static void one_column(const char *column, const char *check, const char *values, int64_t wrong)
{
	struct buf yaml = BUF_INIT, data = BUF_INIT;
	buf_addf(&yaml, HEAD "  properties:\n  - {name: a, %s}\n", column);
	for (const char *p = values; *p; p += strcspn(p, "\n"), p += *p == '\n')
		buf_addf(&data, "{\"a\":%.*s}\n", (int)strcspn(p, "\n"), p);
	struct quality_report *r = report_of(buf_text(&yaml), "a.jsonl", buf_text(&data), NULL);
	CHECK(r != NULL);
	if (wrong < 0)
		CHECK(result(r, check, "a")->detail && !result(r, check, "a")->passed); /* cannot run: has failed */
	else
		expect(r, check, "a", (double)wrong, !wrong);
	quality_report_free(r);
	buf_free(&yaml);
	buf_free(&data);
}

TEST(formats_of_dates)
{
	one_column("logicalType: date, logicalTypeOptions: {format: dd/MM/yyyy}", "logicalType", "\"29/02/2024\"\n\"29/02/2023\"\n\"2024-02-29\"\n\"1/2/2024\"", 3);
	one_column("logicalType: date, logicalTypeOptions: {format: d/M/yy}", "logicalType", "\"1/2/24\"\n\"01/12/24\"\n\"1/13/24\"", 1);
	one_column("logicalType: date, logicalTypeOptions: {format: \"EEE, d MMM yyyy\"}", "logicalType",
		   "\"Sun, 1 Nov 2026\"\n\"Sun, 31 nov 2026\"\n\"Sun, 1 11 2026\"", 2);
	one_column("logicalType: timestamp, logicalTypeOptions: {format: \"yyyy-MM-dd'T'HH:mm:ss.SSSXXX\"}", "logicalType",
		   "\"2026-01-01T00:00:00.123+01:00\"\n\"2026-01-01T00:00:00.123Z\"\n\"2026-01-01T24:00:00.123Z\"\n\"2026-01-01T00:00:00Z\"", 2);
	one_column("logicalType: time, logicalTypeOptions: {format: \"h:mm a\"}", "logicalType", "\"9:05 AM\"\n\"12:59 pm\"\n\"13:00 PM\"", 1);
	one_column("logicalType: date, logicalTypeOptions: {format: yyyy-'W'ww}", "logicalType", "\"2026-W01\"", -1);
	one_column("logicalType: date, logicalTypeOptions: {format: yyyy-'W'ww, minimum: \"2026-01-01\"}", "range", "\"2026-W01\"", -1);
	one_column("logicalType: date, logicalTypeOptions: {format: dd/MM/yyyy, minimum: 01/02/2024, exclusiveMaximum: \"2024-03-01\"}", "range",
		   "\"31/01/2024\"\n\"01/02/2024\"\n\"29/02/2024\"\n\"01/03/2024\"", 2);
	one_column("logicalType: time, logicalTypeOptions: {minimum: \"08:00\", exclusiveMaximum: \"17:00:00\"}", "range",
		   "\"07:59:59\"\n\"08:00\"\n\"16:59:59.5\"\n\"17:00\"", 2);
}

TEST(dates_far_away_are_dates)
{
	one_column("logicalType: date", "logicalType", "\"9999-12-31\"\n\"0001-01-01\"\n\"1500-02-29\"\n\"0000-01-01\"\n\"10000-01-01\"", 3);
	one_column("logicalType: date, logicalTypeOptions: {minimum: 2020-01-01, maximum: 2300-01-01}", "range", "\"9999-12-31\"\n\"0001-01-01\"\n\"2020-01-01\"", 1);
	one_column("logicalType: date, logicalTypeOptions: {minimum: 2020-01-01, maximum: 9999-12-31}", "range", "\"9999-12-31\"\n\"1000-01-01\"\n\"2300-01-01\"", 1);
	one_column("logicalType: timestamp", "logicalType", "\"9999-12-31T23:59:59.999Z\"\n\"9999-12-31 24:00:00\"", 1);
	one_column("logicalType: date, logicalTypeOptions: {format: dd/MM/yyyy, minimum: 01/02/2024}", "range", "\"31/12/9999\"\n\"01/01/1600\"", 1);
}

/* 1, 1.0, +1 and 1e0 are one number. */
TEST(numbers_are_compared_as_numbers)
{
	one_column("logicalType: number, unique: true", "unique", "1\n1.0\n1e0\n10e-1\n-1", 3);
	one_column("logicalType: number, unique: true", "unique", "0.0\n-0.0\n0\n0e5", 3);
	one_column("logicalType: number, unique: true", "unique", "0.00012\n1.2e-4\n12e-5\n0.0001200\n0.0012", 3);
	one_column("logicalType: number, unique: true", "unique", "1e300\n10E299\n1e301\n100e-60\n1e-58", 2);
	one_column("logicalType: integer, unique: true", "unique", "9007199254740993\n9007199254740992\n100\n1e2", 1);
	one_column("logicalType: string, unique: true", "unique", "\"1\"\n\"1.0\"\n\"01\"", 0);
	one_column("logicalType: number, quality: [{metric: invalidValues, arguments: {validValues: [1, 2.5]}, mustBe: 0}]", "invalidValues",
		   "1.0\n2.50\n1e0\n2.4", 1);
	one_column("logicalType: number, quality: [{metric: missingValues, arguments: {missingValues: [-1]}, mustBe: 0}]", "missingValues", "-1.0\n-1\n1", 2);
	one_column("logicalType: string, quality: [{metric: invalidValues, arguments: {validValues: [\"1\"]}, mustBe: 0}]", "invalidValues", "\"1.0\"\n\"1\"", 1);
}

TEST(widths_of_numbers)
{
	one_column("logicalType: integer, logicalTypeOptions: {format: i8}", "format", "127\n-128\n128\n-129\n1e2\n1e3", 3);
	one_column("logicalType: integer, logicalTypeOptions: {format: u64}", "format", "0\n18446744073709551615\n18446744073709551616\n-1", 2);
	one_column("logicalType: integer, logicalTypeOptions: {format: i64}", "format", "9223372036854775807\n9223372036854775808\n-9223372036854775808", 1);
	one_column("logicalType: number, logicalTypeOptions: {format: f32}", "format", "1e38\n1e39\n-1e39", 2);
	one_column("logicalType: number, logicalTypeOptions: {minimum: 3, exclusiveMinimum: 1}", "range", "2\n3", 1); /* both hold */
	one_column("logicalType: number, logicalTypeOptions: {maximum: 3, exclusiveMaximum: 3}", "range", "2\n3", 1);
}

TEST(objects_and_arrays)
{
	static const char arrays[] = "[1, 2]\n[ ]\n[\"a\",\"a\"]\n[[1,2],[1, 2]]\n[1,2,3,4]\nnull\n7";
	one_column("logicalType: array", "logicalType", arrays, 1); /* items are no wrong arrays */
	one_column("logicalType: array, logicalTypeOptions: {minItems: 1, maxItems: 3}", "logicalTypeOptions", arrays, 2);
	one_column("logicalType: array, logicalTypeOptions: {uniqueItems: true}", "logicalTypeOptions", arrays, 2);
	one_column("logicalType: array, unique: true", "unique", "[1,2]\n[2,1]\n[1,2]", 1);
	one_column("logicalType: array, items: {logicalType: integer}", "items logicalType", arrays, 2);
	one_column("logicalType: array, items: {logicalType: string, required: true}", "items required", "[\"a\"]\n[null]\n[]", 1);
	one_column("logicalType: array, items: {logicalType: string, logicalTypeOptions: {maxLength: 2}}", "items length", "[\"\u00e9\u00e9\"]\n[\"ab\\\"c\"]", 1);
	one_column("logicalType: array, items: {logicalType: array, items: {logicalType: integer}}", "items items logicalType", "[[1]]\n[[1],[\"x\"]]", 1);
	one_column("logicalType: array, items: {quality: [{metric: nullValues, mustBe: 0}]}", "items quality", "[1]", -1);
	one_column("logicalType: array, quality: [{metric: invalidValues, mustBe: 0, arguments: {validValues: [a]}}]", "invalidValues", "[\"a\"]", -1);
	one_column("logicalType: object, logicalTypeOptions: {required: [x, y], maxProperties: 3}", "logicalTypeOptions",
		   "{\"x\":1,\"y\":{\"q\":[1]}}\n{\"x\":1}\n{\"x\":1,\"y\":2,\"z\":3,\"w\":4}\n{\"z\":{\"x\":1,\"y\":1}}", 3);
	one_column("logicalType: object, logicalTypeOptions: {minProperties: 1}", "logicalTypeOptions", "{}\n{\"a\":{}}", 1);
}

TEST(library_metrics)
{
	struct quality_report *r = report_of(
		HEAD "  quality:\n"
		     "  - {metric: rowCount, mustBeBetween: [4, 5]}\n"
		     "  - {metric: duplicateValues, mustBe: 0, severity: warning, arguments: {properties: [a, b]}}\n"
		     "  properties:\n"
		     "  - name: a\n"
		     "    logicalType: integer\n"
		     "    quality:\n"
		     "    - {metric: nullValues, mustBeLessThan: 30, unit: percent}\n"
		     "    - {metric: missingValues, mustBe: 2, arguments: {missingValues: [NA, '']}}\n"
		     "  - name: b\n"
		     "    quality:\n"
		     "    - {metric: invalidValues, mustBe: 0, arguments: {validValues: [x, y]}}\n"
		     "    - {type: text, description: words only}\n"
		     "    - {type: custom, engine: other, implementation: z, severity: warning}\n",
		"d/a.csv", "a,b\n1,x\nNA,y\n1,x\n,z\n", NULL);
	CHECK(r != NULL);
	expect(r, "rowCount", NULL, 4, true);
	expect(r, "duplicateValues", NULL, 1, false);
	expect(r, "nullValues", "a", 25, true);
	expect(r, "missingValues", "a", 2, true);
	expect(r, "logicalType", "a", 0, true); /* NA is missing, not a wrong integer */
	expect(r, "invalidValues", "b", 1, false);
	CHECK(!result(r, "custom", "b")->passed && !result(r, "custom", "b")->error);
	CHECK_INT(quality_report_failed_errors(r), 1);
	CHECK_INT(quality_report_failed_warnings(r), 2);
	quality_report_free(r);
}

TEST(columns_and_records)
{
	struct quality_report *r =
		report_of(HEAD "  properties: [{name: a}, {name: b}]\n", "a.csv", "a,colour\n1,x\n1\n\"x\n", NULL);
	CHECK(r != NULL);
	expect(r, "columns", NULL, 1, false);
	CHECK_STR(result(r, "columns", NULL)->detail, "b");
	expect(r, "undeclared columns", NULL, 1, false);
	CHECK_STR(result(r, "undeclared columns", NULL)->detail, "colour");
	expect(r, "records", NULL, 2, false);
	struct buf text = BUF_INIT;
	quality_report_text(r, true, &text);
	CHECK(strstr(text.data, "error: t columns: columns that a file lacks: 1, there may be none (b); first: a.csv\n") != NULL);
	buf_clear(&text);
	quality_report_json(r, &text);
	CHECK(strstr(text.data, "\"failed_errors\":2") != NULL);
	buf_free(&text);
	quality_report_free(r);
}

TEST(unreadable_and_unclaimed_fail)
{
	struct quality_report *r = report_of(HEAD "  properties: [{name: a, required: true}]\n", "a.csv.gz", "", NULL);
	CHECK(r != NULL);
	CHECK(!result(r, "required", "a")->passed);
	CHECK(strstr(result(r, "required", "a")->detail, "a.csv.gz") != NULL);
	quality_report_free(r);
	r = report_of(HEAD "  physicalName: 'x/*'\n", "a.csv", "a\n1\n", NULL);
	CHECK_INT(quality_report_failed_warnings(r), 1);
	quality_report_free(r);
}

TEST(personal_data_must_be_declared)
{
	static const char data[] = "id,contact,note\n1,ana@example.org,call 030 1234567\n2,bo@example.org,bo@example.org wrote\n";
	struct quality_report *r = report_of(HEAD "  properties: [{name: id}, {name: contact}, {name: note, tags: [pii]}]\n", "a.csv", data, NULL);
	CHECK(r != NULL);
	const struct quality_result *x = result(r, "personal data", "contact");
	CHECK(x && !x->passed && x->error);
	CHECK(strstr(x->detail, "EMAIL_ADDRESS in 2 of 2") != NULL);
	CHECK(result(r, "personal data", "note") == NULL);
	CHECK_INT(quality_report_undeclared(r), 1);
	quality_report_free(r);
	r = report_of(HEAD "  properties:\n  - {name: id}\n  - {name: note, tags: [EMAIL_ADDRESS]}\n"
			   "  - {name: contact, customProperties: [{property: personalDataWaiver, value: {by: ana, reason: made up}}]}\n",
		      "a.csv", data, NULL);
	CHECK_INT(quality_report_undeclared(r), 0);
	CHECK(strstr(result(r, "personal data", "contact")->detail, "waived by ana") != NULL);
	quality_report_free(r);
}

TEST(personal_data_in_columns_nobody_described)
{
	struct quality_report *r = report_of(HEAD "  properties: [{name: id}]\n", "a.jsonl", "{\"id\":1,\"p\":{\"e_mail\":\"x\"},\"z\":\"GB82 WEST 1234 5698 7654 32\"}\n", NULL);
	CHECK(r != NULL);
	CHECK(result(r, "personal data", "p.e_mail") != NULL);
	CHECK(result(r, "personal data", "z") != NULL);
	CHECK_INT(quality_report_undeclared(r), 2);
	quality_report_free(r);
}

static int seven(void *arg, const char *query, double *ret, struct err *e)
{
	(void)arg;
	(void)e;
	*ret = strlen(query) == 8 ? 7 : 0;
	return 0;
}

static int no_table(void *arg, const char *name, const char *const *paths, size_t count, struct err *e)
{
	(void)arg;
	(void)e;
	return !strcmp(name, "t") && count == 1 && !strcmp(paths[0], "a.csv") ? 0 : -EINVAL;
}

TEST(distributions_tell_values_only_where_the_contract_lets_them)
{
	struct quality_report *r = report_of(HEAD "  properties:\n"
						  "  - {name: age, logicalType: integer, classification: internal}\n"
						  "  - {name: pay, logicalType: integer}\n"
						  "  - {name: zip, logicalType: string, classification: public, tags: [pii]}\n"
						  "  - {name: code, logicalType: string, classification: public}\n",
					     "a.csv",
					     "age,pay,zip,code\n30,90001,10115,IT\n31,90002,10115,IT\n,90003,10115,IT\n33,,10115,IT\n34,90005,10115,IT\n", NULL);
	struct buf json = BUF_INIT;
	quality_report_json(r, &json);
	CHECK(strstr(buf_text(&json), "{\"object\":\"t\",\"column\":\"age\",\"values\":4,\"nulls\":1,\"distinct\":4,\"exact\":true,\"min\":30,\"max\":34,"
				      "\"quantiles\":[30,31,33,33,34]}") != NULL);
	CHECK(strstr(buf_text(&json), "{\"object\":\"t\",\"column\":\"pay\",\"values\":4,\"nulls\":1,\"distinct\":4,\"exact\":true}") != NULL);
	CHECK(strstr(buf_text(&json), "{\"object\":\"t\",\"column\":\"zip\",\"values\":5,\"nulls\":0,\"distinct\":1,\"exact\":true}") != NULL);
	CHECK(strstr(buf_text(&json), "\"top\":[{\"value\":\"IT\",\"count\":5}]") != NULL);
	CHECK(strstr(buf_text(&json), "90001") == NULL && strstr(buf_text(&json), "10115") == NULL);
	buf_free(&json);
	quality_report_free(r);
}

TEST(a_table_that_is_called_a_document_is_looked_through)
{
	struct quality_report *r = report_of(HEAD "  physicalName: \"*\"\n  physicalType: document\n", "a.csv", "x,who\n1,a@example.org\n2,b@example.org\n", NULL);
	CHECK(r != NULL);
	CHECK_INT(quality_report_undeclared(r), 1);
	CHECK(!result(r, "personal data", "who")->passed && result(r, "personal data", "who")->error);
	quality_report_free(r);
	r = report_of(HEAD "  physicalName: \"*\"\n  physicalType: document\n", "a.txt", "a@example.org\n", NULL);
	CHECK_INT(quality_report_undeclared(r), 0);
	quality_report_free(r);
}

TEST(tables_that_are_not_utf8_are_told_of)
{
	static const char yaml[] = HEAD "  physicalName: a.csv\n  properties: [{name: a}, {name: b}]\n";
	static const struct {
		const char *data;
		int wrong;
	} files[] = { { "a,b\n1,\xc3\xa4\n", 0 }, { "a,b\n1,\xe4\n", 1 }, { "a,b\n1,\xe4\xf6\xfc\n2,x\n", 1 }, { "a,b\n1,\xf0\x9f\x98\x80\xe2\x82\xac\n", 0 }, { "a,b\n1,\xc3", 1 } };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct quality_report *r = report_of(yaml, "a.csv", files[i].data, NULL);
		expect(r, "encoding", NULL, files[i].wrong, !files[i].wrong);
		CHECK(!result(r, "encoding", NULL)->error);
		quality_report_free(r);
	}
	struct text_torn torn = { .len = 0 };
	static const char text[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
	for (size_t i = 0; i < sizeof text - 1; i++)
		CHECK(text_feed_utf8(&torn, text + i, 1));
	CHECK_INT(torn.len, 0);
	CHECK(text_feed_utf8(&torn, "\xe2\x82", 2));
	CHECK(!text_feed_utf8(&torn, "x", 1));
}

/* What cannot be measured is said, by a refusal or a failed check; nothing passes for want of being understood. */
TEST(checks_that_mean_nothing)
{
	struct err why = ERR_INIT;
	struct contract *c = NULL;
	struct quality *q = NULL;
	static const char typo[] = HEAD "  properties: [{name: a}, {name: b}]\n  quality: [{metric: duplicateValues, arguments: {properties: [a, c]}, mustBe: 0}]\n";
	CHECK_INT(contract_parse("c.yaml", typo, strlen(typo), &c, &why), 0);
	CHECK_INT(quality_new(c, NULL, &q, &why), -EINVAL);
	CHECK(strstr(why.text, "'t' has no column 'c' to compare") != NULL);
	contract_unref(c);
	struct quality_report *r = report_of(HEAD "  properties: [{name: a}]\nslaProperties: [{property: frequency, value: 1, unit: fortnight}]\n", "a.jsonl", "{\"a\":1}\n", NULL);
	CHECK(r != NULL);
	CHECK(!result(r, "frequency", NULL)->passed && !result(r, "frequency", NULL)->error);
	CHECK_INT(quality_report_failed_warnings(r), 1);
	quality_report_free(r);
}

TEST(service_levels_are_checked)
{
	static const char columns[] = HEAD "  properties:\n  - {name: day, logicalType: date}\n  - {name: what, logicalType: string}\n";
	struct buf yaml = BUF_INIT, data = BUF_INIT;
	char today[CLOCK_TEXT_MAX];
	clock_format_ns(clock_now_ns(), today);
	buf_addf(&data, "day,what\n2019-01-01,a\n%.10s,b\n2020-06-30,c\n", today);
	buf_addf(&yaml, "%sslaProperties:\n- {property: latency, value: 1, unit: d, element: t.day}\n- {property: retention, value: 3, unit: y, element: t.day}\n",
		 columns);
	struct quality_report *r = report_of(buf_text(&yaml), "a.csv", buf_text(&data), NULL);
	expect(r, "latency", "day", 1, true);
	expect(r, "retention", "day", 2, false);
	CHECK_INT(result(r, "retention", "day")->offenders[1].row, 3);
	quality_report_free(r);
	r = report_of(buf_text(&yaml), "a.csv", "day,what\n2024-01-01,a\n", NULL);
	expect(r, "latency", "day", 0, false);
	quality_report_free(r);
	/* One that cannot be measured is a failed check; one of no column is words. */
	static const char *const never[] = { "value: 1, unit: d, element: t.gone", "value: 1, unit: d, element: t.what", "value: 1, unit: m, element: t.day",
					     "value: often, unit: d, element: t.day" };
	for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
		buf_clear(&yaml);
		buf_addf(&yaml, "%sslaProperties:\n- {property: latency, %s}\n- {property: retention, value: 3, unit: y}\n", columns, never[i]);
		r = report_of(buf_text(&yaml), "a.csv", buf_text(&data), NULL);
		expect(r, "latency", i ? i == 1 ? "what" : "day" : NULL, 0, false);
		CHECK(!result(r, "retention", "day"));
		quality_report_free(r);
	}
	buf_free(&yaml);
	buf_free(&data);
}

TEST(long_lists_of_words_and_keys_of_one_column)
{
	struct quality_report *r = report_of(HEAD "  properties:\n"
						  "  - {name: id, logicalType: integer, unique: true, primaryKey: true}\n"
						  "  - name: c\n    quality: [{type: library, metric: invalidValues, mustBe: 0, arguments: {validValues: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q]}}]\n",
					     "a.csv", "id,c\n1,a\n2,q\n1,r\n,p\n", NULL);
	expect(r, "unique", "id", 1, false);
	expect(r, "primaryKey", NULL, 1, false);
	expect(r, "invalidValues", "c", 1, false);
	CHECK_INT(result(r, "primaryKey", NULL)->offenders[0].row, 3);
	quality_report_free(r);
}

TEST(sql_needs_an_engine)
{
	static const char yaml[] = HEAD "  quality: [{type: sql, query: 'select 7', mustBe: 7}]\n";
	struct quality_engine engine = { NULL, no_table, seven, NULL };
	struct quality_report *r = report_of(yaml, "a.csv", "a\n1\n", &engine);
	expect(r, "sql", NULL, 7, true);
	quality_report_free(r);
	r = report_of(yaml, "a.csv", "a\n1\n", NULL);
	expect(r, "sql", NULL, 0, false);
	quality_report_free(r);
}

TEST(what_is_missing_repeats_nothing)
{
	static const char yaml[] = HEAD "  properties:\n"
					"  - {name: a, logicalType: string}\n"
					"  - {name: b, logicalType: string, quality: [{metric: missingValues, arguments: {missingValues: [NA]}, mustBe: 3}]}\n"
					"  quality: [{metric: duplicateValues, arguments: {properties: [a, b]}, mustBe: 1}]\n";
	struct quality_report *r = report_of(yaml, "a.csv", "a,b\nx,y\nx,NA\nx,NA\nx,y\nx,\n", NULL);
	expect(r, "missingValues", "b", 3, true);
	expect(r, "duplicateValues", NULL, 1, true);
	quality_report_free(r);
}

TEST(a_file_belongs_to_one_table)
{
	static const char yaml[] = HEAD "  physicalName: '*.csv'\n  properties:\n  - {name: a, logicalType: string}\n"
					"- name: keys\n  physicalName: a.csv\n  properties:\n  - {name: a, logicalType: string, unique: true}\n";
	struct quality_report *r = report_of(yaml, "a.csv", "a\nx\nx\n", NULL);
	CHECK(r != NULL);
	expect(r, "claims", NULL, 1, false);
	CHECK(result(r, "claims", NULL)->error);
	CHECK_STR(result(r, "claims", NULL)->detail, "keys");
	CHECK_STR(result(r, "claims", NULL)->offenders[0].file, "a.csv");
	quality_report_free(r);
	r = report_of(yaml, "b.csv", "a\nx\nx\n", NULL);
	expect(r, "claims", NULL, 0, true);
	quality_report_free(r);
	r = report_of(HEAD "  properties:\n  - {name: a, logicalType: string}\n", "a.csv", "a\nx\n", NULL);
	CHECK(!result(r, "claims", NULL));
	quality_report_free(r);
}

/* An engine whose file has three rows again and again. */
struct rows {
	uint32_t times;
	int fails; /* after the rows; or 0 */
};

static int three_rows(void *arg, const char *path, struct quality_table *t, struct err *e)
{
	const struct rows *rows = arg;
	uint32_t id, mail, extra;
	int r = quality_table_column(t, "id", 2, &id) | quality_table_column(t, "extra", 5, &extra) | quality_table_column(t, "mail", 4, &mail);
	if (strcmp(path, "a.parquet") != 0 || id != 0 || mail != 1 || extra < 4)
		return err_set(e, -EINVAL, "it was told something else");
	for (uint32_t n = 0; n < rows->times && !r; n++) {
		const int64_t ids[] = { 3 * n, 3 * n + 1, n == rows->times - 1 ? 0 : 3 * n + 2 };
		const struct table_text mails[] = { { "a@example.org", 13 }, { NULL, 0 }, { "nobody", 6 } };
		const double extras[] = { 0, 1.5, 0 };
		const uint64_t outer = 5, inner = 2;
		quality_table_at(t, 3 * n + 1, 3);
		r |= quality_table_values(t, id, &(struct table_values){ TABLE_INTEGERS, VALUE_NUMBER, ids, NULL, 0, false });
		r |= quality_table_values(t, mail, &(struct table_values){ TABLE_TEXTS, VALUE_TEXT, mails, &outer, 0, false });
		r |= quality_table_values(t, extra, &(struct table_values){ TABLE_NUMBERS, VALUE_NUMBER, extras, &inner, 0, false });
		r |= quality_table_rows(t);
	}
	return r ? r : rows->fails ? err_set(e, rows->fails, "a.parquet: it is torn") : 0;
}

TEST(an_engine_reads_parquet)
{
	static const char yaml[] = HEAD "  properties:\n"
					"  - {name: id, logicalType: integer, unique: true, logicalTypeOptions: {maximum: 2999}}\n"
					"  - {name: mail, logicalType: string, required: true, tags: [pii], logicalTypeOptions: {format: email}}\n"
					"  - {name: day, logicalType: date}\n"
					"  - {name: note, logicalType: string}\n"
					"  quality: [{metric: rowCount, mustBe: 6000}]\n";
	struct rows rows = { 2000, 0 };
	struct quality_engine engine = { three_rows, no_table, seven, &rows };
	struct quality_report *r = report_of(yaml, "a.parquet", "not read here", &engine);
	CHECK(r != NULL);
	CHECK_INT(quality_report_rows(r), 6000);
	expect(r, "rowCount", NULL, 6000, true);
	expect(r, "unique", "id", 1, false);
	expect(r, "range", "id", 2999, false);
	expect(r, "required", "mail", 2000, false);
	expect(r, "format", "mail", 2000, false);
	expect(r, "columns", NULL, 2, false); /* day and note */
	expect(r, "undeclared columns", NULL, 1, false);
	CHECK_INT(result(r, "format", "mail")->offenders[1].row, 6);
	CHECK_INT(result(r, "unique", "id")->offenders[0].row, 6000);
	quality_report_free(r);
	rows.fails = -EIO;
	r = report_of(yaml, "a.parquet", "", &engine);
	expect(r, "rowCount", NULL, 0, false);
	expect(r, "logicalType", "day", 0, false);
	CHECK_STR(result(r, "range", "id")->detail, "a.parquet: it is torn");
	CHECK(result(r, "range", "id")->error);
	quality_report_free(r);
	rows.fails = -EOPNOTSUPP; /* no engine after all */
	r = report_of(yaml, "a.parquet", "", &engine);
	CHECK(!result(r, "range", "id")->error && !result(r, "range", "id")->passed);
	CHECK(result(r, "rowCount", NULL)->error && !result(r, "rowCount", NULL)->passed);
	quality_report_free(r);
}

/* Values of all typed forms, among them such as fit no check. */
#define TYPED 300u

static int typed_rows(void *arg, const char *path, struct quality_table *t, struct err *e)
{
	static const char *const names[] = { "n", "x", "at", "yes" };
	int64_t n[TYPED], at[TYPED];
	double x[TYPED];
	bool yes[TYPED];
	uint64_t there[(TYPED + 63) / 64];
	uint32_t columns[4];
	int r = 0;
	(void)arg, (void)path, (void)e;
	memset(there, 0xff, sizeof there);
	there[2] &= ~(1ull << 5); /* row 134 of n */
	for (unsigned i = 0; i < TYPED; i++) {
		n[i] = i;
		x[i] = i == 6 ? NAN : i == 199 ? HUGE_VAL : i / 2.0;
		at[i] = i == 149 ? INT64_MAX : 1700000000000000 + i;
		yes[i] = i % 2;
	}
	for (int i = 0; i < 4 && !r; i++)
		r = quality_table_column(t, names[i], strlen(names[i]), &columns[i]);
	quality_table_at(t, 1, TYPED);
	r |= quality_table_values(t, columns[0], &(struct table_values){ TABLE_INTEGERS, VALUE_NUMBER, n, there, 0, false });
	r |= quality_table_values(t, columns[1], &(struct table_values){ TABLE_NUMBERS, VALUE_NUMBER, x, NULL, 0, false });
	r |= quality_table_values(t, columns[2], &(struct table_values){ TABLE_MOMENTS, VALUE_MOMENT, at, NULL, 1000, false });
	r |= quality_table_values(t, columns[3], &(struct table_values){ TABLE_BOOLS, VALUE_BOOL, yes, NULL, 0, false });
	return r ? r : quality_table_rows(t);
}

/* `more` is added to each column: what is judged one way without it is judged another way with it. */
static void typed_columns(const char *more)
{
	char yaml[2000];
	struct quality_engine engine = { typed_rows, no_table, seven, NULL };
	struct buf json = BUF_INIT;
	snprintf(yaml, sizeof yaml,
		 HEAD "  properties:\n"
		      "  - {name: n, classification: internal, logicalType: integer, required: true, logicalTypeOptions: {minimum: 10, exclusiveMaximum: 290}%s}\n"
		      "  - {name: x, classification: internal, logicalType: number, logicalTypeOptions: {minimum: 1}%s}\n"
		      "  - {name: at, classification: internal, logicalType: timestamp%s}\n"
		      "  - {name: yes, logicalType: boolean%s}\n",
		 more, more, more, more);
	struct quality_report *r = report_of(yaml, "a.parquet", "", &engine);
	CHECK(r != NULL);
	expect(r, "required", "n", 1, false);
	expect(r, "range", "n", 20, false);
	expect(r, "range", "x", 4, false); /* two below, and what is no number to compare with */
	expect(r, "logicalType", "at", 1, false);
	expect(r, "logicalType", "n", 0, true);
	expect(r, "logicalType", "x", 0, true);
	expect(r, "logicalType", "yes", 0, true);
	CHECK_INT(result(r, "required", "n")->offenders[0].row, 134);
	CHECK_INT(result(r, "range", "n")->offenders[9].row, 10);
	CHECK_INT(result(r, "range", "x")->offenders[2].row, 7);
	CHECK_INT(result(r, "range", "x")->offenders[3].row, 200);
	CHECK_INT(result(r, "logicalType", "at")->offenders[0].row, 150);
	quality_report_json(r, &json);
	CHECK(strstr(buf_text(&json), "\"values\":299,\"nulls\":1,\"distinct\":") != NULL);
	CHECK(strstr(buf_text(&json), "\"min\":0,\"max\":149.5,") != NULL);
	buf_free(&json);
	quality_report_free(r);
}

TEST(typed_columns_by_their_numbers)
{
	typed_columns("");
}

TEST(typed_columns_one_by_one)
{
	typed_columns(", quality: [{metric: missingValues, mustBe: 0, arguments: {missingValues: [nothing]}}]");
}

/* Three moments, row after row; in the second batch one that nanoseconds do not reach. */
static int far_rows(void *arg, const char *path, struct quality_table *t, struct err *e)
{
	int64_t at[TYPED];
	uint32_t column;
	(void)arg, (void)path, (void)e;
	int r = quality_table_column(t, "at", 2, &column);
	for (unsigned batch = 0; batch < 2 && !r; batch++) {
		for (unsigned i = 0; i < TYPED; i++)
			at[i] = 1700000000000000 + i % 3;
		if (batch)
			at[7] = 253402214400000000; /* 9999-12-31 */
		quality_table_at(t, 1 + batch * TYPED, TYPED);
		r = quality_table_values(t, column, &(struct table_values){ .form = TABLE_MOMENTS, .kind = VALUE_MOMENT, .values = at, .unit_ns = 1000 });
		r = r ? r : quality_table_rows(t);
	}
	return r;
}

TEST(a_value_counts_once_however_its_batch_is_judged)
{
	struct quality_engine engine = { far_rows, no_table, seven, NULL };
	struct buf json = BUF_INIT;
	struct quality_report *r = report_of(HEAD "  properties:\n  - {name: at, logicalType: timestamp, classification: internal}\n", "a.parquet", "", &engine);
	CHECK(r != NULL);
	quality_report_json(r, &json);
	CHECK(strstr(buf_text(&json), "\"distinct\":4,\"exact\":true") != NULL);
	buf_free(&json);
	quality_report_free(r);
}

/* Runs and single values at random, against all values compared with all. */
#define CLOSE 400

static void hash_integer(int64_t n, struct xxh128 *ret)
{
	char text[24];
	xxh128_of(text, (size_t)snprintf(text, sizeof text, "%lld", (long long)n), ret);
}

static void runs_at_random(uint64_t seed)
{
	struct distinct *d = distinct_new(1 << 20);
	int64_t values[CLOSE];
	uint64_t duplicates, wanted = 0, places[CLOSE], expected[CLOSE];
	size_t count = 0, n = 0;
	const int64_t width = 1 + (int64_t)(seed % 7) * 300;
	while (n < CLOSE) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		const int64_t first = (int64_t)((seed >> 33) % (uint64_t)width) - width / 2;
		uint64_t length = 1 + (seed >> 60) * 3;
		length = length < CLOSE - n ? length : CLOSE - n;
		if (seed >> 32 & 1) {
			CHECK_INT(distinct_add_run(d, first, length, n), 0);
		} else {
			struct distinct_item item = { .place = n };
			length = 1;
			hash_integer(first, &item.hash);
			CHECK_INT(distinct_add_many(d, &item, 1, first, first), 0);
		}
		for (uint64_t i = 0; i < length; i++)
			values[n++] = first + (int64_t)i;
	}
	for (size_t i = 0; i < n; i++) {
		bool repeats = false;
		for (size_t k = 0; k < i && !repeats; k++)
			repeats = values[k] == values[i];
		if (repeats)
			expected[wanted++] = i;
	}
	CHECK_INT(distinct_finish(d, &duplicates, places, CLOSE, &count), 0);
	CHECK_INT(duplicates, wanted);
	CHECK_INT(count, wanted);
	CHECK(!memcmp(places, expected, count * sizeof *places));
	distinct_free(d);
}

TEST(runs_of_integers)
{
	for (uint64_t seed = 1; seed <= 300; seed++)
		runs_at_random(seed);
}

TEST(more_runs_than_are_kept)
{
	struct distinct *d = distinct_new(1 << 20);
	uint64_t duplicates, places[3];
	size_t count;
	for (int64_t i = 0; i < 40000; i++)
		CHECK_INT(distinct_add_run(d, 10 * i, 2, 2 * (uint64_t)i), 0);
	CHECK_INT(distinct_add_run(d, 11, 1, 80000), 0);
	CHECK_INT(distinct_add_run(d, 399991, 2, 80001), 0);
	CHECK_INT(distinct_add_run(d, INT64_MAX - 1, 2, 80003), 0);
	CHECK_INT(distinct_add_run(d, INT64_MIN, 2, 80005), 0);
	CHECK_INT(distinct_finish(d, &duplicates, places, 3, &count), 0);
	CHECK_INT(duplicates, 2);
	CHECK_INT(places[0], 80000);
	CHECK_INT(places[1], 80001);
	distinct_free(d);
}

TEST(distinct_spills)
{
	struct distinct *d = distinct_new(1 << 20);
	uint64_t n = 3000000, duplicates, places[3];
	size_t count;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v = i == n - 1 ? 5 : i == 2000000 ? 7 : i;
		struct xxh128 h;
		xxh128_of(&v, sizeof v, &h);
		CHECK_INT(distinct_add(d, &h, i), 0);
	}
	CHECK_INT(distinct_finish(d, &duplicates, places, 3, &count), 0);
	CHECK_INT(duplicates, 2);
	CHECK_INT(count, 2);
	CHECK_INT(places[0], 2000000);
	CHECK_INT(places[1], n - 1);
	distinct_free(d);
}

TEST(patterns_are_bounded)
{
	struct err e = ERR_INIT;
	struct pattern *p;
	CHECK_OK(pattern_new("(a+)+", &p, &e), &e);
	CHECK_INT(pattern_match(p, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", 42) == 1, 0);
	CHECK_INT(pattern_match(p, "aaa", 3), 1);
	CHECK_INT(pattern_match(p, "\xff", 1) == 1, 0);
	pattern_free(p);
	CHECK_INT(pattern_new("(", &p, &e), -EINVAL);
	CHECK(strstr(e.text, "character 2") != NULL);
}

TEST(an_accident_is_no_personal_data)
{
	static const char yaml[] = HEAD "  properties: [{name: note, logicalType: string, classification: public}]\n";
	for (int often = 0; often < 2; often++) {
		struct buf data = BUF_INIT;
		buf_adds(&data, "note\n");
		for (int i = 0; i < 490; i++)
			buf_adds(&data, (often ? i % 50 == 7 : i == 7 || i == 300) ? "sent to GB82WEST12345698765432 today\n" : "nothing to be seen here\n");
		struct quality_report *r = report_of(yaml, "a.csv", buf_text(&data), NULL);
		CHECK(r != NULL);
		CHECK_INT(quality_report_undeclared(r), often);
		quality_report_free(r);
		buf_free(&data);
	}
}

/* quality.json of 20,000 records fed in pieces of `step` bytes. */
static void fed_in_pieces(const char *yaml, const struct buf *data, size_t step, struct buf *ret)
{
	struct err e = ERR_INIT;
	struct contract *c = NULL;
	struct quality *q = NULL;
	struct quality_file *f = NULL;
	struct quality_report *r = NULL;
	CHECK_OK(contract_parse("c.yaml", yaml, strlen(yaml), &c, &e), &e);
	CHECK_OK(quality_new(c, NULL, &q, &e), &e);
	CHECK_INT(quality_file_begin(q, "a.csv", &f), 0);
	for (size_t at = 0; at < data->len; at += step)
		CHECK_INT(quality_file_feed(f, data->data + at, data->len - at < step ? data->len - at : step), 0);
	CHECK_INT(quality_file_end(f), 0);
	CHECK_OK(quality_finish(q, &r, &e), &e);
	quality_report_json(r, ret);
	quality_report_free(r);
	quality_free(q);
	contract_unref(c);
}

TEST(results_do_not_depend_on_pieces_or_threads)
{
	static const char yaml[] = HEAD "  properties:\n"
					"  - {name: id, logicalType: integer, required: true, unique: true}\n"
					"  - {name: a, logicalType: number, primaryKey: true, primaryKeyPosition: 1, classification: public}\n"
					"  - {name: b, logicalType: string, primaryKey: true, primaryKeyPosition: 2, classification: public}\n"
					"  - {name: c, logicalType: date, quality: [{metric: missingValues, arguments: {missingValues: [NA]}, mustBe: 0}]}\n";
	struct buf data = BUF_INIT, whole = BUF_INIT;
	buf_adds(&data, "id,a,b,c\n");
	for (int i = 0; i < 20000; i++) /* wrong in every column, quotes doubled, records that do not parse, keys that repeat */
		buf_addf(&data, "%d%s,%d.5,\"b\"\"%d\"%s,%s\n", i % 19000, i % 997 ? "" : "x", i % 300, i % 7001, i % 4999 ? "" : "z",
			 i % 1009 ? "2026-01-02" : i % 2 ? "NA" : "2026-02-30");
	fed_in_pieces(yaml, &data, data.len, &whole);
	CHECK(strstr(buf_text(&whole), "\"rows\"") != NULL || whole.len > 500);
	for (size_t step = 7; step < data.len; step *= 13) {
		struct buf pieces = BUF_INIT;
		fed_in_pieces(yaml, &data, step, &pieces);
		CHECK_STR(buf_text(&pieces), buf_text(&whole));
		buf_free(&pieces);
	}
	buf_free(&whole);
	buf_free(&data);
}

CHECK_MAIN()
