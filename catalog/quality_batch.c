#include "catalog/base/pool.h"
#include "catalog/quality_pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUES_MAX (1u << 16)  /* in a batch; what a record brings on top is bounded by RECORD_BYTES_MAX */
#define VALUES_ALONE (1u << 12) /* so few are judged by the feeding thread alone: waking others takes longer */
#define HELPERS_MAX 7
#define KEY_COLUMNS_MAX 64

/* -- gathering --------------------------------------------------------------------------------- */

int pass_column_grow(struct pass_column *c)
{
	size_t capacity = c->capacity ? c->capacity * 2 : 256;
	struct pass_value *more = realloc(c->values, capacity * sizeof *more);
	if (!more)
		return -ENOMEM;
	c->values = more;
	c->capacity = capacity;
	return 0;
}

static int add_copy(struct quality_file *f, struct pass_value *v, const char *text, size_t len)
{
	v->copied = true;
	v->offset = f->copies.len;
	buf_add(&f->copies, text, len);
	return buf_check(&f->copies);
}

int batch_add(struct quality_file *f, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	const uintptr_t at = (uintptr_t)text, piece = (uintptr_t)f->piece;
	if (len > PASS_BYTES_MAX)
		return -EFBIG;
	struct pass_value *v = batch_place(f, column);
	if (!v)
		return -ENOMEM;
	v->len = (uint32_t)len;
	v->kind = (uint8_t)kind;
	if (len && (at < piece || at - piece >= f->piece_len))
		return add_copy(f, v, text, len);
	v->copied = false;
	v->text = len ? text : "";
	return 0;
}

int batch_fields(struct quality_file *f, const uint32_t *columns, const struct record_field *fields, size_t count)
{
	const uintptr_t piece = (uintptr_t)f->piece, piece_len = f->piece_len;
	const uint32_t record = (uint32_t)(f->row - f->first_row), known = (uint32_t)f->object->column_count;
	struct pass_column *named = f->columns;
	size_t added = 0;
	int r = 0;
	for (size_t i = 0; i < count && !r; i++) {
		const char *text = fields[i].text;
		const size_t len = fields[i].len;
		const enum value_kind kind = fields[i].kind;
		const uint32_t column = columns[i];
		if (kind == VALUE_NULL)
			continue;
		if (column >= known) {
			personal_value(f->personal, column, f->row, text, len);
			continue;
		}
		struct pass_column *c = &named[column];
		const size_t at = c->count;
		if ((uintptr_t)text - piece >= piece_len || len > PASS_BYTES_MAX || at == c->capacity) {
			r = batch_add(f, column, kind, text, len);
			continue;
		}
		struct pass_value *v = &c->values[at];
		c->count = at + 1;
		v->text = text;
		v->len = (uint32_t)len;
		v->record = record;
		v->kind = (uint8_t)kind;
		v->copied = false;
		added++;
	}
	f->value_count += added;
	return r;
}

int batch_record(struct quality_file *f, bool rejected)
{
	buf_addc(&f->rejected, rejected);
	if (buf_check(&f->rejected))
		return -ENOMEM;
	if (f->value_count < VALUES_MAX)
		return 0;
	f->row++; /* this record is in it */
	return batch_settle(f);
}

void batch_free(struct quality_file *f)
{
	for (size_t k = 0; f->columns && k < f->object->column_count; k++) {
		free(f->columns[k].values);
		free(f->columns[k].there);
		free(f->columns[k].hashes);
	}
	free(f->columns);
	buf_free(&f->copies);
	buf_free(&f->rejected);
}

/* -- offenders ------------------------------------------------------------------------------------- */

void pass_wrong(struct quality_file *f, size_t check, uint64_t row)
{
	if (f->tallies[check].wrong++ < QUALITY_OFFENDERS_MAX)
		check_offender(f->q->list.items[check], f->path, row);
}

/* -- all columns, by several threads ---------------------------------------------------------------- */

struct judging {
	struct quality_file *file;
	atomic_size_t next;
	atomic_int failed;
};

/* Takes columns until there are none left. */
static void judge_columns(void *arg)
{
	struct judging *j = arg;
	for (size_t k; (k = atomic_fetch_add(&j->next, 1)) < j->file->object->column_count;) {
		int r = pass_column_judge(j->file, (uint32_t)k);
		if (r)
			atomic_store(&j->failed, r);
	}
}

/* Without threads the feeding one does it all. */
static struct pool *helpers(struct quality *q)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (q->pool || cpus < 2)
		return q->pool;
	q->helpers = cpus - 1 < HELPERS_MAX ? (unsigned)cpus - 1 : HELPERS_MAX;
	return q->pool = pool_new("mesh-check", q->helpers, HELPERS_MAX);
}

static int judge_all(struct quality_file *f)
{
	struct judging j = { .file = f };
	size_t values = f->value_count;
	for (size_t k = 0; k < f->object->column_count; k++)
		values += f->columns[k].table.values ? f->rejected.len : 0;
	struct pool *pool = values < VALUES_ALONE ? NULL : helpers(f->q);
	for (unsigned i = 0; pool && i < f->q->helpers; i++)
		if (pool_submit(pool, 0, judge_columns, &j))
			break; /* fewer hands do it too */
	judge_columns(&j);
	if (pool)
		pool_drain(pool);
	return atomic_load(&j.failed);
}

/* -- whole records ---------------------------------------------------------------------------------- */

static int judge_key(struct quality_file *f, size_t at, size_t record)
{
	struct check *c = f->q->list.items[at];
	struct xxh128 all, parts[KEY_COLUMNS_MAX];
	size_t n = 0;
	for (size_t k = 0; k < f->object->column_count && n < KEY_COLUMNS_MAX; k++)
		if (f->columns[k].in_key && check_key_holds(c, &f->contract_object->columns[k])) {
			if (f->columns[k].there[record] != 1)
				return 0; /* a null, and what counts as missing, is equal to nothing */
			parts[n++] = f->columns[k].hashes[record];
		}
	if (!n)
		return 0;
	xxh128_of(parts, n * sizeof *parts, &all);
	f->tallies[at].examined++;
	return distinct_add(c->distinct, &all, pass_place(f, f->first_row + record));
}

static void judge_nulls(struct quality_file *f, const struct null_check *n)
{
	const unsigned char *there = f->columns[n->column].there, *parent = n->parent >= 0 ? f->columns[n->parent].there : NULL;
	const bool missing = f->q->list.items[n->check]->kind == CHECK_MISSING;
	const size_t records = f->rejected.len;
	if (!records)
		return;
	if (!parent && !missing && !memchr(there, 0, records) && !memchr(f->rejected.data, 1, records)) {
		f->tallies[n->check].examined += records; /* as most batches are */
		return;
	}
	for (size_t i = 0; i < records; i++) {
		if (f->rejected.data[i] || (parent && !parent[i]))
			continue;
		f->tallies[n->check].examined++;
		if (!there[i] || (missing && there[i] == 2))
			pass_wrong(f, n->check, f->first_row + i);
	}
}

static int judge_records(struct quality_file *f)
{
	int r = 0;
	for (size_t i = 0; i < f->object->null_count; i++)
		judge_nulls(f, &f->object->nulls[i]);
	for (size_t i = 0; i < f->object->whole_count && !r; i++)
		for (size_t k = 0; f->q->list.items[f->object->whole[i]]->kind == CHECK_DISTINCT && k < f->rejected.len && !r; k++)
			r = f->rejected.data[k] ? 0 : judge_key(f, f->object->whole[i], k);
	return r;
}

/* Room for what each record says of the column. */
static int column_ready(struct pass_column *c, size_t records)
{
	if (c->there_capacity < records) {
		free(c->there);
		c->there_capacity = (c->there = malloc(records)) ? records : 0;
	}
	if (c->in_key && c->hashes_capacity < records) {
		free(c->hashes);
		c->hashes_capacity = (c->hashes = malloc(records * sizeof *c->hashes)) ? records : 0;
	}
	if (!c->there || (c->in_key && !c->hashes))
		return -ENOMEM;
	memset(c->there, 0, records);
	return 0;
}

int batch_settle(struct quality_file *f)
{
	int r = 0;
	for (size_t k = 0; k < f->object->column_count && !r && f->rejected.len; k++)
		r = column_ready(&f->columns[k], f->rejected.len);
	if (!r && f->rejected.len)
		r = judge_all(f);
	if (!r)
		r = judge_records(f);
	for (size_t k = 0; k < f->object->column_count; k++)
		f->columns[k].count = 0, f->columns[k].table.values = NULL;
	f->value_count = 0;
	buf_clear(&f->copies);
	buf_clear(&f->rejected);
	f->first_row = f->row;
	return r;
}
