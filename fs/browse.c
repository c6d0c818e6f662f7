#include "fs/browse.h"

#include "catalog/base/log.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"

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
		r = transfer_start(NULL, &b.transfer, e);
	if (!r)
		r = open_domains(&b, domain, e);
	if (!r && b.count)
		r = refresh_all(&b, e);
	if (!r)
		r = report(&b, domain != NULL, e);
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
	transfer_stop(b->transfer);
	mesh_config_free(b->mesh);
	memset(b, 0, sizeof *b);
}

bool browse_sees(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version, const char *path)
{
	return !b->filter.may_see || b->filter.may_see(b->filter.arg, d, product, version, path);
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

/* Only what the caller may see is suggested. */
static int no_product(const struct browse *b, struct browse_domain *d, const char *product, struct err *e)
{
	struct near *n = calloc(1, sizeof *n);
	const char *near = NULL;
	if (n) {
		n->b = b;
		n->d = d;
		snapshot_products(d->snapshot, collect, n);
		near = text_nearest(product, n->list, n->count);
	}
	int r = near ? err_set(e, -ENOENT, "%s/%s: no such product (did you mean '%s'?)", d->config->name, product, near)
		     : err_set(e, -ENOENT, "%s/%s: no such product; 'meshfs ls %s' lists them", d->config->name, product, d->config->name);
	free(n);
	return r;
}

int browse_product(const struct browse *b, struct browse_domain *d, const char *product, struct product_info *ret, struct err *e)
{
	int r = snapshot_product(d->snapshot, product, ret);
	if (r == 0 && browse_sees(b, d, product, NULL, NULL))
		return 0;
	if (r == 0)
		product_info_fini(ret);
	if (r == 0 || r == -ENOENT)
		return no_product(b, d, product, e);
	return err_set(e, r, "%s: its catalog cannot be read: %s", d->config->name, strerror(-r));
}

int browse_version(const struct browse *b, struct browse_domain *d, const struct address *a, struct version_info *ret, struct err *e)
{
	struct product_info p;
	int r = browse_product(b, d, a->product, &p, e);
	if (r)
		return r;
	r = snapshot_version(d->snapshot, a->product, a->version, ret);
	if (r == 0 && !browse_sees(b, d, a->product, ret, NULL)) {
		version_info_fini(ret);
		r = -ENOENT;
	}
	if (r == -ENOENT && p.latest)
		err_set(e, r, "%s/%s/%s: no such version; the newest is %s", a->domain, a->product, a->version, p.latest);
	else if (r == -ENOENT)
		err_set(e, r, "%s/%s/%s: no such version; the product has none that is served", a->domain, a->product, a->version);
	else if (r)
		err_set(e, r, "%s: its catalog cannot be read: %s", d->config->name, strerror(-r));
	product_info_fini(&p);
	return r;
}

/* -- output -------------------------------------------------------------------------------- */

void browse_print(struct buf *out)
{
	fwrite(buf_text(out), 1, out->len, stdout);
	buf_clear(out);
}

void browse_add_safe(struct buf *out, const char *text)
{
	char *safe = text_printable(text, strlen(text));
	buf_adds(out, safe ? safe : "?");
	free(safe);
}
