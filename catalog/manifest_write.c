/* Writing a manifest from the stage: rows numbered breadth first, children by name. */
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
	stage_bind_pack(q, w->next_pack, &p);
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
		r = stage_column_chunk(from, &c);
		if (!r)
			r = write_pack(w, c.pack, &c.pack, e);
		if (r)
			break;
		size_t len;
		const void *leaves = db_blob(from, 12, &len); /* lives until the next step */
		stage_bind_chunk(to, w->next_chunk, &c, leaves);
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
		if (stage_column_blob(node, 5, en.hash.bytes, XXH128_SIZE) || stage_column_blob(node, 6, en.content.bytes, SHA256_SIZE))
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
	int r = !h || !bytes ? err_set(e, -ENOMEM, "%s: out of memory", path) : n ? err_set(e, -EIO, "%s: cannot read the manifest back", path) : 0;
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
