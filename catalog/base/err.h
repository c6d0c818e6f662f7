/*
 * Errors that a person must be able to act on.
 *
 * Every function that can fail returns 0 or a negative errno.  Functions whose failure a person has to mend
 * (configuration, policy, catalog, stores, commands) also take a `struct err *` as their last argument and fill
 * it: what happened, where, what to do next.  A NULL `struct err *` is legal everywhere: the text is dropped.
 * The kind decides the exit status of a command.
 *
 * Thread rules: a `struct err` belongs to one thread at a time; nothing here allocates.
 */
#ifndef MESHFS_BASE_ERR_H
#define MESHFS_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* The numbers are the exit statuses of docs/meshfs.1. */
enum err_kind {
	ERR_NONE = 0,
	ERR_FAIL = 1,      /* it failed */
	ERR_PARSE = 2,     /* wrong usage, or a file that does not parse */
	ERR_REFUSED = 3,   /* refused by policy or by a contract */
	ERR_ABSENT = 4,    /* no such domain, product, version, file or run */
	ERR_INTEGRITY = 5, /* bytes do not match their hash */
};

#define ERR_TEXT_MAX 1536

struct err {
	int code; /* negative errno, 0 while no error was set */
	enum err_kind kind;
	char text[ERR_TEXT_MAX]; /* one line, no final newline, no secrets, no row values */
};

#define ERR_INIT { 0, ERR_NONE, "" }

/* Sets the error and returns `code`.  `code` is a negative errno.  The kind follows from the code: -ENOENT gives
 * ERR_ABSENT, -EBADMSG ERR_INTEGRITY, -EPERM ERR_REFUSED, anything else ERR_FAIL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int err_set_kind(struct err *e, enum err_kind kind, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* A file that does not parse: "file:line:column: text", kind ERR_PARSE.  Lines and columns count from 1; a line
 * of 0 leaves the position out.  Returns -EINVAL. */
int err_at(struct err *e, const char *file, int line, int column, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Puts "context: " in front of the text.  Returns e->code, so that `return err_prefix(e, …)` reads well; with a
 * NULL `e` it returns `code`. */
int err_prefix(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "; what to do" behind the text, where there is room for all of it.  Returns e->code; with a NULL `e`, `code`. */
int err_advise(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Copies `from` over `to` (either may be NULL) and returns from's code. */
int err_move(struct err *to, const struct err *from);
void err_clear(struct err *e);

/* The exit status of a command that ended with `e`: 0 when nothing was set. */
int err_exit_status(const struct err *e);

#endif
