/*
 * The tree: what each path is, for one session.
 *
 *     /README.md  /.mesh/…                      KIND_FILE, KIND_META, KIND_SEARCH, KIND_QUERY, KIND_LINK
 *     /<domain>/README.md                       KIND_DOMAIN, KIND_FILE
 *     /<domain>/<product>/README.md …           KIND_PRODUCT, KIND_FILE; latest, 1, 1.2: KIND_LINK
 *     /<domain>/<product>/1.2.0/…               KIND_ENTRY: rows of the manifest, seen through the verdict
 *     /<domain>/<product>/1.2.0/.mesh/…         KIND_VERSION_META, KIND_FILE
 *
 * Nothing here waits.  What is not known yet gives -EAGAIN and says in a `struct wait` what has to happen first; tree_wait
 * parks the request until then.  A decision is asked for on every lookup; it is made once a version (the verdict) and kept while the policy,
 * and the moment, allow.
 */
#ifndef MESHFS_FS_TREE_H
#define MESHFS_FS_TREE_H

#include "fs/node.h"
#include "fs/op.h"

#include "catalog/base/buf.h"
#include "policy/decide.h"

struct session;
struct content;

#define PROMOTE_MIN (1 << 20) /* bytes; below, passthrough does not pay */

/* -- places --------------------------------------------------------------------------------- */

struct place {
	enum node_kind kind;
	uint64_t id;
	struct vnode *vnode; /* a use; NULL for KIND_ROOT and KIND_ENTRY */
	struct slot *slot;   /* KIND_ENTRY: a reference */
	struct manifest_entry entry; /* KIND_ENTRY; for a version's root that is not loaded only row and kind are set */
	struct node_parts parts;     /* KIND_ENTRY */
	const char *name;            /* KIND_ENTRY: as it was looked up (borrowed), or NULL */
};

enum wait_kind { WAIT_NONE, WAIT_DOMAIN, WAIT_MANIFEST, WAIT_CONTENT };

struct wait {
	enum wait_kind kind;
	struct domain_host *domain;
	struct slot *slot;       /* a reference */
	struct content *content; /* a reference */
};
/* Parks the op; takes what `w` holds. */
void tree_wait(struct op *op, struct wait *w);
void wait_fini(struct session *s, struct wait *w);

/* What a node id is: 0, -ESTALE, -EAGAIN. */
int tree_place(struct session *s, uint64_t id, struct place *ret, struct wait *w);
/* -ENOENT: not there, or hidden. */
int tree_child(struct session *s, const struct place *parent, const char *name, bool asked, struct place *ret, struct wait *w);
void place_fini(struct session *s, struct place *p);

/* Attributes and timeouts, as this session may know them.  May set the id of a file (its view, its promoted twin). */
int tree_attributes(struct session *s, struct place *p, struct op_entry *ret, struct wait *w);
/* The inode number that stat and folders give for a node id. */
uint64_t tree_ino(const struct session *s, uint64_t id);

/* The listed children of a folder outside of versions, in order; a non-zero return of `each` stops and is returned. */
typedef int (*tree_each)(void *arg, const char *name, enum node_kind kind, uint64_t ino);
int tree_list(struct session *s, const struct place *p, bool asked, tree_each each, void *arg, struct wait *w);
/* May this session make drafts there?  (A product's folder; a domain's, for a new product.) */
bool tree_may_hold_drafts(struct session *s, const struct place *p);
/* A symlink's target. */
int tree_link(struct session *s, struct place *p, struct buf *ret, struct wait *w);

/* -- versions ------------------------------------------------------------------------------- */

/* What policy says of a version to this session: immutable but for its lock and what that guards. */
struct verdict {
	atomic_uint refs;
	pthread_mutex_t lock; /* the decision is used by one thread at a time; rank "verdict" */
	struct version_decision *decision;
	struct policy *policy; /* NULL: none is in force */
	struct contract *contract;
	enum outcome outcome;
	int64_t valid_until_ns;
	bool now_unknown; /* it was made while the clock could not be right */
	uint64_t epoch;
	uint32_t serial;
	char policy_hex[SHA256_HEX_SIZE];
	struct buf refusals; /* files whose opening was refused, a line each with the reason; guarded by the lock */
	unsigned refusal_count;
};

int slot_verdict(struct session *s, struct slot *slot, struct verdict **ret, struct err *e); /* a reference */
void verdict_unref(struct verdict *v);
/* Keeps why the file was refused, for who reads policy.txt then: what makes a view impossible is often known only once it was tried. */
void verdict_refuse(struct verdict *v, const char *path, const char *reason);
/* Appends the decision in words, and what was refused so far. */
void verdict_explain(struct verdict *v, struct buf *ret);
/* Forgets a verdict whose time is over (or that rests on a clock that is wrong, or right again); true: it did. */
bool slot_lapse(struct session *s, struct slot *slot);
int slot_contract(struct slot *slot, struct contract **ret); /* a reference, or NULL */
int slot_checks(struct slot *slot, struct version_checks *ret); /* as snapshot_checks */
/* A reference to the manifest; -EAGAIN when it has to be fetched. */
int slot_manifest(struct slot *slot, struct manifest **ret);
void slot_free(struct slot *slot);

/* The newest version that the selector matches, among those this session may see.  -ENOENT, -EAGAIN; a reference. */
int tree_version(struct session *s, struct domain_host *h, const char *product, const char *selector, bool asked, struct slot **ret,
		 struct wait *w);
bool tree_product_visible(struct session *s, struct domain_host *h, struct snapshot *snapshot, const char *product);
/* Versions of a product that this session may see, newest first. */
int tree_versions(struct session *s, struct domain_host *h, struct snapshot *snapshot, const char *product,
		  int (*each)(void *arg, struct slot *slot, enum outcome outcome), void *arg);

/* How a file shows itself to this session. */
struct face {
	struct file_decision decision;
	uint32_t view;           /* for the node id */
	uint64_t size;
	int64_t mtime_ns;
	bool known;              /* size is known; else -EAGAIN was returned beside it */
	struct content *content; /* a reference; NULL when denied, and when an identity was not asked for */
	struct verdict *verdict; /* a reference */
};
/* `path` within the version.  -ENOENT: hidden.  -EAGAIN: the size of its view is not known yet (the face is filled but for it). */
int slot_face(struct session *s, struct slot *slot, const struct manifest_entry *entry, const char *path, bool want_content, struct face *ret);
void face_fini(struct face *f);
/* Does a rule hide some of the version's files, or could? */
bool slot_may_hide(struct session *s, struct slot *slot);
/* What policy says of a name in the version, whatever it is. */
enum outcome slot_outcome(struct session *s, struct slot *slot, const char *path, const struct manifest_entry *entry);
/* Symlinks and folders are hidden as files are: a link by its own name, a folder when nothing is shown of what is, or could be, in it. */
bool slot_hides(struct session *s, struct slot *slot, struct manifest *m, const struct manifest_entry *entry, const char *path);
void tree_file_stat(struct session *s, const struct place *p, const struct face *f, struct stat *ret);
/* The path of an entry within its version. */
int place_path(const struct place *p, struct manifest *m, struct buf *ret);

#endif
