#include "fs/openlineage_view.h"

#include "catalog/base/text.h"
#include "policy/condition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void openlineage_facet(struct json *j, const char *key, const char *schema)
{
	char url[256];
	const char *name = strrchr(schema, '/') + 1;
	/* As the official clients write it: the file, then the definition in it that has its name. */
	snprintf(url, sizeof url, "https://openlineage.io/spec/facets/%s%s%.*s", schema, strchr(schema, '#') ? "" : "#/$defs/",
		 strchr(schema, '#') ? 0 : (int)strcspn(name, "."), name);
	json_key(j, key);
	json_open(j, '{');
	json_field_text(j, "_producer", OPENLINEAGE_PRODUCER);
	json_field_text(j, "_schemaURL", url);
}

/* -- the view's text ------------------------------------------------------------------------- */

/* The rest of the line that starts with `head` ("column \"email\" ", "rows "), as a new string; NULL when there is none. */
static char *line_after(const char *view, const char *head)
{
	size_t len = strlen(head);
	for (const char *line = view; line && *line;) {
		size_t n = strcspn(line, "\n");
		if (n >= len && !strncmp(line, head, len))
			return strndup(line + len, n - len);
		line += n + (line[n] == '\n');
	}
	return NULL;
}

/* What the view does to a column: "drop", "hmac key k", …; NULL: it is kept.  The nearest enclosing column with an action counts. */
static char *action_of(const char *view, const char *column)
{
	char *name = strdup(column), *action = NULL;
	while (name && !action) {
		char *head = text_format("column \"%s\" ", name);
		action = head ? line_after(view, head) : NULL;
		free(head);
		char *dot = strrchr(name, '.');
		if (!dot)
			break;
		*dot = '\0';
	}
	free(name);
	return action;
}

/* -- columnLineage --------------------------------------------------------------------------- */

static void input_field(struct json *j, const char *namespace_name, const char *dataset, const char *field, const char *type, const char *subtype,
			const char *description, bool masking)
{
	json_open(j, '{');
	json_field_text(j, "namespace", namespace_name);
	json_field_text(j, "name", dataset);
	json_field_text(j, "field", field);
	json_key(j, "transformations");
	json_open(j, '[');
	json_open(j, '{');
	json_field_text(j, "type", type);
	json_field_text(j, "subtype", subtype);
	json_field_text(j, "description", description);
	json_field_bool(j, "masking", masking);
	json_close(j, '}');
	json_close(j, ']');
	json_close(j, '}');
}

static void object_columns(struct json *j, const char *namespace_name, const char *dataset, const struct contract_object *o, const char *view)
{
	for (size_t i = 0; i < o->column_count; i++) {
		char *action = action_of(view, o->columns[i].name);
		if (!action || strcmp(action, "drop") != 0) {
			json_key(j, o->columns[i].name);
			json_open(j, '{');
			json_key(j, "inputFields");
			json_open(j, '[');
			input_field(j, namespace_name, dataset, o->columns[i].name, "DIRECT", action ? "TRANSFORMATION" : "IDENTITY",
				    action ? action : "", action != NULL);
			json_close(j, ']');
			json_close(j, '}');
		}
		free(action);
	}
}

static void filter_columns(struct json *j, const char *namespace_name, const char *dataset, const char *view)
{
	char *rows = line_after(view, "rows ");
	struct expr *x = NULL;
	const struct expr_column *columns;
	if (rows && !condition_parse("view", rows, &x, NULL)) {
		size_t count = expr_columns(x, &columns);
		json_key(j, "dataset");
		json_open(j, '[');
		for (size_t i = 0; i < count; i++)
			input_field(j, namespace_name, dataset, columns[i].name, "INDIRECT", "FILTER", rows, false);
		json_close(j, ']');
		expr_free(x);
	}
	free(rows);
}

void openlineage_columns(struct json *j, const char *namespace_name, const char *dataset, const struct contract *c, const char *view)
{
	const struct contract_object *objects;
	size_t count = c ? contract_objects(c, &objects) : 0;
	if (!view || !count)
		return;
	openlineage_facet(j, "columnLineage", "1-2-0/ColumnLineageDatasetFacet.json");
	json_key(j, "fields");
	json_open(j, '{');
	/* Objects may share names of columns; a JSON object may not: the first one speaks. */
	object_columns(j, namespace_name, dataset, &objects[0], view);
	json_close(j, '}');
	filter_columns(j, namespace_name, dataset, view);
	json_close(j, '}');
}

/* -- subset ---------------------------------------------------------------------------------- */

static const char *comparison_of(enum expr_op op)
{
	switch (op) {
	case EXPR_EQ:
		return "EQUAL";
	case EXPR_LT:
		return "LESS_THAN";
	case EXPR_LE:
		return "LESS_EQUAL_THAN";
	case EXPR_GT:
		return "GREATER_THAN";
	case EXPR_GE:
		return "GREATER_EQUAL_THAN";
	default:
		return NULL;
	}
}

static bool sayable_operand(const struct expr_operand *o)
{
	enum value_kind kind = o->value.kind;
	return o->kind == OPERAND_COLUMN ||
	       (o->kind == OPERAND_LITERAL && (kind == VALUE_TEXT || kind == VALUE_NUMBER || kind == VALUE_BOOL || (kind == VALUE_TIME && o->value.text)));
}

static bool sayable(const struct expr_node *n)
{
	if (n->op == EXPR_AND || n->op == EXPR_OR) {
		for (size_t i = 0; i < n->child_count; i++)
			if (!sayable(n->children[i]))
				return false;
		return n->child_count > 0;
	}
	if (n->op == EXPR_IN)
		return n->left.kind == OPERAND_COLUMN && n->right.kind == OPERAND_SET && n->right.item_count > 0;
	return comparison_of(n->op) && sayable_operand(&n->left) && sayable_operand(&n->right);
}

static void say_operand(struct json *j, const struct expr *x, const char *key, const struct expr_operand *o)
{
	const struct expr_column *columns;
	expr_columns(x, &columns);
	json_key(j, key);
	json_open(j, '{');
	json_field_text(j, "type", o->kind == OPERAND_COLUMN ? "field" : "literal");
	if (o->kind == OPERAND_COLUMN) {
		json_field_text(j, "field", columns[o->column].name);
	} else {
		json_key(j, "value");
		if (o->value.kind == VALUE_BOOL)
			json_text(j, o->value.truth ? "true" : "false");
		else
			json_text_n(j, o->value.text, o->value.len);
	}
	json_close(j, '}');
}

static void say_compare(struct json *j, const struct expr *x, const struct expr_operand *left, const struct expr_operand *right, const char *comparison)
{
	json_open(j, '{');
	json_field_text(j, "type", "compare");
	say_operand(j, x, "left", left);
	say_operand(j, x, "right", right);
	json_field_text(j, "comparison", comparison);
	json_close(j, '}');
}

static void say(struct json *j, const struct expr *x, const struct expr_node *n);

/* OpenLineage's AND and OR have two sides: a list leans to the right. */
static void say_list(struct json *j, const struct expr *x, const struct expr_node *n, size_t from)
{
	size_t count = n->op == EXPR_IN ? n->right.item_count : n->child_count;
	bool last = from + 1 == count;
	if (!last) {
		json_open(j, '{');
		json_field_text(j, "type", "binary");
		json_field_text(j, "operator", n->op == EXPR_AND ? "AND" : "OR");
		json_key(j, "left");
	}
	if (n->op == EXPR_IN) {
		struct expr_operand item = { .kind = OPERAND_LITERAL, .value = n->right.items[from] };
		say_compare(j, x, &n->left, &item, "EQUAL");
	} else {
		say(j, x, n->children[from]);
	}
	if (!last) {
		json_key(j, "right");
		say_list(j, x, n, from + 1);
		json_close(j, '}');
	}
}

static void say(struct json *j, const struct expr *x, const struct expr_node *n)
{
	if (n->op == EXPR_AND || n->op == EXPR_OR || n->op == EXPR_IN)
		say_list(j, x, n, 0);
	else
		say_compare(j, x, &n->left, &n->right, comparison_of(n->op));
}

/* The writer nests only so far. */
static int depth_of(const struct expr_node *n)
{
	int deepest = 0;
	for (size_t i = 0; i < n->child_count; i++) {
		int d = depth_of(n->children[i]) + (int)i;
		deepest = d > deepest ? d : deepest;
	}
	return deepest + 2 + (n->op == EXPR_IN ? (int)(n->right.item_count < 1000 ? n->right.item_count : 1000) : 0);
}

void openlineage_subset(struct json *j, const char *view)
{
	char *rows = view ? line_after(view, "rows ") : NULL;
	struct expr *x = NULL;
	if (rows && !condition_parse("view", rows, &x, NULL) && sayable(expr_root(x)) && depth_of(expr_root(x)) < JSON_DEPTH_MAX - 12) {
		openlineage_facet(j, "subset", "1-0-0/BaseSubsetDatasetFacet.json#/$defs/InputSubsetInputDatasetFacet");
		json_key(j, "inputCondition");
		say(j, x, expr_root(x));
		json_close(j, '}');
	}
	expr_free(x);
	free(rows);
}
