/*
 * A journal segment: one preallocated, mapped file that holds records until they are in the lineage database.
 *
 *     header (4 KiB)   who writes it, sizes, how many records are complete, opens that were served without a record
 *     slots            fixed 64-byte records, each with a checksum over its bytes, its number and the segment's id
 *     texts            append-only, each with its length and a checksum; records name texts by offset
 *
 * Life: created by its owner, who alone appends; written once from front to back, never reused; sealed when either region is full or the
 * owner is done; deleted when all of it is in the database.  The mapping is shared, so what was appended survives kill -9 of the
 * owner from the moment journal_append returns.  The owner holds flock(2) on the file; when that lock can be had, the owner is dead,
 * and whoever has it may drain and delete the segment.  A segment needs nothing but itself to be read.
 *
 * Completeness: a slot is written, then its checksum, then the count.  A reader of a live segment believes the count.  Of a dead one
 * it also takes a complete slot beyond the count (killed between the two), and reports a torn one within it (a power cut may
 * lose any page), which no reader can mistake for a record.
 *
 * Thread rules: journal_add_text and journal_append by one thread at a time (the owner's lock); reading from any thread or process.
 */
#ifndef MESHFS_FS_JOURNAL_H
#define MESHFS_FS_JOURNAL_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_ID_SIZE 33
#define JOURNAL_SUFFIX ".journal"
#define JOURNAL_TEXT_MAX (64u << 10)

struct journal;

enum record_kind {
	RECORD_OPEN = 1,  /* one open, served or refused */
	RECORD_BYTES = 2, /* `amount` bytes were fetched for the open at `when_ns` */
	RECORD_VIEW = 3,  /* `name` is the text of the view that `context` names */
};

struct journal_record {
	enum record_kind kind;
	int64_t when_ns;
	uint32_t context; /* texts: offsets from journal_add_text; 0: none */
	uint32_t name;
	uint32_t process;
	uint64_t amount;
};

struct journal_size {
	uint32_t slots;
	uint32_t text_bytes;
};

/* Makes a segment in `folder` and locks it.  Its room is allocated on the disk now: appending cannot fail for want of it. */
int journal_create(const char *folder, const struct journal_size *size, struct journal **ret, struct err *e);
/* Opens a segment that somebody wrote.  -EBADMSG when it is none. */
int journal_open(const char *path, struct journal **ret, struct err *e);
/* Unmaps and closes; the file stays.  NULL is legal. */
void journal_close(struct journal *j);
int journal_unlink(struct journal *j);

const char *journal_id(const struct journal *j); /* hex; names it in the database */
const char *journal_path(const struct journal *j);
bool journal_owned(const struct journal *j); /* from journal_create */
bool journal_gone(const struct journal *j);  /* its file has been deleted */
/* For a segment from journal_open: is its owner gone?  When true, the lock is ours until journal_close. */
bool journal_adopt(struct journal *j);

/* Appends a text, gives its offset.  -ENOSPC when the region is full (then seal the segment); -E2BIG. */
int journal_add_text(struct journal *j, const void *bytes, size_t len, uint32_t *ret);
/* The record is complete when this returns.  -ENOSPC when no slot is left. */
int journal_append(struct journal *j, const struct journal_record *r);
/* Makes pages ready for texts to come: as many again as there are.  By one thread at a time, which need not be the one that appends. */
void journal_prepare(struct journal *j);
void journal_seal(struct journal *j);
bool journal_sealed(const struct journal *j);

/* Complete records (owner or reader of a live segment). */
uint32_t journal_count(const struct journal *j);
/* The record numbered `index`: 0; -ENODATA after the last; -EBADMSG: torn or damaged, skip it.  `count` is what journal_count said: ask once for many
 * records, as the owner writes there with every record, and two processors would pass the line to and fro. */
int journal_read(const struct journal *j, uint32_t index, uint32_t count, struct journal_record *ret);
/* A text that a record names.  -EBADMSG when it is damaged. */
int journal_text(const struct journal *j, uint32_t offset, const char **ret, size_t *ret_len);

/* The owner's own text, not verified again: NULL unless it is `len` bytes long. */
const char *journal_own_text(const struct journal *j, uint32_t offset, size_t len);

/* Opens that were served while nothing could be recorded (lineage.on_full: serve).  Survives like a record. */
struct journal_gap {
	uint64_t lost;
	int64_t first_ns, last_ns;
};
void journal_lose(struct journal *j, int64_t when_ns);
void journal_gap(const struct journal *j, struct journal_gap *ret);

#endif
