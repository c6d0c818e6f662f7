#include "fs/browse.h"

#include "fs/browse_policy.h"

#include "catalog/base/log.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_THREADS 16
#define NEAR_NAMES_MAX 1000

static void refresh(void *arg)
{
	struct browse_domain *d = arg;
	d->reached = !domain_refresh(d->domain, NULL, &d->why);
	d->snapshot = domain_snapshot(d->domain);
}

static int open_domains(struct browse *b, const char *only, struct err *e)
{
	const struct mesh_domain *one = NULL;
	int r = only ? mesh_domain_get(b->mesh, only, &one, e) : 0;
	if (r)
		return r;
	size_t count = only ? 1 : b->mesh->domain_count;
	b->domains = calloc(count ? count : 1, sizeof *b->domains);
	if (!b->domains)
		return err_set(e, -ENOMEM, "out of memory");
	for (; !r && b->count < count; b->count++) {
		struct browse_domain *d = &b->domains[b->count];
		d->config = one ? one : &b->mesh->domains[b->count];
		r = domain_open(b->mesh, d->config, b->transfer, &d->domain, e);
		if (r)
			break;
	}
	return r;
}

static int refresh_all(struct browse *b, struct err *e)
{
	struct pool *pool = pool_new("refresh", b->count < REFRESH_THREADS ? (unsigned)b->count : REFRESH_THREADS, 4096);
	if (!pool)
		return err_set(e, -ENOMEM, "cannot start threads");
	for (size_t i = 0; i < b->count; i++)
		if (pool_submit(pool, 0, refresh, &b->domains[i]))
			refresh(&b->domains[i]);
	pool_free(pool);
	return 0;
}

static int report(struct browse *b, bool only_one, struct err *e)
{
	for (size_t i = 0; i < b->count; i++) {
		struct browse_domain *d = &b->domains[i];
		if (d->reached)
			continue;
		if (only_one && !d->snapshot)
			return err_move(e, &d->why);
		log_warn("%s; %s", d->why.text, d->snapshot ? "showing what was last seen of it" : "nothing is known of it");
	}
	return 0;
}

int browse_open(const struct invocation *inv, const char *domain, struct browse *ret, struct err *e)
{
	struct browse b = { 0 };
	int r = mesh_open(inv->mesh_path, &b.mesh, e);
	if (!r)
		r = mesh_transfer_start(b.mesh, &b.transfer, e);
	if (!r)
		r = open_domains(&b, domain, e);
	if (!r && b.count)
		r = refresh_all(&b, e);
	if (!r)
		r = report(&b, domain != NULL, e);
	if (!r)
		r = browse_policy_open(&b, &b.policy, e);
	if (r)
		browse_close(&b);
	else
		*ret = b;
	return r;
}

void browse_close(struct browse *b)
{
	for (size_t i = 0; i < b->count; i++) {
		snapshot_unref(b->domains[i].snapshot);
		domain_free(b->domains[i].domain);
	}
	free(b->domains);
	browse_policy_close(b->policy);
	transfer_stop(b->transfer);
	mesh_config_free(b->mesh);
	memset(b, 0, sizeof *b);
}

/* -- what the caller may see --------------------------------------------------------------- */

static enum outcome file_outcome(struct version_decision *decision, const char *path)
{
	struct file_decision f;
	struct file_facts facts = { path, view_format(path), 0, false };
	if (version_decision_file(decision, &facts, &f, NULL))
		return OUTCOME_HIDE;
	enum outcome outcome = f.outcome;
	file_decision_fini(&f);
	return outcome;
}

struct strictest {
	const struct browse *b;
	struct browse_domain *d;
	const char *product;
	enum outcome outcome;
};

static int least_strict(void *arg, const struct version_info *v)
{
	struct strictest *s = arg;
	enum outcome o = v->status == VERSION_ACTIVE ? browse_outcome(s->b, s->d, s->product, v, NULL) : OUTCOME_HIDE;
	if (o < s->outcome)
		s->outcome = o;
	return s->outcome == OUTCOME_ALLOW;
}

/* A product is seen when a version of it is. */
static enum outcome product_outcome(const struct browse *b, struct browse_domain *d, const char *product)
{
	struct strictest s = { b, d, product, OUTCOME_HIDE };
	snapshot_versions(d->snapshot, product, least_strict, &s);
	return s.outcome;
}

enum outcome browse_outcome(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version,
			    const char *path)
{
	if (!b->policy || !product)
		return OUTCOME_ALLOW;
	if (!version)
		return product_outcome(b, d, product);
	struct version_decision *decision = browse_policy_version(b->policy, d, product, version);
	if (!decision)
		return OUTCOME_HIDE;
	enum outcome whole = version_decision_outcome(decision);
	return path && whole != OUTCOME_HIDE ? file_outcome(decision, path) : whole;
}

bool browse_sees(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version, const char *path)
{
	return browse_outcome(b, d, product, version, path) != OUTCOME_HIDE;
}

int browse_contract(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version,
		    struct contract **ret, struct err *e)
{
	static const struct digest none;
	struct buf text = BUF_INIT;
	int r = 0;
	*ret = NULL;
	if (digest_equal(&version->contract, &none))
		return 0;
	struct version_decision *decision = b->policy ? browse_policy_version(b->policy, d, product, version) : NULL;
	if (!b->policy)
		r = snapshot_contract(d->snapshot, &version->contract, &text);
	else
		r = decision ? version_decision_contract(decision, &text, e) : -EACCES;
	if (!r)
		r = contract_parse("contract.yaml", buf_text(&text), text.len, ret, e);
	buf_free(&text);
	return r;
}

/* -- names --------------------------------------------------------------------------------- */

struct near {
	const struct browse *b;
	struct browse_domain *d;
	char names[NEAR_NAMES_MAX][NAME_SIZE];
	const char *list[NEAR_NAMES_MAX];
	size_t count;
};

static int collect(void *arg, const struct product_info *p)
{
	struct near *n = arg;
	if (n->count == NEAR_NAMES_MAX)
		return 1;
	if (browse_sees(n->b, n->d, p->name, NULL, NULL)) {
		memcpy(n->names[n->count], p->name, NAME_SIZE);
		n->list[n->count] = n->names[n->count];
		n->count++;
	}
	return 0;
}

bool browse_nearest(const struct browse *b, struct browse_domain *d, const char *word, char ret[NAME_SIZE])
{
	struct near *n = d->snapshot ? calloc(1, sizeof *n) : NULL;
	const char *near = NULL;
	if (n) {
		n->b = b;
		n->d = d;
		snapshot_products(d->snapshot, collect, n);
		near = text_nearest(word, n->list, n->count);
	}
	if (near)
		memcpy(ret, near, NAME_SIZE);
	free(n);
	return near != NULL;
}

static int no_product(const struct browse *b, struct browse_domain *d, const char *product, struct err *e)
{
	char near[NAME_SIZE];
	return browse_nearest(b, d, product, near)
		       ? err_set(e, -ENOENT, "%s/%s: no such product (did you mean '%s'?)", d->config->name, product, near)
		       : err_set(e, -ENOENT, "%s/%s: no such product; 'meshfs ls %s' lists them", d->config->name, product, d->config->name);
}

struct newest {
	const struct browse *b;
	struct browse_domain *d;
	const char *product;
	struct version_selector selector;
	char version[VERSION_SIZE]; /* "": none */
};

static int take_newest(void *arg, const struct version_info *v)
{
	struct newest *n = arg;
	if (n->selector.parts < 3 && v->status != VERSION_ACTIVE)
		return 0;
	if (!browse_sees(n->b, n->d, n->product, v, NULL))
		return 0;
	snprintf(n->version, sizeof n->version, "%s", v->version);
	return 1;
}

/* The newest version that the selector matches, of those that the caller may see. */
static int find_newest(struct newest *n, const char *selector)
{
	if (version_selector_parse(selector, &n->selector))
		return -ENOENT;
	int r = snapshot_versions_matching(n->d->snapshot, n->product, &n->selector, take_newest, n);
	return r < 0 ? r : *n->version ? 0 : -ENOENT;
}

/* Its title, description and status are those of the newest version of all: here they become those of the newest that the caller may see. */
static void own_description(const struct browse *b, struct browse_domain *d, struct product_info *p)
{
	struct version_info v;
	struct contract *c = NULL;
	free(p->title);
	free(p->description);
	free(p->status);
	p->title = p->description = p->status = NULL;
	if (!p->latest || snapshot_version(d->snapshot, p->name, p->latest, &v))
		return;
	if (!browse_contract(b, d, p->name, &v, &c, NULL) && c) {
		p->title = contract_title(c) ? strdup(contract_title(c)) : NULL;
		p->description = contract_description(c) ? strdup(contract_description(c)) : NULL;
		p->status = contract_status(c) ? strdup(contract_status(c)) : NULL;
	}
	contract_unref(c);
	version_info_fini(&v);
}

int browse_product(const struct browse *b, struct browse_domain *d, const char *product, struct product_info *ret, struct err *e)
{
	int r = snapshot_product(d->snapshot, product, ret);
	if (r == 0 && browse_sees(b, d, product, NULL, NULL)) {
		struct newest n = { .b = b, .d = d, .product = product };
		if (b->policy && ret->latest) {
			bool newest = !find_newest(&n, "latest") && !strcmp(n.version, ret->latest);
			if (!newest) {
				free(ret->latest);
				ret->latest = *n.version ? strdup(n.version) : NULL;
				own_description(b, d, ret);
			}
		}
		return 0;
	}
	if (r == 0)
		product_info_fini(ret);
	if (r == 0 || r == -ENOENT)
		return no_product(b, d, product, e);
	return err_set(e, r, "%s: its catalog cannot be read: %s", d->config->name, strerror(-r));
}

int browse_version(const struct browse *b, struct browse_domain *d, const struct address *a, struct version_info *ret, struct err *e)
{
	struct product_info p;
	struct newest n = { .b = b, .d = d, .product = a->product };
	int r = browse_product(b, d, a->product, &p, e);
	if (r)
		return r;
	r = b->policy ? find_newest(&n, a->version) : 0;
	if (!r)
		r = snapshot_version(d->snapshot, a->product, b->policy ? n.version : a->version, ret);
	if (r == -ENOENT && p.latest)
		err_set(e, r, "%s/%s/%s: no such version; the newest is %s", a->domain, a->product, a->version, p.latest);
	else if (r == -ENOENT)
		err_set(e, r, "%s/%s/%s: no such version; the product has none that is served", a->domain, a->product, a->version);
	else if (r)
		err_set(e, r, "%s: its catalog cannot be read: %s", d->config->name, strerror(-r));
	product_info_fini(&p);
	return r;
}

int browse_served(const char *domain, const char *product, const struct version_info *version, struct err *e)
{
	if (version->status != VERSION_WITHDRAWN)
		return 0;
	return err_set(e, -ENOENT, "%s/%s/%s: withdrawn: %s", domain, product, version->version,
		       version->withdrawn_reason ? version->withdrawn_reason : "no reason was given");
}

/* -- output -------------------------------------------------------------------------------- */

static bool incomplete; /* commands print from one thread */

void browse_print(struct buf *out)
{
	if (buf_check(out))
		incomplete = true;
	else
		fwrite(buf_text(out), 1, out->len, stdout);
	buf_clear(out);
}

bool browse_incomplete(void)
{
	return incomplete;
}

void browse_add_safe(struct buf *out, const char *text)
{
	char *safe = text_printable(text, strlen(text));
	buf_adds(out, safe ? safe : "?");
	free(safe);
}

void browse_add_titled(struct buf *out, int width, const char *name, const char *title)
{
	bool titled = title && *title;
	buf_addf(out, "%-*s", titled ? width : 0, name);
	if (titled) {
		buf_adds(out, "  ");
		browse_add_safe(out, title);
	}
	buf_addc(out, '\n');
}
