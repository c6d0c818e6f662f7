#include "policy/condition.h"

#include "policy/attribute.h"
#include "policy/lexer.h"

#include <errno.h>
#include <string.h>

int condition_parse(const char *name, const char *text, struct expr **ret, struct err *e)
{
	struct arena arena = { 0 };
	struct lexer l;
	int r = lexer_start(&l, name, text, strlen(text), &arena, e);
	if (!r)
		r = lexer_line(&l, e);
	if (r == 0)
		r = err_at(e, name, 0, 0, "an empty condition");
	else if (r == 1)
		r = expr_parse(&l, 0, true, ret, e);
	arena_free(&arena);
	return r;
}
