/* Evaluation of expressions, and binding: what is left when attributes have become values. */
#include "catalog/base/clock.h"
#include "policy/expr_internal.h"

#include <errno.h>
#include <string.h>

/* What an operand stands for: one value, or the items of a set.  A set that is not known is the scalar MISSING. */
struct resolved {
	const struct row_value *items;
	size_t count;
	bool set;
};

static const struct row_value missing = { .kind = VALUE_MISSING };

#define DAY_NS (86400 * NS_PER_S)

static void age_changes(struct expr_env *env)
{
	if (env->now_ns == INT64_MIN)
		return;
	int64_t age = env->now_ns - env->published_ns;
	int64_t into_day = age % DAY_NS;
	if (into_day < 0)
		into_day += DAY_NS;
	if (env->now_ns + (DAY_NS - into_day) < env->valid_until_ns)
		env->valid_until_ns = env->now_ns + (DAY_NS - into_day);
}

/* The answer of a comparison of `now` with this moment changes at the moment, and right after it. */
static void now_changes(struct expr_env *env, const struct row_value *moment)
{
	if (env->now_ns == INT64_MIN || moment->kind != VALUE_TIME || moment->integer > INT64_MAX / NS_PER_S - 1 || moment->integer < INT64_MIN / NS_PER_S + 1)
		return;
	for (int64_t at = moment->integer * NS_PER_S + moment->nanos, i = 0; i < 2; i++, at++)
		if (at > env->now_ns && at < env->valid_until_ns)
			env->valid_until_ns = at;
}

static struct resolved resolve(const struct expr_operand *o, struct expr_env *env, const struct row_value *values)
{
	switch (o->kind) {
	case OPERAND_LITERAL:
		return (struct resolved){ &o->value, 1, false };
	case OPERAND_SET:
		return (struct resolved){ o->items, o->item_count, true };
	case OPERAND_COLUMN:
		return (struct resolved){ values ? &values[o->column] : &missing, 1, false };
	case OPERAND_ATTRIBUTE:
		break;
	case OPERAND_NONE:
		return (struct resolved){ &missing, 1, false };
	}
	if (!env)
		return (struct resolved){ &missing, 1, false };
	const struct attribute_value *a = &env->attr[o->attribute];
	if (o->attribute == ATTR_AGE_DAYS)
		age_changes(env);
	if (!(attribute_specs[o->attribute].flags & ATTR_IS_SET) || a->value.kind == VALUE_MISSING)
		return (struct resolved){ &a->value, 1, false };
	return (struct resolved){ a->items, a->count, true };
}

static enum truth equal(const struct row_value *a, const struct row_value *b)
{
	int order;
	if (!value_compare(a, b, &order))
		return TRUTH_UNKNOWN;
	return order == 0 ? TRUTH_TRUE : TRUTH_FALSE;
}

static enum truth eval_compare(const struct expr_node *n, struct expr_env *env, const struct row_value *values)
{
	struct resolved a = resolve(&n->left, env, values), b = resolve(&n->right, env, values);
	int order;
	if (env && n->left.kind == OPERAND_ATTRIBUTE && n->left.attribute == ATTR_NOW && b.count == 1)
		now_changes(env, b.items);
	if (env && n->right.kind == OPERAND_ATTRIBUTE && n->right.attribute == ATTR_NOW && a.count == 1)
		now_changes(env, a.items);
	if (a.set || b.set || !value_compare(a.items, b.items, &order))
		return TRUTH_UNKNOWN;
	bool holds = n->op == EXPR_EQ ? order == 0 : n->op == EXPR_LT ? order < 0 : n->op == EXPR_LE ? order <= 0 : n->op == EXPR_GT ? order > 0 : order >= 0;
	return holds ? TRUTH_TRUE : TRUTH_FALSE;
}

static enum truth in_set(const struct row_value *v, const struct resolved *set)
{
	enum truth t = TRUTH_FALSE;
	if (v->kind == VALUE_MISSING || v->kind == VALUE_NULL || v->kind == VALUE_INVALID)
		return TRUTH_UNKNOWN;
	for (size_t i = 0; i < set->count && t != TRUTH_TRUE; i++)
		t = truth_or(t, equal(v, &set->items[i]));
	return t;
}

static bool is_attribute(const struct expr_operand *o, enum attribute a)
{
	return o->kind == OPERAND_ATTRIBUTE && o->attribute == (int)a;
}

static enum truth eval_in(const struct expr_node *n, struct expr_env *env, const struct row_value *values)
{
	struct resolved a = resolve(&n->left, env, values), b = resolve(&n->right, env, values);
	if (env && is_attribute(&n->left, ATTR_NOW))
		for (size_t i = 0; i < b.count; i++)
			now_changes(env, &b.items[i]);
	if (!b.set)
		return TRUTH_UNKNOWN;
	if (!a.set)
		return in_set(a.items, &b);
	/* A team lists groups and users: the user belongs to it by either. */
	enum truth t = TRUTH_FALSE;
	if (is_attribute(&n->left, ATTR_GROUP) && is_attribute(&n->right, ATTR_TEAM))
		t = in_set(&env->attr[ATTR_USER].value, &b);
	for (size_t i = 0; i < a.count && t != TRUTH_TRUE; i++)
		t = truth_or(t, in_set(&a.items[i], &b));
	return t;
}

static enum truth eval_is_null(const struct expr_node *n, struct expr_env *env, const struct row_value *values)
{
	struct resolved a = resolve(&n->left, env, values);
	if (a.set)
		return a.count ? TRUTH_FALSE : TRUTH_TRUE;
	switch (a.items->kind) {
	case VALUE_INVALID:
		return TRUTH_UNKNOWN;
	case VALUE_MISSING:
	case VALUE_NULL:
		return TRUTH_TRUE;
	default:
		return TRUTH_FALSE;
	}
}

static enum truth eval_like(const struct expr_node *n, struct expr_env *env, const struct row_value *values)
{
	struct resolved a = resolve(&n->left, env, values);
	const struct row_value *glob = &n->right.value;
	enum truth t = TRUTH_FALSE;
	if (!a.set && a.items->kind != VALUE_TEXT)
		return TRUTH_UNKNOWN;
	for (size_t i = 0; i < a.count && t != TRUTH_TRUE; i++)
		if (value_like(glob->text, glob->len, a.items[i].text, a.items[i].len))
			t = TRUTH_TRUE;
	return t;
}

static enum truth eval(const struct expr_node *n, struct expr_env *env, const struct row_value *values)
{
	enum truth t;
	switch (n->op) {
	case EXPR_CONSTANT:
		return n->constant;
	case EXPR_AND:
		t = TRUTH_TRUE;
		for (size_t i = 0; i < n->child_count && t != TRUTH_FALSE; i++)
			t = truth_and(t, eval(n->children[i], env, values));
		return t;
	case EXPR_OR:
		t = TRUTH_FALSE;
		for (size_t i = 0; i < n->child_count && t != TRUTH_TRUE; i++)
			t = truth_or(t, eval(n->children[i], env, values));
		return t;
	case EXPR_NOT:
		return truth_not(eval(n->children[0], env, values));
	case EXPR_IN:
		return eval_in(n, env, values);
	case EXPR_LIKE:
		return eval_like(n, env, values);
	case EXPR_IS_NULL:
		return eval_is_null(n, env, values);
	case EXPR_TEST: {
		struct resolved a = resolve(&n->left, env, values);
		if (a.set || a.items->kind != VALUE_BOOL)
			return TRUTH_UNKNOWN;
		return a.items->truth ? TRUTH_TRUE : TRUTH_FALSE;
	}
	default:
		return eval_compare(n, env, values);
	}
}

enum truth expr_eval_row(const struct expr *x, const struct row_value *values)
{
	return eval(x->root, NULL, values);
}

enum truth expr_eval(const struct expr *x, struct expr_env *env)
{
	return eval(x->root, env, NULL);
}

/* -- binding ---------------------------------------------------------------------------------- */

struct binding {
	const struct expr *from;
	struct expr *to;
	struct expr_env *env;
	const struct contract_object *object;
	struct err *e;
};

static const char *type_name(enum logical_type t)
{
	static const char *const names[] = { "of no logicalType", "a string", "a date", "a timestamp", "a time", "a number", "an integer",
					     "an object", "an array", "a boolean" };
	return names[t];
}

static const char *kind_name(enum value_kind k)
{
	return k == VALUE_TEXT ? "text" : k == VALUE_NUMBER ? "a number" : k == VALUE_BOOL ? "true or false" : "a date or time";
}

static enum value_kind kind_of(enum logical_type t)
{
	switch (t) {
	case TYPE_STRING:
		return VALUE_TEXT;
	case TYPE_NUMBER:
	case TYPE_INTEGER:
		return VALUE_NUMBER;
	case TYPE_BOOLEAN:
		return VALUE_BOOL;
	case TYPE_DATE:
	case TYPE_TIMESTAMP:
	case TYPE_TIME:
		return VALUE_TIME;
	default:
		return VALUE_INVALID;
	}
}

static enum logical_type type_of(enum value_kind k)
{
	return k == VALUE_NUMBER ? TYPE_NUMBER : k == VALUE_BOOL ? TYPE_BOOLEAN : k == VALUE_TIME ? TYPE_TIMESTAMP : TYPE_STRING;
}

/* Fits a literal to the column it is compared with. */
static int fit_literal(struct binding *b, struct expr_column *c, struct row_value *v)
{
	if (c->type == TYPE_NONE)
		c->type = type_of(v->kind);
	enum value_kind want = kind_of(c->type);
	if (want == VALUE_TIME && (v->kind == VALUE_TEXT || v->kind == VALUE_TIME)) {
		struct row_value t;
		row_value_parse(c->type, v->text, v->len, &t);
		if (t.kind == VALUE_TIME) {
			*v = t;
			return 0;
		}
	} else if (want == v->kind) {
		return 0;
	} else if (want == VALUE_TEXT && b->from->lenient) {
		*v = (struct row_value){ .kind = VALUE_TEXT, .text = v->text, .len = v->len };
		return 0;
	}
	return err_set_kind(b->e, ERR_REFUSED, -EINVAL, "column %s is %s in the contract, and a rule compares it with %s", c->name,
			    type_name(c->type), kind_name(v->kind));
}

static int fit_columns(struct binding *b, struct expr_column *x, struct expr_column *y)
{
	if (x->type == TYPE_NONE)
		x->type = y->type == TYPE_NONE ? TYPE_STRING : y->type;
	if (y->type == TYPE_NONE)
		y->type = x->type;
	if (kind_of(x->type) == kind_of(y->type) && kind_of(x->type) != VALUE_INVALID && (x->type == TYPE_TIME) == (y->type == TYPE_TIME))
		return 0;
	return err_set_kind(b->e, ERR_REFUSED, -EINVAL, "column %s is %s in the contract and column %s is %s: a rule compares them",
			    x->name, type_name(x->type), y->name, type_name(y->type));
}

static int bind_column(struct binding *b, const struct expr_operand *o, struct expr_operand *ret)
{
	const char *name = b->from->columns[o->column].name;
	const struct contract_column *c = contract_column_find(b->object, name, strlen(name));
	if (!c)
		return err_set_kind(b->e, ERR_REFUSED, -EINVAL, "a rule needs the column %s, which the contract does not have", name);
	int i = expr_column_add(b->to, name, strlen(name), c->type);
	if (i < 0)
		return err_set(b->e, -ENOMEM, "out of memory");
	*ret = *o;
	ret->column = (size_t)i;
	return 0;
}

static int bind_items(struct binding *b, const struct row_value *items, size_t count, struct expr_operand *ret)
{
	struct row_value *copy = arena_alloc(&b->to->arena, (count + 1) * sizeof *copy);
	for (size_t i = 0; copy && i < count; i++)
		if (expr_value_copy(b->to, &items[i], &copy[i]))
			copy = NULL;
	if (!copy)
		return err_set(b->e, -ENOMEM, "out of memory");
	expr_set_sort(copy, &count);
	*ret = (struct expr_operand){ .kind = OPERAND_SET, .items = copy, .item_count = count };
	return 0;
}

static int bind_operand(struct binding *b, const struct expr_operand *o, struct expr_operand *ret)
{
	if (o->kind == OPERAND_COLUMN)
		return bind_column(b, o, ret);
	if (o->kind == OPERAND_NONE)
		return 0;
	struct resolved r = resolve(o, b->env, NULL);
	if (r.set)
		return bind_items(b, r.items, r.count, ret);
	*ret = (struct expr_operand){ .kind = OPERAND_LITERAL };
	return expr_value_copy(b->to, r.items, &ret->value) ? err_set(b->e, -ENOMEM, "out of memory") : 0;
}

/* The operand that is not a column, against the column. */
static int fit(struct binding *b, struct expr_operand *column, struct expr_operand *other)
{
	struct expr_column *c = &b->to->columns[column->column];
	if (other->kind == OPERAND_COLUMN)
		return fit_columns(b, c, &b->to->columns[other->column]);
	if (other->kind == OPERAND_LITERAL)
		return other->value.kind == VALUE_MISSING ? 0 : fit_literal(b, c, &other->value);
	struct row_value *items = (struct row_value *)other->items;
	for (size_t i = 0; i < other->item_count; i++) {
		int r = fit_literal(b, c, &items[i]);
		if (r)
			return r;
	}
	expr_set_sort(items, &other->item_count);
	return 0;
}

static int fit_alone(struct binding *b, enum expr_op op, const struct expr_operand *o)
{
	struct expr_column *c = &b->to->columns[o->column];
	enum logical_type want = op == EXPR_TEST ? TYPE_BOOLEAN : TYPE_STRING;
	if (c->type == TYPE_NONE)
		c->type = want;
	if (op == EXPR_IS_NULL || c->type == want)
		return 0;
	return err_set_kind(b->e, ERR_REFUSED, -EINVAL, "column %s is %s in the contract, and a rule %s", c->name, type_name(c->type),
			    op == EXPR_TEST ? "takes it for true or false" : "asks 'like' of it, which is for text");
}

static int bind_leaf(struct binding *b, const struct expr_node *n, struct expr_node **ret)
{
	struct expr_node *c;
	if (n->op == EXPR_CONSTANT || (n->left.kind != OPERAND_COLUMN && n->right.kind != OPERAND_COLUMN)) {
		c = expr_node_constant(b->to, eval(n, b->env, NULL));
		*ret = c;
		return c ? 0 : err_set(b->e, -ENOMEM, "out of memory");
	}
	c = expr_node_new(b->to, n->op);
	if (!c)
		return err_set(b->e, -ENOMEM, "out of memory");
	int r = bind_operand(b, &n->left, &c->left);
	if (!r)
		r = bind_operand(b, &n->right, &c->right);
	if (!r && (n->op == EXPR_IS_NULL || n->op == EXPR_TEST || n->op == EXPR_LIKE))
		r = fit_alone(b, n->op, &c->left);
	else if (!r)
		r = c->left.kind == OPERAND_COLUMN ? fit(b, &c->left, &c->right) : fit(b, &c->right, &c->left);
	if (r)
		return r;
	bool unknown = (c->left.kind == OPERAND_LITERAL && c->left.value.kind == VALUE_MISSING) ||
		       (c->right.kind == OPERAND_LITERAL && c->right.value.kind == VALUE_MISSING);
	*ret = unknown ? expr_node_constant(b->to, TRUTH_UNKNOWN) : c;
	return *ret ? 0 : err_set(b->e, -ENOMEM, "out of memory");
}

static int bind_node(struct binding *b, const struct expr_node *n, struct expr_node **ret)
{
	if (n->op != EXPR_AND && n->op != EXPR_OR && n->op != EXPR_NOT)
		return bind_leaf(b, n, ret);
	struct expr_node *c = expr_node_new(b->to, n->op);
	int r = c ? 0 : err_set(b->e, -ENOMEM, "out of memory");
	for (size_t i = 0; !r && i < n->child_count; i++) {
		struct expr_node *child;
		r = bind_node(b, n->children[i], &child);
		if (!r && expr_node_add(b->to, c, child))
			r = err_set(b->e, -ENOMEM, "out of memory");
	}
	if (r)
		return r;
	*ret = expr_fold(b->to, c);
	return *ret ? 0 : err_set(b->e, -ENOMEM, "out of memory");
}

int expr_bind(const struct expr *x, struct expr_env *env, const struct contract_object *object, struct expr **ret, struct err *e)
{
	struct expr *bound = expr_new(), *small;
	struct binding b = { x, bound, env, object, e };
	if (!bound)
		return err_set(e, -ENOMEM, "out of memory");
	int r = bind_node(&b, x->root, &bound->root);
	/* A copy has only the columns that are still asked for, in the order of the canonical tree. */
	if (!r && !(small = expr_copy(bound)))
		r = err_set(e, -ENOMEM, "out of memory");
	expr_free(bound);
	if (r)
		return r;
	for (size_t i = 0; i < small->column_count; i++)
		if (small->columns[i].type == TYPE_NONE)
			small->columns[i].type = TYPE_STRING;
	*ret = small;
	return 0;
}
