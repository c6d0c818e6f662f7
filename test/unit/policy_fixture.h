/* What the tests of the policy language share: a policy from texts, a contract, a decision in one call. */
#ifndef MESHFS_TEST_POLICY_FIXTURE_H
#define MESHFS_TEST_POLICY_FIXTURE_H

#include "catalog/base/clock.h"
#include "policy/decide.h"
#include "policy/expr.h"
#include "policy/transform.h"
#include "test/unit/check.h"

/* 2026-06-15T12:00:00Z */
#define NOW_NS (1781524800LL * NS_PER_S)

static struct err fixture_error;
/* For failures: "" when the last load was fine. */
__attribute__((unused)) static const char *load_error(void)
{
	return fixture_error.text;
}

__attribute__((unused)) static struct policy *load_texts(const char *const *texts, size_t count)
{
	static const char *const names[] = { "a.policy", "b.policy", "c.policy", "d.policy", "e.policy", "f.policy" };
	struct policy_source sources[6];
	struct policy *p = NULL;
	fixture_error = (struct err)ERR_INIT;
	for (size_t i = 0; i < count; i++)
		sources[i] = (struct policy_source){ names[i], texts[i], strlen(texts[i]), NULL };
	policy_load(NULL, sources, count, &p, &fixture_error);
	return p;
}
#define LOAD(...) load_texts((const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

#define PERMIT_ALL "policy open scope domain sales version 1\npermit all\n"

/* email (pii), born (date), age (integer), note (public, text), name (unclassified), address.zip (nested) */
__attribute__((unused)) static struct contract *fixture_contract(const char *status)
{
	char text[4096];
	struct contract *c = NULL;
	snprintf(text, sizeof text,
		 "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: %s\ntags: [gold]\n"
		 "team: { name: owners, members: [ { username: ana } ] }\n"
		 "customProperties: [ { property: allowedPurposes, value: [research, training] } ]\n"
		 "schema:\n- name: people\n  physicalName: people.csv\n  properties:\n"
		 "  - { name: email, logicalType: string, classification: confidential, tags: [pii, EMAIL_ADDRESS], examples: [a@b.c] }\n"
		 "  - { name: born, logicalType: date, classification: confidential, tags: [hipaa:C] }\n"
		 "  - { name: age, logicalType: integer, classification: public }\n"
		 "  - { name: note, logicalType: string, classification: public, examples: [hello] }\n"
		 "  - { name: name, logicalType: string }\n"
		 "  - name: address\n    logicalType: object\n    classification: public\n    properties:\n"
		 "    - { name: zip, logicalType: string, classification: public, tags: [hipaa:B] }\n"
		 "- name: licence\n  physicalName: LICENCE\n  physicalType: document\n",
		 status);
	fixture_error = (struct err)ERR_INIT;
	contract_parse("contract.yaml", text, strlen(text), &c, &fixture_error);
	return c;
}

struct ask {
	const char *user, *group, *purpose, *run, *path, *product, *format;
	const char *status;
	bool no_contract, no_quality;
	int64_t failed_errors, now_ns, published_ns;
};

struct answer {
	enum outcome version, outcome;
	char reason[512], rules[DECISION_RULES_MAX], summary[1024];
	int64_t valid_until_ns;
	unsigned char hash[32];
};

/* The answer for one file; `ask` says what differs from user ana, group ds, no purpose, sales/orders/1.0.0/people.csv. */
__attribute__((unused)) static struct answer decide_ask(struct policy *p, const struct ask *ask)
{
	struct answer a = { .outcome = OUTCOME_HIDE };
	struct version_decision *d = NULL;
	struct file_decision f;
	struct err e = ERR_INIT;
	const char *group = ask->group ? ask->group : "ds";
	const char *path = ask->path ? ask->path : "people.csv";
	struct subject s = { .user = ask->user ? ask->user : "ben", .uid = 1000, .groups = &group, .group_count = 1, .purpose = ask->purpose,
			     .run = ask->run, .host = "h1" };
	struct contract *c = ask->no_contract ? NULL : fixture_contract(ask->status ? ask->status : "active");
	struct version_facts facts = { .domain = "sales", .product = ask->product ? ask->product : "orders", .version = "1.0.0", .contract = c,
				       .published_ns = ask->published_ns ? ask->published_ns : NOW_NS - NS_PER_S, .has_quality = !ask->no_quality,
				       .failed_errors = ask->failed_errors, .quality_score = 1 };
	if (policy_decide_version(p, &s, &facts, ask->now_ns ? ask->now_ns : NOW_NS, &d, &e)) {
		snprintf(a.reason, sizeof a.reason, "%.500s", e.text);
		contract_unref(c);
		return a;
	}
	struct file_facts file = { path, ask->format ? ask->format : "csv", 10, false };
	if (!version_decision_file(d, &file, &f, &e)) {
		struct buf b = BUF_INIT;
		a.outcome = f.outcome;
		memcpy(a.reason, f.reason, sizeof a.reason);
		memcpy(a.rules, f.rules, sizeof a.rules);
		if (f.transform) {
			transform_summary(f.transform, &b);
			memcpy(a.hash, f.transform->hash.bytes, sizeof a.hash);
		}
		snprintf(a.summary, sizeof a.summary, "%s", buf_text(&b));
		buf_free(&b);
		file_decision_fini(&f);
	}
	a.version = version_decision_outcome(d);
	a.valid_until_ns = version_decision_valid_until_ns(d);
	version_decision_free(d);
	contract_unref(c);
	return a;
}
#define ASK(p, ...) decide_ask(p, &(struct ask){ __VA_ARGS__ })

#endif
