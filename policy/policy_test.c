#include "policy/policy_test.h"

#include "catalog/address.h"
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "policy/decide_internal.h"
#include "policy/view.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	struct policy *policy;
	const struct policy_test_world *world;
	unsigned char *reached; /* a bit a rule */
};

/* -- the facts of a test ------------------------------------------------------------------- */

static void json_list(struct json *j, const char *key, const char **texts, size_t count)
{
	json_key(j, key);
	json_open(j, '[');
	for (size_t i = 0; i < count; i++)
		json_text(j, texts[i]);
	json_close(j, ']');
}

static void json_columns(struct json *j, const struct test_case *t)
{
	json_key(j, "properties");
	json_open(j, '[');
	for (size_t i = 0; i < t->column_count; i++) {
		const struct given_column *c = &t->columns[i];
		json_open(j, '{');
		json_field_text(j, "name", c->name);
		if (c->type != TYPE_NONE)
			json_field_text(j, "logicalType", logical_type_name(c->type));
		if (c->classification)
			json_field_text(j, "classification", c->classification);
		json_list(j, "tags", c->tags, c->tag_count);
		json_close(j, '}');
	}
	json_close(j, ']');
}

/* The contract that the test's `given` lines describe. */
static int given_contract(const struct test_case *t, struct contract **ret, struct err *e)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "apiVersion", "v3.1.0");
	json_field_text(&j, "kind", "DataContract");
	json_field_text(&j, "id", "given");
	json_field_text(&j, "version", "1.0.0");
	json_field_text(&j, "status", t->status ? t->status : "active");
	json_list(&j, "tags", t->tags, t->tag_count);
	if (t->team_count) {
		json_key(&j, "team");
		json_open(&j, '[');
		for (size_t i = 0; i < t->team_count; i++) {
			json_open(&j, '{');
			json_field_text(&j, "username", t->team[i]);
			json_close(&j, '}');
		}
		json_close(&j, ']');
	}
	if (t->has_purposes) {
		json_key(&j, "customProperties");
		json_open(&j, '[');
		json_open(&j, '{');
		json_field_text(&j, "property", "allowedPurposes");
		json_list(&j, "value", t->purposes, t->purpose_count);
		json_close(&j, '}');
		json_close(&j, ']');
	}
	json_key(&j, "schema");
	json_open(&j, '[');
	json_open(&j, '{');
	json_field_text(&j, "name", "given");
	json_field_text(&j, "physicalName", "**");
	if (t->document)
		json_field_text(&j, "physicalType", "document");
	json_columns(&j, t);
	json_close(&j, '}');
	json_close(&j, ']');
	json_close(&j, '}');
	int r = buf_check(&b) ? err_set(e, -ENOMEM, "out of memory") : contract_parse("given", buf_text(&b), b.len, ret, e);
	buf_free(&b);
	return r;
}

static bool describes_contract(const struct test_case *t)
{
	return t->column_count || t->tag_count || t->team_count || t->has_purposes || t->status || t->document;
}

/* Does "domain/product[/version]" name the version? */
static bool names_version(const char *address, const struct address *a)
{
	struct address q;
	return !address_parse(address, &q, NULL) && !strcmp(q.domain, a->domain) && !strcmp(q.product, a->product) &&
	       (!q.version[0] || !strcmp(q.version, a->version));
}

static void given_quality(const struct test_case *t, const struct address *a, struct version_facts *f)
{
	for (size_t i = 0; i < t->quality_count; i++) {
		const struct given_quality *q = &t->quality[i];
		if (!names_version(q->address, a))
			continue;
		f->has_quality = !q->missing;
		f->failed_errors = q->failed_errors;
		f->failed_warnings = q->failed_warnings;
		f->quality_score = q->score;
	}
}

static int find_facts(struct run *run, const struct test_case *t, const struct address *a, int64_t now_ns, struct version_facts *ret,
		      bool *ret_real, struct err *e)
{
	const struct policy_test_world *w = run->world;
	struct version_facts f = { 0 };
	int r = w->find ? w->find(w->arg, a->domain, a->product, a->version, &f, e) : -ENOENT;
	*ret_real = r == 0;
	if (r && r != -ENOENT)
		return r;
	err_clear(e);
	if (r) {
		f.published_ns = now_ns;
		f.has_quality = true;
		f.quality_score = 1;
	}
	f.domain = a->domain;
	f.product = a->product;
	f.version = a->version;
	if (!*ret_real || describes_contract(t)) {
		contract_unref(f.contract);
		f.contract = NULL;
		r = given_contract(t, &f.contract, e);
		if (r)
			return r;
	}
	if (t->age_days >= 0)
		f.published_ns = now_ns - t->age_days * 86400 * NS_PER_S;
	if (f.published_ns > now_ns) /* a test of an earlier day: it was there */
		f.published_ns = now_ns;
	given_quality(t, a, &f);
	*ret = f;
	return 0;
}

/* `given permit`: as if the domain had a rule of that name. */
static int add_permits(struct version_decision *d, const struct test_case *t, const struct policy_file *file, struct rule *rule)
{
	if (!t->permit_count)
		return 0;
	*rule = (struct rule){ .kind = RULE_PERMIT, .name = "given", .id = "given/permit", .file = file, .files = t->permits,
			       .file_count = t->permit_count };
	enum reach reach = rule_reach(rule, d->facts.domain, d->facts.product, d->facts.version);
	struct entry *more = realloc(d->entries, (d->entry_count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	d->entries = more;
	if (reach != REACH_NONE)
		d->entries[d->entry_count++] = (struct entry){ .rule = rule, .reach = reach, .holds = true };
	return 0;
}

/* -- what was expected ------------------------------------------------------------------------ */

static void fail(struct policy_test_result *res, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail(struct policy_test_result *res, const char *fmt, ...)
{
	va_list ap;
	if (!res->passed)
		return;
	res->passed = false;
	va_start(ap, fmt);
	vsnprintf(res->detail, sizeof res->detail, fmt, ap);
	va_end(ap);
}

static const struct mask *mask_of(const struct transform *t, const char *column)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	if (!t)
		return &keep;
	for (size_t i = 0; i < t->action_count; i++) {
		size_t n = strlen(t->actions[i].column);
		if (!strncmp(t->actions[i].column, column, n) && (!column[n] || column[n] == '.'))
			return &t->actions[i].mask;
	}
	return t->object && contract_column_find(t->object, column, strlen(column)) ? &keep : &t->unnamed;
}

static void check_columns(const struct test_case *t, const struct file_decision *f, struct policy_test_result *res)
{
	for (size_t i = 0; i < t->expect_count; i++) {
		const struct expected_column *x = &t->expect[i];
		const struct mask *m = mask_of(f->transform, x->name);
		struct buf text = BUF_INIT;
		mask_text(m, &text);
		if (strcmp(x->mask, mask_kind_name(m->kind)) != 0 && strcmp(x->mask, buf_text(&text)) != 0)
			fail(res, "column %s: expected %s, and it is %s", x->name, x->mask, buf_text(&text));
		buf_free(&text);
	}
}

static bool has_rule(const char *rules, const char *name)
{
	size_t n = strlen(name);
	for (const char *p = rules; (p = strstr(p, name)); p++)
		if ((p == rules || p[-1] == ',' || p[-1] == '/') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

static void check_rules(const struct test_case *t, const struct file_decision *f, struct policy_test_result *res)
{
	for (size_t i = 0; i < t->by_count; i++)
		if (!has_rule(f->rules, t->by[i]))
			fail(res, "expected by %s, and it is by %.500s", t->by[i], f->rules);
}

static void check_rows(struct run *run, const struct test_case *t, const struct file_decision *f, bool real, struct policy_test_result *res)
{
	const struct expr *filter = f->transform ? f->transform->filter : NULL;
	int64_t shown, all;
	struct err e = ERR_INIT;
	if (!t->has_rows || f->outcome == OUTCOME_DENY || f->outcome == OUTCOME_HIDE)
		return;
	if (real && run->world->rows) {
		if (run->world->rows(run->world->arg, t->read, f->transform, &shown, &all, &e))
			fail(res, "its rows cannot be counted: %.600s", e.text);
		else if (shown != t->rows_shown || all != t->rows_all)
			fail(res, "expected rows %lld of %lld, and it shows %lld of %lld", (long long)t->rows_shown, (long long)t->rows_all,
			     (long long)shown, (long long)all);
		return;
	}
	res->uncounted = true;
	if (!filter && t->rows_shown != t->rows_all)
		fail(res, "expected rows %lld of %lld, and no rule filters rows", (long long)t->rows_shown, (long long)t->rows_all);
	else if (filter && expr_root(filter)->op == EXPR_CONSTANT && t->rows_shown)
		fail(res, "expected rows %lld of %lld, and the rules show none", (long long)t->rows_shown, (long long)t->rows_all);
}

static void mark_reached(struct run *run, struct version_decision *d, const struct file_facts *f)
{
	unsigned char *applied = malloc(d->entry_count / 8 + 1);
	if (!applied)
		return;
	decide_applied(d, f, applied);
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct rule *r = d->entries[i].rule;
		if (bit_get(applied, i) && d->policy->rule_count > r->number && d->policy->rules[r->number] == r)
			run->reached[r->number / 8] |= (unsigned char)(1u << (r->number % 8));
	}
	free(applied);
}

/* -- one test -------------------------------------------------------------------------------------- */

static int decide_test(struct run *run, const struct test_case *t, const struct address *a, const struct version_facts *facts, bool real,
		       int64_t now_ns, struct policy_test_result *res, struct err *e)
{
	struct subject s = { .user = t->user, .uid = t->uid < 0 ? (uid_t)-1 : (uid_t)t->uid, .groups = t->groups, .group_count = t->group_count,
			     .purpose = t->purpose, .run = t->run, .host = t->host };
	struct policy_file given = { .path = t->file->path, .name = "given", .domain = a->domain, .version = "1" };
	struct version_decision *d = NULL;
	struct file_decision f;
	struct rule permit;
	int r = policy_decide_version(run->policy, &s, facts, now_ns, &d, e);
	if (r)
		return r;
	struct file_facts file = { a->path, view_format(a->path), 0, false };
	r = add_permits(d, t, &given, &permit);
	if (r)
		err_set(e, r, "out of memory");
	if (!r)
		r = version_decision_file(d, &file, &f, e);
	if (!r) {
		if (f.outcome != t->outcome)
			fail(res, "expected %s, and it is %s%s%s (by %.300s)", outcome_name(t->outcome), outcome_name(f.outcome), f.reason[0] ? ": " : "",
			     f.reason, f.rules);
		check_columns(t, &f, res);
		check_rules(t, &f, res);
		check_rows(run, t, &f, real && !describes_contract(t), res);
		mark_reached(run, d, &file);
		file_decision_fini(&f);
	}
	version_decision_free(d);
	return r;
}

static int run_test(struct run *run, const struct test_case *t, struct policy_test_result *res, struct err *e)
{
	int64_t now_ns = t->now_ns ? t->now_ns : run->world->now_ns;
	struct version_facts facts;
	struct address a;
	struct err why = ERR_INIT;
	bool real;
	*res = (struct policy_test_result){ .policy = t->file->name, .name = t->name, .file = t->file->path, .line = t->line, .passed = true };
	if (address_parse(t->read, &a, &why) || !a.path[0]) {
		fail(res, "'%s' is no address of a file: %s", t->read, why.code ? why.text : "domain/product/version/path is expected");
		return 0;
	}
	int r = find_facts(run, t, &a, now_ns, &facts, &real, &why);
	if (!r) {
		r = decide_test(run, t, &a, &facts, real, now_ns, res, &why);
		contract_unref(facts.contract);
	}
	if (r == -ENOMEM)
		return err_move(e, &why);
	if (r)
		fail(res, "%s", why.text);
	return 0;
}

static int run_all(struct run *run, void (*each)(void *, const struct policy_test_result *), void *arg, struct err *e)
{
	int count = 0;
	for (size_t i = 0; i < run->policy->file_count; i++) {
		const struct policy_file *f = run->policy->files[i];
		for (size_t k = 0; k < f->test_count; k++, count++) {
			struct policy_test_result res;
			int r = run_test(run, &f->tests[k], &res, e);
			if (r)
				return r;
			if (each)
				each(arg, &res);
		}
	}
	return count;
}

int policy_test_run(struct policy *p, const struct policy_test_world *world, void (*each)(void *arg, const struct policy_test_result *r),
		    void *arg, struct err *e)
{
	struct run run = { p, world, calloc(p->rule_count / 8 + 1, 1) };
	int r = run.reached ? run_all(&run, each, arg, e) : err_set(e, -ENOMEM, "out of memory");
	free(run.reached);
	return r;
}

int policy_test_coverage(struct policy *p, const struct policy_test_world *world, void (*each)(void *arg, const struct policy_coverage *c),
			 void *arg, struct err *e)
{
	struct policy_test_world blind = *world;
	struct run run = { p, &blind, calloc(p->rule_count / 8 + 1, 1) };
	blind.rows = NULL; /* rows do not change what is reached */
	int r = run.reached ? run_all(&run, NULL, NULL, e) : err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; r >= 0 && i < p->rule_count; i++) {
		struct policy_coverage c = { p->rules[i]->id, p->rules[i]->file->path, p->rules[i]->line };
		if (!bit_get(run.reached, i))
			each(arg, &c);
	}
	free(run.reached);
	return r < 0 ? r : 0;
}
