#include "policy/parquet_footer.h"

#include "policy/thrift.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ELEMENTS_MAX 100000
#define SCHEMA_DEPTH_MAX 64
#define DECIMAL_PRECISION_MAX 1000000 /* of the format there is none; what an engine reads is its matter */

static struct thrift_reader reader_of(struct parquet_slice s)
{
	return (struct thrift_reader){ s.at, s.at + s.len, false };
}

static struct parquet_slice bytes_of(struct thrift_reader *r)
{
	size_t n;
	const char *p = thrift_binary(r, &n);
	return (struct parquet_slice){ (const unsigned char *)p, n };
}

/* -- the schema ------------------------------------------------------------------------------- */

/* Of the union of logical types, what a mask's result depends on. */
static void read_logical(struct thrift_reader r, struct parquet_element *el)
{
	enum { DECIMAL = 5, TIMESTAMP = 8, INTEGER = 10 };
	int id = 0, inner = 0;
	enum thrift_type type;
	if (!thrift_field(&r, &id, &type))
		return;
	el->logical = id;
	if (type != THRIFT_STRUCT)
		return;
	while (thrift_field(&r, &inner, &type)) {
		el->utc |= id == TIMESTAMP && inner == 1 && type == THRIFT_TRUE;
		el->is_unsigned |= id == INTEGER && inner == 2 && type == THRIFT_FALSE;
		if (id == DECIMAL && type == THRIFT_I32 && (inner == 1 || inner == 2))
			*(inner == 1 ? &el->scale : &el->precision) = (int)thrift_int(&r);
		else
			thrift_skip(&r, type);
	}
}

static bool read_element(struct thrift_reader *r, struct parquet_element *el)
{
	int id = 0;
	enum thrift_type type;
	const unsigned char *from = r->at;
	int64_t n;
	*el = (struct parquet_element){ .type = PARQUET_GROUP, .converted = -1 };
	while (thrift_field(r, &id, &type)) {
		if (id == 1 && type == THRIFT_I32) {
			n = thrift_int(r);
			r->bad |= n < 0 || n > PARQUET_FIXED;
			el->type = (enum parquet_type)n;
		} else if (id == 3 && type == THRIFT_I32) {
			n = thrift_int(r);
			r->bad |= n < 0 || n > PARQUET_REPEATED;
			el->repetition = (enum parquet_repetition)n;
		} else if (id == 4 && type == THRIFT_BINARY) {
			el->name = thrift_binary(r, &el->name_len);
		} else if (id == 5 && type == THRIFT_I32) {
			n = thrift_int(r);
			r->bad |= n < 0 || n > ELEMENTS_MAX;
			el->child_count = (size_t)n;
		} else if (id == 6 && type == THRIFT_I32) {
			el->converted = (int)thrift_int(r);
		} else if ((id == 7 || id == 8) && type == THRIFT_I32) {
			*(id == 7 ? &el->scale : &el->precision) = (int)thrift_int(r);
		} else if (id == 10 && type == THRIFT_STRUCT) {
			read_logical(*r, el);
			thrift_skip(r, type);
		} else {
			thrift_skip(r, type);
		}
	}
	el->raw = (struct parquet_slice){ from, (size_t)(r->at - from) };
	r->bad |= el->scale < 0 || el->precision < el->scale || el->precision > DECIMAL_PRECISION_MAX;
	/* A leaf has a type and no children, a group the other way round. */
	return !r->bad && el->name && (el->type == PARQUET_GROUP || !el->child_count);
}

static bool is_list(const struct parquet_element *el)
{
	return el->type == PARQUET_GROUP && (el->converted == 3 || el->logical == 3);
}

static bool is_map(const struct parquet_element *el)
{
	return el->type == PARQUET_GROUP && (el->converted == 1 || el->converted == 2 || el->logical == 2);
}

/* Which names are only the make-up of a list or map, by the format's rules for backward compatibility. */
static void mark_make_up(struct parquet_footer *f, size_t i)
{
	struct parquet_element *el = &f->elements[i], *parent = &f->elements[el->parent];
	if (el->parent == i || i == 0)
		return;
	if (el->repetition == PARQUET_REPEATED && parent->child_count == 1 && (is_list(parent) || is_map(parent)))
		el->skipped_name = true;
	struct parquet_element *above = &f->elements[parent->parent];
	bool tuple = parent->name_len > 6 && memcmp(parent->name + parent->name_len - 6, "_tuple", 6) == 0;
	if (parent->skipped_name && is_list(above) && parent->type == PARQUET_GROUP && parent->child_count == 1 && !tuple &&
	    !(parent->name_len == 5 && memcmp(parent->name, "array", 5) == 0))
		el->skipped_name = true;
}

/* Elements stand in depth-first order: gives the element behind the subtree at `i`, or 0 when it is no tree. */
static size_t link_tree(struct parquet_footer *f, size_t i, size_t parent, int depth)
{
	if (i >= f->element_count || depth > SCHEMA_DEPTH_MAX)
		return 0;
	struct parquet_element *el = &f->elements[i];
	el->parent = parent;
	mark_make_up(f, i);
	if (el->type != PARQUET_GROUP) {
		f->leaves[f->leaf_count] = i;
		el->leaf = f->leaf_count++;
		return i + 1;
	}
	size_t next = i + 1;
	for (size_t k = 0; k < el->child_count && next; k++)
		next = link_tree(f, next, i, depth + 1);
	return next;
}

static bool read_schema(struct thrift_reader *r, struct parquet_footer *f)
{
	enum thrift_type type;
	size_t n = thrift_list(r, &type);
	if (r->bad || type != THRIFT_STRUCT || n < 1 || n > ELEMENTS_MAX || f->elements)
		return false;
	f->elements = calloc(n, sizeof *f->elements);
	f->leaves = calloc(n, sizeof *f->leaves);
	if (!f->elements || !f->leaves)
		return false;
	f->element_count = n;
	for (size_t i = 0; i < n; i++)
		if (!read_element(r, &f->elements[i]))
			return false;
	return f->elements[0].type == PARQUET_GROUP && link_tree(f, 0, 0, 0) == n;
}

/* -- row groups ------------------------------------------------------------------------------- */

static void read_stats(struct thrift_reader *r, struct parquet_stats *s)
{
	int id = 0;
	enum thrift_type type;
	while (thrift_field(r, &id, &type)) {
		if (id == 3 && type == THRIFT_I64)
			s->null_count = thrift_int(r);
		else if (id == 5 && type == THRIFT_BINARY)
			s->max = bytes_of(r);
		else if (id == 6 && type == THRIFT_BINARY)
			s->min = bytes_of(r);
		else {
			s->inexact |= (id == 7 || id == 8) && type == THRIFT_FALSE;
			thrift_skip(r, type);
		}
	}
}

static void read_metadata(struct thrift_reader *r, struct parquet_chunk *c)
{
	int id = 0;
	enum thrift_type type;
	int64_t v[16] = { 0 };
	const unsigned char *from = r->at;
	while (thrift_field(r, &id, &type)) {
		if (id == 12 && type == THRIFT_STRUCT)
			read_stats(r, &c->stats);
		else if (id < 16 && (type == THRIFT_I64 || type == THRIFT_I32))
			v[id] = thrift_int(r);
		else
			thrift_skip(r, type);
	}
	c->metadata = (struct parquet_slice){ from, (size_t)(r->at - from) };
	c->value_count = v[5];
	c->uncompressed = v[6];
	/* The dictionary comes first; some writers leave a zero where there is none.  A chunk without values may have no data page, or no page. */
	const bool dataless = v[5] == 0 && v[9] == 0;
	int64_t start = v[11] > 0 && (v[11] < v[9] || dataless) ? v[11] : v[9];
	if (dataless && v[7] == 0)
		start = 4;
	r->bad |= v[5] < 0 || v[6] < 0 || v[7] < 0 || start < 4 || v[14] < 0 || v[15] < 0;
	c->data = (struct parquet_range){ (uint64_t)start, (uint64_t)v[7] };
	c->bloom = (struct parquet_range){ (uint64_t)v[14], (uint64_t)v[15] };
}

/* *ret_why gets what is not supported. */
static bool read_chunk(struct thrift_reader *r, struct parquet_chunk *c, const char **ret_why)
{
	int id = 0;
	enum thrift_type type;
	int64_t v[8] = { 0 };
	const unsigned char *from = r->at;
	c->stats.null_count = -1;
	while (thrift_field(r, &id, &type)) {
		if (id == 1) {
			*ret_why = "columns stand in other files";
			thrift_skip(r, type);
		} else if (id == 3 && type == THRIFT_STRUCT) {
			read_metadata(r, c);
		} else if (id < 8 && (type == THRIFT_I64 || type == THRIFT_I32)) {
			v[id] = thrift_int(r);
		} else {
			if (id == 8 || id == 9)
				*ret_why = "columns are encrypted";
			thrift_skip(r, type);
		}
	}
	c->raw = (struct parquet_slice){ from, (size_t)(r->at - from) };
	r->bad |= v[4] < 0 || v[5] < 0 || v[6] < 0 || v[7] < 0;
	c->offset_index = (struct parquet_range){ (uint64_t)v[4], (uint64_t)v[5] };
	c->column_index = (struct parquet_range){ (uint64_t)v[6], (uint64_t)v[7] };
	return !r->bad && (*ret_why || c->metadata.at);
}

static bool range_inside(const struct parquet_footer *f, struct parquet_range r)
{
	return r.len == 0 || (r.offset >= 4 && r.offset <= f->data_end && r.len <= f->data_end - r.offset);
}

static bool read_group(struct thrift_reader *r, struct parquet_footer *f, struct parquet_group *g, const char **ret_why)
{
	int id = 0;
	enum thrift_type type, inner;
	const unsigned char *from = r->at;
	bool columns = false;
	while (thrift_field(r, &id, &type)) {
		if (id == 1 && type == THRIFT_LIST) {
			size_t n = thrift_list(r, &inner);
			if (r->bad || inner != THRIFT_STRUCT || n != f->leaf_count)
				return false;
			g->chunks = calloc(n + 1, sizeof *g->chunks);
			columns = g->chunks != NULL;
			for (size_t i = 0; i < n && columns; i++)
				if (!read_chunk(r, &g->chunks[i], ret_why) || !range_inside(f, g->chunks[i].data) ||
				    !range_inside(f, g->chunks[i].offset_index) || !range_inside(f, g->chunks[i].column_index) ||
				    !range_inside(f, g->chunks[i].bloom))
					return false;
		} else if (id == 3 && type == THRIFT_I64) {
			g->rows = thrift_int(r);
		} else {
			thrift_skip(r, type);
		}
	}
	g->raw = (struct parquet_slice){ from, (size_t)(r->at - from) };
	return !r->bad && columns && g->rows >= 0;
}

static bool read_groups(struct thrift_reader *r, struct parquet_footer *f, const char **ret_why)
{
	enum thrift_type type;
	size_t n = thrift_list(r, &type);
	if (r->bad || (n && type != THRIFT_STRUCT) || !f->elements || f->groups)
		return false;
	f->groups = calloc(n + 1, sizeof *f->groups);
	if (!f->groups)
		return false;
	f->group_count = n;
	for (size_t i = 0; i < n; i++)
		if (!read_group(r, f, &f->groups[i], ret_why))
			return false;
	return true;
}

static bool read_all(struct parquet_footer *f, const char **ret_why)
{
	struct thrift_reader r = reader_of(f->raw);
	int id = 0;
	enum thrift_type type, inner;
	while (thrift_field(&r, &id, &type)) {
		if (id == 2 && type == THRIFT_LIST) {
			if (!read_schema(&r, f))
				return false;
		} else if (id == 4 && type == THRIFT_LIST) {
			if (!read_groups(&r, f, ret_why))
				return false;
		} else if (id == 7 && type == THRIFT_LIST) {
			f->order_count = thrift_list(&r, &inner);
			for (size_t i = 0; i < f->order_count; i++)
				thrift_skip_item(&r, inner);
			if (inner != THRIFT_STRUCT || f->order_count != f->leaf_count)
				return false;
		} else {
			if (id == 8)
				*ret_why = "it is encrypted";
			thrift_skip(&r, type);
		}
	}
	return !r.bad && r.at == r.end && f->elements && f->groups;
}

int parquet_footer_read(const void *bytes, size_t len, uint64_t data_end, struct parquet_footer **ret, struct err *e)
{
	const char *why = NULL;
	struct parquet_footer *f = calloc(1, sizeof *f);
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->raw = (struct parquet_slice){ bytes, len };
	f->data_end = data_end;
	bool ok = read_all(f, &why);
	if (ok && !why) {
		*ret = f;
		return 0;
	}
	parquet_footer_free(f);
	return err_set(e, -EACCES, "no view can be made of this Parquet file: %s", why ? why : "its footer is not well-formed");
}

void parquet_footer_free(struct parquet_footer *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->group_count; i++)
		free(f->groups[i].chunks);
	free(f->groups);
	free(f->elements);
	free(f->leaves);
	free(f);
}

static void add_path(const struct parquet_footer *f, size_t i, struct buf *ret)
{
	const struct parquet_element *el = &f->elements[i];
	if (i == 0)
		return;
	add_path(f, el->parent, ret);
	if (el->skipped_name)
		return;
	if (ret->len)
		buf_addc(ret, '.');
	buf_add(ret, el->name, el->name_len);
}

void parquet_leaf_path(const struct parquet_footer *f, size_t leaf, struct buf *ret)
{
	add_path(f, f->leaves[leaf], ret);
}
