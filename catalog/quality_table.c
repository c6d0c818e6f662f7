/* Files that an engine reads: one at a time, beside what else is done. */
#include "catalog/quality_table.h"

#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "catalog/quality_pass.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_WAITING_MAX 1024

struct quality_table {
	struct quality_file *file;
	uint32_t columns; /* so far: of the object, then of the file alone */
};

struct scanner {
	struct pool *pool; /* of one thread */
	atomic_bool stopping;
};

/* -- columns ------------------------------------------------------------------------------------- */

const char *quality_table_wanted(const struct quality_table *t, size_t column)
{
	return column < t->file->object->column_count ? t->file->contract_object->columns[column].name : NULL;
}

int quality_table_column(struct quality_table *t, const char *name, size_t len, uint32_t *ret)
{
	struct quality_file *f = t->file;
	for (uint32_t k = 0; k < f->object->column_count; k++) {
		const char *known = f->contract_object->columns[k].name;
		if (strlen(known) == len && !memcmp(known, name, len)) {
			f->present[k] = true;
			*ret = k;
			return 0;
		}
	}
	*ret = t->columns++;
	return quality_file_column(f, *ret, name, len);
}

static int wanted_number(const struct quality_table *t, const char *path)
{
	const struct quality_file *f = t->file;
	for (uint32_t k = 0; k < f->object->column_count; k++)
		if (!strcmp(f->contract_object->columns[k].name, path))
			return (int)k;
	return -1;
}

bool quality_table_has(const struct quality_table *t, const char *path)
{
	const int k = wanted_number(t, path);
	return k >= 0 && t->file->present[k];
}

int quality_table_unreachable(struct quality_table *t, const char *path)
{
	struct quality_file *f = t->file;
	const int k = wanted_number(t, path);
	pthread_mutex_lock(&f->q->lock);
	char **why = k >= 0 ? &f->object->columns[k].unread : NULL;
	if (why && !*why)
		*why = text_format("not checked in %s: the SQL engine (DuckDB) finds no such column, or it lies in a list", f->path);
	const int r = why && !*why ? -ENOMEM : 0;
	pthread_mutex_unlock(&f->q->lock);
	return r;
}

/* -- values -------------------------------------------------------------------------------------- */

void quality_table_at(struct quality_table *t, uint64_t row)
{
	t->file->row = t->file->first_row = row;
}

/* The place of a value, or NULL: of a column that only personal data is looked for in, or (*ret_code) without memory. */
static inline struct pass_value *place(struct quality_table *t, uint32_t column, uint32_t record, enum value_kind kind, enum pass_form form, int *ret_code)
{
	struct quality_file *f = t->file;
	*ret_code = 0;
	f->row = f->first_row + record;
	if (column >= f->object->column_count)
		return NULL;
	struct pass_value *v = batch_place(f, column);
	if (!v) {
		*ret_code = -ENOMEM;
		return NULL;
	}
	v->kind = (uint8_t)kind;
	v->form = (uint8_t)form;
	return v;
}

/* A value of a column that is not the contract's: `text` is what may be personal. */
static void beside(struct quality_table *t, uint32_t column, const char *text, size_t len)
{
	if (column >= t->file->object->column_count)
		personal_value(t->file->personal, column, t->file->row, text, len);
}

int quality_table_text(struct quality_table *t, uint32_t column, uint32_t record, enum value_kind kind, const char *text, size_t len)
{
	int r;
	if (len > PASS_BYTES_MAX)
		return -EFBIG;
	struct pass_value *v = place(t, column, record, kind, PASS_TEXT, &r);
	if (v) {
		v->text = len ? text : "";
		v->len = (uint32_t)len;
	} else {
		const bool scalar = kind == VALUE_TEXT || kind == VALUE_NUMBER;
		beside(t, column, scalar ? text : "", scalar ? len : 0);
	}
	return r;
}

int quality_table_bool(struct quality_table *t, uint32_t column, uint32_t record, bool value)
{
	int r;
	struct pass_value *v = place(t, column, record, VALUE_BOOL, PASS_BOOL, &r);
	if (v)
		v->integer = value;
	else
		beside(t, column, "", 0);
	return r;
}

int quality_table_integer(struct quality_table *t, uint32_t column, uint32_t record, int64_t value)
{
	int r;
	char text[24];
	struct pass_value *v = place(t, column, record, VALUE_NUMBER, PASS_INTEGER, &r);
	if (v)
		v->integer = value;
	else if (!r && personal_next(t->file->personal, column))
		beside(t, column, text, (size_t)snprintf(text, sizeof text, "%" PRId64, value));
	return r;
}

int quality_table_number(struct quality_table *t, uint32_t column, uint32_t record, double value)
{
	int r;
	struct pass_value *v = place(t, column, record, VALUE_NUMBER, PASS_NUMBER, &r);
	if (v)
		v->number = value;
	else
		beside(t, column, "", 0);
	return r;
}

int quality_table_moment(struct quality_table *t, uint32_t column, uint32_t record, int64_t microseconds)
{
	int r;
	int64_t ns;
	if (__builtin_mul_overflow(microseconds, 1000, &ns)) /* beyond 1678 to 2261: no moment here */
		return quality_table_text(t, column, record, VALUE_OBJECT, NULL, 0);
	struct pass_value *v = place(t, column, record, VALUE_MOMENT, PASS_MOMENT, &r);
	if (v)
		v->integer = ns;
	else
		beside(t, column, "", 0);
	return r;
}

int quality_table_rows(struct quality_table *t, uint32_t count)
{
	struct quality_file *f = t->file;
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

/* The first reason counts.  Files without a contract promise nothing. */
static void unread(struct quality *q, struct object_checks *object, const char *why)
{
	pthread_mutex_lock(&q->lock);
	if (object != &q->bare && !object->unread)
		object->unread = strdup(why);
	pthread_mutex_unlock(&q->lock);
}

static int read_file(const struct job *j, struct err *why)
{
	struct quality_table t = { NULL, (uint32_t)j->object->column_count };
	int r = quality_file_new(j->q, j->object, j->claims, j->path, &t.file);
	if (!r) {
		t.file->present = calloc(j->object->column_count ? j->object->column_count : 1, sizeof *t.file->present);
		r = t.file->present ? 0 : -ENOMEM;
	}
	if (!r)
		r = j->q->engine->scan(j->q->engine->arg, j->path, &t, why);
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
	if (r == -EOPNOTSUPP)
		unread(j->q, j->object, QUALITY_NO_ENGINE);
	else if (r)
		unread(j->q, j->object, why.code ? why.text : strerror(-r));
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
	if (!q->engine || !q->engine->scan) {
		unread(q, object, QUALITY_NO_ENGINE);
		return 0;
	}
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

void scanner_wait(struct quality *q)
{
	if (q->scanner)
		pool_drain(q->scanner->pool);
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
