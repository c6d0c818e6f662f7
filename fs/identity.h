/*
 * Who a session or a command is for: a user of this host with his groups.  With purpose and run it makes a subject (policy/decide.h).
 */
#ifndef MESHFS_FS_IDENTITY_H
#define MESHFS_FS_IDENTITY_H

#include "catalog/base/err.h"
#include "policy/decide.h"

struct identity {
	uid_t uid;
	gid_t gid;
	char *user;    /* his name, or his number when he has none */
	char **groups; /* by name; NULL ends it */
	size_t group_count;
};

/* `user` is a name or a number; NULL: the caller.  -ENOENT: there is no such user.  Fini what is returned. */
int identity_of(const char *user, struct identity *ret, struct err *e);
void identity_fini(struct identity *who);
/* The subject borrows from `who`; purpose, run and host are left empty. */
void identity_subject(const struct identity *who, struct subject *ret);
/* Does the caller hold the mesh: root, or the owner of the mesh file?  Policy binds others only. */
bool identity_holds(const struct mesh_config *mesh);

#endif
