/* policy publish DOMAIN FILE…: a domain's own rules, published with its catalog. */
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/snapshot.h"
#include "fs/policy_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct publishing {
	struct policy_command c;
	struct browse_domain *domain;
	struct policy_sources files; /* their names are those that they get in the catalog */
	struct option_list removed;
	bool json;
};

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Takes the published file `name` out of the rules to be checked.  False: there is none. */
static bool forget(struct publishing *p, const char *name)
{
	size_t n = strlen(p->domain->config->name);
	for (size_t i = 0; i < p->c.extra.count; i++) {
		const struct policy_source *s = &p->c.extra.items[i];
		if (strcmp(s->domain, p->domain->config->name) != 0 || strcmp(s->name + n + 1, name) != 0)
			continue;
		policy_sources_remove(&p->c.extra, i);
		return true;
	}
	return false;
}

static int add_file(struct publishing *p, const char *path, struct err *e)
{
	struct buf text = BUF_INIT;
	const char *name = base_name(path);
	for (size_t i = 0; i < p->files.count; i++)
		if (!strcmp(p->files.items[i].name, name))
			return options_wrong(e, "policy publish", "two files are called %s", name);
	int r = io_read_file(path, POLICY_BYTES_MAX, &text, e);
	if (r)
		return r;
	struct policy_source s = { name, buf_text(&text), text.len, p->domain->config->name };
	forget(p, name);
	r = policy_sources_copy(&p->files, &s);
	s.name = path; /* what its errors name is the file at hand */
	if (!r)
		r = policy_sources_copy(&p->c.extra, &s);
	buf_free(&text);
	return r ? err_set(e, r, "out of memory") : 0;
}

/* Do the domain's rules load as they would be?  What does not would deny all of the domain. */
static int check(struct publishing *p, struct err *e)
{
	struct policy *all = NULL;
	int r = policy_load_mesh(p->c.browse.mesh, p->c.extra.items, p->c.extra.count, &all, e);
	const char *problem = r ? NULL : policy_domain_problem(all, p->domain->config->name);
	if (problem)
		r = err_set_kind(e, ERR_PARSE, -EINVAL, "%s", problem);
	policy_unref(all);
	return r;
}

/* -- the catalog ---------------------------------------------------------------------------- */

struct comparison {
	const struct policy_source *wanted;
	bool same;
};

static int compare(void *arg, const char *name, const char *text, size_t len)
{
	struct comparison *c = arg;
	if (!strcmp(name, c->wanted->name))
		c->same = len == c->wanted->len && !memcmp(text, c->wanted->text, len);
	return 0;
}

static int edit(void *arg, struct snapshot_edit *x, struct err *e)
{
	struct publishing *p = arg;
	struct snapshot *base = snapshot_edit_base(x);
	bool changed = p->removed.count > 0;
	int r = 0;
	for (size_t i = 0; i < p->files.count && !r; i++) {
		struct comparison c = { &p->files.items[i], false };
		if (base)
			r = snapshot_policies(base, compare, &c);
		if (r || c.same)
			continue;
		changed = true;
		r = snapshot_edit_policy(x, c.wanted->name, c.wanted->text, c.wanted->len, e);
	}
	for (size_t i = 0; i < p->removed.count && !r; i++)
		r = snapshot_edit_policy(x, p->removed.items[i], NULL, 0, e);
	return r ? r : changed ? 0 : 1;
}

static void print_result(const struct publishing *p, uint64_t generation, bool unchanged)
{
	const char *domain = p->domain->config->name;
	if (!p->json) {
		for (size_t i = 0; i < p->files.count; i++)
			printf("%s:%s %s\n", domain, p->files.items[i].name, unchanged ? "was published already" : "is published");
		for (size_t i = 0; i < p->removed.count; i++)
			printf("%s:%s is removed\n", domain, p->removed.items[i]);
		return;
	}
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "domain", domain);
	json_field_text(&j, "outcome", unchanged ? "unchanged" : "published");
	json_field_int(&j, "generation", (int64_t)generation);
	json_key(&j, "files");
	json_open(&j, '[');
	for (size_t i = 0; i < p->files.count; i++)
		json_text(&j, p->files.items[i].name);
	json_close(&j, ']');
	json_key(&j, "removed");
	json_open(&j, '[');
	for (size_t i = 0; i < p->removed.count; i++)
		json_text(&j, p->removed.items[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static int publish(const struct invocation *inv, struct publishing *p, const char *domain, char **paths, int count, struct err *e)
{
	uint64_t before, generation = 0;
	int r = policy_command_open(inv, &p->c, e);
	if (r)
		return r;
	for (size_t i = 0; i < p->c.browse.count; i++)
		if (!strcmp(p->c.browse.domains[i].config->name, domain))
			p->domain = &p->c.browse.domains[i];
	if (!p->domain) {
		const struct mesh_domain *none;
		return mesh_domain_get(p->c.browse.mesh, domain, &none, e); /* names the nearest */
	}
	if (!p->domain->reached || !p->domain->snapshot)
		return err_move(e, &p->domain->why);
	for (size_t i = 0; i < p->removed.count; i++)
		if (!forget(p, p->removed.items[i]))
			return err_set(e, -ENOENT, "domain %s has published no policy file %s", domain, p->removed.items[i]);
	for (int i = 0; i < count && !r; i++)
		r = add_file(p, paths[i], e);
	if (!r)
		r = check(p, e);
	if (r)
		return r;
	before = snapshot_generation(p->domain->snapshot);
	r = domain_commit(p->domain->domain, edit, p, &generation, e);
	if (!r && (p->json || !inv->quiet))
		print_result(p, generation, generation == before);
	return r;
}

int policy_verb_publish(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	struct publishing *p = calloc(1, sizeof *p);
	int words;
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	const struct option_spec specs[] = { { "--remove", 0, OPTION_LIST, "NAME", "remove a file that was published (may be repeated)", &p->removed },
					     { "--json", 0, OPTION_FLAG, NULL, "one JSON object", &p->json } };
	int r = options_parse("policy publish DOMAIN FILE… [--remove NAME]",
			      "Publishes a domain's own rules with its catalog: they bind everywhere, and in that domain only.", specs, 2, false, argc,
			      argv, &words, e);
	if (!r && (words < 1 || (words < 2 && !p->removed.count)))
		r = options_wrong(e, "policy publish", "policy publish wants a domain and its policy files");
	if (!r)
		r = publish(inv, p, argv[0], argv + 1, words - 1, e);
	policy_sources_free(&p->files);
	policy_command_close(&p->c);
	free(p);
	return r == OPTIONS_HELP ? 0 : r;
}
