/* publish: a version from local files, or from objects that lie in the store. */
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/log.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "catalog/gate.h"
#include "catalog/publish.h"
#include "catalog/source.h"
#include "fs/commands.h"
#include "fs/domain_command.h"
#include "fs/publish_kept.h"
#include "fs/row_index.h"
#include "fs/sql_engine.h"
#include "fs/warm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 3 /* when gc takes away what a publication rests on */

struct words {
	const char *bump, *contract, *onto, *failures;
	struct address onto_address; /* when --onto was given as one */
	bool in_place, fresh, dry_run, json;
	const char *const *sources;
	size_t source_count;
	int64_t sql_limit_ms;
};

static int check_address(const struct words *w, const struct address *a, struct err *e)
{
	if (!*a->product || *a->path)
		return options_wrong(e, "publish", "publish wants domain/product/1.2.0, or domain/product with --bump");
	if (!*a->version && !w->bump)
		return options_wrong(e, "publish", "%s/%s: which version? Add /1.2.0, or --bump patch|minor|major", a->domain, a->product);
	if (*a->version && w->bump)
		return options_wrong(e, "publish", "give a version or --bump, not both");
	return 0;
}

/* --onto is a version of the same product; its whole address may be given too. */
static int check_onto(struct words *w, const struct address *a, struct err *e)
{
	struct address *onto = &w->onto_address;
	if (!w->onto || !strchr(w->onto, '/'))
		return 0;
	int r = address_parse(w->onto, onto, e);
	if (r)
		return r;
	if (strcmp(onto->domain, a->domain) != 0 || strcmp(onto->product, a->product) != 0 || !*onto->version || *onto->path)
		return options_wrong(e, "publish", "--onto %s: wants a version of %s/%s", w->onto, a->domain, a->product);
	w->onto = onto->version;
	return 0;
}

static int parse_bump(const char *text, enum version_bump *ret, struct err *e)
{
	static const char *const names[] = { "patch", "minor", "major" };
	if (!text)
		return 0;
	for (int i = 0; i < 3; i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum version_bump)(BUMP_PATCH + i);
			return 0;
		}
	}
	return options_wrong(e, "publish", "--bump %s: it is patch, minor or major", text);
}

static int scan(const struct words *w, struct domain *d, struct source_totals *ret, struct err *e)
{
	if (!w->in_place)
		return source_scan(w->sources, w->source_count, ret, e);
	if (w->source_count != 1)
		return options_wrong(e, "publish", "--in-place wants one source: a folder or an object of the store");
	return source_in_place_scan(domain_store(d), w->sources[0], ret, e);
}

/* Objects of another machine are never whole in this one. */
static struct sql_engine *engine_for(const struct words *w, struct domain *d)
{
	const struct sql_bounds bounds = { w->sql_limit_ms, interrupt_flag() };
	if (w->in_place && !text_starts(store_url(domain_store(d)), "file://"))
		return sql_engine_new_absent("they were registered in place in a store that the SQL engine (DuckDB) does not read; publish copies of them");
	return sql_engine_new(w->sources, w->source_count, &bounds);
}

/* What the checks found, for machines. */
struct findings {
	struct buf failed; /* JSON; empty: nothing was checked */
	char version[VERSION_SIZE];
};

static void keep_findings(const struct gate *gate, struct publication *p, struct findings *f)
{
	buf_clear(&f->failed);
	snprintf(f->version, sizeof f->version, "%s", p ? publish_version(p) : "");
	if (p && gate_report(gate))
		quality_report_failures_json(gate_report(gate), &f->failed);
}

static int publish_once(const struct words *w, const struct domain_command *c, struct publish_options *o, bool quiet, struct publish_result *ret,
			struct findings *found, struct err *e)
{
	struct domain *d = c->domain;
	struct source_totals totals;
	struct publication *p = NULL;
	struct buf problems = BUF_INIT;
	struct gate *gate = gate_new();
	struct row_maker *rows = gate ? row_maker_new(gate_observer(gate)) : NULL;
	struct kept *kept = rows ? kept_new(row_maker_observer(rows)) : NULL;
	int r = kept ? scan(w, d, &totals, e) : err_set(e, -ENOMEM, "out of memory");
	if (r) {
		kept_free(kept);
		row_maker_free(rows);
		gate_free(gate);
		return r;
	}
	o->observer = kept_observer(kept);
	o->progress = progress_start("publishing", "B", totals.bytes, quiet);
	r = publish_begin(d, o, &p, e);
	struct sql_engine *sql = engine_for(w, d);
	if (!r)
		r = gate_open(gate, p, d, o->product, sql ? sql_engine_quality(sql) : NULL, e);
	if (!r && !w->dry_run)
		r = row_maker_open(rows, p, d, e);
	if (!r && sql && gate_wants_engine(gate))
		sql_engine_start(sql);
	if (!r)
		r = w->in_place ? source_in_place(p, domain_store(d), w->sources[0], e) : source_publish(p, w->sources, w->source_count, e);
	if (!r)
		r = kept_check(kept, c, p, o->product, gate, sql, e);
	if (!r)
		r = gate_close(gate, p, w->failures, &problems, e);
	if (!r)
		r = row_maker_close(rows, p, e);
	if (!r)
		r = publish_commit(p, ret, e);
	keep_findings(gate, p, found);
	publish_free(p);
	row_maker_free(rows);
	progress_end(o->progress);
	if (problems.len && !(quiet && !r))
		fputs(problems.data, stderr);
	buf_free(&problems);
	gate_free(gate); /* before the engine that it may still use */
	sql_engine_free(sql);
	kept_free(kept); /* the engine read copies */
	return r;
}

/* `res` NULL: it was refused, for that reason. */
static void print_json(const struct address *a, const struct words *w, const struct publish_result *res, const struct findings *f, const char *reason)
{
	struct buf out = BUF_INIT;
	struct json j;
	char *address = text_format("%s/%s/%s", a->domain, a->product, res ? res->version : f->version);
	json_start(&j, &out);
	json_open(&j, '{');
	json_field_text(&j, "address", address);
	json_field_text(&j, "outcome", !res ? "refused" : w->dry_run ? "dry-run" : res->unchanged ? "unchanged" : "published");
	if (res) {
		json_field_int(&j, "files", (int64_t)res->files);
		json_field_int(&j, "bytes", (int64_t)res->bytes);
		json_field_int(&j, "new_bytes", (int64_t)res->new_bytes);
		json_field_int(&j, "stored_bytes", (int64_t)res->stored_bytes);
		json_field_int(&j, "generation", (int64_t)res->generation);
	}
	if (!res)
		json_field_text(&j, "reason", reason);
	if (f->failed.len && !buf_check(&f->failed)) {
		json_key(&j, "failed");
		json_raw(&j, buf_text(&f->failed));
	}
	json_close(&j, '}');
	printf("%s\n", buf_text(&out));
	buf_free(&out);
	free(address);
}

static void print_result(const struct address *a, const struct words *w, const struct publish_result *res)
{
	char bytes[TEXT_SIZE_MAX], new_bytes[TEXT_SIZE_MAX], stored[TEXT_SIZE_MAX];
	text_size(res->bytes, bytes);
	text_size(res->new_bytes, new_bytes);
	text_size(res->stored_bytes, stored);
	if (res->unchanged) {
		printf("%s/%s/%s is published already with the same content (%llu file%s, %s)\n", a->domain, a->product, res->version,
		       (unsigned long long)res->files, res->files == 1 ? "" : "s", bytes);
		return;
	}
	printf("%s %s/%s/%s: %llu file%s, %s (%s new, %s stored)\n", w->dry_run ? "would publish" : "published", a->domain, a->product,
	       res->version, (unsigned long long)res->files, res->files == 1 ? "" : "s", bytes, new_bytes, stored);
}

/* The views of who mesh.yaml names and of who used the version before.  An interrupt ends that, not the publication. */
static void compute_views(const struct invocation *inv, const struct mesh_config *mesh, const struct address *published, const char *version,
			  bool quiet)
{
	struct policy_command c;
	struct err e = ERR_INIT;
	struct address a = *published;
	snprintf(a.version, sizeof a.version, "%s", version);
	a.path = "";
	if (!mesh->view_count && !warm_has_used(mesh, &a))
		return;
	if (policy_command_open(inv, &c, &e)) {
		log_warn("%s/%s/%s: its views are not computed yet: %s", a.domain, a.product, version, e.text);
		return;
	}
	const struct warm_means by = { &c, NULL, interrupt_flag(), quiet };
	warm_published(&by, &a);
	policy_command_close(&c);
}

int cmd_publish(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct words w = { 0 };
	const struct option_spec specs[] = {
		{ "--contract", 0, OPTION_TEXT, "FILE", "the data contract (ODCS YAML); else the last version's", &w.contract },
		{ "--bump", 0, OPTION_TEXT, "PART", "the next patch, minor or major version; the first is 1.0.0", &w.bump },
		{ "--onto", 0, OPTION_TEXT, "VERSION", "add to and replace in this version, without having its files", &w.onto },
		{ "--in-place", 0, OPTION_FLAG, NULL, "register files that lie in the store already, without copying", &w.in_place },
		{ "--fresh", 0, OPTION_FLAG, NULL, "store every byte anew, after damage in the store", &w.fresh },
		{ "--with-failures", 0, OPTION_TEXT, "REASON", "publish although checks fail, and say why", &w.failures },
		{ "--dry-run", 'n', OPTION_FLAG, NULL, "read and compare everything, store nothing", &w.dry_run },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object, with the checks that failed", &w.json },
	};
	struct address a;
	struct domain_command c = { NULL, NULL, NULL };
	struct buf contract = BUF_INIT;
	struct publish_result res;
	struct findings found = { .failed = BUF_INIT };
	struct publish_options o = { 0 };
	char user[64];
	int words;
	(void)ret_status;
	int r = options_parse("publish ADDRESS SOURCE… [options]",
			      "Publishes a version: one folder's content, or several files and folders by name.", specs,
			      sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words < 2)
		return options_wrong(e, "publish", "publish wants an address and at least one source");
	w.sources = (const char *const *)(argv + 1);
	w.source_count = (size_t)words - 1;
	r = address_parse(argv[0], &a, e);
	if (!r)
		r = check_address(&w, &a, e);
	if (!r)
		r = check_onto(&w, &a, e);
	if (!r)
		r = parse_bump(w.bump, &o.bump, e);
	if (!r && w.failures && !*w.failures)
		r = options_wrong(e, "publish", "--with-failures wants a reason");
	if (!r && w.contract)
		r = io_read_file(w.contract, DOC_BYTES_MAX, &contract, e);
	if (!r)
		r = domain_command_open(inv, a.domain, &c, e);
	w.sql_limit_ms = r ? 0 : c.mesh->sql_limit_ms;
	caller_name(user);
	o.product = a.product;
	o.version = *a.version ? a.version : NULL;
	o.onto = w.onto;
	o.contract_name = w.contract;
	o.contract_text = w.contract ? buf_text(&contract) : NULL;
	o.contract_len = contract.len;
	o.failures_reason = w.failures;
	o.publisher = user;
	o.run = getenv("MESHFS_RUN");
	o.dry_run = w.dry_run;
	o.fresh = w.fresh;
	o.interrupted = interrupt_flag();
	for (int i = 0; !r && i < TRIES; i++) {
		err_clear(e);
		r = publish_once(&w, &c, &o, inv->quiet || w.json, &res, &found, e);
		if (r != -EAGAIN)
			break;
		r = i + 1 < TRIES ? 0 : r;
	}
	if (!r && !w.dry_run && !res.unchanged)
		compute_views(inv, c.mesh, &a, res.version, inv->quiet || w.json);
	if (w.json && (!r || (r == -EPERM && *found.version)))
		print_json(&a, &w, r ? NULL : &res, &found, e->text);
	else if (!r && !inv->quiet)
		print_result(&a, &w, &res);
	buf_free(&contract);
	buf_free(&found.failed);
	domain_command_close(&c);
	return r;
}
