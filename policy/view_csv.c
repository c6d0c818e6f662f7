/*
 * Separated text (CSV, TSV, PSV …), byte-preserving.
 *
 * The plan maps the fields of a record to actions once, from the header (or the contract's order, where the contract says that there is
 * none).  A record is then a run of the scanner's positions: the filter reads the fields that it needs, and what is kept is
 * copied in the longest runs of neighbouring columns.
 */
#include "catalog/csv_scan.h"
#include "policy/expr.h"
#include "policy/view_csv.h"
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POSITIONS 16384 /* at a time */

/* What goes into a derived record: neighbouring columns as they are, or one masked. */
struct piece {
	size_t first, last;
	const struct mask_run *mask; /* NULL: as they are */
};

struct filter_field {
	size_t field; /* of the record */
	enum logical_type type;
};

struct line_view {
	const struct expr *filter; /* of the transform, or NULL */
	char separator;
	size_t field_count;
	size_t head_len; /* bytes of the header record, with a byte order mark */
	char *head;      /* derived */
	size_t derived_head_len;
	struct piece *pieces;
	size_t piece_count;
	struct mask_run *masks;
	size_t mask_count;
	struct filter_field *filter_fields; /* by column of the filter */
	size_t filter_count;
	csv_scan_fn *scan;
	bool all_kept;    /* every field of a record that is shown goes as it is */
	bool may_be_blank; /* one field is left of several: a null must not become an empty line */
};

/* -- the plan --------------------------------------------------------------------------------- */

static void csv_free(struct line_view *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->mask_count; i++)
		mask_fini(&v->masks[i]);
	free(v->masks);
	free(v->pieces);
	free(v->filter_fields);
	free(v->head);
	free(v);
}

/* Names by field: of the header, or of the contract. */
static int plan_pieces(struct line_view *v, const struct transform *t, const struct csv_head *names, const struct view_keys *keys, struct err *e)
{
	size_t kept = 0;
	v->field_count = names->count;
	v->pieces = calloc(names->count + 1, sizeof *v->pieces);
	v->masks = calloc(names->count + 1, sizeof *v->masks);
	if (!v->pieces || !v->masks)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < names->count; i++) {
		const struct mask *m = view_leaf_mask(t, names->fields[i].name, names->fields[i].name_len);
		struct piece *last = v->piece_count ? &v->pieces[v->piece_count - 1] : NULL;
		if (m->kind == MASK_DROP)
			continue;
		kept++;
		if (m->kind == MASK_KEEP) {
			if (last && !last->mask && last->last + 1 == i)
				last->last = i;
			else
				v->pieces[v->piece_count++] = (struct piece){ i, i, NULL };
			continue;
		}
		int r = mask_prepare(m, keys, &v->masks[v->mask_count], e);
		if (r != 0)
			return r;
		v->pieces[v->piece_count++] = (struct piece){ i, i, &v->masks[v->mask_count++] };
	}
	v->all_kept = v->piece_count == 1 && !v->mask_count && kept == names->count;
	v->may_be_blank = kept == 1 && !v->all_kept;
	return 0;
}

static int plan_filter(struct line_view *v, const struct transform *t, const char *path, const struct csv_head *names, struct err *e)
{
	const struct expr_column *columns;
	if (!t->filter)
		return 0;
	v->filter = t->filter;
	v->filter_count = expr_columns(t->filter, &columns);
	v->filter_fields = calloc(v->filter_count + 1, sizeof *v->filter_fields);
	if (!v->filter_fields)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t c = 0; c < v->filter_count; c++) {
		size_t n = strlen(columns[c].name), found = 0;
		for (size_t i = 0; i < names->count; i++) {
			if (names->fields[i].name_len != n || memcmp(names->fields[i].name, columns[c].name, n) != 0)
				continue;
			v->filter_fields[c] = (struct filter_field){ i, columns[c].type };
			found++;
		}
		if (found != 1)
			return err_set(e, -EACCES, "%s: the column %s, which a filter reads, is %s", path, columns[c].name,
				       found ? "there more than once" : "not in the file");
	}
	return 0;
}

/* The header without what is dropped: a byte order mark and the line end stay. */
static int plan_head(struct line_view *v, const char *head, size_t bom, const struct csv_head *r, struct err *e)
{
	struct buf b = BUF_INIT;
	const struct csv_field *last = &r->fields[r->count - 1];
	if (v->piece_count) {
		buf_add(&b, head, bom);
		for (size_t i = 0; i < v->piece_count; i++) {
			const struct csv_field *from = &r->fields[v->pieces[i].first], *to = &r->fields[v->pieces[i].last];
			if (i)
				buf_addc(&b, v->separator);
			buf_add(&b, from->raw, (size_t)(to->raw + to->raw_len - from->raw));
		}
		const char *end = last->raw + last->raw_len;
		buf_add(&b, end, (size_t)(head + bom + r->len - end));
	}
	v->head_len = bom + r->len;
	v->derived_head_len = b.len;
	if (buf_check(&b) != 0) {
		buf_free(&b);
		return err_set(e, -ENOMEM, "out of memory");
	}
	v->head = buf_take(&b);
	return 0;
}

static int csv_new(struct transform *t, const char *path, const char *head, size_t len, bool whole, const struct view_keys *keys,
		   struct line_view **ret, struct err *e)
{
	bool header = true;
	struct csv_head first = { NULL, 0, 0 }, names = { NULL, 0, 0 };
	const struct doc_node *says = csv_contract_property(t, "header");
	const char *says_text = doc_text(says);
	if (says_text && strcmp(says_text, "false") == 0)
		header = false;
	struct line_view *v = calloc(1, sizeof *v);
	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	v->scan = csv_scan_best();
	size_t bom = csv_bom_len(head, len);
	int r = 0;
	if (len == bom && whole) /* nothing: the view of nothing is nothing */
		goto out;
	r = csv_head_read(t, path, head + bom, len - bom, whole, header, &v->separator, &first, e);
	if (r == 0 && !header)
		r = csv_head_of_contract(t, path, &names, e);
	if (r == 0 && header && t->object && t->object->column_count && !csv_head_score(t, &first, true))
		r = err_set(e, -EACCES, "%s: the first record names none of the contract's columns; without a header, say so in the contract", path);
	if (r == 0)
		r = plan_pieces(v, t, header ? &first : &names, keys, e);
	if (r == 0)
		r = plan_filter(v, t, path, header ? &first : &names, e);
	if (r == 0 && header)
		r = plan_head(v, head, bom, &first, e);
	if (r == 0 && !header)
		v->head_len = bom; /* and the derived one is empty: a mark at the start would stand before another field */
out:
	csv_head_fini(&first);
	csv_head_fini(&names);
	if (r == 0)
		*ret = v;
	else
		csv_free(v);
	return r;
}

/* -- records ---------------------------------------------------------------------------------- */

/* One call's work. */
struct run {
	const struct line_view *view;
	const char *bytes;
	size_t len;
	struct csv_scan scan;
	uint32_t *positions; /* [used, have) are to do */
	size_t used, have, room;
	struct row_value *values; /* of the filter's columns */
	struct buf text, masked;  /* scratch */
	struct buf *out;
	size_t kept_from, kept_to; /* all_kept: records that are shown and not yet copied */
	bool too_long; /* a record was over VIEW_ROW_MAX */
	struct view_stats *stats;
};

static int run_start(struct run *r, const struct line_view *v, const void *bytes, size_t len, struct buf *out, struct view_stats *stats)
{
	*r = (struct run){ .view = v, .bytes = bytes, .len = len, .out = out, .stats = stats };
	r->room = 2 * v->field_count + POSITIONS;
	r->positions = malloc(r->room * sizeof *r->positions);
	r->values = calloc(v->filter_count + 1, sizeof *r->values);
	return r->positions && r->values ? 0 : -ENOMEM;
}

static void run_end(struct run *r)
{
	free(r->positions);
	free(r->values);
	buf_free(&r->text);
	buf_free(&r->masked);
}

/* A record whose fields are all there: field k ends at ends[k], the last one before the line end. */
struct row {
	size_t start, next; /* next: behind the line end */
	size_t last_end;
	const uint32_t *ends;
};

static inline size_t field_start(const struct row *row, size_t k)
{
	return k ? row->ends[k - 1] + 1 : row->start;
}

static inline size_t field_end(const struct run *r, const struct row *row, size_t k)
{
	return k + 1 == r->view->field_count ? row->last_end : row->ends[k];
}

static bool row_shown(struct run *r, const struct row *row)
{
	const struct line_view *v = r->view;
	char *scratch = NULL;
	for (size_t c = 0; c < v->filter_count; c++) {
		size_t k = v->filter_fields[c].field, start = field_start(row, k), n = field_end(r, row, k) - start;
		struct row_value *value = &r->values[c];
		if (!n) {
			*value = (struct row_value){ .kind = VALUE_NULL };
			continue;
		}
		const char *raw = r->bytes + start;
		if (raw[0] == '"') {
			if (!scratch) {
				buf_clear(&r->text);
				scratch = buf_reserve(&r->text, row->next - row->start); /* the fields are disjoint */
				if (!scratch)
					return false;
			}
			raw = csv_field_text(raw, n, scratch, &n);
			scratch += raw == scratch ? n : 0;
		}
		row_value_parse(v->filter_fields[c].type, raw, n, value);
	}
	return expr_eval_row(v->filter, r->values) == TRUTH_TRUE;
}

/* Short runs are the rule: copies whole vectors where both sides have room. */
static inline char *copy_run(const struct run *r, char *to, size_t from, size_t n)
{
	const char *p = r->bytes + from;
	if (n <= 64 && r->len - from >= 64) {
		memcpy(to, p, 32);
		memcpy(to + 32, p + 32, 32);
	} else {
		memcpy(to, p, n);
	}
	return to + n;
}

/* Needs quotes: what would read as more than one field, as another line, or as a null. */
static bool needs_quotes(const char *text, size_t len, char separator)
{
	if (!len)
		return true;
	for (size_t i = 0; i < len; i++)
		if (text[i] == separator || text[i] == '"' || text[i] == '\n' || text[i] == '\r')
			return true;
	return false;
}

static void add_quoted(struct buf *out, const char *text, size_t len)
{
	buf_addc(out, '"');
	for (const char *quote; (quote = memchr(text, '"', len));) {
		size_t n = (size_t)(quote - text) + 1;
		buf_add(out, text, n);
		buf_addc(out, '"');
		text += n;
		len -= n;
	}
	buf_add(out, text, len);
	buf_addc(out, '"');
}

static void add_masked(struct run *r, const struct mask_run *mask, size_t from, size_t n)
{
	const char *raw = r->bytes + from;
	size_t len;
	if (!n)
		return; /* null stays null */
	buf_clear(&r->masked);
	char *scratch = buf_reserve(&r->text, n);
	if (!scratch) {
		r->out->failed = true;
		return;
	}
	const char *text = csv_field_text(raw, n, scratch, &len);
	if (!mask_value(mask, text, len, &r->masked))
		return;
	if (r->masked.failed)
		r->out->failed = true;
	else if (raw[0] == '"' || needs_quotes(r->masked.data, r->masked.len, r->view->separator))
		add_quoted(r->out, r->masked.data, r->masked.len);
	else
		buf_add(r->out, r->masked.data, r->masked.len);
}

static void row_add_pieces(struct run *r, const struct row *row)
{
	const struct line_view *v = r->view;
	size_t begin = r->out->len;
	buf_clear(&r->text);
	for (size_t i = 0; i < v->piece_count; i++) {
		const struct piece *piece = &v->pieces[i];
		size_t from = field_start(row, piece->first), n = field_end(r, row, piece->last) - from;
		char *to = buf_reserve(r->out, n + 80);
		if (!to)
			return;
		if (i)
			*to++ = v->separator;
		if (!piece->mask)
			to = copy_run(r, to, from, n);
		r->out->len = (size_t)(to - r->out->data);
		if (piece->mask)
			add_masked(r, piece->mask, from, n);
	}
	if (v->may_be_blank && r->out->len == begin)
		buf_adds(r->out, "\"\"");
	buf_add(r->out, r->bytes + row->last_end, row->next - row->last_end);
}

static void flush_kept(struct run *r)
{
	if (r->kept_to > r->kept_from)
		buf_add(r->out, r->bytes + r->kept_from, r->kept_to - r->kept_from);
	r->kept_from = r->kept_to = 0;
}

static inline void row_do(struct run *r, const struct row *row)
{
	const struct line_view *v = r->view;
	r->stats->rows_in++;
	r->too_long |= row->next - row->start > VIEW_ROW_MAX;
	if (v->filter && !row_shown(r, row))
		return;
	r->stats->rows_out++;
	if (v->all_kept) {
		if (r->kept_to != row->start) {
			flush_kept(r);
			r->kept_from = row->start;
		}
		r->kept_to = row->next;
	} else if (v->piece_count) {
		row_add_pieces(r, row);
	}
}

static void reject(struct run *r)
{
	r->stats->rows_in++;
	r->stats->rows_rejected++;
}

/* Brings more positions; false when there are none before the end or an offence. */
static bool refill(struct run *r)
{
	if (r->scan.done || r->scan.broken)
		return false;
	memmove(r->positions, r->positions + r->used, (r->have - r->used) * sizeof *r->positions);
	r->have -= r->used;
	r->used = 0;
	r->have += r->view->scan(&r->scan, r->positions + r->have, r->room - r->have);
	return true;
}

/* The records whose positions are all there.  `start` is where the first begins; gives where the first one left begins. */
static size_t do_ready(struct run *r, size_t start)
{
	const size_t n = r->view->field_count;
	const char *bytes = r->bytes;
	const char separator = r->view->separator;
	while (r->have - r->used >= n) {
		const uint32_t *ends = r->positions + r->used;
		size_t k = 0;
		while (k + 1 < n && bytes[ends[k]] == separator)
			k++;
		size_t end = ends[k];
		if (k + 1 == n && bytes[end] == '\n') {
			size_t from = k ? ends[k - 1] + 1 : start;
			bool crlf = end > from && bytes[end - 1] == '\r';
			struct row row = { start, end + 1, end - crlf, ends };
			row_do(r, &row);
			r->used += n;
			start = end + 1;
			continue;
		}
		/* Too few fields, or too many: to the next newline. */
		while (k < r->have - r->used && bytes[ends[k]] != '\n')
			k++;
		if (k == r->have - r->used)
			break;
		reject(r);
		start = ends[k] + 1;
		r->used += k + 1;
	}
	return start;
}

/* A record whose fields outnumber the positions that there is room for is behind what do_ready can see: forget them. */
static void forget_long(struct run *r)
{
	size_t left = r->have - r->used;
	if (left > r->view->field_count + 64) {
		r->positions[r->used + r->view->field_count + 1] = r->positions[r->have - 1];
		r->have = r->used + r->view->field_count + 2;
	}
}

/* What is left when the scan is done: records with too few fields, and the one that no newline ends. */
static size_t do_rest(struct run *r, size_t start, bool last)
{
	const size_t n = r->view->field_count;
	for (size_t k = r->used; k < r->have; k++) {
		if (r->bytes[r->positions[k]] != '\n')
			continue;
		reject(r);
		start = r->positions[k] + 1;
		r->used = k + 1;
	}
	if (!last || r->scan.broken || start == r->len)
		return start;
	if (r->have - r->used == n - 1) {
		struct row row = { start, r->len, r->len, r->positions + r->used };
		row_do(r, &row);
	} else {
		reject(r);
	}
	r->used = r->have;
	return r->len;
}

static int do_records(struct run *r, size_t start, bool last, size_t *ret_used, struct err *e)
{
	csv_scan_start(&r->scan, r->bytes, r->len, start, r->view->separator);
	for (;;) {
		while (refill(r)) {
			size_t next = do_ready(r, start);
			if (next == start)
				forget_long(r);
			start = next;
		}
		start = do_ready(r, start);
		start = do_rest(r, start, last);
		if (!r->scan.broken)
			break;
		bool ended;
		size_t next = csv_skip_record(r->bytes, r->len, start, r->view->separator, &ended);
		if (!ended && !last)
			break;
		reject(r);
		start = next;
		r->used = r->have = 0;
		csv_scan_start(&r->scan, r->bytes, r->len, start, r->view->separator);
	}
	flush_kept(r);
	if (r->too_long || r->len - start > VIEW_ROW_MAX)
		return view_row_too_long(e);
	*ret_used = start;
	return 0;
}

static int csv_records(const struct line_view *v, bool first, bool last, const void *bytes, size_t len, size_t *ret_used, struct buf *ret,
		       struct view_stats *stats, struct err *e)
{
	struct run run;
	size_t start = first ? v->head_len : 0;
	if (start > len)
		return err_set(e, -EACCES, "the first chunk does not hold the header");
	if (!v->field_count) { /* of an empty file */
		*ret_used = len;
		return 0;
	}
	if (first)
		buf_add(ret, v->head, v->derived_head_len);
	int r = run_start(&run, v, bytes, len, ret, stats);
	if (r == 0)
		r = do_records(&run, start, last, ret_used, e);
	else
		err_set(e, r, "out of memory");
	run_end(&run);
	return r;
}

const struct line_view_ops view_csv_ops = { csv_new, csv_free, csv_records };
