/*
 * Files into chunks, packs and a stage: the pipeline behind publishing.
 *
 *     caller: reads, cuts ── batches of 8 MiB ──▶ workers: hash, compress ──▶ packer (one, in order): finds known chunks,
 *     fills packs, writes the stage ──▶ uploaders: put packs into the store
 *
 * Files keep the order in which they are given, so that neighbours share packs.  Memory is bounded by the number of batches and packs
 * in flight, whatever the files' sizes (a record of up to 64 MiB is held whole).  The first failure stops everything; every later
 * call returns it.
 *
 * Thread rules: ingest_file may be called from any thread, one file at a time goes through; the observer is called by the packer.
 */
#ifndef MESHFS_CATALOG_INGEST_H
#define MESHFS_CATALOG_INGEST_H

#include "catalog/base/err.h"
#include "catalog/base/progress.h"
#include "catalog/chunk_index.h"
#include "catalog/manifest.h"
#include "catalog/manifest_write.h"
#include "catalog/store/store.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ingest;

/* Sees every byte that is published, in order, file by file.  A non-zero return of any function fails the publication. */
struct publish_observer {
	int (*file_begin)(void *arg, const char *path, uint64_t size, struct err *e);
	int (*bytes)(void *arg, const char *path, const void *bytes, size_t len, struct err *e); /* a chunk: whole records when aligned */
	int (*file_end)(void *arg, const char *path, struct err *e);
	void *arg;
};

struct ingest_config {
	struct store *store;
	struct stage *stage;
	struct chunk_index *index;
	struct manifest *const *known; /* source i + 1 of the index; borrowed */
	size_t known_count;
	bool dry_run;                  /* put nothing */
	const struct publish_observer *observer; /* or NULL; borrowed */
	struct progress *progress;     /* or NULL */
	const atomic_bool *interrupted; /* or NULL: set by a signal handler */
};

struct ingest_source {
	const char *path;             /* in the version */
	int64_t mtime_ns;
	bool executable, replace;     /* replace: stage_put's */
	uint64_t size;
	/* Fills up to `len` bytes, *ret_n of them (0 only at the end). */
	int (*read)(void *arg, void *bytes, size_t len, size_t *ret_n, struct err *e);
	/* After the last byte: did the source stay as it was?  May be NULL. */
	int (*check)(void *arg, struct err *e);
	void *arg;
	const uint64_t *cuts; /* forced, or NULL */
	size_t cut_count;
	uint32_t object; /* in place: the object's number in the stage; 0: bytes go into packs */
};

int ingest_start(const struct ingest_config *config, struct ingest **ret, struct err *e);
/* A failure of the file itself (its read or check) discards that file only. */
int ingest_file(struct ingest *in, const struct ingest_source *source, struct err *e);
/* Folders and symlinks. */
int ingest_entry(struct ingest *in, const char *path, const struct manifest_entry *entry, const char *target, size_t target_len,
		 bool replace, struct err *e);
/* Everything given so far is in the stage and observed (not yet in the store). */
int ingest_flush(struct ingest *in, struct err *e);
/* … and in the store. */
int ingest_finish(struct ingest *in, struct err *e);
/* Stops the threads.  With `undo`, packs that were put are deleted again. */
void ingest_free(struct ingest *in, bool undo);

struct ingest_counts {
	uint64_t bytes;     /* read */
	uint64_t new_bytes; /* of chunks that were not there */
	uint64_t stored_bytes; /* of packs made */
};
void ingest_counts(struct ingest *in, struct ingest_counts *ret);

#endif
