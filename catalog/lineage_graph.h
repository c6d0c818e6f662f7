/*
 * What came of what: versions, runs and outputs, over any number of steps and domains.
 *
 * Data flows from a version into every run that was served it, from a run into what it published and into the files it recorded as outputs, and
 * from a run started inside another one into that one.  A walk goes against the flow (up) or along it (down) and visits each node once.
 */
#ifndef MESHFS_CATALOG_LINEAGE_GRAPH_H
#define MESHFS_CATALOG_LINEAGE_GRAPH_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAGE_NODES_MAX 1000000u

struct lineage;

enum lineage_node_kind { NODE_VERSION, NODE_RUN, NODE_OUTPUT };

struct lineage_node {
	enum lineage_node_kind kind;
	char *id;    /* address; run id; path */
	char *label; /* address; run's name; path */
	char *extra; /* run: command or NULL; output: SHA-256 */
	char *user, *purpose; /* of a run, or NULL */
	char *output_run;     /* of an output */
	int depth;   /* steps from where the walk began */
};

struct lineage_edge {
	size_t from, to; /* nodes; data flows from → to */
	int64_t opens;   /* of a read; 0: a publication, an output, a run inside a run */
	char *view;      /* of a read that went through one; or NULL */
};

struct lineage_graph {
	struct lineage_node *nodes; /* the first `start_count` are where it began */
	size_t count, start_count;
	struct lineage_edge *edges;
	size_t edge_count;
};

/* `what`: a domain or product (all versions), a version, or a folder or file (down: only runs that were served it), without selectors; or a run (name or id),
 * or the path or SHA-256 of an output.  -ENOENT when nothing is known of it. */
int lineage_walk(struct lineage *l, const char *what, bool down, struct lineage_graph **ret, struct err *e);
/* Everything around the runs called `run` (NULL: all runs): what they read and made. */
int lineage_graph_runs(struct lineage *l, const char *run, struct lineage_graph **ret, struct err *e);
/* The edges of every node: those that leave it (`by_from`) or those that enter it, in order: numbers ret_first[n] … ret_first[n + 1] - 1 of
 * ret_list are edges of node n.  Both arrays are the caller's. */
int lineage_graph_index(const struct lineage_graph *g, bool by_from, size_t **ret_first, size_t **ret_list);
void lineage_graph_free(struct lineage_graph *g); /* NULL is legal */

#endif
