#include "catalog/lineage_graph.h"

#include "catalog/address.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct walk {
	struct lineage *l;
	struct lineage_graph *g;
	struct map *seen; /* key → node number + 1, as a pointer */
	size_t node_room, edge_room;
	const char *path; /* of the start: restricts its first step; "" for none */
};

static void node_fini(struct lineage_node *n)
{
	free(n->id);
	free(n->label);
	free(n->extra);
	free(n->user);
	free(n->purpose);
	free(n->output_run);
}

void lineage_graph_free(struct lineage_graph *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++)
		node_fini(&g->nodes[i]);
	for (size_t i = 0; i < g->edge_count; i++)
		free(g->edges[i].view);
	free(g->nodes);
	free(g->edges);
	free(g);
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

/* -- nodes and edges ------------------------------------------------------------------------- */

/* The node's number; made when it is new. */
static int add_node(struct walk *w, const struct lineage_node *n, size_t *ret, struct err *e)
{
	char *key = text_format("%d\n%s\n%s", (int)n->kind, n->id, n->kind == NODE_OUTPUT && n->extra ? n->extra : "");
	if (!key)
		return err_set(e, -ENOMEM, "no memory for the lineage graph");
	size_t number = (size_t)(uintptr_t)map_gets(w->seen, key);
	int r = 0;
	if (number) {
		*ret = number - 1;
		goto out;
	}
	if (w->g->count == LINEAGE_NODES_MAX) {
		r = err_set(e, -E2BIG, "the lineage has more than %u nodes; ask for something narrower", LINEAGE_NODES_MAX);
		goto out;
	}
	if (w->g->count == w->node_room) {
		size_t room = w->node_room ? w->node_room * 2 : 64;
		struct lineage_node *more = realloc(w->g->nodes, room * sizeof *more);
		if (!more) {
			r = err_set(e, -ENOMEM, "no memory for the lineage graph");
			goto out;
		}
		w->g->nodes = more;
		w->node_room = room;
	}
	struct lineage_node *slot = &w->g->nodes[w->g->count];
	*slot = (struct lineage_node){ n->kind, copy(n->id), copy(n->label ? n->label : n->id), copy(n->extra), copy(n->user), copy(n->purpose),
				       copy(n->output_run), n->depth };
	w->g->count++;
	if (!slot->id || !slot->label || map_sets(w->seen, key, (void *)(uintptr_t)w->g->count))
		r = err_set(e, -ENOMEM, "no memory for the lineage graph");
	*ret = w->g->count - 1;
out:
	free(key);
	return r;
}

static int add_edge(struct walk *w, size_t from, size_t to, int64_t opens, const char *view, struct err *e)
{
	if (w->g->edge_count == w->edge_room) {
		size_t room = w->edge_room ? w->edge_room * 2 : 64;
		struct lineage_edge *more = realloc(w->g->edges, room * sizeof *more);
		if (!more)
			return err_set(e, -ENOMEM, "no memory for the lineage graph");
		w->g->edges = more;
		w->edge_room = room;
	}
	w->g->edges[w->g->edge_count++] = (struct lineage_edge){ from, to, opens, view && view[0] ? copy(view) : NULL };
	return 0;
}

/* -- steps ----------------------------------------------------------------------------------- */

/* A step is a query whose rows are (id, label, extra, user, purpose, opens, view) of neighbours. */
struct step {
	enum lineage_node_kind from, to;
	bool down;
	const char *sql; /* ?1: the node's id; ?2: the start's path, ?3: its output's hash */
};

#define RUN_COLUMNS "r.uuid, r.name, r.command, r.user, r.purpose"

static const struct step steps[] = {
	{ NODE_VERSION, NODE_RUN, true,
	  "SELECT " RUN_COLUMNS ", sum(i.opens), max(d.view) FROM inputs i JOIN runs r ON r.id = i.run JOIN decisions d ON d.id = i.decision"
	  " WHERE i.version = (SELECT id FROM versions WHERE address = ?1) AND d.outcome = 1 GROUP BY i.run, d.view ORDER BY r.started_ns, r.uuid" },
	{ NODE_RUN, NODE_VERSION, true,
	  "SELECT v.address, NULL, NULL, NULL, NULL, 0, NULL FROM publications p JOIN versions v ON v.id = p.version WHERE p.run = ?1"
	  " ORDER BY p.published_ns, v.address" },
	{ NODE_RUN, NODE_OUTPUT, true,
	  "SELECT path, path, sha256, run, NULL, 0, NULL FROM artifacts WHERE run = ?1 ORDER BY path" },
	{ NODE_RUN, NODE_RUN, true,
	  "SELECT " RUN_COLUMNS ", 0, NULL FROM runs c JOIN runs r ON r.uuid = c.parent WHERE c.uuid = ?1" },
	{ NODE_VERSION, NODE_RUN, false,
	  "SELECT p.run, coalesce(r.name, p.run), r.command, r.user, r.purpose, 0, NULL FROM publications p LEFT JOIN runs r ON r.uuid = p.run"
	  " WHERE p.version = (SELECT id FROM versions WHERE address = ?1) AND p.run IS NOT NULL" },
	{ NODE_RUN, NODE_VERSION, false,
	  "SELECT v.address, NULL, NULL, NULL, NULL, sum(i.opens), max(d.view) FROM inputs i JOIN versions v ON v.id = i.version"
	  " JOIN decisions d ON d.id = i.decision WHERE i.run = (SELECT id FROM runs WHERE uuid = ?1) AND d.outcome = 1"
	  " GROUP BY v.address, d.view ORDER BY v.address" },
	{ NODE_OUTPUT, NODE_RUN, false,
	  "SELECT " RUN_COLUMNS ", 0, NULL FROM artifacts a JOIN runs r ON r.uuid = a.run WHERE a.path = ?1 AND a.sha256 = ?3 ORDER BY r.started_ns" },
	{ NODE_RUN, NODE_RUN, false,
	  "SELECT " RUN_COLUMNS ", 0, NULL FROM runs r WHERE r.parent = ?1 ORDER BY r.started_ns" },
};

/* The first step down from a folder or file: only who was served something of it. */
static const struct step file_step = {
	NODE_VERSION, NODE_RUN, true,
	"SELECT " RUN_COLUMNS ", sum(x.opens), max(d.view) FROM files f JOIN reads x ON x.file = f.id JOIN runs r ON r.id = x.run"
	" JOIN decisions d ON d.id = x.decision WHERE f.version = (SELECT id FROM versions WHERE address = ?1)"
	" AND (f.path = ?2 OR (f.path > ?2 || '/' AND f.path < ?2 || '0')) AND d.outcome = 1 GROUP BY x.run, d.view ORDER BY r.started_ns, r.uuid",
};

static int take_step(struct walk *w, size_t at, const struct step *step, struct err *e)
{
	struct db_stmt *s;
	int r = db_cached(lineage_db(w->l), step->sql, &s, e);
	if (r)
		return r;
	db_bind_text(s, 1, w->g->nodes[at].id);
	if (strstr(step->sql, "?2"))
		db_bind_text(s, 2, w->path);
	if (strstr(step->sql, "?3"))
		db_bind_text(s, 3, w->g->nodes[at].extra);
	int depth = w->g->nodes[at].depth + 1;
	while ((r = db_step(s, e)) == DB_ROW) {
		struct lineage_node n = { .kind = step->to, .id = (char *)db_text(s, 0), .label = (char *)db_text(s, 1), .extra = (char *)db_text(s, 2),
					  .purpose = (char *)db_text(s, 4), .depth = depth };
		*(step->to == NODE_OUTPUT ? &n.output_run : &n.user) = (char *)db_text(s, 3);
		size_t to;
		r = add_node(w, &n, &to, e);
		if (!r)
			r = step->down ? add_edge(w, at, to, db_int(s, 5), db_text(s, 6), e) : add_edge(w, to, at, db_int(s, 5), db_text(s, 6), e);
		if (r)
			break;
	}
	db_reset(s);
	return r;
}

static int expand(struct walk *w, size_t at, bool down, struct err *e)
{
	enum lineage_node_kind kind = w->g->nodes[at].kind;
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		const struct step *step = &steps[i];
		if (step->from != kind || step->down != down)
			continue;
		if (down && kind == NODE_VERSION && at < w->g->start_count && w->path[0])
			step = &file_step;
		int r = take_step(w, at, step, e);
		if (r)
			return r;
	}
	return 0;
}

/* -- where it begins ------------------------------------------------------------------------- */

static int add_starts(struct walk *w, enum lineage_node_kind kind, const char *sql, const char *first, const char *second, struct err *e)
{
	struct db_stmt *s;
	int r = db_prepare(lineage_db(w->l), sql, &s, e);
	if (r)
		return r;
	if (first)
		db_bind_text(s, 1, first);
	if (second)
		db_bind_text(s, 2, second);
	while ((r = db_step(s, e)) == DB_ROW) {
		size_t at;
		struct lineage_node n = { .kind = kind, .id = (char *)db_text(s, 0), .label = (char *)db_text(s, 1), .extra = (char *)db_text(s, 2),
					  .purpose = (char *)db_text(s, 4) };
		*(kind == NODE_OUTPUT ? &n.output_run : &n.user) = (char *)db_text(s, 3);
		r = add_node(w, &n, &at, e);
		if (r)
			break;
	}
	db_finalize(s);
	return r;
}

static const char runs_called[] = "SELECT uuid, name, command, user, purpose FROM runs WHERE uuid = ?1 OR name = ?1 ORDER BY started_ns";

static int start_versions(struct walk *w, const char *what, struct err *e)
{
	struct address a;
	if (address_parse(what, &a, NULL))
		return 0;
	char *product = text_format("%s/%s", a.domain, a.product);
	if (!product)
		return err_set(e, -ENOMEM, "no memory for an address");
	w->path = a.path;
	int r = add_starts(w, NODE_VERSION,
			   a.version[0]   ? "SELECT address, NULL, NULL, NULL, NULL FROM versions WHERE product = ?1 AND version = ?2"
			   : a.product[0] ? "SELECT address, NULL, NULL, NULL, NULL FROM versions WHERE product = ?1 ORDER BY id"
					  : "SELECT address, NULL, NULL, NULL, NULL FROM versions WHERE product > ?1"
					    " AND product < substr(?1, 1, length(?1) - 1) || '0' ORDER BY id",
			   product, a.version[0] ? a.version : NULL, e);
	free(product);
	return r;
}

static int start(struct walk *w, const char *what, struct err *e)
{
	bool product = strchr(what, '/') != NULL; /* a run may be called like a domain: then it is meant */
	int r = product ? start_versions(w, what, e) : 0;
	if (!r && !w->g->count)
		r = add_starts(w, NODE_RUN, runs_called, what, NULL, e);
	if (!r && !w->g->count)
		r = add_starts(w, NODE_OUTPUT,
			       "SELECT path, path, sha256, run, NULL FROM artifacts WHERE sha256 = ?1 OR path = ?1 OR substr(path, -length(?1) - 1) = '/' || ?1 ORDER BY recorded_ns",
			       what, NULL, e);
	if (!r && !w->g->count && !product)
		r = start_versions(w, what, e);
	if (!r && !w->g->count)
		r = err_set(e, -ENOENT, "%s: nothing is known of it: no version that was read or published here, no run ('meshfs lineage runs' lists them), no output",
			    what);
	w->g->start_count = w->g->count;
	return r;
}

static int walk_init(struct walk *w, struct lineage *l, struct err *e)
{
	*w = (struct walk){ .l = l, .g = calloc(1, sizeof *w->g), .seen = map_new(), .path = "" };
	return w->g && w->seen ? 0 : err_set(e, -ENOMEM, "no memory for the lineage graph");
}

static int walk_end(struct walk *w, int r, struct lineage_graph **ret)
{
	map_free(w->seen, NULL);
	if (r)
		lineage_graph_free(w->g);
	else
		*ret = w->g;
	return r;
}

int lineage_walk(struct lineage *l, const char *what, bool down, struct lineage_graph **ret, struct err *e)
{
	struct walk w;
	int r = walk_init(&w, l, e);
	if (!r)
		r = start(&w, what, e);
	for (size_t at = 0; !r && at < w.g->count; at++)
		r = expand(&w, at, down, e);
	return walk_end(&w, r, ret);
}

int lineage_graph_runs(struct lineage *l, const char *run, struct lineage_graph **ret, struct err *e)
{
	struct walk w;
	int r = walk_init(&w, l, e);
	if (!r)
		r = add_starts(&w, NODE_RUN, run ? runs_called : "SELECT uuid, name, command, user, purpose FROM runs ORDER BY started_ns", run, NULL, e);
	if (!r && run && !w.g->count)
		r = err_set(e, -ENOENT, "%s: no such run; 'meshfs lineage runs' lists them", run);
	if (!r)
		w.g->start_count = w.g->count;
	for (size_t at = 0; !r && at < w.g->start_count; at++) {
		r = expand(&w, at, false, e);
		if (!r)
			r = expand(&w, at, true, e);
	}
	return walk_end(&w, r, ret);
}

int lineage_graph_index(const struct lineage_graph *g, bool by_from, size_t **ret_first, size_t **ret_list)
{
	size_t *first = calloc(g->count + 2, sizeof *first), *list = malloc((g->edge_count + 1) * sizeof *list);
	if (!first || !list) {
		free(first);
		free(list);
		return -ENOMEM;
	}
	/* Counting sort; first[n + 1] is where the next edge of node n goes. */
	for (size_t i = 0; i < g->edge_count; i++)
		first[(by_from ? g->edges[i].from : g->edges[i].to) + 2]++;
	for (size_t n = 2; n < g->count + 2; n++)
		first[n] += first[n - 1];
	for (size_t i = 0; i < g->edge_count; i++)
		list[first[(by_from ? g->edges[i].from : g->edges[i].to) + 1]++] = i;
	*ret_first = first;
	*ret_list = list;
	return 0;
}
