#include "catalog/quality_form.h"

#include "catalog/base/buf.h"
#include "catalog/base/map.h"
#include "catalog/records_json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define ITEMS_COMPARED_MAX 100000u /* an array with more is not taken for one of unique items */

/* -- integers ------------------------------------------------------------------------------------- */

static const struct integer_form {
	const char *name, *highest, *lowest; /* digits, without a sign */
	double most, least;
} forms[] = {
	{ "i8", "127", "128", 127.0, -128.0 },
	{ "i16", "32767", "32768", 32767.0, -32768.0 },
	{ "i32", "2147483647", "2147483648", 2147483647.0, -2147483648.0 },
	{ "i64", "9223372036854775807", "9223372036854775808", 9223372036854775807.0, -9223372036854775808.0 },
	{ "i128", "170141183460469231731687303715884105727", "170141183460469231731687303715884105728", 170141183460469231731687303715884105727.0, -170141183460469231731687303715884105728.0 },
	{ "u8", "255", "0", 255.0, -0.0 },
	{ "u16", "65535", "0", 65535.0, -0.0 },
	{ "u32", "4294967295", "0", 4294967295.0, -0.0 },
	{ "u64", "18446744073709551615", "0", 18446744073709551615.0, -0.0 },
	{ "u128", "340282366920938463463374607431768211455", "0", 340282366920938463463374607431768211455.0, -0.0 },
};

const struct integer_form *integer_form_find(const char *name)
{
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
		if (!strcmp(forms[i].name, name))
			return &forms[i];
	return NULL;
}

static bool digits_at_most(const char *t, size_t n, const char *bound)
{
	while (n && *t == '0')
		t++, n--;
	if (n != strlen(bound))
		return n < strlen(bound);
	return memcmp(t, bound, n) <= 0;
}

bool integer_form_fits(const struct integer_form *f, struct cell *v)
{
	double number;
	if (!cell_number(v, &number))
		return false;
	/* Plain digits are compared exactly; other ways to write a number (1e3), and those that have no text, as a double. */
	const bool sign = v->len && (*v->text == '-' || *v->text == '+');
	size_t digits = 0;
	while (sign + digits < v->len && isdigit((unsigned char)v->text[sign + digits]))
		digits++;
	if (digits && sign + digits == v->len)
		return digits_at_most(v->text + sign, digits, *v->text == '-' ? f->lowest : f->highest);
	return number == floor(number) && number <= f->most && number >= f->least;
}

/* -- containers: the text is well formed, or the record is refused anyway ----------------------------- */

struct scan {
	const char *p, *end;
};

static void skip_space(struct scan *s)
{
	while (s->p < s->end && isspace((unsigned char)*s->p))
		s->p++;
}

static void skip_string(struct scan *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
		s->p += *s->p == '\\' && s->p + 1 < s->end;
	s->p += s->p < s->end;
}

/* To the end of a value; its text, without the space between, is added to `text` unless that is NULL. */
static void take_value(struct scan *s, struct buf *text)
{
	int depth = 0;
	while (s->p < s->end) {
		const char *start = s->p;
		const char c = *start;
		if (!depth && (c == ',' || c == ']' || c == '}'))
			return;
		if (c == '"')
			skip_string(s);
		else
			s->p++;
		depth += (c == '[' || c == '{') - (c == ']' || c == '}');
		if (text && !isspace((unsigned char)c))
			buf_add(text, start, (size_t)(s->p - start));
	}
}

/* Over the comma to the next; false at the closing bracket. */
static bool next(struct scan *s)
{
	skip_space(s);
	if (s->p < s->end && *s->p == ',')
		s->p++;
	skip_space(s);
	return s->p < s->end && *s->p != ']' && *s->p != '}';
}

static bool in_bounds(const struct doc_node *options, const char *least, const char *most, int64_t count)
{
	int64_t bound;
	return (doc_int(doc_get(options, least), &bound) || count >= bound) && (doc_int(doc_get(options, most), &bound) || count <= bound);
}

/* Was the item there before?  1, 0 or -ENOMEM. */
static int is_repeated(struct map *seen, const struct buf *item)
{
	if (buf_check(item))
		return -ENOMEM;
	return map_get(seen, buf_text(item), item->len) ? 1 : map_set(seen, buf_text(item), item->len, seen, NULL);
}

static int array_fits(const struct doc_node *options, struct scan *s)
{
	bool unique = false;
	int repeated = 0;
	int64_t count = 0;
	doc_bool(doc_get(options, "uniqueItems"), &unique);
	struct map *seen = unique ? map_new() : NULL;
	struct buf item = BUF_INIT;
	while (next(s)) {
		buf_clear(&item);
		take_value(s, seen ? &item : NULL);
		count++;
		if (seen && !repeated)
			repeated = count > ITEMS_COMPARED_MAX ? 1 : is_repeated(seen, &item);
	}
	buf_free(&item);
	map_free(seen, NULL);
	if (repeated < 0 || (unique && !seen))
		return -ENOMEM;
	return in_bounds(options, "minItems", "maxItems", count) && !repeated;
}

static bool object_fits(const struct doc_node *options, struct scan *s)
{
	const struct doc_node *required = doc_get(options, "required");
	size_t found = 0;
	int64_t count = 0;
	while (next(s)) {
		const char *name = s->p + 1;
		skip_string(s);
		const size_t len = (size_t)(s->p - name) - 1;
		for (size_t i = 0; i < doc_count(required); i++) {
			const char *wanted = doc_text(doc_item(required, i));
			found += strlen(wanted) == len && !memcmp(wanted, name, len);
		}
		take_value(s, NULL);
		count++;
	}
	return in_bounds(options, "minProperties", "maxProperties", count) && found >= doc_count(required);
}

int container_fits(const struct doc_node *options, const struct cell *v)
{
	struct scan s = { v->text, v->text + v->len };
	if (!v->len)
		return false; /* its text was not kept: nothing is known of it */
	s.p++;
	return v->kind == VALUE_ARRAY ? array_fits(options, &s) : object_fits(options, &s);
}

/* 1; 0: it cannot be read; -ENOMEM. */
static int read_item(const char *start, const char *end, struct buf *text, struct cell *ret)
{
	*ret = (struct cell){ .kind = VALUE_NUMBER, .text = start, .len = (size_t)(end - start) };
	while (ret->len && isspace((unsigned char)start[ret->len - 1]))
		ret->len--;
	switch (*start) {
	case '{':
		ret->kind = VALUE_OBJECT;
		return 1;
	case '[':
		ret->kind = VALUE_ARRAY;
		return 1;
	case 't':
	case 'f':
		ret->kind = VALUE_BOOL;
		return 1;
	case 'n':
		ret->kind = VALUE_NULL;
		return 1;
	case '"':
		buf_clear(text);
		if (!records_json_text(start, ret->len, text))
			return buf_check(text) ? -ENOMEM : 0;
		*ret = (struct cell){ .kind = VALUE_TEXT, .text = buf_text(text), .len = text->len };
		return 1;
	default:
		return 1;
	}
}

int container_each(const struct cell *array, bool (*each)(void *arg, struct cell *item), void *arg)
{
	struct scan s = { array->text, array->text + array->len };
	struct buf text = BUF_INIT;
	struct cell item;
	int r = array->len > 0;
	s.p += r;
	while (r == 1 && next(&s)) {
		const char *start = s.p;
		take_value(&s, NULL);
		r = read_item(start, s.p, &text, &item);
		if (r == 1)
			r = each(arg, &item);
	}
	buf_free(&text);
	return r;
}
