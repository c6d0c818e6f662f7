#include "test/unit/check.h"

#include "catalog/base/buf.h"
#include "catalog/records.h"

#include <errno.h>

struct seen {
	struct buf text;
};

static int on_column(void *arg, uint32_t column, const char *name, size_t len)
{
	buf_addf(&((struct seen *)arg)->text, "+%u=%.*s ", column, (int)len, name);
	return 0;
}

static int on_value(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	static const char kinds[] = "-tnboa";
	buf_addf(&((struct seen *)arg)->text, "%u%c%.*s ", column, kinds[kind], (int)len, text ? text : "");
	return 0;
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	buf_addf(&((struct seen *)arg)->text, "#%u@%u%s%s|", (unsigned)number, (unsigned)line, broken ? "!" : "", broken ? broken : "");
	return 0;
}

/* The same whatever the sizes of the pieces. */
static void reads(enum record_format format, char separator, const char *text, const char *expected)
{
	for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
		struct seen s = { BUF_INIT };
		struct records_callbacks call = { on_column, on_value, on_record, &s, NULL, NULL };
		struct records *r = NULL;
		CHECK_INT(records_new(format, separator, true, NULL, &call, &r), 0);
		if (piece < 3 && !memcmp(text, "\xef\xbb\xbf", 3))
			piece = 3;
		for (size_t i = 0; i < strlen(text); i += piece) {
			size_t n = strlen(text) - i < piece ? strlen(text) - i : piece;
			CHECK_INT(records_feed(r, text + i, n), 0);
		}
		CHECK_INT(records_end(r), 0);
		if (strcmp(buf_text(&s.text), expected) != 0)
			CHECK_FAIL("pieces of %zu:\n  \"%s\", expected\n  \"%s\"", piece, buf_text(&s.text), expected);
		buf_free(&s.text);
		records_free(r);
	}
}

TEST(csv_plain)
{
	reads(RECORDS_CSV, 0, "a,b\n1,x\n2,\n", "+0=a +1=b 0t1 1tx #1@2|0t2 1- #2@3|");
}

TEST(csv_quirks)
{
	reads(RECORDS_CSV, 0, "a,b\r\n\"x\"\"y\",\"p\nq\"\r\n\"\",z", "+0=a +1=b 0tx\"y 1tp\nq #1@2|0t 1tz #2@4|");
	reads(RECORDS_CSV, 0, "\xef\xbb\xbf" "a;b\n1;2\n", "+0=a +1=b 0t1 1t2 #1@2|");
	reads(RECORDS_CSV, '\t', "a\tb\n1,5\t2\n", "+0=a +1=b 0t1,5 1t2 #1@2|");
	reads(RECORDS_CSV, 0, "a,b\n1\n1,2,3\n4,5\n", "+0=a +1=b #1@2!too few fields|#2@3!too many fields|0t4 1t5 #3@4|");
	reads(RECORDS_CSV, 0, "a,b\n5\" pipe,2\n3,4\n", "+0=a +1=b #1@2!a quote inside an unquoted field|0t3 1t4 #2@3|");
	reads(RECORDS_CSV, 0, "a,b\n\"x\"y,2\n3,4\n", "+0=a +1=b #1@2!text after a closing quote|0t3 1t4 #2@3|");
}

TEST(jsonl)
{
	reads(RECORDS_JSONL, 0, "{\"a\": 1, \"b\": {\"c\": \"x\\u00e9\"}}\n\n{\"a\": null, \"l\": [{\"m\": true}, {\"m\": 2.5e1}]}\n",
	      "+0=a 0n1 +1=b 1o +2=b.c 2tx\xc3\xa9 #1@1|0- +3=l 3a 3o +4=l.m 4btrue 3o 4n2.5e1 #2@3|");
	reads(RECORDS_JSONL, 0, "\r\r\n \t\n{}\n", "#1@3|"); /* blank lines are not counted as records */
	reads(RECORDS_JSONL, 0, "[1]\n{\"a\": 01}\n{\"a\" 1}\n{}", "#1@1!not a JSON object|#2@2!a malformed number|#3@3!a member without a value|#4@4|");
}

static void rejected(const char *line, const char *why)
{
	struct seen s = { BUF_INIT };
	struct records_callbacks call = { NULL, on_value, on_record, &s, NULL, NULL };
	struct records *r = NULL;
	CHECK_INT(records_new(RECORDS_JSONL, 0, true, NULL, &call, &r), 0);
	records_feed(r, line, strlen(line));
	records_end(r);
	if (!strstr(buf_text(&s.text), why))
		CHECK_FAIL("%s: \"%s\" does not say \"%s\"", line, buf_text(&s.text), why);
	buf_free(&s.text);
	records_free(r);
}

TEST(jsonl_strict)
{
	rejected("{\"a\":\"\\ud800\"}", "surrogate");
	rejected("{\"a\":\"\\x\"}", "escape");
	rejected("{\"a\":\"\xff\"}", "UTF-8");
	rejected("{\"a\":tru}", "does not know");
	rejected("{\"a\":1}}", "text after");
	rejected("{\"a\":1,}", "without a name");
	rejected("{\"a\":[1,]}", "malformed number");
	rejected("{\"a\":-}", "malformed number");
	rejected("{\"a\":\"x", "not closed");
	rejected("{", "without a name");
}

TEST(formats)
{
	enum record_format f;
	char sep;
	CHECK(!records_format("a/b.tsv", &f, &sep) && f == RECORDS_CSV && sep == '\t');
	CHECK(!records_format("x.ndjson", &f, &sep) && f == RECORDS_JSONL);
	CHECK_INT(records_format("x.parquet", &f, &sep), -EOPNOTSUPP);
}

CHECK_MAIN()
