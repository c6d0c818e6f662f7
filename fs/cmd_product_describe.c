/* product describe: descriptions of a domain's products (ODPS), kept in its catalog. */
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/odps.h"
#include "catalog/snapshot.h"
#include "fs/browse.h"
#include "fs/cmd_product.h"
#include "fs/domain_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct description {
	struct buf text;
	struct odps *odps;
};

struct describing {
	struct description *items;
	size_t count;
	struct option_list removed;
	const char *print;
	bool json;
};

static int read_files(struct describing *d, char **paths, int count, struct err *e)
{
	d->items = calloc(count ? (size_t)count : 1, sizeof *d->items);
	if (!d->items)
		return err_set(e, -ENOMEM, "out of memory");
	for (int i = 0; i < count; i++) {
		struct description *one = &d->items[d->count++];
		int r = io_read_file(paths[i], DESCRIPTION_BYTES_MAX, &one->text, e);
		if (!r)
			r = odps_parse(paths[i], buf_text(&one->text), one->text.len, &one->odps, e);
		for (size_t k = 0; !r && k + 1 < d->count; k++)
			if (!strcmp(odps_id(d->items[k].odps), odps_id(one->odps)))
				r = options_wrong(e, "product", "%s and another file have the same id", paths[i]);
		if (r)
			return r;
	}
	return 0;
}

struct comparison {
	const struct description *wanted;
	bool same;
};

static int compare(void *arg, const char *id, const char *text, size_t len)
{
	struct comparison *c = arg;
	if (!strcmp(id, odps_id(c->wanted->odps)))
		c->same = len == c->wanted->text.len && !memcmp(text, c->wanted->text.data, len);
	return 0;
}

static int edit(void *arg, struct snapshot_edit *x, struct err *e)
{
	struct describing *d = arg;
	struct snapshot *base = snapshot_edit_base(x);
	bool changed = d->removed.count > 0;
	int r = 0;
	for (size_t i = 0; i < d->count && !r; i++) {
		struct comparison c = { &d->items[i], false };
		if (base)
			r = snapshot_descriptions(base, compare, &c);
		if (r || c.same)
			continue;
		changed = true;
		r = snapshot_edit_description(x, odps_id(c.wanted->odps), buf_text(&c.wanted->text), c.wanted->text.len, e);
	}
	for (size_t i = 0; i < d->removed.count && !r; i++)
		r = snapshot_edit_description(x, d->removed.items[i], NULL, 0, e);
	return r ? r : changed ? 0 : 1;
}

/* -- which product is behind which port -------------------------------------------------------------- */

struct linking {
	struct snapshot *snapshot;
	const struct odps *odps;
	const struct odps_port *port;
	char product[NAME_SIZE];
};

static int link_product(void *arg, const struct product_info *p)
{
	struct linking *l = arg;
	struct version_info v;
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	if (snapshot_version(l->snapshot, p->name, "latest", &v))
		return 0;
	if (!snapshot_contract(l->snapshot, &v.contract, &text) && !contract_parse(p->name, buf_text(&text), text.len, &c, NULL) &&
	    odps_port_of(l->odps, c) == l->port)
		snprintf(l->product, sizeof l->product, "%s", p->name);
	contract_unref(c);
	buf_free(&text);
	version_info_fini(&v);
	return *l->product != '\0';
}

static void print_links(const char *domain, struct snapshot *s, const struct odps *p, bool as_json, struct json *j, struct buf *out)
{
	const struct odps_port *ports;
	size_t count = odps_outputs(p, &ports);
	for (size_t i = 0; i < count; i++) {
		struct linking l = { s, p, &ports[i], "" };
		snapshot_products(s, link_product, &l);
		if (as_json) {
			json_open(j, '{');
			json_field_text(j, "name", ports[i].name);
			json_field_text(j, "version", ports[i].version);
			json_field_text(j, "product", *l.product ? l.product : NULL);
			json_close(j, '}');
			continue;
		}
		buf_adds(out, "  ");
		browse_add_safe(out, ports[i].name);
		buf_addf(out, " %s: ", ports[i].version ? ports[i].version : "");
		if (*l.product)
			buf_addf(out, "%s/%s\n", domain, l.product);
		else
			buf_adds(out, "no product here has a contract with this id\n");
	}
}

static void print_result(const struct describing *d, const char *domain, struct snapshot *s, uint64_t generation, bool unchanged)
{
	struct buf out = BUF_INIT;
	struct json j;
	for (size_t i = 0; i < d->count; i++) {
		const struct odps *p = d->items[i].odps;
		json_start(&j, &out);
		if (d->json) {
			json_open(&j, '{');
			json_field_text(&j, "id", odps_id(p));
			json_field_text(&j, "outcome", unchanged ? "unchanged" : "described");
			json_field_int(&j, "generation", (int64_t)generation);
			json_key(&j, "output_ports");
			json_open(&j, '[');
		} else {
			browse_add_safe(&out, odps_name(p) ? odps_name(p) : odps_id(p));
			buf_addf(&out, " %s; its output ports:\n", unchanged ? "was described so already" : "is described");
		}
		print_links(domain, s, p, d->json, &j, &out);
		if (d->json) {
			json_close(&j, ']');
			json_close(&j, '}');
			buf_addc(&out, '\n');
		}
		browse_print(&out);
	}
	for (size_t i = 0; i < d->removed.count && !d->json; i++)
		printf("%s: the description %s is removed\n", domain, d->removed.items[i]);
	buf_free(&out);
}

/* -- the command --------------------------------------------------------------------------------------- */

struct printing {
	const char *id;
	bool found;
};

static int print_text(void *arg, const char *id, const char *text, size_t len)
{
	struct printing *p = arg;
	if (strcmp(id, p->id) != 0)
		return 0;
	p->found = true;
	fwrite(text, 1, len, stdout);
	return 1;
}

/* As it was given.  It may name products that policy hides: for who holds the mesh alone. */
static int print_one(const struct invocation *inv, const char *domain, const char *id, struct err *e)
{
	struct browse b;
	struct printing p = { id, false };
	int r = browse_open(inv, domain, &b, e);
	if (r)
		return r;
	if (b.policy)
		r = err_set(e, -EACCES, "%s: descriptions are printed for who holds the mesh; 'meshfs show' tells the ports of what you may see", domain);
	else if (b.domains[0].snapshot)
		r = snapshot_descriptions(b.domains[0].snapshot, print_text, &p);
	if (r >= 0)
		r = p.found ? 0 : err_set(e, -ENOENT, "domain %s has no description %s", domain, id);
	browse_close(&b);
	return r;
}

static int describe(const struct invocation *inv, struct describing *d, const char *domain, char **paths, int count, struct err *e)
{
	struct domain_command c = { NULL, NULL, NULL };
	uint64_t before, generation = 0;
	int r = read_files(d, paths, count, e);
	if (!r)
		r = domain_command_open(inv, domain, &c, e);
	struct snapshot *s = r ? NULL : domain_snapshot(c.domain);
	before = s ? snapshot_generation(s) : 0;
	if (!r)
		r = domain_commit(c.domain, edit, d, &generation, e);
	if (!r && s && (d->json || !inv->quiet))
		print_result(d, domain, s, generation, generation == before);
	snapshot_unref(s);
	domain_command_close(&c);
	return r;
}

int product_describe(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	struct describing d = { 0 };
	int words;
	const struct option_spec specs[] = {
		{ "--remove", 0, OPTION_LIST, "ID", "remove the description with this id (may be repeated)", &d.removed },
		{ "--print", 0, OPTION_TEXT, "ID", "print the description with this id as it was given", &d.print },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a file", &d.json },
	};
	int r = options_parse("product describe DOMAIN FILE… [options]",
			      "Keeps descriptions of data products (ODPS) in a domain's catalog: show and README.md tell of each product the output\n"
			      "port that it is behind, by its contract's id, and the input ports.",
			      specs, sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words < 1 || (words < 2 && !d.removed.count && !d.print))
		return options_wrong(e, "product", "product describe wants a domain and its descriptions (ODPS YAML)");
	r = d.print ? print_one(inv, argv[0], d.print, e) : describe(inv, &d, argv[0], argv + 1, words - 1, e);
	for (size_t i = 0; i < d.count; i++) {
		odps_free(d.items[i].odps);
		buf_free(&d.items[i].text);
	}
	free(d.items);
	return r;
}
