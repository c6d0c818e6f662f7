#include "catalog/gc.h"

#include "catalog/base/clock.h"
#include "catalog/base/map.h"
#include "catalog/heads.h"
#include "catalog/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object {
	uint64_t size;
	int64_t modified_ns;
	char key[];
};

struct gc {
	struct domain *domain;
	const struct gc_options *options;
	struct gc_report *report;
	int64_t now_ns;
	struct map *objects;   /* key → struct object, owned */
	struct map *needed;    /* keys; rebuilt for each base */
	struct map *condemned; /* keys that are condemned in the base */
	struct snapshot *base;
	struct err *e;
};

/* -- what is there -------------------------------------------------------------------------- */

static int see_object(void *arg, const char *key, const struct object_info *info)
{
	struct gc *g = arg;
	const size_t len = strlen(key) + 1;
	struct object *o = malloc(sizeof *o + len);
	void *old = NULL;
	if (!o)
		return -ENOMEM;
	o->size = info->size;
	o->modified_ns = info->modified_ns;
	memcpy(o->key, key, len);
	if (map_set(g->objects, key, len - 1, o, &old)) {
		free(o);
		return -ENOMEM;
	}
	free(old);
	g->report->objects++;
	g->report->bytes += info->size;
	return 0;
}

static int see_all(struct gc *g)
{
	static const char *const folders[] = { ".mesh/packs/", ".mesh/manifests/", ".mesh/snapshots/", ".mesh/views/", ".mesh/rows/" };
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		int r = store_list(domain_store(g->domain), folders[i], see_object, g, g->e);
		if (r)
			return r == -ENOMEM ? err_set(g->e, r, "no memory") : r;
	}
	return 0;
}

/* -- what is needed ------------------------------------------------------------------------- */

static int need(struct gc *g, const char *key)
{
	return map_set(g->needed, key, strlen(key), g, NULL);
}

static int need_pack(void *arg, uint32_t number, const struct manifest_pack *pack)
{
	struct gc *g = arg;
	(void)number;
	return pack->in_place ? 0 : need(g, pack->key);
}

struct product {
	struct gc *g;
	const char *name;
};

static int need_version(void *arg, const struct version_info *v)
{
	struct product *p = arg;
	struct gc *g = p->g;
	struct manifest *m;
	char key[HEADS_KEY_SIZE];
	if (v->status != VERSION_ACTIVE)
		return 0;
	if (g->options->interrupted && atomic_load(g->options->interrupted))
		return err_set(g->e, -EINTR, "interrupted; nothing was collected");
	/* A manifest that cannot be read stops everything: what it needs is unknown. */
	int r = domain_manifest(g->domain, p->name, v, &m, g->e);
	if (r)
		return r;
	manifest_key(&v->manifest, key);
	r = need(g, key);
	if (!r)
		r = manifest_packs(m, need_pack, g);
	manifest_unref(m);
	return r;
}

static int need_product(void *arg, const struct product_info *info)
{
	struct gc *g = arg;
	struct product p = { g, info->name };
	return snapshot_versions(g->base, info->name, need_version, &p);
}

/* The snapshots of the newest generations: readers may still be at them. */
static int need_snapshots(struct gc *g)
{
	const uint64_t newest = snapshot_generation(g->base);
	char key[HEADS_KEY_SIZE];
	for (uint64_t n = newest; n > 0 && n + GC_GENERATIONS > newest; n--) {
		struct head h;
		int r = heads_read(domain_store(g->domain), domain_name(g->domain), n, &h, g->e);
		if (r)
			return r;
		snapshot_key(&h.snapshot, key);
		r = need(g, key);
		if (r)
			return r;
	}
	return 0;
}

static int list_condemned(void *arg, const struct condemned *c)
{
	struct gc *g = arg;
	return map_set(g->condemned, c->key, strlen(c->key), g, NULL);
}

static int gather(struct gc *g, struct snapshot *base)
{
	map_free(g->needed, NULL);
	map_free(g->condemned, NULL);
	g->needed = map_new();
	g->condemned = map_new();
	g->base = base;
	if (!g->needed || !g->condemned)
		return err_set(g->e, -ENOMEM, "no memory");
	int r = snapshot_products(base, need_product, g);
	if (!r)
		r = need_snapshots(g);
	if (!r)
		r = snapshot_condemned(base, list_condemned, g);
	return r && g->e && !g->e->code ? err_set(g->e, r, "%s: cannot read the catalog", domain_name(g->domain)) : r;
}

/* Indexes belong to a manifest: ".mesh/views/<manifest>/…", ".mesh/rows/<manifest>". */
static bool is_needed(const struct gc *g, const char *key)
{
	static const char *const folders[] = { ".mesh/views/", ".mesh/rows/" };
	char manifest[HEADS_KEY_SIZE];
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		const size_t len = strlen(folders[i]);
		if (strncmp(key, folders[i], len) != 0)
			continue;
		snprintf(manifest, sizeof manifest, ".mesh/manifests/%.*s", (int)strcspn(key + len, "/") & 0x7f, key + len);
		return map_gets(g->needed, manifest) != NULL;
	}
	return map_gets(g->needed, key) != NULL;
}

static bool is_garbage(const struct gc *g, const struct object *o)
{
	return !is_needed(g, o->key) && !map_gets(g->condemned, o->key) && g->now_ns - o->modified_ns >= g->options->grace_ns;
}

/* -- condemning ----------------------------------------------------------------------------- */

static void tell(const struct gc *g, enum gc_action action, const struct object *o)
{
	if (g->options->each)
		g->options->each(g->options->arg, action, o->key, o->size);
}

static int condemn_all(struct gc *g, struct snapshot_edit *x)
{
	const void *key;
	size_t len;
	void *value;
	g->report->condemned = g->report->condemned_bytes = 0;
	for (size_t i = 0; map_next(g->objects, &i, &key, &len, &value);) {
		struct object *o = value;
		if (!is_garbage(g, o))
			continue;
		int r = x ? snapshot_edit_condemn(x, o->key, g->now_ns, g->e) : 0;
		if (r)
			return r;
		g->report->condemned++;
		g->report->condemned_bytes += o->size;
	}
	return 0;
}

struct forget {
	struct gc *g;
	struct snapshot_edit *x;
	uint64_t count;
};

/* Keys that were deleted long ago need not be listed any more: no publication runs that long. */
static int forget_old(void *arg, const struct condemned *c)
{
	struct forget *f = arg;
	struct gc *g = f->g;
	if (map_gets(g->objects, c->key) || g->now_ns - c->since_ns < g->options->grace_ns + GC_TOMBSTONE_NS)
		return 0;
	f->count++;
	return snapshot_edit_pardon(f->x, c->key, g->e);
}

static int edit(void *arg, struct snapshot_edit *x, struct err *e)
{
	struct gc *g = arg;
	struct forget f = { g, x, 0 };
	struct snapshot *base = snapshot_edit_base(x);
	g->e = e;
	if (!base)
		return 1;
	int r = gather(g, base);
	if (!r)
		r = condemn_all(g, x);
	if (!r)
		r = snapshot_condemned(base, forget_old, &f);
	return r ? r : g->report->condemned || f.count ? 0 : 1;
}

/* -- deleting ------------------------------------------------------------------------------- */

static int delete_condemned(void *arg, const struct condemned *c)
{
	struct gc *g = arg;
	const struct object *o = map_gets(g->objects, c->key);
	if (!o)
		return 0;
	if (is_needed(g, c->key)) /* cannot be: no commit rests on what is condemned */
		return err_set(g->e, -EBADMSG, "%s: is condemned and needed at once; nothing more was deleted", c->key);
	if (g->now_ns - c->since_ns < g->options->grace_ns) {
		g->report->waiting++;
		g->report->waiting_bytes += o->size;
		return 0;
	}
	if (g->options->interrupted && atomic_load(g->options->interrupted))
		return err_set(g->e, -EINTR, "interrupted; the rest is deleted by the next gc");
	int r = g->options->dry_run ? 0 : store_delete(domain_store(g->domain), c->key, g->e);
	if (!r) {
		g->report->deleted++;
		g->report->deleted_bytes += o->size;
		tell(g, GC_DELETED, o);
	}
	return r;
}

/* Those that were condemned just now are told once the generation stands. */
static void tell_condemned(struct gc *g, struct map *before)
{
	const void *key;
	size_t len;
	void *value;
	for (size_t i = 0; map_next(g->condemned, &i, &key, &len, &value);) {
		const struct object *o = map_get(g->objects, key, len);
		if (o && !(before && map_get(before, key, len)))
			tell(g, GC_CONDEMNED, o);
	}
}

static int dry_run(struct gc *g, struct snapshot *s)
{
	const void *key;
	size_t len;
	void *value;
	int r = gather(g, s);
	if (!r)
		r = condemn_all(g, NULL);
	for (size_t i = 0; !r && map_next(g->objects, &i, &key, &len, &value);) {
		if (is_garbage(g, value))
			tell(g, GC_CONDEMNED, value);
	}
	return r ? r : snapshot_condemned(s, delete_condemned, g);
}

static int collect(struct gc *g, struct err *e)
{
	struct snapshot *s = NULL;
	struct map *before = NULL;
	int r = domain_commit(g->domain, edit, g, &g->report->generation, e);
	g->e = e;
	if (!r && !(s = domain_snapshot(g->domain)))
		r = err_set(e, -EIO, "%s: its catalog is gone", domain_name(g->domain));
	if (!r) {
		before = g->condemned;
		g->condemned = NULL;
		/* The generation that stands now, ours or a later one. */
		r = gather(g, s);
	}
	if (!r) {
		tell_condemned(g, before);
		r = snapshot_condemned(s, delete_condemned, g);
	}
	map_free(before, NULL);
	snapshot_unref(s);
	return r;
}

int gc_run(struct domain *d, const struct gc_options *o, struct gc_report *ret, struct err *e)
{
	struct gc g = { .domain = d, .options = o, .report = ret, .now_ns = clock_now_ns(), .objects = map_new(), .e = e };
	memset(ret, 0, sizeof *ret);
	int r = g.objects ? domain_refresh(d, NULL, e) : err_set(e, -ENOMEM, "no memory");
	if (!r && !o->dry_run && !store_writable(domain_store(d)))
		r = err_set(e, -EROFS, "%s: its store %s is read only; collect where its owner does", domain_name(d), store_url(domain_store(d)));
	struct snapshot *s = r ? NULL : domain_snapshot(d);
	if (!r && !s)
		r = err_set(e, -ENOENT, "%s: there is no catalog in %s", domain_name(d), store_url(domain_store(d)));
	if (!r)
		r = see_all(&g);
	if (!r && o->dry_run) {
		ret->generation = snapshot_generation(s);
		r = dry_run(&g, s);
	} else if (!r) {
		r = collect(&g, e);
	}
	snapshot_unref(s);
	map_free(g.objects, free);
	map_free(g.needed, NULL);
	map_free(g.condemned, NULL);
	return r;
}
