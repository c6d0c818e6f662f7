/* Test blocks, the examples of the language's specification among them. */
#include "test/unit/policy_fixture.h"

#include "catalog/base/io.h"
#include "policy/policy_test.h"

struct seen {
	int passed, failed, uncounted, rules;
	char detail[1024];
};

static void note(void *arg, const struct policy_test_result *r)
{
	struct seen *s = arg;
	*(r->passed ? &s->passed : &s->failed) += 1;
	s->uncounted += r->uncounted;
	if (!r->passed)
		snprintf(s->detail, sizeof s->detail, "%s", r->detail);
}

static void note_rule(void *arg, const struct policy_coverage *c)
{
	struct seen *s = arg;
	s->rules++;
	snprintf(s->detail, sizeof s->detail, "%s", c->id);
}

static struct seen run(struct policy *p)
{
	struct policy_test_world w = { .now_ns = NOW_NS };
	struct seen s = { 0 };
	struct err e = ERR_INIT;
	policy_test_run(p, &w, note, &s, &e);
	return s;
}

static struct policy *load_examples(void)
{
	static const char *const paths[] = { "test/data/policy/pii.policy", "test/data/policy/health-use.policy", "test/data/policy/quality.policy" };
	struct buf b[3] = { BUF_INIT, BUF_INIT, BUF_INIT };
	const char *texts[3];
	for (int i = 0; i < 3; i++) {
		io_read_file(paths[i], 1 << 20, &b[i], NULL);
		texts[i] = buf_text(&b[i]);
	}
	struct policy *p = load_texts(texts, 3);
	for (int i = 0; i < 3; i++)
		buf_free(&b[i]);
	return p;
}

TEST(the_examples_hold)
{
	struct policy *p = load_examples();
	CHECK_STR(load_error(), "");
	struct seen s = run(p);
	CHECK_STR(s.detail, "");
	CHECK_INT(s.passed, 1);
	CHECK_INT(s.uncounted, 1);
	policy_unref(p);
}

TEST(no_test_is_zero_tests)
{
	struct policy *p = LOAD(PERMIT_ALL);
	CHECK_INT(run(p).passed + run(p).failed, 0);
	policy_unref(p);
}

static void expect(const char *test, const char *detail)
{
	char text[2048];
	snprintf(text, sizeof text,
		 "policy m scope mesh version 1\nmask k\n  when purpose == training\n  columns tagged pii\n  with hmac key k1\n"
		 "deny q\n  when purpose == training\n  when product.quality.failed_errors > 0\n"
		 "filter f\n  when purpose == research\n  rows row.age >= 18\n"
		 "test t\n  read sales/orders/1.0.0/a.csv\n%s",
		 test);
	struct policy *p = LOAD(PERMIT_ALL, text);
	CHECK_STR(load_error(), "");
	struct seen s = run(p);
	policy_unref(p);
	CHECK_STR(s.detail, detail);
}

TEST(expectations_are_checked)
{
	expect("  as user a purpose other\n  expect allow by all\n", "");
	expect("  as user a purpose other\n  expect deny\n", "expected deny, and it is allow (by open/all)");
	expect("  as user a purpose training\n  given columns email tagged pii\n  given columns age type integer\n"
	       "  expect view email=hmac age=keep rows 5 of 5 by k\n", "");
	expect("  as user a purpose training\n  given columns email tagged pii\n  expect view email=\"hmac key k1\" by m/k\n", "");
	expect("  as user a purpose training\n  given columns email tagged pii\n  expect view email=null\n",
	       "column email: expected null, and it is hmac key k1");
	expect("  as user a purpose training\n  expect view by nobody\n", "expected by nobody, and it is by m/k,open/all");
	expect("  as user a purpose training\n  given quality sales/orders/1.0.0 failed_errors 2\n  expect deny by q\n", "");
	expect("  as user a purpose training\n  given quality sales/other/1.0.0 failed_errors 2\n  expect view\n", "");
	expect("  as user a purpose training\n  given quality sales/orders missing\n  expect deny by q\n", "");
	expect("  as user a purpose research\n  given columns age type integer\n  expect view rows 2 of 5 by f\n", "");
	expect("  as user a purpose research\n  given columns age type string\n  expect deny by f\n", "");
	expect("  as user a purpose training\n  expect view rows 4 of 5\n", "expected rows 4 of 5, and no rule filters rows");
	expect("  as user a purpose training\n  given document\n  expect allow\n", "");
}

TEST(coverage_names_rules_that_no_test_reached)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny d\n  when purpose == a\nhide h\n  when purpose == b\n"
					    "test t\n  as user u purpose a\n  read sales/x/1.0.0/a.csv\n  expect deny by d\n");
	struct policy_test_world w = { .now_ns = NOW_NS };
	struct seen s = { 0 };
	struct err e = ERR_INIT;
	CHECK_OK(policy_test_coverage(p, &w, note_rule, &s, &e), &e);
	CHECK_INT(s.rules, 1);
	CHECK_STR(s.detail, "m/h");
	policy_unref(p);
}

CHECK_MAIN()
