#include "test/unit/check.h"

#include "catalog/base/buf.h"
#include "catalog/base/hash.h"
#include "catalog/distribution.h"

#include <math.h>

static void add(struct distribution *d, const char *text)
{
	struct cell v = { .kind = VALUE_TEXT, .text = text, .len = strlen(text) };
	const uint64_t hash = xxh64_of(text, strlen(text));
	distribution_add(d, &hash, &v, 1);
}

static void json_of(struct distribution *d, enum logical_type type, uint64_t nulls, const char *expected)
{
	struct distribution_summary s;
	struct buf out = BUF_INIT;
	struct json j;
	distribution_summarize(d, &s);
	json_start(&j, &out);
	json_open(&j, '{');
	distribution_json(&j, type, nulls, &s, d);
	json_close(&j, '}');
	CHECK_STR(buf_text(&out), expected);
	buf_free(&out);
	distribution_free(d);
}

TEST(few_texts_are_counted_one_by_one)
{
	struct distribution *d = distribution_new(TYPE_STRING, true);
	for (int i = 0; i < 12; i++)
		add(d, i % 2 ? "DE" : "FR");
	for (int i = 0; i < 7; i++)
		add(d, "DE");
	add(d, "rare: nobody's but one person's");
	json_of(d, TYPE_STRING, 3,
		"{\"values\":20,\"nulls\":3,\"distinct\":3,\"exact\":true,\"top\":[{\"value\":\"DE\",\"count\":13},{\"value\":\"FR\",\"count\":6}]}");
}

TEST(values_that_may_not_be_kept_leave_counts_alone)
{
	struct distribution *d = distribution_new(TYPE_STRING, false);
	for (int i = 0; i < 20; i++)
		add(d, "secret");
	json_of(d, TYPE_STRING, 0, "{\"values\":20,\"nulls\":0,\"distinct\":1,\"exact\":true}");
	d = distribution_new(TYPE_NUMBER, false);
	for (int i = 0; i < 20; i++)
		add(d, "31337");
	json_of(d, TYPE_NUMBER, 0, "{\"values\":20,\"nulls\":0,\"distinct\":1,\"exact\":true}");
}

TEST(dates_and_numbers_have_an_order)
{
	struct distribution *d = distribution_new(TYPE_DATE, true);
	add(d, "2026-03-01");
	add(d, "2025-12-31");
	add(d, "no date");
	json_of(d, TYPE_DATE, 0,
		"{\"values\":3,\"nulls\":0,\"distinct\":3,\"exact\":true,\"min\":\"2025-12-31\",\"max\":\"2026-03-01\","
		"\"quantiles\":[\"2025-12-31\",\"2025-12-31\",\"2026-03-01\",\"2026-03-01\",\"2026-03-01\"]}");
	d = distribution_new(TYPE_NUMBER, true);
	static const char *const numbers[] = { "3", "-1.5", "1e2", "12345678901234567890", "0.1", "x", "" };
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		add(d, numbers[i]);
	struct distribution_summary s;
	distribution_summarize(d, &s);
	CHECK(s.low == -1.5 && s.high == 12345678901234567890.0 && s.quantiles[2] == 3);
	distribution_free(d);
}

/* Whatever the number of values: quantiles near, the number of different ones near, the same again for the same values. */
TEST(many_values_are_estimated)
{
	for (int count = 1000; count <= 1000000; count *= 10) {
		double again[DISTRIBUTION_QUANTILES] = { 0 };
		for (int round = 0; round < 2; round++) {
			struct distribution *d = distribution_new(TYPE_INTEGER, true);
			struct distribution_summary s;
			char text[24];
			for (int i = 0; i < count; i++) {
				snprintf(text, sizeof text, "%d", (int)((int64_t)i * 7919 % count));
				add(d, text);
			}
			distribution_summarize(d, &s);
			CHECK_INT(s.values, count);
			CHECK(!s.exact);
			CHECK(fabs((double)s.distinct - count) < 0.1 * count);
			CHECK(s.low == 0 && s.high == count - 1);
			for (size_t i = 0; i < DISTRIBUTION_QUANTILES; i++) {
				CHECK(fabs(s.quantiles[i] / count - distribution_quantiles[i]) < 0.06);
				CHECK(!round || s.quantiles[i] == again[i]);
				again[i] = s.quantiles[i];
			}
			distribution_free(d);
		}
	}
}

TEST(the_limit_between_counting_and_estimating)
{
	for (unsigned count = DISTRIBUTION_COMMON_MAX; count <= DISTRIBUTION_COMMON_MAX + 1; count++) {
		struct distribution *d = distribution_new(TYPE_STRING, true);
		struct distribution_summary s;
		char text[24];
		for (unsigned i = 0; i < count * 3; i++) {
			snprintf(text, sizeof text, "v%u", i % count);
			add(d, text);
		}
		distribution_summarize(d, &s);
		CHECK_INT(s.exact, count == DISTRIBUTION_COMMON_MAX);
		CHECK(s.distinct >= count - 20 && s.distinct <= count + 20);
		distribution_free(d);
	}
}

CHECK_MAIN()
