#include "fs/policy_command.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

int policy_command_open(const struct invocation *inv, struct policy_command *ret, struct err *e)
{
	struct policy_command c = { 0 };
	int r = browse_open(inv, NULL, &c.browse, e);
	for (size_t i = 0; !r && i < c.browse.count; i++) {
		const char *name = c.browse.domains[i].config->name;
		if (c.browse.domains[i].snapshot)
			r = policy_sources_add(&c.extra, name, c.browse.domains[i].snapshot);
		if (r)
			err_set(e, r, "cannot read the policies that domain %s published: %s", name, strerror(-r));
	}
	if (!r)
		r = policy_load_mesh(c.browse.mesh, c.extra.items, c.extra.count, &c.policy, e);
	if (r)
		policy_command_close(&c);
	else
		*ret = c;
	return r;
}

void policy_command_close(struct policy_command *c)
{
	policy_unref(c->policy);
	policy_sources_free(&c->extra);
	if (c->browse.mesh)
		browse_close(&c->browse);
	*c = (struct policy_command){ 0 };
}

/* -- a version ----------------------------------------------------------------------------------- */

static int read_contract(struct loaded_version *v, struct err *e)
{
	static const struct digest none;
	struct buf text = BUF_INIT;
	if (digest_equal(&v->info.contract, &none))
		return 0;
	int r = snapshot_contract(v->domain->snapshot, &v->info.contract, &text);
	if (r)
		err_set(e, r, "the contract of %s/%s cannot be read: %s", v->facts.domain, v->facts.product, strerror(-r));
	else
		r = contract_parse("contract.yaml", buf_text(&text), text.len, &v->facts.contract, e);
	buf_free(&text);
	return r;
}

int policy_command_version(struct policy_command *c, const char *domain, const char *product, const char *version, struct loaded_version *ret,
			   struct err *e)
{
	struct loaded_version v = { 0 };
	for (size_t i = 0; i < c->browse.count; i++)
		if (!strcmp(c->browse.domains[i].config->name, domain))
			v.domain = &c->browse.domains[i];
	if (!v.domain) {
		const struct mesh_domain *none;
		return mesh_domain_get(c->browse.mesh, domain, &none, e);
	}
	if (!v.domain->snapshot)
		return err_set(e, -ENOENT, "domain %s was never reached", domain);
	struct address a = { .path = "" };
	snprintf(a.domain, sizeof a.domain, "%s", domain);
	snprintf(a.product, sizeof a.product, "%s", product);
	snprintf(a.version, sizeof a.version, "%s", version[0] ? version : "latest");
	int r = browse_product(&c->browse, v.domain, product, &v.product, e);
	if (!r)
		r = browse_version(&c->browse, v.domain, &a, &v.info, e);
	if (!r && !browse_sees(&c->browse, v.domain, product, &v.info, NULL))
		r = err_set(e, -ENOENT, "%s/%s/%s: no such version", domain, product, a.version);
	if (r) {
		loaded_version_free(&v);
		return r;
	}
	version_facts_of(v.domain->config->name, v.product.name, &v.info, NULL, &v.facts);
	version_facts_check(NULL, v.domain->snapshot, &v.info, &v.facts); /* rules to come may ask */
	r = read_contract(&v, e);
	if (r) {
		loaded_version_free(&v);
		return r;
	}
	*ret = v;
	ret->facts.product = ret->product.name; /* they point into the struct */
	ret->facts.version = ret->info.version;
	return 0;
}

void loaded_version_free(struct loaded_version *v)
{
	contract_unref(v->facts.contract);
	version_info_fini(&v->info);
	product_info_fini(&v->product);
	*v = (struct loaded_version){ 0 };
}
