#include "catalog/base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
	if (b->data)
		b->data[0] = '\0';
}

int buf_check(const struct buf *b)
{
	return b->failed ? -ENOMEM : 0;
}

char *buf_reserve(struct buf *b, size_t more)
{
	if (b->failed)
		return NULL;
	if (more > SIZE_MAX / 2 - b->len) {
		b->failed = true;
		return NULL;
	}
	size_t need = b->len + more + 1;
	if (need > b->cap) {
		size_t cap = b->cap < 64 ? 64 : b->cap + b->cap / 2;
		if (cap < need)
			cap = need;
		char *data = realloc(b->data, cap);
		if (!data) {
			b->failed = true;
			return NULL;
		}
		b->data = data;
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
	if (b->failed)
		return;
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *bytes, size_t n)
{
	char *to = buf_reserve(b, n);
	if (!to)
		return;
	if (n)
		memcpy(to, bytes, n);
	buf_commit(b, n);
}

void buf_adds(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addv(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0) {
		b->failed = true;
		return;
	}
	char *to = buf_reserve(b, (size_t)n);
	if (!to)
		return;
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	buf_commit(b, (size_t)n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	buf_addv(b, fmt, ap);
	va_end(ap);
}

void buf_add_sql_n(struct buf *b, const char *text, size_t len, char quote)
{
	buf_addc(b, quote);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == quote)
			buf_addc(b, quote);
		buf_addc(b, text[i]);
	}
	buf_addc(b, quote);
}

void buf_add_sql(struct buf *b, const char *text, char quote)
{
	buf_add_sql_n(b, text, strlen(text), quote);
}

const char *buf_text(const struct buf *b)
{
	return b->data ? b->data : "";
}

char *buf_take(struct buf *b)
{
	if (b->failed || !buf_reserve(b, 0)) {
		buf_free(b);
		return NULL;
	}
	b->data[b->len] = '\0';
	char *data = b->data;
	*b = (struct buf)BUF_INIT;
	return data;
}
