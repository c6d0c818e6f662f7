/* policy check|explain|test|diff|apply|key new */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "fs/commands.h"
#include "fs/domain_command.h"
#include "fs/policy_command.h"
#include "fs/warm.h"
#include "policy/check.h"
#include "policy/key.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- check --------------------------------------------------------------------------- */

struct checking {
	struct policy_command *c;
	struct contract_check *contracts;
	struct browse_domain *domain;
	const char *product;
	bool json;
	int warnings;
};

static void warn(void *arg, const char *text)
{
	struct checking *k = arg;
	k->warnings++;
	if (!k->json) {
		fprintf(stderr, "meshfs: warning: %s\n", text);
		return;
	}
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "warning", text);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static int check_version(void *arg, const struct version_info *info)
{
	struct checking *k = arg;
	struct loaded_version v;
	struct err e = ERR_INIT;
	if (info->status != VERSION_ACTIVE || !browse_sees(&k->c->browse, k->domain, k->product, info, NULL))
		return 0;
	if (policy_command_version(k->c, k->domain->config->name, k->product, info->version, &v, &e)) {
		warn(k, e.text);
		return 0;
	}
	if (v.facts.contract)
		contract_check_add(k->contracts, v.facts.domain, v.facts.product, v.facts.version, v.facts.contract);
	loaded_version_free(&v);
	return 0;
}

static int check_product(void *arg, const struct product_info *p)
{
	struct checking *k = arg;
	k->product = p->name;
	return snapshot_versions(k->domain->snapshot, p->name, check_version, k);
}

/* The rules, and the rules against every contract in sight. */
static int check_all(struct checking *k, struct err *e)
{
	struct policy_command *c = k->c;
	int r = 0;
	policy_check_rules(c->policy, c->browse.mesh, clock_now_ns(), warn, k);
	k->contracts = contract_check_new(c->policy, warn, k);
	if (!k->contracts)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < c->browse.count && !r; i++) {
		k->domain = &c->browse.domains[i];
		if (k->domain->snapshot)
			r = snapshot_products(k->domain->snapshot, check_product, k);
	}
	if (r)
		err_set(e, r, "the catalog of domain %s cannot be read: %s", k->domain->config->name, strerror(-r));
	else
		contract_check_finish(k->contracts);
	contract_check_free(k->contracts);
	return r;
}

static void print_loaded(const struct policy_command *c, const struct checking *k)
{
	char hex[SHA256_HEX_SIZE];
	hex_format(policy_digest(c->policy)->bytes, SHA256_SIZE, hex);
	if (!k->json) {
		const size_t rules = policy_rule_count(c->policy);
		printf("%zu %s, %d warning%s; policy %s\n", rules, rules == 1 ? "rule loads" : "rules load", k->warnings, k->warnings == 1 ? "" : "s", hex);
		return;
	}
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_int(&j, "rules", (int64_t)policy_rule_count(c->policy));
	json_field_int(&j, "warnings", k->warnings);
	json_field_text(&j, "policy", hex);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

/* Computes the views of the subjects that mesh.yaml names, so that nobody waits for their sizes. */
static int compute_views(struct policy_command *c, bool quiet, struct err *e)
{
	struct warm_counts n;
	const struct warm_means by = { c, NULL, interrupt_flag(), quiet };
	int r = warm_views(&by, NULL, &n, e);
	if (r == -EINTR)
		return err_set(e, r, "interrupted: %llu view%s computed, and kept; the rest is computed by the next 'meshfs policy apply', or when it is needed",
			       (unsigned long long)n.files, n.files == 1 ? " is" : "s are");
	if (!r && !quiet && c->browse.mesh->view_count)
		printf("%llu view%s computed, %llu file%s denied\n", (unsigned long long)n.files, n.files == 1 ? "" : "s", (unsigned long long)n.denied,
		       n.denied == 1 ? "" : "s");
	return !r && n.failed ? err_set(e, -EIO, "%llu view%s could not be computed; the first: %s", (unsigned long long)n.failed,
					n.failed == 1 ? "" : "s", n.first) : r;
}

/* Checks all that can be seen; with `apply` it also says how mounts take it over. */
static int check(const struct invocation *inv, int argc, char **argv, bool apply, struct err *e)
{
	bool json = false;
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &json } };
	int words, r;
	r = options_parse(apply ? "policy apply" : "policy check",
			  apply ? "Checks the policy, computes the views of the subjects that `views:` in mesh.yaml names, and waits until the mounts\n"
				  "that run have taken it over (they do so by themselves)." :
				  "Parses every rule, and checks it against the contracts that can be seen.",
			  specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, apply ? "policy apply" : "policy check", "policy %s wants no '%s'", apply ? "apply" : "check", argv[0]);
	struct policy_command c;
	r = policy_command_open(inv, &c, e);
	if (r)
		return r;
	struct checking k = { .c = &c, .json = json };
	r = check_all(&k, e);
	if (!r)
		print_loaded(&c, &k);
	if (!r && apply)
		r = compute_views(&c, json || inv->quiet, e);
	if (!r && apply)
		r = policy_apply(&c, json, json || inv->quiet, e);
	policy_command_close(&c);
	return r;
}

/* -- key new ------------------------------------------------------------------------------ */

static int check_key_name(const char *name, struct err *e)
{
	size_t ok = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	if (name[ok] || !ok || ok > 63 || name[0] == '.' || name[0] == '-')
		return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s' cannot be the name of a key: letters, digits, '.', '_', '-', at most 63", name);
	return 0;
}

/* Makes the key that mesh.yaml names; else keys/NAME.key, and adds it to mesh.yaml. */
static int make_key(const struct mesh_config *mesh, const char *name, struct err *e)
{
	const struct mesh_key *known = mesh_key_find(mesh, name);
	char *relative = text_format("keys/%s.key", name);
	char *path = known ? strdup(known->path) : relative ? io_join(mesh->folder, relative) : NULL;
	int r = path && relative ? policy_key_make(path, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r && !known && (r = mesh_add_key(mesh->path, name, relative, e)))
		unlink(path); /* a key that nothing names would only be in the way */
	if (!r)
		printf("%s\n", path);
	free(path);
	free(relative);
	return r;
}

static int key(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	struct mesh_config *mesh;
	int words;
	int r = options_parse("policy key new NAME", "Makes a key for the hmac mask: 32 random bytes in a file of mode 0600, named in mesh.yaml.",
			      NULL, 0, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 2 || strcmp(argv[0], "new") != 0)
		return options_wrong(e, "policy", "policy key wants 'new NAME'");
	r = check_key_name(argv[1], e);
	if (!r)
		r = mesh_open(inv->mesh_path, &mesh, e);
	if (r)
		return r;
	r = make_key(mesh, argv[1], e);
	mesh_config_free(mesh);
	return r;
}

/* -- the verbs ------------------------------------------------------------------------------ */

static const char about[] = "policy check                      parse and type-check every rule against the contracts in sight\n"
			    "policy explain ADDRESS [--as …]   the decision, and each rule that made it, with its file and line\n"
			    "policy test [--coverage]          run the tests that stand in the policy files\n"
			    "policy diff OLD NEW [--no-loosen] what the new rules loosen and tighten\n"
			    "policy apply                      check, compute views, wait until the mounts have taken it over\n"
			    "policy publish DOMAIN FILE…       publish a domain's own rules with its catalog\n"
			    "policy key new NAME               make a key for the hmac mask\n"
			    "\n'meshfs policy VERB --help' explains one; meshfs-policy(5) is the language.\n";

int cmd_policy(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	static const char *const verbs[] = { "check", "explain", "test", "diff", "apply", "publish", "key" };
	if (argc < 2)
		return options_wrong(e, "policy", "policy wants a verb: check, explain, test, diff, apply, publish or key");
	const char *verb = argv[1];
	if (!strcmp(verb, "--help") || !strcmp(verb, "-h")) {
		printf("%s", about);
		return 0;
	}
	if (!strcmp(verb, "check") || !strcmp(verb, "apply"))
		return check(inv, argc - 1, argv + 1, verb[0] == 'a', e);
	if (!strcmp(verb, "explain"))
		return policy_verb_explain(inv, argc - 1, argv + 1, e);
	if (!strcmp(verb, "test"))
		return policy_verb_test(inv, argc - 1, argv + 1, e);
	if (!strcmp(verb, "diff"))
		return policy_verb_diff(inv, argc - 1, argv + 1, ret_status, e);
	if (!strcmp(verb, "publish"))
		return policy_verb_publish(inv, argc - 1, argv + 1, e);
	if (!strcmp(verb, "key"))
		return key(inv, argc - 1, argv + 1, e);
	const char *near = text_nearest(verb, verbs, sizeof verbs / sizeof *verbs);
	return options_wrong(e, "policy", near ? "policy has no verb '%s'; did you mean '%s'?" : "policy has no verb '%s'", verb, near);
}
