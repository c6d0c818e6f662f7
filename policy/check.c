#include "policy/check.h"

#include "catalog/base/clock.h"
#include "policy/policy.h"

#include <string.h>

static void say(policy_warning warn, void *arg, const struct rule *r, const char *what, const char *more)
{
	struct buf b = BUF_INIT;
	buf_addf(&b, "%s:%d: %s '%s' %s%s", r->file->path, r->line, rule_kind_names[r->kind], r->name, what, more);
	if (!buf_check(&b))
		warn(arg, buf_text(&b));
	buf_free(&b);
}

static bool reaches_home(const struct rule *r)
{
	size_t n = strlen(r->file->domain);
	for (size_t i = 0; i < r->file_count; i++) {
		size_t part = strcspn(r->files[i], "/");
		if (memchr(r->files[i], '*', part) || memchr(r->files[i], '?', part) || (part == n && !memcmp(r->files[i], r->file->domain, n)))
			return true;
	}
	return false;
}

void policy_check_rules(const struct policy *p, int64_t now_ns, policy_warning warn, void *arg)
{
	for (size_t i = 0; i < p->problem_count; i++)
		warn(arg, p->problems[i]);
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct rule *r = p->rules[i];
		if (r->kind == RULE_EXEMPT && r->until_ns <= now_ns)
			say(warn, arg, r, "expired at ", r->until_text);
		if (r->file->domain && !reaches_home(r))
			say(warn, arg, r, "matches nothing: a domain's rules concern only addresses of the domain ", r->file->domain);
	}
}

static void check_filter(const struct rule *r, const char *address, const struct contract_object *o, policy_warning warn, void *arg)
{
	struct expr_env env = { .valid_until_ns = INT64_MAX };
	struct expr *bound = NULL;
	struct err e = ERR_INIT;
	if (o->document)
		return;
	if (expr_bind(r->rows, &env, o, &bound, &e)) {
		struct buf b = BUF_INIT;
		buf_addf(&b, "%s, schema object %s: %s", address, o->name ? o->name : "", e.text);
		say(warn, arg, r, "denies files of ", buf_text(&b));
		buf_free(&b);
	}
	expr_free(bound);
}

void policy_check_contract(const struct policy *p, const char *domain, const char *product, const char *version, struct contract *c,
			   policy_warning warn, void *arg)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	struct buf address = BUF_INIT;
	buf_addf(&address, "%s/%s/%s", domain, product, version);
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct rule *r = p->rules[i];
		if (r->kind != RULE_FILTER || rule_reach(r, domain, product, version) == REACH_NONE)
			continue;
		for (size_t k = 0; k < count; k++)
			check_filter(r, buf_text(&address), &objects[k], warn, arg);
	}
	buf_free(&address);
}
