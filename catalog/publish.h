/*
 * Publishing a version: the publication is filled file by file, then committed at once or not at all.
 *
 * Until publish_commit nothing but garbage (packs that nothing refers to) is in the store; publish_free without a commit
 * removes what it can of that, gc the rest.
 *
 * Thread rules: publish_add_* may be called from any thread (files go through one after the other, hashing and uploading
 * run beside); the other functions by one thread when no add is under way.
 */
#ifndef MESHFS_CATALOG_PUBLISH_H
#define MESHFS_CATALOG_PUBLISH_H

#include "catalog/address.h"
#include "catalog/base/err.h"
#include "catalog/base/progress.h"
#include "catalog/contract.h"
#include "catalog/domain.h"
#include "catalog/ingest.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct publication;

enum version_bump { BUMP_NONE, BUMP_PATCH, BUMP_MINOR, BUMP_MAJOR };

/* All texts are copied.  NULL or zero: absent. */
struct publish_options {
	const char *product;
	const char *version;      /* MAJOR.MINOR.PATCH; NULL with a bump */
	enum version_bump bump;   /* from the product's highest number; the first is 1.0.0 */
	const char *onto;         /* start from the files of this version (a selector) */
	const char *contract_name, *contract_text; /* else the newest version's is inherited */
	size_t contract_len;
	const char *failures_reason; /* --with-failures */
	const char *publisher, *run;
	bool dry_run;             /* reads and chunks everything, stores nothing */
	bool fresh;               /* nothing that lies in the store is used again: it may be damaged */
	bool replace;             /* a path that is added again replaces the first (drafts); else -EEXIST */
	const struct publish_observer *observer; /* borrowed until publish_free */
	struct progress *progress;               /* borrowed likewise */
	const atomic_bool *interrupted;          /* borrowed likewise: set it to end with -EINTR */
};

int publish_begin(struct domain *d, const struct publish_options *o, struct publication **ret, struct err *e);
/* Without a successful commit: gives up and removes what was put.  NULL is legal. */
void publish_free(struct publication *p);

/* The contract that the version will have (given or inherited), borrowed; NULL when there is none. */
struct contract *publish_contract(const struct publication *p);
const char *publish_version(const struct publication *p);
/* The version whose files it starts from; false: it starts from none. */
bool publish_onto(const struct publication *p, char ret_version[VERSION_SIZE]);

/* A path within the version: relative, clean.  -EINVAL with the reason (".mesh", "..", a name over 255 bytes). */
int publish_path_check(const char *path, struct err *e);
/* A regular file that `fd` (borrowed, at any position) is open on; read from its start.  When it changes meanwhile: -EBUSY; `name` stands
 * in errors. */
int publish_add_fd(struct publication *p, const char *path, int fd, const char *name, struct err *e);
int publish_add_folder(struct publication *p, const char *path, int64_t mtime_ns, struct err *e);
/* -EXDEV (kind ERR_REFUSED) when it would lead out of the version. */
int publish_add_symlink(struct publication *p, const char *path, const char *target, size_t len, int64_t mtime_ns, struct err *e);
int publish_remove(struct publication *p, const char *path, struct err *e);

/* An object of the domain's store as it lies there (--in-place). */
int publish_add_object(struct publication *p, const char *path, const char *key, bool executable, struct err *e);

/* Everything added so far went through the observer. */
int publish_flush(struct publication *p, struct err *e);
/* Results of the checks (kept in the version). */
int publish_set_quality(struct publication *p, const char *json);
/* No check failed: a reason that was given in case one would is not kept. */
void publish_drop_failures(struct publication *p);
/* An index of the version's rows, a local file: the publication puts it beside the manifest, and removes the file in the end. */
int publish_set_rows(struct publication *p, const char *path);

struct publish_result {
	char version[VERSION_SIZE];
	bool unchanged;        /* the same content was there under this address */
	uint64_t files, bytes; /* of the version */
	uint64_t new_bytes;    /* of chunks that were not in the store */
	uint64_t stored_bytes; /* of new packs and the manifest */
	uint64_t generation;   /* 0 with dry_run */
};

/*
 * -EPERM (ERR_REFUSED): other content, or a withdrawn version, stands under the address.  -EAGAIN: gc condemned something
 * that this publication rests on; publish again from the start.
 */
int publish_commit(struct publication *p, struct publish_result *ret, struct err *e);

#endif
