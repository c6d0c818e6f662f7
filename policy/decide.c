/* Decisions about a version: which rules can concern it, and which of them hold. */
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "policy/decide_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *outcome_name(enum outcome o)
{
	static const char *const names[] = { "allow", "view", "deny", "hide" };
	return names[o];
}

/* What loosens must be known to hold; what restricts must be known not to. */
static bool loosens(const struct rule *r)
{
	return r->kind == RULE_PERMIT || r->kind == RULE_EXEMPT;
}

bool rule_holds(const struct rule *r, struct expr_env *env)
{
	enum truth when = TRUTH_TRUE, lifted = TRUTH_FALSE;
	for (size_t i = 0; i < r->when_count && when != TRUTH_FALSE; i++)
		when = truth_and(when, expr_eval(r->when[i], env));
	for (size_t i = 0; i < r->unless_count && when != TRUTH_FALSE && lifted != TRUTH_TRUE; i++)
		lifted = truth_or(lifted, expr_eval(r->unless[i], env));
	return loosens(r) ? when == TRUTH_TRUE && lifted == TRUTH_FALSE : when != TRUTH_FALSE && lifted != TRUTH_TRUE;
}

bool requirement_met(const struct rule *r, const struct expr_env *env, int *ret_lacking)
{
	for (size_t i = 0; i < r->have_count; i++) {
		const struct attribute_value *a = &env->attr[r->have[i]];
		bool set = attribute_specs[r->have[i]].flags & ATTR_IS_SET;
		bool empty = a->value.kind == VALUE_TEXT && !set && a->value.len == 0;
		if (a->value.kind == VALUE_MISSING || empty || (set && !a->count)) {
			*ret_lacking = r->have[i];
			return false;
		}
	}
	return true;
}

/* -- the environment ------------------------------------------------------------------- */

static int set_list(struct version_decision *d, enum attribute a, const char *const *texts, size_t count)
{
	struct row_value *items = arena_alloc(&d->arena, (count + 1) * sizeof *items);
	if (!items)
		return -ENOMEM;
	attribute_set_list(&d->env, a, texts, count, items);
	return 0;
}

static int64_t floor_days(int64_t ns)
{
	const int64_t day = 86400 * NS_PER_S;
	return ns >= 0 ? ns / day : -((-ns + day - 1) / day);
}

static int set_contract(struct version_decision *d, struct contract *c)
{
	const char *const *list;
	size_t count;
	attribute_set_text(&d->env, ATTR_STATUS, contract_status(c));
	count = contract_team(c, &list);
	if (count && set_list(d, ATTR_TEAM, list, count)) /* nobody named: not known whose it is */
		return -ENOMEM;
	count = contract_tags(c, &list);
	if (set_list(d, ATTR_TAGS, list, count))
		return -ENOMEM;
	if (contract_allowed_purposes(c, &list, &count) && set_list(d, ATTR_PURPOSES, list, count))
		return -ENOMEM;
	return 0;
}

static void set_now(struct version_decision *d, int64_t now_ns)
{
	struct expr_env *env = &d->env;
	env->now_ns = now_ns;
	env->attr[ATTR_NOW].value = env->attr[ATTR_AGE_DAYS].value = (struct row_value){ .kind = VALUE_MISSING };
	if (now_ns == POLICY_NOW_UNKNOWN || now_ns < d->facts.published_ns - POLICY_CLOCK_SLACK_NS) {
		env->now_ns = POLICY_NOW_UNKNOWN;
		return;
	}
	int64_t second = now_ns / NS_PER_S, rest = now_ns % NS_PER_S;
	if (rest < 0) {
		second--;
		rest += NS_PER_S;
	}
	env->attr[ATTR_NOW].value = (struct row_value){ .kind = VALUE_TIME, .integer = second, .nanos = (int32_t)rest };
	attribute_set_int(env, ATTR_AGE_DAYS, floor_days(now_ns - d->facts.published_ns), d->numbers[1]);
}

static int set_env(struct version_decision *d, int64_t now_ns)
{
	struct expr_env *env = &d->env;
	const struct subject *s = &d->subject;
	const struct version_facts *f = &d->facts;
	env->published_ns = f->published_ns;
	env->valid_until_ns = INT64_MAX;
	attribute_set_text(env, ATTR_USER, s->user);
	attribute_set_int(env, ATTR_UID, (int64_t)s->uid, d->numbers[0]);
	attribute_set_text(env, ATTR_PURPOSE, s->purpose);
	attribute_set_text(env, ATTR_RUN, s->run);
	attribute_set_text(env, ATTR_HOST, s->host);
	set_now(d, now_ns);
	attribute_set_text(env, ATTR_DOMAIN, f->domain);
	attribute_set_text(env, ATTR_NAME, f->product);
	attribute_set_text(env, ATTR_VERSION, f->version);
	if (f->has_quality) {
		attribute_set_double(env, ATTR_QUALITY_SCORE, f->quality_score, d->numbers[2]);
		attribute_set_int(env, ATTR_FAILED_ERRORS, f->failed_errors, d->numbers[3]);
		attribute_set_int(env, ATTR_FAILED_WARNINGS, f->failed_warnings, d->numbers[4]);
	}
	if (set_list(d, ATTR_GROUP, s->groups, s->group_count))
		return -ENOMEM;
	return f->contract ? set_contract(d, f->contract) : 0;
}

/* -- rules that a subject rules out ------------------------------------------------------------- */

static bool asks_session_only(const struct expr *x)
{
	for (int a = 0; a < ATTR_COUNT; a++)
		if (expr_uses(x, (enum attribute)a) && !(attribute_specs[a].flags & ATTR_IS_SESSION))
			return false;
	return true;
}

static bool is_idle(const struct rule *r, struct expr_env *env)
{
	for (size_t i = 0; i < r->when_count; i++)
		if (asks_session_only(r->when[i]) && expr_eval(r->when[i], env) == TRUTH_FALSE)
			return true;
	for (size_t i = 0; i < r->unless_count; i++)
		if (asks_session_only(r->unless[i]) && expr_eval(r->unless[i], env) == TRUTH_TRUE)
			return true;
	return false;
}

static int subject_hash(const struct subject *s, struct xxh128 *ret)
{
	const char *texts[] = { s->user, s->purpose, s->run, s->host };
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < 4 + s->group_count; i++) {
		const char *text = i < 4 ? texts[i] : s->groups[i - 4];
		buf_addc(&b, text ? 't' : 'n');
		buf_add(&b, text ? text : "", text ? strlen(text) + 1 : 1);
	}
	buf_add(&b, &s->uid, sizeof s->uid);
	xxh128_of(buf_text(&b), b.len, ret);
	int r = buf_check(&b);
	buf_free(&b);
	return r;
}

/* A copy of the bits of the rules that cannot hold for the subject; NULL without memory. */
static unsigned char *idle_rules(struct version_decision *d)
{
	struct policy *p = d->policy;
	struct xxh128 hash;
	size_t size = p->rule_count / 8 + 1;
	unsigned char *bits = arena_alloc(&d->arena, size), *kept;
	if (!bits || subject_hash(&d->subject, &hash))
		return NULL;
	pthread_mutex_lock(&p->idle_lock);
	for (int i = 0; i < IDLE_SUBJECTS; i++) {
		if (!p->idle[i].bits || memcmp(&p->idle[i].subject, &hash, sizeof hash) != 0)
			continue;
		memcpy(bits, p->idle[i].bits, size);
		pthread_mutex_unlock(&p->idle_lock);
		return bits;
	}
	pthread_mutex_unlock(&p->idle_lock);
	for (size_t i = 0; i < p->rule_count; i++)
		if (is_idle(p->rules[i], &d->env))
			bits[i / 8] |= (unsigned char)(1u << (i % 8));
	kept = malloc(size);
	if (!kept)
		return bits;
	memcpy(kept, bits, size);
	pthread_mutex_lock(&p->idle_lock);
	struct idle_rules *slot = &p->idle[p->idle_next++ % IDLE_SUBJECTS];
	free(slot->bits);
	*slot = (struct idle_rules){ hash, kept };
	pthread_mutex_unlock(&p->idle_lock);
	return bits;
}

/* -- gathering ---------------------------------------------------------------------------- */

/* The conditions that ask of the file are evaluated without one too, for the moment at which they would change. */
static void add_entry(struct version_decision *d, const struct rule *r, enum reach reach)
{
	struct entry *n = &d->entries[d->entry_count];
	bool pending = false;
	for (size_t i = 0; i < r->when_count; i++)
		pending |= (expr_flags(r->when[i]) & ATTR_IS_FILE) != 0;
	for (size_t i = 0; i < r->unless_count; i++)
		pending |= (expr_flags(r->unless[i]) & ATTR_IS_FILE) != 0;
	bool holds = rule_holds(r, &d->env);
	if (r->kind == RULE_EXEMPT) {
		if (d->env.now_ns == POLICY_NOW_UNKNOWN || d->env.now_ns >= r->until_ns)
			return;
		if (r->until_ns < d->env.valid_until_ns)
			d->env.valid_until_ns = r->until_ns;
	}
	if (!pending && !holds)
		return;
	*n = (struct entry){ .rule = r, .reach = reach, .pending = pending, .holds = holds };
	d->entry_count++;
}

static int gather(struct version_decision *d)
{
	const struct policy *p = d->policy;
	unsigned few[256], *numbers = few;
	if (p->rule_count * 3 > 256 && !(numbers = malloc(p->rule_count * 3 * sizeof *numbers)))
		return -ENOMEM;
	const unsigned char *idle = idle_rules(d);
	size_t count = idle ? policy_candidates(p, d->facts.domain, d->facts.product, idle, numbers) : 0;
	d->entries = idle ? malloc((count + 1) * sizeof *d->entries) : NULL;
	for (size_t i = 0; d->entries && i < count; i++) {
		const struct rule *r = p->rules[numbers[i]];
		enum reach reach = r->publish ? REACH_NONE : rule_reach(r, d->facts.domain, d->facts.product, d->facts.version);
		if (reach != REACH_NONE)
			add_entry(d, r, reach);
	}
	if (numbers != few)
		free(numbers);
	return d->entries ? 0 : -ENOMEM;
}

int policy_decide_version(struct policy *p, const struct subject *s, const struct version_facts *facts, int64_t now_ns,
			  struct version_decision **ret, struct err *e)
{
	struct version_decision *d = calloc(1, sizeof *d);
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	d->subject = *s;
	d->facts = *facts;
	if (facts->contract)
		contract_ref(facts->contract);
	int r = set_env(d, now_ns);
	if (!r && p) {
		d->policy = policy_ref(p);
		d->broken = map_gets(p->broken, facts->domain);
		r = gather(d);
	}
	if (r) {
		version_decision_free(d);
		return err_set(e, r, "out of memory");
	}
	*ret = d;
	return 0;
}

void file_decision_fini(struct file_decision *f)
{
	transform_unref(f->transform);
	f->transform = NULL;
}

void version_decision_free(struct version_decision *d)
{
	if (!d)
		return;
	while (d->memos) {
		struct memo *m = d->memos;
		d->memos = m->next;
		file_decision_fini(&m->decision);
		free(m->applied);
		free(m);
	}
	policy_unref(d->policy);
	contract_unref(d->facts.contract);
	pthread_mutex_destroy(&d->lock);
	free(d->entries);
	arena_free(&d->arena);
	free(d);
}

bool version_decision_now_known(const struct version_decision *d)
{
	return d->env.now_ns != POLICY_NOW_UNKNOWN;
}

int64_t version_decision_valid_until_ns(const struct version_decision *d)
{
	return d->env.valid_until_ns;
}

/* -- the version as a whole ------------------------------------------------------------------ */

/* Could an exempt lift the rule for some file? */
static bool may_be_lifted(const struct version_decision *d, const struct rule *r)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (d->entries[i].rule->kind == RULE_EXEMPT && exempt_names(d->entries[i].rule, r))
			return true;
	return false;
}

static bool is_lifted(const struct version_decision *d, const struct rule *r)
{
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct entry *n = &d->entries[i];
		if (n->rule->kind == RULE_EXEMPT && n->reach == REACH_ALL && !n->pending && exempt_names(n->rule, r))
			return true;
	}
	return false;
}

enum outcome version_decision_outcome(const struct version_decision *d)
{
	bool permit = false, permit_all = false, deny_all = d->broken != NULL, hide_all = false, hide_some = false, differ = false;
	int lacking;
	for (size_t i = 0; i < d->entry_count; i++) {
		const struct entry *n = &d->entries[i];
		const struct rule *r = n->rule;
		bool whole = n->reach == REACH_ALL && !n->pending, all = whole && !may_be_lifted(d, r);
		if (is_lifted(d, r))
			continue;
		if (r->kind == RULE_PERMIT) {
			permit = true;
			permit_all |= whole;
		} else if (r->kind == RULE_HIDE) {
			*(all ? &hide_all : &hide_some) = true;
		} else if (r->kind == RULE_DENY || (r->kind == RULE_REQUIRE && !requirement_met(r, &d->env, &lacking))) {
			*(all ? &deny_all : &differ) = true;
		} else if (is_column_rule(r)) {
			differ = true;
		}
	}
	if (hide_all)
		return OUTCOME_HIDE;
	if (!d->policy || ((deny_all || !permit) && !hide_some))
		return OUTCOME_DENY;
	return permit_all && !hide_some && !differ ? OUTCOME_ALLOW : OUTCOME_VIEW;
}

bool version_decision_may_hide(const struct version_decision *d)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (d->entries[i].rule->kind == RULE_HIDE)
			return true;
	return false;
}

/* -- publishing ---------------------------------------------------------------------------------- */

int policy_may_publish(struct policy *p, const struct subject *s, const struct version_facts *facts, bool is_owner, int64_t now_ns,
		       struct err *e)
{
	struct version_decision *d;
	bool any = false, may = false;
	if (is_owner)
		return 0;
	int r = policy_decide_version(p, s, facts, now_ns, &d, e);
	if (r)
		return r;
	for (size_t i = 0; p && !d->broken && i < p->rule_count; i++) {
		const struct rule *rule = p->rules[i];
		if (!rule->publish || rule_reach(rule, facts->domain, facts->product, facts->version) == REACH_NONE)
			continue;
		any = true;
		may |= rule_holds(rule, &d->env);
	}
	version_decision_free(d);
	if (may)
		return 0;
	return err_set(e, -EPERM, any ? "no rule of domain %s permits %s to publish %s" :
					"domain %s has no 'permit … to publish' that concerns %s and %s: only the mesh's owner can",
		       facts->domain, s->user ? s->user : "this user", facts->product);
}
