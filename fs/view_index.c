#include "fs/view_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define INDEX_MAGIC "meshvidx"
#define INDEX_FORMAT 1
#define INDEX_COUNT_MAX (1u << 26)

/* On disk: this header, `count` records, the XXH3-128 of all before it.  Little-endian hosts only, like the state files. */
struct index_header {
	char magic[8];
	uint32_t format, kind, count, claimed;
	uint64_t size, source_size, rows_in, rows_out, rows_rejected;
	struct xxh128 hash;
};

struct index_record {
	uint64_t length, rows;
	struct xxh128 hash;
};

_Static_assert(sizeof(struct index_header) == 80, "the header is 80 bytes");
_Static_assert(sizeof(struct index_record) == 32, "a record is 32 bytes");

int view_index_grow(struct view_index *x, uint32_t count)
{
	size_t n = count ? count : 1;
	uint64_t *ends = realloc(x->ends, n * sizeof *ends);
	if (ends)
		x->ends = ends;
	uint64_t *rows = realloc(x->rows, n * sizeof *rows);
	if (rows)
		x->rows = rows;
	struct xxh128 *hashes = realloc(x->hashes, n * sizeof *hashes);
	if (hashes)
		x->hashes = hashes;
	return ends && rows && hashes ? 0 : -ENOMEM;
}

int view_index_new(enum view_kind kind, uint32_t count, uint64_t source_size, struct view_index **ret)
{
	struct view_index *x = calloc(1, sizeof *x);
	if (!x || view_index_grow(x, count)) {
		view_index_free(x);
		return -ENOMEM;
	}
	x->kind = kind;
	x->count = count;
	x->source_size = source_size;
	*ret = x;
	return 0;
}

void view_index_free(struct view_index *x)
{
	if (!x)
		return;
	free(x->ends);
	free(x->rows);
	free(x->hashes);
	free(x);
}

int view_index_encode(const struct view_index *x, struct buf *ret)
{
	struct index_header h = {
		.format = INDEX_FORMAT,
		.kind = (uint32_t)x->kind,
		.count = x->count,
		.claimed = x->claimed,
		.size = x->size,
		.source_size = x->source_size,
		.rows_in = x->stats.rows_in,
		.rows_out = x->stats.rows_out,
		.rows_rejected = x->stats.rows_rejected,
		.hash = x->hash,
	};
	memcpy(h.magic, INDEX_MAGIC, sizeof h.magic);
	size_t start = ret->len;
	buf_add(ret, &h, sizeof h);
	for (uint32_t i = 0; i < x->count; i++) {
		struct index_record record = { x->ends[i] - (i ? x->ends[i - 1] : 0), x->rows[i], x->hashes[i] };
		buf_add(ret, &record, sizeof record);
	}
	struct xxh128 sum;
	if (buf_check(ret))
		return -ENOMEM;
	xxh128_of(ret->data + start, ret->len - start, &sum);
	buf_add(ret, &sum, sizeof sum);
	return buf_check(ret);
}

int view_index_decode(const void *bytes, size_t len, uint64_t source_size, uint32_t source_chunks, struct view_index **ret)
{
	struct index_header h;
	struct xxh128 sum;
	const unsigned char *p = bytes;
	if (len < sizeof h + sizeof sum)
		return -EBADMSG;
	memcpy(&h, p, sizeof h);
	xxh128_of(p, len - sizeof sum, &sum);
	if (memcmp(h.magic, INDEX_MAGIC, sizeof h.magic) != 0 || h.format != INDEX_FORMAT || h.count > INDEX_COUNT_MAX ||
	    h.source_size != source_size || len != sizeof h + (size_t)h.count * sizeof(struct index_record) + sizeof sum ||
	    memcmp(&sum, p + len - sizeof sum, sizeof sum) != 0)
		return -EBADMSG;
	if (h.claimed > 1 || (!h.count && h.size))
		return -EBADMSG;
	if (h.kind != VIEW_WHOLE && (h.kind != VIEW_CHUNKED || (h.count != source_chunks && h.count != 1)))
		return -EBADMSG;
	struct view_index *x;
	int r = view_index_new((enum view_kind)h.kind, h.count, source_size, &x);
	if (r)
		return r;
	x->size = h.size;
	x->stats = (struct view_stats){ h.rows_in, h.rows_out, h.rows_rejected, false };
	x->hash = h.hash;
	x->claimed = h.claimed != 0;
	uint64_t end = 0;
	for (uint32_t i = 0; i < h.count && !r; i++) {
		struct index_record record;
		memcpy(&record, p + sizeof h + (size_t)i * sizeof record, sizeof record);
		if (record.length > UINT32_MAX || end + record.length > h.size)
			r = -EBADMSG;
		end += record.length;
		x->ends[i] = end;
		x->rows[i] = record.rows;
		x->hashes[i] = record.hash;
	}
	if (r || end != h.size) {
		view_index_free(x);
		return -EBADMSG;
	}
	*ret = x;
	return 0;
}
