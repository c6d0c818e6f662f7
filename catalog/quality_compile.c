/* From a contract to a list of checks. */
#include "catalog/quality_compile.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/sla.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DISTINCT_MEMORY_BYTES (64u << 20) /* of one check of uniqueness */


void check_free(struct check *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->offender_count; i++)
		free(c->offenders[i].file);
	pattern_free(c->pattern);
	check_free(c->item);
	free(c->owned);
	date_format_free(c->dates);
	distinct_free(c->distinct);
	word_set_fini(&c->words);
	word_set_fini(&c->column_words);
	buf_free(&c->names);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* A check that counts what is wrong and wants none of it. */
struct check *compile_add(struct compiler *k, enum check_kind kind, int64_t column, const char *name, const char *dimension)
{
	struct check *c = calloc(1, sizeof *c);
	struct check **items = realloc(k->list->items, (k->list->count + 1) * sizeof *items);
	if (items)
		k->list->items = items;
	if (!c || !items) {
		free(c);
		err_set(k->err, -ENOMEM, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&c->lock, NULL);
	c->kind = kind;
	c->object = k->object;
	c->column = column;
	c->name = name;
	c->dimension = dimension;
	c->error = true;
	c->comparison = MUST_BE;
	items[k->list->count++] = c;
	return c;
}

/* A key over a column that there is not would compare nothing, or the rest of it. */
static int know_columns(struct compiler *k, const struct doc_node *names)
{
	const struct contract_object *objects = NULL;
	contract_objects(k->contract, &objects);
	for (size_t i = 0; i < doc_count(names); i++) {
		const char *name = doc_text(doc_item(names, i));
		if (name && !contract_column_find(&objects[k->object], name, strlen(name)))
			return doc_err(contract_doc(k->contract), doc_item(names, i), k->err, "'%s' has no column '%s' to compare", objects[k->object].name, name);
	}
	return 0;
}

static int add_distinct(struct compiler *k, int64_t column, const char *name, struct check **ret)
{
	struct check *c = compile_add(k, CHECK_DISTINCT, column, name, "uniqueness");
	if (!c)
		return -ENOMEM;
	c->distinct = distinct_new(DISTINCT_MEMORY_BYTES);
	if (ret)
		*ret = c;
	return c->distinct ? 0 : err_set(k->err, -ENOMEM, "out of memory");
}

int compile_bad(struct compiler *k, const struct doc_node *n, const char *text)
{
	return doc_err(contract_doc(k->contract), n, k->err, "%s", text);
}

/* -- quality entries ------------------------------------------------------------------- */

static int read_operator(struct compiler *k, const struct doc_node *n, struct check *c)
{
	static const char *const names[] = { "mustBe",	       "mustNotBe",	      "mustBeGreaterThan", "mustBeGreaterOrEqualTo",
					     "mustBeLessThan", "mustBeLessOrEqualTo", "mustBeBetween",	   "mustNotBeBetween" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const struct doc_node *v = doc_get(n, names[i]);
		if (!v)
			continue;
		c->comparison = (enum comparison)i;
		bool pair = i >= MUST_LIE_BETWEEN, truth;
		if (c->kind == CHECK_SQL && !pair && !doc_quoted(v) && !doc_bool(v, &truth)) {
			c->wanted = truth;
			return 0;
		}
		if (doc_double(pair ? doc_item(v, 0) : v, &c->wanted) || (pair && doc_double(doc_item(v, 1), &c->wanted_high)))
			return compile_bad(k, v, "an operator wants a number (between: two)");
		return 0;
	}
	return compile_bad(k, n, "a check must have an operator (mustBe…)");
}

static void read_common(const struct doc_node *n, struct check *c)
{
	c->listed = true;
	const char *severity = doc_get_text(n, "severity"), *unit = doc_get_text(n, "unit");
	c->error = !(severity && (!strcasecmp(severity, "warning") || !strcasecmp(severity, "info")));
	c->percent = unit && c->kind != CHECK_SQL && (!strcasecmp(unit, "percent") || !strcmp(unit, "%"));
	if (c->kind != CHECK_SQL && c->kind != CHECK_NEVER && ((unit && !c->percent && strcasecmp(unit, "rows") != 0) || (c->percent && c->kind == CHECK_ROWS))) {
		c->detail = c->percent ? "rows are no percent of anything: its unit is rows" : "its unit is neither rows nor percent";
		c->kind = CHECK_NEVER;
	}
	if (doc_get_text(n, "name"))
		c->name = doc_get_text(n, "name");
	if (doc_get_text(n, "dimension"))
		c->dimension = doc_get_text(n, "dimension");
}

static int add_metric(struct compiler *k, const struct doc_node *n, int64_t column, const char *metric, struct check **ret)
{
	const struct doc_node *arguments = doc_get(n, "arguments");
	struct check *c;
	if (!strcmp(metric, "duplicateValues")) {
		int r = add_distinct(k, column, "duplicateValues", &c);
		if (r)
			return r;
		c->columns = doc_get(arguments, "properties");
		if (column < 0 && !doc_count(c->columns))
			return compile_bad(k, n, "duplicateValues of an object wants arguments.properties");
		if ((r = know_columns(k, c->columns)))
			return r;
	} else if (!strcmp(metric, "rowCount")) {
		c = compile_add(k, CHECK_ROWS, -1, "rowCount", "completeness");
	} else if (column < 0) {
		return compile_bad(k, n, "this metric is of a column: put it below a property");
	} else if (!strcmp(metric, "nullValues")) {
		c = compile_add(k, CHECK_NULL, column, "nullValues", "completeness");
	} else if (k->arrays) {
		c = compile_add(k, CHECK_NEVER, column, metric, NULL);
		if (c)
			c->detail = "the column's values are arrays: say it of their items, in logicalTypeOptions";
	} else if (!strcmp(metric, "missingValues")) {
		c = compile_add(k, CHECK_MISSING, column, "missingValues", "completeness");
		if (c)
			c->values = doc_get(arguments, "missingValues");
	} else if (!strcmp(metric, "invalidValues")) {
		const char *pattern = doc_get_text(arguments, "pattern");
		c = compile_add(k, pattern ? CHECK_PATTERN : CHECK_VALUES, column, "invalidValues", "conformity");
		struct err why = ERR_INIT;
		int r = c && pattern ? pattern_new(pattern, &c->pattern, &why) : 0;
		if (r)
			return r == -ENOMEM ? err_move(k->err, &why) : compile_bad(k, doc_get(arguments, "pattern"), why.text);
		if (c && !pattern && !doc_count(c->values = doc_get(arguments, "validValues")))
			return compile_bad(k, n, "invalidValues wants arguments.validValues or arguments.pattern");
	} else {
		return compile_bad(k, n, "an unknown metric");
	}
	*ret = c;
	return c ? 0 : -ENOMEM;
}

/* {object} and {property} in a query stand for the table and the column, quoted unless the query does. */
static int fill_in(const struct compiler *k, const char *query, int64_t column, struct check *c)
{
	static const struct {
		const char *text;
		bool column;
	} known[] = { { "{object}", false }, { "{table}", false }, { "{property}", true }, { "{column}", true } };
	const struct contract_object *objects;
	struct buf out = BUF_INIT;
	contract_objects(k->contract, &objects);
	const struct contract_object *o = &objects[k->object];
	for (const char *p = query; *p;) {
		size_t i = 0;
		const char *at = *p == '$' && p[1] == '{' ? p + 1 : p;
		while (i < 4 && (!text_starts(at, known[i].text) || (known[i].column && column < 0)))
			i++;
		if (i == 4) {
			buf_addc(&out, *p++);
			continue;
		}
		const char *name = known[i].column ? o->columns[column].name : o->name;
		if (p > query && p[-1] == '"')
			buf_adds(&out, name);
		else
			buf_add_sql(&out, name, '"');
		p = at + strlen(known[i].text);
	}
	c->query = c->owned = buf_check(&out) ? NULL : strdup(buf_text(&out));
	buf_free(&out);
	return c->query ? 0 : err_set(k->err, -ENOMEM, "out of memory");
}

static int add_quality(struct compiler *k, const struct doc_node *n, int64_t column)
{
	const char *type = doc_get_text(n, "type"), *metric = doc_get_text(n, "metric");
	struct check *c = NULL;
	int r;
	if (type && !strcmp(type, "text"))
		return 0;
	if (metric) {
		r = add_metric(k, n, column, metric, &c);
		return r ? r : (read_common(n, c), read_operator(k, n, c));
	}
	if (type && !strcmp(type, "sql")) {
		c = compile_add(k, CHECK_SQL, column, "sql", NULL);
		if (!c)
			return -ENOMEM;
		const char *query = doc_get_text(n, "query");
		if (!query)
			return compile_bad(k, n, "an sql check must have 'query'");
		r = fill_in(k, query, column, c);
		return r ? r : (read_common(n, c), read_operator(k, n, c));
	}
	r = compile_never(k, column, type ? type : "quality", type && !strcmp(type, "custom") ? "custom checks have no engine here"
										       : "neither a metric nor an sql query");
	if (!r)
		read_common(n, k->list->items[k->list->count - 1]);
	return r;
}

static int add_qualities(struct compiler *k, const struct doc_node *of, int64_t column)
{
	const struct doc_node *list = doc_get(of, "quality");
	for (size_t i = 0; i < doc_count(list); i++) {
		int r = add_quality(k, doc_item(list, i), column);
		if (r)
			return r;
	}
	return 0;
}

/* -- columns and objects --------------------------------------------------------------- */

static int add_items(struct compiler *k, int64_t column, const struct doc_node *of);

static int add_type(struct compiler *k, int64_t column, const struct contract_column *col)
{
	struct check *c = compile_add(k, CHECK_TYPE, column, "logicalType", "conformity");
	if (!c)
		return -ENOMEM;
	c->type = col->type;
	return compile_dates(k, col, c);
}

/* What is checked of a single item of an array.  `item` stands for a column of items. */
static int add_item_checks(struct compiler *k, const struct contract_column *item)
{
	bool required = false;
	int r = item->type != TYPE_NONE ? add_type(k, -1, item) : 0;
	doc_bool(doc_get(item->node, "required"), &required);
	if (!r && required && !compile_add(k, CHECK_NULL, -1, "required", NULL))
		r = -ENOMEM;
	if (!r)
		r = compile_options(k, -1, item);
	if (!r && item->type == TYPE_ARRAY)
		r = add_items(k, -1, item->node);
	if (!r && doc_count(doc_get(item->node, "quality")))
		r = compile_never(k, -1, "quality", "metrics and queries of items are not run: say it in their logicalTypeOptions");
	return r;
}

/* A check of items counts the arrays that have a wrong one. */
static int wrap_item(struct compiler *k, int64_t column, struct check *item)
{
	struct check *c = compile_add(k, CHECK_TYPE, column, item->name, item->dimension);
	if (!c) {
		check_free(item);
		return -ENOMEM;
	}
	c->item = item;
	c->type = TYPE_ARRAY;
	c->counted = "arrays that have a wrong item";
	c->owned = text_format("items %s", item->name);
	c->name = c->owned;
	if (item->kind == CHECK_NEVER) {
		c->kind = CHECK_NEVER;
		c->detail = item->detail;
	}
	return c->owned ? 0 : -ENOMEM;
}

static int add_items(struct compiler *k, int64_t column, const struct doc_node *of)
{
	const struct doc_node *node = doc_get(of, "items");
	if (doc_kind(node) != DOC_MAP)
		return 0;
	const struct contract_column item = { .name = "items", .type = logical_type_of(doc_get_text(node, "logicalType")), .node = node };
	struct check_list list = { NULL, 0 };
	struct compiler inner = { k->contract, &list, k->object, k->err, false };
	int r = add_item_checks(&inner, &item);
	for (size_t i = 0; i < list.count; i++) {
		if (r)
			check_free(list.items[i]);
		else
			r = wrap_item(k, column, list.items[i]);
	}
	free(list.items);
	return r;
}

static int add_column(struct compiler *k, int64_t column, const struct contract_column *col)
{
	int r = col->type != TYPE_NONE ? add_type(k, column, col) : 0;
	if (r)
		return r;
	if ((col->required || col->primary_key) && !compile_add(k, CHECK_NULL, column, "required", "completeness"))
		return -ENOMEM;
	if (col->unique)
		r = add_distinct(k, column, "unique", NULL);
	if (!r)
		r = compile_options(k, column, col);
	if (!r && col->type == TYPE_ARRAY)
		r = add_items(k, column, col->node);
	k->arrays = col->type == TYPE_ARRAY;
	if (!r)
		r = add_qualities(k, col->node, column);
	k->arrays = false;
	return r;
}

/* More than one? */
static bool has_tables(const struct contract *c)
{
	const struct contract_object *objects;
	size_t tables = 0;
	for (size_t n = contract_objects(c, &objects), i = 0; i < n; i++)
		tables += !objects[i].document;
	return tables > 1;
}

static int add_object(struct compiler *k, const struct contract_object *o)
{
	if (o->document)
		return 0;
	struct check *unknown, *encoding;
	if (!compile_add(k, CHECK_BROKEN, -1, "records", "conformity") || !compile_add(k, CHECK_ABSENT, -1, "columns", "completeness") ||
	    !compile_add(k, CHECK_REPEATED, -1, "names of columns", "uniqueness") || !(unknown = compile_add(k, CHECK_UNKNOWN, -1, "undeclared columns", "conformity")) ||
	    !(encoding = compile_add(k, CHECK_ENCODING, -1, "encoding", "conformity")))
		return -ENOMEM;
	if (has_tables(k->contract) && !compile_add(k, CHECK_CLAIMS, -1, "claims", "conformity"))
		return -ENOMEM;
	encoding->error = false; /* it can be read, by whoever knows the encoding */
	unknown->error = false; /* policy treats such a column as the most sensitive there is */
	size_t keys = 0;
	for (size_t i = 0; i < o->column_count; i++) {
		keys += o->columns[i].primary_key;
		int r = add_column(k, (int64_t)i, &o->columns[i]);
		if (r)
			return r;
	}
	int r = 0;
	if (keys)
		r = add_distinct(k, -1, "primaryKey", NULL);
	return r ? r : add_qualities(k, o->node, -1);
}

/* -- service levels ---------------------------------------------------------------------------- */

static int level_never(struct compiler *k, int64_t column, const char *name, const char *why)
{
	int r = compile_never(k, column, name, why);
	if (!r)
		k->list->items[k->list->count - 1]->dimension = "timeliness";
	return r;
}

/* latency: some value is as new as that; retention: none is older. */
static int add_level(struct compiler *k, const struct doc_node *n, const char *name, int64_t column, const struct contract_column *col)
{
	bool latency = !strcmp(name, "latency");
	int64_t span;
	const char *why = sla_duration(n, &span);
	if (!why && col->type != TYPE_DATE && col->type != TYPE_TIMESTAMP)
		why = "the column is neither a date nor a timestamp";
	if (why)
		return level_never(k, column, name, why);
	struct check *c = compile_add(k, latency ? CHECK_FRESH : CHECK_RANGE, column, name, "timeliness");
	if (!c)
		return -ENOMEM;
	c->type = col->type;
	int r = compile_dates(k, col, c);
	if (r)
		return r;
	c->has_low = true;
	c->low_ns = clock_now_ns() - span;
	if (c->type == TYPE_DATE)
		c->low_ns -= c->low_ns % (86400 * NS_PER_S); /* a date is its day's first moment */
	c->comparison = latency ? MUST_REACH : MUST_BE;
	c->wanted = latency;
	c->counted = latency ? "values as new as promised" : "values older than promised";
	return 0;
}

/* An element "object.column" of a service level. */
static int add_element(struct compiler *k, const struct doc_node *n, const char *name, const char *element, size_t len)
{
	const struct contract_object *objects;
	size_t count = contract_objects(k->contract, &objects);
	for (k->object = 0; k->object < count; k->object++) {
		const struct contract_object *o = &objects[k->object];
		size_t prefix = strlen(o->name);
		if (o->document || len <= prefix + 1 || memcmp(element, o->name, prefix) != 0 || element[prefix] != '.')
			continue;
		const struct contract_column *col = contract_column_find(o, element + prefix + 1, len - prefix - 1);
		if (col)
			return add_level(k, n, name, col - o->columns, col);
	}
	k->object = 0;
	return count ? level_never(k, -1, name, "the schema does not have the column that it is about (element: object.column)") : 0;
}

/* Nothing of a version is measured by it; one that cannot be read would never be overdue, which is said. */
static int add_frequency(struct compiler *k, const struct doc_node *n)
{
	int64_t span;
	const char *why = sla_duration(n, &span);
	const struct contract_object *objects;
	if (!why && span == 0)
		why = "it is no time at all";
	if (!why || !contract_objects(k->contract, &objects))
		return 0;
	k->object = 0;
	int r = level_never(k, -1, "frequency", why);
	if (!r)
		k->list->items[k->list->count - 1]->error = false;
	return r;
}

static int add_levels(struct compiler *k)
{
	const struct doc_node *list = doc_get(doc_root(contract_doc(k->contract)), "slaProperties");
	for (size_t i = 0; i < doc_count(list); i++) {
		const struct doc_node *n = doc_item(list, i);
		const char *name = doc_get_text(n, "property"), *element = sla_element(k->contract, n);
		if (name && !strcmp(name, "frequency")) {
			int r = add_frequency(k, n);
			if (r)
				return r;
		}
		if (!name || (strcmp(name, "latency") != 0 && strcmp(name, "retention") != 0))
			continue;
		while (element && *element) { /* without one it is of the whole product: words for people */
			element += strspn(element, ", ");
			size_t len = strcspn(element, ", ");
			int r = len ? add_element(k, n, !strcmp(name, "latency") ? "latency" : "retention", element, len) : 0;
			if (r)
				return r;
			element += len;
		}
	}
	return 0;
}

int quality_compile(const struct contract *contract, struct check_list *ret, struct err *e)
{
	const struct contract_object *objects;
	size_t count = contract_objects(contract, &objects);
	struct compiler k = { contract, ret, 0, e, false };
	for (k.object = 0; k.object < count; k.object++) {
		int r = add_object(&k, &objects[k.object]);
		if (r)
			return r;
	}
	int r = add_levels(&k);
	if (r)
		return r;
	for (size_t i = 0; i < ret->count; i++)
		if (word_set_init(&ret->items[i]->words, ret->items[i]->values) || word_set_init(&ret->items[i]->column_words, ret->items[i]->columns))
			return err_set(e, -ENOMEM, "out of memory");
	return 0;
}
