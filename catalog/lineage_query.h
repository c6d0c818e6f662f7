/*
 * Questions to the lineage database: runs, reads, inputs.  Thread rules: as `struct lineage`.
 */
#ifndef MESHFS_CATALOG_LINEAGE_QUERY_H
#define MESHFS_CATALOG_LINEAGE_QUERY_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct lineage;

/* Texts are borrowed for the call of `each`; those that may be unknown are NULL.  A non-zero return of `each` stops the walk and is
 * returned. */
struct lineage_run_row {
	int64_t row;
	const char *id, *name, *purpose, *user, *command, *parent, *git_commit, *params, *groups, *host, *mount;
	int64_t started_ns, ended_ns; /* 0: under way */
	int exit_status;              /* -1: under way, or it was killed */
	int64_t reads;                /* opens, served and denied */
};
/* `run`: a name or an id, NULL for all; oldest first.  -ENOENT when a run was named and there is none. */
int lineage_runs(struct lineage *l, const char *run, int (*each)(void *arg, const struct lineage_run_row *row), void *arg, struct err *e);

struct lineage_read_row {
	const char *run, *run_id, *purpose, *user, *exe, *command;
	int64_t pid;
	const char *version_address, *product, *version, *file, *view, *policy, *rules, *outcome;
	int64_t opens, bytes, first_ns, last_ns;
};
struct lineage_filter {
	const char *run;     /* a name or an id, or NULL */
	const char *address; /* a domain, product, version, folder or file, without selectors; or NULL */
	int outcome;         /* LINEAGE_SERVED, LINEAGE_DENIED; 0: both */
};
/* One row a (run, file, decision), whatever number of days the run took, in memory that does not grow with their number.  -ENOENT as above. */
int lineage_reads(struct lineage *l, const struct lineage_filter *filter, int (*each)(void *arg, const struct lineage_read_row *row),
		  void *arg, struct err *e);

/* `latest`, `1` and `1.2` in an address become the newest published version that matches; anything else stays as it is.  `ret` is the
 * caller's.  Needs lineage_sync for what was published since. */
int lineage_resolve(struct lineage *l, const char *what, char **ret, struct err *e);
/* Is anything on record of that domain, product, version, folder or file (without selectors): an open, or a publication? */
int lineage_is_known(struct lineage *l, const char *address, bool *ret, struct err *e);

#endif
