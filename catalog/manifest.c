/*
 * Reading manifests.  Every value that comes out of the file is checked where it is read: its type, its range, and that it
 * agrees with its neighbours; -EBADMSG otherwise.
 */
#include "catalog/manifest.h"

#include "catalog/base/io.h"
#include "catalog/db.h"
#include "catalog/manifest_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_CONNECTIONS 8

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

#define ENTRY_COLUMNS                                                                                                                      \
	"row, parent, kind, executable, mtime, size, hash, content, first_chunk, chunk_count, aligned, first_child, child_count, name"
#define ENTRY_NAME 13
#define CHUNK_COLUMNS "id, digest, hash, file_offset, length, pack, pack_offset, stored_length, codec, raw_offset, slot, piece"

/* -- checked columns ------------------------------------------------------------------------ */

static bool get_int(struct db_stmt *s, int i, int64_t min, int64_t max, int64_t *ret)
{
	if (!db_is_int(s, i))
		return false;
	*ret = db_int(s, i);
	return *ret >= min && *ret <= max;
}

static bool get_bytes(struct db_stmt *s, int i, void *ret, size_t len)
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

static bool get_text(struct db_stmt *s, int i, char *ret, size_t size)
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

static bool name_valid(const char *name, size_t len)
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
	if (!get_bytes(s, 6, en->hash.bytes, XXH128_SIZE) || !get_bytes(s, 7, en->content.bytes, SHA256_SIZE) ||
	    !get_int(s, 9, 0, UINT32_MAX, &count) || !get_int(s, 10, 0, 1, &aligned))
		return -EBADMSG;
	if (count && !get_int(s, 8, 1, MANIFEST_ROWS_MAX, &first))
		return -EBADMSG;
	if ((count == 0) != (en->size == 0) || (uint64_t)count > en->size)
		return -EBADMSG;
	en->chunk_count = (uint32_t)count;
	en->aligned = aligned;
	r->first_chunk = (uint64_t)first;
	return 0;
}

static int read_entry(const struct manifest *m, struct db_stmt *s, struct entry_row *r)
{
	struct manifest_entry *en = &r->entry;
	int64_t row, parent, kind, executable, mtime, size, first, count;
	const int64_t rows = (int64_t)m->info.rows;
	memset(r, 0, sizeof *r);
	if (!get_int(s, 0, 1, rows, &row) || !get_int(s, 1, 0, row - 1, &parent) || !get_int(s, 2, 1, 3, &kind) ||
	    !get_int(s, 3, 0, 1, &executable) || !get_int(s, 4, INT64_MIN, INT64_MAX, &mtime) || !get_int(s, 5, 0, INT64_MAX, &size))
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
	if (size || !get_int(s, 12, 0, rows, &count) || !get_int(s, 11, count ? row + 1 : 0, rows + 1, &first) ||
	    (count && first + count - 1 > rows))
		return -EBADMSG;
	en->first_child = (uint64_t)first;
	en->child_count = (uint64_t)count;
	return 0;
}

static int read_chunk(struct db_stmt *s, uint64_t *ret_id, struct manifest_chunk *ret)
{
	int64_t id, file_offset, length, pack, pack_offset, stored, codec, raw_offset, slot, piece;
	const int64_t offset_max = INT64_MAX / 2;
	if (!get_int(s, 0, 1, MANIFEST_ROWS_MAX, &id) || !get_bytes(s, 1, ret->digest.bytes, SHA256_SIZE) ||
	    !get_bytes(s, 2, ret->hash.bytes, XXH128_SIZE) || !get_int(s, 3, 0, offset_max, &file_offset) ||
	    !get_int(s, 4, 1, MANIFEST_CHUNK_MAX, &length) || !get_int(s, 5, 1, UINT32_MAX, &pack) ||
	    !get_int(s, 6, 0, offset_max, &pack_offset) || !get_int(s, 7, 1, MANIFEST_CHUNK_MAX, &stored) ||
	    !get_int(s, 8, CODEC_RAW, CODEC_ZSTD, &codec) || !get_int(s, 9, 0, offset_max, &raw_offset) ||
	    !get_int(s, 10, 0, UINT32_MAX, &slot) || !get_int(s, 11, 0, UINT32_MAX, &piece))
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

static int read_pack(struct db_stmt *s, uint32_t *ret_number, struct manifest_pack *ret)
{
	int64_t number, in_place, size, raw_size, slots;
	if (!get_int(s, 0, 1, UINT32_MAX, &number) || !get_text(s, 1, ret->key, sizeof ret->key) || !get_int(s, 2, 0, 1, &in_place) ||
	    !get_text(s, 3, ret->etag, sizeof ret->etag) || !get_int(s, 4, 0, INT64_MAX, &size) ||
	    !get_int(s, 5, 0, INT64_MAX, &raw_size) || !get_int(s, 6, 0, UINT32_MAX, &slots))
		return -EBADMSG;
	if (!key_valid(ret->key, in_place))
		return -EBADMSG;
	*ret_number = (uint32_t)number;
	ret->in_place = in_place;
	ret->size = (uint64_t)size;
	ret->raw_size = (uint64_t)raw_size;
	ret->slots = (uint32_t)slots;
	return 0;
}

/* -- opening -------------------------------------------------------------------------------- */

/* SQLite keeps both numbers in the first 100 bytes; a newer format must be named as such before its tables look wrong. */
static int check_header(const char *path, const char *name, struct err *e)
{
	unsigned char h[100];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: cannot open the manifest: %s", name, strerror(errno));
	int r = io_pread_full(fd, h, sizeof h, 0);
	close(fd);
	uint32_t format = (uint32_t)h[60] << 24 | (uint32_t)h[61] << 16 | (uint32_t)h[62] << 8 | h[63];
	uint32_t id = (uint32_t)h[68] << 24 | (uint32_t)h[69] << 16 | (uint32_t)h[70] << 8 | h[71];
	if (r || memcmp(h, "SQLite format 3", 16) != 0 || id != MANIFEST_APPLICATION_ID)
		return err_set(e, -EBADMSG, "%s: this is not a manifest; 'meshfs verify' checks the store", name);
	if (format > MANIFEST_FORMAT)
		return err_set_kind(e, ERR_FAIL, -EBADMSG, "%s: the manifest has format %u, this meshfs knows %d: install a newer meshfs", name,
				    format, MANIFEST_FORMAT);
	if (format < MANIFEST_FORMAT_OLDEST)
		return err_set_kind(e, ERR_FAIL, -EBADMSG, "%s: the manifest has format %u, older than what this meshfs reads (%d): publish the files as a new version",
				    name, format, MANIFEST_FORMAT_OLDEST);
	return 0;
}

static int read_info(struct db *db, struct manifest_info *info)
{
	struct db_stmt *s;
	int r = db_cached(db, "SELECT domain, product, version, created, rows, files, bytes, tree FROM manifest LIMIT 2", &s, NULL);
	if (r)
		return r;
	int64_t created, rows, files, bytes;
	r = db_step(s, NULL) == DB_ROW ? 0 : -EBADMSG;
	if (!r && (!get_text(s, 0, info->domain, sizeof info->domain) || !get_text(s, 1, info->product, sizeof info->product) ||
		   !get_text(s, 2, info->version, sizeof info->version) || !get_int(s, 3, INT64_MIN, INT64_MAX, &created) ||
		   !get_int(s, 4, 1, MANIFEST_ROWS_MAX, &rows) || !get_int(s, 5, 0, rows, &files) ||
		   !get_int(s, 6, 0, INT64_MAX, &bytes) || !get_bytes(s, 7, info->tree.bytes, SHA256_SIZE)))
		r = -EBADMSG;
	if (!r) {
		info->created_ns = created;
		info->rows = (uint64_t)rows;
		info->files = (uint64_t)files;
		info->bytes = (uint64_t)bytes;
		r = db_step(s, NULL) == 0 ? 0 : -EBADMSG;
	}
	db_reset(s);
	return r;
}

int manifest_open(const char *path, const char *domain, const char *product, const char *version, struct manifest **ret, struct err *e)
{
	char name[200];
	snprintf(name, sizeof name, "%s/%s/%s", domain, product, version);
	struct db *db = NULL;
	struct manifest *m = NULL;
	int r = check_header(path, name, e);
	if (r)
		return r;
	m = calloc(1, sizeof *m);
	if (!m)
		return err_set(e, -ENOMEM, "%s: no memory", name);
	atomic_init(&m->refs, 1);
	r = db_pool_open(path, name, MANIFEST_SCHEMA, IDLE_CONNECTIONS, &m->connections, e);
	if (!r)
		r = db_pool_take(m->connections, &db, e);
	if (r)
		goto out;
	r = read_info(db, &m->info);
	if (r) {
		err_set(e, r, "%s: the manifest is broken; 'meshfs verify' checks the store", name);
		goto out;
	}
	const struct manifest_info *i = &m->info;
	if (strcmp(i->domain, domain) != 0 || strcmp(i->product, product) != 0 || strcmp(i->version, version) != 0)
		r = err_set(e, -EBADMSG, "%s: the manifest belongs to %s/%s/%s", name, i->domain, i->product, i->version);
	struct manifest_entry root;
	if (!r && manifest_get(m, MANIFEST_ROOT, &root))
		r = err_set(e, -EBADMSG, "%s: the manifest has no root", name);
out:
	if (db)
		db_pool_give(m->connections, db);
	if (r)
		manifest_unref(m);
	else
		*ret = m;
	return r;
}

struct manifest *manifest_ref(struct manifest *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void manifest_unref(struct manifest *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	db_pool_close(m->connections);
	free(m);
}

void manifest_set_digest(struct manifest *m, const struct digest *digest)
{
	m->info.digest = *digest;
}

const struct manifest_info *manifest_info(const struct manifest *m)
{
	return &m->info;
}

/* -- entries -------------------------------------------------------------------------------- */

/* A connection and one of its cached statements. */
static int query(struct manifest *m, const char *sql, struct db **ret_db, struct db_stmt **ret)
{
	int r = db_pool_take(m->connections, ret_db, NULL);
	if (r)
		return r;
	r = db_cached(*ret_db, sql, ret, NULL);
	if (r)
		db_pool_give(m->connections, *ret_db);
	return r;
}

static void query_end(struct manifest *m, struct db *db, struct db_stmt *s)
{
	db_reset(s);
	db_pool_give(m->connections, db);
}

static int step_entry(struct manifest *m, struct db_stmt *s, struct entry_row *ret)
{
	int r = db_step(s, NULL);
	if (r != DB_ROW)
		return r ? r : -ENOENT;
	return read_entry(m, s, ret);
}

static int get_row(struct manifest *m, uint64_t row, struct entry_row *ret)
{
	struct db *db;
	struct db_stmt *s;
	if (row < 1 || row > m->info.rows)
		return -ENOENT;
	int r = query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)row);
	r = step_entry(m, s, ret);
	query_end(m, db, s);
	return r == -ENOENT ? -EBADMSG : r; /* rows have no gaps */
}

int manifest_lookup(struct manifest *m, uint64_t parent, const char *name, size_t name_len, struct manifest_entry *ret)
{
	struct db *db;
	struct db_stmt *s;
	struct entry_row row;
	if (!name_valid(name, name_len) || parent < 1 || parent > m->info.rows)
		return -ENOENT;
	int r = query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE parent = ? AND name = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)parent);
	db_bind_blob(s, 2, name, name_len);
	r = step_entry(m, s, &row);
	if (!r && row.entry.parent != parent)
		r = -EBADMSG;
	query_end(m, db, s);
	if (!r)
		*ret = row.entry;
	return r;
}

int manifest_get(struct manifest *m, uint64_t row, struct manifest_entry *ret)
{
	struct entry_row r;
	int code = get_row(m, row, &r);
	if (!code)
		*ret = r.entry;
	return code;
}

int manifest_resolve(struct manifest *m, const char *path, struct manifest_entry *ret)
{
	struct manifest_entry at;
	int r = manifest_get(m, MANIFEST_ROOT, &at);
	while (!r && *path) {
		size_t len = strcspn(path, "/");
		if (at.kind != ENTRY_FOLDER)
			return -ENOENT;
		r = manifest_lookup(m, at.row, path, len, &at);
		path += len;
		path += *path == '/';
	}
	if (!r)
		*ret = at;
	return r;
}

int manifest_list(struct manifest *m, uint64_t parent, uint64_t after_row,
		  int (*each)(void *arg, const struct manifest_entry *entry, const char *name, size_t name_len), void *arg)
{
	struct entry_row folder, row;
	struct db *db;
	struct db_stmt *s;
	int r = get_row(m, parent, &folder);
	if (r)
		return r;
	if (folder.entry.kind != ENTRY_FOLDER)
		return -ENOTDIR;
	const uint64_t end = folder.entry.first_child + folder.entry.child_count;
	uint64_t at = after_row + 1 > folder.entry.first_child ? after_row + 1 : folder.entry.first_child;
	if (!folder.entry.child_count || after_row >= end - 1)
		return 0;
	r = query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row >= ? AND row < ? ORDER BY row", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)at);
	db_bind_int(s, 2, (int64_t)end);
	for (; at < end; at++) {
		r = step_entry(m, s, &row);
		size_t name_len = 0;
		const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &name_len) : NULL;
		if (r == -ENOENT || (!r && (!name || !name_valid(name, name_len) || row.entry.row != at || row.entry.parent != parent)))
			r = -EBADMSG;
		if (r)
			break;
		if (each(arg, &row.entry, name, name_len))
			break;
	}
	query_end(m, db, s);
	return r;
}

/* -- paths ---------------------------------------------------------------------------------- */

/* Folders whose children are still to come, in row order. */
struct walk_folder {
	uint64_t row;
	char *path;
	struct walk_folder *next;
};

struct walk {
	struct walk_folder *first, **last;
	struct buf path;
};

static int walk_push(struct walk *w, uint64_t row, const char *path)
{
	struct walk_folder *f = malloc(sizeof *f);
	char *copy = strdup(path);
	if (!f || !copy) {
		free(f);
		free(copy);
		return -ENOMEM;
	}
	*f = (struct walk_folder){ row, copy, NULL };
	*w->last = f;
	w->last = &f->next;
	return 0;
}

static void walk_pop(struct walk *w)
{
	struct walk_folder *f = w->first;
	w->first = f->next;
	if (!w->first)
		w->last = &w->first;
	free(f->path);
	free(f);
}

/* Sets w->path for one entry; children follow their folders in the folders' order. */
static int walk_path(struct walk *w, const struct manifest_entry *en, const char *name, size_t len)
{
	buf_clear(&w->path);
	if (en->row == MANIFEST_ROOT)
		return 0;
	while (w->first && w->first->row != en->parent)
		walk_pop(w);
	if (!w->first || !name_valid(name, len))
		return -EBADMSG;
	buf_adds(&w->path, w->first->path);
	if (*w->first->path)
		buf_addc(&w->path, '/');
	buf_add(&w->path, name, len);
	return w->path.len > MANIFEST_PATH_MAX ? -EBADMSG : buf_check(&w->path);
}

int manifest_walk(struct manifest *m, int (*each)(void *arg, const struct manifest_entry *entry, const char *path), void *arg)
{
	struct walk w = { .last = &w.first, .path = BUF_INIT };
	struct entry_row row;
	struct db *db;
	struct db_stmt *s;
	int r = query(m, "SELECT " ENTRY_COLUMNS " FROM entry ORDER BY row", &db, &s);
	if (r)
		return r;
	for (uint64_t at = 1; at <= m->info.rows; at++) {
		r = step_entry(m, s, &row);
		size_t len = 0;
		const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &len) : NULL;
		if (r == -ENOENT || (!r && (!name || row.entry.row != at)))
			r = -EBADMSG;
		if (!r)
			r = walk_path(&w, &row.entry, name, len);
		if (!r && row.entry.kind == ENTRY_FOLDER)
			r = walk_push(&w, at, buf_text(&w.path));
		if (r || each(arg, &row.entry, buf_text(&w.path)))
			break;
	}
	query_end(m, db, s);
	while (w.first)
		walk_pop(&w);
	buf_free(&w.path);
	return r;
}

static int append_name(struct manifest *m, uint64_t row, struct buf *ret, uint64_t *ret_parent)
{
	struct entry_row er;
	struct db *db;
	struct db_stmt *s;
	int r = query(m, "SELECT " ENTRY_COLUMNS " FROM entry WHERE row = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)row);
	r = step_entry(m, s, &er);
	size_t len = 0;
	const char *name = !r && db_is_blob(s, ENTRY_NAME) ? db_blob(s, ENTRY_NAME, &len) : NULL;
	if (!r && (!name || (row != MANIFEST_ROOT && !name_valid(name, len))))
		r = -EBADMSG;
	if (!r) {
		for (size_t i = len; i > 0; i--) /* backwards: manifest_path turns the whole around */
			buf_addc(ret, name[i - 1]);
		*ret_parent = er.entry.parent;
	}
	query_end(m, db, s);
	return r == -ENOENT ? -EBADMSG : r;
}

int manifest_path(struct manifest *m, uint64_t row, struct buf *ret)
{
	const size_t start = ret->len;
	uint64_t parent;
	if (row < 1 || row > m->info.rows)
		return -ENOENT;
	for (; row != MANIFEST_ROOT; row = parent) { /* ends: read_entry checked parent < row */
		if (ret->len > start)
			buf_addc(ret, '/');
		int r = append_name(m, row, ret, &parent);
		if (r)
			return r;
		if (ret->len - start > MANIFEST_PATH_MAX)
			return -EBADMSG;
	}
	if (buf_check(ret))
		return -ENOMEM;
	for (size_t a = start, b = ret->len; a + 1 < b; a++, b--) {
		char c = ret->data[a];
		ret->data[a] = ret->data[b - 1];
		ret->data[b - 1] = c;
	}
	return 0;
}

int manifest_link(struct manifest *m, uint64_t row, struct buf *ret)
{
	struct manifest_entry en;
	struct db *db;
	struct db_stmt *s;
	struct buf path = BUF_INIT;
	int r = manifest_get(m, row, &en);
	if (!r && en.kind != ENTRY_SYMLINK)
		r = -EINVAL;
	if (!r)
		r = manifest_path(m, row, &path);
	if (!r)
		r = query(m, "SELECT target FROM entry WHERE row = ?", &db, &s);
	if (r)
		goto out;
	db_bind_int(s, 1, (int64_t)row);
	size_t len = 0;
	const char *target = db_step(s, NULL) == DB_ROW && db_is_blob(s, 0) ? db_blob(s, 0, &len) : NULL;
	if (!target || len != en.size || symlink_check(buf_text(&path), target, len))
		r = -EBADMSG;
	else
		buf_add(ret, target, len);
	query_end(m, db, s);
	if (!r)
		r = buf_check(ret);
out:
	buf_free(&path);
	return r;
}

/* -- chunks --------------------------------------------------------------------------------- */

int manifest_chunks(struct manifest *m, uint64_t row, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct entry_row file;
	struct db *db;
	struct db_stmt *s;
	int r = get_row(m, row, &file);
	if (r)
		return r;
	if (file.entry.kind != ENTRY_FILE || first > file.entry.chunk_count || count > file.entry.chunk_count - first)
		return -EINVAL;
	if (!count)
		return 0;
	r = query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE id >= ? AND id < ? ORDER BY id", &db, &s);
	if (r)
		return r;
	const uint64_t start = file.first_chunk + first;
	db_bind_int(s, 1, (int64_t)start);
	db_bind_int(s, 2, (int64_t)(start + count));
	for (uint32_t i = 0; i < count && !r; i++) {
		uint64_t id;
		r = db_step(s, NULL);
		r = r == DB_ROW ? read_chunk(s, &id, &ret[i]) : r ? r : -EBADMSG;
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
	query_end(m, db, s);
	return r;
}

static int read_leaves(struct db_stmt *s, const struct manifest_chunk *c, struct leaf *ret)
{
	const uint32_t count = leaf_count(c->length);
	struct digest d;
	if (!get_bytes(s, 0, ret, count * sizeof *ret))
		return -EBADMSG;
	leaves_digest(ret, count, &d);
	return digest_equal(&d, &c->digest) ? 0 : -EBADMSG;
}

int manifest_leaves(struct manifest *m, uint64_t row, uint32_t index, const struct manifest_chunk *chunk, struct leaf *ret)
{
	struct entry_row file;
	struct db *db;
	struct db_stmt *s;
	int r = get_row(m, row, &file);
	if (r)
		return r;
	if (file.entry.kind != ENTRY_FILE || index >= file.entry.chunk_count)
		return -EINVAL;
	if (!leaf_count(chunk->length))
		return 0;
	r = query(m, "SELECT leaves FROM chunk WHERE id = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)(file.first_chunk + index));
	r = db_step(s, NULL);
	r = r == DB_ROW ? read_leaves(s, chunk, ret) : r ? r : -EBADMSG;
	query_end(m, db, s);
	return r;
}

int manifest_chunk_by_id(struct manifest *m, uint64_t id, struct manifest_chunk *ret)
{
	struct db *db;
	struct db_stmt *s;
	int r = query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE id = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, (int64_t)id);
	uint64_t got;
	r = db_step(s, NULL);
	r = r == DB_ROW ? read_chunk(s, &got, ret) : r ? r : -ENOENT;
	query_end(m, db, s);
	return r;
}

int manifest_chunk_at(struct manifest *m, uint64_t row, uint64_t offset, uint32_t *ret_index)
{
	struct entry_row file;
	struct manifest_chunk c;
	int r = get_row(m, row, &file);
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
	int r = query(m, "SELECT " CHUNK_COLUMNS " FROM chunk ORDER BY id", &db, &s);
	if (r)
		return r;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_chunk c;
		uint64_t id;
		r = read_chunk(s, &id, &c);
		if (!r)
			r = each(arg, id, &c);
		if (r)
			break;
	}
	query_end(m, db, s);
	return r;
}

/* -- packs ---------------------------------------------------------------------------------- */

#define PACK_COLUMNS "number, key, in_place, etag, size, raw_size, slots"

int manifest_pack(struct manifest *m, uint32_t pack, struct manifest_pack *ret)
{
	struct db *db;
	struct db_stmt *s;
	uint32_t number;
	int r = query(m, "SELECT " PACK_COLUMNS " FROM pack WHERE number = ?", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, pack);
	r = db_step(s, NULL);
	r = r == DB_ROW ? read_pack(s, &number, ret) : r ? r : -ENOENT;
	query_end(m, db, s);
	return r;
}

int manifest_packs(struct manifest *m, int (*each)(void *arg, uint32_t number, const struct manifest_pack *pack), void *arg)
{
	struct db *db;
	struct db_stmt *s;
	int r = query(m, "SELECT " PACK_COLUMNS " FROM pack ORDER BY number", &db, &s);
	if (r)
		return r;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_pack p;
		uint32_t number;
		r = read_pack(s, &number, &p);
		if (!r)
			r = each(arg, number, &p);
		if (r)
			break;
	}
	query_end(m, db, s);
	return r;
}

int manifest_pack_chunks(struct manifest *m, uint32_t pack, uint32_t first, uint32_t count, struct manifest_chunk *ret)
{
	struct db *db;
	struct db_stmt *s;
	int r = query(m, "SELECT " CHUNK_COLUMNS " FROM chunk WHERE pack = ? AND slot >= ? AND slot < ? ORDER BY slot", &db, &s);
	if (r)
		return r;
	db_bind_int(s, 1, pack);
	db_bind_int(s, 2, first);
	db_bind_int(s, 3, (int64_t)first + count);
	uint32_t n = 0;
	while ((r = db_step(s, NULL)) == DB_ROW) {
		struct manifest_chunk c;
		uint64_t id;
		r = read_chunk(s, &id, &c);
		if (!r && (c.pack != pack || c.slot < first || c.slot - first >= count))
			r = -EBADMSG;
		if (r)
			break;
		if (!n || ret[n - 1].slot != c.slot) /* several files may share a chunk */
			ret[n++] = c;
	}
	query_end(m, db, s);
	return r ? r : (int)n;
}
