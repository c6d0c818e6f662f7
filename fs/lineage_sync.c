#include "fs/lineage_sync.h"

#include "catalog/base/log.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/domain.h"
#include "catalog/lineage.h"
#include "catalog/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct sync {
	struct lineage *l;
	struct snapshot *snapshot;
	const char *domain, *product;
	struct err *e;
};

/* `manifest` holds what the answer points to. */
static struct lineage_publication publication_of(const char *address, const struct version_info *v, char manifest[SHA256_HEX_SIZE])
{
	hex_format(v->manifest.bytes, sizeof v->manifest.bytes, manifest);
	return (struct lineage_publication){ .address = address, .run = v->run, .manifest = manifest, .publisher = v->publisher,
					     .published_ns = v->published_ns, .withdrawn = v->status == VERSION_WITHDRAWN };
}

static int sync_version(void *arg, const struct version_info *v)
{
	struct sync *s = arg;
	char manifest[SHA256_HEX_SIZE];
	char *address = text_format("%s/%s/%s", s->domain, s->product, v->version);
	struct lineage_publication p = publication_of(address, v, manifest);
	int r = address ? lineage_publication_set(s->l, &p, s->e) : err_set(s->e, -ENOMEM, "no memory for an address");
	free(address);
	return r;
}

static int sync_product(void *arg, const struct product_info *p)
{
	struct sync *s = arg;
	s->product = p->name;
	return snapshot_versions(s->snapshot, p->name, sync_version, s);
}

static int sync_snapshot(struct lineage *l, const char *domain, struct snapshot *snapshot, struct err *e)
{
	struct sync s = { l, snapshot, domain, NULL, e };
	int64_t seen = -1, generation = (int64_t)snapshot_generation(snapshot);
	int r = lineage_domain_generation(l, domain, &seen, e);
	if (r || seen == generation)
		return r;
	r = lineage_begin(l, e);
	if (!r)
		r = snapshot_products(snapshot, sync_product, &s);
	if (!r)
		r = lineage_domain_seen(l, domain, generation, e);
	if (!r)
		r = lineage_commit(l, e);
	if (r)
		lineage_rollback(l);
	if (r && e && !e->code)
		err_set(e, r, "%s: its catalog cannot be read", domain);
	return r;
}

/* -- is what the database says of publications what the catalogs say? ------------------------- */

struct comparison {
	struct lineage *l;
	struct snapshot *snapshot;
	const char *domain, *product;
	struct map *known; /* addresses that the catalog has */
	lineage_found *found;
	void *arg;
	struct err *e;
};

static void publication_changed(const struct comparison *c, const char *address, const char *what)
{
	char text[400];
	snprintf(text, sizeof text, "publication %.200s: %s the catalog of %s", address, what, c->domain);
	c->found(c->arg, LINEAGE_CHANGED, text);
}

static int compare_publication(struct comparison *c, const struct lineage_publication *p)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(c->l),
			  "SELECT p.run IS ?2 AND p.published_ns = ?3 AND p.manifest = ?4 AND p.publisher IS ?5 AND p.withdrawn = ?6 FROM versions v"
			  " JOIN publications p ON p.version = v.id WHERE v.address = ?1",
			  &s, c->e);
	if (r)
		return r;
	db_bind_text(s, 1, p->address);
	db_bind_text(s, 2, p->run);
	db_bind_int(s, 3, p->published_ns);
	db_bind_text(s, 4, p->manifest);
	db_bind_text(s, 5, p->publisher);
	db_bind_int(s, 6, p->withdrawn);
	r = db_step(s, c->e);
	if (r == 0)
		publication_changed(c, p->address, "it is gone, and stands in");
	else if (r == DB_ROW && !db_int(s, 0))
		publication_changed(c, p->address, "it is not as in");
	db_reset(s);
	return r < 0 ? r : 0;
}

static int compare_version(void *arg, const struct version_info *v)
{
	struct comparison *c = arg;
	char manifest[SHA256_HEX_SIZE];
	char *address = text_format("%s/%s/%s", c->domain, c->product, v->version);
	if (!address)
		return err_set(c->e, -ENOMEM, "no memory for an address");
	struct lineage_publication p = publication_of(address, v, manifest);
	int r = compare_publication(c, &p);
	if (!r && map_sets(c->known, address, c))
		r = err_set(c->e, -ENOMEM, "no memory for an address");
	free(address);
	return r;
}

static int compare_product(void *arg, const struct product_info *p)
{
	struct comparison *c = arg;
	c->product = p->name;
	return snapshot_versions(c->snapshot, p->name, compare_version, c);
}

static int compare_rest(struct comparison *c)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(c->l),
			  "SELECT v.address FROM publications p JOIN versions v ON v.id = p.version WHERE substr(v.address, 1, length(?1) + 1) = ?1 || '/'",
			  &s, c->e);
	if (r)
		return r;
	db_bind_text(s, 1, c->domain);
	while ((r = db_step(s, c->e)) == DB_ROW)
		if (db_text(s, 0) && !map_gets(c->known, db_text(s, 0)))
			publication_changed(c, db_text(s, 0), "it does not stand in");
	db_reset(s);
	return r;
}

static int compare_snapshot(struct lineage *l, const char *domain, struct snapshot *snapshot, lineage_found *found, void *arg, struct err *e)
{
	struct comparison c = { .l = l, .snapshot = snapshot, .domain = domain, .known = map_new(), .found = found, .arg = arg, .e = e };
	int r = c.known ? snapshot_products(snapshot, compare_product, &c) : err_set(e, -ENOMEM, "no memory for the publications of %s", domain);
	if (!r)
		r = compare_rest(&c);
	map_free(c.known, NULL);
	if (r && e && !e->code)
		err_set(e, r, "%s: its catalog cannot be read", domain);
	return r;
}

/* -- domains ---------------------------------------------------------------------------------- */

/* `found` NULL: only brings over what is new. */
static int sync_domain(struct lineage *l, const struct mesh_config *mesh, const struct mesh_domain *config, struct transfer *t, lineage_found *found,
		       void *arg, struct err *e)
{
	struct domain *d;
	struct err why = ERR_INIT;
	int r = domain_open(mesh, config, t, &d, e);
	if (r)
		return r;
	if (domain_refresh(d, NULL, &why)) {
		log_warn("%s; its newest publications may be missing", why.text);
		if (found)
			found(arg, LINEAGE_NOTE, why.text);
	}
	struct snapshot *snapshot = domain_snapshot(d);
	if (snapshot)
		r = sync_snapshot(l, config->name, snapshot, e);
	if (snapshot && !r && found)
		r = compare_snapshot(l, config->name, snapshot, found, arg, e);
	snapshot_unref(snapshot);
	domain_free(d);
	return r;
}

static int sync_all(struct lineage *l, const struct mesh_config *mesh, lineage_found *found, void *arg, struct err *e)
{
	struct transfer_config config = { .connect_timeout_ms = 3000, .deadline_ms = 10000, .max_retries = 1 };
	struct transfer *t;
	int r = transfer_start(&config, &t, e);
	if (r)
		return r;
	for (size_t i = 0; i < mesh->domain_count && !r; i++)
		r = sync_domain(l, mesh, &mesh->domains[i], t, found, arg, e);
	transfer_stop(t);
	return r;
}

int lineage_sync(struct lineage *l, const struct mesh_config *mesh, struct err *e)
{
	return sync_all(l, mesh, NULL, NULL, e);
}

int lineage_sync_check(struct lineage *l, const struct mesh_config *mesh, lineage_found *found, void *arg, struct err *e)
{
	return sync_all(l, mesh, found, arg, e);
}
