/*
 * Filters and masks are functions that the engine calls back: the same code that CSV and JSON lines go through, so that the same rules
 * give the same rows and values in every format.  What the engine says of an error may quote values, so it is not passed on.
 */
#include "policy/duckdb.h"

#include "catalog/base/io.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "policy/duckdb_api.h"
#include "policy/expr.h"
#include "policy/parquet_mask.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)
#define FILTER_COLUMNS_MAX 64

/* -- the plan --------------------------------------------------------------------------------- */

struct filter {
	const struct expr *expr;
	const struct expr_column *columns;
	size_t count;
	bool wrong[FILTER_COLUMNS_MAX]; /* the file's type is not the contract's: whatever is asked is unknown */
	bool escaped[FILTER_COLUMNS_MAX]; /* a backslash in the text stands for a byte that the text does not show: unknown */
};

struct duckdb_plan {
	struct view_plan plan;
	struct transform *transform;
	struct mask_run *masks; /* by function meshfs_mask_N */
	size_t mask_count;
	struct filter filter;
	struct buf select; /* the columns of SELECT */
	struct buf texts;  /* the same by their names, as texts where they hold one value */
	struct buf where;  /* the condition, or empty */
};

static void duckdb_free(struct view_plan *plan)
{
	struct duckdb_plan *p = (struct duckdb_plan *)plan;
	for (size_t i = 0; i < p->mask_count; i++)
		mask_fini(&p->masks[i]);
	free(p->masks);
	buf_free(&p->select);
	buf_free(&p->texts);
	buf_free(&p->where);
	transform_unref(p->transform);
	free(p);
}

/* A number that is none is as good as no value: separated text and JSON cannot hold it. */
static void add_text(struct duckdb_plan *p, const struct parquet_element *el)
{
	bool whole = el->type == PARQUET_GROUP || el->repetition == PARQUET_REPEATED, real = el->type == PARQUET_FLOAT || el->type == PARQUET_DOUBLE;
	buf_adds(&p->texts, whole ? ", " : real ? ", nullif(CAST(" : ", CAST(");
	buf_add_sql_n(&p->texts, el->name, el->name_len, '"');
	if (!whole) {
		buf_adds(&p->texts, real ? " AS VARCHAR), 'nan') AS " : " AS VARCHAR) AS ");
		buf_add_sql_n(&p->texts, el->name, el->name_len, '"');
	}
}

/* One of the file's columns, with all that is in it. */
static int add_column(struct duckdb_plan *p, const struct transform *t, const struct view_keys *keys, const struct parquet_footer *f, size_t i,
		      struct err *e)
{
	const struct parquet_element *el = &f->elements[i];
	struct buf name = BUF_INIT;
	buf_add(&name, el->name, el->name_len);
	if (buf_check(&name) != 0 || memchr(buf_text(&name), 0, name.len)) {
		buf_free(&name);
		return err_set(e, -EACCES, "the name of a column cannot be read");
	}
	const struct mask *m = view_path_mask(t, buf_text(&name));
	buf_free(&name);
	if (m->kind == MASK_DROP)
		return 0;
	if (p->select.len)
		buf_adds(&p->select, ", ");
	if (m->kind == MASK_NULL) {
		buf_adds(&p->select, "CASE WHEN false THEN ");
		buf_add_sql_n(&p->select, el->name, el->name_len, '"');
		buf_adds(&p->select, " END AS ");
	} else if (m->kind != MASK_KEEP) {
		if (el->type == PARQUET_GROUP)
			return err_set(e, -EACCES, "the column %.*s holds others: a mask of its values gives no Parquet column", (int)el->name_len, el->name);
		int r = mask_prepare(m, keys, &p->masks[p->mask_count], e);
		if (r != 0)
			return r;
		buf_addf(&p->select, "TRY_CAST(meshfs_mask_%zu(CAST(", p->mask_count);
		buf_add_sql_n(&p->select, el->name, el->name_len, '"');
		char type[PARQUET_TYPE_TEXT_MAX];
		parquet_type_after(el, &p->masks[p->mask_count++], type);
		buf_addf(&p->select, " AS VARCHAR)) AS %s) AS ", type);
	}
	buf_add_sql_n(&p->select, el->name, el->name_len, '"');
	add_text(p, el);
	return 0;
}

/* Masks and removals below the top level would need structs and lists taken apart. */
static int check_nested(const struct transform *t, const struct parquet_footer *f, struct err *e)
{
	struct buf path = BUF_INIT;
	int r = 0;
	for (size_t leaf = 0; leaf < f->leaf_count && r == 0; leaf++) {
		buf_clear(&path);
		parquet_leaf_path(f, leaf, &path);
		const char *dot = strchr(buf_text(&path), '.');
		if (!dot)
			continue;
		const struct mask *whole = view_path_mask(t, buf_text(&path));
		path.data[dot - path.data] = 0;
		const struct mask *top = view_column_mask(t, path.data, strlen(path.data));
		if (whole->kind != MASK_KEEP && whole != top)
			r = err_set(e, -EACCES, "a rule concerns a part of the nested column %s, together with rows or values that need an engine", path.data);
	}
	buf_free(&path);
	return r;
}

/* The engine does not tell names apart by their case: one column would be read for the other. */
static int check_names(const struct parquet_footer *f, struct err *e)
{
	struct map *seen = map_new();
	struct buf name = BUF_INIT;
	int r = seen ? 0 : -ENOMEM;
	for (size_t i = 1; i < f->element_count && !r; i++) {
		const struct parquet_element *el = &f->elements[i];
		if (el->parent)
			continue;
		buf_clear(&name);
		for (size_t k = 0; k < el->name_len; k++)
			buf_addc(&name, el->name[k] >= 'A' && el->name[k] <= 'Z' ? (char)(el->name[k] | 32) : el->name[k]);
		if (buf_check(&name))
			r = -ENOMEM;
		else if (map_get(seen, buf_text(&name), name.len))
			r = err_set(e, -EACCES, "two columns are called %.*s but for case, and rows or values need an engine, which cannot tell them apart",
				    (int)el->name_len, el->name);
		else
			r = map_set(seen, buf_text(&name), name.len, (void *)(uintptr_t)el, NULL);
	}
	buf_free(&name);
	map_free(seen, NULL);
	return r == -ENOMEM ? err_set(e, r, "out of memory") : r;
}

static int add_filter(struct duckdb_plan *p, const struct parquet_footer *f, struct err *e)
{
	struct filter *filter = &p->filter;
	filter->expr = p->transform->filter;
	if (!filter->expr)
		return 0;
	filter->count = expr_columns(filter->expr, &filter->columns);
	if (filter->count > FILTER_COLUMNS_MAX)
		return err_set(e, -EACCES, "a filter reads more than %d columns", FILTER_COLUMNS_MAX);
	buf_adds(&p->where, " WHERE meshfs_filter(");
	for (size_t c = 0; c < filter->count; c++) {
		const struct expr_column *column = &filter->columns[c];
		const struct parquet_element *el = NULL;
		size_t len = strlen(column->name), found = 0;
		for (size_t i = 1; i < f->element_count; i++) {
			if (f->elements[i].parent || f->elements[i].name_len != len || memcmp(f->elements[i].name, column->name, len) != 0)
				continue;
			el = &f->elements[i];
			found++;
		}
		if (found != 1 || el->type == PARQUET_GROUP)
			return err_set(e, -EACCES, "the column %s, which a filter reads, is %s", column->name,
				       !found ? "not at the top level of the file" : found > 1 ? "there more than once" : "no single value");
		bool number = column->type == TYPE_NUMBER || column->type == TYPE_INTEGER || column->type == TYPE_BOOLEAN;
		filter->wrong[c] = parquet_is_text(el) ? number : column->type == TYPE_STRING;
		filter->escaped[c] = parquet_is_escaped(el);
		buf_adds(&p->where, c ? ", CAST(" : "CAST(");
		buf_add_sql_n(&p->where, column->name, len, '"');
		buf_adds(&p->where, " AS VARCHAR)");
	}
	buf_adds(&p->where, filter->count ? ")" : "'')");
	return 0;
}

/* -- what the engine calls -------------------------------------------------------------------- */

struct column {
	const union string *strings;
	const uint64_t *validity;
};

static struct column column_of(handle chunk, idx i)
{
	const struct duckdb_api *api = duckdb_api();
	handle vector = api->data_chunk_get_vector(chunk, i);
	return (struct column){ api->vector_get_data(vector), api->vector_get_validity(vector) };
}

static const char *text_at(const struct column *c, idx row, size_t *ret_len)
{
	if (c->validity && !(c->validity[row / 64] >> (row % 64) & 1))
		return NULL;
	return duckdb_string(&c->strings[row], ret_len);
}

static void call_mask(handle info, handle chunk, handle output)
{
	const struct duckdb_api *api = duckdb_api();
	const struct mask_run *m = api->scalar_function_get_extra_info(info);
	struct column c = column_of(chunk, 0);
	struct buf out = BUF_INIT;
	idx rows = api->data_chunk_get_size(chunk);
	api->vector_ensure_validity_writable(output);
	uint64_t *validity = api->vector_get_validity(output);
	for (idx i = 0; i < rows; i++) {
		size_t len = 0;
		const char *text = text_at(&c, i, &len);
		buf_clear(&out);
		if (text && mask_value(m, text, len, &out) && !out.failed)
			api->vector_assign_string_element_len(output, i, buf_text(&out), out.len);
		else
			validity[i / 64] &= ~((uint64_t)1 << (i % 64));
	}
	buf_free(&out);
}

static void call_filter(handle info, handle chunk, handle output)
{
	const struct duckdb_api *api = duckdb_api();
	const struct filter *f = api->scalar_function_get_extra_info(info);
	struct column columns[FILTER_COLUMNS_MAX];
	struct row_value values[FILTER_COLUMNS_MAX];
	bool *shown = api->vector_get_data(output);
	idx rows = api->data_chunk_get_size(chunk);
	for (size_t c = 0; c < f->count; c++)
		columns[c] = column_of(chunk, c);
	for (idx i = 0; i < rows; i++) {
		for (size_t c = 0; c < f->count; c++) {
			size_t len = 0;
			const char *text = text_at(&columns[c], i, &len);
			values[c] = (struct row_value){ .kind = text ? VALUE_INVALID : VALUE_NULL };
			if (text && !f->wrong[c] && !(f->escaped[c] && memchr(text, '\\', len)))
				row_value_parse(f->columns[c].type, text, len, &values[c]);
		}
		shown[i] = expr_eval_row(f->expr, values) == TRUTH_TRUE;
	}
}

static int add_function(handle connection, const char *name, size_t parameters, int type, void *info, void (*call)(handle, handle, handle))
{
	const struct duckdb_api *api = duckdb_api();
	handle function = api->create_scalar_function(), text = api->create_logical_type(DUCKDB_TYPE_VARCHAR), ret = api->create_logical_type(type);
	int r = -ENOMEM;
	if (function && text && ret) {
		api->scalar_function_set_name(function, name);
		for (size_t i = 0; i < parameters; i++)
			api->scalar_function_add_parameter(function, text);
		api->scalar_function_set_return_type(function, ret);
		api->scalar_function_set_special_handling(function); /* nulls are ours to judge */
		api->scalar_function_set_extra_info(function, info, NULL);
		api->scalar_function_set_function(function, call);
		r = api->register_scalar_function(connection, function) ? -EIO : 0;
	}
	api->destroy_logical_type(&text);
	api->destroy_logical_type(&ret);
	api->destroy_scalar_function(&function);
	return r;
}

/* -- making the view -------------------------------------------------------------------------- */

enum engine_output { OUTPUT_PARQUET, OUTPUT_LINES };

static int query(handle connection, const char *sql)
{
	const struct duckdb_api *api = duckdb_api();
	union result result;
	memset(&result, 0, sizeof result);
	int r = api->query(connection, sql, &result) ? -EIO : 0;
	api->destroy_result(&result);
	return r;
}

static int run(const struct duckdb_plan *p, handle connection, const char *sql)
{
	char name[40];
	int r = duckdb_settle(connection);
	if (r == 0)
		r = query(connection, "SET threads=1; SET preserve_insertion_order=true");
	for (size_t i = 0; i < p->mask_count && r == 0; i++) {
		snprintf(name, sizeof name, "meshfs_mask_%zu", i);
		r = add_function(connection, name, 1, DUCKDB_TYPE_VARCHAR, &p->masks[i], call_mask);
	}
	if (r == 0 && p->filter.expr)
		r = add_function(connection, "meshfs_filter", p->filter.count ? p->filter.count : 1, DUCKDB_TYPE_BOOLEAN,
				 (void *)(uintptr_t)&p->filter, call_filter);
	return r ? r : query(connection, sql);
}

static void add_statement(const struct duckdb_plan *p, enum engine_output kind, int in, int out, struct buf *sql)
{
	if (kind == OUTPUT_LINES)
		buf_addf(sql, "COPY (SELECT \"meshfs row\"%s FROM (SELECT file_row_number AS \"meshfs row\", %s"
			      " FROM read_parquet('/proc/self/fd/%d', file_row_number = true)%s)) TO '/proc/self/fd/%d' (FORMAT json, USE_TMP_FILE false)",
			 buf_text(&p->texts), buf_text(&p->select), in, buf_text(&p->where), out);
	else
		buf_addf(sql, "COPY (SELECT %s FROM read_parquet('/proc/self/fd/%d')%s) TO '/proc/self/fd/%d' (FORMAT parquet, COMPRESSION zstd, "
			      "ROW_GROUP_SIZE 122880, USE_TMP_FILE false)", buf_text(&p->select), in, buf_text(&p->where), out);
}

static int run_engine(const struct duckdb_plan *p, enum engine_output kind, int in, int out, struct err *e)
{
	const struct duckdb_api *api = duckdb_api();
	handle database = NULL, connection = NULL;
	struct buf sql = BUF_INIT;
	add_statement(p, kind, in, out, &sql);
	int r = buf_check(&sql);
	if (!r)
		r = api->open(NULL, &database) || api->connect(database, &connection) ? -EIO : run(p, connection, buf_text(&sql));
	if (connection)
		api->disconnect(&connection);
	if (database)
		api->close(&database);
	buf_free(&sql);
	return r ? err_set(e, -EACCES, "the engine cannot read this Parquet file or make the view of it") : 0;
}

static int copy_in(const struct view_source *source, int fd, char *piece, struct err *e)
{
	for (uint64_t at = 0; at < source->size;) {
		size_t n = source->size - at < PIECE ? (size_t)(source->size - at) : PIECE;
		int r = source->read(source->arg, at, piece, n, e);
		if (r != 0)
			return r;
		r = io_write_full(fd, piece, n);
		if (r != 0)
			return err_set(e, r, "a temporary file cannot be written: %s", strerror(-r));
		at += n;
	}
	return 0;
}

static int copy_out(int fd, char *piece, int (*write_to)(void *arg, const void *bytes, size_t len), void *arg, struct err *e)
{
	for (uint64_t at = 0;;) {
		ssize_t n = pread(fd, piece, PIECE, (off_t)at);
		if (n < 0)
			return err_set(e, -errno, "a temporary file cannot be read: %s", strerror(errno));
		if (n == 0)
			return 0;
		int r = write_to(arg, piece, (size_t)n);
		if (r != 0)
			return err_set(e, r, "the view cannot be written");
		at += (uint64_t)n;
	}
}

static int make(const struct duckdb_plan *p, enum engine_output kind, const struct view_source *source,
		int (*write_to)(void *arg, const void *bytes, size_t len), void *arg, struct err *e)
{
	char *piece = malloc(PIECE);
	int in = io_open_scratch(), out = io_open_scratch(), r;
	if (!piece || in < 0 || out < 0)
		r = err_set(e, in < 0 ? in : out < 0 ? out : -ENOMEM, "no temporary file can be made in %s", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	else
		r = copy_in(source, in, piece, e);
	if (r == 0)
		r = run_engine(p, kind, in, out, e);
	if (r == 0)
		r = copy_out(out, piece, write_to, arg, e);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(piece);
	return r;
}

static int duckdb_whole(const struct view_plan *plan, const struct view_source *source, int (*write_to)(void *arg, const void *bytes, size_t len),
			void *arg, struct view_stats *ret_stats, struct err *e)
{
	int r = make((const struct duckdb_plan *)plan, OUTPUT_PARQUET, source, write_to, arg, e);
	if (r == 0 && ret_stats)
		*ret_stats = (struct view_stats){ 0 };
	return r;
}

int duckdb_lines(const struct view_plan *plan, const struct view_source *source, int (*write_to)(void *arg, const void *bytes, size_t len), void *arg,
		 struct err *e)
{
	return make((const struct duckdb_plan *)plan, OUTPUT_LINES, source, write_to, arg, e);
}

static const struct view_plan_ops duckdb_plan_ops = { .kind = VIEW_WHOLE, .free = duckdb_free, .whole = duckdb_whole };

int duckdb_plan_new(struct transform *t, const struct view_source *source, const struct view_keys *keys, const struct parquet_footer *f,
		    struct view_plan **ret, struct err *e)
{
	(void)source;
	if (!duckdb_api())
		return err_set(e, -EACCES, "rules ask for rows or values inside a Parquet file, and there is no engine for that here (libduckdb.so, or "
			       "MESHFS_DUCKDB)");
	struct duckdb_plan *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->plan.ops = &duckdb_plan_ops;
	p->transform = transform_ref(t);
	p->masks = calloc(f->element_count + 1, sizeof *p->masks);
	int r = p->masks ? check_names(f, e) : err_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		r = check_nested(t, f, e);
	for (size_t i = 1; i < f->element_count && r == 0; i++)
		if (f->elements[i].parent == 0)
			r = add_column(p, t, keys, f, i, e);
	if (r == 0)
		r = add_filter(p, f, e);
	if (r == 0 && (buf_check(&p->select) || buf_check(&p->texts) || buf_check(&p->where)))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r == 0)
		*ret = &p->plan;
	else
		duckdb_free(&p->plan);
	return r;
}
