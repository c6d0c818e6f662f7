/* Registering objects of the domain's store where they lie (--in-place): chunked and hashed, not copied. */
#include "catalog/base/text.h"
#include "catalog/parquet_cuts.h"
#include "catalog/publish_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_BYTES (8u << 20)

struct object {
	struct store *store;
	const char *key;
	struct object_info info;
	uint64_t offset;    /* of the next byte to give */
	char *bytes;        /* the range fetched last */
	uint64_t at;        /* its offset */
	size_t len;
};

static int object_read(void *arg, void *bytes, size_t len, size_t *ret_n, struct err *e)
{
	struct object *o = arg;
	if (o->offset < o->at || o->offset >= o->at + o->len) {
		const uint64_t left = o->info.size - o->offset;
		const size_t n = left < FETCH_BYTES ? (size_t)left : FETCH_BYTES;
		o->len = 0;
		int r = n ? store_get_range(o->store, o->key, o->offset, n, o->info.etag, o->bytes, e) : 0;
		if (r)
			return r == -ESTALE ? err_set(e, -EBUSY, "%s: the object changed while it was read; publish again", o->key) : r;
		o->at = o->offset;
		o->len = n;
	}
	size_t n = (size_t)(o->at + o->len - o->offset);
	n = n < len ? n : len;
	memcpy(bytes, o->bytes + (o->offset - o->at), n);
	o->offset += n;
	*ret_n = n;
	return 0;
}

static int object_check(void *arg, struct err *e)
{
	struct object *o = arg;
	struct object_info now;
	int r = store_head(o->store, o->key, &now, e);
	if (!r && strcmp(now.etag, o->info.etag) != 0)
		r = err_set(e, -EBUSY, "%s: the object changed while it was read; publish again", o->key);
	return r;
}

static void object_parquet_cuts(struct object *o, uint64_t **ret, size_t *ret_count)
{
	unsigned char tail[8];
	const uint64_t size = o->info.size;
	if (size < 12 || store_get_range(o->store, o->key, size - 8, 8, o->info.etag, tail, NULL))
		return;
	const uint32_t len = parquet_footer_length(tail, size);
	void *footer = len ? malloc(len) : NULL;
	if (footer && !store_get_range(o->store, o->key, size - 8 - len, len, o->info.etag, footer, NULL))
		parquet_cuts(footer, len, size, ret, ret_count);
	free(footer);
}

static int register_object(struct publication *p, const struct object *o, uint32_t *ret_number, struct err *e)
{
	struct manifest_pack pack = { .in_place = true, .size = o->info.size, .raw_size = o->info.size };
	if (strlen(o->key) >= sizeof pack.key)
		return err_set(e, -ENAMETOOLONG, "%s: a key of more than %zu bytes cannot be registered in place", o->key,
			       sizeof pack.key - 1);
	if (!o->info.etag[0] || strlen(o->info.etag) >= sizeof pack.etag)
		return err_set(e, -EOPNOTSUPP, "%s: the store gives the object no ETag, so that a change could not be noticed; publish a copy "
					       "(without --in-place)", o->key);
	memcpy(pack.key, o->key, strlen(o->key) + 1);
	memcpy(pack.etag, o->info.etag, strlen(o->info.etag) + 1);
	int r = ingest_flush(p->ingest, e); /* the stage is ours then */
	if (!r)
		r = stage_pack(p->stage, &pack, ret_number, e);
	if (!r) /* the same object may be registered by the version built onto, with another ETag */
		r = stage_pack_set(p->stage, *ret_number, &pack, e);
	return r;
}

int publish_add_object(struct publication *p, const char *path, const char *key, bool executable, struct err *e)
{
	struct object o = { .store = domain_store(p->domain), .key = key, .bytes = malloc(FETCH_BYTES) };
	uint64_t *cuts = NULL;
	size_t cut_count = 0;
	uint32_t number = 0;
	int r = o.bytes ? publish_path_check(path, e) : err_set(e, -ENOMEM, "no memory");
	if (!r)
		r = store_head(o.store, key, &o.info, e);
	if (!r)
		r = register_object(p, &o, &number, e);
	if (!r && publish_is_parquet(path))
		object_parquet_cuts(&o, &cuts, &cut_count);
	if (!r) {
		const struct ingest_source source = {
			.path = path,
			.mtime_ns = o.info.modified_ns,
			.executable = executable,
			.replace = p->replace,
			.size = o.info.size,
			.read = object_read,
			.check = object_check,
			.arg = &o,
			.cuts = cuts,
			.cut_count = cut_count,
			.object = number,
		};
		r = ingest_file(p->ingest, &source, e);
	}
	free(cuts);
	free(o.bytes);
	return r;
}
