#include "policy/check.h"

#include "catalog/address.h"
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "policy/decide_internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 4, 5))) static void say(policy_warning warn, void *arg, const struct rule *r, const char *fmt, ...)
{
	struct buf b = BUF_INIT;
	va_list ap;
	buf_addf(&b, "%s:%d: %s '%s' ", r->file->path, r->line, rule_kind_names[r->kind], r->name);
	va_start(ap, fmt);
	buf_addv(&b, fmt, ap);
	va_end(ap);
	if (!buf_check(&b))
		warn(arg, buf_text(&b));
	buf_free(&b);
}

/* -- rules alone ------------------------------------------------------------------------ */

/* The length of the glob's first part; 0 when it may stand for several domains. */
static size_t named_domain(const char *glob)
{
	size_t n = strcspn(glob, "/");
	return memchr(glob, '*', n) || memchr(glob, '?', n) ? 0 : n;
}

static bool reaches_home(const struct rule *r)
{
	size_t home = strlen(r->file->domain);
	for (size_t i = 0; i < r->file_count; i++) {
		size_t n = named_domain(r->files[i]);
		if (!n || (n == home && !memcmp(r->files[i], r->file->domain, n)))
			return true;
	}
	return false;
}

static const char *nearest_domain(const struct mesh_config *mesh, const char *name)
{
	const char **names = malloc((mesh->domain_count + 1) * sizeof *names);
	for (size_t i = 0; names && i < mesh->domain_count; i++)
		names[i] = mesh->domains[i].name;
	const char *near = names ? text_nearest(name, names, mesh->domain_count) : NULL;
	free(names);
	return near;
}

/* A mistyped domain leaves a rule of the mesh without effect. */
static void check_domains(const struct rule *r, const struct mesh_config *mesh, policy_warning warn, void *arg)
{
	for (size_t i = 0; i < r->file_count; i++) {
		char *name = strndup(r->files[i], named_domain(r->files[i]));
		if (name && *name && !mesh_domain_find(mesh, name)) {
			const char *near = nearest_domain(mesh, name);
			say(warn, arg, r, near ? "has files '%s', and the mesh has no domain '%s'; did you mean '%s'?" :
						 "has files '%s', and the mesh has no domain '%s'", r->files[i], name, near);
		}
		free(name);
	}
}

/* What stands for the version, when it is no version and has no place for one to be put: `latest`, or the start of a number. */
static bool is_no_version(const char *glob, char ret[VERSION_SIZE])
{
	const char *part = glob;
	struct semver v;
	for (int i = 0; i < 2; i++) {
		size_t n = strcspn(part, "/");
		if (memmem(part, n, "**", 2) || !part[n])
			return false;
		part += n + 1;
	}
	size_t n = strcspn(part, "/");
	if (!n || n >= VERSION_SIZE || memchr(part, '*', n) || memchr(part, '?', n))
		return false;
	memcpy(ret, part, n);
	ret[n] = '\0';
	return semver_parse(ret, &v) != 0;
}

static void check_versions(const struct rule *r, policy_warning warn, void *arg)
{
	char part[VERSION_SIZE];
	for (size_t i = 0; i < r->file_count; i++)
		if (is_no_version(r->files[i], part))
			say(warn, arg, r, "has files '%s', and no version is called '%s' (1.2.0 is one, 1.* stands for many)", r->files[i], part);
}

void policy_check_rules(const struct policy *p, const struct mesh_config *mesh, int64_t now_ns, policy_warning warn, void *arg)
{
	for (size_t i = 0; i < p->problem_count; i++)
		warn(arg, p->problems[i]);
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct rule *r = p->rules[i];
		if (r->kind == RULE_EXEMPT && r->until_ns <= now_ns)
			say(warn, arg, r, "expired at %s", r->until_text);
		if (r->file->domain && !reaches_home(r))
			say(warn, arg, r, "matches nothing: a domain's rules concern only addresses of the domain %s", r->file->domain);
		if (!r->file->domain && mesh)
			check_domains(r, mesh, warn, arg);
		check_versions(r, warn, arg);
	}
}

/* -- rules against contracts ---------------------------------------------------------------- */

struct contract_check {
	const struct policy *policy;
	policy_warning warn;
	void *arg;
	unsigned char *reached; /* a bit a rule: it concerns a contract that was added */
	struct map *named;      /* "rule-number column": columns that rules name and a contract has */
	struct map *told;       /* warnings given */
};

struct contract_check *contract_check_new(const struct policy *p, policy_warning warn, void *arg)
{
	struct contract_check *k = calloc(1, sizeof *k);
	if (!k)
		return NULL;
	*k = (struct contract_check){ .policy = p, .warn = warn, .arg = arg, .reached = calloc(p->rule_count / 8 + 1, 1), .named = map_new(), .told = map_new() };
	if (k->reached && k->named && k->told)
		return k;
	contract_check_free(k);
	return NULL;
}

void contract_check_free(struct contract_check *k)
{
	if (!k)
		return;
	map_free(k->named, NULL);
	map_free(k->told, NULL);
	free(k->reached);
	free(k);
}

static void warn_once(void *arg, const char *text)
{
	struct contract_check *k = arg;
	if (map_gets(k->told, text))
		return;
	map_sets(k->told, text, k);
	k->warn(k->arg, text);
}

static void check_filter(struct contract_check *k, const struct rule *r, const char *product, const struct contract_object *o)
{
	struct expr_env env = { .valid_until_ns = INT64_MAX };
	struct expr *bound = NULL;
	struct err e = ERR_INIT;
	if (expr_bind(r->rows, &env, o, &bound, &e))
		say(warn_once, k, r, "denies files of %s, schema object %s: %s", product, o->name ? o->name : "", e.text);
	expr_free(bound);
}

/* What the mask needs and the type is not; NULL: it may give a value. */
static const char *wanted_type(enum mask_kind mask, enum logical_type type)
{
	bool number = type == TYPE_NUMBER || type == TYPE_INTEGER, date = type == TYPE_DATE || type == TYPE_TIMESTAMP, text = type == TYPE_STRING;
	switch (mask) {
	case MASK_YEAR:
	case MASK_MONTH:
		return number || type == TYPE_BOOLEAN || type == TYPE_TIME ? "dates" : NULL;
	case MASK_ROUND:
	case MASK_TOP:
		return text || date || type == TYPE_BOOLEAN || type == TYPE_TIME ? "numbers" : NULL;
	case MASK_ZIP3:
		return date || type == TYPE_BOOLEAN || type == TYPE_TIME ? "postal codes" : NULL;
	default:
		return NULL;
	}
}

static void check_mask(struct contract_check *k, const struct rule *r, const char *product, const struct contract_object *o)
{
	for (size_t i = 0; i < o->column_count; i++) {
		const struct contract_column *c = &o->columns[i];
		const char *wanted = wanted_type(r->mask.kind, c->type);
		if (!wanted || !selector_matches(r, c))
			continue;
		say(warn_once, k, r, "gives null for column %s.%s of %s: '%s' is for %s, and the column's logicalType is %s", o->name ? o->name : "", c->name, product,
		    mask_kind_name(r->mask.kind), wanted, logical_type_name(c->type));
	}
}

static void named_key(const struct rule *r, const char *column, struct buf *ret)
{
	buf_clear(ret);
	buf_addf(ret, "%u %s", r->number, column);
}

static void note_columns(struct contract_check *k, const struct rule *r, const struct contract_object *o)
{
	struct buf key = BUF_INIT;
	for (size_t i = 0; i < o->column_count; i++) {
		named_key(r, o->columns[i].name, &key);
		map_sets(k->named, buf_text(&key), k);
	}
	buf_free(&key);
}

static bool names_columns(const struct rule *r)
{
	for (size_t i = 0; i < r->selector_count; i++)
		if (r->selectors[i].kind == SELECT_NAMED)
			return true;
	return false;
}

static void check_rule(struct contract_check *k, const struct rule *r, const char *product, const struct contract_object *o)
{
	if (r->kind == RULE_FILTER)
		check_filter(k, r, product, o);
	if (r->kind == RULE_MASK)
		check_mask(k, r, product, o);
	if (names_columns(r))
		note_columns(k, r, o);
	k->reached[r->number / 8] |= (unsigned char)(1u << (r->number % 8));
}

void contract_check_add(struct contract_check *k, const char *domain, const char *product, const char *version, struct contract *c)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	struct buf name = BUF_INIT;
	buf_addf(&name, "%s/%s", domain, product);
	for (size_t i = 0; i < k->policy->rule_count; i++) {
		const struct rule *r = k->policy->rules[i];
		if (!is_column_rule(r) || rule_reach(r, domain, product, version) == REACH_NONE)
			continue;
		for (size_t n = 0; n < count; n++)
			if (!objects[n].document)
				check_rule(k, r, buf_text(&name), &objects[n]);
	}
	buf_free(&name);
}

static void check_names(struct contract_check *k, const struct rule *r, const struct selector *s)
{
	struct buf key = BUF_INIT;
	for (size_t i = 0; i < s->count; i++) {
		named_key(r, s->names[i], &key);
		if (!map_gets(k->named, buf_text(&key)))
			say(warn_once, k, r, "names the column %s, which no contract that it concerns has", s->names[i]);
	}
	buf_free(&key);
}

void contract_check_finish(struct contract_check *k)
{
	for (size_t i = 0; i < k->policy->rule_count; i++) {
		const struct rule *r = k->policy->rules[i];
		for (size_t n = 0; bit_get(k->reached, r->number) && n < r->selector_count; n++)
			if (r->selectors[n].kind == SELECT_NAMED)
				check_names(k, r, &r->selectors[n]);
	}
}
