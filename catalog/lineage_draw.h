/* A lineage graph as DOT, SVG or JSON.  Pure. */
#ifndef MESHFS_CATALOG_LINEAGE_DRAW_H
#define MESHFS_CATALOG_LINEAGE_DRAW_H

#include "catalog/base/buf.h"

struct lineage_graph;

void lineage_draw_dot(const struct lineage_graph *g, struct buf *ret);
/* {"nodes": […], "edges": […]}, one line. */
void lineage_draw_json(const struct lineage_graph *g, struct buf *ret);
/* Its own layout: layers from left (sources) to right, each node one step beyond the farthest of those it comes from.  -ENOMEM. */
int lineage_draw_svg(const struct lineage_graph *g, struct buf *ret);

#endif
