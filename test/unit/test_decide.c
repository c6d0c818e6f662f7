/* "How rules combine" of the language, point by point. */
#include "catalog/base/text.h"
#include "test/unit/policy_fixture.h"

#define CHECK_OUTCOME(answer, expected) CHECK_STR(outcome_name((answer).outcome), expected)

TEST(no_policy_denies_everything)
{
	struct answer a = ASK(NULL, .user = "ana");
	CHECK_OUTCOME(a, "deny");
	CHECK_INT(a.version, OUTCOME_DENY);
}

TEST(default_deny_and_permit)
{
	struct policy *p = LOAD("policy m scope mesh version 1\n");
	struct answer a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "deny");
	CHECK_STR(a.rules, "default");
	policy_unref(p);
	p = LOAD(PERMIT_ALL);
	a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "allow");
	CHECK_STR(a.rules, "open/all");
	CHECK_INT(a.version, OUTCOME_ALLOW);
	policy_unref(p);
}

TEST(a_version_is_plain_only_when_every_file_is)
{
	static const char *const partial[] = {
		"policy m scope mesh version 1\ndeny d\n  files sales/orders/*/private/**\n",
		"policy m scope mesh version 1\ndeny d\n  when file.size > 10\n",
		"policy m scope mesh version 1\nhide h\n  files sales/orders/*/private/**\n",
		"policy m scope mesh version 1\nrequire r\n  files **/*.csv\n  have run\n",
	};
	for (size_t i = 0; i < sizeof partial / sizeof *partial; i++) {
		struct policy *p = LOAD(PERMIT_ALL, partial[i]);
		struct answer a = ASK(p, .user = "ana", .path = "LICENCE");
		CHECK_INT(a.version, OUTCOME_VIEW);
		policy_unref(p);
	}
	struct policy *p = LOAD("policy open scope domain sales version 1\npermit some\n  files sales/orders/*/people.csv\n");
	struct answer a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "allow");
	CHECK_INT(a.version, OUTCOME_VIEW);
	a = ASK(p, .user = "ana", .path = "LICENCE");
	CHECK_OUTCOME(a, "deny");
	policy_unref(p);
}

TEST(hide_before_deny_before_view)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nhide h\n  when purpose == a\ndeny d\n  when purpose in {a, b}\n"
					    "  reason \"because\"\nmask k\n  columns tagged pii\n  with null\n");
	struct answer a = ASK(p, .purpose = "a");
	CHECK_OUTCOME(a, "hide");
	CHECK_STR(a.rules, "m/h");
	CHECK_INT(a.version, OUTCOME_HIDE);
	a = ASK(p, .purpose = "b");
	CHECK_OUTCOME(a, "deny");
	CHECK_STR(a.reason, "denied by the rule m/d: because");
	a = ASK(p, .purpose = "c");
	CHECK_OUTCOME(a, "view");
	CHECK_STR(a.summary, "masks email (null); columns that the contract does not name: null");
	CHECK_STR(a.rules, "m/k,open/all");
	policy_unref(p);
}

TEST(require_is_unmet_without_the_attribute)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nrequire r\n  when purpose == training\n  have run\n");
	struct answer a = ASK(p, .purpose = "training");
	CHECK_OUTCOME(a, "deny");
	CHECK_STR(a.reason, "m/r: the session needs a run");
	a = ASK(p, .purpose = "training", .run = "r1");
	CHECK_OUTCOME(a, "allow");
	a = ASK(p, .purpose = "other");
	CHECK_OUTCOME(a, "allow");
	/* Unknown tightens: without a purpose the rule may concern the session. */
	a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "deny");
	policy_unref(p);
}

TEST(very_many_rules_are_named_as_far_as_they_fit)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, "policy m scope mesh version 1\n");
	for (int i = 0; i < 30; i++)
		buf_addf(&b, "mask a-rule-with-a-name-as-long-as-any-name-may-be-in-a-policy-%02d\n  columns tagged pii\n  with null\n", i);
	for (int files = 0; files < 2; files++) {
		struct policy *p = LOAD(PERMIT_ALL, buf_text(&b));
		struct answer a = ASK(p, .user = "ana");
		size_t n = strlen(a.rules), ids = 1;
		for (const char *c = a.rules; *c; c++)
			ids += *c == ',';
		CHECK_OUTCOME(a, "view");
		if (!files) /* all of them, and the permit */
			CHECK(ids == 31 && !strcmp(a.rules + n - 9, ",open/all"));
		else
			CHECK(ids > 32 && ids < 131 && !strcmp(a.rules + n - 4, ",\u2026"));
		for (int i = 30; i < 130; i++)
			buf_addf(&b, "mask a-rule-with-a-name-as-long-as-any-name-may-be-in-a-poli-%d\n  columns tagged pii\n  with null\n", i);
		policy_unref(p);
	}
	buf_free(&b);
}

TEST(filters_and_read_raw_values)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nfilter f\n  rows row.age >= 18\nfilter g\n  rows row.email like \"*@x\"\n"
					    "drop e\n  columns named email\n");
	struct answer a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "view");
	CHECK_STR(a.summary, "drops email; columns that the contract does not name: drop; rows where row.age >= 18 and row.email like \"*@x\"");
	policy_unref(p);
}

TEST(filter_on_a_missing_or_mistyped_column_denies)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nfilter f\n  when purpose == a\n  rows row.income > 3\n"
					    "filter g\n  when purpose == b\n  rows row.age == \"x\"\nfilter h\n  when purpose == c\n  rows row.born >= \"2000-01-01\"\n");
	struct answer a = ASK(p, .purpose = "a");
	CHECK_OUTCOME(a, "deny");
	CHECK_STR(a.reason, "m/f: a rule needs the column income, which the contract does not have");
	a = ASK(p, .purpose = "b");
	CHECK_OUTCOME(a, "deny");
	CHECK_STR(a.reason, "m/g: column age is an integer in the contract, and a rule compares it with text");
	a = ASK(p, .purpose = "c");
	CHECK_OUTCOME(a, "view");
	policy_unref(p);
}

TEST(strictest_mask_wins_and_unordered_ones_give_null)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nmask a\n  columns named email\n  with partial first 2\n"
					    "mask b\n  columns tagged pii\n  with redact\nmask c\n  columns named born\n  with year\n"
					    "mask d\n  columns named born\n  with zip3\n");
	struct answer a = ASK(p, .user = "ana");
	CHECK_STR(a.summary, "masks born (null), email (redact); columns that the contract does not name: null");
	policy_unref(p);
}

TEST(column_selectors)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndrop r\n  when purpose == a\n  columns classified restricted\n"
					    "drop u\n  when purpose == b\n  columns unclassified\ndrop all\n  when purpose == c\n  columns all\n"
					    "drop pub\n  when purpose == d\n  columns classified public\n");
	struct answer a = ASK(p, .purpose = "a");
	CHECK_STR(a.summary, "drops name; columns that the contract does not name: drop");
	a = ASK(p, .purpose = "b");
	CHECK_STR(a.summary, "drops name; columns that the contract does not name: drop");
	a = ASK(p, .purpose = "c");
	CHECK_STR(a.summary, "drops address, age, born, email, name, note; columns that the contract does not name: drop");
	a = ASK(p, .purpose = "d");
	CHECK_STR(a.summary, "drops address, age, note; columns that the contract does not name: drop");
	policy_unref(p);
}

TEST(files_that_no_object_claims)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndrop r\n  columns tagged pii\n");
	struct answer a = ASK(p, .path = "other.csv");
	CHECK_OUTCOME(a, "deny");
	a = ASK(p, .path = "LICENCE", .format = "other");
	CHECK_OUTCOME(a, "allow");
	a = ASK(p, .path = "people.csv", .format = "other");
	CHECK_OUTCOME(a, "deny");
	a = ASK(p, .no_contract = true);
	CHECK_OUTCOME(a, "deny");
	policy_unref(p);
}

static struct file_decision decide_with(struct policy *p, const char *objects, const char *path)
{
	struct version_decision *d = NULL;
	struct file_decision f = { .outcome = OUTCOME_HIDE }; /* what no test wants */
	struct contract *c = NULL;
	struct err e = ERR_INIT;
	char *text = text_format("apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\nschema:\n%s", objects);
	struct subject s = { .user = "ben", .uid = 1000, .host = "h1" };
	contract_parse("contract.yaml", text, strlen(text), &c, &e);
	struct version_facts facts = { .domain = "sales", .product = "orders", .version = "1.0.0", .contract = c, .published_ns = NOW_NS };
	struct file_facts file = { .path = path, .format = "csv", .size = 10 };
	if (c && !policy_decide_version(p, &s, &facts, NOW_NS, &d, &e) && !version_decision_file(d, &file, &f, &e))
		file_decision_fini(&f);
	version_decision_free(d);
	contract_unref(c);
	free(text);
	return f;
}

TEST(files_that_several_objects_claim)
{
#define ANY "- {name: all, physicalName: '**', properties: [{name: code, logicalType: string, classification: public}]}\n"
#define ONE "- {name: one, physicalName: 'p*.csv', properties: [{name: code, logicalType: string, tags: [pii]}]}\n"
#define PAPER "- {name: paper, physicalName: '**', physicalType: document}\n"
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndrop r\n  columns tagged pii\n"), *open = LOAD(PERMIT_ALL);
	struct file_decision f = decide_with(p, ANY ONE, "p1.csv"); /* in either order */
	CHECK_INT(f.outcome, OUTCOME_DENY);
	CHECK(strstr(f.reason, "more than one schema object") != NULL);
	CHECK_INT(decide_with(p, ONE ANY, "p1.csv").outcome, OUTCOME_DENY);
	CHECK_INT(decide_with(p, ONE ANY, "q.csv").outcome, OUTCOME_VIEW); /* columns that are not named are dropped */
	CHECK_INT(decide_with(p, PAPER ONE, "p1.csv").outcome, OUTCOME_VIEW); /* a table goes before a document */
	CHECK_INT(decide_with(p, PAPER ONE, "q.csv").outcome, OUTCOME_ALLOW);
	CHECK_INT(decide_with(open, ANY ONE, "p1.csv").outcome, OUTCOME_ALLOW); /* no rule asks for columns */
	policy_unref(p);
	policy_unref(open);
}

TEST(unknown_tightens)
{
	struct policy *p = LOAD("policy open scope domain sales version 1\npermit all\n  when product.quality.failed_errors == 0\n");
	struct answer a = ASK(p, .no_quality = true);
	CHECK_OUTCOME(a, "deny"); /* a permit does not apply */
	a = ASK(p, .no_quality = false);
	CHECK_OUTCOME(a, "allow");
	policy_unref(p);
	p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny q\n  when product.quality.failed_errors > 0\n");
	a = ASK(p, .no_quality = true);
	CHECK_OUTCOME(a, "deny"); /* a restriction does */
	policy_unref(p);
	p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny q\n  unless purpose == fine\n");
	a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "deny"); /* an unknown unless does not lift */
	a = ASK(p, .purpose = "fine");
	CHECK_OUTCOME(a, "allow");
	policy_unref(p);
	p = LOAD("policy open scope domain sales version 1\npermit all\n  unless purpose == bad\n");
	a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "deny"); /* nor does it leave a permit standing */
	policy_unref(p);
}

TEST(several_when_all_hold_any_unless_lifts)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny q\n  when purpose == a\n  when group == ds\n  unless user == ana\n"
					    "  unless host == h9\n");
	CHECK_OUTCOME(ASK(p, .purpose = "a"), "deny");
	CHECK_OUTCOME(ASK(p, .purpose = "b"), "allow");
	CHECK_OUTCOME(ASK(p, .purpose = "a", .group = "x"), "allow");
	CHECK_OUTCOME(ASK(p, .purpose = "a", .user = "ana"), "allow");
	policy_unref(p);
}

TEST(a_policy_knows_whether_it_asks_for_checks)
{
	static const char *const asking[] = { "when product.quality.failed_errors > 0", "when product.quality.score < 0.5",
					      "unless product.quality.failed_warnings == 0", "when user == ana and product.quality.score < 1" };
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny d\n  when product.status == draft\n");
	CHECK(!policy_asks_checks(p));
	policy_unref(p);
	for (size_t i = 0; i < sizeof asking / sizeof *asking; i++) {
		char text[200];
		snprintf(text, sizeof text, "policy m scope mesh version 1\ndeny d\n  %s\n", asking[i]);
		p = LOAD(PERMIT_ALL, text);
		CHECK(policy_asks_checks(p));
		policy_unref(p);
	}
}

TEST(team_is_groups_and_users)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nhide drafts\n  when product.status in {proposed, draft}\n"
					    "  unless group == product.team\n");
	CHECK_OUTCOME(ASK(p, .status = "draft"), "hide");
	CHECK_OUTCOME(ASK(p, .status = "draft", .group = "owners"), "allow");
	CHECK_OUTCOME(ASK(p, .status = "draft", .user = "ana"), "allow");
	CHECK_OUTCOME(ASK(p, .status = "active"), "allow");
	CHECK_OUTCOME(ASK(p, .no_contract = true), "hide");
	policy_unref(p);
}

TEST(domain_files_reach_only_their_domain)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy x scope domain health version 1\ndeny d\n  files sales/**, **\npermit p\n  files **\n");
	CHECK_OUTCOME(ASK(p, .user = "ana"), "allow");
	policy_unref(p);
	p = LOAD("policy x scope domain health version 1\npermit p\n  files **\n");
	CHECK_OUTCOME(ASK(p, .user = "ana"), "deny");
	policy_unref(p);
}

TEST(exempts_are_dated)
{
	const char *mesh = "policy m scope mesh version 1\ndeny d\n  when purpose == a\n"
			   "exempt ana from d until 2026-06-30\n  when user == ana\n";
	struct policy *p = LOAD(PERMIT_ALL, mesh);
	CHECK(p);
	struct answer a = ASK(p, .purpose = "a", .user = "ana");
	CHECK_OUTCOME(a, "allow");
	CHECK_INT(a.valid_until_ns, 1782864000LL * NS_PER_S); /* the end of the day */
	CHECK_OUTCOME(ASK(p, .purpose = "a"), "deny");
	a = ASK(p, .purpose = "a", .user = "ana", .now_ns = 1782864000LL * NS_PER_S);
	CHECK_OUTCOME(a, "deny");
	policy_unref(p);
}

TEST(an_exempt_lifts_no_domain_rule)
{
	struct policy *p = LOAD("policy open scope domain sales version 1\npermit all\ndeny d\n",
				"policy m scope mesh version 1\ndeny d\nexempt x from m/d until 2027-01-01\n");
	CHECK_OUTCOME(ASK(p, .user = "ana"), "deny");
	policy_unref(p);
}

TEST(now_says_until_when)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny d\n  when now < 2026-06-16\n");
	struct answer a = ASK(p, .user = "ana");
	CHECK_OUTCOME(a, "deny");
	CHECK_INT(a.valid_until_ns, 1781568000LL * NS_PER_S);
	a = ASK(p, .now_ns = a.valid_until_ns);
	CHECK_OUTCOME(a, "allow");
	policy_unref(p);
	p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\ndeny d\n  when product.age_days >= 2\n");
	a = ASK(p, .published_ns = NOW_NS - 86400 * NS_PER_S - 5);
	CHECK_OUTCOME(a, "allow");
	CHECK_INT(a.valid_until_ns, NOW_NS + 86400 * NS_PER_S - 5);
	a = ASK(p, .published_ns = NOW_NS - 2 * 86400 * NS_PER_S);
	CHECK_OUTCOME(a, "deny");
	policy_unref(p);
}

TEST(a_clock_that_cannot_be_right_tightens)
{
	struct policy *p = LOAD("policy open scope domain sales version 1\npermit before\n  when now < 2030-01-01\npermit always\n  when user == eve\n",
				"policy m scope mesh version 1\ndeny embargo\n  when now < 2020-01-01\n  when purpose == a\n"
				"deny old\n  when product.age_days > 900\n  when purpose == b\n"
				"deny d\n  when purpose == c\nexempt ana from d until 2029-06-30\n  when user == ana\n");
	const int64_t ahead = NOW_NS + 3600 * NS_PER_S, near = NOW_NS + 60 * NS_PER_S; /* of the publication: a clock that is a minute off is no wrong clock */
	CHECK(p);
	CHECK_OUTCOME(ASK(p, .user = "ana", .purpose = "z", .published_ns = near), "allow");
	CHECK_OUTCOME(ASK(p, .user = "ana", .purpose = "z", .published_ns = ahead), "deny"); /* the permit asks for the time */
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "z", .published_ns = ahead), "allow");
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "a"), "allow");
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "a", .published_ns = ahead), "deny");
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "b"), "allow");
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "b", .published_ns = ahead), "deny");
	CHECK_OUTCOME(ASK(p, .user = "ana", .purpose = "c"), "allow");
	CHECK_OUTCOME(ASK(p, .user = "ana", .purpose = "c", .published_ns = ahead), "deny");
	CHECK_OUTCOME(ASK(p, .user = "eve", .purpose = "a", .now_ns = POLICY_NOW_UNKNOWN), "deny");
	CHECK_INT(ASK(p, .user = "eve", .purpose = "a", .now_ns = POLICY_NOW_UNKNOWN).valid_until_ns, INT64_MAX);
	policy_unref(p);
}

TEST(rules_of_single_files)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nhide h\n  files sales/orders/*/secret/**\n"
					    "deny d\n  when file.format == parquet\n");
	struct answer a = ASK(p, .path = "secret/a.csv");
	CHECK_OUTCOME(a, "hide");
	CHECK_INT(a.version, OUTCOME_VIEW);
	CHECK_OUTCOME(ASK(p, .path = "people.csv"), "allow");
	CHECK_OUTCOME(ASK(p, .path = "a.parquet", .format = "parquet"), "deny");
	CHECK_OUTCOME(ASK(p, .path = "secret/a.csv", .product = "returns"), "allow");
	policy_unref(p);
}

TEST(filters_know_the_subject)
{
	struct policy *p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nfilter f\n  rows row.note == user or group == admins\n");
	CHECK_STR(ASK(p, .user = "ana").summary, "rows where row.note == \"ana\"");
	CHECK_OUTCOME(ASK(p, .group = "admins"), "allow");
	policy_unref(p);
	p = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nfilter f\n  rows row.note == purpose\n");
	CHECK_STR(ASK(p, .user = "ana").summary, "rows where false");
	policy_unref(p);
}

TEST(order_of_files_and_rules_does_not_matter)
{
	const char *m = "policy m scope mesh version 1\nmask a\n  columns tagged pii\n  with year\nmask b\n  columns named email\n  with hmac key k\n";
	const char *n = "policy m scope mesh version 9 # later\n\nmask b\n  with hmac key k\n  columns named email\nmask a\n  with year\n  columns tagged pii\n";
	struct policy *p = LOAD(PERMIT_ALL, m), *q = LOAD(n, PERMIT_ALL);
	CHECK(p && q);
	CHECK(digest_equal(policy_digest(p), policy_digest(q)));
	struct answer a = ASK(p, .user = "ana"), b = ASK(q, .user = "ana");
	CHECK_STR(a.summary, b.summary);
	CHECK(!memcmp(a.hash, b.hash, 32));
	policy_unref(q);
	q = LOAD(PERMIT_ALL, "policy m scope mesh version 1\nmask a\n  columns tagged pii\n  with year\n");
	CHECK(!digest_equal(policy_digest(p), policy_digest(q)));
	policy_unref(p);
	policy_unref(q);
}

TEST(a_domain_that_publishes_nonsense_harms_itself_only)
{
	const char *bad = "policy x scope domain sales version 1\npermitt all\n", *theirs = "policy x scope mesh version 1\nhide all\n";
	struct policy_source s[] = { { "a.policy", PERMIT_ALL, strlen(PERMIT_ALL), NULL }, { "health:x", theirs, strlen(theirs), "health" } };
	struct policy_source t[] = { { "a.policy", PERMIT_ALL, strlen(PERMIT_ALL), NULL }, { "sales:x", bad, strlen(bad), "sales" } };
	struct policy *p = NULL;
	struct err e = ERR_INIT;
	const char *const *problems;
	CHECK_OK(policy_load(NULL, s, 2, &p, &e), &e);
	CHECK_INT(policy_problems(p, &problems), 1);
	CHECK_OUTCOME(ASK(p, .user = "ana"), "allow");
	policy_unref(p);
	CHECK_OK(policy_load(NULL, t, 2, &p, &e), &e);
	CHECK_INT(policy_problems(p, &problems), 1);
	CHECK_STR(problems[0], "sales:x:2:1: 'permitt' is no block; did you mean 'permit'?");
	CHECK_OUTCOME(ASK(p, .user = "ana"), "deny");
	policy_unref(p);
}

TEST(publishing)
{
	struct policy *p = LOAD("policy open scope domain sales version 1\npermit all\npermit team to publish\n  when group == etl\n");
	const char *etl = "etl", *ds = "ds";
	struct subject s = { .user = "u", .groups = &etl, .group_count = 1 };
	struct version_facts f = { .domain = "sales", .product = "orders", .version = "1.0.0" };
	struct err e = ERR_INIT;
	CHECK_OK(policy_may_publish(p, &s, &f, false, NOW_NS, &e), &e);
	s.groups = &ds;
	CHECK_INT(policy_may_publish(p, &s, &f, false, NOW_NS, &e), -1);
	CHECK_INT(policy_may_publish(p, &s, &f, true, NOW_NS, &e), 0);
	f.domain = "health";
	CHECK_INT(policy_may_publish(p, &s, &f, false, NOW_NS, &e), -1);
	policy_unref(p);
}

CHECK_MAIN()
