/* What a permit would have needed: for the owner of the rules who wonders why somebody is denied. */
#include "policy/decide_internal.h"
#include "policy/explain.h"

#include <string.h>

#define ELSEWHERE 1000 /* a permit that concerns the file is nearer than any that does not */

static bool holds(const struct expr *x, bool unless, struct expr_env *env)
{
	return expr_eval(x, env) == (unless ? TRUTH_FALSE : TRUTH_TRUE);
}

static size_t count_failed(const struct rule *r, struct expr_env *env)
{
	size_t failed = 0;
	for (size_t i = 0; i < r->when_count; i++)
		failed += !holds(r->when[i], false, env);
	for (size_t i = 0; i < r->unless_count; i++)
		failed += !holds(r->unless[i], true, env);
	return failed;
}

static void value_words(const struct row_value *v, struct buf *ret)
{
	if (v->text)
		buf_add(ret, v->text, v->len);
	else
		buf_adds(ret, "set");
}

/* What the attributes that the condition asks for are. */
static void attributes_words(const struct expr *x, const struct expr_env *env, struct buf *ret)
{
	const char *joint = " (";
	for (int a = 0; a < ATTR_COUNT; a++) {
		const struct attribute_value *v = &env->attr[a];
		const bool set = attribute_specs[a].flags & ATTR_IS_SET;
		if (!expr_uses(x, (enum attribute)a) || attribute_specs[a].flags & ATTR_IS_TIMED)
			continue;
		buf_addf(ret, "%s%s is ", joint, attribute_specs[a].name);
		joint = ", ";
		if (v->value.kind == VALUE_MISSING || (set && !v->count))
			buf_adds(ret, v->value.kind == VALUE_MISSING ? "not known" : "empty");
		else if (!set)
			value_words(&v->value, ret);
		for (size_t i = 0; set && v->value.kind != VALUE_MISSING && i < v->count; i++) {
			buf_adds(ret, i ? " and " : "");
			value_words(&v->items[i], ret);
		}
	}
	buf_adds(ret, joint[0] == ',' ? ")" : "");
}

static void failed_words(const struct rule *r, struct expr_env *env, struct buf *ret)
{
	for (size_t i = 0; i < r->when_count + r->unless_count; i++) {
		const bool unless = i >= r->when_count;
		const struct expr *x = unless ? r->unless[i - r->when_count] : r->when[i];
		if (holds(x, unless, env))
			continue;
		buf_addf(ret, "%s%s ", ret->len ? "; " : "", unless ? "unless" : "when");
		expr_words(x, ret);
		attributes_words(x, env, ret);
	}
}

static bool concerns(const struct version_decision *d, const struct rule *r, const char *address)
{
	return rule_reach(r, d->facts.domain, d->facts.product, d->facts.version) != REACH_NONE && rule_matches(r, d->facts.domain, address);
}

bool version_decision_missed_permit(struct version_decision *d, const struct file_facts *f, struct missed_permit *ret)
{
	const struct policy *p = d->policy;
	const struct rule *best = NULL;
	size_t least = SIZE_MAX;
	struct expr_env env;
	char room[24];
	struct buf address = BUF_INIT, lacks = BUF_INIT;
	if (!p || d->broken)
		return false;
	decide_file_env(d, f, &env, room);
	buf_addf(&address, "%s/%s/%s/%s", d->facts.domain, d->facts.product, d->facts.version, f->path);
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct rule *r = p->rules[i];
		if (r->kind != RULE_PERMIT || r->publish || !r->file->domain || strcmp(r->file->domain, d->facts.domain) != 0)
			continue;
		size_t failed = count_failed(r, &env) + (concerns(d, r, buf_text(&address)) ? 0 : ELSEWHERE);
		if (failed < least) {
			best = r;
			least = failed;
		}
	}
	if (best && least >= ELSEWHERE) {
		buf_adds(&lacks, "it is for files ");
		for (size_t i = 0; i < best->file_count; i++)
			buf_addf(&lacks, "%s%s", i ? ", " : "", best->files[i]);
	}
	if (best)
		failed_words(best, &env, &lacks);
	if (buf_check(&address) || buf_check(&lacks))
		best = NULL;
	buf_free(&address);
	if (!best) {
		buf_free(&lacks);
		return false;
	}
	*ret = (struct missed_permit){ best->id, best->file->path, best->line, lacks };
	return true;
}
