/*
 * Node ids: what the kernel calls the things of one session's tree.
 *
 * Inside a version they are computed, so that a million known files need no million objects:
 *
 *     63        44 43       34 33                    1 0
 *     | slot (20) | view (10) | manifest row (33)     |p|
 *
 * slot: a version's place in this session's table, from 1, never used twice.  view: which transform the file is seen through
 * (0: none, 1: denied, then the slot's transforms by hash; folders and symlinks: 0); a node is thus (version, path, view), and its bytes
 * never change.  p: the promoted twin of a file (passthrough, kernel.h).  st_ino leaves view and p out, so it is stable.
 *
 * Slot 0 holds everything else: 1 is the root, others are entries of a table (struct vnode), numbered as they are met.
 *
 * Lookup counts.  A version's nodes are counted together, as references of its slot; promoted nodes (each holds a backing id
 * until FORGET) and vnodes are counted one by one.  A count is taken before the reply that tells the kernel, and given
 * back when the reply fails.  Unmounting may send no FORGET: nodes_free sweeps.
 *
 * Locks: one mutex inside; rank "nodes" of docs/LOCKING.md.  Any thread.
 */
#ifndef MESHFS_FS_NODE_H
#define MESHFS_FS_NODE_H

#include "catalog/domain.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NODE_ROOT 1
#define NODE_SLOT_MAX ((1u << 20) - 1)
#define NODE_VIEW_MAX ((1u << 10) - 1)
#define NODE_VIEW_NONE 0   /* the file itself */
#define NODE_VIEW_DENIED 1
#define NODE_VIEW_FIRST 2
#define NODE_ROW_MAX ((1ull << 33) - 1)

struct domain_host;
struct node_parts {
	uint32_t slot, view;
	uint64_t row;
	bool promoted;
};

uint64_t node_id(const struct node_parts *p);
void node_split(uint64_t id, struct node_parts *ret); /* slot 0: row is meaningless */
uint64_t node_ino(uint64_t id);

/* A version that this session met. */
struct verdict; /* fs/tree.h */
struct op;
struct slot {
	uint32_t number;
	struct domain_host *domain;
	char product[NAME_SIZE];
	char *address;            /* "sales/orders/1.2.0" */
	struct version_info info; /* as the snapshot had it; never changes */
	atomic_bool withdrawn;
	uint64_t refs; /* lookups, users, and one while it is the address's current slot; guarded by the table's lock */

	pthread_mutex_t lock;      /* guards what follows */
	struct manifest *manifest; /* NULL until it was first needed; then never changes */
	bool loading;
	struct op *waiters;        /* for the manifest */
	struct verdict *verdict;   /* the decision in force, or NULL */
	struct contract *contract; /* parsed once; NULL when there is none */
	bool contract_known;
	uint32_t decided;          /* how many verdicts there were: the serial of `verdict` */
	struct digest *views;      /* transforms met: number i + NODE_VIEW_FIRST */
	uint32_t view_count;
	uint64_t path_row; /* the folder whose path was asked for last */
	char *path;
};

/* Whatever is not inside a version. */
struct virtual_file; /* fs/virtual.h */
enum node_kind {
	KIND_ROOT,
	KIND_META,          /* /.mesh */
	KIND_SEARCH,        /* /.mesh/search */
	KIND_QUERY,         /* /.mesh/search/<words> */
	KIND_LINK,          /* a symlink: hits of a search, latest, 1, 1.2 */
	KIND_DOMAIN,
	KIND_PRODUCT,
	KIND_VERSION_META,  /* <version>/.mesh */
	KIND_FILE,          /* a generated file */
	KIND_ENTRY,         /* within a version (never in the table) */
};

struct vnode {
	uint64_t id;
	enum node_kind kind;
	struct domain_host *domain;
	char product[NAME_SIZE];
	struct slot *slot;  /* KIND_VERSION_META and its files: a reference */
	uint32_t decided;   /* the verdict's serial, for files that depend on the decision */
	const struct virtual_file *file; /* KIND_FILE */
	char *text;         /* KIND_QUERY: the words; KIND_LINK: the target */
	uint64_t lookups, users; /* guarded by the table's lock */

	pthread_mutex_t lock; /* guards what follows */
	char *body;           /* a finished file that does not change */
	size_t body_len;
	char *key; /* its name in the table; never changes */
};

/* What says which node it is, without what a lock guards; the text is still the original's. */
struct vnode vnode_like(const struct vnode *v);

/* A promoted node. */
enum backing_mode { BACKING_UNDECIDED, BACKING_PASSTHROUGH, BACKING_CACHED };

struct nodes;
struct nodes *nodes_new(void (*free_slot)(struct slot *), void (*close_backing)(void *arg, uint32_t backing_id), void *arg);
void nodes_free(struct nodes *n);

/* The current slot of a version, made if need be; a reference for the caller.  -ENFILE when the numbers are used up. */
int nodes_slot(struct nodes *n, struct domain_host *domain, const char *product, const struct version_info *info, struct slot **ret);
struct slot *nodes_slot_find(struct nodes *n, uint32_t number); /* a reference, or NULL */
struct slot *nodes_slot_current(struct nodes *n, const char *address);
void nodes_slot_ref(struct nodes *n, struct slot *s, uint64_t count);
void nodes_slot_unref(struct nodes *n, struct slot *s, uint64_t count);
/* Calls `each` with a reference held, without the lock. */
void nodes_each_slot(struct nodes *n, void (*each)(void *arg, struct slot *s), void *arg);

/* What a node has in common with others of its place, for `like` below: nothing that changes, so that no lock is needed. */
struct vnode vnode_like(const struct vnode *v);
/* The vnode called `key`; made by copying `like` (whose text is copied, whose slot reference is taken) when there is none.
 * A use for the caller. */
int nodes_vnode(struct nodes *n, const char *key, const struct vnode *like, struct vnode **ret);
struct vnode *nodes_vnode_find(struct nodes *n, uint64_t id); /* a use, or NULL */
uint64_t nodes_vnode_id(struct nodes *n, const char *key);    /* 0 when the kernel does not know it */
void nodes_vnode_put(struct nodes *n, struct vnode *v);

/* The kernel is about to be told of the node once (more); it forgets `count` times. */
int nodes_looked_up(struct nodes *n, uint64_t id);
void nodes_forget(struct nodes *n, uint64_t id, uint64_t count);

/* What opens of a promoted node are.  The first open decides: `decide` (called once, under the table's lock, must not call back) returns a
 * backing id, or 0 for a node that is read through us.  Later opens get the same. */
int nodes_backing(struct nodes *n, uint64_t id, uint32_t (*decide)(void *arg), void *arg, uint32_t *ret_backing_id);

struct nodes_stats {
	uint64_t slots, vnodes, promoted, backing;
};
void nodes_stats(struct nodes *n, struct nodes_stats *ret);

#endif
