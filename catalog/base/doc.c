#include "catalog/base/doc.h"

#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <libfyaml.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A document that refers to one anchor very often could expand beyond all bounds when it is walked. */
#define NODES_MAX 2000000u
#define JSON_BYTES_MAX (64u << 20)
/* A document with its aliases written out: WRITTEN_SPARE bytes and so many times its own; without aliases it never has more than twice its own. */
#define WRITTEN_SPARE (1u << 20)
#define WRITTEN_SHARE 4u

struct doc_node {
	enum doc_kind kind;
	bool quoted;
	int line, column;
	char *text;             /* scalars */
	size_t count, capacity; /* children; for a map, keys and values alternate in `children` */
	struct doc_node **children;
	char *anchor;
	size_t written;        /* bytes of text and values, with aliases written out */
	int height;            /* levels below it, likewise */
	struct doc_node *next; /* every node of the document, for doc_free */
};

struct doc {
	char *name;
	struct doc_node *root, *all;
	size_t nodes;
};

/* -- building ---------------------------------------------------------- */

struct builder {
	struct doc *doc;
	struct fy_diag *diag; /* collects the parser's complaints; without it they go to stderr */
	struct fy_parser *parser;
	struct err *err;
	int depth;
	size_t written_max; /* of a node's `written` */
};

static struct doc_node *node_new(struct builder *b, enum doc_kind kind, const struct fy_mark *mark)
{
	if (b->doc->nodes >= NODES_MAX)
		return NULL;
	struct doc_node *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	n->kind = kind;
	n->written = 1;
	n->line = mark ? mark->line + 1 : 0;
	n->column = mark ? mark->column + 1 : 0;
	n->next = b->doc->all;
	b->doc->all = n;
	b->doc->nodes++;
	return n;
}

static int node_add(struct doc_node *parent, struct doc_node *child)
{
	parent->written += child->written;
	if (parent->height <= child->height)
		parent->height = child->height + 1;
	if (parent->count == parent->capacity) {
		size_t capacity = parent->capacity ? parent->capacity * 2 : 4;
		struct doc_node **more = realloc(parent->children, capacity * sizeof *more);
		if (!more)
			return -ENOMEM;
		parent->children = more;
		parent->capacity = capacity;
	}
	parent->children[parent->count++] = child;
	return 0;
}

static int set_anchor(struct doc_node *n, struct fy_token *anchor)
{
	if (!anchor)
		return 0;
	size_t len;
	const char *name = fy_token_get_text(anchor, &len);
	n->anchor = name ? strndup(name, len) : NULL;
	return n->anchor ? 0 : -ENOMEM;
}

static int parse_node(struct builder *b, struct fy_event *event, struct doc_node **ret);

/* Aliases cost nothing to hold, but everything that walks the document walks them written out. */
static int check_written(struct builder *b, const struct doc_node *n)
{
	if (n->height > DOC_DEPTH_MAX)
		return err_at(b->err, b->doc->name, n->line, n->column, "nested deeper than %d levels with its aliases written out", DOC_DEPTH_MAX);
	if (n->written > b->written_max)
		return err_at(b->err, b->doc->name, n->line, n->column, "larger than %zu KiB with its aliases written out; repeat less of it",
			      b->written_max >> 10);
	return 0;
}

static int out_of_memory(struct builder *b)
{
	if (b->doc->nodes >= NODES_MAX)
		return err_set(b->err, -E2BIG, "%s: more than %u values", b->doc->name, NODES_MAX);
	return err_set(b->err, -ENOMEM, "%s: out of memory", b->doc->name);
}

/* The parser's first complaint, with its position. */
static int parser_error(struct builder *b)
{
	void *iter = NULL;
	struct fy_diag_error *problem = fy_diag_errors_iterate(b->diag, &iter);
	if (problem)
		return err_at(b->err, b->doc->name, problem->line, problem->column, "%s", problem->msg);
	return err_at(b->err, b->doc->name, 0, 0, "not valid YAML");
}

static int parse_scalar(struct builder *b, struct fy_event *event, struct doc_node **ret)
{
	struct fy_token *token = event->scalar.value;
	const struct fy_mark *mark = token ? fy_token_start_mark(token) : fy_event_start_mark(event);
	enum fy_scalar_style style = token ? fy_token_scalar_style(token) : FYSS_PLAIN;
	size_t len = 0;
	const char *text = token ? fy_token_get_text(token, &len) : "";
	if (text && memchr(text, '\0', len))
		return err_at(b->err, b->doc->name, mark ? mark->line + 1 : 0, mark ? mark->column + 1 : 0, "a NUL byte in a text");
	bool plain = style == FYSS_PLAIN;
	bool null = plain && (len == 0 || (len == 1 && *text == '~') || (len == 4 && (!memcmp(text, "null", 4) || !memcmp(text, "Null", 4) || !memcmp(text, "NULL", 4))));
	struct doc_node *n = node_new(b, null ? DOC_NULL : DOC_SCALAR, mark);
	if (!n)
		return out_of_memory(b);
	n->quoted = !plain;
	if (!null) {
		n->written += len;
		n->text = strndup(text ? text : "", len);
		if (!n->text)
			return out_of_memory(b);
	}
	if (set_anchor(n, event->scalar.anchor))
		return out_of_memory(b);
	*ret = n;
	return 0;
}

/* An alias becomes a reference to the anchored node itself: nothing is copied, so nothing can blow up. */
static int parse_alias(struct builder *b, struct fy_event *event, struct doc_node **ret)
{
	size_t len = 0;
	const char *name = fy_token_get_text(event->alias.anchor, &len);
	for (struct doc_node *n = b->doc->all; n; n = n->next)
		if (n->anchor && strlen(n->anchor) == len && !memcmp(n->anchor, name, len)) {
			*ret = n;
			return 0;
		}
	const struct fy_mark *mark = fy_event_start_mark(event);
	return err_at(b->err, b->doc->name, mark ? mark->line + 1 : 0, mark ? mark->column + 1 : 0, "no anchor is named '%.*s'",
		      (int)len, name ? name : "");
}

static int next_event(struct builder *b, struct fy_event **ret)
{
	*ret = fy_parser_parse(b->parser);
	return *ret ? 0 : parser_error(b);
}

static int parse_list(struct builder *b, struct fy_event *start, struct doc_node **ret)
{
	struct doc_node *list = node_new(b, DOC_LIST, fy_event_start_mark(start));
	if (!list)
		return out_of_memory(b);
	for (;;) {
		struct fy_event *event;
		int r = next_event(b, &event);
		if (r)
			return r;
		bool end = event->type == FYET_SEQUENCE_END;
		struct doc_node *item = NULL;
		if (!end)
			r = parse_node(b, event, &item);
		fy_parser_event_free(b->parser, event);
		if (end)
			break;
		if (r)
			return r;
		if (node_add(list, item))
			return out_of_memory(b);
		r = check_written(b, list);
		if (r)
			return r;
	}
	/* Only a finished node may be referred to: a list cannot contain itself. */
	if (set_anchor(list, start->sequence_start.anchor))
		return out_of_memory(b);
	*ret = list;
	return 0;
}

static const struct doc_node *find(const struct doc_node *map, const char *key)
{
	for (size_t i = 0; i + 1 < map->count; i += 2)
		if (map->children[i]->text && strcmp(map->children[i]->text, key) == 0)
			return map->children[i + 1];
	return NULL;
}

/* YAML's merge key: what `from` has and `map` has not. */
static int merge(struct builder *b, struct doc_node *map, const struct doc_node *from)
{
	for (size_t i = 0; i + 1 < from->count; i += 2) {
		if (find(map, from->children[i]->text))
			continue;
		if (node_add(map, from->children[i]) || node_add(map, from->children[i + 1]))
			return out_of_memory(b);
	}
	return 0;
}

static int parse_map(struct builder *b, struct fy_event *start, struct doc_node **ret)
{
	struct doc_node *map = node_new(b, DOC_MAP, fy_event_start_mark(start));
	if (!map)
		return out_of_memory(b);
	struct doc_node *merged = NULL;
	for (;;) {
		struct fy_event *event;
		int r = next_event(b, &event);
		if (r)
			return r;
		bool end = event->type == FYET_MAPPING_END;
		struct doc_node *key = NULL, *value = NULL;
		if (!end)
			r = parse_node(b, event, &key);
		fy_parser_event_free(b->parser, event);
		if (end)
			break;
		if (r)
			return r;
		if (key->kind == DOC_NULL && !key->text)
			key->text = strdup("null");
		if ((key->kind != DOC_SCALAR && key->kind != DOC_NULL) || !key->text)
			return err_at(b->err, b->doc->name, key->line, key->column, "a key must be a plain text");
		if (find(map, key->text))
			return err_at(b->err, b->doc->name, key->line, key->column, "'%s' stands here twice", key->text);
		r = next_event(b, &event);
		if (r)
			return r;
		r = parse_node(b, event, &value);
		fy_parser_event_free(b->parser, event);
		if (r)
			return r;
		if (!key->quoted && !strcmp(key->text, "<<") && value->kind == DOC_MAP) {
			merged = value;
			continue;
		}
		if (node_add(map, key) || node_add(map, value))
			return out_of_memory(b);
		r = check_written(b, map);
		if (r)
			return r;
	}
	if (merged) {
		int r = merge(b, map, merged);
		if (!r)
			r = check_written(b, map);
		if (r)
			return r;
	}
	if (set_anchor(map, start->mapping_start.anchor))
		return out_of_memory(b);
	*ret = map;
	return 0;
}

static int parse_node(struct builder *b, struct fy_event *event, struct doc_node **ret)
{
	if (b->depth >= DOC_DEPTH_MAX) {
		const struct fy_mark *mark = fy_event_start_mark(event);
		return err_at(b->err, b->doc->name, mark ? mark->line + 1 : 0, mark ? mark->column + 1 : 0, "nested deeper than %d levels",
			      DOC_DEPTH_MAX);
	}
	b->depth++;
	int r;
	switch (event->type) {
	case FYET_SCALAR:
		r = parse_scalar(b, event, ret);
		break;
	case FYET_ALIAS:
		r = parse_alias(b, event, ret);
		break;
	case FYET_SEQUENCE_START:
		r = parse_list(b, event, ret);
		break;
	case FYET_MAPPING_START:
		r = parse_map(b, event, ret);
		break;
	default:
		r = err_at(b->err, b->doc->name, 0, 0, "not valid YAML");
	}
	b->depth--;
	return r;
}

static int parse_stream(struct builder *b)
{
	int documents = 0;
	for (;;) {
		struct fy_event *event = fy_parser_parse(b->parser);
		if (!event)
			return fy_parser_get_stream_error(b->parser) ? parser_error(b) : 0;
		enum fy_event_type type = event->type;
		int r = 0;
		if (type == FYET_DOCUMENT_START && ++documents > 1)
			r = err_at(b->err, b->doc->name, 0, 0, "more than one YAML document in the file");
		else if (type == FYET_SCALAR || type == FYET_ALIAS || type == FYET_SEQUENCE_START || type == FYET_MAPPING_START)
			r = parse_node(b, event, &b->doc->root);
		fy_parser_event_free(b->parser, event);
		if (r || type == FYET_STREAM_END)
			return r;
	}
}

int doc_parse(const char *name, const char *text, size_t len, struct doc **ret, struct err *e)
{
	if (len > DOC_BYTES_MAX)
		return err_at(e, name, 0, 0, "larger than %u MiB", DOC_BYTES_MAX >> 20);
	if (!text_is_utf8(text, len))
		return err_at(e, name, 0, 0, "not UTF-8 text");
	struct builder b = { .err = e, .written_max = WRITTEN_SPARE + WRITTEN_SHARE * len };
	b.doc = calloc(1, sizeof *b.doc);
	if (!b.doc || !(b.doc->name = strdup(name))) {
		doc_free(b.doc);
		return err_set(e, -ENOMEM, "%s: out of memory", name);
	}
	struct fy_diag_cfg diag_config;
	fy_diag_cfg_default(&diag_config);
	diag_config.fp = NULL;
	b.diag = fy_diag_create(&diag_config);
	if (b.diag)
		fy_diag_set_collect_errors(b.diag, true);
	struct fy_parse_cfg config = {
		.search_path = "",
		.flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE | FYPCF_ALLOW_DUPLICATE_KEYS,
		.diag = b.diag,
	};
	b.parser = b.diag ? fy_parser_create(&config) : NULL;
	int r = b.parser && !fy_parser_set_string(b.parser, text, len) ? parse_stream(&b) : out_of_memory(&b);
	if (b.parser)
		fy_parser_destroy(b.parser);
	if (b.diag)
		fy_diag_destroy(b.diag);
	if (r) {
		doc_free(b.doc);
		return r;
	}
	*ret = b.doc;
	return 0;
}

int doc_read_file(const char *path, struct doc **ret, struct err *e)
{
	struct buf text = BUF_INIT;
	int r = io_read_file(path, DOC_BYTES_MAX, &text, e);
	if (!r)
		r = doc_parse(path, buf_text(&text), text.len, ret, e);
	buf_free(&text);
	return r;
}

void doc_free(struct doc *d)
{
	if (!d)
		return;
	while (d->all) {
		struct doc_node *n = d->all;
		d->all = n->next;
		free(n->children);
		free(n->text);
		free(n->anchor);
		free(n);
	}
	free(d->name);
	free(d);
}

/* -- reading ------------------------------------------------------------ */

const struct doc_node *doc_root(const struct doc *d)
{
	return d ? d->root : NULL;
}

const char *doc_name(const struct doc *d)
{
	return d->name;
}

enum doc_kind doc_kind(const struct doc_node *n)
{
	return n ? n->kind : DOC_NULL;
}

int doc_line(const struct doc_node *n)
{
	return n ? n->line : 0;
}

int doc_column(const struct doc_node *n)
{
	return n ? n->column : 0;
}

bool doc_quoted(const struct doc_node *n)
{
	return n && n->quoted;
}

const char *doc_text(const struct doc_node *n)
{
	return n && n->kind == DOC_SCALAR ? n->text : NULL;
}

int doc_bool(const struct doc_node *n, bool *ret)
{
	const char *t = doc_text(n);
	if (!t || n->quoted)
		return -EINVAL;
	if (!strcmp(t, "true") || !strcmp(t, "True") || !strcmp(t, "TRUE"))
		*ret = true;
	else if (!strcmp(t, "false") || !strcmp(t, "False") || !strcmp(t, "FALSE"))
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

int doc_int(const struct doc_node *n, int64_t *ret)
{
	const char *t = doc_text(n);
	if (!t || n->quoted || !*t || strspn(t, "+-0123456789") != strlen(t))
		return -EINVAL;
	char *end;
	errno = 0;
	long long v = strtoll(t, &end, 10);
	if (errno || *end || end == t)
		return -EINVAL;
	*ret = v;
	return 0;
}

int doc_double(const struct doc_node *n, double *ret)
{
	const char *t = doc_text(n);
	if (!t || n->quoted || !*t || strspn(t, "+-0123456789.eE") != strlen(t))
		return -EINVAL;
	char *end;
	double v = strtod(t, &end);
	if (*end || end == t || !isfinite(v))
		return -EINVAL;
	*ret = v;
	return 0;
}

size_t doc_count(const struct doc_node *n)
{
	if (!n)
		return 0;
	return n->kind == DOC_MAP ? n->count / 2 : n->kind == DOC_LIST ? n->count : 0;
}

const struct doc_node *doc_item(const struct doc_node *n, size_t i)
{
	if (i >= doc_count(n))
		return NULL;
	return n->kind == DOC_MAP ? n->children[2 * i + 1] : n->children[i];
}

const struct doc_node *doc_key_node(const struct doc_node *n, size_t i)
{
	return n && n->kind == DOC_MAP && i < doc_count(n) ? n->children[2 * i] : NULL;
}

const char *doc_key(const struct doc_node *n, size_t i)
{
	const struct doc_node *key = doc_key_node(n, i);
	return key ? key->text : NULL;
}

const struct doc_node *doc_get(const struct doc_node *map, const char *key)
{
	return map && map->kind == DOC_MAP ? find(map, key) : NULL;
}

const struct doc_node *doc_path(const struct doc_node *map, const char *dotted)
{
	while (map && *dotted) {
		size_t n = strcspn(dotted, ".");
		char key[128];
		if (n >= sizeof key)
			return NULL;
		memcpy(key, dotted, n);
		key[n] = '\0';
		map = doc_get(map, key);
		dotted += n + (dotted[n] == '.');
	}
	return map;
}

const char *doc_get_text(const struct doc_node *map, const char *key)
{
	return doc_text(doc_get(map, key));
}

int doc_err(const struct doc *d, const struct doc_node *n, struct err *e, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX / 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_at(e, d->name, doc_line(n), doc_column(n), "%s", text);
}

int doc_check_keys(const struct doc *d, const struct doc_node *map, const char *const *names, size_t count, struct err *e)
{
	for (size_t i = 0; i < doc_count(map); i++) {
		const char *key = doc_key(map, i);
		size_t k = 0;
		while (k < count && strcmp(names[k], key) != 0)
			k++;
		if (k < count)
			continue;
		const char *near = text_nearest(key, names, count);
		if (near)
			return doc_err(d, doc_key_node(map, i), e, "unknown key '%s' (did you mean '%s'?)", key, near);
		return doc_err(d, doc_key_node(map, i), e, "unknown key '%s'", key);
	}
	return 0;
}

static void write_scalar(struct json *j, const struct doc_node *n)
{
	bool truth;
	double number;
	if (!doc_bool(n, &truth)) {
		json_bool(j, truth);
	} else if (!doc_double(n, &number)) {
		/* Keep the digits as written where JSON allows the form. */
		const char *t = n->text;
		size_t digits = strspn(t + (*t == '-'), "0123456789");
		bool plain = digits > 0 && !t[(*t == '-') + digits] && (digits == 1 || t[*t == '-'] != '0');
		if (plain)
			json_raw(j, t);
		else
			json_double(j, number);
	} else {
		json_text(j, n->text);
	}
}

static void write_node(struct json *j, const struct doc_node *n)
{
	if (j->out->len > JSON_BYTES_MAX)
		j->out->failed = true;
	if (j->out->failed || !n || n->kind == DOC_NULL) { /* a key has its value, whatever becomes of the text */
		json_null(j);
	} else if (n->kind == DOC_SCALAR) {
		write_scalar(j, n);
	} else if (j->depth + 2 >= JSON_DEPTH_MAX) {
		json_null(j); /* aliases can nest deeper than the text does */
	} else {
		bool map = n->kind == DOC_MAP;
		json_open(j, map ? '{' : '[');
		for (size_t i = 0; i < doc_count(n) && !j->out->failed; i++) {
			if (map)
				json_key(j, doc_key(n, i));
			write_node(j, doc_item(n, i));
		}
		json_close(j, map ? '}' : ']');
	}
}

void doc_to_json(const struct doc_node *n, struct buf *out)
{
	struct json j;
	json_start(&j, out);
	write_node(&j, n);
}
