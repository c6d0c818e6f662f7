/* The stage: what a publication has gathered so far, in a scratch database, so that millions of files need no memory. */
#include "catalog/manifest_stage.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/manifest_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGE_SCHEMA                                                                                                                       \
	"PRAGMA locking_mode = EXCLUSIVE;"                                                                                                 \
	"CREATE TABLE node (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL,"                   \
	" executable INTEGER, mtime INTEGER, size INTEGER, hash BLOB, content BLOB, first_chunk INTEGER, chunk_count INTEGER,"             \
	" aligned INTEGER, target BLOB);"                                                                                                  \
	"CREATE UNIQUE INDEX node_name ON node (parent, name);"                                                                            \
	"CREATE TABLE chunk (id INTEGER PRIMARY KEY, digest BLOB, hash BLOB, file_offset INTEGER, length INTEGER, pack INTEGER,"           \
	" pack_offset INTEGER, stored_length INTEGER, codec INTEGER, raw_offset INTEGER, slot INTEGER, piece INTEGER, leaves BLOB);"       \
	"CREATE TABLE pack (number INTEGER PRIMARY KEY, key TEXT UNIQUE, in_place INTEGER, etag TEXT, size INTEGER, raw_size INTEGER,"      \
	" slots INTEGER);"

static int root_put(struct stage *s, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "INSERT INTO node (id, parent, name, kind, executable, mtime, size) VALUES (1, 0, x'', 1, 0, 0, 0)", &q, e);
	return r ? r : db_run(q, e);
}

int stage_new(const char *folder, struct stage **ret, struct err *e)
{
	struct stage *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "no memory");
	s->next_chunk = 1;
	s->next_node = ROOT_ID + 1;
	s->next_pack = 1;
	s->path = text_format("%s/stage.%d.XXXXXX", folder, (int)getpid());
	int fd = s->path ? mkostemp(s->path, O_CLOEXEC) : -1;
	int r = fd < 0 ? err_set(e, -errno, "%s: cannot make a scratch file: %s", folder, strerror(errno)) : 0;
	if (fd >= 0)
		close(fd);
	if (!r)
		r = db_open(s->path, DB_CREATE | DB_SYNC_NONE, &s->db, e);
	if (!r)
		r = db_exec(s->db, STAGE_SCHEMA, e);
	if (!r)
		r = db_begin(s->db, e);
	if (!r)
		r = root_put(s, e);
	if (r)
		stage_free(s);
	else
		*ret = s;
	return r;
}

void stage_free(struct stage *s)
{
	if (!s)
		return;
	if (s->db) {
		db_rollback(s->db);
		db_close(s->db);
	}
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s->folder);
	free(s);
}

/* -- packs and chunks ----------------------------------------------------------------------- */

void stage_bind_pack(struct db_stmt *q, uint32_t number, const struct manifest_pack *p)
{
	db_bind_int(q, 1, number);
	db_bind_text(q, 2, p->key);
	db_bind_int(q, 3, p->in_place);
	db_bind_text(q, 4, p->etag);
	db_bind_int(q, 5, (int64_t)p->size);
	db_bind_int(q, 6, (int64_t)p->raw_size);
	db_bind_int(q, 7, p->slots);
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t n = from ? strlen(from) : 0;
	n = n < size ? n : size - 1;
	memcpy(to, from ? from : "", n);
	to[n] = '\0';
}

static void column_pack(struct db_stmt *q, struct manifest_pack *ret)
{
	memset(ret, 0, sizeof *ret);
	copy_text(ret->key, sizeof ret->key, db_text(q, 1));
	ret->in_place = db_int(q, 2);
	copy_text(ret->etag, sizeof ret->etag, db_text(q, 3));
	ret->size = (uint64_t)db_int(q, 4);
	ret->raw_size = (uint64_t)db_int(q, 5);
	ret->slots = (uint32_t)db_int(q, 6);
}

#define PACK_INSERT "INSERT OR REPLACE INTO pack (number, key, in_place, etag, size, raw_size, slots) VALUES (?, ?, ?, ?, ?, ?, ?)"
#define PACK_SELECT "SELECT number, key, in_place, etag, size, raw_size, slots FROM pack"

int stage_pack(struct stage *s, const struct manifest_pack *p, uint32_t *ret_number, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "SELECT number FROM pack WHERE key = ?", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, p->key);
	r = db_step(q, e);
	uint32_t known = r == DB_ROW ? (uint32_t)db_int(q, 0) : 0;
	db_reset(q);
	if (r < 0)
		return r;
	if (!known) {
		r = stage_pack_set(s, s->next_pack, p, e);
		if (r)
			return r;
		known = s->next_pack++;
	}
	*ret_number = known;
	return 0;
}

int stage_pack_set(struct stage *s, uint32_t number, const struct manifest_pack *p, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, PACK_INSERT, &q, e);
	if (r)
		return r;
	stage_bind_pack(q, number, p);
	return db_run(q, e);
}

int stage_pack_get(struct stage *s, uint32_t number, struct manifest_pack *ret, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, PACK_SELECT " WHERE number = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, number);
	r = db_step(q, e);
	if (r == DB_ROW)
		column_pack(q, ret);
	db_reset(q);
	return r == DB_ROW ? 0 : r ? r : err_set(e, -ENOENT, "pack %u is not in the stage", number);
}

int stage_packs(struct stage *s, int (*each)(void *arg, uint32_t number, const struct manifest_pack *pack), void *arg, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, PACK_SELECT " ORDER BY number", &q, e);
	if (r)
		return r;
	while ((r = db_step(q, e)) == DB_ROW) {
		struct manifest_pack p;
		column_pack(q, &p);
		r = each(arg, (uint32_t)db_int(q, 0), &p);
		if (r)
			break;
	}
	db_reset(q);
	return r;
}

void stage_bind_chunk(struct db_stmt *q, uint64_t id, const struct manifest_chunk *c, const void *leaves)
{
	db_bind_int(q, 1, (int64_t)id);
	db_bind_blob(q, 2, c->digest.bytes, SHA256_SIZE);
	db_bind_blob(q, 3, c->hash.bytes, XXH128_SIZE);
	db_bind_int(q, 4, (int64_t)c->file_offset);
	db_bind_int(q, 5, c->length);
	db_bind_int(q, 6, c->pack);
	db_bind_int(q, 7, (int64_t)c->pack_offset);
	db_bind_int(q, 8, c->stored_length);
	db_bind_int(q, 9, c->codec);
	db_bind_int(q, 10, (int64_t)c->raw_offset);
	db_bind_int(q, 11, c->slot);
	db_bind_int(q, 12, c->piece);
	if (leaf_count(c->length))
		db_bind_blob(q, 13, leaves, leaf_count(c->length) * sizeof(struct leaf));
	else
		db_bind_null(q, 13);
}

int stage_column_blob(struct db_stmt *q, int column, void *ret, size_t size)
{
	size_t n;
	const void *p = db_blob(q, column, &n);
	if (!p || n != size)
		return -EBADMSG;
	memcpy(ret, p, n);
	return 0;
}

int stage_column_chunk(struct db_stmt *q, struct manifest_chunk *ret)
{
	if (stage_column_blob(q, 1, ret->digest.bytes, SHA256_SIZE) || stage_column_blob(q, 2, ret->hash.bytes, XXH128_SIZE))
		return -EBADMSG;
	ret->file_offset = (uint64_t)db_int(q, 3);
	ret->length = (uint32_t)db_int(q, 4);
	ret->pack = (uint32_t)db_int(q, 5);
	ret->pack_offset = (uint64_t)db_int(q, 6);
	ret->stored_length = (uint32_t)db_int(q, 7);
	ret->codec = (enum chunk_codec)db_int(q, 8);
	ret->raw_offset = (uint64_t)db_int(q, 9);
	ret->slot = (uint32_t)db_int(q, 10);
	ret->piece = (uint32_t)db_int(q, 11);
	return 0;
}

int stage_chunk(struct stage *s, const struct manifest_chunk *c, const struct leaf *leaves, uint64_t *ret_id, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, CHUNK_INSERT, &q, e);
	if (r)
		return r;
	stage_bind_chunk(q, s->next_chunk, c, leaves);
	r = db_run(q, e);
	if (!r)
		*ret_id = s->next_chunk++;
	return r;
}

int stage_chunk_get(struct stage *s, uint64_t id, struct manifest_chunk *ret, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE id = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)id);
	r = db_step(q, e);
	if (r == DB_ROW)
		r = stage_column_chunk(q, ret);
	else if (!r)
		r = -ENOENT;
	db_reset(q);
	return r ? err_set(e, r, "chunk %llu is not in the stage", (unsigned long long)id) : 0;
}

/* -- entries -------------------------------------------------------------------------------- */

struct found_node {
	uint64_t id; /* 0: there is none */
	enum entry_kind kind;
};

static int find_node(struct stage *s, uint64_t parent, const char *name, size_t len, struct found_node *ret, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "SELECT id, kind FROM node WHERE parent = ? AND name = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)parent);
	db_bind_blob(q, 2, name, len);
	r = db_step(q, e);
	ret->id = r == DB_ROW ? (uint64_t)db_int(q, 0) : 0;
	ret->kind = r == DB_ROW ? (enum entry_kind)db_int(q, 1) : ENTRY_FILE;
	db_reset(q);
	return r < 0 ? r : 0;
}

static int delete_below(struct stage *s, uint64_t id, struct err *e)
{
	struct db_stmt *q;
	static const char sql[] = "WITH RECURSIVE below (id) AS (SELECT ?1 UNION ALL SELECT node.id FROM node JOIN below ON node.parent = below.id)"
				  " DELETE FROM node WHERE id IN (SELECT id FROM below)";
	int r = db_cached(s->db, sql, &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)id);
	free(s->folder);
	s->folder = NULL;
	return db_run(q, e);
}

static int insert_node(struct stage *s, uint64_t parent, const char *name, size_t name_len, const struct manifest_entry *en,
		       uint64_t first_chunk, const char *target, size_t target_len, struct err *e)
{
	struct db_stmt *q;
	static const char sql[] = "INSERT INTO node (id, parent, name, kind, executable, mtime, size, hash, content, first_chunk, chunk_count,"
				  " aligned, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	int r = db_cached(s->db, sql, &q, e);
	if (r)
		return r;
	const bool file = en->kind == ENTRY_FILE;
	db_bind_int(q, 1, (int64_t)s->next_node);
	db_bind_int(q, 2, (int64_t)parent);
	db_bind_blob(q, 3, name, name_len);
	db_bind_int(q, 4, en->kind);
	db_bind_int(q, 5, en->executable);
	db_bind_int(q, 6, en->mtime_ns);
	db_bind_int(q, 7, file ? (int64_t)en->size : (int64_t)target_len);
	db_bind_blob(q, 8, file ? en->hash.bytes : NULL, XXH128_SIZE);
	db_bind_blob(q, 9, file ? en->content.bytes : NULL, SHA256_SIZE);
	db_bind_int(q, 10, (int64_t)first_chunk);
	db_bind_int(q, 11, file ? en->chunk_count : 0);
	db_bind_int(q, 12, file && en->aligned);
	db_bind_blob(q, 13, target, target_len);
	r = db_run(q, e);
	if (!r)
		s->next_node++;
	return r;
}

/* The id of the folder `path` of `len` bytes, made with its parents when absent. */
static int folder_id(struct stage *s, const char *path, size_t len, int64_t mtime_ns, uint64_t *ret, struct err *e)
{
	if (s->folder && strlen(s->folder) == len && !memcmp(s->folder, path, len)) {
		*ret = s->folder_id;
		return 0;
	}
	const struct manifest_entry folder = { .kind = ENTRY_FOLDER, .mtime_ns = mtime_ns };
	uint64_t id = ROOT_ID;
	for (size_t at = 0; at < len;) {
		const char *slash = memchr(path + at, '/', len - at);
		size_t n = slash ? (size_t)(slash - path) - at : len - at;
		struct found_node f;
		int r = find_node(s, id, path + at, n, &f, e);
		if (!r && f.id && f.kind != ENTRY_FOLDER) {
			if (f.id > s->sealed)
				return err_set(e, -ENOTDIR, "%.*s: is a file and a folder at once", (int)(at + n), path);
			r = delete_below(s, f.id, e);
			f.id = 0;
		}
		if (!r && !f.id) {
			r = insert_node(s, id, path + at, n, &folder, 0, NULL, 0, e);
			f.id = s->next_node - 1;
		}
		if (r)
			return r;
		id = f.id;
		at += n + 1;
	}
	free(s->folder);
	s->folder = strndup(path, len);
	s->folder_id = id;
	*ret = id;
	return 0;
}

static int update_folder(struct stage *s, uint64_t id, int64_t mtime_ns, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "UPDATE node SET mtime = ? WHERE id = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, mtime_ns);
	db_bind_int(q, 2, (int64_t)id);
	return db_run(q, e);
}

int stage_put(struct stage *s, const char *path, const struct manifest_entry *entry, uint64_t first_chunk, const char *target,
	      size_t target_len, bool replace, struct err *e)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct found_node f;
	uint64_t parent = 0;
	if (!*path)
		return entry->kind == ENTRY_FOLDER ? update_folder(s, ROOT_ID, entry->mtime_ns, e)
						   : err_set(e, -EISDIR, "a version's root is a folder");
	int r = folder_id(s, path, slash ? (size_t)(slash - path) : 0, entry->mtime_ns, &parent, e);
	if (!r)
		r = find_node(s, parent, name, strlen(name), &f, e);
	if (r)
		return r;
	if (f.id && entry->kind == ENTRY_FOLDER && f.kind == ENTRY_FOLDER)
		return update_folder(s, f.id, entry->mtime_ns, e);
	if (f.id && f.id > s->sealed && !replace)
		return err_set(e, -EEXIST, "%s: is given twice", path);
	if (f.id)
		r = delete_below(s, f.id, e);
	return r ? r : insert_node(s, parent, name, strlen(name), entry, first_chunk, target, target_len, e);
}

void stage_seal(struct stage *s)
{
	s->sealed = s->next_node - 1;
}

int stage_remove(struct stage *s, const char *path, struct err *e)
{
	struct found_node f = { ROOT_ID, ENTRY_FOLDER };
	for (const char *part = path; *part;) {
		size_t len = strcspn(part, "/");
		int r = find_node(s, f.id, part, len, &f, e);
		if (r)
			return r;
		if (!f.id)
			return err_set(e, -ENOENT, "%s: is not in the version", path);
		part += len;
		part += *part == '/';
	}
	if (f.id == ROOT_ID)
		return err_set(e, -EBUSY, "the root of a version cannot be removed");
	return delete_below(s, f.id, e);
}
