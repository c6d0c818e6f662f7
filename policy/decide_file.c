/* Decisions about one file of a version. */
#include "catalog/base/text.h"
#include "policy/decide_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMOS_MAX 256 /* more ways to see a version than that are decided anew each time */

/* -- which rules apply --------------------------------------------------------------------- */

void decide_file_env(const struct version_decision *d, const struct file_facts *f, struct expr_env *env, char room[24])
{
	*env = d->env;
	attribute_set_text(env, ATTR_FILE_PATH, f->path);
	attribute_set_text(env, ATTR_FILE_FORMAT, f->format);
	attribute_set_int(env, ATTR_FILE_SIZE, f->size > INT64_MAX ? INT64_MAX : (int64_t)f->size, room);
}

static bool entry_applies(const struct entry *n, const char *domain, const char *address, struct expr_env *env)
{
	if (n->reach == REACH_SOME && !rule_matches(n->rule, domain, address))
		return false;
	return n->pending ? rule_holds(n->rule, env) : n->holds;
}

static bool is_exempt(const struct version_decision *d, const unsigned char *applied, size_t i)
{
	return d->entries[i].rule->kind == RULE_EXEMPT && bit_get(applied, i);
}

static void clear(unsigned char *applied, size_t i)
{
	applied[i / 8] &= (unsigned char)~(1u << (i % 8));
}

/* What an exempt that applies names does not apply; an exempt that lifts nothing does not either. */
static void lift(const struct version_decision *d, unsigned char *applied)
{
	for (size_t k = 0; k < d->entry_count; k++) {
		bool lifts = false;
		for (size_t i = 0; is_exempt(d, applied, k) && i < d->entry_count && !lifts; i++)
			lifts = i != k && bit_get(applied, i) && exempt_names(d->entries[k].rule, d->entries[i].rule);
		if (!lifts && d->entries[k].rule->kind == RULE_EXEMPT)
			clear(applied, k);
	}
	for (size_t i = 0; i < d->entry_count; i++)
		for (size_t k = 0; k < d->entry_count && bit_get(applied, i); k++)
			if (is_exempt(d, applied, k) && exempt_names(d->entries[k].rule, d->entries[i].rule))
				clear(applied, i);
}

void decide_applied(struct version_decision *d, const struct file_facts *f, unsigned char *applied)
{
	struct expr_env env;
	char room[24];
	struct buf address = BUF_INIT;
	bool exempts = false;
	decide_file_env(d, f, &env, room);
	buf_addf(&address, "%s/%s/%s/%s", d->facts.domain, d->facts.product, d->facts.version, f->path);
	memset(applied, 0, d->entry_count / 8 + 1);
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct entry *n = &d->entries[i];
		/* Without memory the address is not known: what restricts applies, what loosens does not. */
		bool loosens = n->rule->kind == RULE_PERMIT || n->rule->kind == RULE_EXEMPT;
		bool applies = address.failed ? !loosens : entry_applies(n, d->facts.domain, buf_text(&address), &env);
		if (applies)
			applied[i / 8] |= (unsigned char)(1u << (i % 8));
		exempts |= applies && n->rule->kind == RULE_EXEMPT;
	}
	buf_free(&address);
	if (exempts)
		lift(d, applied);
}

/* -- columns ------------------------------------------------------------------------------------ */

static bool has_name(const struct selector *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (!strcmp(s->names[i], name))
			return true;
	return false;
}

static bool one_matches(const struct selector *s, const struct contract_column *c)
{
	switch (s->kind) {
	case SELECT_NAMED:
		return has_name(s, c->name);
	case SELECT_TAGGED:
		for (size_t i = 0; i < c->tag_count; i++)
			if (has_name(s, c->tags[i]))
				return true;
		return false;
	case SELECT_CLASSIFIED:
		return has_name(s, c->classification ? c->classification : "restricted");
	case SELECT_UNCLASSIFIED:
		return !c->classification;
	case SELECT_ALL:
		return true;
	}
	return true;
}

bool selector_matches(const struct rule *r, const struct contract_column *c)
{
	if (!c)
		return true;
	for (size_t i = 0; i < r->selector_count; i++)
		if (one_matches(&r->selectors[i], c))
			return true;
	return false;
}

int decide_mask(const struct version_decision *d, const unsigned char *applied, const struct contract_column *c, struct mask *ret)
{
	struct mask few[16] = { 0 }, *list = few;
	size_t count = 0;
	if (d->entry_count > 16 && !(list = malloc(d->entry_count * sizeof *list)))
		return -ENOMEM;
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct rule *r = d->entries[i].rule;
		if (bit_get(applied, i) && (r->kind == RULE_DROP || r->kind == RULE_MASK) && selector_matches(r, c))
			list[count++] = r->mask;
	}
	mask_strictest(list, count, ret);
	if (list != few)
		free(list);
	return 0;
}

/* -- outcomes ------------------------------------------------------------------------------------- */

static void add_rule(struct file_decision *ret, const char *id)
{
	static const char more[] = ",\u2026";
	size_t used = strlen(ret->rules), n = strlen(id);
	if (used >= sizeof more - 1 && !strcmp(ret->rules + used - (sizeof more - 1), more))
		return;
	bool fits = used + n + 1 + sizeof more <= sizeof ret->rules;
	snprintf(ret->rules + used, sizeof ret->rules - used, "%s%s", fits && used ? "," : "", fits ? id : more);
}

/* The first reason stands. */
__attribute__((format(printf, 2, 3))) static void set_reason(struct file_decision *ret, const char *fmt, ...)
{
	va_list ap;
	if (ret->reason[0])
		return;
	va_start(ap, fmt);
	vsnprintf(ret->reason, sizeof ret->reason, fmt, ap);
	va_end(ap);
}

static bool find_hide(const struct version_decision *d, const unsigned char *applied, struct file_decision *ret)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (bit_get(applied, i) && d->entries[i].rule->kind == RULE_HIDE) {
			ret->outcome = OUTCOME_HIDE;
			add_rule(ret, d->entries[i].rule->id);
		}
	return ret->outcome == OUTCOME_HIDE;
}

static bool find_deny(const struct version_decision *d, const unsigned char *applied, struct file_decision *ret)
{
	bool permit = false;
	int lacking;
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct rule *r = d->entries[i].rule;
		if (!bit_get(applied, i))
			continue;
		permit |= r->kind == RULE_PERMIT;
		if (r->kind == RULE_DENY)
			set_reason(ret, "denied by the rule %s%s%s", r->id, r->reason ? ": " : "", r->reason ? r->reason : "");
		else if (r->kind == RULE_REQUIRE && !requirement_met(r, &d->env, &lacking))
			set_reason(ret, "%s: the session needs a %s%s%s", r->id, attribute_specs[lacking].name, r->reason ? ": " : "",
				   r->reason ? r->reason : "");
		else
			continue;
		ret->outcome = OUTCOME_DENY;
		add_rule(ret, r->id);
	}
	if (!permit) {
		set_reason(ret, "no rule of domain %s permits it (denied by default)", d->facts.domain);
		if (ret->outcome != OUTCOME_DENY)
			add_rule(ret, "default");
		ret->outcome = OUTCOME_DENY;
	}
	return ret->outcome == OUTCOME_DENY;
}

static void deny_column_rules(const struct version_decision *d, const unsigned char *applied, struct file_decision *ret)
{
	ret->outcome = OUTCOME_DENY;
	for (size_t i = 0; i < d->entry_count; i++)
		if (bit_get(applied, i) && is_column_rule(d->entries[i].rule))
			add_rule(ret, d->entries[i].rule->id);
}

/* What lets it be read: permits, and the exempts that lifted something. */
static void add_grants(const struct version_decision *d, const unsigned char *applied, struct file_decision *ret)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (bit_get(applied, i) && (d->entries[i].rule->kind == RULE_PERMIT || d->entries[i].rule->kind == RULE_EXEMPT))
			add_rule(ret, d->entries[i].rule->id);
}

/* -- views ------------------------------------------------------------------------------------------ */

struct filters {
	struct expr **list;
	size_t count;
};

static void filters_free(struct filters *f)
{
	for (size_t i = 0; i < f->count; i++)
		expr_free(f->list[i]);
	free(f->list);
}

/* Binds the filters that apply.  -EINVAL: a column is missing or of the wrong type. */
static int bind_filters(struct version_decision *d, const unsigned char *applied, const struct contract_object *o, const struct file_facts *file,
			struct filters *f, const struct rule **ret_bad, struct err *e)
{
	struct expr_env env;
	char room[24];
	decide_file_env(d, file, &env, room);
	f->list = calloc(d->entry_count + 1, sizeof *f->list);
	if (!f->list)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct rule *r = d->entries[i].rule;
		if (!bit_get(applied, i) || r->kind != RULE_FILTER)
			continue;
		*ret_bad = r;
		int code = expr_bind(r->rows, &env, o, &f->list[f->count], e);
		if (code)
			return code;
		f->count++;
	}
	return 0;
}

/* The conjunction: NULL when all rows are shown; a constant that is not true shows none. */
static int join_filters(const struct filters *f, struct expr **ret, struct err *e)
{
	*ret = NULL;
	if (!f->count)
		return 0;
	struct expr *all = expr_and(f->list, f->count);
	if (!all)
		return err_set(e, -ENOMEM, "out of memory");
	const struct expr_node *root = expr_root(all);
	if (root->op == EXPR_CONSTANT) {
		bool shown = root->constant == TRUTH_TRUE;
		expr_free(all);
		all = shown ? NULL : expr_constant(TRUTH_FALSE);
		if (!shown && !all)
			return err_set(e, -ENOMEM, "out of memory");
	}
	*ret = all;
	return 0;
}

static int make_transform(struct version_decision *d, const unsigned char *applied, const struct contract_object *o, const struct expr *filter,
			  struct transform **ret, struct err *e)
{
	struct column_action *actions = calloc(o->column_count + 1, sizeof *actions);
	struct mask unnamed;
	int r = actions ? decide_mask(d, applied, NULL, &unnamed) : -ENOMEM;
	for (size_t i = 0; !r && i < o->column_count; i++) {
		actions[i].column = (char *)o->columns[i].name;
		r = decide_mask(d, applied, &o->columns[i], &actions[i].mask);
	}
	*ret = r ? NULL : transform_new(actions, o->column_count, &unnamed, filter, d->facts.contract, o);
	free(actions);
	return *ret ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int decide_view(struct version_decision *d, const unsigned char *applied, const struct file_facts *f, const struct contract_object *o,
		       struct file_decision *ret, struct err *e)
{
	struct filters filters = { 0 };
	struct expr *filter = NULL;
	const struct rule *bad = NULL;
	struct err why = ERR_INIT;
	int r = bind_filters(d, applied, o, f, &filters, &bad, &why);
	if (r == -EINVAL) {
		/* What depends on a contract denies what the contract describes, and nothing else. */
		ret->outcome = OUTCOME_DENY;
		set_reason(ret, "%s: %s", bad->id, why.text);
		add_rule(ret, bad->id);
		r = 0;
		goto out;
	}
	if (r) {
		err_move(e, &why);
		goto out;
	}
	r = join_filters(&filters, &filter, e);
	if (!r)
		r = make_transform(d, applied, o, filter, &ret->transform, e);
	if (r)
		goto out;
	bool needed = ret->transform->filter || ret->transform->action_count || ret->transform->unnamed.kind != MASK_KEEP;
	if (!needed) {
		file_decision_fini(ret);
	} else {
		ret->outcome = OUTCOME_VIEW;
		for (size_t i = 0; i < d->entry_count; i++)
			if (bit_get(applied, i) && is_column_rule(d->entries[i].rule))
				add_rule(ret, d->entries[i].rule->id);
	}
	add_grants(d, applied, ret);
out:
	filters_free(&filters);
	expr_free(filter);
	return r;
}

/* A file that two tables claim: which of them says what its columns are? */
static const struct contract_object ambiguous = { .name = "" };

static int decide(struct version_decision *d, const unsigned char *applied, const struct file_facts *f, const struct contract_object *o,
		  bool filterable, struct file_decision *ret, struct err *e)
{
	bool columns = false;
	ret->outcome = OUTCOME_ALLOW;
	if (find_hide(d, applied, ret) || find_deny(d, applied, ret))
		return 0;
	for (size_t i = 0; i < d->entry_count; i++)
		columns |= bit_get(applied, i) && is_column_rule(d->entries[i].rule);
	if (!columns || (o && o->document)) {
		add_grants(d, applied, ret);
		return 0;
	}
	if (o == &ambiguous) {
		deny_column_rules(d, applied, ret);
		set_reason(ret, "rows or columns of it are restricted (%.200s), and more than one schema object of the contract claims it", ret->rules);
		return 0;
	}
	if (!o) {
		deny_column_rules(d, applied, ret);
		set_reason(ret, "rows or columns of it are restricted (%.200s), and %s", ret->rules,
			   d->facts.contract ? "no schema object of the contract says which columns it holds" :
					       "the product has no contract that says which columns it holds");
		return 0;
	}
	if (!filterable) {
		deny_column_rules(d, applied, ret);
		set_reason(ret, "rows or columns of it are restricted (%.200s), and files of this format cannot be filtered", ret->rules);
		return 0;
	}
	return decide_view(d, applied, f, o, ret, e);
}

/* -- memos ------------------------------------------------------------------------------------------- */

/* Does any filter that applies ask of the file itself?  Then nothing is shared between files. */
static bool asks_of_file(const struct version_decision *d, const unsigned char *applied)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (bit_get(applied, i) && d->entries[i].rule->kind == RULE_FILTER && expr_flags(d->entries[i].rule->rows) & ATTR_IS_FILE)
			return true;
	return false;
}

static bool recall(struct version_decision *d, const unsigned char *applied, size_t size, const struct contract_object *o, bool filterable,
		   struct file_decision *ret)
{
	struct memo *m;
	pthread_mutex_lock(&d->lock);
	for (m = d->memos; m; m = m->next)
		if (m->object == o && m->filterable == filterable && !memcmp(m->applied, applied, size))
			break;
	if (m) {
		*ret = m->decision;
		if (ret->transform)
			transform_ref(ret->transform);
	}
	pthread_mutex_unlock(&d->lock);
	return m != NULL;
}

static void remember(struct version_decision *d, const unsigned char *applied, size_t size, const struct contract_object *o, bool filterable,
		     const struct file_decision *decision)
{
	struct memo *m = calloc(1, sizeof *m);
	unsigned char *copy = malloc(size);
	size_t count = 0;
	pthread_mutex_lock(&d->lock);
	for (struct memo *k = d->memos; k; k = k->next)
		count++;
	if (m && copy && count < MEMOS_MAX) {
		memcpy(copy, applied, size);
		*m = (struct memo){ d->memos, o, filterable, copy, *decision };
		if (m->decision.transform)
			transform_ref(m->decision.transform);
		d->memos = m;
		m = NULL;
		copy = NULL;
	}
	pthread_mutex_unlock(&d->lock);
	free(m);
	free(copy);
}

static const struct contract_object *object_of(const struct version_decision *d, const struct file_facts *f)
{
	static const struct contract_object link = { .document = true };
	if (f->link)
		return &link;
	if (!d->facts.contract)
		return NULL;
	return contract_object_second(d->facts.contract, f->path) ? &ambiguous : contract_object_for(d->facts.contract, f->path);
}

int version_decision_file(struct version_decision *d, const struct file_facts *f, struct file_decision *ret, struct err *e)
{
	unsigned char few[128], *applied = few;
	size_t size = d->entry_count / 8 + 1;
	int r = 0;
	*ret = (struct file_decision){ .outcome = OUTCOME_DENY };
	if (!d->policy || d->broken) {
		if (d->broken)
			set_reason(ret, "the policy of domain %s does not load: %s", d->facts.domain, d->broken);
		else
			set_reason(ret, "there is no policy: everything is denied");
		add_rule(ret, "default");
		return 0;
	}
	if (size > sizeof few && !(applied = malloc(size)))
		return err_set(e, -ENOMEM, "out of memory");
	const struct contract_object *o = object_of(d, f);
	bool filterable = f->format && strcmp(f->format, "other") != 0;
	decide_applied(d, f, applied);
	if (!recall(d, applied, size, o, filterable, ret)) {
		*ret = (struct file_decision){ .outcome = OUTCOME_DENY };
		r = decide(d, applied, f, o, filterable, ret, e);
		if (!r && !asks_of_file(d, applied))
			remember(d, applied, size, o, filterable, ret);
	}
	if (applied != few)
		free(applied);
	return r;
}
