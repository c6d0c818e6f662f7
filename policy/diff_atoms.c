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

void plain_text(const char *glob, const char *star, char *ret, size_t size)
{
	size_t n = 0;
	for (; *glob && n + 2 < size; glob++) {
		if (*glob == '*') {
			while (glob[1] == '*')
				glob++;
			if (*star)
				ret[n++] = *star;
		} else {
			ret[n++] = *glob == '?' ? 'x' : *glob;
		}
	}
	ret[n] = '\0';
}

/* Two texts that the glob matches: those of a narrower one differ from them. */
static int glob_atoms(struct atoms *a, struct names *n, const char *glob)
{
	char text[512];
	plain_text(glob, "", text, sizeof text);
	int r = text[0] ? names_add(a, n, text, strlen(text)) : 0;
	plain_text(glob, "x", text, sizeof text);
	return r ? r : names_add(a, n, text, strlen(text));
}

static int operand_atoms(struct atoms *a, enum expr_op op, const struct expr_operand *attribute, const struct expr_operand *other)
{
	int r = 0;
	if (attribute->kind != OPERAND_ATTRIBUTE)
		return 0;
	struct names *to = &a->values[attribute->attribute];
	a->used[attribute->attribute] = true;
	if (op == EXPR_LIKE)
		return other->kind == OPERAND_LITERAL ? glob_atoms(a, to, other->value.text) : 0;
	if (other->kind == OPERAND_LITERAL && other->value.text)
		r = names_add(a, to, other->value.text, other->value.len);
	for (size_t i = 0; other->kind == OPERAND_SET && i < other->item_count && !r; i++)
		if (other->items[i].text)
			r = names_add(a, to, other->items[i].text, other->items[i].len);
	return r;
}

static int node_atoms(struct atoms *a, const struct expr_node *n)
{
	int r = operand_atoms(a, n->op, &n->left, &n->right);
	if (!r)
		r = operand_atoms(a, n->op, &n->right, &n->left);
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
	a->publishing |= rule->publish;
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
