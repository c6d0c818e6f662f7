/*
 * The insides of the feeder (draft_feed.c): what it has of a draft in a publication.  Of its thread alone.
 */
#ifndef MESHFS_FS_DRAFT_FEED_H
#define MESHFS_FS_DRAFT_FEED_H

#include "catalog/base/buf.h"
#include "fs/draft_internal.h"

#include <sys/stat.h>
#include <time.h>

struct gate;
struct publication;
struct publish_result;
struct row_maker;
struct sql_engine;

struct fed_file {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec mtime, ctime;
};

struct feed {
	struct publication *publication; /* NULL: none yet, or dropped */
	struct gate *gate, *again;       /* the observer's, and the one that ran again */
	struct row_maker *rows, *rows_again; /* beside the gates */
	struct sql_engine *engine;       /* of both gates */
	char *files_folder;		 /* that it reads from */
	struct map *files;               /* path in the version → struct fed_file */
	struct map *folders;             /* of these files: a set */
	struct buf contract;             /* the draft's own, as the publication has it */
	bool has_contract;
	bool asked;  /* the queries of the checks, ahead of the rename */
	int64_t patience_ms; /* how long nothing has to happen before they are asked; 0: AHEAD_MS */
	bool dirty;  /* the gate has seen what is not in the version */
	bool broken; /* nothing more is fed before the rename */
	struct buf problems;
};

/* -- the publication and its checks (draft_publish.c) --------------------------------------------- */
/* A publication under the contract that the draft has now. */
int feed_ready(struct draft *d, struct err *e);
void feed_drop(struct feed *f); /* what was done early is lost, and nothing else */
void feed_free(struct feed *f); /* NULL is legal */
/* Would it pay to ask the queries of the checks now, before the rename? */
bool feed_may_ask(const struct draft *d);
void feed_changed(struct feed *f); /* a file comes or goes: answers are of others */
int feed_ask_ahead(struct draft *d); /* -EINTR: d->cancel was set */
/* Settles what changed, checks, commits.  -EAGAIN: once more. */
int feed_publish(struct draft *d, struct publish_result *result, struct err *e);

/* -- the publication and the folder (draft_fill.c) -------------------------------------------------- */
/* Adds a file unless the publication has it as it is.  `where` is below the draft's folder, `path` in the version. */
int feed_file(struct draft *d, const char *where, const char *path, struct err *e);
/* The same for one that may stand where others were. */
int feed_file_over(struct draft *d, const char *where, const char *path, struct err *e);
/* Makes the publication what the folder is. */
int feed_settle(struct draft *d, struct err *e);

#endif
