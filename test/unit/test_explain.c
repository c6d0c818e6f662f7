#include "test/unit/policy_fixture.h"

#include "policy/explain.h"

static struct version_decision *decision(struct policy *p, const char *purpose, struct contract **ret_contract)
{
	static const char *const groups[] = { "ds" };
	struct subject s = { .user = "ana", .groups = groups, .group_count = 1, .purpose = purpose };
	*ret_contract = fixture_contract("active");
	struct version_facts f = { .domain = "sales", .product = "orders", .version = "1.0.0", .contract = *ret_contract, .has_quality = true };
	struct version_decision *d = NULL;
	struct err e = ERR_INIT;
	if (policy_decide_version(p, &s, &f, NOW_NS, &d, &e))
		printf("%s\n", e.text);
	return d;
}

TEST(words_name_rule_file_and_line)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 3\n\nmask k\n  columns tagged pii\n  with hmac key k1\n  reason \"less\"\n");
	struct contract *c;
	struct version_decision *d = decision(p, "training", &c);
	struct buf b = BUF_INIT;
	version_decision_explain(d, &b);
	CHECK(strstr(buf_text(&b), "sales/orders/1.0.0 for user ana, group ds, purpose training:\nit may be read, as the rules below leave it."));
	CHECK(strstr(buf_text(&b), "m/k masks columns tagged pii by hmac key k1; \"less\"\n      b.policy:3 (policy m, version 3)"));
	CHECK(strstr(buf_text(&b), "open/all permits reading"));
	CHECK(strstr(buf_text(&b), "\nUnder a rule about rows or columns a file is denied that no table"));
	CHECK(strstr(buf_text(&b), "people.email: hmac key k1"));
	CHECK(strstr(buf_text(&b), "\n  columns that the contract does not name: hmac key k1: a keyed token"));
	buf_free(&b);
	version_decision_free(d);
	contract_unref(c);
	policy_unref(p);
}

TEST(words_tell_of_exempts_that_lift_something)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 3\n\ndeny d\n\ndeny other\n  when purpose == audit\n\nexempt leave from d until 2090-01-01\n\nexempt idle from other until 2090-01-01\n");
	struct contract *c;
	struct version_decision *d = decision(p, "training", &c);
	struct file_facts f = { .path = "people.csv", .format = "csv" };
	struct file_decision fd;
	struct buf b = BUF_INIT;
	version_decision_explain(d, &b);
	CHECK(strstr(buf_text(&b), "all of it may be read") && strstr(buf_text(&b), "m/leave exempts from d until 2090-01-01"));
	CHECK(!strstr(buf_text(&b), "m/idle") && !strstr(buf_text(&b), "m/d denies"));
	CHECK_INT(version_decision_file(d, &f, &fd, NULL), 0);
	CHECK_STR(fd.rules, "m/leave,open/all");
	file_decision_fini(&fd);
	buf_free(&b);
	version_decision_free(d);
	contract_unref(c);
	policy_unref(p);
}

TEST(the_contract_loses_dropped_columns_and_examples)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 3\ndrop k\n  columns tagged pii\ndrop z\n  columns tagged hipaa:B\n");
	struct contract *c, *seen = NULL;
	struct version_decision *d = decision(p, "training", &c);
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	const struct contract_object *o;
	CHECK_OK(version_decision_contract(d, &b, &e), &e);
	CHECK(!strstr(buf_text(&b), "email") && !strstr(buf_text(&b), "a@b.c") && !strstr(buf_text(&b), "hello") && !strstr(buf_text(&b), "zip"));
	CHECK_OK(contract_parse("seen", buf_text(&b), b.len, &seen, &e), &e);
	CHECK_OK(contract_validate(seen, &e), &e);
	CHECK_INT(contract_objects(seen, &o), 2);
	CHECK_INT(o[0].column_count, 5); /* born age note name address */
	contract_unref(seen);
	buf_free(&b);
	version_decision_free(d);
	contract_unref(c);
	policy_unref(p);
}

TEST(an_unrestricted_contract_is_as_it_was)
{
	struct policy *p = LOAD(PERMIT_ALL);
	struct contract *c;
	struct version_decision *d = decision(p, NULL, &c);
	struct buf b = BUF_INIT;
	struct err e = ERR_INIT;
	CHECK_OK(version_decision_contract(d, &b, &e), &e);
	CHECK_STR(buf_text(&b), contract_text(c));
	buf_free(&b);
	version_decision_free(d);
	contract_unref(c);
	policy_unref(p);
}

CHECK_MAIN()
