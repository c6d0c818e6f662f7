#include "catalog/profile.h"

#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "catalog/distinct.h"
#include "catalog/personal.h"
#include "catalog/profile_document.h"
#include "catalog/records.h"
#include "catalog/unpack.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_COLUMNS_MAX 64 /* columns of a file that are tried as a key */
#define KEY_MEMORY_BYTES (16u << 20)

enum { IS_INTEGER = 1, IS_NUMBER = 2, IS_BOOLEAN = 4, IS_DATE = 8, IS_TIMESTAMP = 16, IS_ANY = 31 };

/* What people write for "no value". */
static const char *const missing_texts[] = { "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None" };
#define MISSING_TEXTS (sizeof missing_texts / sizeof *missing_texts)

struct column {
	char *name;
	unsigned missing; /* bits: which of missing_texts were seen */
	unsigned types; /* IS_*: what every value so far is */
	bool container_object, container_array, quoted_text; /* JSON kinds seen */
	bool scalar, nested_items; /* values that are no items of arrays; arrays and objects that are */
	uint64_t values;    /* items of arrays included */
	uint64_t containers; /* that are no items */
	double low, high;
	struct distinct *distinct;
	bool unique, in_record;
	const char *entity; /* what it looks like, or NULL */
};

struct object {
	char *path; /* of its first file */
	size_t files;
	struct column *columns;
	size_t count, capacity;
	uint64_t records;
	struct object *next;
};

struct profile {
	struct object *first, **last;
	struct object *current;
	char **documents;
	size_t document_count;
	struct records *records;
	struct unpack *unpack; /* of a .gz or .zst file */
	struct personal *personal;
	struct personal_file *personal_file;
	char *path;
	uint64_t row;
	int code;
};

struct profile *profile_new(void)
{
	struct profile *p = calloc(1, sizeof *p);
	if (!p || !(p->personal = personal_new())) {
		free(p);
		return NULL;
	}
	p->last = &p->first;
	return p;
}

static void object_free(struct object *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->count; i++) {
		free(o->columns[i].name);
		distinct_free(o->columns[i].distinct);
	}
	free(o->columns);
	free(o->path);
	free(o);
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	while (p->first) {
		struct object *o = p->first;
		p->first = o->next;
		object_free(o);
	}
	object_free(p->current);
	for (size_t i = 0; i < p->document_count; i++)
		free(p->documents[i]);
	free(p->documents);
	unpack_free(p->unpack);
	records_free(p->records);
	personal_file_end(p->personal_file);
	personal_free(p->personal);
	free(p->path);
	free(p);
}

/* -- values ------------------------------------------------------------------------ */

static unsigned types_of(enum value_kind kind, const char *text, size_t len, double *ret_number)
{
	char copy[64];
	int64_t ns;
	if (kind == VALUE_BOOL)
		return IS_BOOLEAN;
	if (!len || len >= sizeof copy)
		return 0;
	memcpy(copy, text, len);
	copy[len] = '\0';
	size_t digits = strspn(copy + (*copy == '-'), "0123456789");
	/* A leading zero is a code (a postcode, a phone number), not a number. */
	bool code = digits > 1 && copy[*copy == '-'] == '0';
	if (!code && digits && strspn(copy, "-+.0123456789eE") == len) {
		char *end;
		*ret_number = strtod(copy, &end);
		if (!*end)
			return copy[(*copy == '-') + digits] == '\0' && digits <= 18 ? IS_INTEGER | IS_NUMBER : IS_NUMBER;
	}
	if (!strcasecmp(copy, "true") || !strcasecmp(copy, "false"))
		return IS_BOOLEAN;
	if (clock_parse(copy, &ns) == 0)
		return len == 10 ? IS_DATE : IS_TIMESTAMP;
	return 0;
}

static struct column *column_at(struct profile *p, uint32_t number)
{
	return p->current && number < p->current->count ? &p->current->columns[number] : NULL;
}

static int on_column(void *arg, uint32_t number, const char *name, size_t len)
{
	struct profile *p = arg;
	struct object *o = p->current;
	int r = text_is_utf8(name, len) ? personal_column(p->personal_file, number, name, len) : -EILSEQ;
	if (r)
		return r;
	if (number >= o->capacity) {
		size_t capacity = (size_t)number * 2 + 16;
		struct column *more = realloc(o->columns, capacity * sizeof *more);
		if (!more)
			return -ENOMEM;
		memset(more + o->capacity, 0, (capacity - o->capacity) * sizeof *more);
		o->columns = more;
		o->capacity = capacity;
	}
	struct column *c = &o->columns[number];
	c->name = strndup(name, len);
	c->types = IS_ANY;
	c->unique = number < KEY_COLUMNS_MAX;
	c->distinct = c->unique ? distinct_new(KEY_MEMORY_BYTES) : NULL;
	if (number >= o->count)
		o->count = (size_t)number + 1;
	return c->name && (c->distinct || !c->unique) ? 0 : -ENOMEM;
}

static int add_value(struct profile *p, struct column *c, uint32_t number, enum value_kind kind, const char *text, size_t len)
{
	double v = 0;
	for (size_t i = 0; kind == VALUE_TEXT && i < MISSING_TEXTS; i++)
		if (strlen(missing_texts[i]) == len && !memcmp(missing_texts[i], text, len)) {
			c->missing |= 1u << i;
			return 0;
		}
	if (kind != VALUE_BOOL)
		personal_value(p->personal_file, number, p->row, text, len);
	unsigned types = types_of(kind, text, len, &v);
	if (types & IS_NUMBER) {
		c->low = c->values && c->low < v ? c->low : v;
		c->high = c->values && c->high > v ? c->high : v;
	}
	c->types &= types;
	c->values++;
	if (c->in_record)
		c->unique = false; /* several values a record: an array's items */
	c->in_record = true;
	if (!c->unique)
		return 0;
	struct xxh128 hash;
	xxh128_of(text, len, &hash);
	return distinct_add(c->distinct, &hash, p->row);
}

static int on_value(void *arg, uint32_t number, enum value_kind kind, const char *text, size_t len)
{
	struct column *c = column_at(arg, number);
	if (!c || kind == VALUE_NULL)
		return 0;
	if (kind == VALUE_OBJECT || kind == VALUE_ARRAY) {
		c->container_object |= kind == VALUE_OBJECT;
		c->container_array |= kind == VALUE_ARRAY;
		c->containers++;
		return 0;
	}
	c->scalar = true;
	return add_value(arg, c, number, kind, text, len);
}

static int on_item(void *arg, uint32_t number, enum value_kind kind, const char *text, size_t len)
{
	struct column *c = column_at(arg, number);
	if (!c || kind == VALUE_NULL)
		return 0;
	if (kind != VALUE_OBJECT && kind != VALUE_ARRAY)
		return add_value(arg, c, number, kind, text, len);
	c->nested_items = true;
	return 0;
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	struct profile *p = arg;
	(void)line;
	for (size_t i = 0; i < p->current->count; i++)
		p->current->columns[i].in_record = false;
	p->current->records += !broken;
	p->row = number + 1;
	return 0;
}

/* -- files -------------------------------------------------------------------------- */

static int add_document(struct profile *p, const char *path)
{
	char **more = realloc(p->documents, (p->document_count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	p->documents = more;
	more[p->document_count] = strdup(path);
	return more[p->document_count++] ? 0 : -ENOMEM;
}

int profile_file_begin(struct profile *p, const char *path, struct err *e)
{
	enum record_format format;
	char separator;
	size_t stem = unpack_stem(path);
	char *inner = strndup(path, stem ? stem : strlen(path));
	bool records = inner && !records_format(inner, &format, &separator);
	free(inner);
	if (!records && text_ends(path, ".parquet")) {
		format = RECORDS_JSONL;
		separator = 0;
	} else if (!records) {
		if (!path_is_tabular(path) && add_document(p, path))
			return err_set(e, -ENOMEM, "out of memory");
		return -EOPNOTSUPP;
	}
	struct records_callbacks call = { on_column, on_value, on_record, p, NULL, on_item };
	p->current = calloc(1, sizeof *p->current);
	free(p->path);
	p->path = strdup(path);
	p->row = 1;
	int r = p->current && p->path && (p->current->path = strdup(path)) ? 0 : -ENOMEM;
	if (!r)
		r = personal_file_begin(p->personal, path, NULL, &p->personal_file);
	if (!r)
		r = records_new(format, separator, true, NULL, &call, &p->records);
	if (!r && stem)
		r = unpack_new(path, &p->unpack);
	return r ? err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static int feed_unpacked(void *arg, const void *bytes, size_t len)
{
	return records_feed(arg, bytes, len);
}

static const char *reason_of(int r)
{
	switch (r) {
	case -EILSEQ:
		return "the names of its columns are not UTF-8 text (convert it first, with iconv for example)";
	case -EBADMSG:
		return "what it was packed into is damaged, or ends early";
	case -EFBIG:
		return "a record of it is too long";
	case -E2BIG:
		return "it has too many columns";
	default:
		return strerror(-r);
	}
}

int profile_file_feed(struct profile *p, const void *bytes, size_t len, struct err *e)
{
	int r = p->unpack ? unpack_feed(p->unpack, bytes, len, feed_unpacked, p->records) : records_feed(p->records, bytes, len);
	return r ? err_set(e, r, "%s: cannot be read as records: %s", p->path, reason_of(r)) : 0;
}

static bool same_columns(const struct object *a, const struct object *b)
{
	const char *x = strrchr(a->path, '.'), *y = strrchr(b->path, '.');
	if (a->count != b->count || !x || !y || strcmp(x, y) != 0)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->columns[i].name, b->columns[i].name) != 0)
			return false;
	return true;
}

/* Is every value of the column different?  Known when its file ends; the hashes are given back then. */
static int settle_key(struct object *o, struct column *c)
{
	uint64_t duplicates = 1, place;
	size_t places;
	int r = c->unique ? distinct_finish(c->distinct, &duplicates, &place, 1, &places) : 0;
	c->unique = c->unique && !r && duplicates == 0 && c->values == o->records && o->records > 1;
	distinct_free(c->distinct);
	c->distinct = NULL;
	return r;
}

static void join(struct object *into, const struct object *from)
{
	for (size_t i = 0; i < into->count; i++) {
		struct column *a = &into->columns[i];
		const struct column *b = &from->columns[i];
		if (b->values && a->values) {
			a->low = a->low < b->low ? a->low : b->low;
			a->high = a->high > b->high ? a->high : b->high;
		} else if (b->values) {
			a->low = b->low;
			a->high = b->high;
		}
		a->types &= b->types;
		a->values += b->values;
		a->missing |= b->missing;
		a->container_object |= b->container_object;
		a->container_array |= b->container_array;
		a->scalar |= b->scalar;
		a->nested_items |= b->nested_items;
		a->containers += b->containers;
		a->unique = false; /* across files nothing was compared */
	}
	into->records += from->records;
	into->files++;
}

int profile_file_end(struct profile *p, struct err *e)
{
	int r = p->unpack && !unpack_complete(p->unpack) ? -EBADMSG : records_end(p->records);
	records_free(p->records);
	unpack_free(p->unpack);
	p->records = NULL;
	p->unpack = NULL;
	struct object *o = p->current;
	for (size_t i = 0; i < o->count && !r; i++)
		r = settle_key(o, &o->columns[i]);
	int findings = personal_file_end(p->personal_file);
	p->personal_file = NULL;
	if (r || findings)
		return err_set(e, r ? r : findings, "%s: cannot be read as records: %s", p->path, reason_of(r ? r : findings));
	for (struct object *other = p->first; other; other = other->next)
		if (same_columns(other, o)) {
			join(other, o);
			object_free(o);
			p->current = NULL;
			return 0;
		}
	o->files = 1;
	*p->last = o;
	p->last = &o->next;
	p->current = NULL;
	return 0;
}

/* -- the draft ------------------------------------------------------------------------- */

static int on_finding(void *arg, const struct personal_finding *f)
{
	struct profile *p = arg;
	for (struct object *o = p->first; o; o = o->next)
		for (size_t i = 0; i < o->count; i++)
			if (!strcmp(o->columns[i].name, f->column))
				o->columns[i].entity = f->entity;
	return 0;
}

static const char *scalar_name(const struct column *c)
{
	if (!c->values || !c->types)
		return "string";
	return c->types & IS_INTEGER   ? "integer"
	       : c->types & IS_NUMBER  ? "number"
	       : c->types & IS_BOOLEAN ? "boolean"
	       : c->types & IS_DATE    ? "date"
				       : "timestamp";
}

/* NULL: values of several kinds, which no type describes. */
static const char *type_name(const struct column *c)
{
	if (c->container_array + c->container_object + c->scalar > 1)
		return NULL;
	return c->container_array ? "array" : c->container_object ? "object" : scalar_name(c);
}

static bool is_child(const struct column *c, const struct column *parent)
{
	size_t n = strlen(parent->name);
	return !strncmp(c->name, parent->name, n) && c->name[n] == '.' && !strchr(c->name + n + 1, '.');
}

static void write_column(struct buf *out, const struct object *o, const struct column *c, int indent);

/* What an object or array holds. */
static void write_below(struct buf *out, const struct object *o, const struct column *c, int indent, bool array)
{
	bool any = false;
	for (size_t i = 0; i < o->count; i++) {
		if (!is_child(&o->columns[i], c) || indent > 40)
			continue;
		if (!any && array)
			buf_addf(out, "%*sitems:\n%*slogicalType: object\n%*sproperties:\n", indent + 2, "", indent + 4, "", indent + 4, "");
		else if (!any)
			buf_addf(out, "%*sproperties:\n", indent + 2, "");
		any = true;
		write_column(out, o, &o->columns[i], indent + (array ? 6 : 4));
	}
	if (!any && array && c->values && !c->nested_items)
		buf_addf(out, "%*sitems: { logicalType: %s }\n", indent + 2, "", scalar_name(c));
}

/* What looks personal, what was seen of numbers, what stands for a missing value. */
static void write_looks(struct buf *out, const struct column *c, const char *type, int indent)
{
	bool number = type && (!strcmp(type, "integer") || !strcmp(type, "number"));
	if (c->entity)
		buf_addf(out, "%*stags: [pii, %s]   # looks like it; remove the tags if it is not\n%*sclassification: restricted\n", indent + 2, "",
			 c->entity, indent + 2, "");
	else
		buf_addf(out, "%*s# classification: public | internal | confidential | restricted   (none counts as restricted)\n", indent + 2, "");
	if (number && c->values && !c->entity && !c->unique)
		buf_addf(out, "%*s# seen: %.15g to %.15g\n", indent + 2, "", c->low, c->high);
	if (!c->missing || !type || c->containers)
		return;
	buf_addf(out, "%*squality:   # these texts stand for a missing value\n%*s- { type: library, metric: missingValues, mustBeGreaterOrEqualTo: 0, "
		      "arguments: { missingValues: [", indent + 2, "", indent + 4, "");
	for (size_t i = 0, n = 0; i < MISSING_TEXTS; i++)
		if (c->missing & (1u << i))
			buf_addf(out, "%s\"%s\"", n++ ? ", " : "", missing_texts[i]);
	buf_adds(out, "] } }\n");
}

static void write_column(struct buf *out, const struct object *o, const struct column *c, int indent)
{
	const char *dot = strrchr(c->name, '.'), *type = type_name(c);
	buf_addf(out, "%*s- name: ", indent, "");
	profile_quoted(out, indent > 6 && dot ? dot + 1 : c->name);
	if (type)
		buf_addf(out, "\n%*slogicalType: %s\n", indent + 2, "", type);
	else
		buf_addf(out, "\n%*s# logicalType: its values are of several kinds\n", indent + 2, "");
	if (type && (c->containers ? c->containers : c->values) == o->records && o->records && indent == 6)
		buf_addf(out, "%*srequired: true\n", indent + 2, "");
	if (type && c->unique && !c->containers)
		buf_addf(out, "%*sunique: true   # every value is different: a key?\n", indent + 2, "");
	write_looks(out, c, type, indent);
	if (c->containers)
		write_below(out, o, c, indent, type && !strcmp(type, "array"));
}

/* Does the column stand below another one of the object (JSON)? */
static bool has_parent(const struct object *o, const struct column *c)
{
	for (size_t i = 0; i < o->count; i++)
		if (is_child(c, &o->columns[i]) && (o->columns[i].container_object || o->columns[i].container_array))
			return true;
	return false;
}

/* Do the names of all columns look like values? */
static bool looks_headless(const struct object *o)
{
	double number;
	for (size_t i = 0; i < o->count; i++)
		if (!types_of(VALUE_TEXT, o->columns[i].name, strlen(o->columns[i].name), &number))
			return false;
	return o->count > 0;
}

/* ".csv", ".csv.gz" */
static const char *suffix_of(const char *base)
{
	const char *end = base + strlen(base), *dot = strrchr(base, '.');
	if (dot && (!strcmp(dot, ".gz") || !strcmp(dot, ".zst")))
		for (end = dot--; dot > base && *dot != '.';)
			dot--;
	return dot && *dot == '.' ? dot : end;
}

static void write_object(struct buf *out, const struct object *o, bool alone)
{
	const char *slash = strrchr(o->path, '/'), *base = slash ? slash + 1 : o->path, *dot = strchr(base, '.');
	char *name = strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
	buf_adds(out, "  - name: ");
	profile_quoted(out, name ? name : "data");
	free(name);
	buf_adds(out, "\n    description: TODO\n");
	const int folder = slash ? (int)(slash + 1 - o->path) : 0;
	char *glob = alone && strpbrk(o->path, "*?[]\\") ? NULL
		     : alone			   ? text_format("%.*s*%s", folder, o->path, suffix_of(base))
		     : o->files > 1		   ? text_format("%.*s*%s", folder, o->path, dot ? dot : "")
						   : strdup(o->path);
	if (glob) {
		buf_adds(out, "    physicalName: ");
		profile_quoted(out, glob);
		buf_adds(out, alone ? "   # the files that it describes\n" : "\n");
	}
	free(glob);
	if (looks_headless(o))
		buf_adds(out, "    # Its first line looks like data.  If it is no head, name the columns here in their order, and add:\n"
			      "    # customProperties: [ { property: header, value: false } ]\n");
	bool any = false;
	for (size_t i = 0; i < o->count; i++) {
		const struct column *c = &o->columns[i];
		if (!*c->name)
			buf_adds(out, "    # A column without a name cannot be described, and counts as the most sensitive there is: give it a name in the data.\n");
		else if (!has_parent(o, c)) {
			buf_adds(out, any ? "" : "    properties:\n");
			any = true;
			write_column(out, o, c, 6);
		}
	}
	if (!o->records)
		return;
	buf_addf(out, "    quality:\n      - { type: library, metric: rowCount, mustBeGreaterThan: 0, severity: error }   # seen: %llu\n",
		 (unsigned long long)o->records);
}

int profile_contract(struct profile *p, const char *domain, const char *product, struct buf *ret, struct err *e)
{
	personal_each(p->personal, on_finding, p);
	buf_addf(ret,
		 "# Drafted from the data: read it, fill in what stands as TODO, correct what is wrong.\n"
		 "apiVersion: v3.1.0\nkind: DataContract\nid: %s-%s\nname: %s\nversion: 1.0.0\nstatus: draft\n"
		 "description:\n  purpose: TODO what it is for\n  limitations: TODO what it must not be used for, and what is missing\n"
		 "# team: { name: TODO, members: [ { username: TODO, role: owner } ] }\n"
		 "# customProperties:\n#   - { property: allowedPurposes, value: [research, training] }\nschema:\n",
		 domain, product, product);
	bool alone = p->first && !p->first->next && !p->document_count;
	for (struct object *o = p->first; o; o = o->next)
		write_object(ret, o, alone);
	const size_t documents = profile_documents(p->documents, p->document_count, ret);
	if (!p->first && !documents)
		buf_adds(ret, "  []\n");
	return buf_check(ret) ? err_set(e, -ENOMEM, "out of memory") : 0;
}
