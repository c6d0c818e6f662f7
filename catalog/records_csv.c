/* The CSV half of records.h: fields. */
#include "catalog/records_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- fields ------------------------------------------------------------------------ */

/* Room for so many fields of a record. */
static int fields_reserve(struct records *r, size_t count)
{
	size_t capacity = r->field_capacity ? r->field_capacity : 32;
	if (count <= r->field_capacity)
		return 0;
	while (capacity < count)
		capacity *= 2;
	struct record_field *more = realloc(r->fields, capacity * sizeof *more);
	if (!more)
		return -ENOMEM;
	r->fields = more;
	r->field_capacity = capacity;
	return 0;
}

static struct record_field plain_field(const char *text, size_t len)
{
	return (struct record_field){ text, len, len ? VALUE_TEXT : VALUE_NULL };
}

/* What stands between the quotes.  A field with doubled quotes goes to `unescaped`, and has no text until take_unescaped gives it one. */
static struct record_field quoted_field(struct records *r, const char *p, const char *end)
{
	const char *quote = memchr(p, '"', (size_t)(end - p));
	if (!quote)
		return (struct record_field){ p, (size_t)(end - p), VALUE_TEXT };
	const size_t before = r->unescaped.len;
	for (; quote; quote = memchr(p, '"', (size_t)(end - p))) {
		buf_add(&r->unescaped, p, (size_t)(quote + 1 - p));
		p = quote + 2;
	}
	buf_add(&r->unescaped, p, (size_t)(end - p));
	return (struct record_field){ NULL, r->unescaped.len - before, VALUE_TEXT };
}

static int take_unescaped(struct records *r, size_t count)
{
	const char *at = r->unescaped.data;
	if (buf_check(&r->unescaped))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!r->fields[i].text) {
			r->fields[i].text = at;
			at += r->fields[i].len;
		}
	return 0;
}

/* -- one record by itself ---------------------------------------------------------- */

/* The closing quote of a field whose opening one is before `p`; NULL: there is none. */
static const char *closing_quote(const char *p, const char *end)
{
	while (p < end && (p = memchr(p, '"', (size_t)(end - p)))) {
		if (p + 1 == end || p[1] != '"')
			return p;
		p += 2;
	}
	return NULL;
}

/* Splits a record (without its line end).  NULL, or why strict parsing rejects it. */
static const char *split(struct records *r, const char *line, size_t len, size_t *ret_count)
{
	const char *p = line, *end = line + len;
	size_t count = 0;
	buf_clear(&r->unescaped);
	for (;; p++) {
		const char *stop;
		if (fields_reserve(r, count + 1))
			return "out of memory";
		struct record_field *f = &r->fields[count++];
		if (p < end && *p == '"') {
			if (!(stop = closing_quote(p + 1, end)))
				return "a quote is not closed";
			*f = quoted_field(r, p + 1, stop++);
			if (stop < end && *stop != r->separator)
				return "text after a closing quote";
		} else {
			stop = memchr(p, r->separator, (size_t)(end - p));
			stop = stop ? stop : end;
			if (memchr(p, '"', (size_t)(stop - p)))
				return "a quote inside an unquoted field";
			*f = plain_field(p, (size_t)(stop - p));
		}
		p = stop;
		if (p == end)
			break;
	}
	*ret_count = count;
	return take_unescaped(r, count) ? "out of memory" : NULL;
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
	size_t count = 0;
	const char *broken = split(r, line, len, &count);
	r->header_pending = false;
	if (broken)
		return r->call.on_record ? r->call.on_record(r->call.arg, 0, r->line_number, broken) : 0;
	r->order = calloc(count, sizeof *r->order);
	if (!r->order)
		return -ENOMEM;
	r->order_count = count;
	for (size_t i = 0; i < count; i++) {
		int code = records_column(r, r->fields[i].text, r->fields[i].len, &r->order[i]);
		if (code)
			return code;
		r->repeated |= r->present[r->order[i]] && r->fields[i].len;
		r->present[r->order[i]] = true;
	}
	return 0;
}

bool records_repeats_column(const struct records *r, uint32_t column)
{
	size_t times = 0;
	for (size_t i = 0; r->repeated && i < r->order_count; i++)
		times += r->order[i] == column;
	return times > 1 && *records_column_name(r, column);
}

/* Hands over the first `count` fields, or why the record is broken. */
static int give(struct records *r, size_t count, const char *broken)
{
	int code = 0;
	r->number++;
	if (!broken && count != r->order_count)
		broken = count < r->order_count ? "too few fields" : "too many fields";
	if (!broken && r->call.on_fields)
		code = r->call.on_fields(r->call.arg, r->order, r->fields, count);
	for (size_t i = 0; !broken && !r->call.on_fields && i < count && !code; i++)
		code = r->call.on_value(r->call.arg, r->order[i], r->fields[i].kind, r->fields[i].text, r->fields[i].len);
	return code ? code : r->call.on_record(r->call.arg, r->number, r->line_number, broken);
}

int records_csv_record(struct records *r, const char *line, size_t len)
{
	if (r->header_pending)
		return read_head(r, line, len);
	if (!r->separator)
		r->separator = sniff_separator(line, len);
	size_t count = 0;
	const char *broken = split(r, line, len, &count);
	return give(r, count, broken);
}

/* -- many records in one go ------------------------------------------------------- */

/* A record that is under way. */
struct walk {
	const char *bytes;
	size_t record, field; /* where they start */
	size_t count;	      /* fields so far */
	uint64_t lines;	      /* in its quotes */
};

/* The scanner saw that quotes are right; room is reserved. */
static inline void take_field(struct records *r, struct walk *w, size_t end, bool last)
{
	const char *text = w->bytes + w->field;
	size_t len = end - w->field;
	struct record_field *f = &r->fields[w->count++];
	if (last && len && text[len - 1] == '\r')
		len--;
	if (len && *text == '"') {
		*f = quoted_field(r, text + 1, text + len - 1);
		for (const char *q = text; (q = memchr(q, '\n', (size_t)(text + len - q))); q++)
			w->lines++;
	} else {
		f->text = text;
		f->len = len;
		f->kind = len ? VALUE_TEXT : VALUE_NULL;
	}
	w->field = end + 1;
}

static int take_record(struct records *r, struct walk *w)
{
	const bool blank = w->count == 1 && r->fields[0].kind == VALUE_NULL && r->order_count != 1;
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
		code = fields_reserve(r, w.count + n);
		for (size_t i = 0; i < n && !code; i++) {
			const size_t at = r->positions[i];
			const bool last = bytes[at] == '\n';
			take_field(r, &w, at, last);
			if (last)
				code = take_record(r, &w);
		}
	}
	buf_clear(&r->unescaped); /* of a record that goes on behind the piece */
	*ret_used = w.record;
	return code;
}
