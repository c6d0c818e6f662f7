/*
 * Conditions: typed expressions in three-valued logic.
 *
 * An expression is parsed and type-checked once (expr_parse).  It may speak of attributes, which a decision knows, and of columns
 * (`row.age`), which only a view knows.  expr_bind replaces every attribute by its value and types every column by the contract: what is
 * left is a pure function of a row, which views evaluate with expr_eval_row.  It has a canonical text (expr_text).
 *
 * Truth is true, false or unknown (Kleene): unknown is what comes of a null, a missing or invalid value, or values that cannot be
 * compared.  "Unknown tightens" is the caller's to do: a row is shown only when its filter is TRUTH_TRUE.
 *
 * Thread rules: an expression is immutable after expr_parse / expr_bind; any number of threads may evaluate it at once.
 */
#ifndef MESHFS_POLICY_EXPR_H
#define MESHFS_POLICY_EXPR_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/contract.h"
#include "policy/value.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum truth { TRUTH_FALSE = 0, TRUTH_TRUE = 1, TRUTH_UNKNOWN = 2 };
enum truth truth_not(enum truth a);
enum truth truth_and(enum truth a, enum truth b);
enum truth truth_or(enum truth a, enum truth b);

struct expr; /* an expression: tree, columns, texts; one owner */

/* -- for views: a bound expression over a row ------------------------------------------------ */

struct expr_column {
	const char *name;       /* as the contract names it; nested: dotted path */
	enum logical_type type; /* what to hand to row_value_parse; never TYPE_NONE once bound */
};

/* The columns it reads: values[i] of expr_eval_row is the value of column i.  May be 0 (a constant: evaluate with NULL). */
size_t expr_columns(const struct expr *x, const struct expr_column **ret);
enum truth expr_eval_row(const struct expr *x, const struct row_value *values);
/* Appends the canonical text: equal expressions have equal texts, whatever order `and` and `or` had. */
void expr_text(const struct expr *x, struct buf *ret);
/* The same for people: as one would write it, `!=` for a negated `==`, and no parentheses around the whole. */
void expr_words(const struct expr *x, struct buf *ret);
struct expr *expr_copy(const struct expr *x); /* NULL without memory */
void expr_free(struct expr *x);

/*
 * The tree, for who has to say it in another language (SQL).  Read-only.  In a bound expression there are no OPERAND_ATTRIBUTE.
 *
 * EXPR_IN: `left` is one of `right` (a set).  A set on the left too: the two have a member in common.  EXPR_LIKE: value_like, `right` is
 * one literal.  EXPR_IS_NULL uses `left` only, and so does EXPR_TEST: a boolean operand that stands alone.  `!=`, `not in`, `not like` and `is not
 * null` are EXPR_NOT around these.
 */
enum expr_op {
	EXPR_CONSTANT, /* `constant` */
	EXPR_AND, EXPR_OR, EXPR_NOT,
	EXPR_EQ, EXPR_LT, EXPR_LE, EXPR_GT, EXPR_GE,
	EXPR_IN, EXPR_LIKE, EXPR_IS_NULL, EXPR_TEST,
};

enum operand_kind { OPERAND_NONE, OPERAND_LITERAL, OPERAND_SET, OPERAND_COLUMN, OPERAND_ATTRIBUTE };

struct expr_operand {
	enum operand_kind kind;
	struct row_value value;        /* LITERAL */
	const struct row_value *items; /* SET: sorted, no item twice */
	size_t item_count;
	size_t column;                 /* COLUMN: index into expr_columns */
	int attribute;                 /* ATTRIBUTE: policy/attribute.h */
	int line, at;                  /* where it stood in the policy file */
};

struct expr_node {
	enum expr_op op;
	enum truth constant;
	struct expr_node **children; /* AND, OR: any number; NOT: one */
	size_t child_count;
	struct expr_operand left, right;
};
const struct expr_node *expr_root(const struct expr *x);

#endif
