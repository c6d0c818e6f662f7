/*
 * Small things about text: formatted strings, globs, suggestions, sizes and durations, names of the mesh.
 * All functions are pure; returned strings are the caller's to free.
 */
#ifndef MESHFS_BASE_TEXT_H
#define MESHFS_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_SIZE_MAX 24

/* A new string, or NULL when there is no memory. */
char *text_format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);

/* Glob over '/'-separated paths: `*` any run of bytes but '/', `?` one character but '/', `**` any run of bytes ('/'
 * included; a glob that ends in a slash and `**` also matches the folder itself).  No brackets, no escapes.  Linear in practice: backtracks to the last `*` and the last
 * `**` only. */
bool text_glob(const char *glob, const char *path);

/* Of `names`, the nearest to `word` (edit distance at most a third of the word's length and 3), or NULL. */
const char *text_nearest(const char *word, const char *const *names, size_t count);

/* Writes a number's decimal digits before `end` (20 bytes of room, no NUL); returns where they start. */
char *text_integer(int64_t n, char *end);
/* Is the text what text_integer writes of a number (INT64_MIN is left out)?  *ret is that. */
bool text_is_integer(const char *text, size_t len, int64_t *ret);

/* "512 B", "1.4 MiB", "20 GiB". */
void text_size(uint64_t bytes, char ret_text[TEXT_SIZE_MAX]);
/* Reads "20GiB", "512 MiB", "64k", "1000000", also KB/MB/GB as powers of 1000.  0 or -EINVAL. */
int text_parse_size(const char *text, uint64_t *ret_bytes);
/* Reads "5s", "250ms", "2m", "1h", "7d"; a bare number is seconds.  0 or -EINVAL. */
int text_parse_duration_ms(const char *text, int64_t *ret_ms);

/* Is it well-formed UTF-8 (no surrogates, no overlong forms)? */
bool text_is_utf8(const char *bytes, size_t len);
/* The same of a text that comes in pieces: what a piece begins of a character is kept in `torn` (zeroed at first) until the next; false once some of it is
 * malformed.  At the end `torn` must be empty again. */
struct text_torn {
	char bytes[4];
	size_t len;
};
bool text_feed_utf8(struct text_torn *torn, const char *bytes, size_t len);

/* A copy that is safe to print: control bytes and malformed UTF-8 as \xHH. */
char *text_printable(const char *bytes, size_t len);
/* Of text that people read with cat: what would drive a terminal, or turn the direction of what follows, becomes '?', in place.  Line ends and tabs
 * stay. */
void text_disarm(char *text, size_t len);

#endif
