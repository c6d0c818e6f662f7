/*
 * A manifest: the files and chunks of one version, an immutable SQLite file named by its SHA-256.
 *
 * Rows.  Every folder, file and symlink of the version has a row number, 1 … rows; 1 is the version's root.  Rows are given
 * breadth first, so that the children of a folder are neighbours, in byte order of their names; a row never changes, so it
 * serves as directory cookie and as part of a node id.
 *
 * Chunks.  A file is the concatenation of its chunks.  A chunk is named by its digest and lies in a pack
 * (raw or zstd), or, registered in place, in an object of the store that is guarded by its ETag.  Longer chunks have leaves: catalog/leaves.h.
 *
 * A manifest comes from a store: it is opened read-only with SQLite's defensive settings and checked before use (format
 * version, whose it is, names, symlink targets, lengths); later reads check again what they touch.  -EBADMSG: it is broken.  -EPROTONOSUPPORT: this
 * meshfs does not know its format.
 *
 * Thread rules: all functions may be called from any thread at once (a connection per concurrent caller).
 */
#ifndef MESHFS_CATALOG_MANIFEST_H
#define MESHFS_CATALOG_MANIFEST_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/leaves.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MANIFEST_ROOT 1

enum entry_kind { ENTRY_FOLDER = 1, ENTRY_FILE = 2, ENTRY_SYMLINK = 3 };

struct manifest;

struct manifest_entry {
	uint64_t row, parent;
	enum entry_kind kind;
	bool executable;
	int64_t mtime_ns;
	uint64_t size;         /* files: bytes; symlinks: length of the target; folders: 0 */
	struct xxh128 hash;    /* files: XXH3-128 of the whole file */
	struct digest content; /* files: SHA-256 over the digests of its chunks in order: names equal content within a domain */
	uint32_t chunk_count;
	bool aligned; /* every chunk ends at the end of a record (line formats) */
	uint64_t first_child, child_count; /* folders: its children are rows first_child … first_child + child_count - 1 */
};

enum chunk_codec { CODEC_RAW = 0, CODEC_ZSTD = 1 };

struct manifest_chunk {
	struct digest digest;
	struct xxh128 hash;
	uint64_t file_offset; /* where its bytes stand in the file */
	uint32_t length;      /* of the bytes */
	uint32_t pack;        /* a pack's or an in-place object's number */
	uint64_t pack_offset; /* of the stored bytes */
	uint32_t stored_length;
	enum chunk_codec codec;
	uint64_t raw_offset; /* where its bytes stand in the pack's raw image: sum of the raw lengths before it */
	uint32_t slot;       /* its number in the pack */
	uint32_t piece;      /* pieces of the file before it */
};

struct manifest_pack {
	char key[512];         /* in the store */
	bool in_place;         /* an object of the domain, not a pack of ours */
	char etag[128];        /* in-place only: what the object's ETag must be */
	uint64_t size;         /* stored bytes */
	uint64_t raw_size;     /* of the raw image */
	uint32_t slots;        /* how many chunks lie in it */
};

struct manifest_info {
	char domain[64], product[64], version[36];
	int64_t created_ns;
	uint64_t rows, files, bytes;
	struct digest digest; /* SHA-256 of the manifest file, its name in the store; zero unless it was set */
	struct digest tree; /* over names, kinds, executable bits, sizes, contents and link targets, not times: equal trees, equal versions */
};

/* Opens a local copy whose SHA-256 was checked by the caller.  It must belong to domain/product/version.  */
int manifest_open(const char *path, const char *domain, const char *product, const char *version, struct manifest **ret, struct err *e);
struct manifest *manifest_ref(struct manifest *m);
void manifest_unref(struct manifest *m); /* NULL is legal */
const struct manifest_info *manifest_info(const struct manifest *m);
/* What the caller found its SHA-256 to be; before anybody else has the manifest. */
void manifest_set_digest(struct manifest *m, const struct digest *digest);

/* -ENOENT when there is none. */
int manifest_lookup(struct manifest *m, uint64_t parent, const char *name, size_t name_len, struct manifest_entry *ret);
int manifest_get(struct manifest *m, uint64_t row, struct manifest_entry *ret);
/* A path within the version ("a/b.csv", "" for the root). */
int manifest_resolve(struct manifest *m, const char *path, struct manifest_entry *ret);
/* Children of a folder with rows > after_row (0: from the start), in row order; a non-zero return of `each` stops the walk (and is not an
 * error).  The name is not NUL-terminated and may be any bytes but '/' and NUL. */
int manifest_list(struct manifest *m, uint64_t parent, uint64_t after_row,
		  int (*each)(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len), void *arg);
/* All entries in row order, with their paths within the version. */
int manifest_walk(struct manifest *m, int (*each)(void *arg, const struct manifest_entry *entry, const char *path), void *arg);
int manifest_link(struct manifest *m, uint64_t row, struct buf *ret); /* a symlink's target */
int manifest_path(struct manifest *m, uint64_t row, struct buf *ret); /* the path within the version */

/* Chunks [first, first + count) of a file, count at most chunk_count - first.  */
int manifest_chunks(struct manifest *m, uint64_t row, uint32_t first, uint32_t count, struct manifest_chunk *ret);
/* The chunk that holds byte `offset` of the file (offset < size): its index. */
int manifest_chunk_at(struct manifest *m, uint64_t row, uint64_t offset, uint32_t *ret_index);
/* The leaves of the file's chunk `index`, which manifest_chunks gave: leaf_count(chunk->length) of them, held against its digest. */
int manifest_leaves(struct manifest *m, uint64_t row, uint32_t index, const struct manifest_chunk *chunk, struct leaf *ret);
int manifest_pack(struct manifest *m, uint32_t pack, struct manifest_pack *ret);
/* Chunks of a pack with slots in [first, first + count), whatever file they belong to (neighbours for one request).  Returns how many
 * are there (≤ count) or -errno; a slot this version does not use is skipped. */
int manifest_pack_chunks(struct manifest *m, uint32_t pack, uint32_t first, uint32_t count, struct manifest_chunk *ret);

/* Every pack and in-place object, with its number (1 …). */
int manifest_packs(struct manifest *m, int (*each)(void *arg, uint32_t number, const struct manifest_pack *pack), void *arg);
/* Every chunk with its id, in id order (for finding chunks that are there already), and one chunk by its id. */
int manifest_chunks_all(struct manifest *m, int (*each)(void *arg, uint64_t id, const struct manifest_chunk *chunk), void *arg);
int manifest_chunk_by_id(struct manifest *m, uint64_t id, struct manifest_chunk *ret);

/* May a symlink at `path` within a version point to `target`?  Relative, ".." only in front and never above the version's root, so that
 * following it (through other such links too) cannot leave the version.  0 or -EXDEV. */
int symlink_check(const char *path, const char *target, size_t target_len);

#endif
