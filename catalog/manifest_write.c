#include "catalog/manifest_write.h"

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

#define ROOT_ID 1

struct stage {
	struct db *db;
	char *path;
	uint64_t next_chunk, next_node;
	uint32_t next_pack;
	uint64_t sealed; /* nodes with ids up to this one belong to the version built onto */
	char *folder;    /* the folder that was used last, and its id: files come folder by folder */
	uint64_t folder_id;
};

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

static void bind_pack(struct db_stmt *q, uint32_t number, const struct manifest_pack *p)
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
	bind_pack(q, number, p);
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

static void bind_chunk(struct db_stmt *q, uint64_t id, const struct manifest_chunk *c, const void *leaves)
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

static int copy_blob(struct db_stmt *q, int column, void *ret, size_t size)
{
	size_t n;
	const void *p = db_blob(q, column, &n);
	if (!p || n != size)
		return -EBADMSG;
	memcpy(ret, p, n);
	return 0;
}

static int column_chunk(struct db_stmt *q, struct manifest_chunk *ret)
{
	if (copy_blob(q, 1, ret->digest.bytes, SHA256_SIZE) || copy_blob(q, 2, ret->hash.bytes, XXH128_SIZE))
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

#define CHUNK_INSERT                                                                                                                       \
	"INSERT INTO chunk (id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece, leaves)" \
	" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
#define CHUNK_COLUMNS "id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece"

int stage_chunk(struct stage *s, const struct manifest_chunk *c, const struct leaf *leaves, uint64_t *ret_id, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, CHUNK_INSERT, &q, e);
	if (r)
		return r;
	bind_chunk(q, s->next_chunk, c, leaves);
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
		r = column_chunk(q, ret);
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

/* -- writing it out ------------------------------------------------------------------------- */

/* A folder whose children are still to be written. */
struct pending_folder {
	uint64_t id, row;
	struct pending_folder *next;
};

struct writer {
	struct stage *stage;
	struct db *out;
	struct pending_folder *first, **last;
	uint64_t next_row;   /* of the next entry */
	uint64_t next_child; /* the first row that no folder has claimed */
	uint64_t next_chunk;
	uint32_t *packs; /* stage number → manifest number, 0: not used yet */
	uint32_t next_pack;
	struct sha256 *tree;
	struct stage_result *result;
};

static int count_children(struct stage *s, uint64_t id, uint64_t *ret, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(s->db, "SELECT count(*) FROM node WHERE parent = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)id);
	r = db_step(q, e);
	*ret = r == DB_ROW ? (uint64_t)db_int(q, 0) : 0;
	db_reset(q);
	return r < 0 ? r : 0;
}

static int write_pack(struct writer *w, uint32_t number, uint32_t *ret, struct err *e)
{
	if (w->packs[number]) {
		*ret = w->packs[number];
		return 0;
	}
	struct manifest_pack p;
	struct db_stmt *q;
	int r = stage_pack_get(w->stage, number, &p, e);
	if (!r)
		r = db_cached(w->out, "INSERT INTO pack (number, key, in_place, etag, size, raw_size, slots) VALUES (?, ?, ?, ?, ?, ?, ?)", &q,
			      e);
	if (r)
		return r;
	bind_pack(q, w->next_pack, &p);
	r = db_run(q, e);
	if (!r)
		*ret = w->packs[number] = w->next_pack++;
	return r;
}

/* Copies a file's chunks; they get ids from *ret_first on. */
static int write_chunks(struct writer *w, uint64_t first, uint32_t count, uint64_t *ret_first, struct err *e)
{
	struct db_stmt *from, *to;
	int r = db_cached(w->stage->db, "SELECT " CHUNK_COLUMNS ", leaves FROM chunk WHERE id >= ? AND id < ? ORDER BY id", &from, e);
	if (!r)
		r = db_cached(w->out, CHUNK_INSERT, &to, e);
	if (r)
		return r;
	*ret_first = w->next_chunk;
	db_bind_int(from, 1, (int64_t)first);
	db_bind_int(from, 2, (int64_t)(first + count));
	uint32_t n = 0;
	while (!r && (r = db_step(from, e)) == DB_ROW) {
		struct manifest_chunk c;
		r = column_chunk(from, &c);
		if (!r)
			r = write_pack(w, c.pack, &c.pack, e);
		if (r)
			break;
		size_t len;
		const void *leaves = db_blob(from, 12, &len); /* lives until the next step */
		bind_chunk(to, w->next_chunk, &c, leaves);
		r = db_run(to, e);
		w->next_chunk++;
		n++;
	}
	db_reset(from);
	if (!r && n != count)
		r = err_set(e, -EIO, "the scratch file lost chunks");
	return r;
}

static void tree_add(struct sha256 *h, const struct manifest_entry *en, const void *name, size_t name_len, const void *target)
{
	char head[96];
	int n = snprintf(head, sizeof head, "%llu %d %d %llu %zu ", (unsigned long long)en->parent, en->kind, en->executable,
			 (unsigned long long)en->size, name_len);
	sha256_update(h, head, (size_t)n);
	sha256_update(h, name, name_len);
	if (en->kind == ENTRY_FILE)
		sha256_update(h, en->content.bytes, SHA256_SIZE);
	else if (en->kind == ENTRY_SYMLINK)
		sha256_update(h, target, en->size);
}

/* Fills an entry from a node's row: id kind executable mtime size hash content first_chunk chunk_count aligned target name */
#define NODE_SELECT                                                                                                                        \
	"SELECT id, kind, executable, mtime, size, hash, content, first_chunk, chunk_count, aligned, target, name FROM node"

static int write_entry(struct writer *w, struct db_stmt *node, uint64_t parent_row, struct err *e)
{
	struct db_stmt *q;
	static const char sql[] = "INSERT INTO entry (row, parent, name, kind, executable, mtime, size, hash, content, first_chunk, chunk_count,"
				  " aligned, first_child, child_count, target) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	struct manifest_entry en = { .row = w->next_row, .parent = parent_row };
	size_t name_len, target_len = 0;
	const uint64_t id = (uint64_t)db_int(node, 0);
	uint64_t first_chunk = 0;
	int r = db_cached(w->out, sql, &q, e);
	if (r)
		return r;
	en.kind = (enum entry_kind)db_int(node, 1);
	en.executable = db_int(node, 2);
	en.mtime_ns = db_int(node, 3);
	en.size = (uint64_t)db_int(node, 4);
	const void *name = db_blob(node, 11, &name_len);
	const void *target = en.kind == ENTRY_SYMLINK ? db_blob(node, 10, &target_len) : NULL;
	if (en.kind == ENTRY_FILE) {
		en.chunk_count = (uint32_t)db_int(node, 8);
		en.aligned = db_int(node, 9);
		if (copy_blob(node, 5, en.hash.bytes, XXH128_SIZE) || copy_blob(node, 6, en.content.bytes, SHA256_SIZE))
			return err_set(e, -EIO, "the scratch file is broken");
		if (en.chunk_count)
			r = write_chunks(w, (uint64_t)db_int(node, 7), en.chunk_count, &first_chunk, e);
		w->result->files++;
		w->result->bytes += en.size;
	} else if (en.kind == ENTRY_FOLDER) {
		r = count_children(w->stage, id, &en.child_count, e);
		en.first_child = en.child_count ? w->next_child : 0;
		w->next_child += en.child_count;
		struct pending_folder *f = malloc(sizeof *f);
		if (!f)
			return err_set(e, -ENOMEM, "no memory");
		*f = (struct pending_folder){ id, en.row, NULL };
		*w->last = f;
		w->last = &f->next;
	}
	if (r)
		return r;
	tree_add(w->tree, &en, name, name_len, target);
	db_bind_int(q, 1, (int64_t)en.row);
	db_bind_int(q, 2, (int64_t)en.parent);
	db_bind_blob(q, 3, name_len ? name : "", name_len);
	db_bind_int(q, 4, en.kind);
	db_bind_int(q, 5, en.executable);
	db_bind_int(q, 6, en.mtime_ns);
	db_bind_int(q, 7, (int64_t)en.size);
	if (en.kind == ENTRY_FILE) {
		db_bind_blob(q, 8, en.hash.bytes, XXH128_SIZE);
		db_bind_blob(q, 9, en.content.bytes, SHA256_SIZE);
		db_bind_int(q, 10, (int64_t)first_chunk);
		db_bind_int(q, 11, en.chunk_count);
		db_bind_int(q, 12, en.aligned);
	} else {
		for (int i = 8; i <= 12; i++)
			db_bind_null(q, i);
	}
	if (en.kind == ENTRY_FOLDER) {
		db_bind_int(q, 13, (int64_t)en.first_child);
		db_bind_int(q, 14, (int64_t)en.child_count);
	} else {
		db_bind_null(q, 13);
		db_bind_null(q, 14);
	}
	db_bind_blob(q, 15, target, target_len);
	w->next_row++;
	return db_run(q, e);
}

static int write_children(struct writer *w, uint64_t parent_id, uint64_t parent_row, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(w->stage->db, NODE_SELECT " WHERE parent = ? ORDER BY name", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)parent_id);
	while ((r = db_step(q, e)) == DB_ROW) {
		r = write_entry(w, q, parent_row, e);
		if (r)
			break;
	}
	db_reset(q);
	return r;
}

static int write_info(struct writer *w, const char *domain, const char *product, const char *version, int64_t created_ns, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(w->out, "INSERT INTO manifest (domain, product, version, created, rows, files, bytes, tree) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			  &q, e);
	if (r)
		return r;
	w->result->rows = w->next_row - 1;
	sha256_final(w->tree, &w->result->tree);
	db_bind_text(q, 1, domain);
	db_bind_text(q, 2, product);
	db_bind_text(q, 3, version);
	db_bind_int(q, 4, created_ns);
	db_bind_int(q, 5, (int64_t)w->result->rows);
	db_bind_int(q, 6, (int64_t)w->result->files);
	db_bind_int(q, 7, (int64_t)w->result->bytes);
	db_bind_blob(q, 8, w->result->tree.bytes, SHA256_SIZE);
	return db_run(q, e);
}

static int write_tables(struct writer *w, const char *domain, const char *product, const char *version, int64_t created_ns, struct err *e)
{
	char head[128];
	snprintf(head, sizeof head, "PRAGMA application_id = %d; PRAGMA user_version = %d", MANIFEST_APPLICATION_ID, MANIFEST_FORMAT);
	int r = db_exec(w->out, head, e);
	if (!r)
		r = db_exec(w->out, MANIFEST_TABLES, e);
	if (!r)
		r = db_begin(w->out, e);
	if (!r)
		r = write_children(w, 0, 0, e); /* the root: the one node whose parent is 0 */
	while (!r && w->first) {
		struct pending_folder *f = w->first;
		w->first = f->next;
		if (!w->first)
			w->last = &w->first;
		r = write_children(w, f->id, f->row, e);
		free(f);
	}
	if (!r)
		r = write_info(w, domain, product, version, created_ns, e);
	if (!r)
		r = db_exec(w->out, MANIFEST_INDEXES, e);
	if (!r)
		r = db_commit(w->out, e);
	return r;
}

static int hash_file(const char *path, struct stage_result *ret, struct err *e)
{
	enum { STEP = 1 << 20 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct sha256 *h = sha256_new();
	char *bytes = malloc(STEP);
	ssize_t n = -1;
	ret->size = 0;
	if (fd >= 0 && h && bytes) {
		while ((n = read(fd, bytes, STEP)) > 0) {
			sha256_update(h, bytes, (size_t)n);
			ret->size += (uint64_t)n;
		}
	}
	int r = n ? err_set(e, -EIO, "%s: cannot read the manifest back", path) : 0;
	if (!r)
		sha256_final(h, &ret->digest);
	if (fd >= 0)
		close(fd);
	free(bytes);
	sha256_free(h);
	return r;
}

int stage_write(struct stage *s, const char *path, const char *domain, const char *product, const char *version, int64_t created_ns,
		struct stage_result *ret, struct err *e)
{
	struct stage_result result = { 0 };
	struct writer w = { .stage = s, .last = &w.first, .next_row = 1, .next_child = 2, .next_chunk = 1, .next_pack = 1, .result = &result };
	int r = -ENOMEM;
	w.packs = calloc(s->next_pack + 1u, sizeof *w.packs);
	w.tree = sha256_new();
	if (w.packs && w.tree)
		r = db_open(path, DB_CREATE | DB_SYNC_NONE, &w.out, e);
	if (!r)
		r = write_tables(&w, domain, product, version, created_ns, e);
	db_close(w.out);
	if (!r)
		r = hash_file(path, &result, e);
	while (w.first) {
		struct pending_folder *f = w.first;
		w.first = f->next;
		free(f);
	}
	free(w.packs);
	sha256_free(w.tree);
	if (r)
		unlink(path);
	else
		*ret = result;
	return r;
}
