/* The inside of struct expr, for policy/expr*.c only. */
#ifndef MESHFS_POLICY_EXPR_INTERNAL_H
#define MESHFS_POLICY_EXPR_INTERNAL_H

#include "policy/arena.h"
#include "policy/attribute.h"

#define EXPR_DEPTH_MAX 64
#define EXPR_COLUMNS_MAX 256

struct expr {
	struct arena arena;
	struct expr_node *root;
	struct expr_column *columns;
	size_t column_count;
	unsigned flags;
	unsigned long attributes; /* bits */
	bool lenient; /* expr_bind takes a number for text where the column is text */
};

struct expr *expr_new(void);
struct expr_node *expr_node_new(struct expr *x, enum expr_op op);
struct expr_node *expr_node_constant(struct expr *x, enum truth t);
int expr_node_add(struct expr *x, struct expr_node *parent, struct expr_node *child); /* 0 or -ENOMEM */
/* The index of a column, added when it is new; -1 without memory or with too many. */
int expr_column_add(struct expr *x, const char *name, size_t len, enum logical_type type);
int expr_value_copy(struct expr *x, const struct row_value *from, struct row_value *ret);
void expr_set_sort(struct row_value *items, size_t *count);
void expr_node_text(const struct expr *x, const struct expr_node *n, struct buf *ret);
/* Folds a node whose children are folded: constants vanish, and/or are flat, sorted and free of doubles.  NULL without memory. */
struct expr_node *expr_fold(struct expr *x, struct expr_node *n);

#endif
