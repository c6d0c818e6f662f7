/*
 * The mesh file (mesh.yaml): domains, policy folder, cache, lineage, keys, views.
 *
 * A `struct mesh_config` never changes after loading; any thread may read it.
 */
#ifndef MESHFS_CATALOG_MESH_H
#define MESHFS_CATALOG_MESH_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct transfer;

struct mesh_domain {
	char *name;
	char *store;    /* URL: file://, http://, https://, s3:// */
	char *endpoint; /* or NULL */
	char *region;   /* or NULL */
	char *owner;    /* or NULL */
	bool single_writer; /* the store cannot create exclusively (probed by `domain add`) */
};

struct mesh_key {
	char *name;
	char *path; /* absolute */
};

struct mesh_view_subject { /* whose views are computed at publish */
	char *user, *group, *purpose; /* or NULL */
};

enum lineage_on_full { LINEAGE_FULL_WAIT, LINEAGE_FULL_SERVE };

struct mesh_config {
	char *name;
	char *path;   /* of mesh.yaml, absolute */
	char *folder; /* it stands in */
	struct mesh_domain *domains;
	size_t domain_count;
	char *policy_folder; /* absolute */
	char *cache_folder;  /* absolute */
	uint64_t cache_limit_bytes;
	char *lineage_db; /* absolute */
	enum lineage_on_full lineage_on_full;
	int64_t lineage_keep_ms; /* reads are pruned when they are older; 0: never by themselves */
	int64_t refresh_ms;
	int64_t timeout_ms; /* how long a read waits for a store */
	int64_t sql_limit_ms; /* how long the sql checks of a version may take together */
	struct mesh_key *keys;
	size_t key_count;
	struct mesh_view_subject *views;
	size_t view_count;
};

/* Finds the mesh file: `given` (-m), else $MESHFS_MESH, else mesh.yaml here or in a parent folder, else
 * ~/.config/meshfs/mesh.yaml, else /etc/meshfs/mesh.yaml.  `ret` is the caller's.  -ENOENT says where it looked. */
int mesh_find(const char *given, char **ret, struct err *e);
int mesh_load(const char *path, struct mesh_config **ret, struct err *e);
/* Both at once: what nearly every command starts with. */
int mesh_open(const char *given, struct mesh_config **ret, struct err *e);
/* A transfer engine that is as patient as `timeout` says. */
int mesh_transfer_start(const struct mesh_config *m, struct transfer **ret, struct err *e);
/* The text of a mesh file; `path` is where it stands (or would stand). */
int mesh_parse(const char *path, const char *text, size_t len, struct mesh_config **ret, struct err *e);
void mesh_config_free(struct mesh_config *m);
/* An absolute path as a file:// URL (a new string). */
char *mesh_path_to_url(const char *path);
/* Is it a URL that a domain's store may have (scheme, place, no credentials)?  0 or -EINVAL. */
int mesh_store_check(const char *url, struct err *e);

/* NULL when there is none. */
const struct mesh_domain *mesh_domain_find(const struct mesh_config *m, const char *name);
const struct mesh_key *mesh_key_find(const struct mesh_config *m, const char *name);
/* As above with an error that suggests the nearest name (-ENOENT). */
int mesh_domain_get(const struct mesh_config *m, const char *name, const struct mesh_domain **ret, struct err *e);

/* `init`: writes mesh.yaml and policy/ with a commented starting policy into `folder` (made if absent).  Refuses (-EEXIST) to
 * overwrite a mesh. */
int mesh_create(const char *folder, const char *name, struct err *e);
/* `domain add`: inserts the domain into mesh.yaml, keeping comments and layout, atomically. */
int mesh_add_domain(const char *path, const struct mesh_domain *d, struct err *e);
/* The same on a text (a NUL byte follows its `len` bytes): the new one goes to `ret`. */
int mesh_insert_domain(const char *path, const char *text, size_t len, const struct mesh_domain *d, struct buf *ret, struct err *e);
/* `policy key new`: names a key file (relative to mesh.yaml) in mesh.yaml, keeping comments and layout, atomically. */
int mesh_add_key(const char *path, const char *name, const char *file, struct err *e);

#endif
