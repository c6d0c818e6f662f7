#include "catalog/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum err_kind kind_of(int code)
{
	switch (code) {
	case -ENOENT:
		return ERR_ABSENT;
	case -EBADMSG:
		return ERR_INTEGRITY;
	case -EPERM:
		return ERR_REFUSED;
	default:
		return ERR_FAIL;
	}
}

/* Text can hold names from outside: control characters would let them forge log lines or drive a terminal. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

static void fill(struct err *e, enum err_kind kind, int code, const char *fmt, va_list ap)
{
	if (!e)
		return;
	char text[ERR_TEXT_MAX]; /* the arguments may point into e->text */
	vsnprintf(text, sizeof text, fmt, ap);
	flatten(text);
	e->code = code;
	e->kind = kind;
	memcpy(e->text, text, sizeof text);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fill(e, kind_of(code), code, fmt, ap);
	va_end(ap);
	return code;
}

int err_set_kind(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fill(e, kind, code, fmt, ap);
	va_end(ap);
	return code;
}

int err_at(struct err *e, const char *file, int line, int column, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fill(e, ERR_PARSE, -EINVAL, fmt, ap);
	va_end(ap);
	if (line > 0)
		return err_prefix(e, -EINVAL, "%s:%d:%d", file, line, column);
	return err_prefix(e, -EINVAL, "%s", file);
}

int err_prefix(struct err *e, int code, const char *fmt, ...)
{
	if (!e)
		return code;
	char context[ERR_TEXT_MAX / 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(context, sizeof context, fmt, ap);
	va_end(ap);
	char text[ERR_TEXT_MAX];
	memcpy(text, e->text, sizeof text);
	if (snprintf(e->text, sizeof e->text, "%s: %s", context, text) >= (int)sizeof e->text)
		e->text[sizeof e->text - 1] = '\0';
	flatten(e->text);
	return e->code ? e->code : code;
}

int err_advise(struct err *e, int code, const char *fmt, ...)
{
	char advice[ERR_TEXT_MAX];
	va_list ap;
	if (!e)
		return code;
	va_start(ap, fmt);
	vsnprintf(advice, sizeof advice, fmt, ap);
	va_end(ap);
	size_t len = strlen(e->text);
	if (len + 2 + strlen(advice) < sizeof e->text)
		snprintf(e->text + len, sizeof e->text - len, "; %s", advice);
	flatten(e->text);
	return e->code ? e->code : code;
}

int err_move(struct err *to, const struct err *from)
{
	if (!from)
		return 0;
	if (to && to != from)
		*to = *from;
	return from->code;
}

void err_clear(struct err *e)
{
	if (!e)
		return;
	e->code = 0;
	e->kind = ERR_NONE;
	e->text[0] = '\0';
}

int err_exit_status(const struct err *e)
{
	if (!e || !e->code)
		return 0;
	return e->kind == ERR_NONE ? ERR_FAIL : (int)e->kind;
}
