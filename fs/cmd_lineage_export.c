/* meshfs lineage export: for other tools, and for eyes. */
#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "catalog/domain.h"
#include "catalog/lineage.h"
#include "catalog/lineage_draw.h"
#include "catalog/lineage_graph.h"
#include "catalog/lineage_query.h"
#include "catalog/mesh.h"
#include "catalog/store/store.h"
#include "fs/cmd_lineage.h"
#include "fs/drain.h"
#include "fs/lineage_sync.h"
#include "fs/named.h"
#include "fs/openlineage.h"
#include "fs/openlineage_send.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct export {
	const char *format, *run, *output, *address, *to;
	struct mesh_config *mesh;
	struct lineage *l;
	struct buf text;
	struct transfer *transfer;
	struct domain **domains; /* as mesh->domains; opened when first asked for, from what the cache knows */
	struct err *e;
};

/* -- contracts ------------------------------------------------------------------------------- */

static struct domain *domain_of(struct export *x, const char *name)
{
	for (size_t i = 0; i < x->mesh->domain_count; i++) {
		if (strcmp(x->mesh->domains[i].name, name) != 0)
			continue;
		if (!x->domains[i] && domain_open(x->mesh, &x->mesh->domains[i], x->transfer, &x->domains[i], NULL))
			return NULL;
		return x->domains[i];
	}
	return NULL;
}

static struct contract *read_contract(struct snapshot *s, const struct address *a)
{
	struct version_info v;
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	if (snapshot_version(s, a->product, a->version, &v))
		return NULL;
	if (!snapshot_contract(s, &v.contract, &text) && text.len)
		contract_parse(a->product, text.data, text.len, &c, NULL);
	buf_free(&text);
	version_info_fini(&v);
	return c;
}

static struct contract *contract_of(void *arg, const char *version_address)
{
	struct address a;
	if (address_parse(version_address, &a, NULL))
		return NULL;
	struct domain *d = domain_of(arg, a.domain);
	struct snapshot *s = d ? domain_snapshot(d) : NULL;
	struct contract *c = s ? read_contract(s, &a) : NULL;
	snapshot_unref(s);
	return c;
}

/* -- formats --------------------------------------------------------------------------------- */

static int flush_text(struct export *x)
{
	if (x->output || !x->text.len)
		return 0;
	if (fwrite(x->text.data, 1, x->text.len, stdout) != x->text.len)
		return -EPIPE;
	buf_clear(&x->text);
	return 0;
}

static int export_run(void *arg, const struct lineage_run_row *row)
{
	struct export *x = arg;
	struct openlineage_contracts contracts = { contract_of, x };
	int r = openlineage_run(x->l, x->mesh, &contracts, row, &x->text, x->e);
	return r ? r : flush_text(x);
}

/* Both ways from an address: all that it came of and all that came of it. */
static int graph_of(struct export *x, const struct invocation *inv, bool down, struct lineage_graph **ret, struct err *e)
{
	return x->address ? named_walk(inv, x->l, x->address, down, ret, e) : lineage_graph_runs(x->l, x->run, ret, e);
}

static int export_graph(struct export *x, const struct invocation *inv, bool down, struct err *e)
{
	struct lineage_graph *g = NULL;
	int r = graph_of(x, inv, down, &g, e);
	if (r)
		return r;
	if (!strcmp(x->format, "dot"))
		lineage_draw_dot(g, &x->text);
	else if (!strcmp(x->format, "svg"))
		r = lineage_draw_svg(g, &x->text);
	else
		lineage_draw_json(g, &x->text);
	lineage_graph_free(g);
	if (!r)
		r = buf_check(&x->text);
	return r ? err_set(e, r, "no memory for the picture") : flush_text(x);
}

static int start(struct export *x, const struct invocation *inv, struct err *e)
{
	int r = mesh_open(inv->mesh_path, &x->mesh, e);
	if (!r)
		r = drain_open(x->mesh, &x->l, e);
	if (!r)
		r = lineage_sync(x->l, x->mesh, e);
	if (!r)
		r = transfer_start(&(struct transfer_config){ .deadline_ms = 10000 }, &x->transfer, e);
	if (!r && !(x->domains = calloc(x->mesh->domain_count + 1, sizeof *x->domains)))
		r = err_set(e, -ENOMEM, "no memory for the domains");
	return r;
}

static void finish(struct export *x)
{
	for (size_t i = 0; x->domains && i < x->mesh->domain_count; i++)
		if (x->domains[i])
			domain_free(x->domains[i]);
	free(x->domains);
	if (x->transfer)
		transfer_stop(x->transfer);
	lineage_close(x->l);
	mesh_config_free(x->mesh);
	buf_free(&x->text);
}

static int send(struct export *x, bool quiet, struct err *e)
{
	struct openlineage_contracts contracts = { contract_of, x };
	int64_t sent = 0;
	int r = openlineage_send(x->l, x->mesh, &contracts, x->transfer, x->to, &sent, e);
	if (!r && !quiet)
		printf("%lld events sent\n", (long long)sent);
	return r;
}

static int check_words(const struct export *x, int words, struct err *e)
{
	static const char *const formats[] = { "openlineage", "dot", "svg", "json" };
	bool known = false;
	for (size_t i = 0; i < 4 && x->format; i++)
		known |= !strcmp(x->format, formats[i]);
	if (!known)
		return options_wrong(e, "lineage export", "lineage export: wants --format openlineage, dot, svg or json");
	if (x->to && (strcmp(x->format, "openlineage") != 0 || words || x->run || x->output))
		return options_wrong(e, "lineage export", "lineage export: --to sends the OpenLineage events of all runs; it goes with nothing else");
	if (words > 1 || (words && x->run))
		return options_wrong(e, "lineage export", "lineage export: one address or one --run, not both");
	if (words && !strcmp(x->format, "openlineage"))
		return options_wrong(e, "lineage export", "lineage export: OpenLineage events are of runs; give --run or nothing");
	return 0;
}

int lineage_verb_export(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct export x = { .text = BUF_INIT, .e = e };
	bool down = false, json = false;
	const struct option_spec specs[] = {
		{ "--format", 0, OPTION_TEXT, "F", "openlineage (events), dot, svg or json (a graph)", &x.format },
		{ "--run", 0, OPTION_TEXT, "R", "only this run (its name or id)", &x.run },
		{ "--down", 0, OPTION_FLAG, NULL, "with an address: what was made from it (else what it was made from)", &down },
		{ "--to", 0, OPTION_TEXT, "URL|FILE", "send OpenLineage events there, each once; what cannot be sent waits for the next time", &x.to },
		{ "--output", 'o', OPTION_TEXT, "FILE", "write there, not to the terminal", &x.output },
		{ "--json", 0, OPTION_FLAG, NULL, "the same as --format json", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage export --format F [--run R] [--to URL|FILE] [ADDRESS]", "Writes the lineage for other tools.", specs, 6, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (!x.format)
		x.format = json ? "json" : x.to ? "openlineage" : NULL;
	r = check_words(&x, words, e);
	if (r)
		return r;
	x.address = words ? argv[0] : NULL;
	r = start(&x, inv, e);
	if (!r && x.to)
		r = send(&x, inv->quiet, e);
	else if (!r && !strcmp(x.format, "openlineage"))
		r = lineage_runs(x.l, x.run, export_run, &x, e);
	else if (!r)
		r = export_graph(&x, inv, down, e);
	if (!r && x.output)
		r = io_write_output(x.output, buf_text(&x.text), x.text.len, 0644, e);
	finish(&x);
	return r == -EPIPE ? 0 : r;
}
