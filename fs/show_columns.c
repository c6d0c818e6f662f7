#include "fs/show_columns.h"

#include "catalog/base/text.h"
#include "fs/browse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHARE_CHANGE_LEAST 0.0005 /* of nulls: less is not told in lines for people */
#define NAMES_TOLD 5              /* values that are new, or gone */
#define MEDIAN 2                  /* among the quantiles (catalog/distribution.h) */

static const struct doc_node *columns_of(const struct doc *d)
{
	return d ? doc_get(doc_root(d), "columns") : NULL;
}

static bool is_column(const struct doc_node *c, const struct doc_node *other)
{
	const char *object = doc_get_text(c, "object"), *name = doc_get_text(c, "column");
	const char *object2 = doc_get_text(other, "object"), *name2 = doc_get_text(other, "column");
	return object && name && object2 && name2 && !strcmp(object, object2) && !strcmp(name, name2);
}

static const struct doc_node *find(const struct doc_node *columns, const struct doc_node *like)
{
	for (size_t i = 0; i < doc_count(columns); i++)
		if (is_column(doc_item(columns, i), like))
			return doc_item(columns, i);
	return NULL;
}

/* -- lines for people --------------------------------------------------------------------------- */

struct line {
	struct buf *out;
	size_t told;
};

static void start(struct line *l, const char *what)
{
	buf_addf(l->out, "%s%s ", l->told++ ? ", " : "", what);
}

static double share_of_nulls(const struct doc_node *c)
{
	int64_t values = 0, nulls = 0;
	doc_int(doc_get(c, "values"), &values);
	doc_int(doc_get(c, "nulls"), &nulls);
	return values + nulls > 0 ? (double)nulls / (double)(values + nulls) : 0;
}

/* "what before -> after" when the texts differ. */
static void pair(struct line *l, const char *what, const char *before, const char *after)
{
	if (!before || !after || !strcmp(before, after))
		return;
	start(l, what);
	browse_add_safe(l->out, before);
	buf_adds(l->out, " -> ");
	browse_add_safe(l->out, after);
}

static bool has_value(const struct doc_node *top, const char *value)
{
	for (size_t i = 0; i < doc_count(top); i++) {
		const char *other = doc_get_text(doc_item(top, i), "value");
		if (other && !strcmp(other, value))
			return true;
	}
	return false;
}

/* Common values of `of` that `other` does not have. */
static void names(struct line *l, const char *what, const struct doc_node *of, const struct doc_node *other)
{
	size_t n = 0;
	for (size_t i = 0; i < doc_count(of) && n < NAMES_TOLD; i++) {
		const char *value = doc_get_text(doc_item(of, i), "value");
		if (!value || has_value(other, value))
			continue;
		if (n++)
			buf_addc(l->out, ' ');
		else
			start(l, what);
		browse_add_safe(l->out, value);
	}
}

static void differences(struct line *l, const struct doc_node *a, const struct doc_node *b)
{
	double before = share_of_nulls(a), after = share_of_nulls(b);
	if (fabs(after - before) >= SHARE_CHANGE_LEAST) {
		start(l, "nulls");
		buf_addf(l->out, "%.1f%% -> %.1f%%", 100 * before, 100 * after);
	}
	pair(l, "distinct", doc_get_text(a, "distinct"), doc_get_text(b, "distinct"));
	pair(l, "min", doc_get_text(a, "min"), doc_get_text(b, "min"));
	pair(l, "median", doc_text(doc_item(doc_get(a, "quantiles"), MEDIAN)), doc_text(doc_item(doc_get(b, "quantiles"), MEDIAN)));
	pair(l, "max", doc_get_text(a, "max"), doc_get_text(b, "max"));
	const struct doc_node *top = doc_get(a, "top"), *now = doc_get(b, "top");
	if (top && now) {
		names(l, "new among the commonest", now, top);
		names(l, "no longer among them", top, now);
	}
}

static size_t column_line(const struct doc_node *a, const struct doc_node *b, struct buf *out)
{
	struct buf text = BUF_INIT;
	struct line l = { &text, 0 };
	const struct doc_node *c = a ? a : b;
	if (a && b)
		differences(&l, a, b);
	else
		buf_adds(&text, a ? "is gone" : "is new");
	bool tells = text.len > 0;
	if (tells) {
		char *name = text_format("%s.%s", doc_get_text(c, "object"), doc_get_text(c, "column"));
		char *safe = name ? text_printable(name, strlen(name)) : NULL;
		buf_addf(out, "  %-24s %s\n", safe ? safe : "?", buf_text(&text));
		free(name);
		free(safe);
	}
	buf_free(&text);
	return tells;
}

static void lines(const struct doc_node *a, const struct doc_node *b, struct buf *out)
{
	struct buf text = BUF_INIT;
	size_t told = 0;
	for (size_t i = 0; i < doc_count(a); i++)
		told += column_line(doc_item(a, i), find(b, doc_item(a, i)), &text);
	for (size_t i = 0; i < doc_count(b); i++)
		if (!find(a, doc_item(b, i)))
			told += column_line(NULL, doc_item(b, i), &text);
	buf_addf(out, "%-13s %s\n%s", "columns", told ? "" : "their values look the same", buf_text(&text));
	buf_free(&text);
}

/* -- JSON ------------------------------------------------------------------------------------------ */

/* Results come from the store: they are read and written again, never copied. */
static void side_json(struct json *j, const char *key, const struct doc_node *c)
{
	struct buf text = BUF_INIT;
	json_key(j, key);
	if (c)
		doc_to_json(c, &text);
	if (text.len && !buf_check(&text))
		json_raw(j, buf_text(&text));
	else
		json_null(j);
	buf_free(&text);
}

static void column_json(struct json *j, const struct doc_node *a, const struct doc_node *b)
{
	const struct doc_node *c = a ? a : b;
	json_open(j, '{');
	json_field_text(j, "object", doc_get_text(c, "object"));
	json_field_text(j, "column", doc_get_text(c, "column"));
	side_json(j, "before", a);
	side_json(j, "after", b);
	json_close(j, '}');
}

void show_column_changes(const struct doc *before, const struct doc *after, bool as_json, struct json *j, struct buf *out)
{
	const struct doc_node *a = columns_of(before), *b = columns_of(after);
	if (!as_json) {
		if (a && b)
			lines(a, b, out);
		return;
	}
	json_key(j, "columns");
	json_open(j, '[');
	for (size_t i = 0; i < doc_count(a); i++)
		column_json(j, doc_item(a, i), find(b, doc_item(a, i)));
	for (size_t i = 0; i < doc_count(b); i++)
		if (!find(a, doc_item(b, i)))
			column_json(j, NULL, doc_item(b, i));
	json_close(j, ']');
}
