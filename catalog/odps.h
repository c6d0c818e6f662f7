/*
 * A description of data products: the Open Data Product Standard (ODPS) v1.1, read unchanged; unknown fields are kept.
 *
 * One document describes what a team calls a product: its output ports, each a promise by a contract, and the input ports it is made from.
 * A product of the mesh is behind an output port when its contract has the port's `contractId`; where ports of one contract have several
 * versions, the one of the contract's own version.
 *
 * A `struct odps` is immutable; any thread may read it.
 */
#ifndef MESHFS_CATALOG_ODPS_H
#define MESHFS_CATALOG_ODPS_H

#include "catalog/base/doc.h"
#include "catalog/base/err.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stddef.h>

struct odps;

struct odps_port {
	const char *name;
	const char *version, *contract_id, *description, *type; /* or NULL */
	bool deprecated;
};

/* `name` stands in errors.  Parses, and checks everything that the standard asks for: -EINVAL with the first offence and its position. */
int odps_parse(const char *name, const char *text, size_t len, struct odps **ret, struct err *e);
void odps_free(struct odps *p); /* NULL is legal */

const char *odps_id(const struct odps *p);
const char *odps_name(const struct odps *p);    /* or NULL */
const char *odps_purpose(const struct odps *p); /* or NULL */
/* "deprecated" and the like; what `deprecated: true` says goes before `status`.  NULL: nothing is said. */
const char *odps_status(const struct odps *p);
size_t odps_outputs(const struct odps *p, const struct odps_port **ret);
size_t odps_inputs(const struct odps *p, const struct odps_port **ret);

/* The output port that a product with this contract is behind, or NULL. */
const struct odps_port *odps_port_of(const struct odps *p, const struct contract *c);

struct snapshot;
/* The domain's description in which a product with this contract is an output port, or -ENOENT.  odps_free it.  Descriptions that cannot be
 * read are passed over. */
int odps_find(struct snapshot *s, const struct contract *c, struct odps **ret);

#endif
