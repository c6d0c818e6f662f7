/*
 * A domain as readers see it: its store and the newest generation of its catalog that was reached.
 *
 * Generations.  `.mesh/heads/<n>` names the snapshot of generation n; it is created exclusively and never replaced.  A reader
 * finds the newest by the hint `.mesh/HEAD`, then by asking for the next number until there is none.  What was reached is
 * kept in the cache folder, so that a mesh opens with every store down ("unreachable is not empty").
 *
 * A `struct snapshot` is one generation's catalog: immutable, reference-counted.  Snapshots come from a store and are checked like
 * manifests (manifest.h).
 *
 * Thread rules: all functions from any thread.  domain_refresh, domain_manifest and *_open may wait for the network:
 * never call them from a kernel handler.
 */
#ifndef MESHFS_CATALOG_DOMAIN_H
#define MESHFS_CATALOG_DOMAIN_H

#include "catalog/address.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/manifest.h"
#include "catalog/mesh.h"
#include "catalog/store/store.h"

struct domain;
struct snapshot;

/* Opens the domain with what the cache folder remembers of it, without touching the network. */
int domain_open(const struct mesh_config *mesh, const struct mesh_domain *config, struct transfer *t, struct domain **ret, struct err *e);
void domain_free(struct domain *d);
const char *domain_name(const struct domain *d);
/* The name, and a hash of where its store is: two meshes may give one name to different domains, and share a cache. */
const char *domain_identity(const struct domain *d);
struct store *domain_store(struct domain *d);

/* Looks for a newer generation and loads it: one that another process left in the cache folder, then the store's.  A store
 * that went backwards (restored from an old copy, or forged) is an error; the newest generation ever seen stays current.  *ret_changed (may be NULL): something newer is current now.  On failure the last good one
 * stays current and the error says why the store was not reached or what is wrong with its catalog. */
int domain_refresh(struct domain *d, bool *ret_changed, struct err *e);
/* The current snapshot, with a reference for the caller; NULL when the domain was never reached. */
struct snapshot *domain_snapshot(struct domain *d);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s);

/*
 * Changes the catalog: calls `edit` (catalog/snapshot.h) on a copy of the newest generation, writes it as the next one and commits it
 * (catalog/heads.h).  When another writer was first, `edit` is called again on that writer's generation, so it must look at
 * snapshot_edit_base each time and may do nothing that cannot be repeated.  `edit` returns 0; a positive number: nothing to change,
 * domain_commit returns 0 with *ret_generation (may be NULL) the current one; or -errno, which ends the commit.  What the edit refers to
 * (packs, manifest) must be in the store by then.  -EROFS: a read-only store; -EAGAIN: lost COMMIT_TRIES_MAX races in a row.
 * On success the new snapshot is current here and mounts of this host are told (domain_watch_folders).
 */
#define COMMIT_TRIES_MAX 50
struct snapshot_edit;
int domain_commit(struct domain *d, int (*edit)(void *arg, struct snapshot_edit *x, struct err *e), void *arg, uint64_t *ret_generation,
		  struct err *e);
/* Is there a catalog in the store?  Writes an empty first generation when there is none and the store is writable, else -ENOENT. */
int domain_ensure_catalog(struct domain *d, struct err *e);

/* The domain's folder in the cache (0700): scratch files of publishers may go to <folder>/tmp, which exists. */
const char *domain_cache_folder(const struct domain *d);
/*
 * Folders to watch with inotify (IN_MOVED_TO | IN_CREATE) to learn of a new generation at once; call domain_refresh then.  The first
 * is the cache folder: every process that commits or finds a newer generation replaces `generation` in it.  The second, NULL unless the
 * store is a local folder that exists, is its .mesh/heads.  Both are borrowed from the domain.
 */
void domain_watch_folders(const struct domain *d, const char **ret_cache, const char **ret_heads);

/* One version's manifest: from the cache folder, else fetched from the store, verified, kept.  Concurrent calls for one manifest fetch
 * once.  `ret` is a reference. */
struct version_info;
int domain_manifest(struct domain *d, const char *product, const struct version_info *v, struct manifest **ret, struct err *e);
/* The same without the network: -EAGAIN when it is not here yet. */
int domain_manifest_cached(struct domain *d, const char *product, const struct version_info *v, struct manifest **ret, struct err *e);

/* -- what a snapshot says ------------------------------------------------------------------- */

enum version_status { VERSION_ACTIVE, VERSION_WITHDRAWN };

struct version_info {
	struct semver number;
	char version[VERSION_SIZE];
	enum version_status status;
	struct digest manifest;      /* SHA-256 of the manifest file */
	uint64_t manifest_size;
	int64_t published_ns;
	uint64_t files, bytes;
	struct digest contract;      /* of the contract's text; all zero when there is none */
	bool checked;                /* there are results of checks: snapshot_quality */
	char *failures_reason;       /* published --with-failures: why; or NULL */
	char *withdrawn_reason;      /* or NULL */
	char *publisher;             /* user name, or NULL */
	char *run;                   /* the run it was published in, or NULL */
};

struct product_info {
	char name[NAME_SIZE];
	char *title;       /* contract's name, or NULL */
	char *description; /* or NULL */
	char *status;      /* the newest contract's status, or NULL */
	char *latest;      /* the newest active version, or NULL */
	uint32_t versions; /* active ones */
};

void version_info_fini(struct version_info *v);
void product_info_fini(struct product_info *p);

uint64_t snapshot_generation(const struct snapshot *s);
const struct digest *snapshot_digest(const struct snapshot *s);
int64_t snapshot_time_ns(const struct snapshot *s);

/* Products by name; versions newest first, withdrawn ones included.  A non-zero return of `each` stops and is returned.  The infos are
 * borrowed for the call. */
int snapshot_products(struct snapshot *s, int (*each)(void *, const struct product_info *), void *arg);
int snapshot_product(struct snapshot *s, const char *product, struct product_info *ret); /* -ENOENT; fini it */
int snapshot_versions(struct snapshot *s, const char *product, int (*each)(void *, const struct version_info *), void *arg);
/* Of those only the ones whose number the selector matches: found, not looked for. */
int snapshot_versions_matching(struct snapshot *s, const char *product, const struct version_selector *selector,
			       int (*each)(void *, const struct version_info *), void *arg);
/* The newest version that the selector ("latest", "1", "1.2", "1.2.0") matches; selectors skip withdrawn ones, an exact number does not.
 * -ENOENT; fini it. */
int snapshot_version(struct snapshot *s, const char *product, const char *selector, struct version_info *ret);
/* What its checks found: quality.json (catalog/quality.h) as it was published.  -ENOENT: nothing was checked. */
int snapshot_quality(struct snapshot *s, const char *product, const struct semver *number, struct buf *ret);
/* What decisions and ranks need of it.  The text is long, and read for nothing else.  -ENOENT; -EBADMSG: it does not hold all of them. */
struct version_checks {
	int64_t failed_errors, failed_warnings;
	double score;
};
int snapshot_checks(struct snapshot *s, const char *product, const struct semver *number, struct version_checks *ret);
/* A contract's text by its digest. */
int snapshot_contract(struct snapshot *s, const struct digest *digest, struct buf *ret);
/* The domain's own policy files (published with its catalog): name and text. */
int snapshot_policies(struct snapshot *s, int (*each)(void *, const char *name, const char *text, size_t len), void *arg);

/* The domain's descriptions of products (catalog/odps.h): id and text. */
int snapshot_descriptions(struct snapshot *s, int (*each)(void *, const char *id, const char *text, size_t len), void *arg);

struct search_hit {
	char product[NAME_SIZE];
	char *title; /* or NULL */
	double score; /* higher is better; comparable within one query over all domains */
};
/* Full-text search (names, descriptions, columns, tags); every word must match, prefixes count.  Best first. */
int snapshot_search(struct snapshot *s, const char *const *words, size_t count, int (*each)(void *, const struct search_hit *), void *arg);
/* Would it find a product of which `c` is the contract (NULL: none)?  For who may not be told of all that the snapshot says: `c` is what he may see.
 * Spellings are compared as they are (é is not e). */
struct contract;
bool search_contract(const char *product, const struct contract *c, const char *const *words, size_t count, double *ret_score);
/* Has it a letter or a digit?  A word without is passed over. */
bool search_is_word(const char *text);

#endif
