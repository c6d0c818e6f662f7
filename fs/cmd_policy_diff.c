/* policy diff OLD NEW: what the new rules loosen and tighten. */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "fs/policy_command.h"
#include "policy/diff.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_BYTES_MAX (4u << 20)

/* A folder of *.policy files, or one file. */
static int load(const char *path, struct policy **ret, struct err *e)
{
	struct stat st;
	struct buf text = BUF_INIT;
	if (stat(path, &st))
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return policy_load_folder(NULL, path, NULL, 0, ret, e);
	int r = io_read_file(path, FILE_BYTES_MAX, &text, e);
	struct policy_source s = { path, buf_text(&text), text.len, NULL };
	if (!r)
		r = policy_load(NULL, &s, 1, ret, e);
	buf_free(&text);
	return r;
}

struct listing {
	bool json;
	int loosened, tightened;
};

static void each_change(void *arg, const struct policy_change *c)
{
	struct listing *l = arg;
	struct buf b = BUF_INIT;
	struct json j;
	*(c->loosened ? &l->loosened : &l->tightened) += 1;
	if (!l->json) {
		printf("%s %s%s%s%s: %s: %s -> %s\n    for %s", c->loosened ? "loosened " : "tightened", c->product, c->facts[0] ? " (" : "", c->facts,
		       c->facts[0] ? ")" : "", c->what, c->before, c->after, c->subject);
		printf(c->subjects > 1 ? " and %u more\n" : "\n", c->subjects - 1);
		return;
	}
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "change", c->loosened ? "loosened" : "tightened");
	json_field_text(&j, "product", c->product);
	json_field_text(&j, "facts", c->facts);
	json_field_text(&j, "path", c->path);
	json_field_text(&j, "what", c->what);
	json_field_text(&j, "before", c->before);
	json_field_text(&j, "after", c->after);
	json_field_text(&j, "subject", c->subject);
	json_field_int(&j, "subjects", c->subjects);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

/* -- the versions that exist -------------------------------------------------------------------- */

struct existing {
	struct policy_command c;
	struct browse_domain *domain;
	struct loaded_version **list; /* each on its own: facts point into it */
	struct version_facts *facts;
	size_t count;
	int code;
};

static int add_product(void *arg, const struct product_info *p)
{
	struct existing *x = arg;
	struct loaded_version *v = calloc(1, sizeof *v), **more;
	struct version_facts *facts;
	if (!v || policy_command_version(&x->c, x->domain->config->name, p->name, "latest", v, NULL)) {
		free(v);
		return 0; /* nothing of it can be read either */
	}
	v->facts.product = v->product.name;
	v->facts.version = v->info.version;
	more = realloc(x->list, (x->count + 1) * sizeof *more);
	if (more)
		x->list = more;
	facts = realloc(x->facts, (x->count + 1) * sizeof *facts);
	if (facts)
		x->facts = facts;
	if (!more || !facts) {
		loaded_version_free(v);
		free(v);
		return -ENOMEM;
	}
	x->facts[x->count] = v->facts;
	x->list[x->count++] = v;
	return 0;
}

/* Without a mesh, or with one that cannot be opened, products are made up from what the rules name. */
static void find_existing(const struct invocation *inv, struct existing *x)
{
	struct err ignored = ERR_INIT;
	char *path = NULL;
	int r = mesh_find(inv->mesh_path, &path, &ignored);
	free(path);
	if (r || browse_open(inv, NULL, &x->c.browse, &ignored))
		return;
	for (size_t i = 0; i < x->c.browse.count; i++) {
		x->domain = &x->c.browse.domains[i];
		if (x->domain->snapshot && snapshot_products(x->domain->snapshot, add_product, x))
			return;
	}
}

static void existing_free(struct existing *x)
{
	for (size_t i = 0; i < x->count; i++) {
		loaded_version_free(x->list[i]);
		free(x->list[i]);
	}
	free(x->list);
	free(x->facts);
	policy_command_close(&x->c);
}

static int diff(const struct invocation *inv, const char *before, const char *after, struct listing *l, struct err *e)
{
	struct policy *a = NULL, *b = NULL;
	struct existing x = { 0 };
	int r = load(before, &a, e);
	if (!r)
		r = load(after, &b, e);
	if (!r) {
		find_existing(inv, &x);
		r = policy_diff(a, b, x.facts, x.count, clock_now_ns(), each_change, l, e);
		existing_free(&x);
	}
	policy_unref(a);
	policy_unref(b);
	return r;
}

int policy_verb_diff(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct listing l = { 0 };
	bool no_loosen = false;
	const struct option_spec specs[] = { { "--no-loosen", 0, OPTION_FLAG, NULL, "exit with 3 when something is loosened", &no_loosen },
					     { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &l.json } };
	int words;
	int r = options_parse("policy diff OLD NEW [--no-loosen]",
			      "What the rules of NEW loosen and tighten, compared with OLD (folders of *.policy files, or single files).", specs, 2,
			      false, argc, argv, &words, e);
	(void)ret_status;
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 2)
		return options_wrong(e, "policy diff", "policy diff wants two policies: OLD NEW");
	r = diff(inv, argv[0], argv[1], &l, e);
	if (r)
		return r;
	if (!l.json)
		printf("%d loosened, %d tightened\n", l.loosened, l.tightened);
	if (no_loosen && l.loosened)
		return err_set(e, -EPERM, "the new policy loosens %d thing%s", l.loosened, l.loosened == 1 ? "" : "s");
	return 0;
}
