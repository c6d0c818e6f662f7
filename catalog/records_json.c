/* A strict reader of JSON texts (RFC 8259) that hands over scalars with the dotted path they stand at. */
#include "catalog/records_json.h"
#include "catalog/records_private.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NESTING_MAX 64

struct records_json {
	struct records *owner;
	struct records_callbacks call;
	struct buf path;  /* of the value being read */
	struct buf value; /* an unescaped string */
	const char *p, *end;
	const char *broken;
	int code; /* of a callback, or -errno of ours */
};

int records_json_new(struct records *owner, const struct records_callbacks *callbacks, struct records_json **ret)
{
	struct records_json *j = calloc(1, sizeof *j);
	if (!j)
		return -ENOMEM;
	j->owner = owner;
	j->call = *callbacks;
	*ret = j;
	return 0;
}

void records_json_free(struct records_json *j)
{
	if (!j)
		return;
	buf_free(&j->path);
	buf_free(&j->value);
	free(j);
}

static bool fail(struct records_json *j, const char *why)
{
	j->broken = why;
	return false;
}

static void skip_space(struct records_json *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\r' || *j->p == '\n'))
		j->p++;
}

static bool hex4(struct records_json *j, unsigned *ret)
{
	unsigned v = 0;
	if (j->end - j->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = j->p[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (d < 0)
			return false;
		v = v << 4 | (unsigned)d;
	}
	j->p += 4;
	*ret = v;
	return true;
}

static void add_utf8(struct buf *out, unsigned c)
{
	if (c < 0x80) {
		buf_addc(out, (char)c);
	} else if (c < 0x800) {
		buf_addc(out, (char)(0xc0 | c >> 6));
		buf_addc(out, (char)(0x80 | (c & 63)));
	} else if (c < 0x10000) {
		buf_addc(out, (char)(0xe0 | c >> 12));
		buf_addc(out, (char)(0x80 | (c >> 6 & 63)));
		buf_addc(out, (char)(0x80 | (c & 63)));
	} else {
		buf_addc(out, (char)(0xf0 | c >> 18));
		buf_addc(out, (char)(0x80 | (c >> 12 & 63)));
		buf_addc(out, (char)(0x80 | (c >> 6 & 63)));
		buf_addc(out, (char)(0x80 | (c & 63)));
	}
}

static bool escape(struct records_json *j, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	if (j->p == j->end)
		return fail(j, "a string is not closed");
	char c = *j->p++;
	const char *at = c ? strchr(from, c) : NULL;
	if (at) {
		buf_addc(out, to[at - from]);
		return true;
	}
	unsigned v, low;
	if (c != 'u' || !hex4(j, &v))
		return fail(j, "an escape that JSON does not know");
	if (v >= 0xd800 && v < 0xdc00 && j->end - j->p >= 6 && j->p[0] == '\\' && j->p[1] == 'u') {
		j->p += 2;
		if (!hex4(j, &low) || low < 0xdc00 || low > 0xdfff)
			return fail(j, "half a surrogate pair");
		v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
	} else if (v >= 0xd800 && v < 0xe000) {
		return fail(j, "half a surrogate pair");
	}
	add_utf8(out, v);
	return true;
}

/* The string at the opening quote, appended to `out`. */
static bool string(struct records_json *j, struct buf *out)
{
	j->p++;
	for (;;) {
		const char *start = j->p;
		while (j->p < j->end && *j->p != '"' && *j->p != '\\' && (unsigned char)*j->p >= 0x20)
			j->p++;
		buf_add(out, start, (size_t)(j->p - start));
		if (j->p == j->end)
			return fail(j, "a string is not closed");
		char c = *j->p++;
		if (c == '"')
			return true;
		if (c != '\\')
			return fail(j, "a control character inside a string");
		if (!escape(j, out))
			return false;
	}
}

static size_t digits(const char *p, const char *end)
{
	size_t n = 0;
	while (p + n < end && p[n] >= '0' && p[n] <= '9')
		n++;
	return n;
}

static bool number(struct records_json *j)
{
	const char *p = j->p + (*j->p == '-');
	size_t whole = digits(p, j->end);
	if (!whole || (whole > 1 && *p == '0'))
		return fail(j, "a malformed number");
	p += whole;
	if (p < j->end && *p == '.') {
		size_t n = digits(p + 1, j->end);
		if (!n)
			return fail(j, "a malformed number");
		p += 1 + n;
	}
	if (p < j->end && (*p == 'e' || *p == 'E')) {
		p++;
		p += p < j->end && (*p == '+' || *p == '-');
		size_t n = digits(p, j->end);
		if (!n)
			return fail(j, "a malformed number");
		p += n;
	}
	j->p = p;
	return true;
}

/* `item`: it stands in an array, whose path it has. */
static bool hand_over(struct records_json *j, bool item, enum value_kind kind, const char *text, size_t len)
{
	uint32_t column;
	if (buf_check(&j->path) || buf_check(&j->value)) {
		j->code = -ENOMEM;
		return false;
	}
	j->code = records_column(j->owner, buf_text(&j->path), j->path.len, &column);
	if (!j->code)
		j->code = (item && j->call.on_item ? j->call.on_item : j->call.on_value)(j->call.arg, column, kind, text, len);
	return j->code == 0;
}

static bool value(struct records_json *j, int depth, bool item);

static bool members(struct records_json *j, int depth)
{
	size_t base = j->path.len;
	j->p++;
	skip_space(j);
	if (j->p < j->end && *j->p == '}') {
		j->p++;
		return true;
	}
	for (;;) {
		skip_space(j);
		if (j->p == j->end || *j->p != '"')
			return fail(j, "a member without a name");
		if (base)
			buf_addc(&j->path, '.');
		if (!string(j, &j->path))
			return false;
		skip_space(j);
		if (j->p == j->end || *j->p++ != ':')
			return fail(j, "a member without a value");
		if (!value(j, depth + 1, false))
			return false;
		j->path.len = base;
		skip_space(j);
		if (j->p < j->end && *j->p == ',') {
			j->p++;
			continue;
		}
		if (j->p < j->end && *j->p++ == '}')
			return true;
		return fail(j, "an object is not closed");
	}
}

static bool items(struct records_json *j, int depth)
{
	j->p++;
	skip_space(j);
	if (j->p < j->end && *j->p == ']') {
		j->p++;
		return true;
	}
	for (;;) {
		if (!value(j, depth + 1, true))
			return false;
		skip_space(j);
		if (j->p < j->end && *j->p == ',') {
			j->p++;
			continue;
		}
		if (j->p < j->end && *j->p++ == ']')
			return true;
		return fail(j, "an array is not closed");
	}
}

static bool word(struct records_json *j, bool item, const char *text, enum value_kind kind)
{
	size_t n = strlen(text);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, text, n) != 0)
		return fail(j, "a value that JSON does not know");
	j->p += n;
	return hand_over(j, item, kind, kind == VALUE_NULL ? NULL : text, kind == VALUE_NULL ? 0 : n);
}

/* A container comes before what is in it; one whose text is wanted after that. */
static bool container(struct records_json *j, enum value_kind kind, int depth, bool item)
{
	const char *start = j->p;
	uint32_t column = 0;
	bool whole = false;
	if (j->owner->wholes && depth && !item) {
		j->code = buf_check(&j->path) ? -ENOMEM : records_column(j->owner, buf_text(&j->path), j->path.len, &column);
		if (j->code)
			return false;
		whole = records_wants_whole(j->owner, column);
	}
	if (depth && !whole && !hand_over(j, item, kind, NULL, 0))
		return false;
	if (!(kind == VALUE_ARRAY ? items(j, depth) : members(j, depth)))
		return false;
	return !whole || hand_over(j, item, kind, start, (size_t)(j->p - start));
}

static bool value(struct records_json *j, int depth, bool item)
{
	skip_space(j);
	if (j->p == j->end)
		return fail(j, "a value is missing");
	if (depth > NESTING_MAX)
		return fail(j, "nested too deep");
	const char *start = j->p;
	switch (*j->p) {
	case '{':
		return container(j, VALUE_OBJECT, depth, item);
	case '[':
		return container(j, VALUE_ARRAY, depth, item);
	case '"':
		buf_clear(&j->value);
		return string(j, &j->value) && hand_over(j, item, VALUE_TEXT, buf_text(&j->value), j->value.len);
	case 't':
		return word(j, item, "true", VALUE_BOOL);
	case 'f':
		return word(j, item, "false", VALUE_BOOL);
	case 'n':
		return word(j, item, "null", VALUE_NULL);
	default:
		return number(j) && hand_over(j, item, VALUE_NUMBER, start, (size_t)(j->p - start));
	}
}

int records_json_record(struct records_json *j, uint64_t record, uint64_t line, const char *text, size_t len)
{
	j->p = text;
	j->end = text + len;
	j->broken = NULL;
	j->code = 0;
	buf_clear(&j->path);
	skip_space(j);
	if (j->p == j->end)
		return 0;
	if (*j->p != '{')
		fail(j, "not a JSON object");
	else if (!text_is_utf8(text, len))
		fail(j, "not UTF-8");
	else if (value(j, 0, false)) {
		skip_space(j);
		if (j->p != j->end)
			fail(j, "text after the object");
	}
	if (j->code)
		return j->code;
	return j->call.on_record(j->call.arg, record, line, j->broken);
}

bool records_json_text(const char *quoted, size_t len, struct buf *out)
{
	struct records_json j = { .p = quoted, .end = quoted + len };
	return string(&j, out) && !buf_check(out);
}
