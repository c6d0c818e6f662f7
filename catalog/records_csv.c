/* The CSV half of records.h: fields. */
#include "catalog/records_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- one record by itself -------------------------------------------------------- */

static struct field *field_new(struct records *r)
{
	if (r->field_count == r->field_capacity) {
		size_t capacity = r->field_capacity ? r->field_capacity * 2 : 32;
		struct field *more = realloc(r->fields, capacity * sizeof *more);
		if (!more)
			return NULL;
		r->fields = more;
		r->field_capacity = capacity;
	}
	return &r->fields[r->field_count++];
}

/* Reads a quoted field that starts at `at` (the opening quote); returns where it ends, NULL when its quoting is broken. */
static const char *quoted_field(struct records *r, const char *line, const char *at, const char *end, struct field *f)
{
	const char *start = at + 1, *p = start;
	bool doubled = false;
	for (;;) {
		p = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
		if (!p)
			return NULL;
		if (p + 1 < end && p[1] == '"') {
			doubled = true;
			p += 2;
			continue;
		}
		break;
	}
	f->quoted = true;
	if (!doubled) {
		f->start = (size_t)(start - line);
		f->len = (size_t)(p - start);
	} else {
		f->in_unescaped = true;
		f->start = r->unescaped.len;
		for (const char *q = start; q < p; q++) {
			buf_addc(&r->unescaped, *q);
			q += *q == '"';
		}
		f->len = r->unescaped.len - f->start;
	}
	return p + 1;
}

/* Splits a record (without its line end).  NULL, or why strict parsing rejects it. */
static const char *split(struct records *r, const char *line, size_t len)
{
	const char *p = line, *end = line + len;
	r->field_count = 0;
	buf_clear(&r->unescaped);
	for (;;) {
		struct field *f = field_new(r);
		if (!f)
			return "out of memory";
		*f = (struct field){ 0, 0, false, false };
		if (p < end && *p == '"') {
			p = quoted_field(r, line, p, end, f);
			if (!p)
				return "a quote is not closed";
			if (p < end && *p != r->separator)
				return "text after a closing quote";
		} else {
			const char *stop = memchr(p, r->separator, (size_t)(end - p));
			stop = stop ? stop : end;
			f->start = (size_t)(p - line);
			f->len = (size_t)(stop - p);
			if (memchr(p, '"', f->len))
				return "a quote inside an unquoted field";
			p = stop;
		}
		if (p == end)
			return buf_check(&r->unescaped) ? "out of memory" : NULL;
		p++;
	}
}

static const char *field_text(const struct records *r, const struct field *f, const char *line)
{
	return f->in_unescaped ? buf_text(&r->unescaped) + f->start : line + f->start;
}

/* The separator that the head holds most of, outside quotes; ',' when there is none. */
static char sniff_separator(const char *line, size_t len)
{
	static const char candidates[] = { ',', ';', '\t', '|' };
	size_t counts[4] = { 0, 0, 0, 0 }, best = 0;
	bool quoted = false;
	for (size_t i = 0; i < len; i++) {
		quoted ^= line[i] == '"';
		for (size_t k = 0; !quoted && k < 4; k++)
			counts[k] += line[i] == candidates[k];
	}
	for (size_t k = 1; k < 4; k++)
		if (counts[k] > counts[best])
			best = k;
	return candidates[best];
}

static int read_head(struct records *r, const char *line, size_t len)
{
	if (!r->separator)
		r->separator = sniff_separator(line, len);
	const char *broken = split(r, line, len);
	r->header_pending = false;
	if (broken)
		return r->call.on_record ? r->call.on_record(r->call.arg, 0, r->line_number, broken) : 0;
	r->order = calloc(r->field_count, sizeof *r->order);
	if (!r->order)
		return -ENOMEM;
	r->order_count = r->field_count;
	for (size_t i = 0; i < r->field_count; i++) {
		int code = records_column(r, field_text(r, &r->fields[i], line), r->fields[i].len, &r->order[i]);
		if (code)
			return code;
		r->present[r->order[i]] = true;
	}
	return 0;
}

static bool given_room(struct records *r, size_t count)
{
	if (count <= r->given_capacity)
		return true;
	const size_t capacity = count < 32 ? 32 : count * 2;
	struct record_field *more = realloc(r->given, capacity * sizeof *more);
	if (!more)
		return false;
	r->given = more;
	r->given_capacity = capacity;
	return true;
}

/* Hands over `count` fields that are in `given`, or why the record is broken. */
static int give(struct records *r, size_t count, const char *broken)
{
	int code = 0;
	r->number++;
	if (!broken && count != r->order_count)
		broken = count < r->order_count ? "too few fields" : "too many fields";
	if (!broken && r->call.on_fields)
		code = r->call.on_fields(r->call.arg, r->order, r->given, count);
	for (size_t i = 0; !broken && !r->call.on_fields && i < count && !code; i++)
		code = r->call.on_value(r->call.arg, r->order[i], r->given[i].kind, r->given[i].text, r->given[i].len);
	return code ? code : r->call.on_record(r->call.arg, r->number, r->line_number, broken);
}

int records_csv_record(struct records *r, const char *line, size_t len)
{
	if (r->header_pending)
		return read_head(r, line, len);
	if (!r->separator)
		r->separator = sniff_separator(line, len);
	const char *broken = split(r, line, len);
	if (!broken && !given_room(r, r->field_count))
		return -ENOMEM;
	for (size_t i = 0; !broken && i < r->field_count; i++) {
		const struct field *f = &r->fields[i];
		r->given[i] = (struct record_field){ field_text(r, f, line), f->len, f->len || f->quoted ? VALUE_TEXT : VALUE_NULL };
	}
	return give(r, r->field_count, broken);
}

/* -- many records in one go ------------------------------------------------------- */

/* A quoted field, quotes included: the scanner saw that they are right.  A field with doubled quotes goes to `unescaped`, and has no text until
 * take_unescaped gives it one. */
static void take_quoted(struct records *r, const char *text, size_t len, struct record_field *ret, uint64_t *lines)
{
	const char *p = text + 1, *end = text + len - 1;
	*ret = (struct record_field){ p, len - 2, VALUE_TEXT };
	for (const char *q = p; (q = memchr(q, '\n', (size_t)(end - q))); q++)
		++*lines;
	const char *quote = memchr(p, '"', (size_t)(end - p));
	if (!quote)
		return;
	const size_t before = r->unescaped.len;
	for (; quote; quote = memchr(p, '"', (size_t)(end - p))) {
		buf_add(&r->unescaped, p, (size_t)(quote + 1 - p));
		p = quote + 2;
	}
	buf_add(&r->unescaped, p, (size_t)(end - p));
	ret->text = NULL;
	ret->len = r->unescaped.len - before;
}

static int take_unescaped(struct records *r, size_t count)
{
	const char *at = r->unescaped.data;
	if (buf_check(&r->unescaped))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!r->given[i].text) {
			r->given[i].text = at;
			at += r->given[i].len;
		}
	return 0;
}

/* A record that is under way. */
struct walk {
	const char *bytes;
	size_t record, field; /* where they start */
	size_t count;	      /* fields so far */
	uint64_t lines;	      /* in its quotes */
};

static void take_field(struct records *r, struct walk *w, size_t end)
{
	const char *text = w->bytes + w->field;
	size_t len = end - w->field;
	struct record_field *f = &r->given[w->count++];
	if (len && text[len - 1] == '\r' && w->bytes[end] == '\n')
		len--;
	if (len && *text == '"')
		take_quoted(r, text, len, f, &w->lines);
	else
		*f = (struct record_field){ text, len, len ? VALUE_TEXT : VALUE_NULL };
	w->field = end + 1;
}

static int take_record(struct records *r, struct walk *w)
{
	const bool blank = w->count == 1 && r->given[0].kind == VALUE_NULL && r->order_count != 1;
	int code = w->field - 1 - w->record > RECORD_BYTES_MAX ? -EFBIG : 0;
	if (!code && r->unescaped.len)
		code = take_unescaped(r, w->count);
	if (!code && !blank)
		code = give(r, w->count, NULL);
	buf_clear(&r->unescaped);
	r->line_number = r->line_next += w->lines + 1;
	w->record = w->field;
	w->count = w->lines = 0;
	return code;
}

int records_csv_many(struct records *r, const char *bytes, size_t len, size_t *ret_used)
{
	struct csv_scan s;
	struct walk w = { .bytes = bytes };
	int code = 0;
	csv_scan_start(&s, bytes, len < UINT32_MAX / 2 ? len : UINT32_MAX / 2, 0, r->separator);
	buf_clear(&r->unescaped);
	while (!code && !s.done && !s.broken) {
		const size_t n = r->scan(&s, r->positions, sizeof r->positions / sizeof *r->positions);
		for (size_t i = 0; i < n && !code; i++) {
			const size_t at = r->positions[i];
			if (w.count == r->given_capacity && !given_room(r, w.count + 1))
				return -ENOMEM;
			take_field(r, &w, at);
			if (bytes[at] == '\n')
				code = take_record(r, &w);
		}
	}
	buf_clear(&r->unescaped); /* of a record that goes on behind the piece */
	*ret_used = w.record;
	return code;
}
