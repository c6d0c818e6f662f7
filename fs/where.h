/*
 * Which runs were served rows like these: the reads on record, evaluated over the versions they were pinned to.
 *
 * A row was served when the filter of the recorded view keeps it.  Each (content, view) is scanned once, whoever read it.
 */
#ifndef MESHFS_FS_WHERE_H
#define MESHFS_FS_WHERE_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lineage;
struct scan;
struct expr;

struct where_hit { /* one run, file and view that showed at least one such row */
	char *run, *run_id, *user, *purpose; /* the last two may be NULL */
	char *version, *file; /* version: its address */
	char *view;           /* "" for the file itself */
	char *masks;          /* what the view did, in words; NULL for the file itself */
	char *policy, *rules;
	int64_t rows, opens, first_ns, last_ns;
	bool withdrawn;
};

struct where_gone { /* what could not be looked at */
	char *address, *why;
	int64_t runs;   /* how many were served it */
	char *version;  /* its rows are no rows like these, as it has no such column: its version's address; else NULL */
	bool more;      /* so do other files of that version */
};

struct where_source { /* rows in the version itself, whoever may see them */
	char *version, *file;
	int64_t rows;
	bool withdrawn;
};

struct where_answer {
	struct where_hit *hits;
	size_t hit_count;
	struct where_gone *gone;
	size_t gone_count;
	struct where_source *sources; /* only with `sources` */
	size_t source_count;
	uint64_t looked_at; /* files that have the question's columns; 0: nobody was served one, and nobody knows whether the columns are spelt right */
};

/*
 * `address`: a domain, product, version, folder or file without selectors; `run` (a name or id) may be NULL.  With `sources`, versions of the catalog
 * that `address` covers are looked at too, served or not.  The answer is freed by where_answer_free.
 */
int where_ask(struct lineage *l, struct scan *s, const char *address, const char *run, const struct expr *where, bool sources, bool quiet,
	      struct where_answer *ret, struct err *e);
void where_answer_free(struct where_answer *a);

#endif
