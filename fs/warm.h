/*
 * Filling the cache ahead of readers: the bytes of versions, or only the indexes of their views, as a subject would be served them.
 */
#ifndef MESHFS_FS_WARM_H
#define MESHFS_FS_WARM_H

#include "fs/content.h"
#include "fs/policy_command.h"

#include <stdatomic.h>

struct warmer;

struct warm_counts {
	uint64_t files;  /* that are ready now */
	uint64_t bytes;  /* as they are served */
	uint64_t denied; /* or hidden: nothing to do */
	uint64_t failed; /* `first` says how the first of them did */
	bool interrupted; /* some were left undone */
	bool damaged;    /* bytes in a store did not match their hash */
	char first[512];
};

/* With what it is done; borrowed. */
struct warm_means {
	struct policy_command *c;
	struct reader *reader;          /* whose cache and threads; NULL: of its own */
	const atomic_bool *interrupted; /* or NULL: what is set ends it with -EINTR, and nothing half done */
	bool quiet;                     /* no progress on stderr */
};

/* `indexes`: computes what `stat` of a view needs, and fetches no more than that. */
int warm_begin(const struct warm_means *by, const struct subject *subject, bool indexes, struct warmer **ret, struct err *e);
/* All files of what the address names, in parallel: a domain's products, of a product the newest version, a version, a folder, a file. */
int warm_address(struct warmer *w, const struct address *a, struct err *e);
/* What has been done, when all of it is; frees the warmer.  Returns `r`, or when that is 0 -EINTR if files were left undone. */
int warm_end(struct warmer *w, int r, struct warm_counts *ret, struct err *e);

/* The views of the subjects that `views:` in mesh.yaml names: of what the address names, or (NULL) of every product's newest version. */
int warm_views(const struct warm_means *by, const struct address *a, struct warm_counts *ret, struct err *e);
/* The views of `a`, a new version, as those who used the product's version before it would be served it; adds to `ret`.  warm_has_used: is there
 * anybody, as far as this mesh's records tell? */
int warm_used(const struct warm_means *by, const struct address *a, struct warm_counts *ret, struct err *e);
bool warm_has_used(const struct mesh_config *mesh, const struct address *a);
/* Both, after `a` was published.  What is published is published: what cannot be computed now is logged, and computed when it is needed. */
void warm_published(const struct warm_means *by, const struct address *a);
void warm_counts_add(struct warm_counts *to, const struct warm_counts *n);

#endif
