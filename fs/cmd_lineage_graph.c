/* meshfs lineage up, down. */
#include "catalog/base/buf.h"
#include "catalog/base/json.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_graph.h"
#include "catalog/mesh.h"
#include "fs/cmd_lineage.h"
#include "fs/drain.h"
#include "fs/lineage_sync.h"
#include "fs/named.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *kind_name(enum lineage_node_kind kind)
{
	return kind == NODE_VERSION ? "version" : kind == NODE_RUN ? "run" : "output";
}

void lineage_warn_gaps(struct lineage *l)
{
	struct db_stmt *s;
	if (db_prepare(lineage_db(l), "SELECT coalesce(sum(lost), 0), min(first), max(last) FROM mesh_gaps", &s, NULL))
		return;
	if (db_step(s, NULL) == DB_ROW && db_int(s, 0))
		log_warn("%lld opens between %s and %s are not on record, and whoever made them is not in this answer ('meshfs lineage verify' lists the gaps)",
			 (long long)db_int(s, 0), db_text(s, 1) ? db_text(s, 1) : "?", db_text(s, 2) ? db_text(s, 2) : "?");
	db_finalize(s);
}

/* -- JSON: a line a node --------------------------------------------------------------------- */

static void node_json(const struct lineage_graph *g, size_t at, bool down, const size_t *first, const size_t *list, struct buf *line)
{
	const struct lineage_node *n = &g->nodes[at];
	struct json j;
	json_start(&j, line);
	json_open(&j, '{');
	json_field_text(&j, "kind", kind_name(n->kind));
	json_field_int(&j, "depth", n->depth);
	if (n->kind == NODE_VERSION) {
		json_field_text(&j, "address", n->id);
	} else if (n->kind == NODE_RUN) {
		json_field_text(&j, "run", n->id);
		json_field_text(&j, "name", n->label);
		json_field_text(&j, "user", n->user);
		json_field_text(&j, "purpose", n->purpose);
		json_field_text(&j, "command", n->extra);
	} else {
		json_field_text(&j, "path", n->id);
		json_field_text(&j, "sha256", n->extra);
		json_field_text(&j, "run", n->output_run);
	}
	json_key(&j, "from");
	json_open(&j, '[');
	for (size_t i = first[at]; i < first[at + 1]; i++) {
		const struct lineage_edge *edge = &g->edges[list[i]];
		const char *near = g->nodes[down ? edge->from : edge->to].id;
		/* Reads through several views are several edges. */
		if (i == first[at] || strcmp(near, g->nodes[down ? g->edges[list[i - 1]].from : g->edges[list[i - 1]].to].id) != 0)
			json_text(&j, near);
	}
	json_close(&j, ']');
	json_close(&j, '}');
	buf_addc(line, '\n');
}

/* -- a tree for people ----------------------------------------------------------------------- */

#define INDENT_MAX 200

struct tree {
	const struct lineage_graph *g;
	bool down;
	bool *shown;
	size_t *first, *list; /* the edges onward from every node */
};

static void node_line(const struct lineage_node *n, const char *view, int64_t opens, int indent)
{
	printf("%*s%s ", indent, "", kind_name(n->kind));
	lineage_print_safe(n->label);
	if (n->kind == NODE_RUN && n->user)
		lineage_print_who(n->user, n->purpose);
	if (n->kind == NODE_OUTPUT && n->extra)
		printf("  sha256 %.12s", n->extra);
	if (opens)
		printf("  %lld open%s", (long long)opens, opens == 1 ? "" : "s");
	if (view)
		printf(" through view %.12s", view);
}

static void show(struct tree *t, size_t at, const struct lineage_edge *edge, int indent)
{
	node_line(&t->g->nodes[at], edge ? edge->view : NULL, edge ? edge->opens : 0, indent);
	if (t->shown[at]) {
		printf("  (see above)\n");
		return;
	}
	printf("\n");
	t->shown[at] = true;
	for (size_t i = t->first[at]; i < t->first[at + 1]; i++) {
		const struct lineage_edge *onward = &t->g->edges[t->list[i]];
		if (indent >= INDENT_MAX) {
			printf("%*s… (--json shows all)\n", indent + 2, "");
			break;
		}
		show(t, t->down ? onward->to : onward->from, onward, indent + 2);
	}
}

static int print_json(const struct lineage_graph *g, bool down, struct err *e)
{
	struct buf line = BUF_INIT;
	size_t *first = NULL, *list = NULL;
	int r = lineage_graph_index(g, !down, &first, &list);
	for (size_t i = 0; i < g->count && !r; i++) {
		node_json(g, i, down, first, list, &line);
		r = buf_check(&line);
		if (!r && fwrite(buf_text(&line), 1, line.len, stdout) != line.len)
			break; /* the reader has seen enough */
		buf_clear(&line);
	}
	buf_free(&line);
	free(first);
	free(list);
	return r ? err_set(e, r, "no memory for the answer") : 0;
}

static int print_tree(const struct lineage_graph *g, bool down, struct err *e)
{
	struct tree t = { .g = g, .down = down, .shown = calloc(g->count + 1, sizeof *t.shown) };
	int r = t.shown ? lineage_graph_index(g, down, &t.first, &t.list) : -ENOMEM;
	for (size_t i = 0; i < g->start_count && !r; i++)
		show(&t, i, NULL, 0);
	free(t.shown);
	free(t.first);
	free(t.list);
	return r ? err_set(e, r, "no memory for the answer") : 0;
}

static int walk(const struct invocation *inv, int argc, char **argv, const char *usage, const char *about, bool down, struct err *e)
{
	bool json = false;
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: version, run or output", &json } };
	int words;
	int r = options_parse(usage, about, specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "lineage", "wants one address, run or output");
	struct mesh_config *mesh = NULL;
	struct lineage *l = NULL;
	struct lineage_graph *g = NULL;
	r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r)
		r = drain_open(mesh, &l, e);
	if (!r)
		r = lineage_sync(l, mesh, e);
	if (!r)
		r = named_walk(inv, l, argv[0], down, &g, e);
	if (!r)
		lineage_warn_gaps(l);
	if (!r)
		r = json ? print_json(g, down, e) : print_tree(g, down, e);
	lineage_graph_free(g);
	lineage_close(l);
	mesh_config_free(mesh);
	return r;
}

int lineage_verb_up(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	return walk(inv, argc, argv, "lineage up ADDRESS", "What an address, run or output was made from, over all steps that are on record.", false, e);
}

int lineage_verb_down(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	return walk(inv, argc, argv, "lineage down ADDRESS", "What was made from an address, run or output: runs, versions, outputs.", true, e);
}
