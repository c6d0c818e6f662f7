/* Queries over local files, and reading Parquet files row by row. */
#include "policy/duckdb.h"

#include "catalog/base/buf.h"
#include "catalog/base/text.h"
#include "catalog/quality_table.h"
#include "policy/duckdb_api.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct duckdb_session {
	const struct duckdb_api *api;
	handle database, connection;
	unsigned scans; /* so far; names their functions */
};

int duckdb_session_new(struct duckdb_session **ret, struct err *e)
{
	const struct duckdb_api *api = duckdb_api();
	if (!api)
		return err_set(e, -EOPNOTSUPP, "no SQL engine (DuckDB) was found");
	struct duckdb_session *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->api = api;
	if (api->open(NULL, &s->database) || api->connect(s->database, &s->connection) || duckdb_settle(s->connection)) {
		duckdb_session_free(s);
		return err_set(e, -EIO, "the SQL engine (DuckDB) does not start");
	}
	*ret = s;
	return 0;
}

void duckdb_session_free(struct duckdb_session *s)
{
	if (!s)
		return;
	if (s->connection)
		s->api->disconnect(&s->connection);
	if (s->database)
		s->api->close(&s->database);
	free(s);
}

int duckdb_session_run(struct duckdb_session *s, const char *sql, struct err *e)
{
	union result result;
	memset(&result, 0, sizeof result);
	int failed = s->api->query(s->connection, sql, &result);
	s->api->destroy_result(&result);
	return failed ? err_set(e, -EINVAL, "the SQL engine refuses the statement") : 0;
}

int duckdb_session_confine(struct duckdb_session *s, struct err *e)
{
	return duckdb_session_run(s, "SET enable_external_access=false; SET lock_configuration=true", e);
}

/* Words of the engine about the query itself, which quote no values; else NULL. */
static const char *about_the_query(const char *said)
{
	static const char *const kinds[] = { "Parser Error: ", "Binder Error: ", "Catalog Error: ", "Permission Error: " };
	for (size_t i = 0; said && i < sizeof kinds / sizeof *kinds; i++)
		if (text_starts(said, kinds[i]))
			return said + strlen(kinds[i]);
	return NULL;
}

static int refuse(struct duckdb_session *s, union result *result, struct err *e)
{
	const char *all = s->api->result_error(result), *said = about_the_query(all);
	if (all && text_starts(all, "Out of Memory Error: "))
		return err_set(e, -EINVAL, "the query wants more memory than the " DUCKDB_MEMORY " that it gets; make it cheaper");
	char *line = said ? text_printable(said, strcspn(said, "\n")) : NULL;
	int r = err_set(e, -EINVAL, "the SQL engine refuses the query%s%.200s", line ? ": " : "", line ? line : "");
	free(line);
	return r;
}

/* A text would be read as some number, 0 mostly, and pass for an answer. */
static bool is_number(int type)
{
	return (type >= DUCKDB_TYPE_BOOLEAN && type <= DUCKDB_TYPE_DOUBLE) || type == DUCKDB_TYPE_HUGEINT || type == DUCKDB_TYPE_UHUGEINT ||
	       type == DUCKDB_TYPE_DECIMAL;
}

int duckdb_session_number(struct duckdb_session *s, const char *query, double *ret, struct err *e)
{
	/* In brackets it can be nothing but one query. */
	size_t len = strlen(query);
	while (len && strchr("; \t\r\n", query[len - 1]))
		len--;
	char *sql = text_format("select * from (\n%.*s\n)", (int)len, query);
	union result result;
	if (!sql)
		return err_set(e, -ENOMEM, "out of memory");
	memset(&result, 0, sizeof result);
	int r = 0;
	if (s->api->query(s->connection, sql, &result))
		r = refuse(s, &result, e);
	else if (s->api->row_count(&result) != 1 || s->api->column_count(&result) != 1 || !is_number(s->api->column_type(&result, 0)) || s->api->value_is_null(&result, 0, 0))
		r = err_set(e, -EINVAL, "the query gives no single number or truth value");
	else
		*ret = s->api->value_double(&result, 0, 0);
	s->api->destroy_result(&result);
	free(sql);
	return r;
}

/* -- reading a Parquet file ------------------------------------------------------------------------ */

/* What the engine hands over of a column. */
enum handed { HANDED_BOOL, HANDED_INTEGER, HANDED_FLOAT, HANDED_DOUBLE, HANDED_TEXT, HANDED_MICROSECONDS, HANDED_NANOSECONDS, HANDED_JSON, HANDED_THERE };

struct column {
	uint32_t number; /* quality_table.h */
	char *name;
	enum handed handed;
	enum value_kind kind;
	struct table_text *texts; /* by row of those under way */
	double *numbers;	  /* of floats */
	bool days;
	idx text_room;		  /* of either */
};

struct scan {
	const struct duckdb_api *api;
	struct quality_table *table;
	struct column *columns;
	size_t count;
	struct buf arguments; /* SQL */
	uint64_t row;	      /* of the file: the next */
	int failed;
};

/* How values of a type are handed over: an expression around the column, and what comes of it. */
struct reading {
	const char *before, *after;
	enum handed handed;
	enum value_kind kind;
	bool days;
};

static struct reading reading_of(int type)
{
	switch (type) {
	case DUCKDB_TYPE_BOOLEAN:
		return (struct reading){ "", "", HANDED_BOOL, VALUE_BOOL, false };
	case DUCKDB_TYPE_TINYINT:
	case DUCKDB_TYPE_SMALLINT:
	case DUCKDB_TYPE_INTEGER:
	case DUCKDB_TYPE_BIGINT:
	case DUCKDB_TYPE_UTINYINT:
	case DUCKDB_TYPE_USMALLINT:
	case DUCKDB_TYPE_UINTEGER:
		return (struct reading){ "cast(", " as bigint)", HANDED_INTEGER, VALUE_NUMBER, false };
	case DUCKDB_TYPE_FLOAT:
		return (struct reading){ "(", ")", HANDED_FLOAT, VALUE_NUMBER, false };
	case DUCKDB_TYPE_DOUBLE:
		return (struct reading){ "cast(", " as double)", HANDED_DOUBLE, VALUE_NUMBER, false };
	case DUCKDB_TYPE_UBIGINT:
	case DUCKDB_TYPE_HUGEINT:
	case DUCKDB_TYPE_UHUGEINT:
	case DUCKDB_TYPE_DECIMAL:
		return (struct reading){ "cast(", " as varchar)", HANDED_TEXT, VALUE_NUMBER, false };
	case DUCKDB_TYPE_VARCHAR:
	case DUCKDB_TYPE_ENUM:
	case DUCKDB_TYPE_UUID:
		return (struct reading){ "cast(", " as varchar)", HANDED_TEXT, VALUE_TEXT, false };
	case DUCKDB_TYPE_DATE:
		return (struct reading){ "epoch_us(", ")", HANDED_MICROSECONDS, VALUE_MOMENT, true };
	case DUCKDB_TYPE_TIMESTAMP:
	case DUCKDB_TYPE_TIMESTAMP_S:
	case DUCKDB_TYPE_TIMESTAMP_MS:
	case DUCKDB_TYPE_TIMESTAMP_TZ:
		return (struct reading){ "epoch_us(", ")", HANDED_MICROSECONDS, VALUE_MOMENT, false };
	case DUCKDB_TYPE_TIMESTAMP_NS:
		return (struct reading){ "epoch_ns(", ")", HANDED_NANOSECONDS, VALUE_MOMENT, false };
	case DUCKDB_TYPE_TIME:
	case DUCKDB_TYPE_TIME_TZ:
		return (struct reading){ "cast(", " as varchar)", HANDED_TEXT, VALUE_MOMENT, false };
	case DUCKDB_TYPE_LIST:
	case DUCKDB_TYPE_ARRAY:
	case DUCKDB_TYPE_STRUCT:
		return (struct reading){ "cast(to_json(", ") as varchar)", HANDED_JSON, VALUE_OBJECT, false };
	default: /* maps, too: their keys are no columns; add_entries sees to what is in them */
		return (struct reading){ "(", " is not null)", HANDED_THERE, VALUE_OBJECT, false };
	}
}

static int engine_type(enum handed handed)
{
	switch (handed) {
	case HANDED_BOOL:
	case HANDED_THERE:
		return DUCKDB_TYPE_BOOLEAN;
	case HANDED_FLOAT:
		return DUCKDB_TYPE_FLOAT;
	case HANDED_DOUBLE:
		return DUCKDB_TYPE_DOUBLE;
	case HANDED_TEXT:
	case HANDED_JSON:
		return DUCKDB_TYPE_VARCHAR;
	default:
		return DUCKDB_TYPE_BIGINT;
	}
}

typedef int name_column(struct quality_table *t, const char *name, size_t len, uint32_t *ret);

static int add_reading(struct scan *x, const char *name, const char *sql, struct reading reading, name_column *column)
{
	struct column *more = realloc(x->columns, (x->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	x->columns = more;
	more[x->count] = (struct column){ .handed = reading.handed, .kind = reading.kind, .days = reading.days, .name = strdup(name) };
	buf_addf(&x->arguments, "%s%s%s%s", x->count ? ", " : "", reading.before, sql, reading.after);
	struct column *c = &more[x->count++];
	return c->name ? column(x->table, name, strlen(name), &c->number) : -ENOMEM;
}

/* The keys, or the values, of a map are a list: columns of the names that rules know them by. */
static int add_entries(struct scan *x, const char *name, const char *sql, const char *function, const char *part)
{
	const struct reading list = { "cast(to_json(", ") as varchar)", HANDED_JSON, VALUE_OBJECT, false };
	char *nested = text_format("%s.%s", name, part), *entries = text_format("%s(%s)", function, sql);
	int r = nested && entries ? add_reading(x, nested, entries, list, quality_table_part) : -ENOMEM;
	free(nested);
	free(entries);
	return r;
}

static int scan_add(struct scan *x, const char *name, const char *sql, int type)
{
	int r = add_reading(x, name, sql, reading_of(type), quality_table_column);
	if (!r && type == DUCKDB_TYPE_MAP)
		r = add_entries(x, name, sql, "map_keys", "key");
	if (!r && type == DUCKDB_TYPE_MAP)
		r = add_entries(x, name, sql, "map_values", "value");
	return r;
}

/* The columns of a query, without its rows.  -EINVAL: the engine refuses it. */
static int describe(struct duckdb_session *s, const char *columns, const char *from, union result *ret)
{
	char *sql = text_format("select %s from %s limit 0", columns, from);
	memset(ret, 0, sizeof *ret);
	int r = !sql ? -ENOMEM : s->api->query(s->connection, sql, ret) ? -EINVAL : 0;
	free(sql);
	return r;
}

static int add_whole_columns(struct duckdb_session *s, struct scan *x, const char *from, struct err *e)
{
	union result head;
	int r = describe(s, "*", from, &head);
	if (r == -EINVAL)
		err_set(e, r, "the SQL engine (DuckDB) cannot read it: it is damaged, encrypted, or of a kind that it does not know");
	for (idx i = 0; !r && i < s->api->column_count(&head); i++) {
		struct buf sql = BUF_INIT;
		const char *name = s->api->column_name(&head, i);
		buf_add_sql(&sql, name, '"');
		r = buf_check(&sql) ? -ENOMEM : scan_add(x, name, buf_text(&sql), s->api->column_type(&head, i));
		buf_free(&sql);
	}
	s->api->destroy_result(&head);
	return r;
}

static int give_json(const struct scan *x, const struct column *c, const union string *texts, const uint64_t *validity, idx rows)
{
	int r = 0;
	for (idx i = 0; i < rows && !r; i++) {
		if (!table_is_there(validity, i))
			continue;
		size_t len;
		const char *text = duckdb_string(&texts[i], &len);
		r = quality_table_json(x->table, c->name, (uint32_t)i, text, len);
	}
	return r;
}

static const struct table_text *texts_of(struct column *c, const union string *texts, const uint64_t *validity, idx rows)
{
	if (c->text_room < rows) {
		free(c->texts);
		c->text_room = (c->texts = malloc(rows * sizeof *c->texts)) ? rows : 0;
	}
	for (idx i = 0; c->texts && i < rows; i++)
		if (table_is_there(validity, i))
			c->texts[i].text = duckdb_string(&texts[i], &c->texts[i].len);
	return c->texts;
}

/* The decimal of at most seven digits that a float of 32 bits stands for: 0.1, where the double of the same bits is 0.10000000149. */
static double shortest(float value)
{
	static const double powers[] = { 1e0,  1e1,  1e2,  1e3,	 1e4,  1e5,  1e6,  1e7,	 1e8,  1e9,  1e10, 1e11,
					 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
	const double exact = value;
	if (value == 0 || !isfinite(value))
		return exact;
	const int shift = 6 - (int)floor(log10(fabs(exact)));
	if (shift < -22 || shift > 22)
		return exact;
	const double power = powers[abs(shift)], rounded = round(shift < 0 ? exact / power : exact * power);
	const double near = shift < 0 ? rounded * power : rounded / power;
	return (float)near == value ? near : exact;
}

static const double *numbers_of(struct column *c, const float *floats, const uint64_t *validity, idx rows)
{
	if (c->text_room < rows) {
		free(c->numbers);
		c->text_room = (c->numbers = malloc(rows * sizeof *c->numbers)) ? rows : 0;
	}
	for (idx i = 0; c->numbers && i < rows; i++)
		c->numbers[i] = table_is_there(validity, i) ? shortest(floats[i]) : 0;
	return c->numbers;
}

static int give_column(struct scan *x, size_t k, handle vector, idx rows)
{
	struct column *c = &x->columns[k];
	const void *data = x->api->vector_get_data(vector);
	struct table_values v = { .kind = c->kind, .values = data, .there = x->api->vector_get_validity(vector) };
	switch (c->handed) {
	case HANDED_JSON:
		return give_json(x, c, data, v.there, rows);
	case HANDED_TEXT:
		v.form = TABLE_TEXTS;
		v.values = texts_of(c, data, v.there, rows);
		break;
	case HANDED_BOOL:
		v.form = TABLE_BOOLS;
		break;
	case HANDED_INTEGER:
		v.form = TABLE_INTEGERS;
		break;
	case HANDED_FLOAT:
		v.form = TABLE_NUMBERS;
		v.values = numbers_of(c, data, v.there, rows);
		break;
	case HANDED_DOUBLE:
		v.form = TABLE_NUMBERS;
		break;
	case HANDED_MICROSECONDS:
	case HANDED_NANOSECONDS:
		v.form = TABLE_MOMENTS;
		v.unit_ns = c->handed == HANDED_NANOSECONDS ? 1 : 1000;
		v.days = c->days;
		break;
	case HANDED_THERE:
		v.form = TABLE_THERE;
		break;
	}
	return v.values ? quality_table_values(x->table, c->number, &v) : -ENOMEM;
}

/* The function that the engine calls with some rows. */
static void on_rows(handle info, handle chunk, handle output)
{
	const struct duckdb_api *api = duckdb_api();
	struct scan *x = api->scalar_function_get_extra_info(info);
	const idx rows = api->data_chunk_get_size(chunk);
	if (!rows)
		return;
	memset(api->vector_get_data(output), 0, rows * sizeof(bool));
	quality_table_at(x->table, x->row, (uint32_t)rows);
	for (size_t k = 0; k < x->count && !x->failed; k++)
		x->failed = give_column(x, k, api->data_chunk_get_vector(chunk, k), rows);
	if (!x->failed)
		x->failed = quality_table_rows(x->table);
	x->row += rows;
	if (x->failed)
		api->scalar_function_set_error(info, "stopped");
}

static int register_function(struct duckdb_session *s, struct scan *x, const char *name)
{
	const struct duckdb_api *api = s->api;
	handle function = api->create_scalar_function(), ret = api->create_logical_type(DUCKDB_TYPE_BOOLEAN);
	if (function) {
		api->scalar_function_set_name(function, name);
		for (size_t k = 0; k < x->count; k++) {
			handle type = api->create_logical_type(engine_type(x->columns[k].handed));
			api->scalar_function_add_parameter(function, type);
			api->destroy_logical_type(&type);
		}
		api->scalar_function_set_return_type(function, ret);
		api->scalar_function_set_special_handling(function); /* nulls are ours to judge */
		api->scalar_function_set_volatile(function); /* called with each row, not with each entry of a dictionary */
		api->scalar_function_set_extra_info(function, x, NULL);
		api->scalar_function_set_function(function, on_rows);
	}
	int r = function && !api->register_scalar_function(s->connection, function) ? 0 : -EIO;
	api->destroy_logical_type(&ret);
	api->destroy_scalar_function(&function);
	return r;
}

static int read_rows(struct duckdb_session *s, struct scan *x, const char *from, struct err *e)
{
	char name[32];
	struct buf sql = BUF_INIT;
	snprintf(name, sizeof name, "meshfs_rows_%u", s->scans++);
	buf_addf(&sql, "select count(%s(%s)) from %s", name, buf_text(&x->arguments), from);
	int r = buf_check(&sql) || buf_check(&x->arguments) ? -ENOMEM : register_function(s, x, name);
	double rows = 0;
	if (!r)
		r = duckdb_session_run(s, buf_text(&sql), NULL);
	buf_clear(&sql);
	buf_addf(&sql, "select count(*) from %s", from);
	if (!r)
		r = duckdb_session_number(s, buf_text(&sql), &rows, NULL);
	buf_free(&sql);
	if (x->failed)
		return x->failed;
	if (!r && (uint64_t)rows != x->row - 1) /* a check of what the engine is taken to do */
		return err_set(e, -EIO, "the SQL engine (DuckDB) gave %llu rows of %.0f", (unsigned long long)(x->row - 1), rows);
	return r ? err_set(e, r, "the SQL engine (DuckDB) could not read all of it: it is damaged") : 0;
}

int duckdb_session_scan(struct duckdb_session *s, const char *path, struct quality_table *t, struct err *e)
{
	struct scan x = { .api = s->api, .table = t, .row = 1 };
	struct buf from = BUF_INIT;
	buf_adds(&from, "read_parquet(");
	buf_add_sql(&from, path, '\'');
	buf_addc(&from, ')');
	/* One thread reads, so that rows come in their order. */
	int r = buf_check(&from) ? -ENOMEM : duckdb_session_run(s, "set threads = 1", e);
	if (!r)
		r = add_whole_columns(s, &x, buf_text(&from), e);
	if (!r)
		r = read_rows(s, &x, buf_text(&from), e);
	duckdb_session_run(s, "reset threads", NULL);
	for (size_t i = 0; i < x.count; i++) {
		free(x.columns[i].name);
		free(x.columns[i].texts);
		free(x.columns[i].numbers);
	}
	free(x.columns);
	buf_free(&x.arguments);
	buf_free(&from);
	return r;
}
