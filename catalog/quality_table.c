/* Files that an engine reads: one at a time, beside what else is done. */
#include "catalog/quality_table.h"

#include "catalog/base/json.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "catalog/quality_pass.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_WAITING_MAX 1024
#define NO_ENGINE "no SQL engine (DuckDB) was found"

struct quality_table {
	struct quality_file *file;
	uint32_t count; /* of the rows under way */
	struct buf line; /* nested values as a line of JSON */
};

struct scanner {
	struct pool *pool; /* of one thread */
	atomic_bool stopping;
	atomic_bool no_memory; /* even to say why a file was not read */
};

/* -- columns ------------------------------------------------------------------------------------- */

/* The contract's column of that name; -1: it has none. */
static int64_t wanted_number(const struct quality_table *t, const char *name, size_t len)
{
	const struct contract_object *o = t->file->contract_object;
	const struct contract_column *c = o ? contract_column_find(o, name, len) : NULL;
	return c ? c - o->columns : -1;
}

int quality_table_column(struct quality_table *t, const char *name, size_t len, uint32_t *ret)
{
	const int64_t wanted = wanted_number(t, name, len);
	if (wanted < 0)
		return quality_file_nested_column(t->file, name, len, ret);
	t->file->present[wanted] = true;
	*ret = (uint32_t)wanted;
	return 0;
}

int quality_table_part(struct quality_table *t, const char *name, size_t len, uint32_t *ret)
{
	t->file->described = true;
	int r = quality_table_column(t, name, len, ret);
	t->file->described = false;
	return r;
}

/* -- values -------------------------------------------------------------------------------------- */

void quality_table_at(struct quality_table *t, uint64_t row, uint32_t count)
{
	t->file->row = t->file->first_row = row;
	t->count = count;
}

/* What is looked for in values as texts: those of numbers are made where they are wanted. */
static void look_beside(struct quality_table *t, uint32_t column, const struct table_values *v, uint32_t record)
{
	struct quality_file *f = t->file;
	const uint64_t row = f->first_row + record;
	char text[24];
	if (v->form == TABLE_TEXTS && (v->kind == VALUE_TEXT || v->kind == VALUE_NUMBER)) {
		const struct table_text *at = (const struct table_text *)v->values + record;
		personal_value(f->personal, column, row, at->text, at->len);
	} else if (v->form == TABLE_INTEGERS && !personal_skip(f->personal, column, 1)) {
		personal_number(f->personal, column, row, text, (size_t)snprintf(text, sizeof text, "%" PRId64, ((const int64_t *)v->values)[record]));
	}
}

/* A column beside the contract's: personal data alone is looked for in it. */
static void beside(struct quality_table *t, uint32_t column, const struct table_values *v)
{
	bool any = false;
	for (uint32_t i = 0; i < t->count; i++) {
		if (!table_is_there(v->there, i) || (v->form == TABLE_THERE && !((const bool *)v->values)[i]))
			continue;
		any = true;
		look_beside(t, column, v, i);
	}
	if (any)
		personal_value(t->file->personal, column, t->file->first_row, "", 0); /* there are values at all */
}

/* Values that nobody looks into are there, and no more is said of them. */
static int unread(struct quality_table *t, uint32_t column, const struct table_values *v)
{
	struct quality_file *f = t->file;
	for (uint32_t i = 0; i < t->count; i++) {
		if (!table_is_there(v->there, i) || !((const bool *)v->values)[i])
			continue;
		f->row = f->first_row + i;
		int r = batch_add(f, column, VALUE_OBJECT, "", 0);
		if (r)
			return r;
	}
	return 0;
}

int quality_table_values(struct quality_table *t, uint32_t column, const struct table_values *v)
{
	struct quality_file *f = t->file;
	if (column >= f->object->column_count) {
		beside(t, column, v);
		return 0;
	}
	if (v->form == TABLE_THERE)
		return unread(t, column, v);
	f->columns[column].table = *v;
	return 0;
}

int quality_table_json(struct quality_table *t, const char *name, uint32_t record, const char *text, size_t len)
{
	struct json j;
	t->file->row = t->file->first_row + record;
	buf_clear(&t->line);
	json_start(&j, &t->line);
	json_open(&j, '{');
	json_key(&j, name);
	buf_add(&t->line, text, len);
	buf_adds(&t->line, "}\n");
	return buf_check(&t->line) ? -ENOMEM : quality_file_nested(t->file, t->line.data, t->line.len);
}

int quality_table_rows(struct quality_table *t)
{
	struct quality_file *f = t->file;
	const uint32_t count = t->count;
	if (atomic_load(&f->q->scanner->stopping))
		return -EINTR;
	char *rejected = buf_reserve(&f->rejected, count); /* none is */
	if (!rejected)
		return -ENOMEM;
	memset(rejected, 0, count);
	buf_commit(&f->rejected, count);
	for (size_t i = 0; i < f->object->whole_count; i++)
		if (f->q->list.items[f->object->whole[i]]->kind == CHECK_BROKEN)
			f->tallies[f->object->whole[i]].examined += count;
	f->row = f->first_row + count;
	pthread_mutex_lock(&f->q->looks);
	int r = batch_settle(f);
	pthread_mutex_unlock(&f->q->looks);
	return r;
}

/* -- files --------------------------------------------------------------------------------------- */

struct job {
	struct quality *q;
	struct object_checks *object;
	const struct contract_object *claims;
	char path[];
};

int quality_unread_file(struct quality *q, struct object_checks *object, const char *why, bool no_engine)
{
	int r = 0;
	pthread_mutex_lock(&q->lock);
	if (!object->unread) {
		object->unread = no_engine ? text_format("not checked in Parquet files: %s", why) : strdup(why);
		object->no_engine = no_engine;
		r = object->unread ? 0 : -ENOMEM;
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

static int read_file(const struct job *j, struct err *why)
{
	struct quality_table t = { .line = BUF_INIT };
	int r = quality_file_new(j->q, j->object, j->claims, j->path, &t.file);
	if (!r) {
		t.file->present = calloc(j->object->column_count ? j->object->column_count : 1, sizeof *t.file->present);
		r = t.file->present ? 0 : -ENOMEM;
	}
	if (!r)
		r = quality_file_expect_nested(t.file, j->claims);
	if (!r)
		r = j->q->engine->scan(j->q->engine->arg, j->path, &t, why);
	buf_free(&t.line);
	if (!r)
		return quality_file_end(t.file);
	quality_file_drop(t.file);
	return r;
}

static void run(void *arg)
{
	struct job *j = arg;
	struct err why = ERR_INIT;
	int r = atomic_load(&j->q->scanner->stopping) ? 0 : read_file(j, &why);
	const bool no_engine = r == -EOPNOTSUPP;
	if (r && quality_unread_file(j->q, j->object, why.code ? why.text : no_engine ? NO_ENGINE : strerror(-r), no_engine))
		atomic_store(&j->q->scanner->no_memory, true);
	free(j);
}

static int start(struct quality *q)
{
	if (q->scanner)
		return 0;
	struct scanner *s = calloc(1, sizeof *s);
	if (s && !(s->pool = pool_new("mesh-table", 1, FILES_WAITING_MAX))) {
		free(s);
		s = NULL;
	}
	q->scanner = s;
	return s ? 0 : -ENOMEM;
}

int scanner_add(struct quality *q, struct object_checks *object, const struct contract_object *claims, const char *path)
{
	if (!q->engine || !q->engine->scan)
		return quality_unread_file(q, object, NO_ENGINE, true);
	pthread_mutex_lock(&q->lock);
	int r = start(q);
	pthread_mutex_unlock(&q->lock);
	const size_t size = strlen(path) + 1;
	struct job *j = r ? NULL : malloc(sizeof *j + size);
	if (!j)
		return -ENOMEM;
	*j = (struct job){ q, object, claims };
	memcpy(j->path, path, size);
	r = pool_submit(q->scanner->pool, 0, run, j);
	if (r)
		free(j);
	return r;
}

int scanner_wait(struct quality *q)
{
	if (!q->scanner)
		return 0;
	pool_drain(q->scanner->pool);
	return atomic_load(&q->scanner->no_memory) ? -ENOMEM : 0;
}

void scanner_free(struct quality *q)
{
	if (!q->scanner)
		return;
	atomic_store(&q->scanner->stopping, true);
	pool_free(q->scanner->pool);
	free(q->scanner);
	q->scanner = NULL;
}
