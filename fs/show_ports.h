/* What a domain's description of products (catalog/odps.h) says of one of them: its ports, for show and README.md. */
#ifndef MESHFS_FS_SHOW_PORTS_H
#define MESHFS_FS_SHOW_PORTS_H

#include "catalog/base/json.h"
#include "catalog/contract.h"
#include "catalog/domain.h"

/* JSON: a field `data_product`, null when no description has the contract among its output ports. */
void show_ports_json(struct snapshot *s, const struct contract *c, struct json *j);
/* Lines of show, nothing without a description. */
void show_ports_lines(struct snapshot *s, const struct contract *c, struct buf *out);
/* A section of README.md, nothing without a description. */
void show_ports_readme(struct snapshot *s, const struct contract *c, struct buf *out);

#endif
