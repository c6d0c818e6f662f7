#include "test/unit/policy_fixture.h"

#include "policy/diff.h"

struct changes {
	int loosened, tightened;
	char text[4096];
};

static void note(void *arg, const struct policy_change *c)
{
	struct changes *x = arg;
	size_t n = strlen(x->text);
	*(c->loosened ? &x->loosened : &x->tightened) += 1;
	snprintf(x->text + n, sizeof x->text - n, "%c %s%s%s %s: %s -> %s (%s)\n", c->loosened ? '-' : '+', c->product, c->facts[0] ? ", " : "", c->facts, c->what, c->before, c->after, c->subject);
}

static struct changes diff(const char *before, const char *after)
{
	struct changes x = { 0 };
	struct err e = ERR_INIT;
	struct policy *a = LOAD(PERMIT_ALL, before), *b = LOAD(PERMIT_ALL, after);
	if (!a || !b || policy_diff(a, b, NULL, 0, NOW_NS, note, &x, &e))
		snprintf(x.text, sizeof x.text, "%s%s", e.text, load_error());
	policy_unref(a);
	policy_unref(b);
	return x;
}
#define M "policy m scope mesh version 1\n"

TEST(the_same_rules_differ_in_nothing)
{
	struct changes x = diff(M "deny d\n  when purpose == a\n", "policy m scope mesh version 2\n\ndeny d  # why\n  when \"a\" == purpose\n");
	CHECK_STR(x.text, "");
}

TEST(a_new_deny_tightens_and_its_loss_loosens)
{
	const char *none = M, *deny = M "deny d\n  when purpose == a\n  when group == ds\n";
	struct changes x = diff(none, deny);
	CHECK_INT(x.loosened, 0);
	CHECK_STR(x.text, "+ sales/any files: allow -> deny (user (anyone), group ds, purpose a)\n");
	x = diff(deny, none);
	CHECK_INT(x.tightened, 0);
	CHECK_STR(x.text, "- sales/any files: deny -> allow (user (anyone), group ds, purpose a)\n");
}

TEST(masks_are_compared_by_column)
{
	struct changes x = diff(M "mask k\n  columns tagged pii\n  with redact\n", M "mask k\n  columns tagged pii\n  with partial first 2\n");
	CHECK(strstr(x.text, "- sales/any column (tagged pii): redact -> partial first 2"));
	CHECK_INT(x.tightened, 0);
	x = diff(M "mask k\n  columns tagged pii\n  with year\n", M "mask k\n  columns tagged pii\n  with zip3\n");
	CHECK_INT(x.tightened, 0); /* not ordered: a review should see it */
	CHECK(x.loosened > 0);
}

TEST(rows_are_compared_by_condition)
{
	struct changes x = diff(M "filter f\n  rows row.a == 1\n", M "filter f\n  rows row.a == 1 and row.b == 2\n");
	CHECK_STR(x.text, "+ sales/any rows: row.a == 1 -> row.a == 1 and row.b == 2 (user (anyone), purpose (other))\n");
	x = diff(M "filter f\n  rows row.a == 1\n", M);
	CHECK_STR(x.text, "- sales/any rows: row.a == 1 -> all (user (anyone), purpose (other))\n");
}

TEST(states_of_products_are_asked)
{
	struct changes x = diff(M "hide h\n  when product.status == draft\n", M);
	CHECK_STR(x.text, "- sales/any, status draft files: hide -> allow (user (anyone), purpose (other))\n");
}

TEST(groups_are_asked_together)
{
	struct changes x = diff(M "deny d\n  when group == a\n", M "deny d\n  when group == a\n  unless group == b\n");
	CHECK_STR(x.text, "- sales/any files: deny -> allow (user (anyone), group a and b, purpose (other))\n");
	x = diff(M "deny d\n  when group == a\n  when group == b\n  when group == c\n", M);
	CHECK_STR(x.text, "- sales/any files: deny -> allow (user (anyone), group a and b and c, purpose (other))\n");
}

TEST(states_are_crossed)
{
	struct changes x = diff(M "deny d\n  when product.status == draft\n  when product.quality.failed_errors > 3\n", M);
	CHECK_INT(x.tightened, 0);
	CHECK_STR(x.text, "- sales/any, status draft, quality 4 errors or unknown files: deny -> allow (user (anyone), purpose (other))\n");
	x = diff(M "deny d\n  when product.tags == gold\n  when group == product.team\n  when product.age_days > 7\n", M);
	CHECK_INT(x.tightened, 0);
	CHECK(x.loosened > 0);
}

TEST(numbers_are_asked_where_they_change)
{
	struct changes x = diff(M "deny d\n  when uid > 1000\n", M "deny d\n  when uid >= 1000\n");
	CHECK_STR(x.text, "+ sales/any files: allow -> deny (user (anyone), purpose (other), uid 1000)\n");
	x = diff(M "deny d\n  when product.quality.score < 0.9\n", M "deny d\n  when product.quality.score <= 0.9\n");
	CHECK_INT(x.loosened, 0);
	CHECK_INT(x.tightened, 1);
	x = diff(M "deny d\n  when now < 2030-01-01\n", M "deny d\n  when now < 2029-01-01\n");
	CHECK_INT(x.tightened, 0);
	CHECK(x.loosened > 0);
}

TEST(results_of_checks_with_the_same_answer_are_one_line)
{
	const char *deny = M "deny d\n  when product.quality.failed_errors > 3\n";
	struct changes x = diff(deny, M);
	CHECK_STR(x.text, "- sales/any, quality 4 errors or unknown files: deny -> allow (user (anyone), purpose (other))\n");
	x = diff(deny, M "deny d\n  when product.quality.failed_errors > 3\ndeny e\n  when purpose == a\n");
	CHECK_STR(x.text, "+ sales/any, quality good or 1 error or 2 errors or 3 errors or 1 error and 1 warning and score 0 files: allow -> deny (user (anyone), purpose a)\n");
	x = diff(M "hide h\n  when product.status == draft\n", M "hide h\n  when product.status == draft\n  when product.quality.score < 0\n");
	CHECK_INT(x.tightened, 0);
	CHECK(strstr(x.text, "- sales/any, status draft, quality"));
	x = diff(M "mask k\n  columns tagged pii\n  with redact\nmask w\n  columns tagged pii\n  when product.quality.score < 0.5\n  with partial first 2\n",
		 M "mask k\n  columns tagged pii\n  with null\nmask w\n  columns tagged pii\n  when product.quality.score < 0.5\n  with partial first 2\n");
	CHECK_STR(x.text, "+ sales/any, any quality column (tagged pii): redact -> null (user (anyone), purpose (other))\n"
			  "+ sales/any, any quality columns that the contract does not name: redact -> null (user (anyone), purpose (other))\n");
}

CHECK_MAIN()
