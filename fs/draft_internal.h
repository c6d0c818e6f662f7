/* The insides of drafts, shared by draft*.c and op_draft*.c. */
#ifndef MESHFS_FS_DRAFT_INTERNAL_H
#define MESHFS_FS_DRAFT_INTERNAL_H

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "fs/draft.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

struct map;

#define DRAFTS_MAX 64      /* of a session */
#define DRAFT_LIMIT_DEFAULT (64ull << 30)

enum dnode_kind { DNODE_ROOT, DNODE_META, DNODE_ENTRY };

/* Something in a draft that the kernel knows of.  Lives while it is looked up, open, or has children that live. */
struct dnode {
	uint64_t id, lookups;
	enum dnode_kind kind;
	struct draft *draft;
	struct dnode *parent; /* counted in its `children`; NULL for a root */
	char *name;           /* NULL for a root */
	unsigned children, opens;
	bool gone; /* removed, or replaced: reached through its descriptor only */
	int fd;    /* O_PATH while it is open; else -1 */
};

struct draft {
	struct drafts *set;
	struct draft *next;
	struct domain_host *domain;
	char product[NAME_SIZE], version[VERSION_SIZE];
	char *folder;
	int dir, lock_fd; /* the folder; its lock */
	struct dnode *root, *meta;

	/* Guarded by drafts->lock. */
	bool gone;       /* published or removed */
	bool committing; /* a rename is under way: nothing may change */
	unsigned writers;
	struct map *due; /* path → when (monotonic ms) it is worth feeding */
	struct op *publish; /* a rename that waits for the feeder */
	bool asking; /* the feeder asks ahead what a file that is due makes idle */
	pthread_cond_t wake;
	bool fed; /* the thread runs */
	bool ended;
	pthread_t thread;
	atomic_bool stop;
	atomic_bool cancel; /* what is done for `publish` is to end: with the thread, or because its caller was interrupted */
	struct feed *feed; /* of the feeder's thread only */
};

struct drafts {
	struct session *session;
	char *folder; /* <state>/drafts, NULL until the first */
	pthread_mutex_t lock; /* guards all below, and what is said above */
	struct draft *list;
	unsigned count;
	struct map *products; /* "domain/product" → itself: promised by mkdir */
	struct map *by_id, *by_name;
	uint64_t next_id;
	_Atomic uint64_t used;
	uint64_t limit;
};

/* -- nodes: with the lock held ---------------------------------------------------------------- */
struct dnode *dnode_find_locked(struct drafts *ds, uint64_t id); /* NULL: not there, or its draft is gone */
struct dnode *dnode_child_locked(struct dnode *parent, const char *name); /* made if need be; NULL: no memory */
struct dnode *dnode_known_locked(struct dnode *parent, const char *name); /* NULL when there is none */
void dnode_moved_locked(struct dnode *n, struct dnode *parent, const char *name);
void dnode_gone_locked(struct dnode *n);
void dnode_idle_locked(struct dnode *n); /* frees it when nobody needs it */
/* The path below the draft's folder ("files/a/b"); -ENAMETOOLONG. */
int dnode_path(const struct dnode *n, char *ret, size_t size);
int dnode_child_path(const struct dnode *parent, const char *name, char *ret, size_t size);
int dnode_open(struct dnode *n, int flags, mode_t mode);
int dnode_stat(struct dnode *n, struct stat *ret); /* as the session shows it */
void dnode_entry(struct dnode *n, const struct stat *st, struct op_entry *ret); /* counts a lookup */

#define DRAFT_PATH_SIZE 4096

/* -- by path, without the lock: no symlink is followed, wherever it stands ------------------------ */
/* Open for reading, not waiting for the other end of a pipe; the caller closes it. */
int draft_open_file(const struct draft *d, const char *where);
int draft_stat(const struct draft *d, const char *where, struct stat *ret);

/* -- the feeder (draft_feed.c) ------------------------------------------------------------------ */
void draft_due_locked(struct draft *d, const char *path); /* "files/…" was closed or renamed */
int draft_feed_start(struct draft *d);
void *draft_feeder(void *arg);
/* Writes .mesh/problems.txt: why the rename was refused, and the lines of the checks that failed ("": none). */
void draft_say_problems(struct draft *d, const char *why, const char *checks);

/* -- the end (draft_end.c) ------------------------------------------------------------------------ */
/* Nobody finds it any more, and its folder has a name that no mount takes up.  `bytes`: the room that its files had. */
void draft_end_locked(struct draft *d, uint64_t bytes);
uint64_t draft_bytes(const struct draft *d); /* asks the folder: without the lock */
/* Removes the folder of a draft that ended; without the lock, as that takes as long as there are files.  By the feeder, if there is one. */
void draft_sweep(struct draft *d);
/* Was that the name of such a folder?  Then what is left of it is removed. */
bool draft_sweep_left(const struct drafts *ds, const char *name);
/* Frees drafts that ended and that nobody knows any more: a mount may see very many. */
void drafts_reap_locked(struct drafts *ds);
void draft_free(struct draft *d); /* not listed any more, or not yet; NULL is legal */

/* -- room ---------------------------------------------------------------------------------------- */
bool drafts_take(struct drafts *ds, uint64_t bytes); /* false: beyond the limit */
void drafts_give(struct drafts *ds, uint64_t bytes);

#endif
