/*
 * What only an engine can count: objects that lie in Parquet files, and sql checks.
 *
 * Everything about an object in Parquet is asked in one query, since a query reads all the columns that it names once: checks, rows, and of
 * each column how many values are there, and where the contract lets values be kept the lowest and the highest.  Quantiles
 * are a second query, over a sample.  When the one query is refused (the file's type of a column does not fit a check, say), each check is asked for
 * itself, so that only those fail that must.
 */
#include "catalog/quality_check.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_ROWS 4096

static bool has_parquet(struct quality *q, size_t object, bool *ret_only)
{
	char *const *files;
	size_t parquet, count = quality_object_files(q, object, &files, &parquet);
	*ret_only = parquet == count;
	return count && parquet;
}

bool quality_in_parquet(struct quality *q, size_t object)
{
	bool only;
	return has_parquet(q, object, &only);
}

static const struct contract_object *object_of(struct quality *q, size_t object)
{
	const struct contract_object *objects;
	contract_objects(quality_contract(q), &objects);
	return &objects[object];
}

/* -- one check by itself --------------------------------------------------------------------------- */

static int ask_number(const struct quality_engine *engine, const char *expression, const struct contract_object *o, double *ret, struct err *why)
{
	struct buf query = BUF_INIT;
	buf_addf(&query, "select %s from ", expression);
	buf_add_sql(&query, o->name, '"');
	int r = buf_check(&query);
	if (!r)
		r = engine->number(engine->arg, buf_text(&query), ret, why);
	buf_free(&query);
	return r;
}

int quality_ask_check(struct quality *q, const struct check *c, const struct quality_engine *engine, double *ret, struct err *why)
{
	const struct contract_object *o = object_of(q, c->object);
	struct buf expression = BUF_INIT;
	double all = 0;
	bool only;
	if (c->kind == CHECK_BROKEN || c->kind == CHECK_UNKNOWN || c->kind == CHECK_ABSENT) {
		*ret = 0; /* the engine refuses a broken file, and the checks of a column that is not there */
		return 0;
	}
	if (!engine)
		return err_set(why, -EOPNOTSUPP, "not checked in Parquet files: no SQL engine (DuckDB) was found");
	has_parquet(q, c->object, &only);
	if (!only)
		return err_set(why, -EOPNOTSUPP, "not checked: '%s' has Parquet files beside others", o->name);
	int r = 0;
	if (c->asked) {
		*ret = c->answer;
	} else {
		r = check_expression(c, o, &expression);
		r = r ? err_set(why, r, "this check is not made of Parquet files") : ask_number(engine, buf_text(&expression), o, ret, why);
	}
	if (!r && c->percent)
		r = quality_rows(q, c->object) ? (all = (double)quality_rows(q, c->object), 0) : ask_number(engine, "count(*)", o, &all, why);
	if (!r && c->percent)
		*ret = all > 0 ? 100 * *ret / all : 0;
	buf_free(&expression);
	return r;
}

/* -- everything about an object -------------------------------------------------------------------- */

/* What a query's numbers are, in order. */
struct question {
	struct buf query;
	struct check **checks; /* the first of them, after the rows */
	size_t check_count;
	const struct contract_column **columns; /* then: how many values, and of ordered ones the lowest and the highest */
	size_t column_count, numbers;
};

static bool has_order(const struct contract_column *c)
{
	bool ordered = c->type == TYPE_INTEGER || c->type == TYPE_NUMBER || c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP;
	return ordered && quality_may_tell(c);
}

static void ordered_value(struct buf *out, const struct contract_column *c)
{
	bool moment = c->type == TYPE_DATE || c->type == TYPE_TIMESTAMP;
	buf_adds(out, moment ? "epoch(try_cast(" : "try_cast(");
	sql_column(out, c->name);
	buf_adds(out, moment ? " as timestamp))" : " as double)");
}

static int question_make(struct quality *q, size_t object, struct question *x)
{
	const struct contract_object *o = object_of(q, object);
	const struct check_list *list = quality_checks(q);
	x->checks = calloc(list->count + 1, sizeof *x->checks);
	x->columns = calloc(o->column_count + 1, sizeof *x->columns);
	if (!x->checks || !x->columns)
		return -ENOMEM;
	buf_adds(&x->query, "select count(*)");
	for (size_t i = 0; i < list->count; i++) {
		struct buf one = BUF_INIT;
		struct check *c = list->items[i];
		if (c->object == object && c->kind != CHECK_SQL && c->kind != CHECK_NEVER && !check_expression(c, o, &one)) {
			buf_addf(&x->query, ", %s", buf_text(&one));
			x->checks[x->check_count++] = c;
		}
		buf_free(&one);
	}
	x->numbers = 1 + x->check_count;
	for (size_t i = 0; i < o->column_count && i < QUALITY_COLUMNS_TOLD; i++) {
		const struct contract_column *c = &o->columns[i];
		if (c->type == TYPE_OBJECT || c->type == TYPE_ARRAY)
			continue;
		x->columns[x->column_count++] = c;
		buf_adds(&x->query, ", count(");
		sql_column(&x->query, c->name);
		buf_addc(&x->query, ')');
		x->numbers++;
		if (!has_order(c))
			continue;
		buf_adds(&x->query, ", min(");
		ordered_value(&x->query, c);
		buf_adds(&x->query, "), max(");
		ordered_value(&x->query, c);
		buf_addc(&x->query, ')');
		x->numbers += 2;
	}
	buf_adds(&x->query, " from ");
	buf_add_sql(&x->query, o->name, '"');
	return buf_check(&x->query);
}

static void question_free(struct question *x)
{
	buf_free(&x->query);
	free(x->checks);
	free(x->columns);
}

static void take_answers(struct quality *q, size_t object, const struct question *x, const double *n)
{
	const struct contract_object *o = object_of(q, object);
	quality_set_rows(q, object, (uint64_t)*n++);
	for (size_t i = 0; i < x->check_count; i++, n++) {
		x->checks[i]->asked = !isnan(*n);
		x->checks[i]->answer = *n;
	}
	for (size_t i = 0; i < x->column_count; i++) {
		const struct contract_column *c = x->columns[i];
		struct distribution_summary *s = quality_summary(q, object, (size_t)(c - o->columns));
		s->values = (uint64_t)*n++;
		if (!has_order(c))
			continue;
		s->low = *n++;
		s->high = *n++;
		s->ordered = !isnan(s->low) && !isnan(s->high);
	}
}

/* Quantiles of the ordered columns.  Without an answer their ends alone are told. */
static void ask_quantiles(struct quality *q, size_t object, const struct question *x, const struct quality_engine *engine, double *numbers)
{
	const struct contract_object *o = object_of(q, object);
	struct buf query = BUF_INIT, from = BUF_INIT;
	size_t n = 0;
	buf_adds(&query, "select ");
	for (size_t i = 0; i < x->column_count; i++) {
		if (!has_order(x->columns[i]))
			continue;
		buf_addf(&from, "%s", n ? ", " : "");
		ordered_value(&from, x->columns[i]);
		buf_addf(&from, " as c%zu", i);
		for (size_t k = 0; k < DISTRIBUTION_QUANTILES; k++)
			buf_addf(&query, "%squantile_disc(c%zu, %g)", n++ ? ", " : "", i, distribution_quantiles[k]);
	}
	buf_addf(&query, " from (select %s from ", buf_text(&from));
	buf_add_sql(&query, o->name, '"');
	buf_addf(&query, " using sample reservoir(%d rows) repeatable (1))", SAMPLE_ROWS);
	bool told = n && !buf_check(&query) && !buf_check(&from) && !engine->numbers(engine->arg, buf_text(&query), numbers, n, NULL);
	for (size_t i = 0, at = 0; i < x->column_count; i++) {
		struct distribution_summary *s = quality_summary(q, object, (size_t)(x->columns[i] - o->columns));
		if (!has_order(x->columns[i]))
			continue;
		for (size_t k = 0; k < DISTRIBUTION_QUANTILES; k++, at++)
			s->quantiles[k] = told ? numbers[at] : NAN;
	}
	buf_free(&query);
	buf_free(&from);
}

static int ask_object(struct quality *q, size_t object, const struct quality_engine *engine)
{
	struct question x = { .query = BUF_INIT };
	int r = question_make(q, object, &x);
	double *numbers = r ? NULL : calloc(x.numbers + x.column_count * DISTRIBUTION_QUANTILES, sizeof *numbers);
	if (!r && !numbers)
		r = -ENOMEM;
	if (!r && !engine->numbers(engine->arg, buf_text(&x.query), numbers, x.numbers, NULL)) {
		take_answers(q, object, &x, numbers);
		ask_quantiles(q, object, &x, engine, numbers);
	}
	question_free(&x);
	free(numbers);
	return r;
}

/* -- tables ------------------------------------------------------------------------------------------ */

/* Is there anything to ask an engine? */
static bool need_tables(struct quality *q)
{
	const struct check_list *list = quality_checks(q);
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i]->kind == CHECK_SQL || quality_in_parquet(q, list->items[i]->object))
			return true;
	return false;
}

static int make_table(struct quality *q, size_t object, const struct quality_engine *engine, struct err *e)
{
	char *const *files;
	size_t parquet, count = quality_object_files(q, object, &files, &parquet);
	return count ? engine->table(engine->arg, object_of(q, object)->name, (const char *const *)files, count, e) : 0;
}

int quality_ask(struct quality *q, const struct quality_engine *engine, bool *ret_usable)
{
	struct err why = ERR_INIT;
	*ret_usable = true;
	if (!need_tables(q))
		return 0;
	for (size_t i = 0; i < quality_object_count(q); i++)
		if (make_table(q, i, engine, &why)) {
			*ret_usable = false;
			return 0;
		}
	for (size_t i = 0; i < quality_object_count(q); i++) {
		bool only;
		int r = has_parquet(q, i, &only) && only && engine->numbers ? ask_object(q, i, engine) : 0;
		if (r)
			return r;
	}
	return 0;
}
