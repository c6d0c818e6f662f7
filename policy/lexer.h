/*
 * The words of a policy file, a line at a time.
 *
 * A line that starts in column 1 opens the file or a block; an indented one is a clause.  `#` starts a comment outside a string.
 */
#ifndef MESHFS_POLICY_LEXER_H
#define MESHFS_POLICY_LEXER_H

#include "catalog/base/err.h"
#include "policy/arena.h"

#include <stdbool.h>
#include <stddef.h>

#define POLICY_BYTES_MAX (4u << 20)
#define POLICY_LINE_WORDS_MAX 4096

enum token_kind {
	TOKEN_WORD,   /* training, product.name, 18, 2027-06-30, retail/x */
	TOKEN_STRING, /* "in quotes": \" and \\ are undone */
	TOKEN_SIGN,   /* == != < <= > >= = ( ) { } , */
};

struct token {
	enum token_kind kind;
	const char *text; /* NUL-terminated, in the lexer's arena */
	size_t len;
	int column;       /* from 1, in bytes */
	bool glued;       /* no space before it */
};

struct lexer {
	const char *name; /* in errors */
	const char *text;
	size_t len, offset;
	struct arena *arena; /* where token texts go */
	int line;            /* of the current tokens, from 1 */
	bool indented;
	struct token *tokens;
	size_t count;
	int end_column; /* where the line's words end: for "something is missing" */
};

/* 0; -EINVAL when the text is too long, not UTF-8 or holds NUL bytes. */
int lexer_start(struct lexer *l, const char *name, const char *text, size_t len, struct arena *arena, struct err *e);
/* The next line that has words: 1, 0 at the end, or -EINVAL/-ENOMEM. */
int lexer_line(struct lexer *l, struct err *e);

#endif
