/*
 * What the commands that look around (domain ls, ls, show, search) share: the domains of a mesh with their newest snapshots.
 *
 * A domain that cannot be reached is shown as it was last seen, with one warning on stderr.
 */
#ifndef MESHFS_FS_BROWSE_H
#define MESHFS_FS_BROWSE_H

#include "catalog/domain.h"
#include "catalog/mesh.h"
#include "fs/options.h"
#include "policy/decide.h"

struct browse_domain {
	const struct mesh_domain *config;
	struct domain *domain;
	struct snapshot *snapshot; /* NULL: never reached */
	bool reached;
	struct err why; /* when it was not */
};

struct browse_policy; /* fs/browse_policy.h */

struct browse {
	struct mesh_config *mesh;
	struct transfer *transfer;
	struct browse_domain *domains;
	size_t count;
	struct browse_policy *policy; /* what binds the caller; NULL: he holds the mesh himself, and sees everything */
};

/* Opens the mesh and its domains, or only `domain` (-ENOENT when the mesh has none of that name), and refreshes them all at once.
 * Fails when the only domain asked for was never reached. */
int browse_open(const struct invocation *inv, const char *domain, struct browse *ret, struct err *e);
void browse_close(struct browse *b);

/*
 * The one place where policy decides what these commands tell.  `version` is NULL when a product as such is asked for, `product` NULL for
 * the domain; `path` is NULL but for files.  OUTCOME_ALLOW: everything may be told; OUTCOME_VIEW, OUTCOME_DENY: that it is there, but
 * nothing that is counted or computed of its bytes; OUTCOME_HIDE: it is not there.
 */
enum outcome browse_outcome(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version,
			    const char *path);
bool browse_sees(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version, const char *path);
/* A product or version that the caller may see, or -ENOENT with the nearest name; fini what is returned.  `latest` of the product, and what
 * a selector picks, is the newest that he may see. */
int browse_product(const struct browse *b, struct browse_domain *d, const char *product, struct product_info *ret, struct err *e);
/* The product with the name nearest to `word` of those that the caller may see, into `ret`; false: none is near. */
bool browse_nearest(const struct browse *b, struct browse_domain *d, const char *word, char ret[NAME_SIZE]);
int browse_version(const struct browse *b, struct browse_domain *d, const struct address *a, struct version_info *ret, struct err *e);
/* -ENOENT, with the reason that was given, for a version that was withdrawn; else 0. */
int browse_served(const char *domain, const char *product, const struct version_info *version, struct err *e);
/* The contract of a version as the caller may see it; NULL when there is none. */
int browse_contract(const struct browse *b, struct browse_domain *d, const char *product, const struct version_info *version,
		    struct contract **ret, struct err *e);

/* Prints the text of `out`, and empties it.  A text for which there was no memory is not printed, and the command fails at its end. */
void browse_print(struct buf *out);
/* Was there a text that browse_print could not print? */
bool browse_incomplete(void);
/* `text` so that it can neither drive a terminal nor break a line. */
void browse_add_safe(struct buf *out, const char *text);
/* The end of a line: `name`, in a column of `width` when a title (may be NULL) follows it. */
void browse_add_titled(struct buf *out, int width, const char *name, const char *title);

#endif
