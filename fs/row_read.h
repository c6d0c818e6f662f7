/*
 * The records of a file with their fingerprints (row_print.h): separated text and lines of JSON, the same inside .gz and .zst, and Parquet where there is an
 * engine for it; as they are, or as a transform shows them.
 *
 * Thread rules: a call blocks, and uses nothing but its arguments.
 */
#ifndef MESHFS_FS_ROW_READ_H
#define MESHFS_FS_ROW_READ_H

#include "fs/row_print.h"
#include "policy/view.h"

struct progress;

struct row_read {
	struct view_source source; /* its path tells the format */
	const struct contract_object *object; /* that claims the file; or NULL */
	struct transform *transform;          /* or NULL */
	const struct view_keys *keys;         /* with a transform */
	struct progress *progress;            /* gets bytes of the source; or NULL */
	/* The callbacks get `arg`; a non-zero return stops and is returned. */
	bool (*column)(void *arg, const char *name); /* which columns count; NULL: all */
	/* A record in its turn; `row` is its number in the source, from 1 (the head is none).  `broken`: strict parsing rejects it. */
	int (*each)(void *arg, uint64_t row, const struct row_print *print, bool broken);
	int (*seen)(void *arg, const char *name); /* in the end, each column; or NULL */
	void *arg;
};

/* Can records of such a file be read here, by its name? */
bool row_readable(const char *path);
/* -EACCES, -EBADMSG and so on: `e` says why, without values. */
int row_read(const struct row_read *config, struct err *e);

/* The names of the columns in the file's first records, or its footer.  -EOPNOTSUPP: it has none that can be read. */
int row_columns(const struct view_source *source, const struct contract_object *object, int (*each)(void *arg, const char *name), void *arg, struct err *e);

#endif
