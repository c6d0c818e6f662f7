/* policy test: the tests that stand in the policy files. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "fs/policy_command.h"
#include "policy/policy_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct tally {
	bool json, quiet;
	int passed, failed, unreached;
};

static int find_version(void *arg, const char *domain, const char *product, const char *version, struct version_facts *ret, struct err *e)
{
	struct loaded_version v;
	int r = policy_command_version(arg, domain, product, version, &v, e);
	if (r)
		return r;
	*ret = v.facts;
	if (ret->contract)
		contract_ref(ret->contract);
	loaded_version_free(&v);
	return 0;
}

static void print_json(const struct policy_test_result *r)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "policy", r->policy);
	json_field_text(&j, "test", r->name);
	json_field_text(&j, "file", r->file);
	json_field_int(&j, "line", r->line);
	json_field_bool(&j, "passed", r->passed);
	json_field_bool(&j, "rows_counted", !r->uncounted);
	json_field_text(&j, "detail", r->passed ? NULL : r->detail);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static void each_result(void *arg, const struct policy_test_result *r)
{
	struct tally *t = arg;
	*(r->passed ? &t->passed : &t->failed) += 1;
	if (t->json)
		print_json(r);
	else if (!r->passed)
		printf("FAIL %s/%s (%s:%d): %s\n", r->policy, r->name, r->file, r->line, r->detail);
	else if (!t->quiet)
		printf("ok   %s/%s%s\n", r->policy, r->name, r->uncounted ? " (no data: rows were not counted)" : "");
}

static void each_unreached(void *arg, const struct policy_coverage *c)
{
	struct tally *t = arg;
	struct buf b = BUF_INIT;
	struct json j;
	t->unreached++;
	if (!t->json) {
		printf("not reached: %s (%s:%d)\n", c->id, c->file, c->line);
		return;
	}
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "unreached", c->id);
	json_field_text(&j, "file", c->file);
	json_field_int(&j, "line", c->line);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static int run(struct policy_command *c, bool coverage, struct tally *t, struct err *e)
{
	struct policy_test_world world = { find_version, policy_command_rows, c, clock_now_ns() };
	int r = policy_test_run(c->policy, &world, each_result, t, e);
	if (r < 0)
		return r;
	if (!r)
		return err_set(e, -ENODATA, "the policy has no test: an example that must hold is a 'test' block (meshfs-policy(5))");
	r = coverage ? policy_test_coverage(c->policy, &world, each_unreached, t, e) : 0;
	if (r)
		return r;
	if (!t->json)
		printf("%d passed, %d failed%s\n", t->passed, t->failed, coverage && !t->unreached ? "; every rule was reached" : "");
	if (t->failed)
		return err_set(e, -ECANCELED, "%d of %d tests of the policy failed", t->failed, t->failed + t->passed);
	return 0;
}

int policy_verb_test(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	struct tally t = { .quiet = inv->quiet };
	bool coverage = false;
	const struct option_spec specs[] = { { "--coverage", 0, OPTION_FLAG, NULL, "name the rules that no test reached", &coverage },
					     { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &t.json } };
	struct policy_command c;
	int words;
	int r = options_parse("policy test [--coverage]", "Runs the tests that stand in the policy files.", specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "policy test", "policy test wants no '%s'", argv[0]);
	r = policy_command_open(inv, &c, e);
	if (r)
		return r;
	r = run(&c, coverage, &t, e);
	policy_command_close(&c);
	return r;
}
