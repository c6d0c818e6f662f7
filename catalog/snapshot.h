/*
 * Snapshots: one generation of a domain's catalog, an SQLite file named by its SHA-256.  Reading products and versions is in domain.h;
 * here is opening, what only `gc` reads, and writing.
 *
 * A snapshot comes from a store and is checked when it is opened: format version, tables, whose it is, every name, version and digest.
 *
 * Writing.  An edit is a private copy of the base snapshot that is changed and then written out as the next generation (domain_commit
 * in domain.h drives it).  Errors of an edit leave nothing behind.  An edit belongs to one thread.
 */
#ifndef MESHFS_CATALOG_SNAPSHOT_H
#define MESHFS_CATALOG_SNAPSHOT_H

#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/domain.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_FORMAT 1	     /* of a catalog without descriptions of products */
#define SNAPSHOT_FORMAT_DESCRIPTIONS 2 /* … with them: written only where there are some */
#define SNAPSHOT_BYTES_MAX (256u << 20)
#define SNAPSHOT_TIME_MAX_NS INT64_C(6000000000000000000) /* the year 2160: sums of it and what rules know of stay within an int64 */
#define POLICY_BYTES_MAX (1u << 20) /* of one policy file in a snapshot */
#define DESCRIPTION_BYTES_MAX (1u << 20) /* of one description of products (ODPS) */
#define DESCRIPTION_ID_MAX 256u

struct snapshot_edit;

/* Opens a local file that stays unchanged while the snapshot lives.  `digest` is checked against the file's bytes.  -EBADMSG broken or
 * another domain's; -EPROTONOSUPPORT written in a newer format. */
int snapshot_open(const char *path, const char *domain, const struct digest *digest, struct snapshot **ret, struct err *e);
const char *snapshot_domain(const struct snapshot *s);
const char *snapshot_path(const struct snapshot *s);

/* What gc condemned: a key in the store, and since when nothing refers to it. */
struct condemned {
	const char *key;
	uint64_t generation; /* the one that condemned it */
	int64_t since_ns;
};
int snapshot_condemned(struct snapshot *s, int (*each)(void *arg, const struct condemned *c), void *arg);
/* 0 and when (may be NULL), or -ENOENT. */
int snapshot_is_condemned(struct snapshot *s, const char *key, int64_t *ret_since_ns);

/* `base` NULL: an empty catalog.  `folder` (exists) holds the scratch file. */
int snapshot_edit_begin(const char *domain, struct snapshot *base, const char *folder, struct snapshot_edit **ret, struct err *e);
void snapshot_edit_free(struct snapshot_edit *x); /* removes the scratch file; NULL is legal */
struct snapshot *snapshot_edit_base(struct snapshot_edit *x); /* borrowed; NULL when there was none */

/* Adds a version, and its product when it is new.  -EEXIST when the version is there (withdrawn ones too).  `v->version` and
 * `v->checked` are ignored: the number counts, and `quality` (results of checks, or NULL). */
int snapshot_edit_add_version(struct snapshot_edit *x, const char *product, const struct version_info *v, const char *quality, struct err *e);
int snapshot_edit_withdraw(struct snapshot_edit *x, const char *product, const struct semver *number, const char *reason, struct err *e);
/* Keeps a contract's text; its digest goes into version_info.contract.  Texts that no version refers to are dropped at the end. */
int snapshot_edit_contract(struct snapshot_edit *x, const char *text, size_t len, struct digest *ret, struct err *e);

/* What people find a product by.  Fields may be NULL; `columns` and `tags` are words separated by spaces. */
struct product_text {
	const char *title, *description, *status, *columns, *tags;
};
/* Replaces the product's description (-ENOENT without a version).  publish calls one of these with the newest version's contract. */
int snapshot_edit_describe(struct snapshot_edit *x, const char *product, const struct product_text *t, struct err *e);
struct contract;
/* The words of `columns` and `tags` above, as a contract gives them. */
void contract_search_words(const struct contract *c, struct buf *columns, struct buf *tags);
int snapshot_edit_describe_contract(struct snapshot_edit *x, const char *product, const struct contract *c, struct err *e);

/* The domain's own policy file `name` ("x.policy"); `text` NULL removes it (-ENOENT). */
int snapshot_edit_policy(struct snapshot_edit *x, const char *name, const char *text, size_t len, struct err *e);

/* A description of products (catalog/odps.h) by its id; `text` NULL removes it (-ENOENT). */
int snapshot_edit_description(struct snapshot_edit *x, const char *id, const char *text, size_t len, struct err *e);

/* gc: a key that nothing refers to (condemning again keeps the first time), and one that is needed again or was deleted. */
int snapshot_edit_condemn(struct snapshot_edit *x, const char *key, int64_t now_ns, struct err *e);
int snapshot_edit_pardon(struct snapshot_edit *x, const char *key, struct err *e);

/* Writes the file out (synced) as `generation`.  `ret_path` is borrowed from the edit and removed with it.  No edit may follow. */
int snapshot_edit_finish(struct snapshot_edit *x, uint64_t generation, int64_t now_ns, const char **ret_path, struct digest *ret_digest,
			 uint64_t *ret_size, struct err *e);

#endif
