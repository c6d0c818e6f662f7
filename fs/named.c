#include "fs/named.h"

#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/lineage_graph.h"
#include "catalog/lineage_query.h"
#include "catalog/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEAR_FILES_MAX 20000 /* looked at for a suggestion */

/* -- files ------------------------------------------------------------------------------------------- */

struct near_file {
	const struct browse *b;
	const char *word;
	char *best; /* or NULL */
	size_t seen;
	int code;
};

static int compare_file(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct near_file *n = arg;
	const char *names[] = { n->best ? n->best : "", path };
	if (entry->kind == ENTRY_FOLDER || text_nearest(n->word, names, 2) != path)
		return ++n->seen > NEAR_FILES_MAX;
	free(n->best);
	n->best = strdup(path);
	return !n->best || ++n->seen > NEAR_FILES_MAX;
}

static int no_file(const struct browse *b, struct manifest *m, const struct address *a, const char *version, struct err *e)
{
	struct near_file n = { .b = b, .word = a->path };
	if (!b->policy) /* else a suggestion might name what the caller may not see */
		manifest_walk(m, compare_file, &n);
	int r = n.best ? err_set(e, -ENOENT, "%s/%s/%s/%s: no such file (did you mean '%s'?)", a->domain, a->product, version, a->path, n.best)
		       : err_set(e, -ENOENT, "%s/%s/%s/%s: no such file; 'meshfs ls %s/%s/%s' lists them", a->domain, a->product, version, a->path, a->domain,
				 a->product, version);
	free(n.best);
	return r;
}

static int check_path(const struct browse *b, struct browse_domain *d, const struct address *a, const struct version_info *v, struct err *e)
{
	struct manifest *m = NULL;
	struct manifest_entry entry;
	if (domain_manifest(d->domain, a->product, v, &m, NULL))
		return 0; /* it is gone, which the answer tells: what was in it cannot be known */
	int r = manifest_resolve(m, a->path, &entry);
	if (!r && !browse_sees(b, d, a->product, v, a->path))
		r = -ENOENT;
	if (r == -ENOENT)
		no_file(b, m, a, v->version, e);
	else if (r)
		err_set(e, r, "%s/%s/%s: its manifest cannot be read: %s", a->domain, a->product, v->version, strerror(-r));
	manifest_unref(m);
	return r;
}

/* -- addresses ---------------------------------------------------------------------------------------- */

static struct browse_domain *domain_of(const struct browse *b, const char *name)
{
	for (size_t i = 0; i < b->count; i++)
		if (!strcmp(b->domains[i].config->name, name))
			return &b->domains[i];
	return NULL;
}

static int check_catalog(const struct browse *b, const struct address *a, struct err *e)
{
	const struct mesh_domain *config;
	struct product_info p;
	struct version_info v;
	int r = mesh_domain_get(b->mesh, a->domain, &config, e);
	if (r || !a->product[0])
		return r;
	struct browse_domain *d = domain_of(b, a->domain);
	if (!d || !d->snapshot)
		return err_set(e, d && d->why.code ? d->why.code : -EIO, "%s: its catalog was never reached from here, so that nobody can say what is in it", a->domain);
	r = browse_product(b, d, a->product, &p, e);
	if (r)
		return r;
	product_info_fini(&p);
	if (!a->version[0])
		return 0;
	r = browse_version(b, d, a, &v, e);
	if (r)
		return r;
	if (a->path[0])
		r = check_path(b, d, a, &v, e);
	version_info_fini(&v);
	return r;
}

int named_check(const struct browse *b, struct lineage *l, const char *address, struct err *e)
{
	struct address a;
	bool known = false;
	int r = address_parse(address, &a, e);
	if (!r)
		r = lineage_is_known(l, address, &known, e);
	return r || known ? r : check_catalog(b, &a, e);
}

int named_check_in(const struct invocation *inv, struct lineage *l, const char *address, struct err *e)
{
	struct browse b = { 0 };
	struct address a;
	bool known = false;
	int r = address_parse(address, &a, e);
	if (!r)
		r = lineage_is_known(l, address, &known, e);
	if (r || known)
		return r;
	r = a.product[0] ? browse_open(inv, a.domain, &b, e) : mesh_open(inv->mesh_path, &b.mesh, e);
	if (!r)
		r = check_catalog(&b, &a, e);
	browse_close(&b);
	return r;
}

int named_resolve(const struct invocation *inv, struct lineage *l, const char *what, char **ret, struct err *e)
{
	struct address a;
	struct err why = ERR_INIT, better = ERR_INIT;
	int r = lineage_resolve(l, what, ret, &why);
	if (r == -ENOENT && !address_parse(what, &a, NULL)) {
		char *product = text_format("%s/%s", a.domain, a.product);
		if (product && named_check_in(inv, l, product, &better) == -ENOENT)
			r = err_move(&why, &better);
		free(product);
	}
	return r ? err_move(e, &why) : 0;
}

/* -- what a graph starts from --------------------------------------------------------------------------- */

/* The word may be a run's or an output's as well: it is told of as an address only when it begins with a domain. */
static bool is_address(const struct invocation *inv, const char *what)
{
	struct address a;
	struct mesh_config *mesh = NULL;
	if (address_parse(what, &a, NULL) || !a.product[0] || mesh_open(inv->mesh_path, &mesh, NULL))
		return false;
	bool is = mesh_domain_find(mesh, a.domain) != NULL;
	mesh_config_free(mesh);
	return is;
}

/* A file that a run recorded, under another spelling of its name, or moved or copied since: then its content tells which it is. */
static int walk_file(struct lineage *l, const char *what, bool down, struct lineage_graph **ret, struct err *e)
{
	struct err why = ERR_INIT;
	struct digest d;
	struct stat st;
	int64_t size;
	char *path = io_canonical(what), hash[SHA256_HEX_SIZE];
	int r = path ? lineage_walk(l, path, down, ret, &why) : -ENOENT;
	free(path);
	int fd = r == -ENOENT ? open(what, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && !sha256_of_fd(fd, &d, &size)) {
		hex_format(d.bytes, sizeof d.bytes, hash);
		r = lineage_walk(l, hash, down, ret, &why);
		if (r == -ENOENT)
			r = err_set(&why, r, "%s: no run recorded a file of this content as its output (run --output); sha256 %s", what, hash);
		err_move(e, &why);
	}
	if (fd >= 0)
		close(fd);
	return r;
}

int named_walk(const struct invocation *inv, struct lineage *l, const char *what, bool down, struct lineage_graph **ret, struct err *e)
{
	struct lineage_graph *g = NULL;
	struct address a;
	struct err why = ERR_INIT;
	char *plain = NULL;
	int r = lineage_resolve(l, what, &plain, &why);
	if (!r)
		r = lineage_walk(l, plain, down, &g, &why);
	if (r == -ENOENT)
		r = walk_file(l, what, down, &g, &why);
	if (r == -ENOENT && is_address(inv, plain ? plain : what)) {
		struct err better = ERR_INIT;
		if (named_check_in(inv, l, plain ? plain : what, &better) == -ENOENT)
			r = err_move(&why, &better);
	}
	if (!r && g->nodes[0].kind == NODE_VERSION && !address_parse(plain, &a, NULL) && a.path[0])
		r = named_check_in(inv, l, plain, &why);
	free(plain);
	if (r) {
		lineage_graph_free(g);
		return err_move(e, &why);
	}
	*ret = g;
	return 0;
}
