#include "catalog/parquet_cuts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Thrift compact protocol: types of fields and list elements. */
enum { T_STOP, T_TRUE, T_FALSE, T_BYTE, T_I16, T_I32, T_I64, T_DOUBLE, T_BINARY, T_LIST, T_SET, T_MAP, T_STRUCT };

#define DEPTH_MAX 32

struct walk {
	const unsigned char *at, *end;
	bool bad;
	uint64_t *cuts;
	size_t count, cap;
	uint64_t data_end; /* where the footer begins */
};

static uint64_t get_varint(struct walk *w)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (w->at == w->end)
			break;
		const unsigned char b = *w->at++;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	w->bad = true;
	return 0;
}

static int64_t get_int(struct walk *w)
{
	const uint64_t v = get_varint(w);
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static void skip_bytes(struct walk *w, uint64_t n)
{
	if (n > (uint64_t)(w->end - w->at))
		w->bad = true;
	else
		w->at += n;
}

/* The next field of a struct: its type (T_STOP at the end), and its id in *id. */
static int get_field(struct walk *w, int *id)
{
	if (w->bad || w->at == w->end) {
		w->bad = true;
		return T_STOP;
	}
	const unsigned char b = *w->at++;
	const int type = b & 0x0f;
	if (type == T_STOP)
		return T_STOP;
	const int64_t next = b >> 4 ? *id + (b >> 4) : get_int(w);
	if (next <= 0 || next > 32767 || type > T_STRUCT) {
		w->bad = true;
		return T_STOP;
	}
	*id = (int)next;
	return type;
}

/* A list's or set's head: the count; elements take at least a byte each (booleans too). */
static uint64_t get_list(struct walk *w, int *ret_type)
{
	if (w->at == w->end) {
		w->bad = true;
		return 0;
	}
	const unsigned char b = *w->at++;
	*ret_type = b & 0x0f;
	const uint64_t n = b >> 4 == 15 ? get_varint(w) : b >> 4;
	if (n > (uint64_t)(w->end - w->at) || *ret_type == T_STOP || *ret_type > T_STRUCT)
		w->bad = true;
	return w->bad ? 0 : n;
}

static void skip(struct walk *w, int type, bool element, int depth);

static void skip_map(struct walk *w, int depth)
{
	const uint64_t n = get_varint(w);
	if (!n || w->bad)
		return;
	if (w->at == w->end || n > (uint64_t)(w->end - w->at)) {
		w->bad = true;
		return;
	}
	const unsigned char types = *w->at++;
	for (uint64_t i = 0; i < n && !w->bad; i++) {
		skip(w, types >> 4, true, depth + 1);
		skip(w, types & 0x0f, true, depth + 1);
	}
}

static void skip(struct walk *w, int type, bool element, int depth)
{
	int id = 0, t;
	uint64_t n;
	if (depth > DEPTH_MAX || w->bad) {
		w->bad = true;
		return;
	}
	switch (type) {
	case T_TRUE:
	case T_FALSE:
		if (element)
			skip_bytes(w, 1);
		break;
	case T_BYTE:
		skip_bytes(w, 1);
		break;
	case T_I16:
	case T_I32:
	case T_I64:
		get_varint(w);
		break;
	case T_DOUBLE:
		skip_bytes(w, 8);
		break;
	case T_BINARY:
		skip_bytes(w, get_varint(w));
		break;
	case T_LIST:
	case T_SET:
		for (n = get_list(w, &t); n && !w->bad; n--)
			skip(w, t, true, depth + 1);
		break;
	case T_MAP:
		skip_map(w, depth);
		break;
	case T_STRUCT:
		while ((t = get_field(w, &id)) != T_STOP)
			skip(w, t, false, depth + 1);
		break;
	default:
		w->bad = true;
	}
}

static void add_cut(struct walk *w, uint64_t offset)
{
	if (w->count == w->cap) {
		const size_t cap = w->cap ? w->cap * 2 : 256;
		uint64_t *p = cap <= PARQUET_CUTS_MAX ? realloc(w->cuts, cap * sizeof *p) : NULL;
		if (!p) {
			w->bad = true;
			return;
		}
		w->cuts = p;
		w->cap = cap;
	}
	w->cuts[w->count++] = offset;
}

static void add_range(struct walk *w, int64_t start, int64_t len)
{
	if (start < 4 || len < 0 || (uint64_t)start > w->data_end || (uint64_t)len > w->data_end - (uint64_t)start) {
		w->bad = true;
		return;
	}
	add_cut(w, (uint64_t)start);
	add_cut(w, (uint64_t)start + (uint64_t)len);
}

/* ColumnMetaData: 7 total_compressed_size, 9 data_page_offset, 11 dictionary_page_offset, 14/15 bloom filter's place. */
static void column_meta(struct walk *w)
{
	int64_t size = -1, data = -1, dictionary = 0, bloom = 0, bloom_len = 0;
	int id = 0, type;
	while ((type = get_field(w, &id)) != T_STOP) {
		const bool is_int = type == T_I64 || type == T_I32;
		int64_t *to = !is_int	? NULL
			      : id == 7	 ? &size
			      : id == 9	 ? &data
			      : id == 11 ? &dictionary
			      : id == 14 ? &bloom
			      : id == 15 ? &bloom_len
					 : NULL;
		if (to)
			*to = get_int(w);
		else
			skip(w, type, false, 0);
	}
	if (w->bad || size < 0 || data < 0) {
		w->bad = true;
		return;
	}
	add_range(w, dictionary > 0 && dictionary < data ? dictionary : data, size);
	if (bloom > 0)
		add_range(w, bloom, bloom_len);
}

/* ColumnChunk: 1 file_path (data in another file: not ours to cut), 3 meta_data, 4/5 offset index, 6/7 column index. */
static void column_chunk(struct walk *w)
{
	int64_t places[4] = { 0 };
	int id = 0, type;
	while ((type = get_field(w, &id)) != T_STOP) {
		if (id == 1)
			w->bad = true;
		else if (id == 3 && type == T_STRUCT)
			column_meta(w);
		else if (id >= 4 && id <= 7 && (type == T_I64 || type == T_I32))
			places[id - 4] = get_int(w);
		else
			skip(w, type, false, 0);
	}
	for (int i = 0; i < 4 && !w->bad; i += 2) {
		if (places[i] > 0)
			add_range(w, places[i], places[i + 1]);
	}
}

/* RowGroup: 1 columns. */
static void row_group(struct walk *w)
{
	int id = 0, type, of;
	while ((type = get_field(w, &id)) != T_STOP) {
		if (id != 1 || type != T_LIST) {
			skip(w, type, false, 0);
			continue;
		}
		for (uint64_t n = get_list(w, &of); n && !w->bad; n--) {
			if (of != T_STRUCT)
				w->bad = true;
			else
				column_chunk(w);
		}
	}
}

static int compare(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

uint32_t parquet_footer_length(const unsigned char tail[8], uint64_t file_size)
{
	const uint32_t len = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 | (uint32_t)tail[3] << 24;
	if (memcmp(tail + 4, "PAR1", 4) != 0 || file_size < 12 || len > file_size - 12 || len > PARQUET_FOOTER_MAX)
		return 0;
	return len;
}

int parquet_cuts(const void *footer, size_t len, uint64_t file_size, uint64_t **ret, size_t *ret_count)
{
	if (file_size < 12 || len > file_size - 12)
		return -EBADMSG;
	struct walk w = { .at = footer, .end = (const unsigned char *)footer + len, .data_end = file_size - 8 - len };
	int id = 0, type, of;
	add_cut(&w, w.data_end);
	/* FileMetaData: 4 row_groups. */
	while ((type = get_field(&w, &id)) != T_STOP) {
		if (id != 4 || type != T_LIST) {
			skip(&w, type, false, 0);
			continue;
		}
		for (uint64_t n = get_list(&w, &of); n && !w.bad; n--) {
			if (of != T_STRUCT)
				w.bad = true;
			else
				row_group(&w);
		}
	}
	if (w.bad) {
		free(w.cuts);
		return -EBADMSG;
	}
	qsort(w.cuts, w.count, sizeof *w.cuts, compare);
	size_t n = 0;
	for (size_t i = 0; i < w.count; i++) {
		if (!n || w.cuts[n - 1] != w.cuts[i])
			w.cuts[n++] = w.cuts[i];
	}
	*ret = w.cuts;
	*ret_count = n;
	return 0;
}
