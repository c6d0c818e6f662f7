/* domain add, domain ls. */
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "fs/browse.h"
#include "fs/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- add ----------------------------------------------------------------------------------- */

static const char domain_policy[] = "# Who may read what of domain %s. Without a permit that matches, nothing of it is served.\n"
				    "# meshfs-policy(5) explains the language; 'meshfs policy check' reads this file.\n"
				    "policy %s scope domain %s version 1\n"
				    "\n"
				    "permit everyone\n";

/* policy/NAME.policy; one that is there is the domain's own and stays. */
static int write_policy(const struct mesh_config *mesh, const char *name, struct err *e)
{
	char *path = text_format("%s/%s.policy", mesh->policy_folder, name), *text = text_format(domain_policy, name, name, name);
	int r = path && text ? 0 : err_set(e, -ENOMEM, "out of memory");
	if (!r && access(path, F_OK) == 0)
		log_warn("%s was there already and is left as it is", path);
	else if (!r && !(r = io_make_folders(mesh->policy_folder, 0755, e)))
		r = io_write_file(path, text, strlen(text), 0644, e);
	free(path);
	free(text);
	return r;
}

/* A URL as given, or a path made one. */
static int make_url(const char *given, char **ret, struct err *e)
{
	char *home = strstr(given, "://") ? NULL : io_expand_home(given), *path = home ? io_absolute(NULL, home) : NULL;
	char *url = path ? mesh_path_to_url(path) : strstr(given, "://") ? strdup(given) : NULL;
	free(home);
	free(path);
	int r = url ? mesh_store_check(url, e) : err_set(e, -ENOMEM, "out of memory");
	if (r)
		free(url);
	else
		*ret = url;
	return r;
}

/* What has to be there before a domain is of use: a store that can be written and holds a catalog, or one that can be read and does. */
static int prepare(struct domain *d, struct mesh_domain *config, struct err *e)
{
	struct store *store = domain_store(d);
	bool exclusive = true;
	if (!store_writable(store))
		return domain_refresh(d, NULL, e);
	int r = store_prepare(store, e);
	if (!r)
		r = store_probe_exclusive(store, &exclusive, e);
	config->single_writer = !exclusive;
	return r;
}

static int add(const struct mesh_config *mesh, struct mesh_domain *config, struct err *e)
{
	struct transfer *t = NULL;
	struct domain *d = NULL;
	int r = mesh_transfer_start(mesh, &t, e);
	if (!r)
		r = domain_open(mesh, config, t, &d, e);
	if (!r)
		r = prepare(d, config, e);
	domain_free(d);
	d = NULL;
	if (!r) /* once more, as single-writer or not */
		r = domain_open(mesh, config, t, &d, e);
	if (!r)
		r = domain_ensure_catalog(d, e);
	if (!r)
		r = mesh_add_domain(mesh->path, config, e);
	if (!r)
		r = write_policy(mesh, config->name, e);
	domain_free(d);
	transfer_stop(t);
	return r;
}

static int domain_add(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	struct mesh_domain config = { 0 };
	const char *owner = NULL, *endpoint = NULL, *region = NULL;
	const struct option_spec specs[] = {
		{ "--owner", 0, OPTION_TEXT, "TEXT", "who answers for it", &owner },
		{ "--endpoint", 0, OPTION_TEXT, "URL", "of an S3-compatible server", &endpoint },
		{ "--region", 0, OPTION_TEXT, "R", "of the bucket", &region },
	};
	struct mesh_config *mesh = NULL;
	int words;
	int r = options_parse("domain add NAME URL [--owner TEXT] [--endpoint URL] [--region R]",
			      "Adds a domain to mesh.yaml (comments are kept), makes its store's folder and an empty catalog where there is none,\n"
			      "and writes policy/NAME.policy, which permits everyone. URL: a folder, file://, s3://BUCKET/PREFIX, or http(s)://\n"
			      "(read only: a catalog must be there).",
			      specs, 3, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 2)
		return options_wrong(e, "domain add", "domain add wants a name and a URL");
	config = (struct mesh_domain){ argv[0], NULL, (char *)endpoint, (char *)region, (char *)owner, false };
	r = name_check("domain", config.name, e);
	if (!r)
		r = make_url(argv[1], &config.store, e);
	if (!r)
		r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r && mesh_domain_find(mesh, config.name))
		r = err_set(e, -EEXIST, "%s: domain %s is there already", mesh->path, config.name);
	if (!r)
		r = add(mesh, &config, e);
	if (!r && config.single_writer)
		log_warn("%s: its store cannot create an object only if it is absent: publish from one place at a time (single_writer in mesh.yaml)",
			 config.name);
	if (!r && !inv->quiet)
		printf("domain %s added: %s\n", config.name, config.store);
	free(config.store);
	mesh_config_free(mesh);
	return r;
}

/* -- ls ------------------------------------------------------------------------------------ */

struct counting {
	const struct browse *browse;
	struct browse_domain *domain;
	int64_t products; /* that the caller may see */
};

static int count_product(void *arg, const struct product_info *p)
{
	struct counting *c = arg;
	c->products += p->versions > 0 && browse_sees(c->browse, c->domain, p->name, NULL, NULL);
	return 0;
}

static const char *state_of(const struct browse_domain *d)
{
	return d->reached ? "ok" : d->snapshot ? "unreachable" : "never reached";
}

static void print_domain(const struct browse *b, struct browse_domain *d, bool json, struct buf *out)
{
	struct counting count = { b, d, 0 };
	int64_t generation = d->snapshot ? (int64_t)snapshot_generation(d->snapshot) : 0;
	const char *access = !store_writable(domain_store(d->domain)) ? "read only" : d->config->single_writer ? "single writer" : "writable";
	if (d->snapshot)
		snapshot_products(d->snapshot, count_product, &count);
	if (!json) {
		buf_addf(out, "%-20s %-13s %-13s %4" PRId64 " products  %s%s", d->config->name, state_of(d), access, count.products, d->config->store,
			 d->config->owner ? "  " : "");
		if (d->config->owner)
			browse_add_safe(out, d->config->owner);
		buf_addc(out, '\n');
		return;
	}
	struct json j;
	json_start(&j, out);
	json_open(&j, '{');
	json_field_text(&j, "domain", d->config->name);
	json_field_text(&j, "store", d->config->store);
	json_field_text(&j, "owner", d->config->owner);
	json_field_text(&j, "status", state_of(d));
	json_field_text(&j, "access", access);
	if (!b->policy) /* it counts publications, of what is hidden as well */
		json_field_int(&j, "generation", generation);
	json_field_int(&j, "products", count.products);
	json_field_text(&j, "problem", d->reached ? NULL : d->why.text);
	json_close(&j, '}');
	buf_addc(out, '\n');
}

static int domain_ls(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	bool json = false;
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &json } };
	struct browse b;
	struct buf out = BUF_INIT;
	int words;
	int r = options_parse("domain ls [--json]", "Lists the mesh's domains, their stores, and whether they answer.", specs, 1, false, argc, argv, &words,
			      e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "domain ls", "domain ls takes no names");
	r = browse_open(inv, NULL, &b, e);
	if (r)
		return r;
	for (size_t i = 0; i < b.count; i++)
		if (browse_sees(&b, &b.domains[i], NULL, NULL, NULL))
			print_domain(&b, &b.domains[i], json, &out);
	browse_print(&out);
	if (!b.count && !json && !inv->quiet)
		printf("no domains yet; 'meshfs domain add NAME URL' adds one\n");
	buf_free(&out);
	browse_close(&b);
	return 0;
}

int cmd_domain(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	if (argc > 1 && !strcmp(argv[1], "add"))
		return domain_add(inv, argc - 1, argv + 1, e);
	if (argc > 1 && !strcmp(argv[1], "ls"))
		return domain_ls(inv, argc - 1, argv + 1, e);
	if (argc > 1 && !strcmp(argv[1], "--help")) {
		printf("usage: meshfs domain add NAME URL [--owner TEXT] [--endpoint URL] [--region R]\n"
		       "       meshfs domain ls [--json]\n\n"
		       "Adds a domain to the mesh, or lists its domains; 'meshfs domain add --help' says more.\n");
		return 0;
	}
	return options_wrong(e, "domain", "domain wants 'add' or 'ls'");
}
