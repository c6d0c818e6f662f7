/* Chunks of a manifest's files, and the packs they lie in. */
#include "catalog/manifest_internal.h"

#include "catalog/db.h"

#include <errno.h>
#include <string.h>

/* -- chunks --------------------------------------------------------------------------------- */

int manifest_chunks(struct manifest *m, uint64_t row, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct entry_row file;
	struct db *db;
	struct db_stmt *s;
	int r = manifest_row(m, row, &file);
	if (r)
		return r;
	if (file.entry.kind != ENTRY_FILE || first > file.entry.chunk_count || count > file.entry.chunk_count - first)
		return -EINVAL;
	if (!count)
		return 0;
	r = manifest_query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE id >= ? AND id < ? ORDER BY id", &db, &s);
	if (r)
		return r;
	const uint64_t start = file.first_chunk + first;
	db_bind_int(s, 1, (int64_t)start);
	db_bind_int(s, 2, (int64_t)(start + count));
	for (uint32_t i = 0; i < count && !r; i++) {
		uint64_t id;
		r = db_step(s, NULL);
		r = r == DB_ROW ? chunk_row_read(s, &id, &ret[i]) : r ? r : -EBADMSG;
		if (!r && (id != start + i || ret[i].file_offset > file.entry.size || ret[i].length > file.entry.size - ret[i].file_offset))
			r = -EBADMSG;
		const uint64_t begins = i ? ret[i - 1].file_offset + ret[i - 1].length : 0;
		const uint64_t piece = i ? (uint64_t)ret[i - 1].piece + piece_count(ret[i - 1].length) : 0;
		if (!r && (i || !first) && (ret[i].file_offset != begins || ret[i].piece != piece))
			r = -EBADMSG;
		if (!r && ret[i].piece > ret[i].file_offset / LEAF_BYTES + first + i) /* what memory is taken for */
			r = -EBADMSG;
		if (!r && first + i + 1 == file.entry.chunk_count && ret[i].file_offset + ret[i].length != file.entry.size)
			r = -EBADMSG;
	}
	manifest_query_end(m, db, s);
	return r;
}

static int read_leaves(struct db_stmt *s, const struct manifest_chunk *c, struct leaf *ret)
{
	const uint32_t count = leaf_count(c->length);
	struct digest d;
	if (!column_bytes(s, 0, ret, count * sizeof *ret))
		return -EBADMSG;
	leaves_digest(ret, count, &d);
	return digest_equal(&d, &c->digest) ? 0 : -EBADMSG;
}

int manifest_leaves(struct manifest *m, uint64_t row, uint32_t index, const struct manifest_chunk *chunk, struct leaf *ret)
{
	struct entry_row file;
	struct db *db;
	struct db_stmt *s;
	int r = manifest_row(m, row, &file);
	if (r)
		return r;
	if (file.entry.kind != ENTRY_FILE || index >= file.entry.chunk_count)
		return -EINVAL;
	if (!leaf_count(chunk->length))
		return 0;
	r = manifest_query(m, "SELECT leaves FROM chunk WHERE id = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)(file.first_chunk + index));
	r = db_step(s, NULL);
	r = r == DB_ROW ? read_leaves(s, chunk, ret) : r ? r : -EBADMSG;
	manifest_query_end(m, db, s);
	return r;
}

int manifest_chunk_by_id(struct manifest *m, uint64_t id, struct manifest_chunk *ret)
{
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE id = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)id);
	uint64_t got;
	r = db_step(s, NULL);
	r = r == DB_ROW ? chunk_row_read(s, &got, ret) : r ? r : -ENOENT;
	manifest_query_end(m, db, s);
	return r;
}

int manifest_chunk_at(struct manifest *m, uint64_t row, uint64_t offset, uint32_t *ret_index)
{
	struct entry_row file;
	struct manifest_chunk c;
	int r = manifest_row(m, row, &file);
	if (r)
		return r;
	if (file.entry.kind != ENTRY_FILE || offset >= file.entry.size)
		return -EINVAL;
	/* Chunks are about equally long: guess, then halve what is left. */
	uint32_t low = 0, high = file.entry.chunk_count;
	uint32_t at = (uint32_t)((double)offset / (double)file.entry.size * high);
	while (low < high) {
		if (at < low || at >= high)
			at = low + (high - low) / 2;
		r = manifest_chunk_by_id(m, file.first_chunk + at, &c);
		if (r)
			return r == -ENOENT ? -EBADMSG : r;
		if (offset < c.file_offset) {
			high = at;
		} else if (offset - c.file_offset >= c.length) {
			low = at + 1;
		} else {
			*ret_index = at;
			return 0;
		}
		at = low + (high - low) / 2;
	}
	return -EBADMSG;
}

int manifest_chunks_all(struct manifest *m, int (*each)(void *arg, uint64_t id, const struct manifest_chunk *chunk), void *arg)
{
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " CHUNK_COLUMNS " FROM chunk ORDER BY id", &db, &s);
	if (r)
		return r;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_chunk c;
		uint64_t id;
		r = chunk_row_read(s, &id, &c);
		if (!r)
			r = each(arg, id, &c);
		if (r)
			break;
	}
	manifest_query_end(m, db, s);
	return r;
}

/* -- packs ---------------------------------------------------------------------------------- */

int manifest_pack(struct manifest *m, uint32_t pack, struct manifest_pack *ret)
{
	struct db *db;
	struct db_stmt *s;
	uint32_t number;
	int r = manifest_query(m, "SELECT " PACK_COLUMNS " FROM pack WHERE number = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, pack);
	r = db_step(s, NULL);
	r = r == DB_ROW ? pack_row_read(s, &number, ret) : r ? r : -ENOENT;
	manifest_query_end(m, db, s);
	return r;
}

int manifest_packs(struct manifest *m, int (*each)(void *arg, uint32_t number, const struct manifest_pack *pack), void *arg)
{
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " PACK_COLUMNS " FROM pack ORDER BY number", &db, &s);
	if (r)
		return r;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_pack p;
		uint32_t number;
		r = pack_row_read(s, &number, &p);
		if (!r)
			r = each(arg, number, &p);
		if (r)
			break;
	}
	manifest_query_end(m, db, s);
	return r;
}

int manifest_pack_chunks(struct manifest *m, uint32_t pack, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct db *db;
	struct db_stmt *s;
	int r = manifest_query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE pack = ? AND slot >= ? AND slot < ? ORDER BY slot", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, pack);
	db_bind_int(s, 2, first);
	db_bind_int(s, 3, (int64_t)first + count);
	uint32_t n = 0;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_chunk c;
		uint64_t id;
		r = chunk_row_read(s, &id, &c);
		if (!r && (c.pack != pack || c.slot < first || c.slot - first >= count))
			r = -EBADMSG;
		if (r)
			break;
		if (!n || ret[n - 1].slot != c.slot) /* several files may share a chunk */
			ret[n++] = c;
	}
	manifest_query_end(m, db, s);
	return r ? r : (int)n;
}
