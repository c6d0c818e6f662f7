#include "catalog/lineage_draw.h"

#include "catalog/base/json.h"
#include "catalog/lineage_graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = { "version", "run", "output" };

/* -- DOT ------------------------------------------------------------------------------------- */

static void quote(struct buf *b, const char *text)
{
	buf_addc(b, '"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			buf_addc(b, '\\');
		buf_addc(b, c < ' ' ? ' ' : (char)c);
	}
	buf_addc(b, '"');
}

void lineage_draw_dot(const struct lineage_graph *g, struct buf *ret)
{
	static const char *const shapes[] = { "box", "ellipse", "note" };
	buf_adds(ret, "digraph lineage {\n\trankdir=LR;\n\tnode [fontname=\"sans-serif\", fontsize=10];\n");
	for (size_t i = 0; i < g->count; i++) {
		buf_addf(ret, "\tn%zu [shape=%s, label=", i, shapes[g->nodes[i].kind]);
		quote(ret, g->nodes[i].label);
		buf_adds(ret, "];\n");
	}
	for (size_t i = 0; i < g->edge_count; i++) {
		buf_addf(ret, "\tn%zu -> n%zu", g->edges[i].from, g->edges[i].to);
		if (g->edges[i].view)
			buf_addf(ret, " [style=dashed, label=\"view %.8s\"]", g->edges[i].view);
		buf_adds(ret, ";\n");
	}
	buf_adds(ret, "}\n");
}

/* -- JSON ------------------------------------------------------------------------------------ */

void lineage_draw_json(const struct lineage_graph *g, struct buf *ret)
{
	struct json j;
	json_start(&j, ret);
	json_open(&j, '{');
	json_key(&j, "nodes");
	json_open(&j, '[');
	for (size_t i = 0; i < g->count; i++) {
		json_open(&j, '{');
		json_field_text(&j, "kind", kinds[g->nodes[i].kind]);
		json_field_text(&j, "id", g->nodes[i].id);
		json_field_text(&j, "label", g->nodes[i].label);
		if (g->nodes[i].kind == NODE_OUTPUT)
			json_field_text(&j, "sha256", g->nodes[i].extra);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_key(&j, "edges");
	json_open(&j, '[');
	for (size_t i = 0; i < g->edge_count; i++) {
		json_open(&j, '{');
		json_field_int(&j, "from", (int64_t)g->edges[i].from);
		json_field_int(&j, "to", (int64_t)g->edges[i].to);
		json_field_int(&j, "opens", g->edges[i].opens);
		json_field_text(&j, "view", g->edges[i].view);
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	buf_addc(ret, '\n');
}

/* -- SVG ------------------------------------------------------------------------------------- */

#define NODE_WIDTH 270 /* holds LABEL_MAX characters of the widest usual kind */
#define LABEL_MAX 32
#define NODE_HEIGHT 34
#define GAP_X 90
#define GAP_Y 18
#define MARGIN 20

struct place {
	size_t layer, row;
	double order; /* mean row of the neighbours before it */
	size_t number;
};

/* Longest path from a source; a cycle (a run that reads what it published) ends after as many rounds as there are nodes. */
static void layer_nodes(const struct lineage_graph *g, struct place *places)
{
	bool moved = true;
	for (size_t round = 0; moved && round <= g->count; round++) {
		moved = false;
		for (size_t i = 0; i < g->edge_count; i++) {
			size_t wanted = places[g->edges[i].from].layer + 1;
			if (g->edges[i].from == g->edges[i].to || places[g->edges[i].to].layer >= wanted || wanted >= g->count)
				continue;
			places[g->edges[i].to].layer = wanted;
			moved = true;
		}
	}
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = *(struct place *const *)a, *y = *(struct place *const *)b;
	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void number_rows(struct place **sorted, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sorted[i]->row = i && sorted[i]->layer == sorted[i - 1]->layer ? sorted[i - 1]->row + 1 : 0;
}

/* A few sweeps of the barycentre rule take out most crossings. */
static void order_rows(const struct lineage_graph *g, struct place *places, struct place **sorted, double *sums, size_t *counts)
{
	for (int sweep = 0; sweep < 4; sweep++) {
		memset(sums, 0, (g->count + 1) * sizeof *sums);
		memset(counts, 0, (g->count + 1) * sizeof *counts);
		for (size_t i = 0; i < g->edge_count; i++) {
			size_t near = sweep % 2 ? g->edges[i].to : g->edges[i].from, far = sweep % 2 ? g->edges[i].from : g->edges[i].to;
			sums[far] += (double)places[near].row;
			counts[far]++;
		}
		for (size_t i = 0; i < g->count; i++)
			places[i].order = counts[i] ? sums[i] / (double)counts[i] : (double)places[i].row;
		qsort(sorted, g->count, sizeof *sorted, compare_places);
		number_rows(sorted, g->count);
	}
}

static void escape(struct buf *b, const char *text, size_t max)
{
	size_t len = strlen(text);
	/* A long name shows its end, which differs, not its beginning; cut between characters. */
	const char *from = len > max ? text + len - max : text;
	while (from > text && ((unsigned char)*from & 0xc0) == 0x80)
		from++;
	if (from > text)
		buf_adds(b, "…");
	for (; *from; from++) {
		unsigned char c = (unsigned char)*from;
		if (c == '<')
			buf_adds(b, "&lt;");
		else if (c == '>')
			buf_adds(b, "&gt;");
		else if (c == '&')
			buf_adds(b, "&amp;");
		else if (c == '"')
			buf_adds(b, "&quot;");
		else
			buf_addc(b, c < ' ' ? ' ' : (char)c);
	}
}

static size_t left_of(const struct place *p)
{
	return MARGIN + p->layer * (NODE_WIDTH + GAP_X);
}

static size_t top_of(const struct place *p)
{
	return MARGIN + p->row * (NODE_HEIGHT + GAP_Y);
}

static void draw_edge(const struct lineage_edge *edge, const struct place *places, struct buf *ret)
{
	const struct place *from = &places[edge->from], *to = &places[edge->to];
	size_t x1 = left_of(from) + NODE_WIDTH, y1 = top_of(from) + NODE_HEIGHT / 2, x2 = left_of(to), y2 = top_of(to) + NODE_HEIGHT / 2;
	buf_addf(ret, "<path d=\"M%zu %zuC%zu %zu %zu %zu %zu %zu\" fill=\"none\" stroke=\"#64748b\"%s marker-end=\"url(#tip)\">", x1, y1, x1 + GAP_X / 2, y1,
		 x2 > GAP_X / 2 ? x2 - GAP_X / 2 : 0, y2, x2, y2, edge->view ? " stroke-dasharray=\"5 3\"" : "");
	if (edge->view)
		buf_addf(ret, "<title>through view %.12s</title>", edge->view);
	buf_adds(ret, "</path>\n");
}

static void draw_node(const struct lineage_node *n, const struct place *place, struct buf *ret)
{
	static const char *const fills[] = { "#dbeafe", "#fef3c7", "#dcfce7" };
	size_t x = left_of(place), y = top_of(place);
	buf_addf(ret, "<g><title>%s ", kinds[n->kind]);
	escape(ret, n->label, SIZE_MAX);
	buf_addf(ret, "</title><rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\" stroke=\"#475569\"/><text x=\"%zu\" y=\"%zu\">", x, y,
		 NODE_WIDTH, NODE_HEIGHT, n->kind == NODE_RUN ? NODE_HEIGHT / 2 : 3, fills[n->kind], x + 12, y + 21);
	escape(ret, n->label, LABEL_MAX);
	buf_adds(ret, "</text></g>\n");
}

static void draw(const struct lineage_graph *g, const struct place *places, struct buf *ret)
{
	size_t width = 0, height = 0;
	for (size_t i = 0; i < g->count; i++) {
		size_t right = left_of(&places[i]) + NODE_WIDTH + MARGIN, bottom = top_of(&places[i]) + NODE_HEIGHT + MARGIN;
		width = right > width ? right : width;
		height = bottom > height ? bottom : height;
	}
	buf_addf(ret, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%zu\" height=\"%zu\" viewBox=\"0 0 %zu %zu\" font-family=\"sans-serif\" font-size=\"12\">\n",
		 width, height, width, height);
	buf_adds(ret, "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">"
		      "<path d=\"M0 0L8 4L0 8z\" fill=\"#64748b\"/></marker></defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
	for (size_t i = 0; i < g->edge_count; i++)
		draw_edge(&g->edges[i], places, ret);
	for (size_t i = 0; i < g->count; i++)
		draw_node(&g->nodes[i], &places[i], ret);
	buf_adds(ret, "</svg>\n");
}

int lineage_draw_svg(const struct lineage_graph *g, struct buf *ret)
{
	struct place *places = calloc(g->count + 1, sizeof *places);
	struct place **sorted = calloc(g->count + 1, sizeof *sorted);
	double *sums = calloc(g->count + 1, sizeof *sums);
	size_t *counts = calloc(g->count + 1, sizeof *counts);
	int r = places && sorted && sums && counts ? 0 : -ENOMEM;
	if (!r) {
		for (size_t i = 0; i < g->count; i++) {
			places[i].number = i;
			sorted[i] = &places[i];
		}
		layer_nodes(g, places);
		qsort(sorted, g->count, sizeof *sorted, compare_places);
		number_rows(sorted, g->count);
		order_rows(g, places, sorted, sums, counts);
		draw(g, places, ret);
		r = buf_check(ret);
	}
	free(places);
	free(sorted);
	free(sums);
	free(counts);
	return r;
}
