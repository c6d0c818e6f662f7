/*
 * Rows of a manifest.  Every value that comes out of the file is checked where it is read: its type, its range, and that it
 * agrees with its neighbours; -EBADMSG otherwise.
 */
#include "catalog/manifest_internal.h"

#include "catalog/db.h"
#include "catalog/manifest_schema.h"
#include "catalog/pack.h"

#include <errno.h>
#include <string.h>

bool column_int(struct db_stmt *s, int i, int64_t min, int64_t max, int64_t *ret)
{
	if (!db_is_int(s, i))
		return false;
	*ret = db_int(s, i);
	return *ret >= min && *ret <= max;
}

bool column_bytes(struct db_stmt *s, int i, void *ret, size_t len)
{
	size_t n;
	if (!db_is_blob(s, i))
		return false;
	const void *p = db_blob(s, i, &n);
	if (!p || n != len)
		return false;
	memcpy(ret, p, len);
	return true;
}

bool column_text(struct db_stmt *s, int i, char *ret, size_t size)
{
	size_t n;
	if (!db_is_text(s, i))
		return false;
	const char *p = db_text_n(s, i, &n);
	if (!p || n >= size || memchr(p, '\0', n))
		return false;
	memcpy(ret, p, n);
	ret[n] = '\0';
	return true;
}

bool manifest_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > 255 || memchr(name, '/', len) || memchr(name, '\0', len))
		return false;
	if ((len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
		return false;
	return !(len == 5 && !memcmp(name, ".mesh", 5));
}

int symlink_check(const char *path, const char *target, size_t target_len)
{
	size_t depth = 0;
	for (const char *p = path; *p; p++)
		depth += *p == '/';
	if (!target_len || target_len > MANIFEST_TARGET_MAX || target[0] == '/' || memchr(target, '\0', target_len))
		return -EXDEV;
	bool named = false; /* a part other than ".." was seen */
	for (size_t at = 0; at < target_len;) {
		const char *slash = memchr(target + at, '/', target_len - at);
		size_t len = slash ? (size_t)(slash - target) - at : target_len - at;
		const char *part = target + at;
		if (len == 2 && part[0] == '.' && part[1] == '.') {
			if (named || !depth)
				return -EXDEV;
			depth--;
		} else if (len && !(len == 1 && part[0] == '.')) {
			named = true;
		}
		at += len + 1;
	}
	return 0;
}

static int read_file_columns(struct db_stmt *s, struct entry_row *r)
{
	struct manifest_entry *en = &r->entry;
	int64_t first = 0, count, aligned;
	if (!column_bytes(s, 6, en->hash.bytes, XXH128_SIZE) || !column_bytes(s, 7, en->content.bytes, SHA256_SIZE) ||
	    !column_int(s, 9, 0, UINT32_MAX, &count) || !column_int(s, 10, 0, 1, &aligned))
		return -EBADMSG;
	if (count && !column_int(s, 8, 1, MANIFEST_ROWS_MAX, &first))
		return -EBADMSG;
	if ((count == 0) != (en->size == 0) || (uint64_t)count > en->size)
		return -EBADMSG;
	en->chunk_count = (uint32_t)count;
	en->aligned = aligned;
	r->first_chunk = (uint64_t)first;
	return 0;
}

int entry_row_read(const struct manifest *m, struct db_stmt *s, struct entry_row *r)
{
	struct manifest_entry *en = &r->entry;
	int64_t row, parent, kind, executable, mtime, size, first, count;
	const int64_t rows = (int64_t)m->info.rows;
	memset(r, 0, sizeof *r);
	if (!column_int(s, 0, 1, rows, &row) || !column_int(s, 1, 0, row - 1, &parent) || !column_int(s, 2, 1, 3, &kind) ||
	    !column_int(s, 3, 0, 1, &executable) || !column_int(s, 4, INT64_MIN, INT64_MAX, &mtime) || !column_int(s, 5, 0, INT64_MAX, &size))
		return -EBADMSG;
	*en = (struct manifest_entry){ .row = (uint64_t)row,
				       .parent = (uint64_t)parent,
				       .kind = (enum entry_kind)kind,
				       .executable = executable,
				       .mtime_ns = mtime,
				       .size = (uint64_t)size };
	if ((row == MANIFEST_ROOT) != (parent == 0) || (row == MANIFEST_ROOT && kind != ENTRY_FOLDER))
		return -EBADMSG;
	if (kind == ENTRY_FILE)
		return read_file_columns(s, r);
	if (kind == ENTRY_SYMLINK)
		return size > 0 && size <= MANIFEST_TARGET_MAX ? 0 : -EBADMSG;
	if (size || !column_int(s, 12, 0, rows, &count) || !column_int(s, 11, count ? row + 1 : 0, rows + 1, &first) ||
	    (count && first + count - 1 > rows))
		return -EBADMSG;
	en->first_child = (uint64_t)first;
	en->child_count = (uint64_t)count;
	return 0;
}

int chunk_row_read(struct db_stmt *s, uint64_t *ret_id, struct manifest_chunk *ret)
{
	int64_t id, file_offset, length, pack, pack_offset, stored, codec, raw_offset, slot, piece;
	const int64_t offset_max = INT64_MAX / 2;
	if (!column_int(s, 0, 1, MANIFEST_ROWS_MAX, &id) || !column_bytes(s, 1, ret->digest.bytes, SHA256_SIZE) ||
	    !column_bytes(s, 2, ret->hash.bytes, XXH128_SIZE) || !column_int(s, 3, 0, offset_max, &file_offset) ||
	    !column_int(s, 4, 1, MANIFEST_CHUNK_MAX, &length) || !column_int(s, 5, 1, UINT32_MAX, &pack) ||
	    !column_int(s, 6, 0, offset_max, &pack_offset) || !column_int(s, 7, 1, MANIFEST_CHUNK_MAX, &stored) ||
	    !column_int(s, 8, CODEC_RAW, CODEC_ZSTD, &codec) || !column_int(s, 9, 0, offset_max, &raw_offset) ||
	    !column_int(s, 10, 0, UINT32_MAX, &slot) || !column_int(s, 11, 0, UINT32_MAX, &piece))
		return -EBADMSG;
	if (codec == CODEC_RAW ? stored != length : stored >= length)
		return -EBADMSG;
	*ret_id = (uint64_t)id;
	ret->file_offset = (uint64_t)file_offset;
	ret->length = (uint32_t)length;
	ret->pack = (uint32_t)pack;
	ret->pack_offset = (uint64_t)pack_offset;
	ret->stored_length = (uint32_t)stored;
	ret->codec = (enum chunk_codec)codec;
	ret->raw_offset = (uint64_t)raw_offset;
	ret->slot = (uint32_t)slot;
	ret->piece = (uint32_t)piece;
	return 0;
}

/* A key of ours is exactly ".mesh/packs/" and 64 digits; one in place is a clean relative path outside .mesh. */
static bool key_valid(const char *key, bool in_place)
{
	static const char folder[] = ".mesh/packs/";
	if (!in_place) {
		unsigned char digest[SHA256_SIZE];
		return !strncmp(key, folder, sizeof folder - 1) && !hex_parse(key + sizeof folder - 1, digest, sizeof digest);
	}
	for (const char *part = key;; part++) {
		size_t len = strcspn(part, "/");
		if (!len || (len == 1 && part[0] == '.') || (len == 2 && !memcmp(part, "..", 2)) || (len == 5 && !memcmp(part, ".mesh", 5)))
			return false;
		part += len;
		if (!*part)
			return true;
	}
}

int pack_row_read(struct db_stmt *s, uint32_t *ret_number, struct manifest_pack *ret)
{
	int64_t number, in_place, size, raw_size, slots;
	if (!column_int(s, 0, 1, UINT32_MAX, &number) || !column_text(s, 1, ret->key, sizeof ret->key) || !column_int(s, 2, 0, 1, &in_place) ||
	    !column_text(s, 3, ret->etag, sizeof ret->etag) || !column_int(s, 4, 0, INT64_MAX, &size) ||
	    !column_int(s, 5, 0, INT64_MAX, &raw_size) || !column_int(s, 6, 0, UINT32_MAX, &slots))
		return -EBADMSG;
	if (!key_valid(ret->key, in_place))
		return -EBADMSG;
	/* Of a pack of ours: a reader takes memory for its slots. */
	if (!in_place && (slots > PACK_CHUNKS_MAX || raw_size > slots * (int64_t)MANIFEST_CHUNK_MAX))
		return -EBADMSG;
	*ret_number = (uint32_t)number;
	ret->in_place = in_place;
	ret->size = (uint64_t)size;
	ret->raw_size = (uint64_t)raw_size;
	ret->slots = (uint32_t)slots;
	return 0;
}
