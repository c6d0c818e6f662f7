/*
 * Drafts: publishing through the mount.
 *
 *     /<domain>/<product>/1.3.0.draft/…              writable, like any folder
 *     /<domain>/<product>/1.3.0.draft/.mesh/         contract.yaml (may be written: the new contract), problems.txt (why the
 *                                                    last rename was refused)
 *     rename 1.3.0.draft → 1.3.0                     publishes it
 *
 * A draft is a private folder of this host's state (0700), named by domain, product, version and uid, and locked by the
 * session that holds it: no other session shows it.  A process that dies leaves the folder; the same user's next mount takes it up.
 *
 *     <state>/drafts/<domain>,<product>,<version>,<uid>,<random>/   lock  files/…  meta/contract.yaml  meta/problems.txt
 *
 * Each draft has a thread, the feeder (draft_feed.c): files are chunked, checked and uploaded a moment after they were closed, so that
 * the rename only settles what changed since, and commits.  What the feeder did early is never trusted: the rename walks the folder.
 *
 * Node ids have bit 43 set in slot 0 of fs/node.h, and count up.  Locks: drafts->lock (rank "nodes") guards the tree of
 * nodes and is held across calls of the local file system, never across a store.
 */
#ifndef MESHFS_FS_DRAFT_H
#define MESHFS_FS_DRAFT_H

#include "catalog/base/err.h"
#include "fs/op.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRAFT_NODE_BIT 43
#define DRAFT_SUFFIX ".draft"

struct domain_host;
struct draft;
struct drafts;
struct handle;
struct session;

static inline bool draft_is(uint64_t id)
{
	return id >> DRAFT_NODE_BIT == 1;
}

/* `resume`: takes up what earlier mounts of the same user left. */
int drafts_new(struct session *s, bool resume, struct drafts **ret, struct err *e);
/* Ends the feeders; false: one still waits for its store, and nothing may be freed. */
bool drafts_stop(struct drafts *ds, int64_t timeout_ms);
void drafts_free(struct drafts *ds); /* after drafts_stop said true, and the handles are gone */

/* May this session publish there?  0, or -EACCES with the reason.  `version` may be NULL. */
int draft_permitted(struct session *s, struct domain_host *h, const char *product, const char *version, struct err *e);

/* "1.3.0.draft" → "1.3.0"; false when it is not the name of a draft. */
bool draft_name_version(const char *name, char *ret_version);

/* Products that exist only as drafts. */
bool draft_product_known(struct session *s, struct domain_host *h, const char *product);
int draft_product_make(struct session *s, struct domain_host *h, const char *product);
int draft_product_remove(struct session *s, struct domain_host *h, const char *product);
int draft_list_products(struct session *s, struct domain_host *h, int (*each)(void *arg, const char *name), void *arg);
int draft_list(struct session *s, struct domain_host *h, const char *product, int (*each)(void *arg, const char *name, uint64_t id), void *arg);

/* The draft's root as an entry; a lookup is counted.  -ENOENT. */
int draft_lookup_root(struct session *s, struct domain_host *h, const char *product, const char *name, struct op_entry *ret);
int draft_make(struct session *s, struct domain_host *h, const char *product, const char *name, struct op_entry *ret);
int draft_remove(struct session *s, struct domain_host *h, const char *product, const char *name);
/* Publishes; answers the op when that is done. */
void draft_publish(struct op *op, struct domain_host *h, const char *product, const char *name);
/* It was to become something else: EPERM, and problems.txt says so. */
void draft_misnamed(struct op *op, struct domain_host *h, const char *product, const char *name, const char *to_name);

void draft_forget(struct session *s, uint64_t id, uint64_t count);
void draft_close(struct handle *h); /* of HANDLE_DRAFT: called by handle_free */

#endif
