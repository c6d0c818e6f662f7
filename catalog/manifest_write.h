/*
 * Making a manifest: entries and chunks are gathered in a scratch database, in any order, then written out row by row.
 *
 * Memory does not grow with the number of files or chunks.  Paths are relative, '/'-separated and already clean (no empty, "."
 * or ".." parts); parent folders are made as needed.  A stage belongs to one thread at a time.
 */
#ifndef MESHFS_CATALOG_MANIFEST_WRITE_H
#define MESHFS_CATALOG_MANIFEST_WRITE_H

#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stage;

/* The scratch file is made in `folder` (which exists) and removed by stage_free. */
int stage_new(const char *folder, struct stage **ret, struct err *e);
void stage_free(struct stage *s); /* NULL is legal */

/* The number of a pack or in-place object: the same key gives the same number.  stage_pack_set fills in what is known later. */
int stage_pack(struct stage *s, const struct manifest_pack *p, uint32_t *ret_number, struct err *e);
int stage_pack_set(struct stage *s, uint32_t number, const struct manifest_pack *p, struct err *e);
int stage_pack_get(struct stage *s, uint32_t number, struct manifest_pack *ret, struct err *e);
int stage_packs(struct stage *s, int (*each)(void *arg, uint32_t number, const struct manifest_pack *pack), void *arg, struct err *e);

/* Appends a chunk with its leaf_count(c->length) leaves; ids count up from 1.  The chunks of a file must be appended without another's between. */
int stage_chunk(struct stage *s, const struct manifest_chunk *c, const struct leaf *leaves, uint64_t *ret_id, struct err *e);
int stage_chunk_get(struct stage *s, uint64_t id, struct manifest_chunk *ret, struct err *e);

/*
 * Entries.  `entry` gives kind, executable, mtime_ns, and for files size, hash, content, chunk_count, aligned.  `target` is a symlink's.
 * Entries that were put before stage_seal (those of the version to build onto) are replaced, with all that is below them; putting
 * over a newer one is -EEXIST for files and symlinks unless `replace`, and fine for a folder over a folder.
 */
int stage_put(struct stage *s, const char *path, const struct manifest_entry *entry, uint64_t first_chunk, const char *target,
	      size_t target_len, bool replace, struct err *e);
void stage_seal(struct stage *s);
int stage_remove(struct stage *s, const char *path, struct err *e); /* -ENOENT; with all that is below */

struct stage_result {
	uint64_t rows, files, bytes, size; /* size: of the manifest file */
	struct digest tree, digest;        /* digest: of the manifest file */
};

/* Writes the manifest to `path` (new).  The stage may be changed and written again. */
int stage_write(struct stage *s, const char *path, const char *domain, const char *product, const char *version, int64_t created_ns,
		struct stage_result *ret, struct err *e);

#endif
