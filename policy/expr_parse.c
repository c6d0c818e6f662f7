/* Parsing and type-checking of conditions: precedence is `or` < `and` < `not` < comparison. */
#include "catalog/base/text.h"
#include "policy/expr_internal.h"
#include "policy/lexer.h"

#include <errno.h>
#include <string.h>

struct expr_parser {
	const struct lexer *l;
	size_t at;
	bool rows;
	bool bare; /* a `--where`: no attributes; a word on the left is a column */
	int depth;
	struct expr *x;
	struct err *e;
};

static int no_memory(struct expr_parser *p)
{
	return err_set(p->e, -ENOMEM, "out of memory");
}

static const struct token *peek(const struct expr_parser *p)
{
	return p->at < p->l->count ? &p->l->tokens[p->at] : NULL;
}

static bool is(const struct token *t, const char *text)
{
	return t && t->kind != TOKEN_STRING && !strcmp(t->text, text);
}

static bool take(struct expr_parser *p, const char *text)
{
	if (!is(peek(p), text))
		return false;
	p->at++;
	return true;
}

static int column_here(const struct expr_parser *p)
{
	const struct token *t = peek(p);
	return t ? t->column : p->l->end_column;
}

static int wrong(struct expr_parser *p, const char *expected)
{
	const struct token *t = peek(p);
	if (!t)
		return err_at(p->e, p->l->name, p->l->line, column_here(p), "%s is missing here", expected);
	return err_at(p->e, p->l->name, p->l->line, t->column, "'%s' stands where %s is expected", t->text, expected);
}

/* -- operands ------------------------------------------------------------------------- */

static int parse_column(struct expr_parser *p, const struct token *t, struct expr_operand *ret)
{
	size_t skip = text_starts(t->text, "row.") ? 4 : 0;
	const char *name = t->text + skip;
	size_t len = t->len - skip;
	const struct token *next = peek(p);
	if (!p->rows)
		return err_at(p->e, p->l->name, p->l->line, t->column, "'%s': columns are known only in the 'rows' of a filter", t->text);
	if (!len && next && next->kind == TOKEN_STRING && next->glued) { /* row."first name" */
		name = next->text;
		len = next->len;
		p->at++;
	}
	if (!len)
		return err_at(p->e, p->l->name, p->l->line, t->column, "'row.' wants a column's name");
	int i = expr_column_add(p->x, name, len, TYPE_NONE);
	if (i < 0)
		return err_at(p->e, p->l->name, p->l->line, t->column, "too many columns in one condition (at most %d)", EXPR_COLUMNS_MAX);
	ret->kind = OPERAND_COLUMN;
	ret->column = (size_t)i;
	return 0;
}

static int parse_attribute(struct expr_parser *p, const struct token *t, int a, struct expr_operand *ret)
{
	if (p->rows && attribute_specs[a].flags & ATTR_IS_TIMED)
		return err_at(p->e, p->l->name, p->l->line, t->column,
			      "'%s' stands only in 'when' and 'unless': a view must not change with the time", t->text);
	ret->kind = OPERAND_ATTRIBUTE;
	ret->attribute = a;
	p->x->flags |= attribute_specs[a].flags;
	p->x->attributes |= 1ul << a;
	return 0;
}

static bool has_prefix(const char *word)
{
	return text_starts(word, "product.") || text_starts(word, "file.") || text_starts(word, "subject.") || text_starts(word, "session.");
}

static int parse_literal(struct expr_parser *p, const struct token *t, struct row_value *ret)
{
	bool date = t->kind == TOKEN_WORD && t->len >= 8 && strspn(t->text, "0123456789") == 4 && t->text[4] == '-';
	struct row_value v = { .kind = VALUE_TEXT, .text = t->text, .len = t->len };
	if (date && !value_parse_time(t->text, t->len, &v) && strspn(t->text, "0123456789-") == t->len)
		return err_at(p->e, p->l->name, p->l->line, t->column, "'%s' is not a date", t->text);
	if (t->kind == TOKEN_WORD && !date && !value_parse_number(t->text, t->len, &v) && (is(t, "true") || is(t, "false")))
		v = (struct row_value){ .kind = VALUE_BOOL, .truth = is(t, "true"), .text = t->text, .len = t->len };
	return expr_value_copy(p->x, &v, ret) ? no_memory(p) : 0;
}

static bool is_keyword(const struct token *t)
{
	static const char *const words[] = { "and", "or", "not", "in", "is", "like" };
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (is(t, words[i]))
			return true;
	return false;
}

/* A word that can only be a value: a number, a date, a truth value. */
static bool is_plain(const struct token *t)
{
	struct row_value v;
	return value_parse_number(t->text, t->len, &v) || value_parse_time(t->text, t->len, &v) || is(t, "true") || is(t, "false");
}

/* `left`: the first operand of a comparison must be an attribute, a column or a truth value; a bare word there is a misspelt attribute. */
static int parse_operand(struct expr_parser *p, bool left, struct expr_operand *ret)
{
	const struct token *t = peek(p);
	if (!t || t->kind == TOKEN_SIGN || is_keyword(t))
		return wrong(p, left ? "an attribute or column" : "a value");
	p->at++;
	*ret = (struct expr_operand){ .line = p->l->line, .at = t->column };
	if (t->kind == TOKEN_WORD && p->bare) {
		if (text_starts(t->text, "row.") || (left && !is_plain(t)))
			return parse_column(p, t, ret);
	} else if (t->kind == TOKEN_WORD) {
		int a = attribute_find(t->text);
		if (a >= 0)
			return parse_attribute(p, t, a, ret);
		if (text_starts(t->text, "row."))
			return parse_column(p, t, ret);
		if (has_prefix(t->text)) {
			const char *near = attribute_nearest(t->text);
			return err_at(p->e, p->l->name, p->l->line, t->column, "there is no attribute '%s'%s%s%s", t->text,
				      near ? "; did you mean '" : "", near ? near : " (quote it to mean the text)", near ? "'?" : "");
		}
	}
	ret->kind = OPERAND_LITERAL;
	return parse_literal(p, t, &ret->value);
}

static int parse_set(struct expr_parser *p, struct expr_operand *ret)
{
	struct row_value *items = NULL;
	size_t count = 0;
	*ret = (struct expr_operand){ .kind = OPERAND_SET, .line = p->l->line, .at = column_here(p) };
	p->at++;
	if (is(peek(p), "}"))
		return err_at(p->e, p->l->name, p->l->line, column_here(p), "the set is empty: nothing is in it");
	do {
		const struct token *t = peek(p);
		if (!t || t->kind == TOKEN_SIGN)
			return wrong(p, "a value");
		if (t->kind == TOKEN_WORD && !p->bare && (attribute_find(t->text) >= 0 || text_starts(t->text, "row.")))
			return err_at(p->e, p->l->name, p->l->line, t->column,
				      "'%s' is an attribute, and a set holds plain values; quote it to mean the text", t->text);
		struct row_value *item = arena_push(&p->x->arena, &items, &count, sizeof *item);
		if (!item)
			return no_memory(p);
		p->at++;
		int r = parse_literal(p, t, item);
		if (r)
			return r;
	} while (take(p, ","));
	if (!take(p, "}"))
		return wrong(p, "',' or '}'");
	ret->items = items;
	ret->item_count = count;
	return 0;
}

/* -- types ------------------------------------------------------------------------------- */

static bool is_set(const struct expr_operand *o)
{
	return o->kind == OPERAND_SET || (o->kind == OPERAND_ATTRIBUTE && attribute_specs[o->attribute].flags & ATTR_IS_SET);
}

/* VALUE_MISSING: any (a column). */
static enum value_kind kind_of(const struct expr_operand *o)
{
	if (o->kind == OPERAND_ATTRIBUTE)
		return attribute_specs[o->attribute].kind;
	return o->kind == OPERAND_LITERAL ? o->value.kind : o->kind == OPERAND_SET ? o->items[0].kind : VALUE_MISSING;
}

/* Makes a literal what the attribute beside it wants: bare words, numbers and dates are text where text is expected. */
static bool fit_value(struct row_value *v, enum value_kind want)
{
	struct row_value t;
	if (v->kind == want || want == VALUE_MISSING)
		return true;
	if (want == VALUE_TEXT) {
		*v = (struct row_value){ .kind = VALUE_TEXT, .text = v->text, .len = v->len };
		return true;
	}
	if (want != VALUE_TIME || v->kind != VALUE_TEXT || !value_parse_time(v->text, v->len, &t))
		return false;
	*v = t;
	return true;
}

static const char *kind_words(enum value_kind kind)
{
	return kind == VALUE_NUMBER ? "a number" : kind == VALUE_TIME ? "a date" : kind == VALUE_BOOL ? "true or false" : "text";
}

static int wrong_type(struct expr_parser *p, const struct expr_operand *value, const struct expr_operand *beside)
{
	enum value_kind want = kind_of(beside);
	const char *name = kind_words(want);
	if (beside->kind == OPERAND_ATTRIBUTE)
		return err_at(p->e, p->l->name, p->l->line, value->at, "'%s' is %s, and is compared with %s", attribute_specs[beside->attribute].name, name,
			      value->kind == OPERAND_SET ? "a set that holds others" : kind_words(kind_of(value)));
	return err_at(p->e, p->l->name, p->l->line, value->at, "%s is expected here", name);
}

static int fit_operand(struct expr_parser *p, struct expr_operand *value, const struct expr_operand *beside)
{
	enum value_kind want = kind_of(beside);
	if (value->kind == OPERAND_LITERAL)
		return fit_value(&value->value, want) ? 0 : wrong_type(p, value, beside);
	if (value->kind == OPERAND_SET) {
		struct row_value *items = (struct row_value *)value->items;
		for (size_t i = 0; i < value->item_count; i++)
			if (!fit_value(&items[i], want == VALUE_MISSING ? items[0].kind : want))
				return wrong_type(p, value, beside);
		expr_set_sort(items, &value->item_count);
		return 0;
	}
	if (value->kind == OPERAND_ATTRIBUTE && want != VALUE_MISSING && kind_of(value) != want)
		return wrong_type(p, value, beside);
	return 0;
}

static int check_operands(struct expr_parser *p, struct expr_node *n)
{
	int r = 0;
	if (n->right.kind == OPERAND_LITERAL || n->right.kind == OPERAND_SET || n->right.kind == OPERAND_ATTRIBUTE)
		r = fit_operand(p, &n->right, &n->left);
	if (!r && n->left.kind == OPERAND_LITERAL)
		r = fit_operand(p, &n->left, &n->right);
	return r;
}

/* -- comparisons --------------------------------------------------------------------------- */

static struct expr_node *negate(struct expr_parser *p, struct expr_node *n)
{
	struct expr_node *not = expr_node_new(p->x, EXPR_NOT);
	return not && !expr_node_add(p->x, not, n) ? not : NULL;
}

static int comparison_sign(struct expr_parser *p, enum expr_op *ret_op, bool *ret_negated)
{
	static const struct {
		const char *text;
		enum expr_op op;
		bool negated;
	} signs[] = { { "==", EXPR_EQ, false }, { "!=", EXPR_EQ, true },  { "<", EXPR_LT, false },
		      { "<=", EXPR_LE, false }, { ">", EXPR_GT, false }, { ">=", EXPR_GE, false } };
	for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
		if (take(p, signs[i].text)) {
			*ret_op = signs[i].op;
			*ret_negated = signs[i].negated;
			return 1;
		}
	if (is(peek(p), "="))
		return err_at(p->e, p->l->name, p->l->line, column_here(p), "'=' is not a comparison; write '=='");
	return 0;
}

/* The right side of == and the like, once the sign was taken. */
static int parse_right(struct expr_parser *p, struct expr_node *n)
{
	int r = parse_operand(p, false, &n->right);
	if (r)
		return r;
	bool sets = is_set(&n->left) || is_set(&n->right);
	bool version = (n->left.kind == OPERAND_ATTRIBUTE && n->left.attribute == ATTR_VERSION) ||
		       (n->right.kind == OPERAND_ATTRIBUTE && n->right.attribute == ATTR_VERSION);
	if (n->op != EXPR_EQ && (sets || version))
		return err_at(p->e, p->l->name, p->l->line, n->left.at, "only ==, !=, in and like can be asked of '%s'",
			      attribute_specs[n->left.kind == OPERAND_ATTRIBUTE ? n->left.attribute : n->right.attribute].name);
	r = check_operands(p, n);
	if (r || !sets)
		return r;
	n->op = EXPR_IN; /* `==` with a set is membership */
	bool team = n->left.kind == OPERAND_ATTRIBUTE && n->left.attribute == ATTR_TEAM;
	if (!is_set(&n->right) || team) {
		struct expr_operand o = n->left;
		n->left = n->right;
		n->right = o;
	}
	return 0;
}

static int parse_in(struct expr_parser *p, struct expr_node *n)
{
	int r;
	n->op = EXPR_IN;
	if (is(peek(p), "{"))
		r = parse_set(p, &n->right);
	else
		r = parse_operand(p, false, &n->right);
	if (!r && !is_set(&n->right))
		return err_at(p->e, p->l->name, p->l->line, n->right.at, "'in' wants a set: {a, b}, or an attribute that has several values");
	return r ? r : check_operands(p, n);
}

static int parse_like(struct expr_parser *p, struct expr_node *n)
{
	n->op = EXPR_LIKE;
	const struct token *t = peek(p);
	if (!t || t->kind == TOKEN_SIGN)
		return wrong(p, "a glob (like \"a*\")");
	p->at++;
	n->right = (struct expr_operand){ .kind = OPERAND_LITERAL, .line = p->l->line, .at = t->column };
	struct row_value v = { .kind = VALUE_TEXT, .text = t->text, .len = t->len };
	if (expr_value_copy(p->x, &v, &n->right.value))
		return no_memory(p);
	if (n->left.kind != OPERAND_COLUMN && kind_of(&n->left) != VALUE_TEXT)
		return err_at(p->e, p->l->name, p->l->line, n->left.at, "'like' can be asked of text only");
	return 0;
}

static int parse_alone(struct expr_parser *p, struct expr_node *n, const struct token *t)
{
	n->op = EXPR_TEST;
	if (n->left.kind == OPERAND_COLUMN)
		return 0;
	if (n->left.kind == OPERAND_LITERAL && n->left.value.kind == VALUE_BOOL) {
		n->op = EXPR_CONSTANT;
		n->constant = n->left.value.truth ? TRUTH_TRUE : TRUTH_FALSE;
		n->left = (struct expr_operand){ 0 };
		return 0;
	}
	if (n->left.kind == OPERAND_ATTRIBUTE)
		return wrong(p, "a comparison (==, in, is null …)");
	const char *near = t->kind == TOKEN_WORD ? attribute_nearest(t->text) : NULL;
	return err_at(p->e, p->l->name, p->l->line, t->column, "'%s' is neither an attribute nor a comparison%s%s%s", t->text,
		      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* A bare word on the left of a comparison with another literal cannot be meant. */
static int check_left(struct expr_parser *p, const struct expr_node *n, const struct token *t)
{
	if (n->left.kind != OPERAND_LITERAL || (n->right.kind != OPERAND_LITERAL && n->right.kind != OPERAND_SET))
		return 0;
	if (p->rows && t->kind == TOKEN_WORD && !is_plain(t))
		return err_at(p->e, p->l->name, p->l->line, t->column, "there is no attribute '%s'; a column is written row.%s", t->text, t->text);
	const char *near = t->kind == TOKEN_WORD ? attribute_nearest(t->text) : NULL;
	return err_at(p->e, p->l->name, p->l->line, t->column, "there is no attribute '%s'%s%s%s", t->text, near ? "; did you mean '" : "",
		      near ? near : "", near ? "'?" : "");
}

static int parse_comparison(struct expr_parser *p, struct expr_node **ret)
{
	const struct token *first = peek(p);
	struct expr_node *n = expr_node_new(p->x, EXPR_EQ);
	bool negated = false;
	if (!n)
		return no_memory(p);
	int r = parse_operand(p, true, &n->left);
	if (r)
		return r;
	r = comparison_sign(p, &n->op, &negated);
	if (r < 0)
		return r;
	if (r) {
		r = parse_right(p, n);
	} else if (take(p, "in")) {
		r = parse_in(p, n);
	} else if (take(p, "like")) {
		r = parse_like(p, n);
	} else if (take(p, "is")) {
		n->op = EXPR_IS_NULL;
		negated = take(p, "not");
		r = take(p, "null") ? 0 : wrong(p, "'null'");
	} else if (is(peek(p), "not")) {
		negated = true;
		p->at++;
		r = take(p, "in") ? parse_in(p, n) : take(p, "like") ? parse_like(p, n) : wrong(p, "'in' or 'like'");
	} else {
		r = parse_alone(p, n, first);
	}
	if (!r)
		r = check_left(p, n, first);
	if (r)
		return r;
	*ret = negated ? negate(p, n) : n;
	return *ret ? 0 : no_memory(p);
}

/* -- and, or, not ----------------------------------------------------------------------------- */

static int parse_or(struct expr_parser *p, struct expr_node **ret);

static int parse_not(struct expr_parser *p, struct expr_node **ret)
{
	int r;
	if (++p->depth > EXPR_DEPTH_MAX)
		return err_at(p->e, p->l->name, p->l->line, column_here(p), "conditions may be nested %d deep", EXPR_DEPTH_MAX);
	if (take(p, "not")) {
		struct expr_node *n;
		r = parse_not(p, &n);
		if (!r && !(*ret = negate(p, n)))
			r = no_memory(p);
	} else if (take(p, "(")) {
		r = parse_or(p, ret);
		if (!r && !take(p, ")"))
			r = wrong(p, "')'");
	} else {
		r = parse_comparison(p, ret);
	}
	p->depth--;
	return r;
}

static int parse_list(struct expr_parser *p, const char *word, enum expr_op op, int (*item)(struct expr_parser *, struct expr_node **),
		      struct expr_node **ret)
{
	struct expr_node *n, *list;
	int r = item(p, &n);
	if (r || !is(peek(p), word)) {
		*ret = r ? NULL : n;
		return r;
	}
	list = expr_node_new(p->x, op);
	if (!list || expr_node_add(p->x, list, n))
		return no_memory(p);
	while (take(p, word)) {
		r = item(p, &n);
		if (r)
			return r;
		if (expr_node_add(p->x, list, n))
			return no_memory(p);
	}
	*ret = list;
	return 0;
}

static int parse_and(struct expr_parser *p, struct expr_node **ret)
{
	return parse_list(p, "and", EXPR_AND, parse_not, ret);
}

static int parse_or(struct expr_parser *p, struct expr_node **ret)
{
	return parse_list(p, "or", EXPR_OR, parse_and, ret);
}

/* Children first: what expr_fold asks for. */
static struct expr_node *fold_all(struct expr *x, struct expr_node *n)
{
	for (size_t i = 0; i < n->child_count; i++) {
		n->children[i] = fold_all(x, n->children[i]);
		if (!n->children[i])
			return NULL;
	}
	return expr_fold(x, n);
}

static int parse_all(struct expr_parser *p, struct expr **ret)
{
	struct expr_node *root = NULL;
	if (!p->x)
		return err_set(p->e, -ENOMEM, "out of memory");
	int r = parse_or(p, &root);
	if (!r && peek(p))
		r = wrong(p, "'and', 'or' or the end of the line");
	if (!r && !(p->x->root = fold_all(p->x, root)))
		r = no_memory(p);
	if (r) {
		expr_free(p->x);
		return r;
	}
	*ret = p->x;
	return 0;
}

int expr_parse(const struct lexer *l, size_t at, bool rows, struct expr **ret, struct err *e)
{
	struct expr_parser p = { .l = l, .at = at, .rows = rows, .x = expr_new(), .e = e };
	return parse_all(&p, ret);
}

int expr_parse_where(const struct lexer *l, struct expr **ret, struct err *e)
{
	struct expr_parser p = { .l = l, .rows = true, .bare = true, .x = expr_new(), .e = e };
	if (p.x)
		p.x->lenient = true;
	return parse_all(&p, ret);
}
