#include "policy/lexer.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <string.h>

int lexer_start(struct lexer *l, const char *name, const char *text, size_t len, struct arena *arena, struct err *e)
{
	*l = (struct lexer){ .name = name, .text = text, .len = len, .arena = arena };
	if (len > POLICY_BYTES_MAX)
		return err_at(e, name, 1, 1, "a policy file may have at most %u bytes", POLICY_BYTES_MAX);
	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		l->offset = 3;
	if (text_is_utf8(text, len) && !memchr(text, 0, len))
		return 0;
	size_t at = 0;
	int line = 1, column = 1;
	for (; at < len && text[at] && ((unsigned char)text[at] < 0x80 || text_is_utf8(text, at + 1)); at++, column++)
		if (text[at] == '\n') {
			line++;
			column = 0;
		} else if ((unsigned char)text[at] >= 0xc2) {
			/* Skip the whole sequence when it is well formed. */
			size_t n = 2;
			while (n <= 4 && at + n <= len && !text_is_utf8(text + at, n))
				n++;
			if (n > 4 || at + n > len)
				break;
			at += n - 1;
			column += (int)n - 1;
		}
	return err_at(e, name, line, column, "this is not text (UTF-8)");
}

static bool is_word(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c >= 0x80 || strchr("_-.:/*?@+%~$&'", c);
}

static int bad(struct lexer *l, size_t at, size_t start, struct err *e, const char *what)
{
	return err_at(e, l->name, l->line, (int)(at - start) + 1, "%s", what);
}

/* `at` is behind the opening quote; *ret_end behind the closing one. */
static int read_string(struct lexer *l, size_t at, size_t end, size_t start, struct token *t, size_t *ret_end, struct err *e)
{
	char *out = arena_alloc(l->arena, end - at + 1);
	size_t n = 0;
	if (!out)
		return err_set(e, -ENOMEM, "out of memory");
	for (; at < end && l->text[at] != '"'; at++) {
		if (l->text[at] == '\\') {
			at++;
			if (at == end || (l->text[at] != '"' && l->text[at] != '\\'))
				return bad(l, at - 1, start, e, "only \\\" and \\\\ may follow a backslash here");
		}
		out[n++] = l->text[at];
	}
	if (at == end)
		return bad(l, start + (size_t)t->column - 1, start, e, "the string is not closed");
	t->kind = TOKEN_STRING;
	t->text = out;
	t->len = n;
	*ret_end = at + 1;
	return 0;
}

static int read_token(struct lexer *l, size_t at, size_t end, size_t start, size_t *ret_end, struct err *e)
{
	if (l->count >= POLICY_LINE_WORDS_MAX)
		return bad(l, at, start, e, "the line is too long");
	struct token *t = arena_push(l->arena, &l->tokens, &l->count, sizeof *t);
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	const char *p = l->text + at;
	size_t n = 0;
	t->column = (int)(at - start) + 1;
	t->glued = at > start && l->text[at - 1] != ' ' && l->text[at - 1] != '\t';
	if (*p == '"')
		return read_string(l, at + 1, end, start, t, ret_end, e);
	if (is_word((unsigned char)*p)) {
		t->kind = TOKEN_WORD;
		while (at + n < end && is_word((unsigned char)p[n]))
			n++;
	} else if (strchr("=!<>", *p)) {
		t->kind = TOKEN_SIGN;
		n = at + 1 < end && p[1] == '=' ? 2 : 1;
		if (*p == '!' && n == 1)
			return bad(l, at, start, e, "'!' must be followed by '=' (or write 'not')");
	} else if (strchr("(){},", *p)) {
		t->kind = TOKEN_SIGN;
		n = 1;
	} else {
		return bad(l, at, start, e, "this character means nothing here; text that holds it stands in quotes");
	}
	t->text = arena_text(l->arena, p, n);
	t->len = n;
	*ret_end = at + n;
	return t->text ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int lexer_line(struct lexer *l, struct err *e)
{
	l->count = 0;
	l->tokens = NULL;
	while (l->offset < l->len) {
		size_t start = l->line ? l->offset : 0, at = l->offset;
		const char *nl = memchr(l->text + at, '\n', l->len - at);
		size_t end = nl ? (size_t)(nl - l->text) : l->len;
		l->offset = nl ? end + 1 : end;
		l->line++;
		if (l->line == 1 && at)
			start = at; /* a byte order mark is not a column */
		if (end > at && l->text[end - 1] == '\r')
			end--;
		l->indented = at < end && (l->text[at] == ' ' || l->text[at] == '\t');
		while (at < end && l->text[at] != '#') {
			if (l->text[at] == ' ' || l->text[at] == '\t') {
				at++;
				continue;
			}
			int r = read_token(l, at, end, start, &at, e);
			if (r)
				return r;
			l->end_column = (int)(at - start) + 1;
		}
		if (l->count)
			return 1;
	}
	return 0;
}
