/* The policy in force, and what takes its place when rules change: nothing that does not load ever does. */
#include "fs/policy_facts.h"
#include "fs/state.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"
#include "policy/check.h"

#include <stdio.h>
#include <string.h>

struct policy *mesh_policy(struct mesh *m, uint64_t *ret_epoch)
{
	pthread_mutex_lock(&m->lock);
	struct policy *p = m->policy ? policy_ref(m->policy) : NULL;
	if (ret_epoch)
		*ret_epoch = atomic_load(&m->policy_epoch);
	pthread_mutex_unlock(&m->lock);
	return p;
}

/* A clock that was wrong before we started shows less than a catalog that is at hand.  Only of that domain: no domain may tell the others the time. */
static void note_time(struct domain_host *h, const struct snapshot *snapshot)
{
	int64_t published = snapshot_time_ns(snapshot), now = clock_now_ns();
	if (atomic_exchange(&h->published_ns, published) != published && now < published - POLICY_CLOCK_SLACK_NS)
		log_warn("%s: its catalog was published %lld s in the future as the clock of this machine has it; rules about time are decided as if it "
			 "were not known", h->config->name, (long long)((published - now) / NS_PER_S));
}

static int gather_sources(struct mesh *m, struct policy_sources *s)
{
	int r = 0;
	for (size_t i = 0; i < m->domain_count && !r; i++) {
		struct snapshot *snapshot = domain_snapshot(m->domains[i].domain);
		if (snapshot)
			r = policy_sources_add(s, m->domains[i].config->name, snapshot);
		m->domains[i].reached_policy = snapshot != NULL;
		if (snapshot)
			note_time(&m->domains[i], snapshot);
		snapshot_unref(snapshot);
	}
	return r;
}

/* Where what a domain publishes does not load, its last good rules stand in.  *ret_changed: there were such. */
static int stand_in(struct mesh *m, const struct policy *p, struct policy_sources *s, bool *ret_changed)
{
	int r = 0;
	for (size_t i = 0; i < m->domain_count && !r; i++) {
		struct domain_host *h = &m->domains[i];
		if (!h->has_good || !policy_domain_problem(p, h->config->name))
			continue;
		policy_sources_drop(s, h->config->name);
		for (size_t k = 0; k < h->good.count && !r; k++)
			r = policy_sources_copy(s, &h->good.items[k]);
		*ret_changed = true;
	}
	return r;
}

/* Remembers what each domain's rules are that loaded. */
static int keep_good(struct mesh *m, const struct policy *p, const struct policy_sources *s)
{
	int r = 0;
	for (size_t i = 0; i < m->domain_count && !r; i++) {
		struct domain_host *h = &m->domains[i];
		struct policy_sources good = { 0 };
		if (!h->reached_policy || policy_domain_problem(p, h->config->name))
			continue;
		for (size_t k = 0; k < s->count && !r; k++)
			if (!strcmp(s->items[k].domain, h->config->name))
				r = policy_sources_copy(&good, &s->items[k]);
		struct policy_sources old = r ? good : h->good;
		if (!r) {
			h->good = good;
			h->has_good = true;
		}
		policy_sources_free(&old);
	}
	return r;
}

static int load(struct mesh *m, struct policy **ret, char *problem, size_t size, struct err *e)
{
	struct policy_sources s = { 0 };
	struct policy *p = NULL, *second = NULL;
	const char *const *problems;
	bool changed = false;
	int r = gather_sources(m, &s);
	if (r) {
		err_set(e, r, "cannot read the policies that domains published: %s", strerror(-r));
		goto out;
	}
	r = policy_load_mesh(m->config, s.items, s.count, &p, e);
	if (r)
		goto out;
	if (policy_problems(p, &problems))
		snprintf(problem, size, "%s", problems[0]);
	r = keep_good(m, p, &s);
	if (!r)
		r = stand_in(m, p, &s, &changed);
	if (r)
		err_set(e, r, "out of memory");
	else if (changed)
		r = policy_load_mesh(m->config, s.items, s.count, &second, e);
	if (second) {
		policy_unref(p);
		p = second;
	}
out:
	policy_sources_free(&s);
	if (r)
		policy_unref(p);
	else
		*ret = p;
	return r;
}

static void log_warning(void *arg, const char *text)
{
	(void)arg;
	log_warn("policy: %s", text);
}

bool mesh_reload_policy(struct mesh *m, struct err *e)
{
	struct err own = ERR_INIT;
	struct policy *fresh = NULL;
	char problem[sizeof m->policy_error] = "";
	if (!e)
		e = &own;
	pthread_mutex_lock(&m->reload_lock);
	int r = load(m, &fresh, problem, sizeof problem, e);
	if (r)
		snprintf(problem, sizeof problem, "%.500s", e->text);
	pthread_mutex_lock(&m->lock);
	struct policy *old = m->policy;
	/* One that does not load leaves the last good one in force. */
	bool same = !fresh || (old && digest_equal(policy_digest(old), policy_digest(fresh)));
	if (!same) {
		policy_check_rules(fresh, m->config, clock_now_ns(), log_warning, NULL);
		m->policy = fresh;
		atomic_fetch_add(&m->policy_epoch, 1);
		fresh = NULL;
	} else {
		old = NULL;
	}
	bool news = strcmp(problem, m->policy_error) != 0;
	memcpy(m->policy_error, problem, sizeof problem);
	pthread_mutex_unlock(&m->lock);
	pthread_mutex_unlock(&m->reload_lock);
	policy_unref(old);
	policy_unref(fresh);
	if (!r && problem[0] && news)
		log_error("policy: %s; the domain's last good rules stay in force, and with none all of it is denied", problem);
	return !same;
}
