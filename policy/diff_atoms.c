#include "policy/diff_atoms.h"

#include <errno.h>
#include <string.h>

int names_add(struct atoms *a, struct names *n, const char *text, size_t len)
{
	for (size_t i = 0; i < n->count; i++)
		if (strlen(n->items[i]) == len && !memcmp(n->items[i], text, len))
			return 0;
	const char **slot = arena_push(&a->arena, &n->items, &n->count, sizeof *slot);
	return slot && (*slot = arena_text(&a->arena, text, len)) ? 0 : -ENOMEM;
}

static int add_all(struct atoms *a, struct names *n, const char **texts, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && !r; i++)
		r = names_add(a, n, texts[i], strlen(texts[i]));
	return r;
}

static int operand_atoms(struct atoms *a, const struct expr_operand *attribute, const struct expr_operand *other)
{
	int r = 0;
	if (attribute->kind != OPERAND_ATTRIBUTE)
		return 0;
	a->used[attribute->attribute] = true;
	if (attribute_specs[attribute->attribute].kind != VALUE_TEXT)
		return 0;
	if (other->kind == OPERAND_LITERAL && other->value.kind == VALUE_TEXT)
		r = names_add(a, &a->values[attribute->attribute], other->value.text, other->value.len);
	for (size_t i = 0; other->kind == OPERAND_SET && i < other->item_count && !r; i++)
		if (other->items[i].kind == VALUE_TEXT)
			r = names_add(a, &a->values[attribute->attribute], other->items[i].text, other->items[i].len);
	return r;
}

static int node_atoms(struct atoms *a, const struct expr_node *n)
{
	int r = operand_atoms(a, &n->left, &n->right);
	if (!r)
		r = operand_atoms(a, &n->right, &n->left);
	for (size_t i = 0; i < n->child_count && !r; i++)
		r = node_atoms(a, n->children[i]);
	return r;
}

static int rule_atoms(struct atoms *a, const struct rule *rule)
{
	const struct expr_column *columns;
	int r = add_all(a, &a->globs, rule->files, rule->file_count);
	for (size_t i = 0; i < rule->when_count && !r; i++)
		r = node_atoms(a, expr_root(rule->when[i]));
	for (size_t i = 0; i < rule->unless_count && !r; i++)
		r = node_atoms(a, expr_root(rule->unless[i]));
	for (size_t i = 0; i < rule->have_count; i++)
		a->used[rule->have[i]] = true;
	for (size_t i = 0; i < rule->selector_count && !r; i++) {
		const struct selector *s = &rule->selectors[i];
		struct names *to = s->kind == SELECT_NAMED ? &a->named : s->kind == SELECT_TAGGED ? &a->tagged : &a->classified;
		r = add_all(a, to, s->names, s->count);
	}
	if (r || !rule->rows)
		return r;
	size_t count = expr_columns(rule->rows, &columns);
	for (size_t i = 0; i < count && !r; i++)
		r = names_add(a, &a->row_columns, columns[i].name, strlen(columns[i].name));
	return r ? r : node_atoms(a, expr_root(rule->rows));
}

int atoms_collect(struct atoms *a, const struct policy *p)
{
	int r = 0;
	for (size_t i = 0; i < p->rule_count && !r; i++)
		r = rule_atoms(a, p->rules[i]);
	return r;
}
