/* The pass over one file: its bytes to records, its records to batches. */
#include "catalog/quality_pass.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int on_column(void *arg, uint32_t column, const char *name, size_t len)
{
	struct quality_file *f = arg;
	int r = personal_column(f->personal, column, name, len);
	if (r || f->described)
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

static int on_value(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	struct quality_file *f = arg;
	if (column < f->object->column_count)
		return kind == VALUE_NULL ? 0 : batch_add(f, column, kind, text, len);
	if (kind == VALUE_TEXT || kind == VALUE_NUMBER)
		personal_value(f->personal, column, f->row, text, len);
	return 0;
}

/* Of a column of arrays the checks look at the array's text, items included. */
static int on_item(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	struct quality_file *f = arg;
	const struct contract_object *o = f->contract_object;
	if (!o || column >= o->column_count || o->columns[column].type != TYPE_ARRAY)
		return on_value(arg, column, kind, text, len);
	if (kind == VALUE_TEXT || kind == VALUE_NUMBER)
		personal_value(f->personal, column, f->row, text, len);
	return 0;
}

static int on_fields(void *arg, const uint32_t *columns, const struct record_field *fields, size_t count)
{
	return batch_fields(arg, columns, fields, count);
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	struct quality_file *f = arg;
	(void)line;
	for (size_t i = 0; i < f->object->whole_count; i++) {
		size_t at = f->object->whole[i];
		struct check *c = f->q->list.items[at];
		if (c->kind != CHECK_BROKEN)
			continue;
		f->tallies[at].examined++;
		if (broken) {
			pass_wrong(f, at, f->row);
			check_name(c, broken, strlen(broken));
		}
	}
	int r = number ? batch_record(f, broken != NULL) : 0; /* 0: the head */
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

void quality_file_drop(struct quality_file *f)
{
	if (!f)
		return;
	personal_file_drop(f->personal);
	records_free(f->records);
	records_free(f->nested);
	unpack_free(f->unpack);
	batch_free(f);
	free(f->tallies);
	free(f->present);
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

/* Another table of the contract describes the file, too: its checks are not made, and views know no columns of such a file. */
static void note_second(struct quality *q, const struct object_checks *object, const char *path)
{
	const struct contract_object *second = contract_object_second(q->contract, path);
	for (size_t i = 0; i < object->whole_count; i++) {
		struct check *c = q->list.items[object->whole[i]];
		if (c->kind != CHECK_CLAIMS)
			continue;
		atomic_fetch_add(&c->examined, 1);
		if (!second)
			continue;
		atomic_fetch_add(&c->wrong, 1);
		check_offender(c, path, 0);
		check_name(c, second->name, strlen(second->name));
	}
}

/* Which checks the file meets: those of the object that claims it, else the bare ones.  NULL: none at all. */
static struct object_checks *checks_for(struct quality *q, const char *path, const struct contract_object **ret_object)
{
	const struct contract_object *objects = NULL, *o = q->contract ? contract_object_for(q->contract, path) : NULL;
	*ret_object = o;
	if (!o && q->contract && path_is_tabular(path))
		note(q, &q->unclaimed, path);
	if (o && o->document && !path_is_tabular(path))
		return NULL;
	/* A table does not lose its columns by being called a document: nothing of them is declared, and personal data is looked for. */
	if (o && o->document)
		*ret_object = o = NULL;
	if (!o)
		return &q->bare;
	contract_objects(q->contract, &objects);
	return &q->objects[o - objects];
}

static int file_setup(struct quality_file *f, const char *path)
{
	size_t columns = f->object->column_count ? f->object->column_count : 1, checks = f->q->list.count ? f->q->list.count : 1;
	f->row = 1;
	f->path = strdup(path);
	f->first_row = 1;
	f->columns = calloc(columns, sizeof *f->columns);
	f->tallies = calloc(checks, sizeof *f->tallies);
	if (!f->path || !f->columns || !f->tallies)
		return -ENOMEM;
	for (size_t i = 0; i < f->object->whole_count; i++) {
		const struct check *c = f->q->list.items[f->object->whole[i]];
		for (size_t k = 0; k < f->object->column_count && c->kind == CHECK_DISTINCT; k++)
			f->columns[k].in_key |= check_key_holds(c, &f->contract_object->columns[k]);
	}
	int r = file_number(f->q, path, &f->file_number);
	return r ? r : personal_file_begin(f->q->personal, path, f->contract_object, &f->personal);
}

int quality_file_new(struct quality *q, struct object_checks *object, const struct contract_object *claims, const char *path, struct quality_file **ret)
{
	struct quality_file *f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->q = q;
	f->object = object;
	f->contract_object = claims;
	int r = file_setup(f, path);
	if (r)
		quality_file_drop(f);
	else
		*ret = f;
	return r;
}

/* A file whose bytes are read here: by which format?  -EOPNOTSUPP: by none. */
static int format_of(const char *path, size_t stem, enum record_format *ret, char *ret_separator)
{
	char *inner = stem ? strndup(path, stem) : NULL;
	if (stem && !inner)
		return -ENOMEM;
	int r = records_format(inner ? inner : path, ret, ret_separator);
	free(inner);
	return r;
}

int quality_file_begin(struct quality *q, const char *path, struct quality_file **ret)
{
	enum record_format format;
	char separator;
	const struct contract_object *claims;
	struct quality_file *f = NULL;
	*ret = NULL;
	struct object_checks *object = checks_for(q, path, &claims);
	if (!object)
		return 0;
	if (claims && claim(q, object, path))
		return -ENOMEM;
	if (claims)
		note_second(q, object, path);
	if (text_ends(path, ".parquet"))
		return scanner_add(q, object, claims, path);
	const size_t stem = unpack_stem(path);
	int r = format_of(path, stem, &format, &separator);
	if (r == -EOPNOTSUPP && claims)
		note(q, &q->unreadable, path);
	if (r)
		return r == -EOPNOTSUPP ? 0 : r;
	r = quality_file_new(q, object, claims, path, &f);
	if (r)
		return r;
	struct records_callbacks call = { on_column, on_value, on_record, f, on_fields, on_item };
	f->csv = format == RECORDS_CSV;
	r = records_new(format, separator, object->header, claims, &call, &f->records);
	if (!r && stem)
		r = unpack_new(path, &f->unpack);
	if (r)
		quality_file_drop(f);
	else
		*ret = f;
	return r;
}

/* -- what an engine reads as JSON ---------------------------------------------------------------- */

static int on_nested_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	(void)arg, (void)number, (void)line;
	return broken ? -EIO : 0;
}

int quality_file_expect_nested(struct quality_file *f, const struct contract_object *claims)
{
	struct records_callbacks call = { on_column, on_value, on_nested_record, f, NULL, on_item };
	return records_new(RECORDS_JSONL, 0, true, claims, &call, &f->nested);
}

int quality_file_nested_column(struct quality_file *f, const char *name, size_t len, uint32_t *ret)
{
	return records_column(f->nested, name, len, ret);
}

int quality_file_nested(struct quality_file *f, const char *line, size_t len)
{
	return records_feed(f->nested, line, len);
}

/* A record that is longer, or has more columns, than anything here reads. */
static bool is_over(int code)
{
	return code == -EFBIG || code == -E2BIG;
}

static int feed_records(struct quality_file *f, const void *bytes, size_t len)
{
	f->not_utf8 = f->not_utf8 || (f->csv && !text_feed_utf8(&f->torn, bytes, len));
	pthread_mutex_lock(&f->q->looks);
	f->piece = bytes;
	f->piece_len = len;
	int r = records_feed(f->records, bytes, len), settled = 0;
	const bool over = is_over(r);
	if (over)
		settled = batch_record(f, true); /* what there may be of the record that is over the bounds */
	if (!settled && (!r || over))
		settled = batch_settle(f); /* before the piece goes */
	if (settled)
		r = settled;
	f->piece_len = 0;
	pthread_mutex_unlock(&f->q->looks);
	return r;
}

static int feed_unpacked(void *arg, const void *bytes, size_t len)
{
	struct quality_file *f = arg;
	int r = feed_records(f, bytes, len);
	return r == -EBADMSG ? -EIO : r; /* that number is the unpacker's */
}

/* A record is over the bounds: no check of such a file has an answer, and no view will be made of it. */
static int give_up(struct quality_file *f, int code)
{
	char why[ERR_TEXT_MAX];
	char *path = text_printable(f->path, strlen(f->path));
	if (code == -EFBIG)
		snprintf(why, sizeof why, "%.300s: a record is longer than %u MiB", path ? path : "", RECORD_BYTES_MAX >> 20);
	else
		snprintf(why, sizeof why, "%.300s: more than %u columns", path ? path : "", RECORD_COLUMNS_MAX);
	free(path);
	f->broken = true;
	return quality_unread_file(f->q, f->object, why, false);
}

int quality_file_feed(struct quality_file *f, const void *bytes, size_t len)
{
	if (!f || f->broken)
		return 0;
	int r = f->unpack ? unpack_feed(f->unpack, bytes, len, feed_unpacked, f) : feed_records(f, bytes, len);
	if (is_over(r))
		return give_up(f, r);
	if (r != -EBADMSG || !f->unpack)
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
		if ((f->records ? records_has_column(f->records, k) : f->present[k]) || strchr(name, '.'))
			continue;
		pass_wrong(f, at, 0);
		check_name(f->q->list.items[at], name, strlen(name));
	}
}

/* Columns that the file's head names more than once: every reader calls the second one something else, and nobody can tell which is meant. */
static void repeated_columns(struct quality_file *f, size_t at)
{
	for (uint32_t k = 0; f->records && k < records_column_count(f->records); k++) {
		if (!records_repeats_column(f->records, k))
			continue;
		const char *name = records_column_name(f->records, k);
		pass_wrong(f, at, 0);
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
	int r = f->records && !f->broken ? records_end(f->records) : 0;
	if (!r)
		r = batch_settle(f);
	pthread_mutex_unlock(&f->q->looks);
	if (is_over(r))
		r = give_up(f, r);
	if (!r)
		atomic_fetch_add(&f->object->rows, f->row - 1);
	for (size_t i = 0; i < f->object->whole_count; i++) {
		const enum check_kind kind = f->q->list.items[f->object->whole[i]]->kind;
		if (kind == CHECK_ABSENT)
			absent_columns(f, f->object->whole[i]);
		if (kind == CHECK_ENCODING && (f->not_utf8 || f->torn.len))
			pass_wrong(f, f->object->whole[i], 0);
		if (kind == CHECK_REPEATED)
			repeated_columns(f, f->object->whole[i]);
	}
	for (size_t i = 0; i < f->q->list.count; i++) {
		atomic_fetch_add(&f->q->list.items[i]->examined, f->tallies[i].examined);
		atomic_fetch_add(&f->q->list.items[i]->wrong, f->tallies[i].wrong);
	}
	int findings = personal_file_end(f->personal);
	f->personal = NULL;
	quality_file_drop(f);
	return r ? r : findings;
}

struct personal *quality_personal(struct quality *q)
{
	return q->personal;
}
