/*
 * A growable byte buffer.
 *
 * A failed allocation is remembered in `failed` and every later append is a no-op, so that a caller may build a whole
 * text and check once (buf_check).  `data` always ends with a NUL byte that `len` does not count, once anything was
 * appended; it is NULL before.
 */
#ifndef MESHFS_BASE_BUF_H
#define MESHFS_BASE_BUF_H

#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>

struct buf {
	char *data;
	size_t len, cap;
	bool failed;
};

#define BUF_INIT { NULL, 0, 0, false }

void buf_free(struct buf *b);  /* frees the bytes and leaves an empty buffer */
void buf_clear(struct buf *b); /* forgets the bytes and keeps the room */
/* 0, or -ENOMEM when an append failed. */
int buf_check(const struct buf *b);

/* Room for `more` further bytes (and the NUL).  Returns where they go, or NULL when there is no memory. */
char *buf_reserve(struct buf *b, size_t more);
/* Counts `n` bytes that were written into reserved room. */
void buf_commit(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_adds(struct buf *b, const char *text);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* SQL: the text between `quote`s (" for a name, ' for a text), those inside doubled. */
void buf_add_sql(struct buf *b, const char *text, char quote);
void buf_add_sql_n(struct buf *b, const char *text, size_t len, char quote);
void buf_addv(struct buf *b, const char *fmt, va_list ap);

/* The bytes as a C string ("" when empty); owned by the buffer. */
const char *buf_text(const struct buf *b);
/* Gives the bytes to the caller, who frees them; the buffer is empty then.  NULL when an append failed. */
char *buf_take(struct buf *b);

#endif
