#include "catalog/address.h"
#include "test/unit/check.h"

#include <errno.h>

TEST(semver_takes_three_plain_numbers)
{
	struct semver v;
	char text[VERSION_SIZE];
	CHECK_INT(semver_parse("1.20.300", &v), 0);
	CHECK(v.major == 1 && v.minor == 20 && v.patch == 300);
	CHECK_INT(semver_parse("2147483647.2147483647.2147483647", &v), 0);
	semver_format(&v, text);
	CHECK_STR(text, "2147483647.2147483647.2147483647");
	static const char *const bad[] = { "", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.03", "1.2.", ".1.2", "1..2", "1.2.3-rc", "v1.2.3",
					   "2147483648.0.0", "99999999999999999999.0.0", "1.2.3 ", " 1.2.3", "-1.2.3", "1.2.0.draft", "latest" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (semver_parse(bad[i], &v) != -EINVAL)
			CHECK_FAIL("'%s' was taken for a version", bad[i]);
}

static int compare(const char *a, const char *b)
{
	struct semver va, vb;
	if (semver_parse(a, &va) || semver_parse(b, &vb))
		abort();
	return semver_compare(&va, &vb);
}

TEST(semver_orders_by_number_not_text)
{
	CHECK(compare("1.10.0", "1.9.9") > 0);
	CHECK(compare("2.0.0", "10.0.0") < 0);
	CHECK(compare("1.2.3", "1.2.4") < 0);
	CHECK_INT(compare("1.2.3", "1.2.3"), 0);
	CHECK(compare("2147483647.0.0", "0.0.1") > 0);
}

static bool selects(const char *selector, const char *version)
{
	struct version_selector s;
	struct semver v;
	if (version_selector_parse(selector, &s) || semver_parse(version, &v))
		abort();
	return version_selector_matches(&s, &v);
}

TEST(selectors)
{
	struct version_selector s;
	CHECK(selects("latest", "3.0.0") && selects("1", "1.9.2") && selects("1.2", "1.2.7") && selects("1.2.3", "1.2.3"));
	CHECK(!selects("1", "10.0.0") && !selects("1.2", "1.20.0") && !selects("1.2.3", "1.2.4"));
	CHECK_INT(version_selector_parse("", &s), -EINVAL);
	CHECK_INT(version_selector_parse("Latest", &s), -EINVAL);
	CHECK_INT(version_selector_parse("1.", &s), -EINVAL);
	CHECK_INT(version_selector_parse("1.2.3.4", &s), -EINVAL);
}

TEST(names)
{
	struct err e = ERR_INIT;
	char longest[65];
	memset(longest, 'a', 64);
	longest[64] = '\0';
	CHECK_INT(name_check("domain", longest, &e), -EINVAL);
	CHECK(strstr(e.text, "at most 63"));
	longest[63] = '\0';
	CHECK_INT(name_check("domain", longest, NULL), 0);
	CHECK_INT(name_check("domain", "0a._-", NULL), 0);
	CHECK_INT(name_check("domain", "latest", NULL), 0);
	static const char *const bad[] = { "", ".mesh", "-a", "_a", "A", "a b", "a/b", "..", "caf\xc3\xa9", "a\n" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (name_check("domain", bad[i], &e) != -EINVAL)
			CHECK_FAIL("'%s' was taken for a name", bad[i]);
		CHECK_INT(e.kind, ERR_PARSE);
	}
	static const char *const taken[] = { "latest", "README.md", "contract.yaml", ".mesh" };
	for (size_t i = 0; i < 4; i++) {
		CHECK_INT(name_check("product", taken[i], &e), -EINVAL);
		CHECK(strstr(e.text, "the mount uses that name"));
	}
}

TEST(addresses)
{
	struct err e = ERR_INIT;
	struct address a;
	CHECK_OK(address_parse("sales", &a, &e), &e);
	CHECK_STR(a.domain, "sales");
	CHECK(!*a.product && !*a.version && !*a.path);
	CHECK_OK(address_parse("/sales/orders/", &a, &e), &e);
	CHECK_STR(a.product, "orders");
	CHECK(!*a.version && !*a.path);
	const char *text = "sales/orders/1.2/a/b c.csv";
	CHECK_OK(address_parse(text, &a, &e), &e);
	CHECK_STR(a.version, "1.2");
	CHECK_STR(a.path, "a/b c.csv");
	CHECK(a.path > text && a.path < text + strlen(text));
	CHECK_OK(address_parse("sales/orders/latest/.mesh/x", &a, &e), &e);
	CHECK_STR(a.version, "latest");
	static const char *const bad[] = { "", "/", "Sales", "sales/latest", "sales/orders/one", "sales/orders/1.2.0.draft", "sales/orders/1.2.0/../x",
					   "sales/orders/1.2.0/a/./b", "sales/orders/1.2.0/..", "../sales" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (address_parse(bad[i], &a, &e) != -EINVAL)
			CHECK_FAIL("'%s' was taken for an address", bad[i]);
		CHECK_INT(e.kind, ERR_PARSE);
	}
}

CHECK_MAIN()
