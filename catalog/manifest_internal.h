/* What the files of catalog/manifest share: the open manifest, its queries, and rows read with every column checked. */
#ifndef MESHFS_CATALOG_MANIFEST_INTERNAL_H
#define MESHFS_CATALOG_MANIFEST_INTERNAL_H

#include "catalog/db.h"
#include "catalog/manifest.h"

#include <stdatomic.h>

struct manifest {
	atomic_uint refs;
	struct db_pool *connections;
	struct manifest_info info;
};

/* What an entry row holds beside the public fields. */
struct entry_row {
	struct manifest_entry entry;
	uint64_t first_chunk;
};

/* The columns that the readers of rows below expect, in their order. */
#define ENTRY_COLUMNS                                                                                                                      \
	"row, parent, kind, executable, mtime, size, hash, content, first_chunk, chunk_count, aligned, first_child, child_count, name"
#define ENTRY_NAME 13
#define CHUNK_COLUMNS "id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece"
#define PACK_COLUMNS "number, key, in_place, etag, size, raw_size, slots"

/* -- manifest_rows.c: values of a row, false or -EBADMSG when they are not of the type or in the range that they must have -- */
bool column_int(struct db_stmt *s, int i, int64_t min, int64_t max, int64_t *ret);
bool column_bytes(struct db_stmt *s, int i, void *ret, size_t len);
bool column_text(struct db_stmt *s, int i, char *ret, size_t size);
bool manifest_name_valid(const char *name, size_t len);
int entry_row_read(const struct manifest *m, struct db_stmt *s, struct entry_row *r);
int chunk_row_read(struct db_stmt *s, uint64_t *ret_id, struct manifest_chunk *ret);
int pack_row_read(struct db_stmt *s, uint32_t *ret_number, struct manifest_pack *ret);

/* -- manifest.c -- */
/* A connection and one of its cached statements; both go back with manifest_query_end. */
int manifest_query(struct manifest *m, const char *sql, struct db **ret_db, struct db_stmt **ret);
void manifest_query_end(struct manifest *m, struct db *db, struct db_stmt *s);
int manifest_step_entry(struct manifest *m, struct db_stmt *s, struct entry_row *ret); /* -ENOENT: no further row */
int manifest_row(struct manifest *m, uint64_t row, struct entry_row *ret);

#endif
