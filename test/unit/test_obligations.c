#include "test/unit/check.h"

#include "catalog/base/clock.h"
#include "fs/obligations.h"

#include <stdio.h>

static void read_levels(const char *levels, struct obligations *ret)
{
	char text[1024];
	struct err e = ERR_INIT;
	struct contract *c = NULL;
	int64_t published_ns = 1706659200 * NS_PER_S; /* 2024-01-31 */
	snprintf(text, sizeof text,
		 "apiVersion: v3.1.0\nkind: DataContract\nid: a\nversion: 1.0.0\nstatus: active\nslaProperties: %s\n"
		 "schema:\n  - name: a\n    properties:\n      - {name: id, classification: internal, tags: [key]}\n"
		 "      - {name: mail, classification: restricted, tags: [pii, key]}\n",
		 levels);
	CHECK_OK(contract_parse("a.yaml", text, strlen(text), &c, &e), &e);
	CHECK_INT(obligations_read(c, published_ns, ret), 0);
	contract_unref(c);
}

TEST(retention_counts_by_the_calendar)
{
	static const struct {
		const char *levels, *day;
	} cases[] = {
		{ "[{property: retention, value: 2, unit: y}]", "2026-01-31" },
		{ "[{property: retention, value: 1, unit: month}]", "2024-03-02" }, /* there is no 31st of February */
		{ "[{property: retention, value: 1.5, unit: d}]", "2024-02-01" },
		{ "[{property: retention, value: 3, unit: y}, {property: retention, value: 10, unit: d}]", "2024-02-10" },
		{ "[{property: retention, value: soon, unit: y}]", "" },
		{ "[{property: retention, value: 3}]", "" },
		{ "[{property: retention, value: 20000, unit: d}]", "2078-11-03" },
		{ "[{property: latency, value: 1, unit: d}]", "" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct obligations o = { 0 };
		read_levels(cases[i].levels, &o);
		CHECK_STR(o.erase_by, cases[i].day);
		obligations_fini(&o);
	}
}

TEST(categories_are_told_once)
{
	struct obligations o = { 0 };
	read_levels("[]", &o);
	CHECK_STR(buf_text(&o.categories), "internal\nkey\nrestricted\npii\n");
	obligations_fini(&o);
}

CHECK_MAIN()
