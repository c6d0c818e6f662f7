/* From logicalTypeOptions to checks. */
#include "catalog/quality_compile.h"

#include <errno.h>
#include <float.h>
#include <string.h>

int compile_never(struct compiler *k, int64_t column, const char *name, const char *why)
{
	struct check *c = compile_add(k, CHECK_NEVER, column, name, NULL);
	if (!c)
		return -ENOMEM;
	c->detail = why;
	return 0;
}

int compile_dates(struct compiler *k, const struct contract_column *col, struct check *c)
{
	const char *format = doc_text(doc_path(col->node, "logicalTypeOptions.format"));
	if (!format || (col->type != TYPE_DATE && col->type != TYPE_TIMESTAMP && col->type != TYPE_TIME))
		return 0;
	int r = date_format_new(format, &c->dates);
	if (r == -ENOMEM)
		return err_set(k->err, r, "out of memory");
	if (r == -EOPNOTSUPP) {
		c->kind = CHECK_NEVER;
		c->detail = "no check knows the format of its dates (known are y M d H h m s S a E, zones X x Z, and texts in quotes)";
		r = 0;
	}
	return r;
}

/* A bound may be written as the column writes its values, or as ISO 8601 does. */
static bool bound_moment(const struct check *c, const char *text, int64_t *ret_ns)
{
	struct cell v = { .kind = VALUE_TEXT, .text = text, .len = strlen(text) };
	struct check plain = { .type = c->type };
	return check_moment(c, &v, ret_ns) || check_moment(&plain, &v, ret_ns);
}

/* One bound of a range into the check; of two that bound the same side the narrower holds. */
static int read_bound(struct compiler *k, const struct doc_node *options, const char *name, bool low, bool exclusive, struct check *c)
{
	const struct doc_node *n = doc_get(options, name);
	if (doc_kind(n) == DOC_NULL)
		return 0;
	const bool moment = c->type != TYPE_INTEGER && c->type != TYPE_NUMBER;
	double number = 0;
	int64_t ns = 0;
	if (moment && (!doc_text(n) || !bound_moment(c, doc_text(n), &ns)))
		return compile_bad(k, n, c->type == TYPE_TIME ? "a bound must be a time such as 21:20:00" : "a bound must be a date such as 2026-11-22");
	if (!moment && doc_double(n, &number))
		return compile_bad(k, n, "a bound must be a number");
	bool *has = low ? &c->has_low : &c->has_high;
	double *bound = low ? &c->low : &c->high;
	int64_t *bound_ns = low ? &c->low_ns : &c->high_ns;
	const int further = moment ? (ns > *bound_ns) - (ns < *bound_ns) : (number > *bound) - (number < *bound);
	if (*has && (further == 0 ? !exclusive : (further > 0) != low))
		return 0;
	*has = true;
	*bound = number;
	*bound_ns = ns;
	*(low ? &c->low_exclusive : &c->high_exclusive) = exclusive;
	return 0;
}

static int read_bounds(struct compiler *k, const struct doc_node *options, struct check *c)
{
	int r = read_bound(k, options, "minimum", true, false, c);
	if (!r)
		r = read_bound(k, options, "exclusiveMinimum", true, true, c);
	if (!r)
		r = read_bound(k, options, "maximum", false, false, c);
	return r ? r : read_bound(k, options, "exclusiveMaximum", false, true, c);
}

static bool has_bounds(const struct doc_node *options)
{
	return doc_get(options, "minimum") || doc_get(options, "maximum") || doc_get(options, "exclusiveMinimum") || doc_get(options, "exclusiveMaximum");
}

static int add_range(struct compiler *k, int64_t column, const struct contract_column *col, const struct doc_node *options)
{
	if (!has_bounds(options))
		return 0;
	struct check *c = compile_add(k, CHECK_RANGE, column, "range", "conformity");
	if (!c)
		return -ENOMEM;
	c->type = col->type;
	int r = compile_dates(k, col, c);
	return r || c->kind == CHECK_NEVER ? r : read_bounds(k, options, c);
}

/* Of how many bits: i32, u8, f32 … */
static int add_width(struct compiler *k, int64_t column, const struct contract_column *col, const struct doc_node *options)
{
	const char *format = doc_get_text(options, "format");
	if (!format || (col->type != TYPE_INTEGER && col->type != TYPE_NUMBER) || !strcmp(format, "f64"))
		return 0;
	const struct integer_form *integers = integer_form_find(format);
	if (!integers && strcmp(format, "f32") != 0)
		return compile_never(k, column, "format", "no check knows this format");
	struct check *c = compile_add(k, integers ? CHECK_TYPE : CHECK_RANGE, column, "format", "conformity");
	if (!c)
		return -ENOMEM;
	c->type = col->type;
	c->integers = integers;
	c->counted = "values that this format cannot hold";
	c->has_low = c->has_high = true;
	c->low = -(double)FLT_MAX;
	c->high = (double)FLT_MAX;
	return 0;
}

static int add_container_options(struct compiler *k, int64_t column, const struct contract_column *col, const struct doc_node *options)
{
	if (!doc_count(options))
		return 0;
	struct check *c = compile_add(k, CHECK_TYPE, column, "logicalTypeOptions", "conformity");
	if (!c)
		return -ENOMEM;
	c->type = col->type;
	c->container = options;
	c->counted = col->type == TYPE_ARRAY ? "arrays that do not keep to the options" : "objects that do not keep to the options";
	return 0;
}

static int add_text_options(struct compiler *k, int64_t column, const struct doc_node *options)
{
	static const char *const hints[] = { "password", "byte", "binary" }; /* say how to show a text, not what it is */
	int64_t low, high;
	bool has_low = !doc_int(doc_get(options, "minLength"), &low), has_high = !doc_int(doc_get(options, "maxLength"), &high);
	if (has_low || has_high) {
		struct check *c = compile_add(k, CHECK_LENGTH, column, "length", "conformity");
		if (!c)
			return -ENOMEM;
		c->has_low = has_low;
		c->has_high = has_high;
		c->low = has_low ? (double)low : 0;
		c->high = has_high ? (double)high : 0;
	}
	const struct doc_node *pattern = doc_get(options, "pattern");
	if (doc_text(pattern)) {
		struct check *c = compile_add(k, CHECK_PATTERN, column, "pattern", "conformity");
		if (!c)
			return -ENOMEM;
		struct err why = ERR_INIT;
		int r = pattern_new(doc_text(pattern), &c->pattern, &why);
		if (r)
			return r == -ENOMEM ? err_move(k->err, &why) : compile_bad(k, pattern, why.text);
	}
	const char *format = doc_get_text(options, "format");
	if (!format)
		return 0;
	for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
		if (!strcmp(format, hints[i]))
			return 0;
	if (!check_format(format))
		return compile_never(k, column, "format", "no check knows this format");
	struct check *c = compile_add(k, CHECK_FORMAT, column, "format", "conformity");
	if (!c)
		return -ENOMEM;
	c->format = format;
	c->judge = check_format(format);
	return 0;
}

int compile_options(struct compiler *k, int64_t column, const struct contract_column *col)
{
	const struct doc_node *options = doc_get(col->node, "logicalTypeOptions");
	if (doc_kind(options) != DOC_MAP)
		return 0;
	if (col->type == TYPE_STRING)
		return add_text_options(k, column, options);
	if (col->type == TYPE_OBJECT || col->type == TYPE_ARRAY)
		return add_container_options(k, column, col, options);
	int r = add_width(k, column, col, options);
	if (!r)
		r = add_range(k, column, col, options);
	double step;
	if (!r && !doc_double(doc_get(options, "multipleOf"), &step) && step > 0) {
		struct check *c = compile_add(k, CHECK_MULTIPLE, column, "multipleOf", "conformity");
		if (!c)
			return -ENOMEM;
		c->low = step;
	}
	return r;
}
