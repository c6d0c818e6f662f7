/* A transform from its canonical text: lines `column "x" MASK`, `unnamed MASK`, `rows CONDITION`, `object HASH`. */
#include "policy/attribute.h"
#include "policy/condition.h"
#include "policy/key.h"
#include "policy/parse_internal.h"
#include "policy/transform.h"

#include <errno.h>
#include <string.h>

struct reading {
	struct parser p;
	const struct mesh_config *mesh;
	const struct contract_object *object;
	struct arena arena;
	struct column_action *actions;
	size_t count;
	struct mask unnamed;
	struct expr *filter;
};

static int read_mask(struct reading *x, struct mask *ret)
{
	int r = parse_mask(&x->p, ret);
	if (!r)
		r = parse_end(&x->p);
	if (!r && ret->kind == MASK_HMAC)
		r = x->mesh ? policy_key_fingerprint(x->mesh, ret->key, ret->key_fingerprint, x->p.e)
			    : err_set(x->p.e, -ENOENT, "the key %s is not known here", ret->key);
	return r;
}

static int read_column(struct reading *x)
{
	const char *name;
	int r = parse_word(&x->p, "a column's name", &name);
	if (r)
		return r;
	struct column_action *a = arena_push(&x->arena, &x->actions, &x->count, sizeof *a);
	if (!a)
		return parse_no_memory(&x->p);
	a->column = (char *)name;
	return read_mask(x, &a->mask);
}

/* What no word of the language says: a condition that is unknown whatever the row. */
static bool is_unknown(const struct parser *p)
{
	return p->l.count == 2 && !strcmp(p->l.tokens[1].text, "unknown");
}

static int read_rows(struct reading *x)
{
	struct expr *raw = NULL;
	if (is_unknown(&x->p))
		return (x->filter = expr_constant(TRUTH_UNKNOWN)) ? 0 : parse_no_memory(&x->p);
	int r = expr_parse(&x->p.l, x->p.at, true, &raw, x->p.e);
	if (!r)
		r = condition_bind(raw, x->object, &x->filter, x->p.e);
	expr_free(raw);
	return r;
}

static int read_line(struct reading *x)
{
	x->p.at = 0;
	if (parse_take(&x->p, "column"))
		return read_column(x);
	if (parse_take(&x->p, "unnamed"))
		return read_mask(x, &x->unnamed);
	if (parse_take(&x->p, "rows") && !x->filter)
		return read_rows(x);
	if (parse_peek(&x->p) && !strcmp(parse_peek(&x->p)->text, "object"))
		return 0; /* transform_new writes it anew, from the contract */
	return parse_wrong(&x->p, "column, unnamed, rows or object");
}

int transform_parse(const char *text, const struct mesh_config *mesh, struct contract *contract, const struct contract_object *object,
		    struct transform **ret, struct err *e)
{
	struct reading x = { .p = { .e = e }, .mesh = mesh, .object = object, .unnamed = { .kind = MASK_KEEP } };
	int more = 0, r = lexer_start(&x.p.l, "view", text, strlen(text), &x.arena, e);
	while (!r && (more = lexer_line(&x.p.l, e)) == 1)
		r = read_line(&x);
	if (!r)
		r = more;
	if (!r && !(*ret = transform_new(x.actions, x.count, &x.unnamed, x.filter, contract, object)))
		r = err_set(e, -ENOMEM, "out of memory");
	expr_free(x.filter);
	arena_free(&x.arena);
	return r;
}
