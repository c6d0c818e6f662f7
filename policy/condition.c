#include "policy/condition.h"

#include "policy/attribute.h"
#include "policy/lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *name, const char *text, bool where, struct expr **ret, struct err *e)
{
	struct arena arena = { 0 };
	struct lexer l;
	int r = lexer_start(&l, name, text, strlen(text), &arena, e);
	if (!r)
		r = lexer_line(&l, e);
	if (r == 0)
		r = err_at(e, name, 0, 0, "an empty condition");
	else if (r == 1)
		r = where ? expr_parse_where(&l, ret, e) : expr_parse(&l, 0, true, ret, e);
	arena_free(&arena);
	return r;
}

int condition_parse(const char *name, const char *text, struct expr **ret, struct err *e)
{
	return parse(name, text, false, ret, e);
}

int condition_parse_where(const char *text, struct expr **ret, struct err *e)
{
	const struct expr_column *columns;
	struct expr *x = NULL;
	int r = parse("--where", text, true, &x, e);
	if (!r && !expr_columns(x, &columns))
		r = err_at(e, "--where", 0, 0, "the condition speaks of no column");
	if (r)
		expr_free(x);
	else
		*ret = x;
	return r;
}

int condition_bind(const struct expr *x, const struct contract_object *object, struct expr **ret, struct err *e)
{
	const struct expr_column *columns;
	size_t count = expr_columns(x, &columns), named = object ? object->column_count : 0;
	struct contract_column *all = calloc(named + count + 1, sizeof *all);
	struct expr_env env = { .valid_until_ns = INT64_MAX };
	if (!all)
		return err_set(e, -ENOMEM, "out of memory");
	if (named)
		memcpy(all, object->columns, named * sizeof *all);
	struct contract_object wider = { .columns = all, .column_count = named };
	for (size_t i = 0; i < count; i++)
		if (!object || !contract_column_find(object, columns[i].name, strlen(columns[i].name)))
			all[wider.column_count++].name = columns[i].name;
	int r = expr_bind(x, &env, &wider, ret, e);
	free(all);
	return r;
}
