#include "fs/scan.h"

#include "catalog/base/map.h"
#include "catalog/base/progress.h"
#include "catalog/base/text.h"
#include "policy/key.h"
#include "policy/parquet_footer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_BYTES (1u << 20)
#define WHOLE_BYTES_MAX (1u << 30) /* a file whose chunks are not cut at records is read in one piece */
#define CHUNKS_AT_ONCE 256
#define DERIVED_BYTES_MAX (256u << 20) /* of a Parquet file: the rows that were asked for */
#define CUT 1
#define PARQUET_TAIL 8 /* length of the footer, "PAR1" */

struct scan {
	struct policy_command world;
	struct reader *reader;
	struct map *versions;
};

static int get_key(void *arg, const char *name, unsigned char ret_key[32], struct err *e)
{
	return policy_key_read(arg, name, ret_key, e);
}

void scan_keys(struct scan *s, struct view_keys *ret)
{
	*ret = (struct view_keys){ get_key, s->world.browse.mesh };
}

int scan_open(const struct invocation *inv, bool rules, struct scan **ret, struct err *e)
{
	struct scan *s = calloc(1, sizeof *s);
	if (!s || !(s->versions = map_new())) {
		free(s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	int r = rules ? policy_command_open(inv, &s->world, e) : browse_open(inv, NULL, &s->world.browse, e);
	if (!r) {
		const struct mesh_config *mesh = s->world.browse.mesh;
		struct reader_config config = { .cache_folder = mesh->cache_folder, .cache_limit_bytes = mesh->cache_limit_bytes };
		scan_keys(s, &config.keys);
		r = reader_start(&config, s->world.browse.transfer, &s->reader, e);
	}
	if (r)
		scan_close(s);
	else
		*ret = s;
	return r;
}

static void free_version(void *arg)
{
	struct scan_version *v = arg;
	manifest_unref(v->manifest);
	loaded_version_free(&v->loaded);
	free(v->address);
	free(v);
}

void scan_close(struct scan *s)
{
	if (!s)
		return;
	map_free(s->versions, free_version);
	if (s->reader)
		reader_stop(s->reader);
	policy_command_close(&s->world);
	free(s);
}

const struct mesh_config *scan_mesh(const struct scan *s)
{
	return s->world.browse.mesh;
}

struct browse *scan_browse(struct scan *s)
{
	return &s->world.browse;
}

struct policy *scan_policy(struct scan *s)
{
	return s->world.policy;
}

/* -- versions and files ------------------------------------------------------------------------ */

static void load_version(struct scan *s, struct scan_version *v)
{
	struct address a;
	int r = address_parse(v->address, &a, &v->gone);
	if (!r && !a.version[0])
		r = err_set(&v->gone, -ENOENT, "%s is no version", v->address);
	if (!r)
		r = policy_command_version(&s->world, a.domain, a.product, a.version, &v->loaded, &v->gone);
	if (r)
		return;
	/* They point into the struct, which has moved. */
	v->loaded.facts.product = v->loaded.product.name;
	v->loaded.facts.version = v->loaded.info.version;
	domain_manifest(v->loaded.domain->domain, v->loaded.facts.product, &v->loaded.info, &v->manifest, &v->gone);
}

int scan_version(struct scan *s, const char *address, struct scan_version **ret, struct err *e)
{
	struct scan_version *v = map_gets(s->versions, address);
	if (v) {
		*ret = v;
		return 0;
	}
	v = calloc(1, sizeof *v);
	if (!v || !(v->address = strdup(address)) || map_sets(s->versions, address, v)) {
		free(v ? v->address : NULL);
		free(v);
		return err_set(e, -ENOMEM, "out of memory");
	}
	load_version(s, v);
	*ret = v;
	return 0;
}

static int read_source(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	char *to = bytes;
	int r = 0;
	for (size_t at = 0; !r && at < len; at += READ_BYTES)
		r = content_read_wait(arg, offset + at, to + at, len - at < READ_BYTES ? len - at : READ_BYTES, e);
	return r;
}

int scan_file_open(struct scan *s, struct scan_version *v, const char *path, struct scan_file *ret, struct err *e)
{
	struct scan_file f = { .version = v, .path = path };
	if (!v->manifest)
		return err_move(e, &v->gone);
	int r = manifest_resolve(v->manifest, path, &f.entry);
	if (!r && f.entry.kind != ENTRY_FILE)
		r = -ENOENT;
	if (r)
		return err_set(e, r, r == -ENOENT ? "%s has no file %s" : "%s: the manifest cannot tell of %s", v->address, path);
	f.object = v->loaded.facts.contract ? contract_object_for(v->loaded.facts.contract, path) : NULL;
	r = content_get(s->reader, v->loaded.domain->domain, v->manifest, &f.entry, path, NULL, &f.content, e);
	if (r)
		return r;
	f.source = (struct view_source){ read_source, f.content, f.entry.size, path };
	*ret = f;
	return 0;
}

void scan_file_close(struct scan_file *f)
{
	content_unref(f->content);
	f->content = NULL;
}

int scan_transform(struct scan *s, const struct scan_file *f, const char *view, const char *text, struct transform **ret, struct err *e)
{
	struct transform *t = NULL;
	char hash[SHA256_HEX_SIZE];
	int r = transform_parse(text, s->world.browse.mesh, f->version->loaded.facts.contract, f->object, &t, e);
	if (r)
		return err_prefix(e, r, "the view %.12s that was recorded cannot be rebuilt", view);
	hex_format(t->hash.bytes, SHA256_SIZE, hash);
	if (strcmp(hash, view) != 0) {
		transform_unref(t);
		return err_set(e, -ESTALE, "the view %.12s that was recorded cannot be rebuilt: its keys or the contract are not what they were", view);
	}
	*ret = t;
	return 0;
}

/* -- rows -------------------------------------------------------------------------------------- */

typedef int each_piece(void *arg, uint32_t index, const char *bytes, size_t len, struct err *e);

static int one_piece(const struct scan_file *f, uint32_t index, uint64_t offset, size_t len, struct buf *room, each_piece *each, void *arg, struct err *e)
{
	buf_clear(room);
	char *to = buf_reserve(room, len + 1);
	if (!to)
		return err_set(e, -ENOMEM, "out of memory");
	int r = f->source.read(f->source.arg, offset, to, len, e);
	return r ? r : each(arg, index, to, len, e);
}

static int by_chunks(const struct scan_file *f, struct buf *room, each_piece *each, void *arg, struct err *e)
{
	struct manifest_chunk *chunks = calloc(CHUNKS_AT_ONCE, sizeof *chunks);
	int r = chunks ? 0 : err_set(e, -ENOMEM, "out of memory");
	for (uint32_t at = 0; !r && at < f->entry.chunk_count; at += CHUNKS_AT_ONCE) {
		uint32_t left = f->entry.chunk_count - at, n = left < CHUNKS_AT_ONCE ? left : CHUNKS_AT_ONCE;
		r = manifest_chunks(f->version->manifest, f->entry.row, at, n, chunks);
		if (r)
			err_set(e, r, "%s/%s: the manifest cannot tell of its chunks", f->version->address, f->path);
		for (uint32_t i = 0; !r && i < n; i++)
			r = one_piece(f, at + i, chunks[i].file_offset, chunks[i].length, room, each, arg, e);
	}
	free(chunks);
	return r;
}

/* Pieces of whole records, in order; `index` is view_chunk's.  `whole`: all of it in one piece. */
static int scan_pieces(const struct scan_file *f, bool whole, each_piece *each, void *arg, struct err *e)
{
	struct buf room = BUF_INIT;
	int r;
	if (!whole && f->entry.aligned && f->entry.chunk_count > 1)
		r = by_chunks(f, &room, each, arg, e);
	else if (f->entry.size > WHOLE_BYTES_MAX)
		r = err_set(e, -EFBIG, "%s/%s is not cut at its records, and too large to be read at once", f->version->address, f->path);
	else
		r = one_piece(f, 0, 0, (size_t)f->entry.size, &room, each, arg, e);
	buf_free(&room);
	return r;
}

struct count {
	struct view_plan *plan;
	struct buf out;
	struct progress *progress;
	uint64_t left; /* bytes of the source that are to come */
	int64_t rows;
};

static int count_piece(void *arg, uint32_t index, const char *bytes, size_t len, struct err *e)
{
	struct count *c = arg;
	struct view_stats stats = { 0 };
	buf_clear(&c->out);
	int r = view_chunk(c->plan, index, bytes, len, &c->out, &stats, e);
	c->rows += (int64_t)stats.rows_out;
	c->left -= len;
	progress_add(c->progress, len);
	return !r && stats.cut && c->left ? CUT : r;
}

/* A chunk that ends within a record (as the contract's separator has it) cannot be read without its neighbours. */
static int count_pieces(struct count *c, const struct scan_file *f, struct err *e)
{
	c->left = f->entry.size;
	int r = scan_pieces(f, false, count_piece, c, e);
	if (r != CUT)
		return r;
	c->rows = 0;
	c->left = f->entry.size;
	c->progress = NULL;
	return scan_pieces(f, true, count_piece, c, e);
}

/* -- Parquet: the footer of what is left counts its rows -------------------------------------------- */

static int footer_rows(const unsigned char *tail, size_t len, uint64_t file_size, int64_t *ret_rows, struct err *e)
{
	struct parquet_footer *footer = NULL;
	size_t n = len < PARQUET_TAIL ? 0
		 : (size_t)tail[len - 8] | (size_t)tail[len - 7] << 8 | (size_t)tail[len - 6] << 16 | (size_t)tail[len - 5] << 24;
	if (len < PARQUET_TAIL || n > len - PARQUET_TAIL)
		return err_set(e, -ENOTSUP, "its rows cannot be counted");
	int r = parquet_footer_read(tail + len - PARQUET_TAIL - n, n, file_size - PARQUET_TAIL - n, &footer, e);
	if (r)
		return r;
	*ret_rows = 0;
	for (size_t i = 0; i < footer->group_count; i++)
		*ret_rows += footer->groups[i].rows;
	parquet_footer_free(footer);
	return 0;
}

static int count_segments(const struct view_plan *plan, int64_t *ret_rows, struct err *e)
{
	const struct view_segment *list;
	size_t n = view_segments(plan, &list);
	if (!n || list[n - 1].kind != SEGMENT_BYTES)
		return err_set(e, -ENOTSUP, "its rows cannot be counted");
	const struct view_segment *last = &list[n - 1];
	return footer_rows(last->bytes, last->length, last->offset + last->length, ret_rows, e);
}

static int keep_bytes(void *arg, const void *bytes, size_t len)
{
	struct buf *b = arg;
	if (len > DERIVED_BYTES_MAX - b->len)
		return -EFBIG;
	buf_add(b, bytes, len);
	return buf_check(b);
}

static int drop_bytes(void *arg, const void *bytes, size_t len)
{
	(void)arg;
	(void)bytes;
	(void)len;
	return 0;
}

static int count_whole(const struct view_plan *plan, const struct scan_file *f, int64_t *ret_rows, struct err *e)
{
	struct view_stats stats = { 0 };
	struct buf out = BUF_INIT;
	bool parquet = text_ends(f->path, ".parquet");
	int r = view_whole(plan, &f->source, parquet ? keep_bytes : drop_bytes, &out, &stats, e);
	*ret_rows = (int64_t)stats.rows_out;
	if (!r && parquet)
		r = footer_rows((const unsigned char *)buf_text(&out), out.len, out.len, ret_rows, e);
	buf_free(&out);
	return r;
}

int scan_count(struct scan *s, const struct scan_file *f, struct transform *t, struct progress *progress, int64_t *ret_rows, struct err *e)
{
	struct view_keys keys;
	struct count c = { .progress = progress };
	scan_keys(s, &keys);
	int r = view_plan_new(t, &f->source, &keys, &c.plan, e);
	if (r)
		return r;
	switch (view_plan_kind(c.plan)) {
	case VIEW_CHUNKED:
		r = count_pieces(&c, f, e);
		break;
	case VIEW_WHOLE:
		r = count_whole(c.plan, f, &c.rows, e);
		progress_add(progress, f->entry.size);
		break;
	case VIEW_SEGMENTS:
		r = count_segments(c.plan, &c.rows, e);
		progress_add(progress, f->entry.size);
		break;
	}
	buf_free(&c.out);
	view_plan_free(c.plan);
	if (!r)
		*ret_rows = c.rows;
	return r;
}
