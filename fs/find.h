/*
 * What the parts of `lineage find` share: the records asked about (find_asked.c), where to look (cmd_lineage_find.c), what was found (find_answer.c).
 * One command uses it, on one thread.
 */
#ifndef MESHFS_FS_FIND_H
#define MESHFS_FS_FIND_H

#include "catalog/base/map.h"
#include "fs/cmd_lineage.h"
#include "fs/row_lookup.h"

#define NONE UINT32_MAX

struct place { /* a file of a version */
	char *address, *product, *version, *file; /* address: with the file */
	struct scan_version *scanned;
	bool withdrawn;
};

struct job { /* equal content under an equal view: looked at once */
	struct scan_version *version;
	char *path, *view; /* view "": the file itself */
	uint64_t bytes;
	struct place *places;
	size_t place_count;
};

struct match {
	uint32_t record, job;
	uint64_t row;
};

struct find {
	struct lineage_question q;
	const char *run;
	struct option_list columns;
	bool summary;
	/* the records asked about */
	struct row_print *prints;
	uint32_t *next, *buckets; /* chains of equal low bits */
	uint32_t count, room, bucket_count;
	struct map *names; /* the columns that count */
	struct map *others; /* its columns that do not */
	/* where to look */
	struct map *by_key;
	struct job **jobs;
	size_t job_count;
	uint64_t skipped; /* Parquet files, without an engine */
	struct db_stmt *views_of;
	struct map *texts;
	struct row_lookup *lookup;
	struct progress *progress;
	/* what was found */
	struct match *matches;
	size_t match_count, match_room;
	/* of the job under way */
	uint32_t job;
	uint64_t fed, skipped_rows; /* records read, and passed over before them */
	struct err *e;
};

/* Reads the file whose records are asked about, and indexes their fingerprints. */
int find_ask_about(struct find *f, const char *path);
/* Prints where each record came from; with `f->summary` how many came from where. */
int find_answer(struct find *f, bool json, bool quiet);
int find_no_memory(struct find *f);

#endif
