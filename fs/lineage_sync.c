#include "fs/lineage_sync.h"

#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/domain.h"
#include "catalog/lineage.h"
#include "catalog/store/store.h"

#include <errno.h>
#include <stdlib.h>

struct sync {
	struct lineage *l;
	struct snapshot *snapshot;
	const char *domain, *product;
	struct err *e;
};

static int sync_version(void *arg, const struct version_info *v)
{
	struct sync *s = arg;
	char manifest[SHA256_HEX_SIZE];
	hex_format(v->manifest.bytes, sizeof v->manifest.bytes, manifest);
	char *address = text_format("%s/%s/%s", s->domain, s->product, v->version);
	struct lineage_publication p = { .address = address, .run = v->run, .manifest = manifest, .publisher = v->publisher,
					 .published_ns = v->published_ns, .withdrawn = v->status == VERSION_WITHDRAWN };
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

static int sync_domain(struct lineage *l, const struct mesh_config *mesh, const struct mesh_domain *config, struct transfer *t, struct err *e)
{
	struct domain *d;
	struct err why = ERR_INIT;
	int r = domain_open(mesh, config, t, &d, e);
	if (r)
		return r;
	if (domain_refresh(d, NULL, &why))
		log_warn("%s; its newest publications may be missing", why.text);
	struct snapshot *snapshot = domain_snapshot(d);
	if (snapshot)
		r = sync_snapshot(l, config->name, snapshot, e);
	snapshot_unref(snapshot);
	domain_free(d);
	return r;
}

int lineage_sync(struct lineage *l, const struct mesh_config *mesh, struct err *e)
{
	struct transfer_config config = { .connect_timeout_ms = 3000, .deadline_ms = 10000, .max_retries = 1 };
	struct transfer *t;
	int r = transfer_start(&config, &t, e);
	if (r)
		return r;
	for (size_t i = 0; i < mesh->domain_count && !r; i++)
		r = sync_domain(l, mesh, &mesh->domains[i], t, e);
	transfer_stop(t);
	return r;
}
