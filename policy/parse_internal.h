/* Shared by policy/parse.c (blocks, rules) and policy/parse_test.c (test blocks). */
#ifndef MESHFS_POLICY_PARSE_INTERNAL_H
#define MESHFS_POLICY_PARSE_INTERNAL_H

#include "policy/lexer.h"
#include "policy/rule.h"

struct parser {
	struct lexer l;
	struct policy_file *f;
	size_t at; /* the next token of the line */
	struct err *e;
};

const struct token *parse_peek(const struct parser *p);
bool parse_take(struct parser *p, const char *word); /* an unquoted word or sign */
int parse_wrong(struct parser *p, const char *expected);
int parse_error(struct parser *p, int column, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int parse_no_memory(struct parser *p);
/* A word or a string. */
int parse_word(struct parser *p, const char *what, const char **ret);
int parse_end(struct parser *p);
/* a, b, c (at least one), appended. */
int parse_names(struct parser *p, const char *what, const char ***names, size_t *count);
int parse_globs(struct parser *p, const char ***globs, size_t *count);
int parse_integer(struct parser *p, const char *what, int64_t *ret);
int parse_mask(struct parser *p, struct mask *ret); /* a mask's name and what follows it; `ret` starts as zeros */
/* "word: no such WHAT; did you mean …?" at the column. */
int parse_unknown(struct parser *p, const struct token *t, const char *what, const char *const *names, size_t count);

int parse_test_clause(struct parser *p, struct test_case *t, const struct token *clause);
int parse_test_done(struct parser *p, const struct test_case *t);

#endif
