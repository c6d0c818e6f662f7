/*
 * The lineage database: which runs were served what, through which views, and what they made of it.
 *
 * One SQLite file (WAL) on a local disk.  Its tables hold numbers that stand for texts; people and other tools read the views
 * mesh_runs, mesh_reads, mesh_inputs, mesh_publications, mesh_artifacts, mesh_gaps and mesh_seals, which meshfs-catalog(5) documents.
 *
 * Writing happens in batches: lineage_begin, any number of lineage_*, lineage_commit.  Taking the database's write lock elects the
 * one writer; a batch holds it for tens of milliseconds.  How far a journal was drained is written in the same transaction as its records, so each
 * record counts exactly once, whoever drains it and whenever that is killed.
 *
 * Folding: all opens of one file by one run under one decision (outcome, view, policy, rules) are one row with a count and the first and last
 * time.  A run longer than a day has parts, one a day, and a row for each: a part that is over never changes and is sealed.
 *
 * Thread rules: a `struct lineage` belongs to one thread at a time and must not cross a fork.
 */
#ifndef MESHFS_CATALOG_LINEAGE_H
#define MESHFS_CATALOG_LINEAGE_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define LINEAGE_RUN_SIZE 37 /* a UUID as text */
#define LINEAGE_PART_NS (86400LL * 1000000000LL)

struct lineage;
struct db;

/* Opens, and makes when absent.  A database on a network file system is refused (-EOPNOTSUPP): SQLite's locks do not hold there. */
int lineage_open(const char *path, struct lineage **ret, struct err *e);
void lineage_close(struct lineage *l); /* NULL is legal */
struct db *lineage_db(struct lineage *l);
const char *lineage_path(const struct lineage *l);

/* -- writing --------------------------------------------------------------------------------- */

int lineage_begin(struct lineage *l, struct err *e);
int lineage_commit(struct lineage *l, struct err *e);
void lineage_rollback(struct lineage *l);

struct lineage_run {
	const char *id;
	const char *name, *user, *purpose, *command, *parent, *git_commit, *host, *mount; /* NULL where unknown */
	uid_t uid;
	const char *params; /* JSON object */
	const char *groups; /* of the subject, as policy saw them then: a JSON list of names; NULL where unknown */
	const char *owner;  /* "boot-id pid start": who will end it */
	int64_t started_ns;
};
int lineage_run_insert(struct lineage *l, const struct lineage_run *run, struct err *e);
int lineage_run_finish(struct lineage *l, const char *id, int exit_status, int64_t ended_ns, struct err *e); /* -ENOENT */
/* Runs of this host that never ended and whose owner is gone end with the last thing they read. */
int lineage_runs_reap(struct lineage *l, bool (*alive)(void *arg, const char *owner), void *arg, struct err *e);

#define LINEAGE_SERVED 1
#define LINEAGE_DENIED 2

/* One decision of one run about one version: what many reads have in common. */
struct lineage_context {
	const char *run, *version, *view, *policy, *rules;
	int outcome;           /* LINEAGE_SERVED, LINEAGE_DENIED */
};
struct lineage_context_ids {
	int64_t run, version, decision;
	int64_t run_started_ns;
	int64_t sealed_parts; /* parts below this never change again */
	bool sealed;          /* the run has ended and was sealed */
	int64_t late;         /* which of its inputs are not sealed yet: how often it was */
};
int lineage_context_get(struct lineage *l, const struct lineage_context *c, struct lineage_context_ids *ret, struct err *e);

/* What a view's hash stands for: the canonical text of its transform. */
int lineage_view_add(struct lineage *l, const char *view, const char *text, struct err *e);

struct lineage_process {
	int64_t pid, started_ns; /* started_ns 0: it was gone before it could be looked at */
	const char *exe, *command;
};
int lineage_process_get(struct lineage *l, int64_t run, const struct lineage_process *p, int64_t *ret, struct err *e);

struct lineage_read {
	struct lineage_context_ids context;
	int64_t process;
	const char *path;
	size_t path_len;
	int64_t opens, bytes, first_ns, last_ns; /* opens 0: only bytes are added */
};
/* Its part of what the run read of the version (`inputs`) is written by lineage_commit at the latest. */
int lineage_read_add(struct lineage *l, const struct lineage_read *read, struct err *e);

int lineage_journal_position(struct lineage *l, const char *journal, int64_t *ret, struct err *e);
int lineage_journal_advance(struct lineage *l, const char *journal, int64_t position, struct err *e);
int lineage_journal_forget(struct lineage *l, const char *journal, struct err *e);
/* Is that run under way?  -ENOENT when it is not known, -ESRCH when it has ended.  `ret_owner` (may be NULL) is the caller's. */
int lineage_run_open(struct lineage *l, const char *id, char **ret_owner, struct err *e);
/* Forgets positions of journals that `exists` no longer knows; none while a run is under way, whose mount may still hold a journal that was deleted. */
int lineage_journals_tidy(struct lineage *l, bool (*exists)(void *arg, const char *journal), void *arg, struct err *e);
/* Records of a journal that were damaged (a power cut, not a kill): counted, never guessed. */
int lineage_damage_add(struct lineage *l, const char *journal, int64_t lost, int64_t when_ns, struct err *e);
int lineage_gap_set(struct lineage *l, const char *journal, int64_t lost, int64_t first_ns, int64_t last_ns, struct err *e);

/* A publication, as its domain's catalog tells it.  `run` NULL: published outside any run. */
struct lineage_publication {
	const char *address, *run, *manifest, *publisher;
	int64_t published_ns;
	bool withdrawn;
};
int lineage_publication_set(struct lineage *l, const struct lineage_publication *p, struct err *e);
/* The generation of a domain's catalog whose publications are here; -1: none. */
int lineage_domain_generation(struct lineage *l, const char *domain, int64_t *ret, struct err *e);
int lineage_domain_seen(struct lineage *l, const char *domain, int64_t generation, struct err *e);

/* What a run made outside the mesh. */
int lineage_artifact_add(struct lineage *l, const char *run, const char *path, const char *sha256, int64_t size, int64_t when_ns, struct err *e);

#endif
