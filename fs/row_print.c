#include "fs/row_print.h"

#include "catalog/base/buf.h"
#include "catalog/base/hash.h"
#include "catalog/records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct column {
	uint64_t record; /* the last one that had a value of it */
	uint32_t times;  /* in that record: items of a list are told apart by their place */
	bool asked, counts, used;
	const char *name; /* the records' */
	size_t name_len;
};

struct row_prints {
	struct row_prints_config config;
	struct records *records;
	struct column *columns;
	size_t column_count;
	uint64_t record;
	struct row_print print;
	struct buf text; /* name, place and value */
};

static struct column *column_of(struct row_prints *p, uint32_t i)
{
	if (i >= p->column_count) {
		size_t count = (size_t)i + 16;
		struct column *more = realloc(p->columns, count * sizeof *more);
		if (!more)
			return NULL;
		memset(more + p->column_count, 0, (count - p->column_count) * sizeof *more);
		p->columns = more;
		p->column_count = count;
	}
	struct column *c = &p->columns[i];
	if (!c->asked) {
		c->asked = true;
		c->name = records_column_name(p->records, i);
		c->name_len = strlen(c->name) + 1;
		c->counts = !p->config.column || p->config.column(p->config.arg, c->name);
	}
	return c;
}

static void add(struct row_print *to, const struct xxh128 *x)
{
	uint64_t high, low;
	memcpy(&high, x->bytes, 8);
	memcpy(&low, x->bytes + 8, 8);
	to->low += low;
	to->high += high + (to->low < low);
}

static int on_value(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	struct row_prints *p = arg;
	struct xxh128 hash;
	struct column *c = column_of(p, column);
	if (!c)
		return -ENOMEM;
	if (c->record != p->record) {
		c->record = p->record;
		c->times = 0;
	}
	uint32_t place = c->times++;
	if (!c->counts || !len || kind == VALUE_NULL || kind == VALUE_OBJECT || kind == VALUE_ARRAY)
		return 0;
	buf_clear(&p->text);
	buf_add(&p->text, c->name, c->name_len); /* with its NUL */
	buf_add(&p->text, &place, sizeof place);
	row_canonical(text, len, &p->text);
	if (buf_check(&p->text))
		return -ENOMEM;
	xxh128_of(p->text.data, p->text.len, &hash);
	add(&p->print, &hash);
	c->used = true;
	return 0;
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	struct row_prints *p = arg;
	struct row_print print = p->print;
	(void)line;
	p->print = (struct row_print){ 0, 0 };
	p->record++;
	return number ? p->config.each(p->config.arg, number, &print, broken != NULL) : 0; /* 0: a broken head */
}

int row_prints_new(const struct row_prints_config *config, struct row_prints **ret)
{
	enum record_format format;
	char separator;
	int r = records_format(config->path, &format, &separator);
	struct row_prints *p = r ? NULL : calloc(1, sizeof *p);
	if (!p)
		return r ? r : -ENOMEM;
	p->config = *config;
	p->record = 1;
	struct records_callbacks calls = { .on_value = on_value, .on_record = on_record, .arg = p };
	r = records_new(format, config->separator ? config->separator : separator, config->header, config->header ? NULL : config->object, &calls, &p->records);
	if (r)
		row_prints_free(p);
	else
		*ret = p;
	return r;
}

int row_prints_feed(struct row_prints *p, const char *bytes, size_t len)
{
	return records_feed(p->records, bytes, len);
}

int row_prints_end(struct row_prints *p)
{
	return records_end(p->records);
}

void row_prints_free(struct row_prints *p)
{
	if (!p)
		return;
	records_free(p->records);
	free(p->columns);
	buf_free(&p->text);
	free(p);
}

size_t row_prints_columns(const struct row_prints *p)
{
	return records_column_count(p->records);
}

const char *row_prints_column(const struct row_prints *p, size_t i)
{
	return records_column_name(p->records, (uint32_t)i);
}

bool row_prints_used(const struct row_prints *p, size_t i)
{
	return i < p->column_count && p->columns[i].used;
}

bool row_prints_between(const struct row_prints *p)
{
	return records_between(p->records);
}

/* -- how a file is read ------------------------------------------------------------------------------ */

static const char *object_property(const struct contract_object *o, const char *name)
{
	const struct doc_node *list = o ? doc_get(o->node, "customProperties") : NULL;
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *property = doc_get_text(doc_item(list, i), "property");
		if (property && !strcmp(property, name))
			return doc_get_text(doc_item(list, i), "value");
	}
	return NULL;
}

bool row_header(const struct contract_object *object)
{
	const char *header = object_property(object, "header");
	return !header || strcmp(header, "false") != 0;
}

/* Without a word of the contract: the separator that the first line holds most of. */
char row_separator(const char *path, const struct contract_object *object, const char *head, size_t len)
{
	const char *given = object_property(object, "separator"), *end = memchr(head, '\n', len);
	enum record_format format;
	char own = 0, best = ',';
	size_t most = 0;
	if (records_format(path, &format, &own) || format == RECORDS_JSONL)
		return 0;
	if (!given)
		given = object_property(object, "delimiter");
	if (given && given[0] && (!given[1] || !strcmp(given, "\\t")))
		return given[1] ? '\t' : given[0];
	for (const char *s = ",;\t|"; !own && *s; s++) {
		size_t n = 0;
		for (const char *p = head; p < (end ? end : head + len); p++)
			n += *p == *s;
		if (n > most) {
			most = n;
			best = *s;
		}
	}
	return own ? own : best;
}
