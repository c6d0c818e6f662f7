#include "catalog/quality.h"

#include "catalog/base/hash.h"
#include "catalog/base/text.h"
#include "catalog/distribution.h"
#include "catalog/personal.h"
#include "catalog/quality_check.h"
#include "catalog/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_ROW_BITS 40 /* a place is (file number << 40) + row */

/* The checks of one column, so that a value meets only its own. */
struct column_checks {
	size_t *checks; /* indices into the list */
	size_t count;
	const struct check *missing; /* what its words are counts as a missing value */
	struct distribution *distribution; /* quality.looks; NULL: beyond QUALITY_COLUMNS_TOLD */
	uint64_t records;                  /* quality.looks: that have a value here */
	struct distribution_summary asked; /* of an engine: Parquet */
};

struct object_checks {
	struct column_checks *columns;
	size_t column_count;
	struct null_check {
		size_t check, column;
		int64_t parent; /* column of the object it stands in, or -1: a nested column is null only where its parent is there */
	} *nulls; /* checks of columns that need the record's end */
	size_t null_count;
	size_t *whole; /* checks of records and files */
	size_t whole_count;
	bool header;
	char **files; /* quality.lock: the paths that the object claims */
	size_t file_count, parquet_count;
	atomic_ullong rows;
};

struct quality {
	struct contract *contract;
	struct check_list list;
	struct object_checks *objects;
	size_t object_count;
	struct object_checks bare; /* of files that no object claims: nothing but personal data is looked for */
	struct personal *personal;
	pthread_mutex_t lock; /* guards the file names and the unclaimed; a leaf */
	pthread_mutex_t looks; /* guards the columns' distributions; held while a piece is fed, outside everything here */
	char **files;
	size_t file_count;
	struct buf unreadable, unclaimed;
};

struct quality_file {
	struct quality *q;
	struct object_checks *object;
	const struct contract_object *contract_object;
	char *path;
	uint64_t file_number;
	struct records *records;
	struct unpack *unpack; /* of a .gz or .zst file */
	bool broken;           /* it cannot be unpacked: noted, and the rest of it is not looked at */
	struct personal_file *personal;
	uint64_t row;	       /* under way */
	unsigned char *seen;   /* by column: the record has a value that is not null */
	struct xxh128 *hashes; /* by column: of the record's (last) value */
	struct tally {
		uint64_t examined, wrong;
	} *tallies; /* by check: of this file */
	size_t undeclared;
};

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
	if (c->kind == CHECK_NULL || c->kind == CHECK_MISSING)
		return index_null(to, o, i, (size_t)c->column);
	if (c->kind == CHECK_NEVER || c->kind == CHECK_SQL)
		return 0; /* nothing is counted */
	return index_add(&column->checks, &column->count, i);
}

static bool has_header(const struct contract_object *o)
{
	const struct doc_node *custom = doc_get(o->node, "customProperties");
	for (size_t i = 0; i < doc_count(custom); i++) {
		const char *name = doc_get_text(doc_item(custom, i), "property");
		bool header;
		if (name && !strcmp(name, "header") && !doc_bool(doc_get(doc_item(custom, i), "value"), &header))
			return header;
	}
	return true;
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
		o->header = has_header(&objects[i]);
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

int quality_new(struct contract *contract, struct quality **ret, struct err *e)
{
	struct quality *q = calloc(1, sizeof *q);
	if (!q)
		return err_set(e, -ENOMEM, "out of memory");
	pthread_mutex_init(&q->lock, NULL);
	pthread_mutex_init(&q->looks, NULL);
	q->contract = contract_ref(contract);
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

static void column_free(struct column_checks *c)
{
	free(c->checks);
	distribution_free(c->distribution);
}

void quality_free(struct quality *q)
{
	if (!q)
		return;
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
	}
	free(q->objects);
	for (size_t i = 0; i < q->file_count; i++)
		free(q->files[i]);
	free(q->files);
	buf_free(&q->unreadable);
	buf_free(&q->unclaimed);
	personal_free(q->personal);
	contract_unref(q->contract);
	pthread_mutex_destroy(&q->lock);
	pthread_mutex_destroy(&q->looks);
	free(q);
}

/* -- one file -------------------------------------------------------------------------- */

static void wrong(struct quality_file *f, size_t check)
{
	if (f->tallies[check].wrong++ < QUALITY_OFFENDERS_MAX)
		check_offender(f->q->list.items[check], f->path, f->row);
}

static uint64_t place(const struct quality_file *f)
{
	return f->file_number << PLACE_ROW_BITS | (f->row & ((1ull << PLACE_ROW_BITS) - 1));
}

static int on_column(void *arg, uint32_t column, const char *name, size_t len)
{
	struct quality_file *f = arg;
	int r = personal_column(f->personal, column, name, len);
	if (r)
		return r;
	for (size_t i = 0; i < f->object->whole_count; i++) {
		size_t at = f->object->whole[i];
		if (f->q->list.items[at]->kind != CHECK_UNKNOWN)
			continue;
		f->tallies[at].wrong++;
		if (!f->undeclared++)
			check_offender(f->q->list.items[at], f->path, 0);
		check_name(f->q->list.items[at], name, len);
	}
	return 0;
}

static int one_value(struct quality_file *f, size_t at, enum value_kind kind, const struct xxh128 *hash, const char *text, size_t len)
{
	struct check *c = f->q->list.items[at];
	switch (c->kind) {
	case CHECK_DISTINCT:
		f->tallies[at].examined++;
		return distinct_add(c->distinct, hash, place(f));
	case CHECK_FRESH:
		f->tallies[at].examined++;
		f->tallies[at].wrong += check_value(c, kind, text, len);
		return 0;
	default:
		f->tallies[at].examined++;
		if (!check_value(c, kind, text, len))
			wrong(f, at);
		return 0;
	}
}

static int on_value(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	struct quality_file *f = arg;
	if (kind == VALUE_TEXT || kind == VALUE_NUMBER)
		personal_value(f->personal, column, f->row, text, len);
	if (column >= f->object->column_count || kind == VALUE_NULL)
		return 0;
	const struct column_checks *cc = &f->object->columns[column];
	f->seen[column] = 1;
	if (cc->missing && text && word_set_has(&cc->missing->words, text, len)) {
		f->seen[column] = 2;
		return 0;
	}
	struct xxh128 *hash = &f->hashes[column];
	text = text ? text : "";
	xxh128_of(text, len, hash);
	if (cc->distribution)
		distribution_add(cc->distribution, hash, text, len);
	for (size_t i = 0; i < cc->count; i++) {
		int r = one_value(f, cc->checks[i], kind, hash, text, len);
		if (r)
			return r;
	}
	return 0;
}

static int key_of_record(struct quality_file *f, size_t at)
{
	struct check *c = f->q->list.items[at];
	struct xxh128 all, parts[64];
	size_t n = 0;
	for (size_t k = 0; k < f->object->column_count && n < 64; k++)
		if (check_key_holds(c, &f->contract_object->columns[k])) {
			if (!f->seen[k])
				return 0; /* a null is equal to nothing */
			parts[n++] = f->hashes[k];
		}
	if (!n)
		return 0;
	xxh128_of(parts, n * sizeof *parts, &all);
	f->tallies[at].examined++;
	return distinct_add(c->distinct, &all, place(f));
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	struct quality_file *f = arg;
	int r = 0;
	(void)line;
	for (size_t i = 0; i < f->object->whole_count && !r; i++) {
		size_t at = f->object->whole[i];
		struct check *c = f->q->list.items[at];
		if (c->kind == CHECK_BROKEN) {
			f->tallies[at].examined++;
			if (broken) {
				wrong(f, at);
				check_name(c, broken, strlen(broken));
			}
		} else if (c->kind == CHECK_DISTINCT && !broken) {
			r = key_of_record(f, at);
		}
	}
	for (size_t i = 0; i < f->object->null_count && !broken; i++) {
		const struct null_check *n = &f->object->nulls[i];
		if (n->parent >= 0 && !f->seen[n->parent])
			continue;
		f->tallies[n->check].examined++;
		if (!f->seen[n->column] || (f->seen[n->column] == 2 && f->q->list.items[n->check]->kind == CHECK_MISSING))
			wrong(f, n->check);
	}
	for (size_t k = 0; k < f->object->column_count; k++) {
		f->object->columns[k].records += !broken && f->seen[k] == 1;
		f->seen[k] = 0;
	}
	f->row = number + 1;
	return r;
}

static int file_number(struct quality *q, const char *path, uint64_t *ret)
{
	pthread_mutex_lock(&q->lock);
	char **files = realloc(q->files, (q->file_count + 1) * sizeof *files);
	char *copy = strdup(path);
	int r = files && copy ? 0 : -ENOMEM;
	if (files)
		q->files = files;
	if (!r) {
		*ret = q->file_count;
		files[q->file_count++] = copy;
	} else {
		free(copy);
	}
	pthread_mutex_unlock(&q->lock);
	return r;
}

static void note(struct quality *q, struct buf *list, const char *path)
{
	char *safe = text_printable(path, strlen(path));
	pthread_mutex_lock(&q->lock);
	if (safe && list->len < 300)
		buf_addf(list, "%s%s", list->len ? ", " : "", safe);
	pthread_mutex_unlock(&q->lock);
	free(safe);
}

static void file_free(struct quality_file *f)
{
	personal_file_end(f->personal);
	records_free(f->records);
	unpack_free(f->unpack);
	free(f->seen);
	free(f->hashes);
	free(f->tallies);
	free(f->path);
	free(f);
}

static int claim(struct quality *q, struct object_checks *o, const char *path)
{
	char *copy = strdup(path);
	pthread_mutex_lock(&q->lock);
	char **more = copy ? realloc(o->files, (o->file_count + 1) * sizeof *more) : NULL;
	if (more) {
		o->files = more;
		more[o->file_count++] = copy;
		o->parquet_count += text_ends(path, ".parquet");
	}
	pthread_mutex_unlock(&q->lock);
	if (!more)
		free(copy);
	return more ? 0 : -ENOMEM;
}

/* Which checks the file meets: those of the object that claims it, else the bare ones.  NULL: none at all. */
static struct object_checks *checks_for(struct quality *q, const char *path, const struct contract_object **ret_object)
{
	const struct contract_object *objects = NULL, *o = q->contract ? contract_object_for(q->contract, path) : NULL;
	*ret_object = o;
	if (!o && q->contract && path_is_tabular(path))
		note(q, &q->unclaimed, path);
	if (o && o->document)
		return NULL;
	if (!o)
		return &q->bare;
	contract_objects(q->contract, &objects);
	return &q->objects[o - objects];
}

static int file_setup(struct quality_file *f, const char *path, enum record_format format, char separator)
{
	size_t columns = f->object->column_count ? f->object->column_count : 1, checks = f->q->list.count ? f->q->list.count : 1;
	f->row = 1;
	f->path = strdup(path);
	f->seen = calloc(columns, 1);
	f->hashes = calloc(columns, sizeof *f->hashes);
	f->tallies = calloc(checks, sizeof *f->tallies);
	if (!f->path || !f->seen || !f->hashes || !f->tallies)
		return -ENOMEM;
	struct records_callbacks call = { on_column, on_value, on_record, f };
	int r = file_number(f->q, path, &f->file_number);
	if (!r)
		r = personal_file_begin(f->q->personal, path, f->contract_object, &f->personal);
	return r ? r : records_new(format, separator, f->object->header, f->contract_object, &call, &f->records);
}

int quality_file_begin(struct quality *q, const char *path, struct quality_file **ret)
{
	enum record_format format;
	char separator;
	const struct contract_object *claims;
	*ret = NULL;
	struct object_checks *object = checks_for(q, path, &claims);
	if (!object)
		return 0;
	if (claims && claim(q, object, path))
		return -ENOMEM;
	size_t stem = unpack_stem(path);
	char *inner = stem ? strndup(path, stem) : NULL;
	if (stem && !inner)
		return -ENOMEM;
	int unreadable = records_format(inner ? inner : path, &format, &separator);
	free(inner);
	if (unreadable) {
		if (claims && !text_ends(path, ".parquet")) /* Parquet is asked through an engine, at the end */
			note(q, &q->unreadable, path);
		return 0;
	}
	struct quality_file *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->q = q;
	f->object = object;
	f->contract_object = claims;
	int r = file_setup(f, path, format, separator);
	if (!r && stem)
		r = unpack_new(path, &f->unpack);
	if (r)
		file_free(f);
	else
		*ret = f;
	return r;
}

static int feed_records(struct quality_file *f, const void *bytes, size_t len)
{
	pthread_mutex_lock(&f->q->looks);
	int r = records_feed(f->records, bytes, len);
	pthread_mutex_unlock(&f->q->looks);
	return r;
}

static int feed_unpacked(void *arg, const void *bytes, size_t len)
{
	struct quality_file *f = arg;
	int r = feed_records(f, bytes, len);
	return r == -EBADMSG ? -EIO : r; /* that number is the unpacker's */
}

int quality_file_feed(struct quality_file *f, const void *bytes, size_t len)
{
	if (!f || f->broken)
		return 0;
	if (!f->unpack)
		return feed_records(f, bytes, len);
	int r = unpack_feed(f->unpack, bytes, len, feed_unpacked, f);
	if (r != -EBADMSG)
		return r;
	f->broken = true;
	note(f->q, &f->q->unreadable, f->path);
	return 0;
}

/* Columns of the contract that the file's head does not name. */
static void absent_columns(struct quality_file *f, size_t at)
{
	for (uint32_t k = 0; k < f->object->column_count; k++) {
		const char *name = f->contract_object->columns[k].name;
		if (records_has_column(f->records, k) || strchr(name, '.'))
			continue;
		f->row = 0;
		wrong(f, at);
		check_name(f->q->list.items[at], name, strlen(name));
	}
}

int quality_file_end(struct quality_file *f)
{
	if (!f)
		return 0;
	if (f->unpack && !f->broken && !unpack_complete(f->unpack)) /* it ends too early */
		note(f->q, &f->q->unreadable, f->path);
	pthread_mutex_lock(&f->q->looks);
	int r = records_end(f->records);
	pthread_mutex_unlock(&f->q->looks);
	if (!r)
		atomic_fetch_add(&f->object->rows, f->row - 1);
	for (size_t i = 0; i < f->object->whole_count; i++)
		if (f->q->list.items[f->object->whole[i]]->kind == CHECK_ABSENT)
			absent_columns(f, f->object->whole[i]);
	for (size_t i = 0; i < f->q->list.count; i++) {
		atomic_fetch_add(&f->q->list.items[i]->examined, f->tallies[i].examined);
		atomic_fetch_add(&f->q->list.items[i]->wrong, f->tallies[i].wrong);
	}
	int findings = personal_file_end(f->personal);
	f->personal = NULL;
	file_free(f);
	return r ? r : findings;
}

struct personal *quality_personal(struct quality *q)
{
	return q->personal;
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

size_t quality_object_files(struct quality *q, size_t object, char *const **ret, size_t *ret_parquet)
{
	*ret = q->objects[object].files;
	*ret_parquet = q->objects[object].parquet_count;
	return q->objects[object].file_count;
}

void quality_set_rows(struct quality *q, size_t object, uint64_t rows)
{
	atomic_store(&q->objects[object].rows, rows);
}

struct distribution_summary *quality_summary(struct quality *q, size_t object, size_t column)
{
	return &q->objects[object].columns[column].asked;
}

bool quality_look(struct quality *q, size_t object, size_t column, uint64_t *ret_nulls, struct distribution_summary *ret,
		  const struct distribution **ret_texts)
{
	const struct object_checks *o = &q->objects[object];
	const struct column_checks *c = &o->columns[column];
	uint64_t rows = quality_rows(q, object), there = o->parquet_count ? c->asked.values : c->records;
	if (!c->distribution || !rows)
		return false;
	*ret_texts = o->parquet_count ? NULL : c->distribution;
	*ret_nulls = rows > there ? rows - there : 0;
	if (o->parquet_count)
		*ret = c->asked;
	else
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
