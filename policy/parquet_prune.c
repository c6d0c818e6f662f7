#include "policy/parquet_prune.h"

#include <stdio.h>
#include <string.h>

/* What is known of a column in the group. */
struct bounds {
	bool known;           /* min and max are: every value lies between them */
	bool exact;           /* and both occur */
	bool nulls, values;   /* may there be any? */
	struct row_value min, max;
	char min_text[24], max_text[24];
};

static bool find_leaf(const struct parquet_footer *f, const struct expr_column *column, size_t *ret)
{
	struct buf path = BUF_INIT;
	bool found = false;
	for (size_t leaf = 0; leaf < f->leaf_count; leaf++) {
		const struct parquet_element *el = &f->elements[f->leaves[leaf]];
		buf_clear(&path);
		parquet_leaf_path(f, leaf, &path);
		if (el->parent != 0 || el->repetition == PARQUET_REPEATED || buf_check(&path) || strcmp(buf_text(&path), column->name) != 0)
			continue;
		if (found) { /* twice: nobody can tell which is meant */
			found = false;
			break;
		}
		*ret = leaf;
		found = true;
	}
	buf_free(&path);
	return found;
}

static bool integer_of(struct parquet_slice s, size_t width, int64_t *ret)
{
	uint64_t v = 0;
	if (!s.at || s.len != width)
		return false;
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)s.at[i] << 8 * i;
	*ret = width == 4 ? (int32_t)v : (int64_t)v;
	return true;
}

/* A statistic as a value of the contract's type; only where both mean the same without doubt.  A number needs its text too: a literal of more digits than
 * an integer holds is compared by text. */
static bool value_of(const struct parquet_element *el, struct parquet_slice s, enum logical_type type, char room[24], struct row_value *ret)
{
	int64_t v;
	bool text = el->type == PARQUET_BYTES && (el->converted == 0 || el->logical == 1);
	*ret = (struct row_value){ .kind = VALUE_INVALID };
	if (type == TYPE_STRING && text && s.at) {
		*ret = (struct row_value){ .kind = VALUE_TEXT, .text = (const char *)s.at, .len = s.len };
		return true;
	}
	bool plain = el->converted == -1 && el->logical == 0;
	bool is_signed = el->converted >= 15 && el->converted <= 18; /* INT_8 … INT_64 */
	if ((type == TYPE_INTEGER || type == TYPE_NUMBER) && (plain || is_signed) &&
	    ((el->type == PARQUET_INT32 && integer_of(s, 4, &v)) || (el->type == PARQUET_INT64 && integer_of(s, 8, &v)))) {
		if (v > 999999999999999999 || v < -999999999999999999)
			return false;
		int n = snprintf(room, 24, "%lld", (long long)v);
		*ret = (struct row_value){ .kind = VALUE_NUMBER, .exact = true, .integer = v, .text = room, .len = (size_t)n };
		return true;
	}
	if (type == TYPE_DATE && el->type == PARQUET_INT32 && el->converted == 6 && integer_of(s, 4, &v)) {
		*ret = (struct row_value){ .kind = VALUE_TIME, .integer = v * 86400 };
		return true;
	}
	return false;
}

static void find_bounds(const struct parquet_footer *f, size_t group, const struct expr_column *column, struct bounds *b)
{
	size_t leaf;
	memset(b, 0, sizeof *b);
	b->nulls = b->values = true;
	if (!find_leaf(f, column, &leaf))
		return;
	const struct parquet_chunk *c = &f->groups[group].chunks[leaf];
	const struct parquet_element *el = &f->elements[f->leaves[leaf]];
	if (el->repetition == PARQUET_REQUIRED || c->stats.null_count == 0)
		b->nulls = false;
	if (c->stats.null_count >= 0 && c->stats.null_count == c->value_count)
		b->values = false;
	b->known = value_of(el, c->stats.min, column->type, b->min_text, &b->min) &&
		   value_of(el, c->stats.max, column->type, b->max_text, &b->max);
	b->exact = b->known && !c->stats.inexact;
}

static unsigned prune_not(unsigned a)
{
	return (a & PRUNE_UNKNOWN) | (a & PRUNE_TRUE ? PRUNE_FALSE : 0) | (a & PRUNE_FALSE ? PRUNE_TRUE : 0);
}

static unsigned bit(enum truth t)
{
	return t == TRUTH_TRUE ? PRUNE_TRUE : t == TRUTH_FALSE ? PRUNE_FALSE : PRUNE_UNKNOWN;
}

/* Every pair of what the two may be. */
static unsigned combine(unsigned a, unsigned b, enum truth (*op)(enum truth, enum truth))
{
	static const enum truth all[] = { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN };
	unsigned ret = 0;
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++)
			if ((a & bit(all[i])) && (b & bit(all[k])))
				ret |= bit(op(all[i], all[k]));
	return ret;
}

/* A comparison of a column with a literal, seen from the column. */
static unsigned compare(const struct bounds *b, const struct row_value *literal, enum expr_op op)
{
	int low, high; /* of min and max against the literal */
	unsigned t = b->nulls ? PRUNE_UNKNOWN : 0;
	if (!b->values)
		return PRUNE_UNKNOWN;
	if (!b->known || !value_compare(&b->min, literal, &low) || !value_compare(&b->max, literal, &high))
		return PRUNE_ANY;
	switch (op) {
	case EXPR_LT:
		return t | (low < 0 ? PRUNE_TRUE : 0) | (high >= 0 ? PRUNE_FALSE : 0);
	case EXPR_LE:
		return t | (low <= 0 ? PRUNE_TRUE : 0) | (high > 0 ? PRUNE_FALSE : 0);
	case EXPR_GT:
		return t | (high > 0 ? PRUNE_TRUE : 0) | (low <= 0 ? PRUNE_FALSE : 0);
	case EXPR_GE:
		return t | (high >= 0 ? PRUNE_TRUE : 0) | (low < 0 ? PRUNE_FALSE : 0);
	case EXPR_EQ:
		if (low > 0 || high < 0)
			return t | PRUNE_FALSE;
		return t | PRUNE_TRUE | (low == 0 && high == 0 && b->exact ? 0 : PRUNE_FALSE);
	default:
		return PRUNE_ANY;
	}
}

static enum expr_op turned(enum expr_op op)
{
	switch (op) {
	case EXPR_LT:
		return EXPR_GT;
	case EXPR_LE:
		return EXPR_GE;
	case EXPR_GT:
		return EXPR_LT;
	case EXPR_GE:
		return EXPR_LE;
	default:
		return op;
	}
}

struct prune {
	const struct parquet_footer *f;
	size_t group;
	const struct expr_column *columns;
};

static unsigned leaf_truths(const struct prune *p, const struct expr_node *n)
{
	struct bounds b;
	const struct expr_operand *column = n->left.kind == OPERAND_COLUMN ? &n->left : &n->right;
	const struct expr_operand *other = column == &n->left ? &n->right : &n->left;
	if (column->kind != OPERAND_COLUMN)
		return PRUNE_ANY;
	find_bounds(p->f, p->group, &p->columns[column->column], &b);
	if (n->op == EXPR_IS_NULL)
		return (b.nulls ? PRUNE_TRUE : 0) | (b.values ? PRUNE_FALSE | PRUNE_UNKNOWN : 0);
	if (n->op == EXPR_IN && other->kind == OPERAND_SET && column == &n->left) {
		unsigned t = 0;
		bool all = false;
		for (size_t i = 0; i < other->item_count; i++) {
			unsigned one = compare(&b, &other->items[i], EXPR_EQ);
			t |= one;
			all |= !(one & PRUNE_FALSE);
		}
		return all ? t & ~(unsigned)PRUNE_FALSE : t | PRUNE_FALSE;
	}
	if (other->kind != OPERAND_LITERAL)
		return PRUNE_ANY;
	return compare(&b, &other->value, column == &n->left ? n->op : turned(n->op));
}

static unsigned truths(const struct prune *p, const struct expr_node *n)
{
	unsigned t;
	switch (n->op) {
	case EXPR_CONSTANT:
		return bit(n->constant);
	case EXPR_NOT:
		return prune_not(truths(p, n->children[0]));
	case EXPR_AND:
	case EXPR_OR:
		t = n->op == EXPR_AND ? PRUNE_TRUE : PRUNE_FALSE;
		for (size_t i = 0; i < n->child_count; i++)
			t = combine(t, truths(p, n->children[i]), n->op == EXPR_AND ? truth_and : truth_or);
		return t;
	case EXPR_EQ:
	case EXPR_LT:
	case EXPR_LE:
	case EXPR_GT:
	case EXPR_GE:
	case EXPR_IN:
	case EXPR_IS_NULL:
		return leaf_truths(p, n);
	case EXPR_LIKE:
	case EXPR_TEST:
		break;
	}
	return PRUNE_ANY;
}

unsigned parquet_prune(const struct parquet_footer *f, size_t group, const struct expr *filter)
{
	struct prune p = { f, group, NULL };
	if (!f->groups[group].rows)
		return PRUNE_FALSE;
	expr_columns(filter, &p.columns);
	return truths(&p, expr_root(filter));
}
