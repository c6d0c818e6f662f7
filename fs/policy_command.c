#include "fs/policy_command.h"

#include "catalog/base/doc.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- what domains published --------------------------------------------------------------- */

struct gathering {
	struct policy_command *c;
	const char *domain;
};

static int add_source(void *arg, const char *name, const char *text, size_t len)
{
	struct gathering *g = arg;
	struct policy_command *c = g->c;
	struct policy_source *more = realloc(c->extra, (c->extra_count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	c->extra = more;
	struct policy_source *s = &more[c->extra_count];
	char *copy = malloc(len + 1);
	*s = (struct policy_source){ .name = text_format("%s:%s", g->domain, name), .text = copy, .len = len, .domain = g->domain };
	if (!s->name || !copy) {
		free((char *)s->name);
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	c->extra_count++;
	return 0;
}

int policy_command_open(const struct invocation *inv, struct policy_command *ret, struct err *e)
{
	struct policy_command c = { 0 };
	int r = browse_open(inv, NULL, &c.browse, e);
	for (size_t i = 0; !r && i < c.browse.count; i++) {
		struct gathering g = { &c, c.browse.domains[i].config->name };
		if (c.browse.domains[i].snapshot)
			r = snapshot_policies(c.browse.domains[i].snapshot, add_source, &g);
		if (r)
			err_set(e, r, "cannot read the policies that domain %s published: %s", g.domain, strerror(-r));
	}
	if (!r)
		r = policy_load_mesh(c.browse.mesh, c.extra, c.extra_count, &c.policy, e);
	if (r)
		policy_command_close(&c);
	else
		*ret = c;
	return r;
}

void policy_command_close(struct policy_command *c)
{
	policy_unref(c->policy);
	for (size_t i = 0; i < c->extra_count; i++) {
		free((char *)c->extra[i].name);
		free((char *)c->extra[i].text);
	}
	free(c->extra);
	if (c->browse.mesh)
		browse_close(&c->browse);
	*c = (struct policy_command){ 0 };
}

/* -- a version ----------------------------------------------------------------------------------- */

static void read_quality(const char *json, struct version_facts *f)
{
	struct doc *d = NULL;
	if (!json || doc_parse("quality", json, strlen(json), &d, NULL))
		return;
	const struct doc_node *root = doc_root(d);
	f->has_quality = !doc_int(doc_get(root, "failed_errors"), &f->failed_errors) &&
			 !doc_int(doc_get(root, "failed_warnings"), &f->failed_warnings) &&
			 !doc_double(doc_get(root, "score"), &f->quality_score);
	doc_free(d);
}

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
	if (!v.domain || !v.domain->snapshot)
		return err_set(e, -ENOENT, v.domain ? "domain %s was never reached" : "the mesh has no domain %s", domain);
	int r = snapshot_product(v.domain->snapshot, product, &v.product);
	if (!r)
		r = snapshot_version(v.domain->snapshot, product, version[0] ? version : "latest", &v.info);
	if (r) {
		loaded_version_free(&v);
		return err_set(e, r, "there is no %s/%s/%s", domain, product, version[0] ? version : "latest");
	}
	v.facts.domain = v.domain->config->name;
	v.facts.product = v.product.name;
	v.facts.published_ns = v.info.published_ns;
	read_quality(v.info.quality_json, &v.facts);
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
