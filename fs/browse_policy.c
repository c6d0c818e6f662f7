#include "fs/browse_policy.h"

#include "fs/identity.h"
#include "fs/policy_facts.h"

#include "catalog/base/clock.h"
#include "catalog/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct browse_policy {
	struct policy *policy; /* NULL: none loads */
	struct identity who;
	struct subject subject;
	char host[256];
	/* The last version that was asked for; the decision borrows the names. */
	struct browse_domain *domain;
	char product[NAME_SIZE], version[VERSION_SIZE];
	struct version_decision *decision;
};

static int load(const struct browse *b, struct browse_policy *p)
{
	struct policy_sources sources = { 0 };
	struct err why = ERR_INIT;
	int r = 0;
	for (size_t i = 0; i < b->count && !r; i++)
		if (b->domains[i].snapshot)
			r = policy_sources_add(&sources, b->domains[i].config->name, b->domains[i].snapshot);
	if (!r)
		r = policy_load_mesh(b->mesh, sources.items, sources.count, &p->policy, &why);
	if (r)
		log_warn("no policy can be read (%s): nothing is served", why.code ? why.text : strerror(-r));
	policy_sources_free(&sources);
	return r == -ENOMEM ? r : 0;
}

int browse_policy_open(const struct browse *b, struct browse_policy **ret, struct err *e)
{
	*ret = NULL;
	if (identity_holds(b->mesh))
		return 0;
	struct browse_policy *p = calloc(1, sizeof *p);
	int r = p ? load(b, p) : -ENOMEM;
	if (r)
		err_set(e, r, "out of memory");
	else
		r = identity_of(NULL, &p->who, e);
	if (r) {
		browse_policy_close(p);
		return r;
	}
	identity_subject(&p->who, &p->subject);
	gethostname(p->host, sizeof p->host - 1);
	p->subject.host = p->host;
	*ret = p;
	return 0;
}

static void forget(struct browse_policy *p)
{
	version_decision_free(p->decision);
	p->decision = NULL;
	p->domain = NULL;
}

void browse_policy_close(struct browse_policy *p)
{
	if (!p)
		return;
	forget(p);
	policy_unref(p->policy);
	identity_fini(&p->who);
	free(p);
}

static int read_contract(struct browse_domain *d, const struct version_info *version, struct contract **ret)
{
	static const struct digest none;
	struct buf text = BUF_INIT;
	if (digest_equal(&version->contract, &none))
		return 0;
	int r = snapshot_contract(d->snapshot, &version->contract, &text);
	if (!r)
		r = contract_parse("contract.yaml", buf_text(&text), text.len, ret, NULL);
	buf_free(&text);
	return r;
}

struct version_decision *browse_policy_version(struct browse_policy *p, struct browse_domain *d, const char *product,
					       const struct version_info *version)
{
	if (p->domain == d && !strcmp(p->product, product) && !strcmp(p->version, version->version))
		return p->decision;
	forget(p);
	p->domain = d;
	snprintf(p->product, sizeof p->product, "%s", product);
	snprintf(p->version, sizeof p->version, "%s", version->version);
	struct contract *contract = NULL;
	struct version_facts facts;
	if (read_contract(d, version, &contract))
		return NULL;
	version_facts_of(d->config->name, p->product, version, contract, &facts);
	facts.version = p->version;
	version_facts_check(p->policy, d->snapshot, version, &facts);
	if (policy_decide_version(p->policy, &p->subject, &facts, clock_now_ns(), &p->decision, NULL))
		p->decision = NULL;
	contract_unref(contract);
	return p->decision;
}
