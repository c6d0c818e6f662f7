/* Fingerprints: equal for equal records, whatever the format, the order of columns and the way in which values are written. */
#include "fs/row_print.h"
#include "test/unit/check.h"

#include <stdbool.h>

struct seen {
	struct row_print prints[16];
	bool broken[16];
	size_t count;
};

static int keep(void *arg, uint64_t number, const struct row_print *print, bool broken)
{
	struct seen *s = arg;
	if (number != s->count + 1 || s->count == 16)
		return -1;
	s->broken[s->count] = broken;
	s->prints[s->count++] = *print;
	return 0;
}

static bool not_extra(void *arg, const char *name)
{
	(void)arg;
	return strcmp(name, "extra") != 0;
}

static int read(const char *path, const char *text, struct seen *ret)
{
	const size_t len = strlen(text);
	const struct row_prints_config config = { .path = path, .separator = row_separator(path, NULL, text, len), .header = true, .column = not_extra, .each = keep, .arg = ret };
	struct row_prints *p = NULL;
	*ret = (struct seen){ .count = 0 };
	int r = row_prints_new(&config, &p);
	for (size_t i = 0; !r && i < len; i++) /* torn everywhere */
		r = row_prints_feed(p, text + i, 1);
	if (!r)
		r = row_prints_end(p);
	row_prints_free(p);
	return r;
}

static bool equal(const struct row_print *a, const struct row_print *b)
{
	return a->high == b->high && a->low == b->low;
}

TEST(ways_of_writing_a_value_are_the_same)
{
	static const char *const same[][6] = {
		{ "30", "30.0", "3e1", "+30", "030", "3.000e+1" },
		{ "1e21", "1000000000000000000000", "1E+21", "100e19", "0.001e24", NULL },
		{ "123456789012345678901234567890", "1.2345678901234567890123456789e29", "123456789012345678901234567890.00", NULL, NULL, NULL },
		{ "0", "0.0", "-0", "0e5", "000", NULL },
		{ "-1.5", "-1.50", "-15e-1", "-0.0015e3", NULL, NULL },
		{ "true", "True", "TRUE", NULL, NULL, NULL },
		{ "2025-01-02", "2025-01-02 00:00:00", "2025-01-02T00:00:00Z", "2025-01-02T01:00:00+01:00", "2025-01-02 00:00:00.000+00", NULL },
		{ "2025-01-02T03:04:05.5", "2025-01-02 03:04:05.500000", NULL, NULL, NULL, NULL },
	};
	struct seen a, b;
	char text[128];
	struct row_print kinds[sizeof same / sizeof *same];
	for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
		for (size_t k = 0; k < 6 && same[i][k]; k++) {
			snprintf(text, sizeof text, "v\n%s\n", same[i][k]);
			CHECK_INT(read("a.csv", text, k ? &b : &a), 0);
			if (k && !equal(&a.prints[0], &b.prints[0]))
				printf("%s and %s differ\n", same[i][0], same[i][k]);
			CHECK(!k || equal(&a.prints[0], &b.prints[0]));
		}
		kinds[i] = a.prints[0];
		for (size_t k = 0; k < i; k++)
			CHECK(!equal(&kinds[i], &kinds[k]));
	}
}

TEST(what_differs_has_another_print)
{
	static const char *const different[] = { "1", "10", "01x", "-1", "0.1", "1e1000", "True!", "tru", "2025-01-02", "2025-01-03", "2025-1-2", "a", "A", " a", "\"a,b\"" };
	struct seen all[sizeof different / sizeof *different];
	char text[64];
	for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
		snprintf(text, sizeof text, "v\n%s\n", different[i]);
		CHECK_INT(read("a.csv", text, &all[i]), 0);
		for (size_t k = 0; k < i; k++)
			CHECK(!equal(&all[i].prints[0], &all[k].prints[0]));
	}
}

TEST(columns_count_by_name_and_formats_agree)
{
	struct seen a, b;
	CHECK_INT(read("a.csv", "id,word,extra\n1,x,9\n2,,8\n,,7\n1\n", &a), 0);
	CHECK_INT(a.count, 4);
	CHECK(a.broken[3] && !a.broken[0]);
	CHECK(!a.prints[2].low && !a.prints[2].high);
	CHECK_INT(read("a.jsonl", "{\"word\": \"x\", \"id\": 1.0}\n\n{\"extra\": 5, \"id\": 2, \"word\": null}\n{}\n", &b), 0);
	CHECK_INT(b.count, 3);
	for (int i = 0; i < 3; i++)
		CHECK(equal(&a.prints[i], &b.prints[i]));
	CHECK_INT(read("a.tsv", "word\tid\n\"x\"\t1\n1\tx\n", &b), 0);
	CHECK(equal(&a.prints[0], &b.prints[0]) && !equal(&b.prints[0], &b.prints[1])); /* exchanged */
	CHECK_INT(read("a.jsonl", "{\"id\": [1, 2]}\n{\"id\": [2, 1]}\n{\"id\": 1}\n", &b), 0);
	CHECK(!equal(&b.prints[0], &b.prints[1]) && !equal(&b.prints[0], &b.prints[2]));
}

CHECK_MAIN()
