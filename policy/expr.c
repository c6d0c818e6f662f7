/* The model of expressions: building, copying, canonical text, evaluation. */
#include "policy/expr_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum truth truth_not(enum truth a)
{
	return a == TRUTH_UNKNOWN ? TRUTH_UNKNOWN : a == TRUTH_TRUE ? TRUTH_FALSE : TRUTH_TRUE;
}

enum truth truth_and(enum truth a, enum truth b)
{
	if (a == TRUTH_FALSE || b == TRUTH_FALSE)
		return TRUTH_FALSE;
	return a == TRUTH_UNKNOWN || b == TRUTH_UNKNOWN ? TRUTH_UNKNOWN : TRUTH_TRUE;
}

enum truth truth_or(enum truth a, enum truth b)
{
	if (a == TRUTH_TRUE || b == TRUTH_TRUE)
		return TRUTH_TRUE;
	return a == TRUTH_UNKNOWN || b == TRUTH_UNKNOWN ? TRUTH_UNKNOWN : TRUTH_FALSE;
}

/* -- building ----------------------------------------------------------------- */

struct expr *expr_new(void)
{
	return calloc(1, sizeof(struct expr));
}

void expr_free(struct expr *x)
{
	if (!x)
		return;
	arena_free(&x->arena);
	free(x);
}

struct expr_node *expr_node_new(struct expr *x, enum expr_op op)
{
	struct expr_node *n = arena_alloc(&x->arena, sizeof *n);
	if (n)
		n->op = op;
	return n;
}

struct expr_node *expr_node_constant(struct expr *x, enum truth t)
{
	struct expr_node *n = expr_node_new(x, EXPR_CONSTANT);
	if (n)
		n->constant = t;
	return n;
}

int expr_node_add(struct expr *x, struct expr_node *parent, struct expr_node *child)
{
	struct expr_node **slot = arena_push(&x->arena, &parent->children, &parent->child_count, sizeof *slot);
	if (!slot)
		return -ENOMEM;
	*slot = child;
	return 0;
}

int expr_column_add(struct expr *x, const char *name, size_t len, enum logical_type type)
{
	for (size_t i = 0; i < x->column_count; i++)
		if (strlen(x->columns[i].name) == len && !memcmp(x->columns[i].name, name, len))
			return (int)i;
	if (x->column_count >= EXPR_COLUMNS_MAX)
		return -1;
	struct expr_column *c = arena_push(&x->arena, &x->columns, &x->column_count, sizeof *c);
	if (!c)
		return -1;
	c->name = arena_text(&x->arena, name, len);
	c->type = type;
	return c->name ? (int)x->column_count - 1 : -1;
}

int expr_value_copy(struct expr *x, const struct row_value *from, struct row_value *ret)
{
	*ret = *from;
	if (!from->text)
		return 0;
	ret->text = arena_text(&x->arena, from->text, from->len);
	return ret->text ? 0 : -ENOMEM;
}

static int order_values(const void *a, const void *b)
{
	const struct row_value *x = a, *y = b;
	int order = 0;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	value_compare(x, y, &order);
	return order;
}

void expr_set_sort(struct row_value *items, size_t *count)
{
	size_t n = 0;
	if (*count)
		qsort(items, *count, sizeof *items, order_values);
	for (size_t i = 0; i < *count; i++)
		if (!n || order_values(&items[n - 1], &items[i]))
			items[n++] = items[i];
	*count = n;
}

const struct expr_node *expr_root(const struct expr *x)
{
	return x->root;
}

size_t expr_columns(const struct expr *x, const struct expr_column **ret)
{
	*ret = x->columns;
	return x->column_count;
}

unsigned expr_flags(const struct expr *x)
{
	return x->flags;
}

bool expr_uses(const struct expr *x, enum attribute a)
{
	return x->attributes >> a & 1;
}

struct expr *expr_constant(enum truth t)
{
	struct expr *x = expr_new();
	if (x && !(x->root = expr_node_constant(x, t))) {
		expr_free(x);
		return NULL;
	}
	return x;
}

/* -- copying -------------------------------------------------------------------- */

static int copy_operand(struct expr *to, const struct expr *from, const struct expr_operand *o, struct expr_operand *ret)
{
	*ret = *o;
	if (o->kind == OPERAND_LITERAL)
		return expr_value_copy(to, &o->value, &ret->value);
	if (o->kind == OPERAND_COLUMN) {
		const struct expr_column *c = &from->columns[o->column];
		int i = expr_column_add(to, c->name, strlen(c->name), c->type);
		ret->column = i < 0 ? 0 : (size_t)i;
		return i < 0 ? -ENOMEM : 0;
	}
	if (o->kind != OPERAND_SET)
		return 0;
	struct row_value *items = arena_alloc(&to->arena, (o->item_count + 1) * sizeof *items);
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < o->item_count; i++)
		if (expr_value_copy(to, &o->items[i], &items[i]))
			return -ENOMEM;
	ret->items = items;
	return 0;
}

static struct expr_node *copy_node(struct expr *to, const struct expr *from, const struct expr_node *n)
{
	struct expr_node *c = expr_node_new(to, n->op);
	if (!c || copy_operand(to, from, &n->left, &c->left) || copy_operand(to, from, &n->right, &c->right))
		return NULL;
	c->constant = n->constant;
	for (size_t i = 0; i < n->child_count; i++) {
		struct expr_node *child = copy_node(to, from, n->children[i]);
		if (!child || expr_node_add(to, c, child))
			return NULL;
	}
	return c;
}

struct expr *expr_copy(const struct expr *x)
{
	struct expr *c = expr_new();
	if (!c)
		return NULL;
	c->flags = x->flags;
	c->attributes = x->attributes;
	c->lenient = x->lenient;
	c->root = copy_node(c, x, x->root);
	if (!c->root) {
		expr_free(c);
		return NULL;
	}
	return c;
}

struct expr *expr_and(struct expr *const *list, size_t count)
{
	struct expr *x = expr_new();
	struct expr_node *all = x ? expr_node_new(x, EXPR_AND) : NULL;
	for (size_t i = 0; all && i < count; i++) {
		struct expr_node *n = copy_node(x, list[i], list[i]->root);
		if (!n || expr_node_add(x, all, n))
			all = NULL;
	}
	if (all)
		x->root = expr_fold(x, all);
	if (x && !x->root) {
		expr_free(x);
		return NULL;
	}
	return x;
}

/* -- canonical text ----------------------------------------------------------------- */

static void value_text(const struct row_value *v, struct buf *ret)
{
	switch (v->kind) {
	case VALUE_TEXT:
		buf_addc(ret, '"');
		for (size_t i = 0; i < v->len; i++) {
			if (v->text[i] == '"' || v->text[i] == '\\')
				buf_addc(ret, '\\');
			buf_addc(ret, v->text[i]);
		}
		buf_addc(ret, '"');
		break;
	case VALUE_BOOL:
		buf_adds(ret, v->truth ? "true" : "false");
		break;
	case VALUE_NUMBER:
		if (v->exact)
			buf_addf(ret, "%lld", (long long)v->integer);
		else
			buf_add(ret, v->text, v->len);
		break;
	case VALUE_TIME:
		/* As it was written: the same moment in two spellings is two texts, which costs a view, never a row. */
		buf_add(ret, v->text, v->len);
		break;
	default:
		buf_adds(ret, "null");
	}
}

static bool plain_name(const char *name)
{
	for (; *name; name++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", *name))
			return false;
	return true;
}

static void operand_text(const struct expr *x, const struct expr_operand *o, struct buf *ret)
{
	switch (o->kind) {
	case OPERAND_LITERAL:
		value_text(&o->value, ret);
		break;
	case OPERAND_SET:
		buf_addc(ret, '{');
		for (size_t i = 0; i < o->item_count; i++) {
			if (i)
				buf_adds(ret, ", ");
			value_text(&o->items[i], ret);
		}
		buf_addc(ret, '}');
		break;
	case OPERAND_COLUMN: {
		const char *name = x->columns[o->column].name;
		buf_adds(ret, "row.");
		if (plain_name(name))
			buf_adds(ret, name);
		else
			value_text(&(struct row_value){ .kind = VALUE_TEXT, .text = name, .len = strlen(name) }, ret);
		break;
	}
	case OPERAND_ATTRIBUTE:
		buf_adds(ret, attribute_specs[o->attribute].name);
		break;
	case OPERAND_NONE:
		break;
	}
}

static const char *const signs[] = { [EXPR_EQ] = " == ", [EXPR_LT] = " < ",  [EXPR_LE] = " <= ", [EXPR_GT] = " > ",
				     [EXPR_GE] = " >= ", [EXPR_IN] = " in ", [EXPR_LIKE] = " like " };

void expr_node_text(const struct expr *x, const struct expr_node *n, struct buf *ret)
{
	switch (n->op) {
	case EXPR_CONSTANT:
		buf_adds(ret, n->constant == TRUTH_TRUE ? "true" : n->constant == TRUTH_FALSE ? "false" : "unknown");
		break;
	case EXPR_AND:
	case EXPR_OR:
		buf_addc(ret, '(');
		for (size_t i = 0; i < n->child_count; i++) {
			if (i)
				buf_adds(ret, n->op == EXPR_AND ? " and " : " or ");
			expr_node_text(x, n->children[i], ret);
		}
		buf_addc(ret, ')');
		break;
	case EXPR_NOT:
		buf_adds(ret, "not (");
		expr_node_text(x, n->children[0], ret);
		buf_addc(ret, ')');
		break;
	case EXPR_IS_NULL:
		operand_text(x, &n->left, ret);
		buf_adds(ret, " is null");
		break;
	case EXPR_TEST:
		operand_text(x, &n->left, ret);
		break;
	default:
		operand_text(x, &n->left, ret);
		buf_adds(ret, signs[n->op]);
		operand_text(x, &n->right, ret);
	}
}

/* -- for people ------------------------------------------------------------------------------ */

static void node_words(const struct expr *x, const struct expr_node *n, bool inside, struct buf *ret);

static void negated_words(const struct expr *x, const struct expr_node *n, struct buf *ret)
{
	const char *sign = n->op == EXPR_EQ ? " != " : n->op == EXPR_IN ? " not in " : n->op == EXPR_LIKE ? " not like " : n->op == EXPR_IS_NULL ? " is not null" : NULL;
	if (!sign) {
		buf_adds(ret, "not ");
		node_words(x, n, true, ret);
		return;
	}
	operand_text(x, &n->left, ret);
	buf_adds(ret, sign);
	operand_text(x, &n->right, ret);
}

static void list_words(const struct expr *x, const struct expr_node *n, bool inside, struct buf *ret)
{
	if (inside)
		buf_addc(ret, '(');
	for (size_t i = 0; i < n->child_count; i++) {
		if (i)
			buf_adds(ret, n->op == EXPR_AND ? " and " : " or ");
		node_words(x, n->children[i], true, ret);
	}
	if (inside)
		buf_addc(ret, ')');
}

static void node_words(const struct expr *x, const struct expr_node *n, bool inside, struct buf *ret)
{
	if (n->op == EXPR_NOT)
		negated_words(x, n->children[0], ret);
	else if (n->op == EXPR_AND || n->op == EXPR_OR)
		list_words(x, n, inside, ret);
	else
		expr_node_text(x, n, ret);
}

void expr_words(const struct expr *x, struct buf *ret)
{
	node_words(x, x->root, false, ret);
}

void expr_text(const struct expr *x, struct buf *ret)
{
	expr_node_text(x, x->root, ret);
}

/* -- folding ------------------------------------------------------------------------------ */

struct child_text {
	char *text;
	struct expr_node *node;
};

static int order_children(const void *a, const void *b)
{
	return strcmp(((const struct child_text *)a)->text, ((const struct child_text *)b)->text);
}

/* Sorts children by their text and keeps one of each.  -ENOMEM leaves them as they were. */
static int sort_children(const struct expr *x, struct expr_node *n)
{
	struct child_text *list = calloc(n->child_count + 1, sizeof *list);
	size_t kept = 0;
	int r = list ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < n->child_count; i++) {
		struct buf b = BUF_INIT;
		expr_node_text(x, n->children[i], &b);
		list[i].node = n->children[i];
		list[i].text = buf_take(&b);
		if (!list[i].text)
			r = -ENOMEM;
	}
	if (!r && n->child_count)
		qsort(list, n->child_count, sizeof *list, order_children);
	for (size_t i = 0; !r && i < n->child_count; i++)
		if (!i || strcmp(list[i].text, list[i - 1].text) != 0)
			n->children[kept++] = list[i].node;
	for (size_t i = 0; list && i < n->child_count; i++)
		free(list[i].text);
	free(list);
	if (!r)
		n->child_count = kept;
	return r;
}

static struct expr_node *fold_list(struct expr *x, struct expr_node *n)
{
	enum truth neutral = n->op == EXPR_AND ? TRUTH_TRUE : TRUTH_FALSE;
	struct expr_node *flat = expr_node_new(x, n->op);
	bool unknown = false;
	if (!flat)
		return NULL;
	for (size_t i = 0; i < n->child_count; i++) {
		struct expr_node *c = n->children[i];
		if (c->op == EXPR_CONSTANT) {
			if (c->constant == TRUTH_UNKNOWN)
				unknown = true;
			else if (c->constant != neutral)
				return c;
		} else if (c->op == n->op) {
			for (size_t k = 0; k < c->child_count; k++) {
				if (c->children[k]->op == EXPR_CONSTANT)
					unknown = true;
				else if (expr_node_add(x, flat, c->children[k]))
					return NULL;
			}
		} else if (expr_node_add(x, flat, c)) {
			return NULL;
		}
	}
	if (unknown) {
		struct expr_node *u = expr_node_constant(x, TRUTH_UNKNOWN);
		if (!u || expr_node_add(x, flat, u))
			return NULL;
	}
	if (!flat->child_count)
		return expr_node_constant(x, neutral);
	if (sort_children(x, flat))
		return NULL;
	return flat->child_count == 1 ? flat->children[0] : flat;
}

struct expr_node *expr_fold(struct expr *x, struct expr_node *n)
{
	if (n->op == EXPR_AND || n->op == EXPR_OR)
		return fold_list(x, n);
	if (n->op != EXPR_NOT)
		return n;
	struct expr_node *c = n->children[0];
	if (c->op == EXPR_CONSTANT)
		return expr_node_constant(x, truth_not(c->constant));
	return c->op == EXPR_NOT ? c->children[0] : n;
}
