/*
 * The disk cache: verified bytes of chunks, shared by every process of one owner.
 *
 * A blob is a sparse data file and a small mapped state file beside it, in <folder>/<domain>/blobs/<2 hex>/.  The state file has a
 * record a slot (a piece: one chunk, or one leaf of it): where its bytes stand in the data file, a hash of them, and whether they are there.
 *
 * Invariants:
 *  - A slot becomes SLOT_PRESENT only after its bytes were verified by the caller and written (release store); so a process that
 *    dies at any point leaves a blob that is right.
 *  - A reboot may lose written pages and keep the record: a state file of another boot has all its present slots turned into
 *    SLOT_UNVERIFIED when it is opened; blob_check marks or drops them.
 *  - A state file is bound to its data file by the inode number; creating and evicting happen under an exclusive flock of
 *    <folder>/blobs.lock.  Eviction only unlinks: whoever has the blob open keeps reading right bytes and sees blob_doomed.
 *  - State files are fully allocated before they are mapped, so that a full disk is an error here and not a SIGBUS.
 *
 * Thread rules: any thread.  A blob is reference-counted; marks of several threads or processes on
 * one slot are harmless, as they write the same bytes.
 */
#ifndef MESHFS_FS_CACHE_H
#define MESHFS_FS_CACHE_H

#include "catalog/base/err.h"
#include "catalog/base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum slot_state { SLOT_ABSENT = 0, SLOT_UNVERIFIED = 1, SLOT_PRESENT = 2 };

enum blob_kind {
	BLOB_FILE = 'f', /* a file: named by its content digest */
	BLOB_PACK = 'p', /* a pack's raw image: named by the SHA-256 of its key and ETag */
	BLOB_VIEW = 'v', /* a finished view: named by content digest, view hash and index hash */
};

struct cache;
struct blob;

/* `boot` NULL: the id of this boot (tests pass another one to play a reboot). */
int cache_open(const char *folder, uint64_t limit_bytes, const unsigned char *boot, struct cache **ret, struct err *e);
void cache_close(struct cache *c); /* no blob may be open */

/* Opens or makes a blob.  0 or -errno (no room, no permission: the caller goes on without caching). */
int blob_open(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, uint64_t size, uint32_t slots,
	      struct blob **ret);
/* The same, never making one: -ENOENT.  The sizes are what the state file says. */
int blob_open_existing(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, struct blob **ret);
struct blob *blob_ref(struct blob *b);
void blob_close(struct blob *b); /* drops a reference; NULL is legal */

uint64_t blob_size(const struct blob *b);
uint32_t blob_slots(const struct blob *b);
enum slot_state blob_state(const struct blob *b, uint32_t slot);
/* Are all slots present?  Cheap: remembers how far it looked. */
bool blob_whole(struct blob *b);
/* Was it evicted (by any process)?  The owner should let go of it. */
bool blob_doomed(struct blob *b);

int blob_read(struct blob *b, void *bytes, size_t len, uint64_t offset); /* 0 or -errno */
/* Writes bytes, without marking.  A failure is remembered: the cache is left alone for a while (cache_writable). */
int blob_write(struct blob *b, const void *bytes, size_t len, uint64_t offset);
void blob_mark(struct blob *b, uint32_t slot, uint64_t offset, uint32_t length, const struct xxh128 *hash);
/* The same for a caller that has the SHA-256 and no XXH3-128: its first bytes serve as well, and cost no second pass. */
#define SLOT_SHA256_SIZE 16
void blob_mark_sha256(struct blob *b, uint32_t slot, uint64_t offset, uint32_t length, const unsigned char sha256[SLOT_SHA256_SIZE]);
void blob_drop(struct blob *b, uint32_t slot);
/* Where the record says that the slot's bytes stand.  False: absent or out of bounds. */
bool blob_record(const struct blob *b, uint32_t slot, uint64_t *ret_offset, uint32_t *ret_length);
/* Holds the slot's bytes against its record, using `room` (as long as the record says): marks it present, or drops it (false). */
bool blob_check(struct blob *b, uint32_t slot, void *room);
/* A new read-only descriptor of the data file. */
int blob_reopen(const struct blob *b, int *ret_fd);
/* Notes that it is in use (least recently used goes first); cheap, at most one system call a minute. */
void blob_touch(struct blob *b);

bool cache_writable(const struct cache *c);
uint64_t cache_limit(const struct cache *c);
/* Bytes on disk: an estimate that every eviction corrects. */
uint64_t cache_usage(const struct cache *c);
/* Adds to the counters that all processes share (for `cache status`). */
struct cache_counters {
	uint64_t hits, misses, fetched_bytes, served_bytes, integrity_errors;
};
void cache_count(struct cache *c, const struct cache_counters *more);
void cache_counters(const struct cache *c, struct cache_counters *ret);

/* A blob that is written in one go before its size is known: a nameless file, filled by the caller, then adopted with its slots (slot i
 * ends at ends[i]).  blob_adopt leaves the descriptor to the caller. */
int blob_temp(struct cache *c, const char *domain, int *ret_fd);
int blob_adopt(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, int fd, uint64_t size, uint32_t slots,
	       const uint64_t *ends, const struct xxh128 *hashes);

/* -- the whole folder: fs/cache_folder.c ---------------------------------------------------- */

struct blob_info {
	const char *domain;
	enum blob_kind kind;
	struct digest name;
	const char *data_path, *state_path;
	uint64_t size_bytes, allocated_bytes;
	int64_t used_ns;
};

/* Every blob of the folder; a non-zero return of `each` stops and is returned. */
int cache_walk(struct cache *c, int (*each)(void *arg, const struct blob_info *info), void *arg);
/* Unlinks the least recently used blobs until at most `to_bytes` are used.  Also removes what a crash left half made. */
int cache_prune(struct cache *c, uint64_t to_bytes, uint64_t *ret_freed, uint64_t *ret_blobs, struct err *e);
/* Re-hashes every present slot; drops what does not match its record. */
int cache_verify(struct cache *c, void (*progress)(void *arg, uint64_t bytes), void *arg, uint64_t *ret_checked, uint64_t *ret_bad,
		 struct err *e);

/* For cache_folder.c. */
const char *cache_folder(const struct cache *c);
int cache_lock(struct cache *c);
void cache_unlock(struct cache *c);
void cache_set_usage(struct cache *c, uint64_t bytes);

#endif
