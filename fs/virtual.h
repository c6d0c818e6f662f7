/*
 * Generated files: READMEs, contract.yaml, .mesh/….  One table a folder; a part that knows how to make another one adds a line.
 */
#ifndef MESHFS_FS_VIRTUAL_H
#define MESHFS_FS_VIRTUAL_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct session;
struct vnode;

struct virtual_file {
	const char *name;
	/* Writes the file as this session may see it.  -ENOENT: this place has none.  Never waits for the network, except on a worker for
	 * `slow` ones. */
	int (*make)(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
	bool changing; /* made anew at every open (read directly); else made once a node */
	bool slow;     /* made on a worker */
	bool optional; /* not every place has one */
	const char *media_type;
};

enum virtual_folder { VIRTUAL_ROOT, VIRTUAL_META, VIRTUAL_DOMAIN, VIRTUAL_PRODUCT, VIRTUAL_VERSION, VIRTUAL_FOLDERS };

const struct virtual_file *virtual_files(enum virtual_folder folder, size_t *ret_count);
const struct virtual_file *virtual_find(enum virtual_folder folder, const char *name);

/* The file's bytes: the node's own copy, made if need be, or (changing) fresh ones. */
int virtual_body(struct session *s, struct vnode *v, struct buf *ret);

const char *media_type_of(const char *path);

/* The generators (virtual_readme.c, virtual_version.c, virtual_origin.c, virtual_meta.c). */
int readme_root(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int readme_domain(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int readme_product(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int product_contract(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_contract(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_manifest(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_policy(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_quality(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_lineage(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int version_croissant(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int meta_status(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);
int meta_metrics(struct session *s, const struct vnode *v, struct buf *ret, struct err *e);

#endif
