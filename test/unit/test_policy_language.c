/* The sentences of the language's definition, each tried: what a rule says, who asks for what, and what they get. */
#include "test/unit/policy_fixture.h"

#include <errno.h>

#define CHECK_OUTCOME(answer, expected) CHECK_STR(outcome_name((answer).outcome), expected)
#define M "policy m scope mesh version 1\n"
#define D "policy open scope domain sales version 1\n"
#define REST "; columns that the contract does not name: "

struct tried {
	int line;
	const char *domain, *mesh; /* policies; `domain` NULL: everybody is permitted */
	struct ask ask;
	enum outcome outcome;
	const char *summary; /* of the view; NULL: not asked */
};
#define ASKS(...) { __VA_ARGS__ }
#define SAY(domain, mesh, ask, outcome) { __LINE__, domain, mesh, ask, OUTCOME_##outcome, NULL }
#define SEE(domain, mesh, ask, summary) { __LINE__, domain, mesh, ask, OUTCOME_VIEW, summary }
#define NOBODY { .user = "ben" }
#define FOR(x) { .purpose = x }
#define AT(x) { .path = x }

static void try_all(const struct tried *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct tried *t = &list[i];
		struct policy *p = LOAD(t->domain ? t->domain : PERMIT_ALL, t->mesh);
		struct answer a = decide_ask(p, &t->ask);
		bool right = p && a.outcome == t->outcome && (!t->summary || !strcmp(a.summary, t->summary));
		if (!right) {
			printf("test_policy_language.c:%d: %s: '%s' %s%s\n", t->line, outcome_name(a.outcome), a.summary, a.reason, load_error());
			check_failed = 1;
		}
		policy_unref(p);
	}
}
#define TRY(list) try_all(list, sizeof list / sizeof *list)

TEST(files)
{
	static const struct tried list[] = {
		/* the default is the scope's `**` */
		SAY(D "permit all\n", M, NOBODY, ALLOW), SAY(D "permit all\n", M, AT("deep/er/x.bin"), ALLOW), SAY(NULL, M "deny d\n", AT("deep/er/x.bin"), DENY),
		SAY("policy hr scope domain hr version 1\npermit all\n", M, NOBODY, DENY), SAY("policy hr scope domain hr version 1\npermit all\n  files **\n", M, NOBODY, DENY),
		/* several globs, on one line and on several: any of them */
		SAY(NULL, M "deny d\n  files hr/**, sales/*/1.0.0/*.csv\n", NOBODY, DENY), SAY(NULL, M "deny d\n  files hr/**\n  files sales/**\n", NOBODY, DENY),
		SAY(NULL, M "deny d\n  files hr/**, ops/**\n", NOBODY, ALLOW),
		/* `*` stays within a part, `**` crosses parts, `?` is one character */
		SAY(NULL, M "deny d\n  files sales/orders/1.0.0/*\n", AT("a/x.bin"), ALLOW), SAY(NULL, M "deny d\n  files sales/orders/1.0.0/*/*\n", AT("a/x.bin"), DENY),
		SAY(NULL, M "deny d\n  files **/x.bin\n", AT("a/b/x.bin"), DENY), SAY(NULL, M "deny d\n  files sales/**/x.bin\n", AT("a/b/y.bin"), ALLOW),
		SAY(NULL, M "deny d\n  files sales/orders/?.0.0/**\n", NOBODY, DENY), SAY(NULL, M "deny d\n  files sales/order?/2.*/**\n", NOBODY, ALLOW),
		SAY(NULL, M "deny d\n  files \"sales/orders/1.0.0/a b.bin\"\n", AT("a b.bin"), DENY),
	};
	TRY(list);
}

TEST(conditions)
{
	static const struct tried list[] = {
		/* all `when` hold; any `unless` lifts */
		SAY(NULL, M "deny d\n  when purpose == a\n  when user == ben\n", FOR("a"), DENY), SAY(NULL, M "deny d\n  when purpose == a\n  when user == eve\n", FOR("a"), ALLOW),
		SAY(NULL, M "deny d\n  unless purpose == a\n  unless user == eve\n", FOR("a"), ALLOW), SAY(NULL, M "deny d\n  unless purpose == b\n  unless user == eve\n", FOR("a"), DENY),
		/* the same of permits, which have to be known to hold */
		SAY(D "permit p\n  when purpose == a\n  when user == ben\n", M, FOR("a"), ALLOW), SAY(D "permit p\n  when purpose == a\n  when user == ben\n", M, NOBODY, DENY),
		SAY(D "permit p\n  unless purpose == a\n  unless user == eve\n", M, FOR("b"), ALLOW), SAY(D "permit p\n  unless purpose == a\n  unless user == ben\n", M, FOR("b"), DENY),
		/* bare and quoted words; a bare word that is an attribute is the attribute */
		SAY(NULL, M "deny d\n  when purpose == \"a b\"\n", FOR("a b"), DENY), SAY(NULL, M "deny d\n  when \"a\" == purpose\n", FOR("a"), DENY),
		SAY(NULL, M "deny d\n  when purpose == user\n", FOR("ben"), DENY), SAY(NULL, M "deny d\n  when purpose == user\n", FOR("user"), ALLOW),
		SAY(NULL, M "deny d\n  when purpose == \"user\"\n", FOR("user"), DENY), SAY(NULL, M "deny d\n  when purpose == \"user\"\n", FOR("ben"), ALLOW),
		SAY(NULL, M "deny d\n  when purpose in {b, \"a b\"}\n", FOR("a b"), DENY), SAY(NULL, M "deny d\n  when purpose not in {b, c}\n", FOR("b"), ALLOW),
		/* like is a glob over the whole text */
		SAY(NULL, M "deny d\n  when purpose like \"train*\"\n", FOR("training"), DENY), SAY(NULL, M "deny d\n  when purpose like \"train\"\n", FOR("training"), ALLOW),
		SAY(NULL, M "deny d\n  when purpose like \"?raining\"\n", FOR("training"), DENY), SAY(NULL, M "deny d\n  when purpose not like \"*ing\"\n", FOR("training"), ALLOW),
		SAY(NULL, M "deny d\n  when purpose like \"a.c\"\n", FOR("abc"), ALLOW), /* no regular expression */
		/* null: only `is null` asks; every other comparison is unknown, and a restriction then applies */
		SAY(NULL, M "deny d\n  when purpose is null\n", NOBODY, DENY), SAY(NULL, M "deny d\n  when purpose is null\n", FOR("a"), ALLOW),
		SAY(NULL, M "deny d\n  when purpose is not null\n", NOBODY, ALLOW), SAY(NULL, M "deny d\n  when purpose == a\n", NOBODY, DENY),
		SAY(NULL, M "deny d\n  when purpose != a\n", NOBODY, DENY), SAY(NULL, M "deny d\n  when purpose == a\n  when purpose is not null\n", NOBODY, ALLOW),
		/* not, and, or, parentheses: `and` binds closer */
		SAY(NULL, M "deny d\n  when user == ben or user == eve and purpose == b\n", FOR("a"), DENY),
		SAY(NULL, M "deny d\n  when (user == ben or user == eve) and purpose == b\n", FOR("a"), ALLOW), SAY(NULL, M "deny d\n  when not (user == ben)\n", FOR("a"), ALLOW),
		/* dates and moments: NOW_NS is 2026-06-15T12:00:00Z */
		SAY(NULL, M "deny d\n  when now >= 2026-06-15\n", NOBODY, DENY), SAY(NULL, M "deny d\n  when now < 2026-06-15\n", NOBODY, ALLOW),
		SAY(NULL, M "deny d\n  when now < 2026-06-15T14:00:01+02:00\n", NOBODY, DENY), SAY(NULL, M "deny d\n  when now < 2026-06-15T12:00:00Z\n", NOBODY, ALLOW),
		/* membership of a group; several attributes of the product */
		SAY(NULL, M "deny d\n  when group == ds\n", NOBODY, DENY), SAY(NULL, M "deny d\n  when group != ds\n", NOBODY, ALLOW),
		SAY(NULL, M "deny d\n  unless purpose in product.allowed_purposes\n", FOR("research"), ALLOW),
		SAY(NULL, M "deny d\n  unless purpose in product.allowed_purposes\n", FOR("ads"), DENY),
		SAY(NULL, M "deny d\n  when product.tags == gold and product.version == 1.0.0 and product.domain == sales\n", NOBODY, DENY),
		SAY(NULL, M "deny d\n  when product.age_days > 7\n", ASKS(.published_ns = NOW_NS - 8 * 86400 * NS_PER_S), DENY),
		SAY(NULL, M "deny d\n  when product.age_days > 7\n", ASKS(.published_ns = NOW_NS - 7 * 86400 * NS_PER_S), ALLOW),
	};
	TRY(list);
}

TEST(columns_and_masks)
{
#define ALL_BUT_PUBLIC "born (redact), email (redact), name (redact)"
	static const struct tried list[] = {
		SEE(NULL, M "drop d\n  columns unclassified\n", NOBODY, "drops name" REST "drop"), SEE(NULL, M "drop d\n  columns classified restricted\n", NOBODY, "drops name" REST "drop"),
		SEE(NULL, M "drop d\n  columns classified confidential, restricted\n", NOBODY, "drops born, email, name" REST "drop"),
		SEE(NULL, M "drop d\n  columns all\n", NOBODY, "drops address, age, born, email, name, note" REST "drop"),
		SEE(NULL, M "mask k\n  columns tagged pii, hipaa:C\n  columns unclassified\n  with redact\n", NOBODY, "masks " ALL_BUT_PUBLIC REST "redact"),
		SEE(NULL, M "drop d\n  columns named nothing\n", NOBODY, "columns that the contract does not name: drop"),
		/* the strictest wins, and two without an order give null */
		SEE(NULL, M "mask a\n  columns named email\n  with redact keep length\nmask b\n  columns named email\n  with partial last 4\n", NOBODY,
		    "masks email (redact keep length)" REST "redact keep length"),
		SEE(NULL, M "mask a\n  columns named email\n  with redact\nmask b\n  columns named email\n  with redact keep length\n", NOBODY, "masks email (redact)" REST "redact"),
		SEE(NULL, M "mask a\n  columns named born\n  with year\nmask b\n  columns named born\n  with month\n", NOBODY, "masks born (year)" REST "year"),
		SEE(NULL, M "mask a\n  columns named email\n  with partial first 2\nmask b\n  columns named email\n  with partial last 2\n", NOBODY, "masks email (null)" REST "null"),
		SEE(NULL, M "mask a\n  columns named age\n  with round 5\nmask b\n  columns named age\n  with top 90\n", NOBODY, "masks age (null)" REST "null"),
		SEE(NULL, M "mask a\n  columns named age\n  with top 90\nmask b\n  columns named age\n  with top 80\n", NOBODY, "masks age (top 80)" REST "top 80"),
		SEE(NULL, M "mask a\n  columns named age\n  with round 5\ndrop b\n  columns named age\n", NOBODY, "drops age" REST "drop"),
		/* entities of a scrub: more of them are stricter, others have no order */
		SEE(NULL, M "mask a\n  columns named note\n  with scrub URL EMAIL_ADDRESS\n", NOBODY, "masks note (scrub EMAIL_ADDRESS URL)" REST "scrub EMAIL_ADDRESS URL"),
		SEE(NULL, M "mask a\n  columns named note\n  with scrub URL\nmask b\n  columns named note\n  with scrub URL US_SSN\n", NOBODY,
		    "masks note (scrub US_SSN URL)" REST "scrub US_SSN URL"),
		SEE(NULL, M "mask a\n  columns named note\n  with scrub URL\nmask b\n  columns named note\n  with scrub US_SSN\n", NOBODY, "masks note (null)" REST "null"),
	};
	TRY(list);
}

TEST(exempts)
{
#define DENY_ADS "deny ads\n  when purpose == ads\n"
	static const struct tried list[] = {
		SAY(NULL, M DENY_ADS "exempt x from ads until 2027-06-30\n  when user == ben\n", FOR("ads"), ALLOW),
		SAY(NULL, M DENY_ADS "exempt x from ads until 2027-06-30\n  when user == eve\n", FOR("ads"), DENY),
		SAY(NULL, M DENY_ADS "exempt x from m/ads until 2027-06-30\n  unless user == eve\n", FOR("ads"), ALLOW),
		/* a date holds to its end, a moment until it */
		SAY(NULL, M DENY_ADS "exempt x from ads until 2026-06-14\n", FOR("ads"), DENY), SAY(NULL, M DENY_ADS "exempt x from ads until 2026-06-15\n", FOR("ads"), ALLOW),
		SAY(NULL, M DENY_ADS "exempt x from ads until 2026-06-15T12:00:00Z\n", FOR("ads"), DENY),
		SAY(NULL, M DENY_ADS "exempt x from ads until 2026-06-15T12:00:01Z\n", FOR("ads"), ALLOW),
		/* it lifts what it names and nothing else, and only for its files */
		SAY(NULL, M DENY_ADS "deny other\n" "exempt x from ads until 2027-06-30\n", FOR("ads"), DENY),
		SAY(NULL, M DENY_ADS "exempt x from ads until 2027-06-30\n  files hr/**\n", FOR("ads"), DENY),
		SAY(D "deny own\n", M "deny own\nexempt x from own until 2027-06-30\n", FOR("ads"), DENY),
	};
	TRY(list);
}

TEST(publishing_is_not_reading)
{
	const struct subject ana = { .user = "ana", .uid = 1000 }, eve = { .user = "eve", .uid = 1001 };
	const struct version_facts orders = { .domain = "sales", .product = "orders", .version = "1.0.0" }, other = { .domain = "sales", .product = "other", .version = "1.0.0" };
	struct policy *p = LOAD(D "permit team to publish\n  files sales/orders/**\n  when user == ana\n", M);
	struct err e = ERR_INIT;
	CHECK_INT(policy_may_publish(p, &ana, &orders, false, NOW_NS, &e), 0);
	CHECK_INT(policy_may_publish(p, &eve, &orders, false, NOW_NS, &e), -EPERM);
	CHECK_INT(policy_may_publish(p, &ana, &other, false, NOW_NS, &e), -EPERM);
	CHECK_INT(policy_may_publish(p, &eve, &other, true, NOW_NS, &e), 0); /* the mesh's owner */
	CHECK_OUTCOME(ASK(p, .user = "ana"), "deny");
	policy_unref(p);
}

CHECK_MAIN()
