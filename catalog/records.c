#include "catalog/records.h"

#include "catalog/base/buf.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/records_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct field {
	size_t start, len; /* in `line`, or in `unescaped` */
	bool quoted, in_unescaped;
};

struct records {
	enum record_format format;
	char separator;
	bool header_pending;
	struct records_callbacks call;
	struct map *by_name; /* column name → number + 1 */
	char **names;
	bool *present; /* CSV: the head names it */
	uint32_t count, capacity;
	struct buf line; /* the record under way, when it does not lie whole in one piece */
	bool in_quotes;  /* CSV: the piece ended inside a quoted field */
	char before;     /* CSV: the byte before the piece; '\n' at the start of a record */
	bool at_start;   /* nothing was fed yet: a byte order mark may follow */
	uint64_t number, line_number, line_next;
	struct field *fields;
	size_t field_count, field_capacity;
	struct buf unescaped;
	uint32_t *order; /* CSV: the column of each field of the head */
	size_t order_count;
	bool stops[256]; /* CSV: bytes that end a plain field, once the separator is known: it, a line end, a quote */
	struct records_json *json;
};

int records_format(const char *path, enum record_format *ret, char *ret_separator)
{
	static const struct {
		const char *suffix;
		enum record_format format;
		char separator;
	} known[] = { { ".csv", RECORDS_CSV, 0 }, { ".tsv", RECORDS_CSV, '\t' }, { ".psv", RECORDS_CSV, '|' },
		      { ".jsonl", RECORDS_JSONL, 0 }, { ".ndjson", RECORDS_JSONL, 0 } };
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (text_ends(path, known[i].suffix)) {
			*ret = known[i].format;
			*ret_separator = known[i].separator;
			return 0;
		}
	return -EOPNOTSUPP;
}

/* -- columns ------------------------------------------------------------------ */

static int column_add(struct records *r, const char *name, size_t len, uint32_t *ret)
{
	if (r->count >= RECORD_COLUMNS_MAX)
		return -E2BIG;
	if (r->count == r->capacity) {
		uint32_t capacity = r->capacity ? r->capacity * 2 : 32;
		char **names = realloc(r->names, capacity * sizeof *names);
		if (names)
			r->names = names;
		bool *present = names ? realloc(r->present, capacity * sizeof *present) : NULL;
		if (!present)
			return -ENOMEM;
		r->present = present;
		r->capacity = capacity;
	}
	char *copy = malloc(len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, name, len);
	copy[len] = '\0';
	r->names[r->count] = copy;
	r->present[r->count] = false;
	*ret = r->count++;
	if (!map_get(r->by_name, name, len))
		return map_set(r->by_name, name, len, (void *)(uintptr_t)(*ret + 1), NULL);
	return 0;
}

int records_column(struct records *r, const char *name, size_t len, uint32_t *ret)
{
	uintptr_t found = (uintptr_t)map_get(r->by_name, name, len);
	if (found) {
		*ret = (uint32_t)(found - 1);
		return 0;
	}
	int code = column_add(r, name, len, ret);
	if (!code && r->call.on_column)
		code = r->call.on_column(r->call.arg, *ret, name, len);
	return code;
}

static void separator_known(struct records *r)
{
	r->stops[(unsigned char)r->separator] = r->stops['\n'] = r->stops['"'] = true;
}

int records_new(enum record_format format, char separator, bool header, const struct contract_object *object,
		const struct records_callbacks *callbacks, struct records **ret)
{
	struct records *r = calloc(1, sizeof *r);
	if (!r || !(r->by_name = map_new())) {
		free(r);
		return -ENOMEM;
	}
	r->format = format;
	r->separator = separator;
	r->header_pending = format == RECORDS_CSV && header;
	r->call = *callbacks;
	r->at_start = true;
	r->before = '\n';
	r->line_number = r->line_next = 1;
	if (format == RECORDS_CSV && separator)
		separator_known(r);
	int code = 0;
	for (size_t i = 0; object && i < object->column_count && !code; i++) {
		uint32_t column;
		code = column_add(r, object->columns[i].name, strlen(object->columns[i].name), &column);
	}
	if (!code && format == RECORDS_JSONL)
		code = records_json_new(r, callbacks, &r->json);
	if (!code && format == RECORDS_CSV && !header) {
		r->order = calloc(r->count ? r->count : 1, sizeof *r->order);
		code = r->order ? 0 : -ENOMEM;
		for (uint32_t i = 0; r->order && i < r->count; i++) {
			r->order[i] = i;
			r->present[i] = true;
		}
		r->order_count = r->count;
	}
	if (code) {
		records_free(r);
		return code;
	}
	*ret = r;
	return 0;
}

void records_free(struct records *r)
{
	if (!r)
		return;
	for (uint32_t i = 0; i < r->count; i++)
		free(r->names[i]);
	free(r->names);
	free(r->present);
	free(r->fields);
	free(r->order);
	map_free(r->by_name, NULL);
	buf_free(&r->line);
	buf_free(&r->unescaped);
	records_json_free(r->json);
	free(r);
}

bool records_has_column(const struct records *r, uint32_t column)
{
	return column < r->count && (r->format == RECORDS_JSONL || r->present[column]);
}

uint32_t records_column_count(const struct records *r)
{
	return r->count;
}

const char *records_column_name(const struct records *r, uint32_t column)
{
	return column < r->count ? r->names[column] : NULL;
}

/* -- CSV ---------------------------------------------------------------------- */

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
	separator_known(r);
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

/* Hands over the fields of a record that was split, or why it could not be. */
static int csv_give(struct records *r, const char *line, const char *broken)
{
	r->number++;
	if (!broken && r->field_count != r->order_count)
		broken = r->field_count < r->order_count ? "too few fields" : "too many fields";
	for (size_t i = 0; !broken && i < r->field_count; i++) {
		const struct field *f = &r->fields[i];
		enum value_kind kind = f->len || f->quoted ? VALUE_TEXT : VALUE_NULL;
		int code = r->call.on_value(r->call.arg, r->order[i], kind, field_text(r, f, line), f->len);
		if (code)
			return code;
	}
	return r->call.on_record(r->call.arg, r->number, r->line_number, broken);
}

static int csv_record(struct records *r, const char *line, size_t len)
{
	if (r->header_pending)
		return read_head(r, line, len);
	if (!r->separator) {
		r->separator = sniff_separator(line, len);
		separator_known(r);
	}
	return csv_give(r, line, split(r, line, len));
}

/*
 * Most records: strict, and whole in the piece.  Finds their fields and their end in one go over the bytes; returns the newline, or NULL
 * without a trace where there is more to it (the general way then looks again).  Lines inside quotes are counted into *ret_lines.
 */
static const char *split_plain(struct records *r, const char *line, const char *end, uint64_t *ret_lines)
{
	const bool *stops = r->stops;
	const char *p = line;
	uint64_t lines = 1;
	r->field_count = 0;
	buf_clear(&r->unescaped);
	for (;;) {
		struct field *f = r->field_count < r->field_capacity ? &r->fields[r->field_count++] : field_new(r);
		if (!f)
			return NULL;
		*f = (struct field){ (size_t)(p - line), 0, false, false };
		if (p < end && *p == '"') {
			const char *start = p;
			p = quoted_field(r, line, p, end, f);
			for (const char *q = start; p && (q = memchr(q, '\n', (size_t)(p - q))); q++)
				lines++;
			if (p && p + 1 < end && *p == '\r' && p[1] == '\n')
				p++;
		} else {
			while (p < end && !stops[(unsigned char)*p])
				p++;
			f->len = (size_t)(p - line) - f->start;
			if (p < end && *p == '\n' && f->len && p[-1] == '\r')
				f->len--;
		}
		if (!p || p == end || (*p != r->separator && *p != '\n'))
			return NULL;
		if (*p == '\n')
			break;
		p++;
	}
	if (buf_check(&r->unescaped) || (r->field_count == 1 && !r->fields[0].len))
		return NULL;
	*ret_lines = lines;
	return p;
}

/* -- pieces to records ---------------------------------------------------------- */

/* JSONL: such a line is no record, and is not counted. */
static bool is_blank(const char *line, size_t len)
{
	size_t n = 0;
	while (n < len && (line[n] == ' ' || line[n] == '\t' || line[n] == '\r'))
		n++;
	return n == len;
}

static int one_record(struct records *r, const char *line, size_t len)
{
	if (len && line[len - 1] == '\r')
		len--;
	int code = 0;
	if (r->format == RECORDS_JSONL) {
		if (!is_blank(line, len))
			code = records_json_record(r->json, ++r->number, r->line_number, line, len);
	} else if (len || r->order_count == 1) {
		code = csv_record(r, line, len);
	}
	r->line_number = r->line_next;
	return code;
}

static bool is_separator(const struct records *r, char c)
{
	return r->separator ? c == r->separator : c && strchr(",;\t|", c) != NULL;
}

/* Where the record that starts at `p` ends: its newline, or NULL when it goes on beyond `end`.  Keeps `in_quotes` and counts lines. */
static const char *record_end(struct records *r, const char *p, const char *end)
{
	if (r->format == RECORDS_JSONL) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		r->line_next += newline != NULL;
		return newline;
	}
	for (const char *start = p; p < end;) {
		if (r->in_quotes) {
			const char *quote = memchr(p, '"', (size_t)(end - p));
			for (const char *q = p, *stop = quote ? quote : end; (q = memchr(q, '\n', (size_t)(stop - q))); q++)
				r->line_next++;
			if (!quote)
				return NULL;
			r->in_quotes = false;
			r->before = '"';
			p = quote + 1;
			continue;
		}
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		const char *quote = memchr(p, '"', (size_t)((newline ? newline : end) - p));
		if (quote) {
			/* A quote opens at the start of a field, or again right after it closed (a doubled one). */
			char before = quote > start ? quote[-1] : r->before;
			r->in_quotes = before == '"' || before == '\n' || is_separator(r, before);
			r->before = 0;
			p = quote + 1;
			start = p;
			continue;
		}
		r->before = newline ? '\n' : end[-1];
		r->line_next += newline != NULL;
		return newline;
	}
	return NULL;
}

int records_feed(struct records *r, const char *bytes, size_t len)
{
	const char *p = bytes, *end = bytes + len;
	if (r->at_start && len) {
		/* A mark that is torn over two pieces is not recognised; pieces are whole chunks. */
		if (len >= 3 && !memcmp(p, "\xef\xbb\xbf", 3))
			p += 3;
		r->at_start = false;
	}
	while (p < end) {
		uint64_t lines;
		const char *newline = r->line.len || r->header_pending || !r->stops['\n'] || r->before != '\n' ? NULL : split_plain(r, p, end, &lines);
		if (newline) {
			if (newline - p > RECORD_BYTES_MAX)
				return -EFBIG;
			int code = csv_give(r, p, NULL);
			r->line_number = r->line_next += lines;
			if (code)
				return code;
			p = newline + 1;
			continue;
		}
		newline = record_end(r, p, end);
		size_t n = (size_t)((newline ? newline : end) - p);
		if (r->line.len + n > RECORD_BYTES_MAX)
			return -EFBIG;
		if (!newline || r->line.len) {
			buf_add(&r->line, p, n);
			if (buf_check(&r->line))
				return -ENOMEM;
		}
		if (!newline)
			return 0;
		int code = r->line.len ? one_record(r, r->line.data, r->line.len) : one_record(r, p, n);
		buf_clear(&r->line);
		if (code)
			return code;
		p = newline + 1;
	}
	return 0;
}

bool records_between(const struct records *r)
{
	return !r->line.len && !r->in_quotes;
}

int records_end(struct records *r)
{
	if (!r->line.len)
		return 0;
	int code = one_record(r, r->line.data, r->line.len);
	buf_clear(&r->line);
	return code;
}
