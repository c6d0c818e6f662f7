/*
 * Rows of published versions, read outside of any mount: for questions about data (lineage trace, find, erasure-report).
 *
 * A scan is a mesh with its domains as last seen and a reader of its own; every chunk is verified.  Versions stay open while the scan lives.
 * Thread rules: a `struct scan` belongs to one thread.
 */
#ifndef MESHFS_FS_SCAN_H
#define MESHFS_FS_SCAN_H

#include "catalog/manifest.h"
#include "fs/content.h"
#include "fs/options.h"
#include "fs/policy_command.h"

struct scan;

struct scan_version {
	char *address;
	struct loaded_version loaded; /* facts: the contract as it was published with the version */
	struct manifest *manifest;    /* NULL: the version is gone */
	struct err gone;              /* why, in words */
};

/* `rules`: with the policy in force; one that does not load is an error then. */
int scan_open(const struct invocation *inv, bool rules, struct scan **ret, struct err *e);
struct policy *scan_policy(struct scan *s); /* borrowed; NULL without rules */
void scan_close(struct scan *s); /* NULL is legal */
const struct mesh_config *scan_mesh(const struct scan *s);
struct browse *scan_browse(struct scan *s);

/* The version at domain/product/1.2.0, withdrawn or not; borrowed.  One that is gone is no error: its `manifest` is NULL. */
int scan_version(struct scan *s, const char *address, struct scan_version **ret, struct err *e);

/*
 * Every file of every version that `address` covers (a domain, product, version, folder or file; NULL: the whole mesh), newest versions first.  A version
 * that is gone is told once, with `entry` and `path` NULL.  A non-zero return of `each` stops and is returned.
 */
int scan_walk(struct scan *s, const char *address,
	      int (*each)(void *arg, struct scan_version *v, const struct manifest_entry *entry, const char *path, struct err *e), void *arg, struct err *e);

struct scan_file {
	struct scan_version *version;
	const char *path; /* borrowed from the caller */
	struct manifest_entry entry;
	const struct contract_object *object; /* or NULL */
	struct content *content;
	struct view_source source;
};
/* -ENOENT: the version has no such file. */
int scan_file_open(struct scan *s, struct scan_version *v, const char *path, struct scan_file *ret, struct err *e);
void scan_file_close(struct scan_file *f);

/* The transform of a recorded view, rebuilt.  -ESTALE: what it comes to now is not what was recorded (another contract or key). */
int scan_transform(struct scan *s, const struct scan_file *f, const char *view, const char *text, struct transform **ret, struct err *e);

/* How many rows the transform shows.  -ENOTSUP: rows of this format cannot be counted.  `progress` gets bytes of the source. */
struct progress;
int scan_count(struct scan *s, const struct scan_file *f, struct transform *t, struct progress *progress, int64_t *ret_rows, struct err *e);

void scan_keys(struct scan *s, struct view_keys *ret);

#endif
