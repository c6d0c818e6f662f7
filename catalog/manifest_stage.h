/* The scratch database of a publication, as its two halves know it: manifest_stage.c fills it, manifest_write.c makes the manifest of it. */
#ifndef MESHFS_CATALOG_MANIFEST_STAGE_H
#define MESHFS_CATALOG_MANIFEST_STAGE_H

#include "catalog/db.h"
#include "catalog/manifest_write.h"

#define ROOT_ID 1 /* the node of the version's root */

struct stage {
	struct db *db;
	char *path;
	uint64_t next_chunk, next_node;
	uint32_t next_pack;
	uint64_t sealed; /* nodes with ids up to this one belong to the version built onto */
	char *folder;    /* the folder that was used last, and its id: files come folder by folder */
	uint64_t folder_id;
};

/* The stage and the manifest have the same columns of chunks. */
#define CHUNK_INSERT                                                                                                                       \
	"INSERT INTO chunk (id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece, leaves)" \
	" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define CHUNK_COLUMNS "id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece"

/* Columns of packs and chunks, from the first parameter on; `leaves` may be NULL. */
void stage_bind_pack(struct db_stmt *q, uint32_t number, const struct manifest_pack *p);
void stage_bind_chunk(struct db_stmt *q, uint64_t id, const struct manifest_chunk *c, const void *leaves);
/* Columns of rows that were written here; -EBADMSG: they are not what was written. */
int stage_column_blob(struct db_stmt *q, int column, void *ret, size_t size);
int stage_column_chunk(struct db_stmt *q, struct manifest_chunk *ret);

#endif
