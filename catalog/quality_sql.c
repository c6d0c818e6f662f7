/* Checks as queries, for files that only an engine reads (Parquet). */
#include "catalog/quality_check.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <string.h>

/* A column, nested ones by their path: "address"."zip". */
static void column_name(struct buf *out, const char *name)
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
	case CHECK_VALUES:
		buf_addf(out, "cast(%s as varchar) not in ", column);
		list(out, c->values);
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

int check_query(const struct check *c, const struct contract_object *o, struct buf *query, struct buf *examined)
{
	struct buf column = BUF_INIT, table = BUF_INIT;
	int r = 0;
	buf_add_sql(&table, o->name, '"');
	if (c->column >= 0)
		column_name(&column, o->columns[c->column].name);
	const char *t = buf_text(&table), *v = buf_text(&column);
	if (examined)
		buf_addf(examined, "select count(*) from %s", t);
	if (c->kind == CHECK_ROWS) {
		buf_addf(query, "select count(*) from %s", t);
	} else if (c->column < 0) {
		r = -EOPNOTSUPP;
	} else if (c->kind == CHECK_NULL) {
		buf_addf(query, "select count(*) from %s where %s is null", t, v);
	} else if (c->kind == CHECK_MISSING) {
		buf_addf(query, "select count(*) from %s where %s is null", t, v);
		if (doc_count(c->values)) {
			buf_addf(query, " or cast(%s as varchar) in ", v);
			list(query, c->values);
		}
	} else if (c->kind == CHECK_DISTINCT) {
		buf_addf(query, "select count(%s) - count(distinct %s) from %s", v, v, t);
	} else {
		buf_addf(query, "select count(*) from %s where %s is not null and (", t, v);
		r = condition(c, v, query);
		buf_addc(query, ')');
	}
	buf_free(&column);
	buf_free(&table);
	return r ? r : buf_check(query);
}
