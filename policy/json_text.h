/*
 * Texts of JSON: strings as they stand between their quotes, numbers, literals.  Pure functions; any thread.
 */
#ifndef MESHFS_POLICY_JSON_TEXT_H
#define MESHFS_POLICY_JSON_TEXT_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Escapes well-formed, no control characters.  (Whether the bytes are UTF-8 is asked elsewhere.) */
bool json_string_valid(const char *raw, size_t len);
/* The text of a valid string into `ret` (room for `len` bytes).  A surrogate without its other half becomes three bytes that are no UTF-8.  The
 * length; *ret_lone tells whether there was one. */
size_t json_string_unescape(const char *raw, size_t len, char *ret, bool *ret_lone);
/* Appends the text as a JSON string with its quotes. */
void json_string_add(struct buf *out, const char *text, size_t len);

bool json_number_valid(const char *text, size_t len);

#endif
