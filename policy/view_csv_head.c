/* The head of separated text: which separator, which columns. */
#include "policy/view_csv.h"

#include "catalog/csv_scan.h"
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 65536

void csv_head_fini(struct csv_head *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->fields[i].name);
	free(r->fields);
	*r = (struct csv_head){ NULL, 0, 0 };
}

/* The text of a raw field: itself, or what stands in its quotes with doubled quotes single, in `scratch` when it has any.  */
const char *csv_field_text(const char *raw, size_t raw_len, char *scratch, size_t *ret_len)
{
	if (!raw_len || raw[0] != '"') {
		*ret_len = raw_len;
		return raw;
	}
	const char *p = raw + 1, *end = raw + raw_len - 1, *quote;
	if (!memchr(p, '"', (size_t)(end - p))) {
		*ret_len = (size_t)(end - p);
		return p;
	}
	char *out = scratch;
	while ((quote = memchr(p, '"', (size_t)(end - p)))) {
		memcpy(out, p, (size_t)(quote - p) + 1);
		out += quote - p + 1;
		p = quote + 2;
		if (p > end)
			p = end;
	}
	memcpy(out, p, (size_t)(end - p));
	*ret_len = (size_t)(out - scratch) + (size_t)(end - p);
	return scratch;
}

static int record_add(struct csv_head *r, const char *raw, size_t raw_len)
{
	if (r->count % 64 == 0) {
		struct csv_field *fields = realloc(r->fields, (r->count + 64) * sizeof *fields);
		if (!fields)
			return -ENOMEM;
		r->fields = fields;
	}
	char *name = malloc(raw_len + 1);
	if (!name)
		return -ENOMEM;
	size_t n;
	const char *text = csv_field_text(raw, raw_len, name, &n);
	if (text != name)
		memcpy(name, text, n);
	name[n] = 0;
	r->fields[r->count++] = (struct csv_field){ raw, raw_len, name, n };
	return 0;
}

/* Reads the record at the start of `bytes` strictly.  -EAGAIN when it does not end there, -EBADMSG when it is broken. */
static int record_read(const char *bytes, size_t len, bool whole, char separator, struct csv_head *ret)
{
	uint32_t positions[512];
	struct csv_scan s;
	struct csv_head r = { NULL, 0, 0 };
	size_t start = 0;
	int code = 0;
	csv_scan_start(&s, bytes, len, 0, separator);
	while (!code) {
		size_t n = csv_scan_scalar(&s, positions, sizeof positions / sizeof *positions);
		for (size_t i = 0; i < n && !code && !r.len; i++) {
			size_t end = positions[i];
			if (bytes[end] == '\n')
				r.len = end + 1;
			if (r.len && end > start && bytes[end - 1] == '\r')
				end--;
			code = r.count == COLUMNS_MAX ? -E2BIG : record_add(&r, bytes + start, end - start);
			start = positions[i] + 1;
		}
		if (code || r.len)
			break;
		if (s.broken)
			code = s.at >= len && !whole ? -EAGAIN : -EBADMSG;
		if (!s.done)
			continue;
		code = whole ? record_add(&r, bytes + start, len - start) : -EAGAIN;
		r.len = len;
		break;
	}
	if (code)
		csv_head_fini(&r);
	else
		*ret = r;
	return code;
}

size_t csv_bom_len(const char *bytes, size_t len)
{
	return len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

const struct doc_node *csv_contract_property(const struct transform *t, const char *name)
{
	const struct doc_node *list = t->object ? doc_get(t->object->node, "customProperties") : NULL;
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *property = doc_get_text(doc_item(list, i), "property");
		if (property && strcmp(property, name) == 0)
			return doc_get(doc_item(list, i), "value");
	}
	return NULL;
}

/* The contract's columns that can be fields: not those that hold others. */
static size_t contract_fields(const struct transform *t, const struct contract_column **ret, size_t room)
{
	size_t n = 0;
	for (size_t i = 0; t->object && i < t->object->column_count; i++) {
		const struct contract_column *c = &t->object->columns[i];
		if (c->type != TYPE_OBJECT && c->type != TYPE_ARRAY && n < room)
			ret[n++] = c;
	}
	return n;
}

/* How well the record reads as the header (or, without one, as a record) of the contract's columns. */
size_t csv_head_score(const struct transform *t, const struct csv_head *r, bool header)
{
	size_t score = 0;
	if (!header)
		return r->count;
	for (size_t i = 0; i < r->count; i++)
		score += view_column_named(t, r->fields[i].name, r->fields[i].name_len);
	return score;
}

/* The separators to try, by the contract, the name, or the usual ones. */
static const char *separators(const struct transform *t, const char *path, char given[2])
{
	const char *text = doc_text(csv_contract_property(t, "separator"));
	if (!text)
		text = doc_text(csv_contract_property(t, "delimiter"));
	if (text && strcmp(text, "\\t") == 0)
		text = "\t";
	if (text && strlen(text) == 1 && !strchr("\"\r\n", *text)) {
		given[0] = *text;
		given[1] = 0;
		return given;
	}
	const char *format = view_format(path);
	return format[0] == 't' ? "\t" : format[0] == 'p' ? "|" : ",;\t|";
}

/* Reads the first record with the separator under which it fits the contract best. */
int csv_head_read(const struct transform *t, const char *path, const char *bytes, size_t len, bool whole, bool header, char *ret_separator,
		     struct csv_head *ret, struct err *e)
{
	char given[2];
	size_t best = 0;
	int code = -EBADMSG;
	struct csv_head found = { NULL, 0, 0 };
	for (const char *s = separators(t, path, given); *s; s++) {
		struct csv_head r;
		int c = record_read(bytes, len, whole, *s, &r);
		if (c == -EBADMSG)
			continue;
		if (c != 0) {
			csv_head_fini(&found);
			return c == -EAGAIN ? c : err_set(e, c == -E2BIG ? -EACCES : c, "%s: the header cannot be read", path);
		}
		size_t score = csv_head_score(t, &r, header);
		if (code == 0 && score <= best) {
			csv_head_fini(&r);
			continue;
		}
		csv_head_fini(&found);
		found = r;
		best = score;
		*ret_separator = *s;
		code = 0;
	}
	if (code != 0)
		return err_set(e, -EACCES, "%s: the header is not well-formed separated text", path);
	*ret = found;
	return 0;
}

int csv_head_of_contract(const struct transform *t, const char *path, struct csv_head *ret, struct err *e)
{
	size_t room = t->object ? t->object->column_count : 0, n = 0;
	const struct contract_column **columns = calloc(room + 1, sizeof *columns);
	struct csv_head r = { NULL, 0, 0 };
	int code = columns ? 0 : -ENOMEM;
	if (columns)
		n = contract_fields(t, columns, room);
	for (size_t i = 0; i < n && !code; i++) {
		code = record_add(&r, columns[i]->name, strlen(columns[i]->name));
	}
	free(columns);
	if (!code && !n)
		code = -EACCES;
	if (code) {
		csv_head_fini(&r);
		return code == -EACCES ? err_set(e, code, "%s: there is no header, and the contract names no columns", path) :
					 err_set(e, code, "out of memory");
	}
	*ret = r;
	return 0;
}
