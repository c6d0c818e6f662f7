/*
 * Capture: every open, served or denied, is on record before it is answered.
 *
 * A record is written into a preallocated, mapped journal of fixed, checksummed slots (it survives kill -9 from then on); one
 * elected writer per lineage database drains journals into SQLite in batches.  Strings are interned: a session registers what repeats
 * (run, subject, versions, views, paths) once and records carry numbers.
 *
 * Thread rules: recorder_open_record and recorder_close_record from any thread, without locks held that the
 * writer could want; the rest from start and stop.
 */
#ifndef MESHFS_FS_RECORDER_H
#define MESHFS_FS_RECORDER_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct recorder;

struct recorder_config {
	const char *db_path;
	enum lineage_on_full on_full;
	uint32_t slots, text_bytes; /* of one journal segment; 0: defaults (65,536 records, 8 MiB) */
	uint32_t segments_max;      /* 0: a default (4) */
	int64_t full_wait_ms;       /* how long an open waits for room; 0: a default (10 s) */
	int64_t drain_wait_ms;      /* how long recorder_drain waits; 0: a default (60 s) */
	int64_t keep_ms;            /* reads that are older are pruned; 0: none */
	int64_t tidy_ms;            /* how often days that are over are sealed and old reads pruned; 0: a default (1 h) */
};
int recorder_start_with(const struct recorder_config *config, struct recorder **ret, struct err *e);

/* Opens the journal and the database's writer for this process; drains journals that dead processes left behind. */
int recorder_start(const struct mesh_config *mesh, struct recorder **ret, struct err *e);
/* Drains, then stops.  After it returns everything recorded is in the database. */
int recorder_stop(struct recorder *r, struct err *e);
int recorder_drain(struct recorder *r, struct err *e); /* waits until what is recorded now is in the database */

struct run_facts {
	const char *name;       /* NULL: the session has no name; one is made */
	const char *user;
	uid_t uid;
	const char *const *groups; /* of the subject, by name; NULL: not known */
	size_t group_count;
	const char *purpose;    /* or NULL */
	const char *command;    /* command line, or NULL */
	const char *parent;     /* run id of the enclosing run, or NULL */
	const char *git_commit; /* of the folder it runs in, or NULL */
	const char *const *params; /* "k=v" */
	size_t param_count;
	const char *host;
	const char *mount;      /* mount point */
};

#define RUN_ID_SIZE 37 /* a UUID (version 7) as text */

/* A run is in the database when this returns.  Joining: `id` non-empty on entry continues that run (mount inside `meshfs run`). */
int recorder_begin_run(struct recorder *r, const struct run_facts *facts, char id[RUN_ID_SIZE], struct err *e);
/* Drains, then ends the run, if it was begun here (a joined run is its owner's to end). */
int recorder_end_run(struct recorder *r, const char *id, int exit_status, struct err *e);

enum read_outcome { READ_SERVED = 1, READ_DENIED = 2 };

struct read_facts {
	const char *run;      /* id */
	const char *address;  /* full: sales/orders/1.2.0/part-0.csv */
	const char *version;  /* sales/orders/1.2.0 */
	const char *file;     /* part-0.csv */
	const char *view;     /* hex of the transform's hash, or "" for identity */
	const char *policy;   /* hex of the policy's hash */
	const char *rules;    /* that made the decision, or "" */
	enum read_outcome outcome;
	pid_t pid;            /* of the caller: the thread's number that the kernel tells */
	const char *view_text; /* the transform's canonical text, or NULL: kept once for each view */
};

/* In the journal when this returns (0), or -EIO (the journal is full and the database cannot be written: `lineage.on_full`).  `ret_record`
 * names the record for recorder_close_record. */
int recorder_open_record(struct recorder *r, const struct read_facts *facts, uint64_t *ret_record);
/* Adds what is known when the handle closes, and frees the record; every record is closed once (0 is legal and does nothing).  */
void recorder_close_record(struct recorder *r, uint64_t record, uint64_t bytes_fetched);

struct recorder_stats {
	uint64_t recorded;  /* opens since the start */
	uint64_t waiting;   /* records that are not in the database yet */
	uint64_t refused;   /* opens that failed because nothing could be recorded */
	uint64_t unrecorded; /* served without a record (lineage.on_full: serve) */
};
void recorder_stats(struct recorder *r, struct recorder_stats *ret);

#endif
