#include "catalog/base/json.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_start(struct json *j, struct buf *out)
{
	memset(j, 0, sizeof *j);
	j->out = out;
}

static void before_value(struct json *j)
{
	if (j->after_key) {
		j->after_key = false;
		return;
	}
	if (j->comma[j->depth])
		buf_addc(j->out, ',');
	j->comma[j->depth] = true;
}

void json_open(struct json *j, char bracket)
{
	before_value(j);
	buf_addc(j->out, bracket);
	j->depth++;
	assert(j->depth < JSON_DEPTH_MAX);
	j->comma[j->depth] = false;
}

void json_close(struct json *j, char bracket)
{
	assert(j->depth > 0 && !j->after_key);
	j->depth--;
	buf_addc(j->out, bracket);
}

static void quoted(struct buf *out, const char *bytes, size_t len)
{
	buf_addc(out, '"');
	for (size_t i = 0; i < len;) {
		unsigned char c = (unsigned char)bytes[i];
		size_t n = 1;
		if (c >= 0x80) {
			/* the longest well-formed sequence that starts here, if any */
			for (n = 4; n > 0; n--)
				if (i + n <= len && n > 1 && text_is_utf8(bytes + i, n))
					break;
			if (n == 0) {
				buf_adds(out, "\xef\xbf\xbd");
				i++;
				continue;
			}
			/* a longer match may be several characters: copying them is right as well */
			buf_add(out, bytes + i, n);
		} else if (c == '"' || c == '\\') {
			buf_addf(out, "\\%c", c);
		} else if (c == '\n') {
			buf_adds(out, "\\n");
		} else if (c == '\t') {
			buf_adds(out, "\\t");
		} else if (c == '\r') {
			buf_adds(out, "\\r");
		} else if (c < 0x20 || c == 0x7f) {
			buf_addf(out, "\\u%04x", c);
		} else {
			buf_addc(out, (char)c);
		}
		i += n;
	}
	buf_addc(out, '"');
}

void json_key(struct json *j, const char *key)
{
	assert(!j->after_key);
	before_value(j);
	quoted(j->out, key, strlen(key));
	buf_addc(j->out, ':');
	j->after_key = true;
}

void json_text_n(struct json *j, const char *bytes, size_t len)
{
	before_value(j);
	quoted(j->out, bytes, len);
}

void json_text(struct json *j, const char *text)
{
	if (!text)
		json_null(j);
	else
		json_text_n(j, text, strlen(text));
}

void json_int(struct json *j, int64_t v)
{
	before_value(j);
	buf_addf(j->out, "%lld", (long long)v);
}

void json_double(struct json *j, double v)
{
	if (!isfinite(v)) {
		json_null(j);
		return;
	}
	before_value(j);
	char text[32]; /* the shorter form, where it is the same number */
	snprintf(text, sizeof text, "%.15g", v);
	if (strtod(text, NULL) != v)
		snprintf(text, sizeof text, "%.17g", v);
	buf_adds(j->out, text);
}

void json_bool(struct json *j, bool v)
{
	before_value(j);
	buf_adds(j->out, v ? "true" : "false");
}

void json_null(struct json *j)
{
	before_value(j);
	buf_adds(j->out, "null");
}

void json_raw(struct json *j, const char *json)
{
	before_value(j);
	buf_adds(j->out, json);
}

void json_field_text(struct json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_text(j, text);
}

void json_field_int(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_int(j, v);
}

void json_field_double(struct json *j, const char *key, double v)
{
	json_key(j, key);
	json_double(j, v);
}

void json_field_bool(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_bool(j, v);
}

void json_field_time(struct json *j, const char *key, int64_t when_ns)
{
	json_key(j, key);
	if (!when_ns) {
		json_null(j);
		return;
	}
	char text[CLOCK_TEXT_MAX];
	clock_format_ns(when_ns, text);
	json_text(j, text);
}
