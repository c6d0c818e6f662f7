#include "policy/parquet_write.h"

#include "policy/thrift.h"

#include <stdlib.h>
#include <string.h>

/* What stays of the schema, and where the null pages stand. */
struct writer {
	const struct parquet_part *part;
	struct buf *out;
	bool *kept;              /* by element */
	size_t *kept_children;   /* by element */
	struct parquet_range *nulls; /* by group * leaf_count + leaf */
};

bool parquet_can_null(const struct parquet_footer *f, size_t leaf)
{
	const struct parquet_element *el = &f->elements[f->leaves[leaf]];
	return el->parent == 0 && el->repetition != PARQUET_REPEATED;
}

static struct thrift_reader reader_of(struct parquet_slice s)
{
	return (struct thrift_reader){ s.at, s.at + s.len, false };
}

/* Copies the field whose value is next, as it is. */
static void copy_field(struct buf *out, int *last, int id, enum thrift_type type, struct thrift_reader *r)
{
	const unsigned char *from = r->at;
	thrift_skip(r, type);
	thrift_write_field(out, last, id, type);
	buf_add(out, from, (size_t)(r->at - from));
}

static void write_i32(struct buf *out, int *last, int id, int64_t v)
{
	thrift_write_field(out, last, id, THRIFT_I32);
	thrift_write_int(out, v);
}

static void write_i64(struct buf *out, int *last, int id, int64_t v)
{
	thrift_write_field(out, last, id, THRIFT_I64);
	thrift_write_int(out, v);
}

/* -- pages of nulls --------------------------------------------------------------------------- */

/* A data page of `rows` nulls of an optional column: its definition levels are one run of zeros, and values it has none. */
static void write_null_page(struct buf *out, int64_t rows)
{
	struct buf levels = BUF_INIT;
	int last = 0, inner = 0;
	uint64_t run = (uint64_t)rows << 1;
	for (; run > 127; run >>= 7)
		buf_addc(&levels, (char)(run | 128));
	buf_addc(&levels, (char)run);
	buf_addc(&levels, 0);
	size_t size = 4 + levels.len;
	write_i32(out, &last, 1, 0); /* DATA_PAGE */
	write_i32(out, &last, 2, (int64_t)size);
	write_i32(out, &last, 3, (int64_t)size);
	thrift_write_field(out, &last, 5, THRIFT_STRUCT);
	write_i32(out, &inner, 1, rows);
	write_i32(out, &inner, 2, 0); /* PLAIN */
	write_i32(out, &inner, 3, 3); /* RLE */
	write_i32(out, &inner, 4, 3);
	thrift_write_stop(out);
	thrift_write_stop(out);
	for (int i = 0; i < 4; i++)
		buf_addc(out, (char)(levels.len >> 8 * i));
	buf_add(out, levels.data, levels.len);
	out->failed |= levels.failed;
	buf_free(&levels);
}

static void write_null_pages(struct writer *w, size_t start)
{
	const struct parquet_footer *f = w->part->footer;
	for (size_t g = 0; g < f->group_count; g++) {
		for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
			if (!w->part->groups[g] || w->part->leaves[leaf] != PARQUET_NULL)
				continue;
			size_t from = w->out->len;
			for (int64_t left = f->groups[g].rows; left > 0; left -= INT32_MAX)
				write_null_page(w->out, left < INT32_MAX ? left : INT32_MAX);
			w->nulls[g * f->leaf_count + leaf] =
				(struct parquet_range){ f->data_end + (from - start), w->out->len - from };
		}
	}
}

/* -- the schema ------------------------------------------------------------------------------- */

/* An element stays when a leaf below it does. */
static void mark_kept(struct writer *w)
{
	const struct parquet_footer *f = w->part->footer;
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++)
		for (size_t i = f->leaves[leaf]; w->part->leaves[leaf] != PARQUET_DROP; i = f->elements[i].parent) {
			w->kept[i] = true;
			if (i == 0)
				break;
		}
	w->kept[0] = true;
	for (size_t i = 1; i < f->element_count; i++)
		w->kept_children[f->elements[i].parent] += w->kept[i];
}

static void write_element(struct writer *w, size_t i)
{
	const struct parquet_element *el = &w->part->footer->elements[i];
	struct thrift_reader r = reader_of(el->raw);
	int id = 0, last = 0;
	enum thrift_type type;
	bool nulled = el->type != PARQUET_GROUP && w->part->leaves[el->leaf] == PARQUET_NULL;
	while (thrift_field(&r, &id, &type)) {
		if (id == 3 && nulled) {
			thrift_skip(&r, type);
			write_i32(w->out, &last, id, PARQUET_OPTIONAL);
		} else if (id == 5 && el->type == PARQUET_GROUP) {
			thrift_skip(&r, type);
			write_i32(w->out, &last, id, (int64_t)w->kept_children[i]);
		} else {
			copy_field(w->out, &last, id, type, &r);
		}
	}
	thrift_write_stop(w->out);
}

static void write_schema(struct writer *w)
{
	size_t n = 0, count = w->part->footer->element_count;
	for (size_t i = 0; i < count; i++)
		n += w->kept[i];
	thrift_write_list(w->out, THRIFT_STRUCT, n);
	for (size_t i = 0; i < count; i++)
		if (w->kept[i])
			write_element(w, i);
}

/* -- row groups ------------------------------------------------------------------------------- */

static void write_metadata(struct writer *w, const struct parquet_chunk *c, struct parquet_range nulls, bool nulled)
{
	struct thrift_reader r = reader_of(c->metadata);
	int id = 0, last = 0;
	enum thrift_type type;
	while (thrift_field(&r, &id, &type)) {
		bool unbounded_bloom = (id == 14 || id == 15) && !c->bloom.len;
		if (!nulled && id != 8 && !unbounded_bloom) {
			copy_field(w->out, &last, id, type, &r);
			continue;
		}
		if (nulled && (id == 1 || id == 3)) {
			copy_field(w->out, &last, id, type, &r);
			continue;
		}
		thrift_skip(&r, type);
		if (nulled && id == 2) {
			thrift_write_field(w->out, &last, id, THRIFT_LIST);
			thrift_write_list(w->out, THRIFT_I32, 2);
			thrift_write_int(w->out, 0); /* PLAIN */
			thrift_write_int(w->out, 3); /* RLE */
		} else if (nulled && id == 4) {
			write_i32(w->out, &last, id, 0); /* UNCOMPRESSED */
		} else if (nulled && id == 5) {
			write_i64(w->out, &last, id, c->value_count);
		} else if (nulled && (id == 6 || id == 7)) {
			write_i64(w->out, &last, id, (int64_t)nulls.len);
		} else if (nulled && id == 9) {
			write_i64(w->out, &last, id, (int64_t)nulls.offset);
		}
	}
	thrift_write_stop(w->out);
}

static void write_chunk(struct writer *w, const struct parquet_chunk *c, struct parquet_range nulls, bool nulled)
{
	struct thrift_reader r = reader_of(c->raw);
	int id = 0, last = 0;
	enum thrift_type type;
	while (thrift_field(&r, &id, &type)) {
		if (id == 3) {
			thrift_skip(&r, type);
			thrift_write_field(w->out, &last, id, THRIFT_STRUCT);
			write_metadata(w, c, nulls, nulled);
		} else if (id == 2 && nulled) {
			thrift_skip(&r, type);
			write_i64(w->out, &last, id, (int64_t)nulls.offset);
		} else if (id == 2 || (id >= 4 && id <= 7 && !nulled)) {
			copy_field(w->out, &last, id, type, &r);
		} else {
			thrift_skip(&r, type);
		}
	}
	thrift_write_stop(w->out);
}

static void write_chunks(struct writer *w, size_t g)
{
	const struct parquet_footer *f = w->part->footer;
	size_t n = 0;
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++)
		n += w->part->leaves[leaf] != PARQUET_DROP;
	thrift_write_list(w->out, THRIFT_STRUCT, n);
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++)
		if (w->part->leaves[leaf] != PARQUET_DROP)
			write_chunk(w, &f->groups[g].chunks[leaf], w->nulls[g * f->leaf_count + leaf], w->part->leaves[leaf] == PARQUET_NULL);
}

/* Sizes are those of what stays; what only sorting or encryption would need goes. */
static void write_group(struct writer *w, size_t g)
{
	const struct parquet_footer *f = w->part->footer;
	struct thrift_reader r = reader_of(f->groups[g].raw);
	int id = 0, last = 0;
	enum thrift_type type;
	uint64_t plain = 0, packed = 0, first = UINT64_MAX;
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
		const struct parquet_chunk *c = &f->groups[g].chunks[leaf];
		bool nulled = w->part->leaves[leaf] == PARQUET_NULL;
		struct parquet_range data = nulled ? w->nulls[g * f->leaf_count + leaf] : c->data;
		if (w->part->leaves[leaf] == PARQUET_DROP)
			continue;
		plain += nulled ? data.len : (uint64_t)c->uncompressed;
		packed += data.len;
		first = data.offset < first ? data.offset : first;
	}
	while (thrift_field(&r, &id, &type)) {
		if (id == 3) {
			copy_field(w->out, &last, id, type, &r);
			continue;
		}
		thrift_skip(&r, type);
		if (id == 1) {
			thrift_write_field(w->out, &last, id, THRIFT_LIST);
			write_chunks(w, g);
		} else if (id == 2 || id == 6) {
			write_i64(w->out, &last, id, (int64_t)(id == 2 ? plain : packed));
		} else if (id == 5) {
			write_i64(w->out, &last, id, (int64_t)first);
		}
	}
	thrift_write_stop(w->out);
}

static void write_groups(struct writer *w)
{
	const struct parquet_footer *f = w->part->footer;
	size_t n = 0;
	for (size_t g = 0; g < f->group_count; g++)
		n += w->part->groups[g];
	thrift_write_list(w->out, THRIFT_STRUCT, n);
	for (size_t g = 0; g < f->group_count; g++)
		if (w->part->groups[g])
			write_group(w, g);
}

static void write_orders(struct writer *w, struct thrift_reader *r)
{
	const struct parquet_footer *f = w->part->footer;
	enum thrift_type type;
	size_t n = 0, count = thrift_list(r, &type);
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++)
		n += w->part->leaves[leaf] != PARQUET_DROP;
	thrift_write_list(w->out, type, n);
	for (size_t leaf = 0; leaf < count; leaf++) {
		const unsigned char *from = r->at;
		thrift_skip_item(r, type);
		if (w->part->leaves[leaf] != PARQUET_DROP)
			buf_add(w->out, from, (size_t)(r->at - from));
	}
}

/* -- the whole -------------------------------------------------------------------------------- */

/* Key-value metadata (ARROW:schema, pandas and what else writers leave) goes: it may tell of what is not there. */
static void write_footer(struct writer *w)
{
	const struct parquet_footer *f = w->part->footer;
	struct thrift_reader r = reader_of(f->raw);
	int id = 0, last = 0;
	enum thrift_type type;
	int64_t rows = 0;
	for (size_t g = 0; g < f->group_count; g++)
		rows += w->part->groups[g] ? f->groups[g].rows : 0;
	while (thrift_field(&r, &id, &type)) {
		if (id == 1 || id == 6) {
			copy_field(w->out, &last, id, type, &r);
		} else if (id == 3) {
			thrift_skip(&r, type);
			write_i64(w->out, &last, id, rows);
		} else if (id == 7) {
			thrift_write_field(w->out, &last, id, type);
			write_orders(w, &r);
		} else {
			thrift_skip(&r, type);
			if (id != 2 && id != 4)
				continue;
			thrift_write_field(w->out, &last, id, type);
			if (id == 2)
				write_schema(w);
			else
				write_groups(w);
		}
	}
	thrift_write_stop(w->out);
}

void parquet_write_tail(const struct parquet_part *part, struct buf *ret)
{
	const struct parquet_footer *f = part->footer;
	struct writer w = { .part = part, .out = ret };
	size_t start = ret->len;
	w.kept = calloc(f->element_count + 1, sizeof *w.kept);
	w.kept_children = calloc(f->element_count + 1, sizeof *w.kept_children);
	w.nulls = calloc(f->group_count * f->leaf_count + 1, sizeof *w.nulls);
	if (w.kept && w.kept_children && w.nulls) {
		mark_kept(&w);
		write_null_pages(&w, start);
		size_t from = ret->len;
		write_footer(&w);
		size_t len = ret->len - from;
		for (int i = 0; i < 4; i++)
			buf_addc(ret, (char)(len >> 8 * i));
		buf_adds(ret, PARQUET_MAGIC);
		ret->failed |= len > UINT32_MAX;
	} else {
		ret->failed = true;
	}
	free(w.kept);
	free(w.kept_children);
	free(w.nulls);
}
