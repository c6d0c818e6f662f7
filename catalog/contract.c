#include "catalog/contract.h"

#include "catalog/base/map.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 20000u /* of one object, nested ones included */
#define OBJECTS_MAX 10000u

struct string_list {
	const char **items; /* borrowed from the document */
	size_t count;
};

struct contract {
	atomic_uint refs;
	struct doc *doc;
	char *text;
	struct contract_object *objects;
	size_t object_count;
	struct string_list tags, team, purposes;
	bool has_purposes;
};

/* -- small readers -------------------------------------------------------- */

static int list_add(struct string_list *l, const char *text)
{
	const char **more = realloc(l->items, (l->count + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	l->items = more;
	l->items[l->count++] = text;
	return 0;
}

/* A list of texts; anything else in it is an error, since policy would misread it. */
static int read_texts(const struct doc *d, const struct doc_node *n, const char *what, struct string_list *ret, struct err *e)
{
	if (doc_kind(n) == DOC_NULL)
		return 0;
	if (doc_kind(n) != DOC_LIST)
		return doc_err(d, n, e, "'%s' must be a list of texts", what);
	for (size_t i = 0; i < doc_count(n); i++) {
		const char *text = doc_text(doc_item(n, i));
		if (!text)
			return doc_err(d, doc_item(n, i), e, "'%s' must be a list of texts", what);
		if (list_add(ret, text))
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int read_flag(const struct doc *d, const struct doc_node *map, const char *key, bool *ret, struct err *e)
{
	const struct doc_node *n = doc_get(map, key);
	if (doc_kind(n) != DOC_NULL && doc_bool(n, ret))
		return doc_err(d, n, e, "'%s' must be true or false", key);
	return 0;
}

static const char *const type_names[] = { "untyped", "string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean" };
#define TYPE_NAMES (sizeof type_names / sizeof *type_names)

const char *logical_type_name(enum logical_type t)
{
	return type_names[t];
}

enum logical_type logical_type_of(const char *name)
{
	for (size_t i = 1; name && i < TYPE_NAMES; i++)
		if (!strcmp(type_names[i], name))
			return (enum logical_type)i;
	return TYPE_NONE;
}

static int read_type(const struct doc *d, const struct doc_node *property, enum logical_type *ret, struct err *e)
{
	const struct doc_node *n = doc_get(property, "logicalType");
	if (doc_kind(n) == DOC_NULL)
		return 0;
	const char *text = doc_text(n);
	*ret = logical_type_of(text);
	if (*ret != TYPE_NONE)
		return 0;
	const char *near = text ? text_nearest(text, type_names + 1, TYPE_NAMES - 1) : NULL;
	if (near)
		return doc_err(d, n, e, "'%s' is no logicalType (did you mean '%s'?)", text, near);
	return doc_err(d, n, e, "logicalType must be one of string, date, timestamp, time, number, integer, object, array, boolean");
}

/* -- columns ---------------------------------------------------------------- */

struct column_list {
	struct contract_column *items;
	size_t count, capacity;
};

static struct contract_column *column_new(struct column_list *l)
{
	if (l->count == l->capacity) {
		size_t capacity = l->capacity ? l->capacity * 2 : 16;
		struct contract_column *more = realloc(l->items, capacity * sizeof *more);
		if (!more)
			return NULL;
		l->items = more;
		l->capacity = capacity;
	}
	struct contract_column *c = &l->items[l->count++];
	memset(c, 0, sizeof *c);
	return c;
}

static int read_properties(const struct doc *d, const struct doc_node *list, const char *prefix, struct column_list *out, struct err *e);

/* Below an array, a path goes on into its items: "orders.sku" is sku of every item of orders. */
static int read_nested(const struct doc *d, const struct doc_node *property, const char *name, struct column_list *out, struct err *e)
{
	char *prefix = text_format("%s.", name);
	if (!prefix)
		return err_set(e, -ENOMEM, "out of memory");
	int r = read_properties(d, doc_get(property, "properties"), prefix, out, e);
	const struct doc_node *items = doc_get(property, "items");
	for (int depth = 0; !r && items && depth < DOC_DEPTH_MAX; depth++) {
		r = read_properties(d, doc_get(items, "properties"), prefix, out, e);
		items = doc_get(items, "items");
	}
	free(prefix);
	return r;
}

static int read_column(const struct doc *d, const struct doc_node *property, const char *prefix, struct column_list *out, struct err *e)
{
	if (doc_kind(property) != DOC_MAP)
		return doc_err(d, property, e, "a property must be a map with a name");
	const char *name = doc_get_text(property, "physicalName");
	if (!name)
		name = doc_get_text(property, "name");
	if (!name || !*name)
		return doc_err(d, property, e, "a property without a name");
	if (out->count >= COLUMNS_MAX)
		return doc_err(d, property, e, "more than %u columns", COLUMNS_MAX);
	struct contract_column c;
	memset(&c, 0, sizeof c);
	struct string_list tags = { NULL, 0 };
	int r = read_type(d, property, &c.type, e);
	if (!r)
		r = read_texts(d, doc_get(property, "tags"), "tags", &tags, e);
	if (!r)
		r = read_flag(d, property, "required", &c.required, e);
	if (!r)
		r = read_flag(d, property, "unique", &c.unique, e);
	if (!r)
		r = read_flag(d, property, "primaryKey", &c.primary_key, e);
	c.whole = (c.type == TYPE_OBJECT || c.type == TYPE_ARRAY) &&
		  (c.unique || c.primary_key || doc_count(doc_get(property, "logicalTypeOptions")) || doc_count(doc_get(property, "quality")) ||
		   doc_count(doc_get(property, "items")));
	const struct doc_node *classification = doc_get(property, "classification");
	if (!r && doc_kind(classification) != DOC_NULL && !doc_text(classification))
		r = doc_err(d, classification, e, "'classification' must be a text");
	char *full = r ? NULL : text_format("%s%s", prefix, name);
	struct contract_column *to = full ? column_new(out) : NULL;
	if (!to) {
		free(full);
		free(tags.items);
		return r ? r : err_set(e, -ENOMEM, "out of memory");
	}
	*to = c;
	to->name = full;
	to->tags = tags.items;
	to->tag_count = tags.count;
	to->classification = doc_text(classification);
	to->node = property;
	return read_nested(d, property, full, out, e);
}

static int read_properties(const struct doc *d, const struct doc_node *list, const char *prefix, struct column_list *out, struct err *e)
{
	if (doc_kind(list) == DOC_NULL)
		return 0;
	if (doc_kind(list) != DOC_LIST)
		return doc_err(d, list, e, "'properties' must be a list");
	for (size_t i = 0; i < doc_count(list); i++) {
		int r = read_column(d, doc_item(list, i), prefix, out, e);
		if (r)
			return r;
	}
	return 0;
}

/* Two columns of one name would make it a matter of luck which rule a value meets. */
static int check_twice(const struct doc *d, const struct contract_object *o, struct err *e)
{
	struct map *seen = map_new();
	int r = seen ? 0 : err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < o->column_count && !r; i++) {
		const struct contract_column *c = &o->columns[i];
		if (map_gets(seen, c->name))
			r = doc_err(d, c->node, e, "column '%s' is described twice", c->name);
		else if (map_sets(seen, c->name, (void *)(uintptr_t)c))
			r = err_set(e, -ENOMEM, "out of memory");
	}
	map_free(seen, NULL);
	return r;
}

static int read_object(const struct doc *d, const struct doc_node *n, struct contract_object *ret, struct err *e)
{
	if (doc_kind(n) != DOC_MAP || !doc_get_text(n, "name"))
		return doc_err(d, n, e, "a schema object must be a map with a name");
	ret->name = doc_get_text(n, "name");
	ret->node = n;
	const struct doc_node *files = doc_get(n, "physicalName");
	if (doc_kind(files) != DOC_NULL && !doc_text(files))
		return doc_err(d, files, e, "'physicalName' must be a text (a glob over the version's files)");
	ret->files = doc_text(files);
	const char *physical = doc_get_text(n, "physicalType");
	ret->document = physical && !strcmp(physical, "document");
	struct column_list columns = { NULL, 0, 0 };
	int r = read_properties(d, doc_get(n, "properties"), "", &columns, e);
	ret->columns = columns.items;
	ret->column_count = columns.count;
	return r ? r : check_twice(d, ret, e);
}

static int read_schema(struct contract *c, struct err *e)
{
	const struct doc_node *schema = doc_get(doc_root(c->doc), "schema");
	if (doc_kind(schema) == DOC_NULL)
		return 0;
	if (doc_kind(schema) != DOC_LIST)
		return doc_err(c->doc, schema, e, "'schema' must be a list of objects");
	size_t count = doc_count(schema);
	if (count > OBJECTS_MAX)
		return doc_err(c->doc, schema, e, "more than %u schema objects", OBJECTS_MAX);
	c->objects = calloc(count ? count : 1, sizeof *c->objects);
	if (!c->objects)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++) {
		c->object_count++;
		int r = read_object(c->doc, doc_item(schema, i), &c->objects[i], e);
		if (r)
			return r;
	}
	return 0;
}

/* -- what policy asks of a contract ---------------------------------------- */

/* `team` is a list of members (v3.0) or a map with `name` and `members` (v3.1). */
static int read_team(struct contract *c, struct err *e)
{
	const struct doc_node *team = doc_get(doc_root(c->doc), "team");
	const struct doc_node *members = doc_kind(team) == DOC_MAP ? doc_get(team, "members") : team;
	const char *name = doc_kind(team) == DOC_MAP ? doc_get_text(team, "name") : NULL;
	if (name && list_add(&c->team, name))
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < doc_count(members); i++) {
		const char *user = doc_get_text(doc_item(members, i), "username");
		if (user && list_add(&c->team, user))
			return err_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int read_purposes(struct contract *c, struct err *e)
{
	const struct doc_node *custom = doc_get(doc_root(c->doc), "customProperties");
	for (size_t i = 0; i < doc_count(custom); i++) {
		const struct doc_node *p = doc_item(custom, i);
		const char *name = doc_get_text(p, "property");
		if (!name || strcmp(name, "allowedPurposes") != 0)
			continue;
		const struct doc_node *value = doc_get(p, "value");
		c->has_purposes = true;
		if (doc_text(value)) /* one purpose may be written without a list */
			return list_add(&c->purposes, doc_text(value)) ? err_set(e, -ENOMEM, "out of memory") : 0;
		return read_texts(c->doc, value, "allowedPurposes", &c->purposes, e);
	}
	return 0;
}

static int check_head(struct contract *c, struct err *e)
{
	const struct doc_node *root = doc_root(c->doc);
	if (doc_kind(root) != DOC_MAP)
		return doc_err(c->doc, root, e, "not a data contract (ODCS): a map with apiVersion and kind is expected");
	const char *kind = doc_get_text(root, "kind");
	if (!kind || strcmp(kind, "DataContract") != 0)
		return doc_err(c->doc, kind ? doc_get(root, "kind") : root, e, "'kind' must be DataContract");
	const char *api = doc_get_text(root, "apiVersion");
	if (!api)
		return doc_err(c->doc, root, e, "'apiVersion' is missing (v3.1.0, for example)");
	if (!text_starts(api, "v3.") && !text_starts(api, "v2.2."))
		return doc_err(c->doc, doc_get(root, "apiVersion"), e, "apiVersion '%s' is not known; v3.1.0 and before are", api);
	return 0;
}

int contract_parse(const char *name, const char *text, size_t len, struct contract **ret, struct err *e)
{
	struct contract *c = calloc(1, sizeof *c);
	if (!c)
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	atomic_init(&c->refs, 1);
	int r = doc_parse(name, text, len, &c->doc, e);
	if (!r && !(c->text = strndup(text, len)))
		r = err_set(e, -ENOMEM, "%s: out of memory", name);
	if (!r)
		r = check_head(c, e);
	if (!r)
		r = read_schema(c, e);
	if (!r)
		r = read_texts(c->doc, doc_get(doc_root(c->doc), "tags"), "tags", &c->tags, e);
	if (!r)
		r = read_team(c, e);
	if (!r)
		r = read_purposes(c, e);
	if (r) {
		contract_unref(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct contract *contract_ref(struct contract *c)
{
	if (c)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void contract_unref(struct contract *c)
{
	if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
		return;
	for (size_t i = 0; i < c->object_count; i++) {
		for (size_t k = 0; k < c->objects[i].column_count; k++) {
			free((char *)c->objects[i].columns[k].name);
			free((void *)c->objects[i].columns[k].tags);
		}
		free((void *)c->objects[i].columns);
	}
	free(c->objects);
	free(c->tags.items);
	free(c->team.items);
	free(c->purposes.items);
	doc_free(c->doc);
	free(c->text);
	free(c);
}

const struct doc *contract_doc(const struct contract *c)
{
	return c->doc;
}

const char *contract_text(const struct contract *c)
{
	return c->text;
}

const char *contract_status(const struct contract *c)
{
	return doc_get_text(doc_root(c->doc), "status");
}

const char *contract_title(const struct contract *c)
{
	return doc_get_text(doc_root(c->doc), "name");
}

const char *contract_description(const struct contract *c)
{
	return doc_text(doc_path(doc_root(c->doc), "description.purpose"));
}

bool contract_end(const struct contract *c, char ret[CLOCK_TEXT_MAX])
{
	const struct doc_node *sla = doc_get(doc_root(c->doc), "slaProperties");
	int64_t when, first = INT64_MAX;
	for (size_t i = 0; i < doc_count(sla); i++) {
		const struct doc_node *p = doc_item(sla, i);
		const char *name = doc_get_text(p, "property"), *value = doc_get_text(p, "value");
		if (!name || !value || (strcmp(name, "endOfSupport") != 0 && strcmp(name, "endOfLife") != 0) || strlen(value) >= CLOCK_TEXT_MAX ||
		    clock_parse(value, &when) || when >= first)
			continue;
		first = when;
		memcpy(ret, value, strlen(value) + 1);
	}
	return first != INT64_MAX;
}

size_t contract_tags(const struct contract *c, const char *const **ret)
{
	*ret = c->tags.items;
	return c->tags.count;
}

size_t contract_team(const struct contract *c, const char *const **ret)
{
	*ret = c->team.items;
	return c->team.count;
}

bool contract_allowed_purposes(const struct contract *c, const char *const **ret, size_t *ret_count)
{
	*ret = c->purposes.items;
	*ret_count = c->purposes.count;
	return c->has_purposes;
}

size_t contract_objects(const struct contract *c, const struct contract_object **ret)
{
	*ret = c->objects;
	return c->object_count;
}

static bool claims(const struct contract *c, const struct contract_object *o, const char *path)
{
	return o->files ? text_glob(o->files, path) : c->object_count == 1 && path_is_tabular(path);
}

const struct contract_object *contract_object_for(const struct contract *c, const char *path)
{
	const struct contract_object *document = NULL;
	for (size_t i = 0; i < c->object_count; i++) {
		const struct contract_object *o = &c->objects[i];
		if ((o->document && document) || !claims(c, o, path))
			continue;
		if (!o->document)
			return o;
		document = o;
	}
	return document;
}

const struct contract_object *contract_object_second(const struct contract *c, const char *path)
{
	size_t tables = 0;
	for (size_t i = 0; i < c->object_count; i++)
		if (!c->objects[i].document && claims(c, &c->objects[i], path) && tables++)
			return &c->objects[i];
	return NULL;
}

const struct contract_column *contract_column_find(const struct contract_object *o, const char *name, size_t name_len)
{
	for (size_t i = 0; i < o->column_count; i++)
		if (strlen(o->columns[i].name) == name_len && !memcmp(o->columns[i].name, name, name_len))
			return &o->columns[i];
	return NULL;
}

bool path_is_tabular(const char *path)
{
	static const char *const lines[] = { ".csv", ".tsv", ".psv", ".jsonl", ".ndjson" };
	static const char *const packed[] = { "", ".gz", ".zst" };
	if (text_ends(path, ".parquet"))
		return true;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		for (size_t k = 0; k < sizeof packed / sizeof *packed; k++) {
			size_t n = strlen(path), m = strlen(lines[i]), p = strlen(packed[k]);
			if (n > m + p && !memcmp(path + n - p, packed[k], p) && !memcmp(path + n - p - m, lines[i], m))
				return true;
		}
	return false;
}

bool contract_object_header(const struct contract_object *o)
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
