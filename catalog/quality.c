#include "catalog/quality.h"

#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "catalog/quality_pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* -- setting up ----------------------------------------------------------------------- */

static int index_add(size_t **list, size_t *count, size_t value)
{
	size_t *more = realloc(*list, (*count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	*list = more;
	more[(*count)++] = value;
	return 0;
}

/* Columns of a key over several: those the check names, or the primary key. */
bool check_key_holds(const struct check *c, const struct contract_column *col)
{
	if (!c->columns)
		return col->primary_key;
	return word_set_has(&c->column_words, col->name, strlen(col->name));
}

static int index_null(struct object_checks *to, const struct contract_object *o, size_t check, size_t column)
{
	struct null_check *more = realloc(to->nulls, (to->null_count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	to->nulls = more;
	const char *name = o->columns[column].name, *dot = strrchr(name, '.');
	const struct contract_column *parent = dot ? contract_column_find(o, name, (size_t)(dot - name)) : NULL;
	more[to->null_count++] = (struct null_check){ check, column, parent ? parent - o->columns : -1 };
	return 0;
}

/* A key of one column is a check of its values, and the same as the column's own `unique`; of several it needs the whole record. */
static int index_key(struct quality *q, const struct contract_object *o, size_t check)
{
	struct check *c = q->list.items[check];
	struct object_checks *to = &q->objects[c->object];
	size_t held = 0, last = 0;
	for (size_t k = 0; k < o->column_count; k++)
		if (check_key_holds(c, &o->columns[k])) {
			held++;
			last = k;
		}
	if (held == 1) {
		struct column_checks *column = &to->columns[last];
		for (size_t i = 0; i < column->count && !c->same_as; i++)
			if (q->list.items[column->checks[i]]->kind == CHECK_DISTINCT)
				c->same_as = q->list.items[column->checks[i]];
		return c->same_as ? 0 : index_add(&column->checks, &column->count, check);
	}
	return index_add(&to->whole, &to->whole_count, check);
}

static int index_check(struct quality *q, const struct contract_object *o, size_t i)
{
	struct check *c = q->list.items[i];
	struct object_checks *to = &q->objects[c->object];
	if (c->column < 0 && c->kind == CHECK_DISTINCT)
		return index_key(q, o, i);
	if (c->column < 0)
		return index_add(&to->whole, &to->whole_count, i);
	struct column_checks *column = &to->columns[c->column];
	if (c->kind == CHECK_MISSING)
		column->missing = c;
	if (c->kind == CHECK_MISSING || c->kind == CHECK_VALUES)
		c->type = o->columns[c->column].type;
	if (c->kind == CHECK_NULL || c->kind == CHECK_MISSING)
		return index_null(to, o, i, (size_t)c->column);
	if (c->kind == CHECK_NEVER || c->kind == CHECK_SQL)
		return 0; /* nothing is counted */
	return index_add(&column->checks, &column->count, i);
}

bool quality_may_tell(const struct contract_column *c)
{
	return c->classification && !personal_declared(c); /* it is public or internal, and no tag says that it is personal */
}

static int start_distributions(const struct contract_object *o, struct column_checks *columns)
{
	for (size_t i = 0; i < o->column_count && i < QUALITY_COLUMNS_TOLD; i++) {
		const struct contract_column *c = &o->columns[i];
		if (c->type == TYPE_OBJECT || c->type == TYPE_ARRAY)
			continue;
		columns[i].distribution = distribution_new(c->type, quality_may_tell(c));
		if (!columns[i].distribution)
			return -ENOMEM;
	}
	return 0;
}

static int build_index(struct quality *q)
{
	const struct contract_object *objects;
	q->object_count = contract_objects(q->contract, &objects);
	q->objects = calloc(q->object_count ? q->object_count : 1, sizeof *q->objects);
	if (!q->objects)
		return -ENOMEM;
	for (size_t i = 0; i < q->object_count; i++) {
		struct object_checks *o = &q->objects[i];
		o->header = contract_object_header(&objects[i]);
		o->column_count = objects[i].column_count;
		o->columns = calloc(o->column_count ? o->column_count : 1, sizeof *o->columns);
		if (!o->columns || start_distributions(&objects[i], o->columns))
			return -ENOMEM;
	}
	for (size_t i = 0; i < q->list.count; i++) {
		int r = index_check(q, &objects[q->list.items[i]->object], i);
		if (r)
			return r;
	}
	return 0;
}

int quality_new(struct contract *contract, const struct quality_engine *engine, struct quality **ret, struct err *e)
{
	struct quality *q = calloc(1, sizeof *q);
	if (!q)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->looks, NULL);
	q->contract = contract_ref(contract);
	q->engine = engine;
	q->bare.header = true;
	q->personal = personal_new();
	int r = !q->personal ? err_set(e, -ENOMEM, "out of memory") : contract ? quality_compile(contract, &q->list, e) : 0;
	if (!r && contract && build_index(q))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r) {
		quality_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

bool quality_has_queries(const struct quality *q)
{
	for (size_t i = 0; i < q->list.count; i++)
		if (q->list.items[i]->kind == CHECK_SQL)
			return true;
	return false;
}

static void column_free(struct column_checks *c)
{
	free(c->checks);
	distribution_free(c->distribution);
	free(c->memo);
}

void quality_free(struct quality *q)
{
	if (!q)
		return;
	scanner_free(q);
	for (size_t i = 0; i < q->list.count; i++)
		check_free(q->list.items[i]);
	free(q->list.items);
	for (size_t i = 0; q->objects && i < q->object_count; i++) {
		for (size_t k = 0; q->objects[i].columns && k < q->objects[i].column_count; k++)
			column_free(&q->objects[i].columns[k]);
		free(q->objects[i].columns);
		free(q->objects[i].whole);
		free(q->objects[i].nulls);
		for (size_t k = 0; k < q->objects[i].file_count; k++)
			free(q->objects[i].files[k]);
		free(q->objects[i].files);
		free(q->objects[i].unread);
	}
	free(q->objects);
	free(q->bare.unread);
	for (size_t i = 0; i < q->file_count; i++)
		free(q->files[i]);
	free(q->files);
	buf_free(&q->unreadable);
	buf_free(&q->unclaimed);
	personal_free(q->personal);
	contract_unref(q->contract);
	pool_free(q->pool);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->looks);
	free(q);
}

/* -- results: quality_report.c ------------------------------------------------------------ */

struct contract *quality_contract(struct quality *q)
{
	return q->contract;
}

struct check_list *quality_checks(struct quality *q)
{
	return &q->list;
}

uint64_t quality_rows(struct quality *q, size_t object)
{
	return atomic_load(&q->objects[object].rows);
}

size_t quality_object_files(struct quality *q, size_t object, char *const **ret)
{
	*ret = q->objects[object].files;
	return q->objects[object].file_count;
}

const struct quality_engine *quality_engine_of(const struct quality *q)
{
	return q->engine;
}

const char *quality_unread(struct quality *q, const struct check *c)
{
	const struct object_checks *o = &q->objects[c->object];
	return o->unread;
}

bool quality_lacks_engine(struct quality *q, const struct check *c)
{
	return q->objects[c->object].no_engine;
}

const char *quality_unexamined(struct quality *q, size_t object)
{
	const struct object_checks *o = object < q->object_count ? &q->objects[object] : &q->bare;
	return o == &q->bare || o->no_engine ? o->unread : NULL;
}

bool quality_in_parquet(struct quality *q, size_t object, bool *ret_only)
{
	const struct object_checks *o = &q->objects[object];
	*ret_only = o->parquet_count == o->file_count;
	return o->parquet_count != 0;
}

bool quality_look(struct quality *q, size_t object, size_t column, uint64_t *ret_nulls, struct distribution_summary *ret,
		  const struct distribution **ret_texts)
{
	const struct object_checks *o = &q->objects[object];
	const struct column_checks *c = &o->columns[column];
	uint64_t rows = quality_rows(q, object);
	if (!c->distribution || !rows || o->unread)
		return false;
	*ret_texts = c->distribution;
	*ret_nulls = rows > c->records ? rows - c->records : 0;
	distribution_summarize(c->distribution, ret);
	return true;
}

size_t quality_object_count(struct quality *q)
{
	return q->object_count;
}

const char *quality_unreadable(struct quality *q)
{
	return q->unreadable.len ? q->unreadable.data : NULL;
}

const char *quality_unclaimed(struct quality *q)
{
	return q->unclaimed.len ? q->unclaimed.data : NULL;
}

const char *quality_place(struct quality *q, uint64_t where, uint64_t *ret_row)
{
	*ret_row = where & ((1ull << PLACE_ROW_BITS) - 1);
	return q->files[where >> PLACE_ROW_BITS];
}
