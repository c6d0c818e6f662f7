/* verify: re-hashes what the stores hold. */
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/verify.h"
#include "fs/browse.h"
#include "fs/commands.h"
#include "fs/domain_command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct verification {
	const struct address *address; /* NULL: everything */
	const char *domain;            /* the one under way */
	struct browse *browse;
	struct browse_domain *d;
	const char *product;
	bool json, quiet;
	struct verify_options options;
	struct verify_counts counts;
	uint64_t versions;
	uint64_t bytes; /* to come, for the progress */
	char first[512]; /* the first problem, for the error */
	struct err *e;
};

static void print_problem(void *arg, const struct verify_problem *p)
{
	struct verification *v = arg;
	char *path = p->path ? text_printable(p->path, strlen(p->path)) : NULL;
	char where[32] = "";
	progress_hide(v->options.progress);
	if (p->chunk >= 0)
		snprintf(where, sizeof where, " chunk %lld", (long long)p->chunk);
	if (!v->first[0])
		snprintf(v->first, sizeof v->first, "%s/%s/%s%s%s%s: %s", v->domain, p->product, p->version, path ? "/" : "", path ? path : "",
			 where, p->what);
	if (v->json) {
		struct buf b = BUF_INIT, address = BUF_INIT;
		struct json j;
		buf_addf(&address, "%s/%s/%s%s%s", v->domain, p->product, p->version, p->path ? "/" : "", p->path ? p->path : "");
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "address", buf_text(&address));
		json_field_text(&j, "outcome", "broken");
		json_key(&j, "chunk");
		if (p->chunk >= 0)
			json_int(&j, p->chunk);
		else
			json_null(&j);
		json_field_text(&j, "problem", p->what);
		json_close(&j, '}');
		printf("%s\n", buf_text(&b));
		buf_free(&b);
		buf_free(&address);
	} else if (!v->quiet) {
		fprintf(stderr, "%s/%s/%s%s%s%s: %s\n", v->domain, p->product, p->version, path ? "/" : "", path ? path : "", where, p->what);
	}
	free(path);
}

static void print_version(struct verification *v, const char *version, const struct verify_counts *c)
{
	struct buf b = BUF_INIT, address = BUF_INIT;
	struct json j;
	progress_hide(v->options.progress);
	buf_addf(&address, "%s/%s/%s", v->domain, v->product, version);
	if (v->json) {
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "address", buf_text(&address));
		json_field_text(&j, "outcome", c->problems ? "broken" : "ok");
		json_field_int(&j, "files", (int64_t)c->files);
		json_field_int(&j, "chunks", (int64_t)c->chunks);
		json_field_int(&j, "bytes", (int64_t)c->bytes);
		json_field_int(&j, "problems", (int64_t)c->problems);
		json_close(&j, '}');
		printf("%s\n", buf_text(&b));
	} else if (!v->quiet) {
		char size[TEXT_SIZE_MAX];
		text_size(c->bytes, size);
		printf("%s: %s (%llu file%s, %s)\n", buf_text(&address), c->problems ? "BROKEN" : "ok", (unsigned long long)c->files,
		       c->files == 1 ? "" : "s", size);
	}
	buf_free(&b);
	buf_free(&address);
}

/* Whom policy binds, and to whom not all of a version is served, is told nothing that is counted of it: verifying it is for who holds the mesh. */
static bool may_verify(const struct verification *v, const struct version_info *info)
{
	return info->status == VERSION_ACTIVE && browse_outcome(v->browse, v->d, v->product, info, NULL) == OUTCOME_ALLOW;
}

static int check_version(void *arg, const struct version_info *info)
{
	struct verification *v = arg;
	struct verify_counts c = { 0 };
	if (!may_verify(v, info))
		return 0;
	int r = verify_version(v->d->domain, v->product, info, &v->options, &c, v->e);
	if (r)
		return r;
	if (!c.files && !c.problems && v->options.path)
		return err_set(v->e, -ENOENT, "%s/%s/%s/%s: there is no such file", v->domain, v->product, info->version, v->options.path);
	v->versions++;
	v->counts.files += c.files;
	v->counts.bytes += c.bytes;
	v->counts.problems += c.problems;
	print_version(v, info->version, &c);
	return 0;
}

static int count_version(void *arg, const struct version_info *info)
{
	struct verification *v = arg;
	if (may_verify(v, info))
		v->bytes += info->bytes;
	return 0;
}

static int check_product(void *arg, const struct product_info *p)
{
	struct verification *v = arg;
	v->product = p->name;
	return snapshot_versions(v->d->snapshot, p->name, check_version, v);
}

static int count_product(void *arg, const struct product_info *p)
{
	struct verification *v = arg;
	return snapshot_versions(v->d->snapshot, p->name, count_version, v);
}

/* What the address names in the domain that is open. */
static int check_domain(struct verification *v, bool count_only)
{
	const struct address *a = v->address;
	struct version_info info;
	if (!a || !*a->product)
		return snapshot_products(v->d->snapshot, count_only ? count_product : check_product, v);
	struct product_info p;
	int r = browse_product(v->browse, v->d, a->product, &p, v->e);
	if (r)
		return r;
	product_info_fini(&p);
	v->product = a->product;
	if (!*a->version)
		return snapshot_versions(v->d->snapshot, a->product, count_only ? count_version : check_version, v);
	r = browse_version(v->browse, v->d, a, &info, v->e);
	if (r)
		return r;
	r = browse_served(a->domain, a->product, &info, v->e);
	if (!r && !may_verify(v, &info))
		r = err_set_kind(v->e, ERR_REFUSED, -EACCES, "%s/%s/%s is not served to you as a whole: only who holds the mesh can verify it", a->domain,
				 a->product, info.version);
	if (!r)
		r = count_only ? count_version(v, &info) : check_version(v, &info);
	version_info_fini(&info);
	return r;
}

static int verify_domain(const struct invocation *inv, struct verification *v, const char *domain)
{
	struct browse b;
	int r = browse_open(inv, domain, &b, v->e);
	if (r)
		return r;
	v->domain = domain;
	v->browse = &b;
	v->d = &b.domains[0];
	v->bytes = 0;
	if (!v->d->reached)
		r = err_move(v->e, &v->d->why);
	else if (!v->d->snapshot)
		r = err_set(v->e, -ENOENT, "%s: there is no catalog in its store", domain);
	if (!r)
		r = check_domain(v, true);
	if (!r) {
		v->options.progress = progress_start("verifying", "B", v->bytes, inv->quiet || v->json);
		r = check_domain(v, false);
		progress_end(v->options.progress);
	}
	browse_close(&b);
	return r;
}

int cmd_verify(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct verification v = { .quiet = inv->quiet, .e = e };
	struct address a;
	int words;
	const struct option_spec specs[] = {
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: each problem, each version", &v.json },
	};
	(void)ret_status;
	int r = options_parse("verify [ADDRESS]", "Reads what the store holds, hashes it again and compares it with the manifest.", specs,
			      sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words > 1)
		return options_wrong(e, "verify", "verify wants one address, or none for the whole mesh");
	v.options.problem = print_problem;
	v.options.arg = &v;
	v.options.interrupted = interrupt_flag();
	if (words) {
		r = address_parse(argv[0], &a, e);
		v.address = &a;
		v.options.path = !r && *a.path ? a.path : NULL;
		if (!r)
			r = verify_domain(inv, &v, a.domain);
	} else {
		struct mesh_config *mesh;
		r = mesh_open(inv->mesh_path, &mesh, e);
		if (r)
			return r;
		for (size_t i = 0; i < mesh->domain_count && !r; i++)
			r = verify_domain(inv, &v, mesh->domains[i].name);
		mesh_config_free(mesh);
	}
	if (!r && v.counts.problems)
		r = err_set(e, -EBADMSG, "%s (%llu problem%s; publish it again with --fresh under a new number, and withdraw this version)", v.first,
			    (unsigned long long)v.counts.problems, v.counts.problems == 1 ? "" : "s");
	return r;
}
