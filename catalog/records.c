#include "catalog/records_private.h"

#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/records_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

bool records_wants_whole(const struct records *r, uint32_t column)
{
	return r->object && column < r->object->column_count && r->object->columns[column].whole;
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
	r->scan = csv_scan_best();
	r->object = object;
	int code = 0;
	for (size_t i = 0; object && i < object->column_count && !code; i++) {
		uint32_t column;
		code = column_add(r, object->columns[i].name, strlen(object->columns[i].name), &column);
		r->wholes |= callbacks->on_item && object->columns[i].whole;
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
		code = records_csv_record(r, line, len);
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
		if (!r->line.len && !r->header_pending && r->separator && r->format == RECORDS_CSV && r->before == '\n') {
			size_t used;
			int code = records_csv_many(r, p, (size_t)(end - p), &used);
			p += used;
			if (code || p == end)
				return code;
		}
		const char *newline = record_end(r, p, end);
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
