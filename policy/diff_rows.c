/* Which of two row filters shows less, as far as their conditions tell. */
#include "policy/diff_internal.h"
#include "policy/expr_internal.h"

#include <string.h>

struct side {
	const struct expr *expr;
	const struct expr_node *node;
};

static struct side child(const struct side *s, size_t i)
{
	return (struct side){ s->expr, s->node->children[i] };
}

static bool same_text(const struct side *a, const struct side *b)
{
	struct buf ta = BUF_INIT, tb = BUF_INIT;
	expr_node_text(a->expr, a->node, &ta);
	expr_node_text(b->expr, b->node, &tb);
	bool same = !buf_check(&ta) && !buf_check(&tb) && !strcmp(buf_text(&ta), buf_text(&tb));
	buf_free(&ta);
	buf_free(&tb);
	return same;
}

static bool same_column(const struct side *a, const struct side *b)
{
	if (a->node->left.kind != OPERAND_COLUMN || b->node->left.kind != OPERAND_COLUMN)
		return false;
	const struct expr_column *x = &a->expr->columns[a->node->left.column], *y = &b->expr->columns[b->node->left.column];
	return x->type == y->type && !strcmp(x->name, y->name);
}

/* Does a value that is `a_op` `a` stand in `b_op` to `b`? */
static bool value_implies(enum expr_op a_op, const struct row_value *a, enum expr_op b_op, const struct row_value *b)
{
	int order;
	if (!value_compare(a, b, &order))
		return false;
	switch (b_op) {
	case EXPR_GE:
		return (a_op == EXPR_GE || a_op == EXPR_GT || a_op == EXPR_EQ) && order >= 0;
	case EXPR_GT:
		return (a_op == EXPR_GT && order >= 0) || ((a_op == EXPR_GE || a_op == EXPR_EQ) && order > 0);
	case EXPR_LE:
		return (a_op == EXPR_LE || a_op == EXPR_LT || a_op == EXPR_EQ) && order <= 0;
	case EXPR_LT:
		return (a_op == EXPR_LT && order <= 0) || ((a_op == EXPR_LE || a_op == EXPR_EQ) && order < 0);
	case EXPR_EQ:
		return a_op == EXPR_EQ && order == 0;
	default:
		return false;
	}
}

/* The same of the right sides: one literal, or one of a set. */
static bool any_implies(enum expr_op a_op, const struct row_value *a, const struct expr_node *b)
{
	if (b->op != EXPR_IN)
		return b->right.kind == OPERAND_LITERAL && value_implies(a_op, a, b->op, &b->right.value);
	bool any = false;
	for (size_t i = 0; b->right.kind == OPERAND_SET && i < b->right.item_count && !any; i++)
		any = value_implies(a_op, a, EXPR_EQ, &b->right.items[i]);
	return any;
}

static bool compares(const struct expr_node *n)
{
	return n->op == EXPR_EQ || n->op == EXPR_LT || n->op == EXPR_LE || n->op == EXPR_GT || n->op == EXPR_GE || n->op == EXPR_IN || n->op == EXPR_LIKE;
}

static bool leaf_implies(const struct side *a, const struct side *b)
{
	if (b->node->op == EXPR_NOT && b->node->children[0]->op == EXPR_IS_NULL) { /* what compares is true of no null */
		struct side null = child(b, 0);
		return compares(a->node) && same_column(a, &null);
	}
	if (!compares(a->node) || !compares(b->node) || !same_column(a, b))
		return false;
	if (a->node->op != EXPR_IN)
		return a->node->right.kind == OPERAND_LITERAL && any_implies(a->node->op, &a->node->right.value, b->node);
	bool all = a->node->right.kind == OPERAND_SET;
	for (size_t i = 0; all && i < a->node->right.item_count; i++)
		all = any_implies(EXPR_EQ, &a->node->right.items[i], b->node);
	return all;
}

static bool node_implies(const struct side *a, const struct side *b)
{
	bool any = false, all = true;
	if (same_text(a, b))
		return true;
	if (b->node->op == EXPR_AND) {
		for (size_t i = 0; i < b->node->child_count && all; i++)
			all = node_implies(a, &(struct side){ b->expr, b->node->children[i] });
		return all;
	}
	if (a->node->op == EXPR_OR) {
		for (size_t i = 0; i < a->node->child_count && all; i++)
			all = node_implies(&(struct side){ a->expr, a->node->children[i] }, b);
		return all;
	}
	for (size_t i = 0; a->node->op == EXPR_AND && i < a->node->child_count && !any; i++)
		any = node_implies(&(struct side){ a->expr, a->node->children[i] }, b);
	for (size_t i = 0; b->node->op == EXPR_OR && i < b->node->child_count && !any; i++)
		any = node_implies(a, &(struct side){ b->expr, b->node->children[i] });
	return any || leaf_implies(a, b);
}

bool diff_implies(const struct expr *a, const struct expr *b)
{
	const struct expr_node *root = a ? expr_root(a) : NULL;
	if (!b || (root && root->op == EXPR_CONSTANT && root->constant != TRUTH_TRUE))
		return true;
	return a && node_implies(&(struct side){ a, root }, &(struct side){ b, expr_root(b) });
}
