/* The versions of a mesh and their files, one after the other. */
#include "catalog/base/text.h"
#include "fs/scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct walk {
	struct scan *scan;
	struct address a;
	struct browse_domain *domain;
	const char *product;
	struct scan_version *version;
	int (*each)(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e);
	void *arg;
	struct err *e;
	int code; /* what `each` returned */
};

static bool covers(const char *path, const char *file)
{
	size_t n = strlen(path);
	return !n || (!strncmp(path, file, n) && (!file[n] || file[n] == '/'));
}

static int walk_file(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct walk *w = arg;
	if (entry->kind == ENTRY_FILE && covers(w->a.path, path))
		w->code = w->each(w->arg, w->version, entry, path, w->e);
	return w->code;
}

static int walk_version(void *arg, const struct version_info *v)
{
	struct walk *w = arg;
	if (w->a.version[0] && strcmp(w->a.version, v->version) != 0)
		return 0;
	char *address = text_format("%s/%s/%s", w->domain->config->name, w->product, v->version);
	int r = address ? scan_version(w->scan, address, &w->version, w->e) : err_set(w->e, -ENOMEM, "out of memory");
	free(address);
	if (r)
		return w->code = r;
	if (!w->version->manifest)
		return w->code = w->each(w->arg, w->version, NULL, NULL, w->e);
	r = manifest_walk(w->version->manifest, walk_file, w);
	if (r < 0 && !w->code)
		w->code = err_set(w->e, r, "%s: its manifest cannot be read: %s", w->version->address, strerror(-r));
	return w->code;
}

static int walk_product(void *arg, const struct product_info *p)
{
	struct walk *w = arg;
	w->product = p->name;
	return w->a.product[0] && strcmp(w->a.product, p->name) != 0 ? 0 : snapshot_versions(w->domain->snapshot, p->name, walk_version, w);
}

int scan_walk(struct scan *s, const char *address,
	      int (*each)(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e), void *arg, struct err *e)
{
	struct walk w = { .scan = s, .a = { .path = "" }, .each = each, .arg = arg, .e = e };
	struct browse *b = scan_browse(s);
	int r = address ? address_parse(address, &w.a, e) : 0;
	for (size_t i = 0; !r && i < b->count; i++) {
		w.domain = &b->domains[i];
		if ((address && strcmp(w.domain->config->name, w.a.domain) != 0) || !w.domain->snapshot)
			continue;
		r = snapshot_products(w.domain->snapshot, walk_product, &w);
		if (r < 0 && !w.code)
			err_set(e, r, "%s: its catalog cannot be read: %s", w.domain->config->name, strerror(-r));
	}
	return r;
}
