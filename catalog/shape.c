#include "catalog/shape.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int shape_bad(struct checker *k, const struct doc_node *n, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX / 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return doc_err(k->doc, n, k->err, "%s", text);
}

/* -- single values --------------------------------------------------------------- */

static bool is_number(const struct doc_node *n)
{
	double v;
	return doc_double(n, &v) == 0;
}

static bool is_text(const struct doc_node *n)
{
	bool flag;
	return doc_text(n) && (doc_quoted(n) || (!is_number(n) && doc_bool(n, &flag) != 0));
}

static bool is_moment(const char *text, bool with_time)
{
	int64_t ns;
	if (!text || clock_parse_text(text, strlen(text), &ns))
		return false;
	return !with_time || strpbrk(text, "Tt ") != NULL;
}

static bool is_stable_id(const struct doc_node *n)
{
	const char *t = is_text(n) ? doc_text(n) : NULL;
	return t && *t && strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(t);
}

static bool is_texts(const struct doc_node *n)
{
	if (doc_kind(n) != DOC_LIST)
		return false;
	for (size_t i = 0; i < doc_count(n); i++)
		if (!is_text(doc_item(n, i)))
			return false;
	return true;
}

static bool is_pair(const struct doc_node *n)
{
	double low, high;
	return doc_kind(n) == DOC_LIST && doc_count(n) == 2 && !doc_double(doc_item(n, 0), &low) && !doc_double(doc_item(n, 1), &high) && low < high;
}

/* What the value must be, or NULL when it is. */
static const char *mismatch(const struct field *f, const struct doc_node *n)
{
	bool flag;
	int64_t whole;
	double number;
	switch (f->type) {
	case TEXT:
		return is_text(n) ? NULL : doc_text(n) ? "a text (put it in quotes)" : "a text";
	case STABLE_ID:
		return is_stable_id(n) ? NULL : "an id of letters, digits, '_' and '-'";
	case FLAG:
		return doc_bool(n, &flag) == 0 ? NULL : "true or false";
	case NUMBER:
		return is_number(n) ? NULL : "a number";
	case POSITIVE:
		return doc_double(n, &number) == 0 && number > 0 ? NULL : "a number above 0";
	case INTEGER:
		return doc_int(n, &whole) == 0 ? NULL : "a whole number";
	case COUNT:
		return doc_int(n, &whole) == 0 && whole >= 0 ? NULL : "a whole number of 0 or more";
	case DATE:
		return is_moment(doc_text(n), false) ? NULL : "a date such as 2026-11-22";
	case TIME:
		return is_moment(doc_text(n), true) ? NULL : "a date and time such as 2026-11-22T08:00:00Z";
	case SCALAR:
		return doc_kind(n) == DOC_SCALAR || doc_kind(n) == DOC_NULL ? NULL : "a single value";
	case TEXTS:
		return is_texts(n) ? NULL : "a list of texts";
	case PAIR:
		return is_pair(n) ? NULL : "a list of two numbers, the smaller one first";
	case LIST:
		return doc_kind(n) == DOC_LIST ? NULL : "a list";
	case MAP:
	case SHAPE:
		return doc_kind(n) == DOC_MAP ? NULL : "a map";
	case SHAPES:
		return doc_kind(n) == DOC_LIST ? NULL : "a list of maps";
	case ANY:
	case SOMETHING:
		break;
	}
	return NULL;
}

static int check_allowed(struct checker *k, const struct field *f, const struct doc_node *n)
{
	size_t count = 0;
	for (; f->allowed[count]; count++)
		if (!strcmp(f->allowed[count], doc_text(n)))
			return 0;
	const char *near = text_nearest(doc_text(n), f->allowed, count);
	if (near)
		return shape_bad(k, n, "'%s' is not a value of '%s' (did you mean '%s'?)", doc_text(n), f->name, near);
	char list[400] = "";
	for (size_t i = 0; i < count && strlen(list) + strlen(f->allowed[i]) + 3 < sizeof list; i++) {
		if (i)
			strcat(list, ", ");
		strcat(list, f->allowed[i]);
	}
	return shape_bad(k, n, "'%s' is not a value of '%s'; allowed are %s", doc_text(n), f->name, list);
}

int shape_check_field(struct checker *k, const struct field *f, const struct doc_node *n)
{
	const char *wanted = mismatch(f, n);
	if (wanted)
		return shape_bad(k, n, "'%s' must be %s", f->name, wanted);
	if (f->allowed && f->type == TEXT)
		return check_allowed(k, f, n);
	if (f->type == SHAPE)
		return shape_check(k, n, f->shape);
	for (size_t i = 0; f->type == SHAPES && i < doc_count(n); i++) {
		if (doc_kind(doc_item(n, i)) != DOC_MAP)
			return shape_bad(k, doc_item(n, i), "%s must be a map", f->shape->what);
		int r = shape_check(k, doc_item(n, i), f->shape);
		if (r)
			return r;
	}
	return 0;
}

/* A key that is nearly one of the shape's fields. */
static int check_unknown(struct checker *k, const struct doc_node *n, size_t i, const struct shape *shape)
{
	const char *names[64], *key = doc_key(n, i);
	size_t count = 0;
	for (const struct field *f = shape->fields; f->name && count < 64; f++)
		names[count++] = f->name;
	const char *near = strlen(key) > 3 ? text_nearest(key, names, count) : NULL;
	if (near && !doc_get(n, near))
		return shape_bad(k, doc_key_node(n, i), "%s has no field '%s' (did you mean '%s'?)", shape->what, key, near);
	return 0;
}

/* "required:" without a value is no "required: false": it may be what was forgotten. */
static int check_given(struct checker *k, const struct field *f, const struct doc_node *key, const struct doc_node *n)
{
	if (doc_kind(n) != DOC_NULL)
		return shape_check_field(k, f, n);
	return f->type == SCALAR || f->type == ANY ? 0 : shape_bad(k, key, "'%s' has no value: give it one, or take the line away", f->name);
}

int shape_check(struct checker *k, const struct doc_node *n, const struct shape *shape)
{
	if (++k->maps > SHAPE_MAPS_MAX)
		return shape_bad(k, n, "more than %u maps in a document", SHAPE_MAPS_MAX);
	for (const struct field *f = shape->fields; f->name; f++) {
		const struct doc_node *value = doc_get(n, f->name);
		if (f->required && (!value || (doc_kind(value) == DOC_NULL && f->type != SCALAR && f->type != ANY)))
			return shape_bad(k, n, "%s must have '%s'", shape->what, f->name);
	}
	for (size_t i = 0; i < doc_count(n); i++) {
		const struct field *f = shape->fields;
		while (f->name && strcmp(f->name, doc_key(n, i)) != 0)
			f++;
		int r;
		if (!f->name)
			r = check_unknown(k, n, i, shape);
		else
			r = check_given(k, f, doc_key_node(n, i), doc_item(n, i));
		if (r)
			return r;
	}
	return shape->extra ? shape->extra(k, n) : 0;
}

int shape_check_doc(const struct doc *d, const struct shape *shape, struct err *e)
{
	struct checker k = { d, e, 0 };
	return shape_check(&k, doc_root(d), shape);
}

/* -- what both standards write alike ----------------------------------------------------------- */

const struct shape shape_custom_property = {
	"a custom property",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("property", TEXT), REQUIRED("value", ANY), OPTIONAL("description", TEXT)), NULL
};

const struct shape shape_definition = {
	"an authoritative definition",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("url", TEXT), REQUIRED("type", TEXT), OPTIONAL("description", TEXT)), NULL
};

const struct shape shape_member = {
	"a team member",
	FIELDS(OPTIONAL("id", STABLE_ID), REQUIRED("username", TEXT), OPTIONAL("name", TEXT), OPTIONAL("description", TEXT),
	       OPTIONAL("role", TEXT), OPTIONAL("dateIn", DATE), OPTIONAL("dateOut", DATE), OPTIONAL("replacedByUsername", TEXT),
	       OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS),
	NULL
};

static const struct shape team = {
	"'team'",
	FIELDS(OPTIONAL("id", STABLE_ID), OPTIONAL("name", TEXT), OPTIONAL("description", TEXT), OF_SHAPE("members", SHAPES, shape_member),
	       OPTIONAL("tags", TEXTS), CUSTOM, DEFINITIONS),
	NULL
};

int shape_check_team(struct checker *k, const struct doc_node *n)
{
	const struct doc_node *t = doc_get(n, "team");
	if (doc_kind(t) == DOC_NULL)
		return 0;
	struct field f = { "team", doc_kind(t) == DOC_LIST ? SHAPES : SHAPE, false, doc_kind(t) == DOC_LIST ? &shape_member : &team, NULL };
	return shape_check_field(k, &f, t);
}
