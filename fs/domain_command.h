/*
 * What commands on one domain start with: the mesh file, the transfer engine, the domain.
 */
#ifndef MESHFS_FS_DOMAIN_COMMAND_H
#define MESHFS_FS_DOMAIN_COMMAND_H

#include "catalog/domain.h"
#include "catalog/mesh.h"
#include "fs/options.h"

struct domain_command {
	struct mesh_config *mesh;
	struct transfer *transfer;
	struct domain *domain;
};

int domain_command_open(const struct invocation *inv, const char *domain, struct domain_command *ret, struct err *e);
void domain_command_close(struct domain_command *c);

/* The caller's user name ("uid 1000" when it has none); 64 bytes are enough. */
void caller_name(char ret_name[64]);

/* From now on SIGINT and SIGTERM set the flag that is returned; a second one ends the process as usual. */
#include <stdatomic.h>
const atomic_bool *interrupt_flag(void);

#endif
