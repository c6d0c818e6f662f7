/* ls: domains, products, versions, files. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "fs/browse.h"
#include "fs/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_BYTES (1u << 20)

struct listing {
	struct browse *b;
	struct browse_domain *d; /* the one being listed */
	const char *product;
	const struct version_info *version;
	struct manifest *manifest;
	bool json, recursive;
	const char *below; /* with recursive: the folder, "" for the root */
	struct buf out;
	int failed; /* the first error inside a callback */
};

/* One line.  `name` is the last part of the address; its bytes are the world's. */
static void print(struct listing *l, const char *prefix, const char *name, size_t name_len, const char *kind, int64_t size, int64_t modified_ns,
		  const char *status)
{
	struct buf *out = &l->out;
	if (l->json) {
		struct json j;
		struct buf address = BUF_INIT;
		buf_adds(&address, prefix);
		buf_add(&address, name, name_len);
		json_start(&j, out);
		json_open(&j, '{');
		json_key(&j, "address");
		json_text_n(&j, buf_text(&address), address.len);
		json_field_text(&j, "kind", kind);
		json_key(&j, "size");
		if (size < 0)
			json_null(&j);
		else
			json_int(&j, size);
		json_field_time(&j, "modified", modified_ns);
		json_field_text(&j, "status", status);
		json_close(&j, '}');
		buf_free(&address);
	} else {
		char size_text[TEXT_SIZE_MAX] = "-", when[CLOCK_TEXT_MAX] = "-";
		char *safe = text_printable(name, name_len);
		if (size >= 0)
			text_size((uint64_t)size, size_text);
		if (modified_ns)
			clock_format_local(modified_ns, when);
		buf_addf(out, "%-8s %11s  %-16s  %-10s  %s\n", kind, size_text, when, status ? status : "", safe ? safe : "?");
		free(safe);
	}
	if (l->json)
		buf_addc(out, '\n');
	if (out->len > FLUSH_BYTES)
		browse_print(out);
}

/* -- domains and products ------------------------------------------------------------------ */


static int list_domains(struct listing *l)
{
	for (size_t i = 0; i < l->b->count; i++) {
		struct browse_domain *d = &l->b->domains[i];
		if (!browse_sees(l->b, d, NULL, NULL, NULL))
			continue;
		print(l, "", d->config->name, strlen(d->config->name), "domain", -1, d->snapshot ? snapshot_time_ns(d->snapshot) : 0,
		      d->reached ? "ok" : d->snapshot ? "unreachable" : "never reached");
	}
	return 0;
}

/* How many bytes a version has is only for who sees all of them. */
static int64_t shown_size(const struct listing *l, const char *product, const struct version_info *v)
{
	return browse_outcome(l->b, l->d, product, v, NULL) == OUTCOME_ALLOW ? (int64_t)v->bytes : -1;
}

/* A product's size and time are its newest version's. */
static int list_product(void *arg, const struct product_info *p)
{
	struct listing *l = arg;
	struct version_info v;
	int64_t size = -1, when = 0;
	char prefix[NAME_SIZE + 1];
	if (!browse_sees(l->b, l->d, p->name, NULL, NULL))
		return 0;
	struct address a = { .version = "latest" };
	memcpy(a.domain, l->d->config->name, strlen(l->d->config->name) + 1);
	memcpy(a.product, p->name, strlen(p->name) + 1);
	if (p->latest && !browse_version(l->b, l->d, &a, &v, NULL)) {
		size = shown_size(l, p->name, &v);
		when = v.published_ns;
		version_info_fini(&v);
	}
	snprintf(prefix, sizeof prefix, "%s/", l->d->config->name);
	print(l, prefix, p->name, strlen(p->name), "product", size, when, !p->latest ? "withdrawn" : p->status ? p->status : "active");
	return 0;
}

static int list_version(void *arg, const struct version_info *v)
{
	struct listing *l = arg;
	char prefix[2 * NAME_SIZE + 2];
	if (!browse_sees(l->b, l->d, l->product, v, NULL))
		return 0;
	snprintf(prefix, sizeof prefix, "%s/%s/", l->d->config->name, l->product);
	print(l, prefix, v->version, strlen(v->version), "version", shown_size(l, l->product, v), v->published_ns,
	      v->status == VERSION_WITHDRAWN ? "withdrawn" : v->failures_reason ? "failing" : "active");
	return 0;
}

/* -- files --------------------------------------------------------------------------------- */

static const char *kind_of(const struct manifest_entry *entry)
{
	return entry->kind == ENTRY_FOLDER ? "folder" : entry->kind == ENTRY_SYMLINK ? "symlink" : "file";
}

static int list_entry(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct listing *l = arg;
	char prefix[2 * NAME_SIZE + VERSION_SIZE + 4];
	enum outcome outcome = browse_outcome(l->b, l->d, l->product, l->version, path);
	if (entry->row == MANIFEST_ROOT || outcome == OUTCOME_HIDE)
		return 0;
	/* As a mount shows it: a denied file is empty; the size of a view is known to who has computed it. */
	int64_t size = entry->kind != ENTRY_FILE || outcome == OUTCOME_VIEW ? -1 : outcome == OUTCOME_DENY ? 0 : (int64_t)entry->size;
	snprintf(prefix, sizeof prefix, "%s/%s/%s/", l->d->config->name, l->product, l->version->version);
	print(l, prefix, path, strlen(path), kind_of(entry), size, outcome == OUTCOME_ALLOW ? entry->mtime_ns : l->version->published_ns,
	      l->version->status == VERSION_WITHDRAWN ? "withdrawn" : "active");
	return 0;
}

/* With -R: what lies in the folder, at any depth. */
static int list_deep(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct listing *l = arg;
	size_t len = strlen(l->below);
	if (len && (strncmp(path, l->below, len) != 0 || path[len] != '/'))
		return 0;
	return list_entry(arg, entry, path);
}

struct folder {
	struct listing *l;
	const char *path; /* of the folder within the version, "" for the root */
};

static int list_child(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len)
{
	struct folder *f = arg;
	struct buf path = BUF_INIT;
	size_t len = strlen(f->path);
	while (len && f->path[len - 1] == '/')
		len--;
	buf_add(&path, f->path, len);
	if (len)
		buf_addc(&path, '/');
	buf_add(&path, name, name_len);
	if (buf_check(&path))
		f->l->failed = -ENOMEM;
	else
		list_entry(f->l, entry, buf_text(&path));
	buf_free(&path);
	return f->l->failed;
}

static int list_below(struct listing *l, const char *path, struct err *e)
{
	struct manifest_entry entry;
	struct folder folder = { l, path };
	struct buf plain = BUF_INIT; /* manifest paths end without a slash */
	buf_adds(&plain, path);
	while (plain.len && plain.data[plain.len - 1] == '/')
		plain.data[--plain.len] = '\0';
	int r = manifest_resolve(l->manifest, buf_text(&plain), &entry);
	if (r == 0 && !browse_sees(l->b, l->d, l->product, l->version, buf_text(&plain)))
		r = -ENOENT;
	if (r == 0 && entry.kind != ENTRY_FOLDER) {
		r = list_entry(l, &entry, buf_text(&plain));
	} else if (r == 0 && l->recursive) {
		l->below = buf_text(&plain);
		r = manifest_walk(l->manifest, list_deep, l);
	} else if (r == 0) {
		r = manifest_list(l->manifest, entry.row, 0, list_child, &folder);
	}
	buf_free(&plain);
	if (!r)
		r = l->failed;
	if (r == -ENOENT)
		return err_set(e, r, "%s/%s/%s/%s: no such file", l->d->config->name, l->product, l->version->version, path);
	return r < 0 ? err_set(e, r, "%s/%s/%s: its manifest cannot be read: %s", l->d->config->name, l->product, l->version->version,
			       strerror(-r))
		     : 0;
}

static int list_files(struct listing *l, const struct address *a, struct err *e)
{
	struct version_info v;
	int r = browse_version(l->b, l->d, a, &v, e);
	if (r)
		return r;
	r = browse_served(a->domain, a->product, &v, e);
	if (!r)
		r = domain_manifest(l->d->domain, a->product, &v, &l->manifest, e);
	if (!r) {
		l->product = a->product;
		l->version = &v;
		r = list_below(l, a->path, e);
	}
	manifest_unref(l->manifest);
	l->manifest = NULL;
	l->version = NULL;
	version_info_fini(&v);
	return r;
}

/* -- the command --------------------------------------------------------------------------- */

static int list_versions(struct listing *l, const char *product, struct err *e)
{
	struct product_info p;
	int r = browse_product(l->b, l->d, product, &p, e);
	if (r)
		return r;
	product_info_fini(&p);
	l->product = product;
	r = snapshot_versions(l->d->snapshot, product, list_version, l);
	return r ? err_set(e, r, "%s: its catalog cannot be read: %s", l->d->config->name, strerror(-r)) : 0;
}

static int list(struct listing *l, const struct address *a, struct err *e)
{
	if (!a)
		return list_domains(l);
	l->d = &l->b->domains[0];
	if (*a->version)
		return list_files(l, a, e);
	if (*a->product)
		return list_versions(l, a->product, e);
	int r = snapshot_products(l->d->snapshot, list_product, l);
	return r ? err_set(e, r, "%s: its catalog cannot be read: %s", l->d->config->name, strerror(-r)) : 0;
}

int cmd_ls(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	bool json = false, recursive = false;
	const struct option_spec specs[] = {
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: address kind size modified status", &json },
		{ "--recursive", 'R', OPTION_FLAG, NULL, "every file of a version, in folders too", &recursive },
	};
	struct address a;
	struct browse b;
	int words;
	(void)ret_status;
	int r = options_parse("ls [ADDRESS] [--json] [-R]",
			      "Lists the domains, a domain's products, a product's versions (newest first), or a version's files.", specs, 2, false, argc,
			      argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words > 1)
		return options_wrong(e, "ls", "ls wants one address");
	const char *text = words && strspn(argv[0], "/") != strlen(argv[0]) ? argv[0] : NULL;
	if (text && (r = address_parse(text, &a, e)))
		return r;
	r = browse_open(inv, text ? a.domain : NULL, &b, e);
	if (r)
		return r;
	struct listing l = { .b = &b, .json = json, .recursive = recursive };
	r = list(&l, text ? &a : NULL, e);
	browse_print(&l.out);
	buf_free(&l.out);
	browse_close(&b);
	return r;
}
