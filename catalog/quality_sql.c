/* Checks as queries, for files that only an engine reads (Parquet). */
#include "catalog/quality_check.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <string.h>

/* A column, nested ones by their path: "address"."zip". */
void sql_column(struct buf *out, const char *name)
{
	for (;;) {
		size_t n = strcspn(name, ".");
		char part[256];
		if (n >= sizeof part)
			n = sizeof part - 1;
		memcpy(part, name, n);
		part[n] = '\0';
		buf_add_sql(out, part, '"');
		if (!name[n])
			return;
		buf_addc(out, '.');
		name += n + 1;
	}
}

static void list(struct buf *out, const struct doc_node *values)
{
	buf_addc(out, '(');
	for (size_t i = 0, n = 0; i < doc_count(values); i++)
		if (doc_text(doc_item(values, i))) {
			buf_adds(out, n++ ? ", " : "");
			buf_add_sql(out, doc_text(doc_item(values, i)), '\'');
		}
	buf_addc(out, ')');
}

static void bound(struct buf *out, const struct check *c, double number, int64_t ns)
{
	char when[CLOCK_TEXT_MAX];
	if (c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP) {
		clock_format_ns(ns, when);
		buf_addf(out, "timestamptz '%s'", when);
	} else {
		buf_addf(out, "%.17g", number);
	}
}

static int type_condition(const struct check *c, const char *column, struct buf *out)
{
	static const char *const types[] = { [TYPE_DATE] = "date",	 [TYPE_TIMESTAMP] = "timestamp", [TYPE_TIME] = "time",
					     [TYPE_NUMBER] = "double",	 [TYPE_INTEGER] = "hugeint",	 [TYPE_BOOLEAN] = "boolean" };
	if (c->type == TYPE_STRING)
		buf_addf(out, "typeof(%s) not like 'VARCHAR%%'", column);
	else if ((size_t)c->type < sizeof types / sizeof *types && types[c->type])
		buf_addf(out, "try_cast(%s as %s) is null or typeof(%s) = 'VARCHAR'", column, types[c->type], column);
	else
		return -EOPNOTSUPP;
	return 0;
}

/* The same judgements as those of quality_value.c. */
static int format_condition(const struct check *c, const char *column, struct buf *out)
{
	static const struct {
		const char *name, *pattern;
	} formats[] = {
		{ "email", "[^@ ]+@[^@ ]+\\.[^@ .]+" },
		{ "uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}" },
		{ "ipv4", "((25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|[01]?[0-9]?[0-9])" },
		{ "ipv6", "(:[0-9a-fA-F:.]+|[0-9a-fA-F.]+:[0-9a-fA-F:.]*)" },
		{ "hostname", "[A-Za-z0-9][A-Za-z0-9.-]{0,252}" },
		{ "uri", "[A-Za-z][^ :]*:[^ ]+" },
	};
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
		if (!strcmp(c->format, formats[i].name)) {
			buf_addf(out, "not regexp_full_match(cast(%s as varchar), ", column);
			buf_add_sql(out, formats[i].pattern, '\'');
			buf_addc(out, ')');
			return 0;
		}
	return -EOPNOTSUPP;
}

/* The flags are PCRE2's: neither a dot nor an anchor knows line ends. */
static int pattern_condition(const struct check *c, const char *column, struct buf *out)
{
	const char *pattern = pattern_for_engine(c->pattern);
	if (!pattern)
		return -EOPNOTSUPP;
	buf_addf(out, "not regexp_full_match(cast(%s as varchar), '(?-ms)' || ", column);
	buf_add_sql(out, pattern, '\'');
	buf_addc(out, ')');
	return 0;
}

/* What is wrong with a value that is there. */
static int condition(const struct check *c, const char *column, struct buf *out)
{
	bool moment = c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP;
	switch (c->kind) {
	case CHECK_TYPE:
		return type_condition(c, column, out);
	case CHECK_LENGTH:
		buf_addf(out, "length(cast(%s as varchar)) not between %g and %g", column, c->has_low ? c->low : 0, c->has_high ? c->high : 4e9);
		return 0;
	case CHECK_RANGE:
		if (c->has_low) {
			buf_addf(out, "%s%s %s ", column, moment ? "::timestamptz" : "", c->low_exclusive ? "<=" : "<");
			bound(out, c, c->low, c->low_ns);
		}
		if (c->has_high) {
			buf_addf(out, "%s%s%s %s ", c->has_low ? " or " : "", column, moment ? "::timestamptz" : "", c->high_exclusive ? ">=" : ">");
			bound(out, c, c->high, c->high_ns);
		}
		return 0;
	case CHECK_PATTERN:
		return pattern_condition(c, column, out);
	case CHECK_FORMAT:
		return format_condition(c, column, out);
	case CHECK_MULTIPLE:
		buf_addf(out, "abs(%s / %.17g - round(%s / %.17g)) >= 1e-9 * greatest(1, abs(%s / %.17g))", column, c->low, column, c->low, column, c->low);
		return 0;
	case CHECK_VALUES:
		buf_addf(out, "cast(%s as varchar) not in ", column);
		list(out, c->values);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

/* Values that repeat, over the columns of a key.  A null in one of them is equal to nothing. */
static int repeats(const struct check *c, const struct contract_object *o, struct buf *out)
{
	struct buf columns = BUF_INIT, there = BUF_INIT;
	size_t held = 0;
	for (size_t i = 0; i < o->column_count; i++) {
		if (c->column >= 0 ? (size_t)c->column != i : !check_key_holds(c, &o->columns[i]))
			continue;
		held++;
		buf_adds(&columns, columns.len ? ", " : "");
		buf_adds(&there, there.len ? " and " : "");
		sql_column(&columns, o->columns[i].name);
		sql_column(&there, o->columns[i].name);
		buf_adds(&there, " is not null");
	}
	const char *key = buf_text(&columns), *whole = buf_text(&there);
	int r = columns.len ? 0 : -EOPNOTSUPP;
	if (!r && held == 1)
		buf_addf(out, "count(%s) - count(distinct %s)", key, key);
	else if (!r)
		buf_addf(out, "count(*) filter (where %s) - count(distinct (%s)) filter (where %s)", whole, key, whole);
	buf_free(&columns);
	buf_free(&there);
	return r;
}

int check_expression(const struct check *c, const struct contract_object *o, struct buf *out)
{
	struct buf column = BUF_INIT, wrong = BUF_INIT;
	int r = 0;
	if (c->column >= 0)
		sql_column(&column, o->columns[c->column].name);
	const char *v = buf_text(&column);
	if (c->kind == CHECK_ROWS) {
		buf_adds(out, "count(*)");
	} else if (c->kind == CHECK_DISTINCT) {
		r = repeats(c, o, out);
	} else if (c->column < 0) {
		r = -EOPNOTSUPP;
	} else if (c->kind == CHECK_NULL || c->kind == CHECK_MISSING) {
		buf_addf(out, "count(*) filter (where %s is null", v);
		if (doc_count(c->values)) {
			buf_addf(out, " or cast(%s as varchar) in ", v);
			list(out, c->values);
		}
		buf_addc(out, ')');
	} else if (c->kind == CHECK_FRESH) {
		buf_addf(out, "count(*) filter (where %s::timestamptz >= ", v);
		bound(out, c, 0, c->low_ns);
		buf_addc(out, ')');
	} else if (!(r = condition(c, v, &wrong))) {
		buf_addf(out, "count(*) filter (where %s is not null and (%s))", v, buf_text(&wrong));
	}
	if (!r && (buf_check(&column) || buf_check(&wrong)))
		r = -ENOMEM;
	buf_free(&column);
	buf_free(&wrong);
	return r ? r : buf_check(out);
}
