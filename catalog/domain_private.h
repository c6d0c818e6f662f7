/* A domain's inside, shared by domain.c, domain_commit.c and domain_manifest.c. */
#ifndef MESHFS_CATALOG_DOMAIN_PRIVATE_H
#define MESHFS_CATALOG_DOMAIN_PRIVATE_H

#include "catalog/domain.h"
#include "catalog/heads.h"
#include "catalog/snapshot.h"

#include <pthread.h>

struct manifest_cache;

/*
 * <cache>/domains/<name>-<16 hex of the store's URL>/
 *   generation      the newest head that was reached (catalog/heads.h); replaced under a lock on `lock`, never by an older one
 *   snapshots/<hash>, manifests/<hash>   verified when opened
 *   tmp/            scratch
 * Two meshes that call different stores by one name do not meet there.
 */
struct domain {
	char name[NAME_SIZE];
	bool single_writer;
	struct store *store;
	char *folder, *snapshots, *manifests_folder, *tmp;
	_Atomic bool folder_told; /* that it cannot be written */
	_Atomic(char *) spare; /* a folder of this process in $TMPDIR, for what the cache's disk has no room for; or NULL */
	char *heads_folder; /* of a file:// store, or NULL */

	pthread_mutex_t commit_lock;  /* one commit at a time; rank: before refresh_lock */
	pthread_mutex_t refresh_lock; /* one refresh at a time, held across the store; guards checked_ms */
	int64_t checked_ms;           /* when the store's history was last compared with ours; 0: not yet */

	pthread_mutex_t lock; /* guards what follows; never held across the store or SQLite */
	struct head seen;          /* the newest head ever reached (generation 0: none) */
	struct snapshot *current;  /* of `seen`, or of an older head when that one's file is lost; or NULL */

	struct manifest_cache *manifests; /* has its own lock */
};

int manifest_cache_new(struct manifest_cache **ret);
void manifest_cache_free(struct manifest_cache *c); /* NULL is legal */

/* Brings an object of exactly `size` bytes and the given SHA-256 to <folder>/<digest> (atomically); when nothing can be written there, to the
 * spare folder.  `ret_path` is where it lies; the caller's. */
int domain_fetch(struct domain *d, const char *key, uint64_t size, const struct digest *digest, const char *folder, char **ret_path,
		 struct err *e);
/* domain_refresh with the history check forced; -ENOENT with d->seen.generation 0 when the store holds no catalog. */
int domain_refresh_now(struct domain *d, bool check_history, bool *ret_changed, struct err *e);
/* Makes `h`, whose snapshot's file is `path` (moved into the cache), the current generation.  Caller holds refresh_lock. */
int domain_adopt_locked(struct domain *d, const struct head *h, const char *path, struct err *e);

#endif
