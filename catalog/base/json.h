/*
 * Writing JSON, one value after the other, into a buffer.
 *
 *     struct json j;
 *     json_start(&j, &buf);
 *     json_open(&j, '{');
 *     json_key(&j, "address"); json_text(&j, "sales/orders/1.2.0");
 *     json_field_int(&j, "size", 17);
 *     json_close(&j, '}');
 *
 * Commas are put by the writer.  Text that is not UTF-8 is written with each bad byte as U+FFFD, so that the output is
 * always valid JSON.  Doubles that are not finite become null.
 */
#ifndef MESHFS_BASE_JSON_H
#define MESHFS_BASE_JSON_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 64

struct json {
	struct buf *out;
	int depth;
	bool comma[JSON_DEPTH_MAX]; /* does the next value at this depth need a comma? */
	bool after_key;
};

void json_start(struct json *j, struct buf *out);
void json_open(struct json *j, char bracket);  /* '{' or '[' */
void json_close(struct json *j, char bracket); /* '}' or ']' */
void json_key(struct json *j, const char *key);
void json_text(struct json *j, const char *text); /* NULL gives null */
void json_text_n(struct json *j, const char *bytes, size_t len);
void json_int(struct json *j, int64_t v);
void json_double(struct json *j, double v);
void json_bool(struct json *j, bool v);
void json_null(struct json *j);
void json_raw(struct json *j, const char *json); /* already JSON */

void json_field_text(struct json *j, const char *key, const char *text);
void json_field_int(struct json *j, const char *key, int64_t v);
void json_field_double(struct json *j, const char *key, double v);
void json_field_bool(struct json *j, const char *key, bool v);
void json_field_time(struct json *j, const char *key, int64_t when_ns); /* as clock_format_ns writes it; 0 gives null */

#endif
