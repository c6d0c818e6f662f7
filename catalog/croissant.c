#include "catalog/croissant.h"

#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <string.h>

/* The context that the specification's examples give, version 1.1. */
static const char context[] =
	"{\"@language\":\"en\",\"@vocab\":\"https://schema.org/\",\"arrayShape\":\"cr:arrayShape\",\"citeAs\":\"cr:citeAs\",\"column\":\"cr:column\","
	"\"conformsTo\":\"dct:conformsTo\",\"containedIn\":\"cr:containedIn\",\"cr\":\"http://mlcommons.org/croissant/\","
	"\"rai\":\"http://mlcommons.org/croissant/RAI/\",\"data\":{\"@id\":\"cr:data\",\"@type\":\"@json\"},"
	"\"dataType\":{\"@id\":\"cr:dataType\",\"@type\":\"@vocab\"},\"dct\":\"http://purl.org/dc/terms/\","
	"\"description\":{\"@container\":\"@language\"},\"equivalentProperty\":\"cr:equivalentProperty\","
	"\"examples\":{\"@id\":\"cr:examples\",\"@type\":\"@json\"},\"extract\":\"cr:extract\",\"field\":\"cr:field\","
	"\"fileProperty\":\"cr:fileProperty\",\"fileObject\":\"cr:fileObject\",\"fileSet\":\"cr:fileSet\",\"format\":\"cr:format\","
	"\"includes\":\"cr:includes\",\"isArray\":\"cr:isArray\",\"isLiveDataset\":\"cr:isLiveDataset\",\"jsonPath\":\"cr:jsonPath\","
	"\"key\":\"cr:key\",\"md5\":\"cr:md5\",\"name\":{\"@container\":\"@language\"},\"parentField\":\"cr:parentField\",\"path\":\"cr:path\","
	"\"recordSet\":\"cr:recordSet\",\"references\":\"cr:references\",\"regex\":\"cr:regex\",\"repeated\":\"cr:repeated\","
	"\"replace\":\"cr:replace\",\"samplingRate\":\"cr:samplingRate\",\"sc\":\"https://schema.org/\",\"separator\":\"cr:separator\","
	"\"source\":\"cr:source\",\"subField\":\"cr:subField\",\"transform\":\"cr:transform\"}";

/* What tools load from; others are files and no more. */
static const char *record_format(const char *path)
{
	static const struct {
		const char *ending, *type;
	} formats[] = {
		{ ".csv", "text/csv" },
		{ ".tsv", "text/tab-separated-values" },
		{ ".jsonl", "application/jsonlines" },
		{ ".ndjson", "application/jsonlines" },
		{ ".parquet", "application/x-parquet" },
		{ ".parq", "application/x-parquet" },
	};
	for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
		if (text_ends(path, formats[i].ending))
			return formats[i].type;
	}
	return NULL;
}

static const char *data_type(const struct contract_column *column)
{
	switch (column->type) {
	case TYPE_INTEGER:
		return "sc:Integer";
	case TYPE_NUMBER:
		return "sc:Float";
	case TYPE_BOOLEAN:
		return "sc:Boolean";
	case TYPE_DATE:
		return "sc:Date";
	case TYPE_TIMESTAMP:
		return "sc:DateTime";
	default:
		return "sc:Text";
	}
}

/* A column of the file itself: nested ones are parts of such a column. */
static bool is_field(const struct contract_column *column)
{
	const bool holds_others = column->type == TYPE_OBJECT || column->type == TYPE_ARRAY || doc_get(column->node, "properties") || doc_get(column->node, "items");
	return !strchr(column->name, '.') && !holds_others;
}

/* How many bytes of white space, of any script, a text begins with: 0 or one character's. */
static size_t space_bytes(const char *text)
{
	static const char *const wide[] = { "\xc2\x85", "\xc2\xa0", "\xe1\x9a\x80", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80" };
	if (*text == ' ' || (*text >= '\t' && *text <= '\r') || (*text >= 0x1c && *text <= 0x1f))
		return 1;
	for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
		if (text_starts(text, wide[i]))
			return strlen(wide[i]);
	return text_starts(text, "\xe2\x80") && (unsigned char)text[2] >= 0x80 && (unsigned char)text[2] <= 0x8a ? 3 : 0;
}

/* No id may hold white space: a name with such gets '_' in its place, and a mark of its own. */
static void add_id(struct json *j, const char *first, const char *second)
{
	struct buf id = BUF_INIT;
	buf_addf(&id, "%s%s%s", first, second ? "/" : "", second ? second : "");
	const uint64_t mark = xxh64_of(buf_text(&id), id.len);
	bool changed = false;
	for (size_t i = 0, n; i < id.len; i += n ? n : 1) {
		n = space_bytes(id.data + i);
		memset(id.data + i, '_', n);
		changed |= n > 0;
	}
	if (changed)
		buf_addf(&id, "-%06x", (unsigned)(mark & 0xffffff));
	json_field_text(j, "@id", buf_text(&id));
	buf_free(&id);
}

/* -- record sets ------------------------------------------------------------------------------------ */

static void add_field(struct json *j, const char *set, const char *path, const struct contract_column *column)
{
	const char *description = doc_get_text(column->node, "description");
	json_open(j, '{');
	json_field_text(j, "@type", "cr:Field");
	add_id(j, set, column->name);
	json_field_text(j, "name", column->name);
	if (description)
		json_field_text(j, "description", description);
	json_field_text(j, "dataType", data_type(column));
	json_key(j, "source");
	json_open(j, '{');
	json_key(j, "fileObject");
	json_open(j, '{');
	add_id(j, path, NULL);
	json_close(j, '}');
	json_key(j, "extract");
	json_open(j, '{');
	json_field_text(j, "column", column->name);
	json_close(j, '}');
	json_close(j, '}');
	json_close(j, '}');
}

static void add_record_set(struct croissant *c, const struct contract_object *o, const char *path)
{
	struct json *j = &c->records_json;
	struct buf set = BUF_INIT;
	size_t fields = 0;
	for (size_t i = 0; i < o->column_count && contract_object_header(o); i++) /* tools take the first line for a head */
		fields += is_field(&o->columns[i]);
	if (!fields || c->record_sets++ >= CROISSANT_RECORD_SETS_MAX)
		return;
	buf_addf(&set, "records/%s", path);
	json_open(j, '{');
	json_field_text(j, "@type", "cr:RecordSet");
	add_id(j, buf_text(&set), NULL);
	json_field_text(j, "name", buf_text(&set));
	if (o->name)
		json_field_text(j, "description", o->name);
	json_key(j, "field");
	json_open(j, '[');
	for (size_t i = 0; i < o->column_count; i++) {
		if (is_field(&o->columns[i]))
			add_field(j, buf_text(&set), path, &o->columns[i]);
	}
	json_close(j, ']');
	json_close(j, '}');
	buf_free(&set);
}

/* -- the document ------------------------------------------------------------------------------------- */

void croissant_start(struct croissant *c, const struct croissant_info *info, struct contract *contract, struct buf *out)
{
	char when[CLOCK_TEXT_MAX];
	struct json *j = &c->j;
	*c = (struct croissant){ .out = out, .info = info, .contract = contract };
	json_start(&c->records_json, &c->records);
	json_open(&c->records_json, '[');
	json_start(j, out);
	json_open(j, '{');
	json_key(j, "@context");
	json_raw(j, context);
	json_field_text(j, "@type", "sc:Dataset");
	json_field_text(j, "conformsTo", "http://mlcommons.org/croissant/1.1");
	json_field_text(j, "name", info->name);
	if (info->title)
		json_field_text(j, "alternateName", info->title);
	json_field_text(j, "description", info->description ? info->description : info->title ? info->title : info->name);
	json_field_text(j, "version", info->version);
	json_field_text(j, "identifier", info->address);
	clock_format_ns(info->published_ns, when);
	json_field_text(j, "datePublished", when);
	if (info->owner) {
		json_key(j, "creator");
		json_open(j, '{');
		json_field_text(j, "@type", "sc:Organization");
		json_field_text(j, "name", info->owner);
		json_close(j, '}');
	}
	json_key(j, "distribution");
	json_open(j, '[');
}

void croissant_file(struct croissant *c, const struct croissant_content *f)
{
	struct json *j = &c->j;
	struct buf text = BUF_INIT;
	const char *format = record_format(f->path);
	json_open(j, '{');
	json_field_text(j, "@type", "cr:FileObject");
	add_id(j, f->path, NULL);
	json_field_text(j, "name", f->path);
	buf_addf(&text, "%s%s", c->info->prefix, f->path);
	json_field_text(j, "contentUrl", buf_text(&text));
	json_field_text(j, "encodingFormat", format ? format : f->media_type);
	if (f->size_known) {
		buf_clear(&text);
		buf_addf(&text, "%llu B", (unsigned long long)f->size);
		json_field_text(j, "contentSize", buf_text(&text));
	}
	if (f->sha256)
		json_field_text(j, "sha256", f->sha256);
	c->unhashed |= !f->sha256;
	json_close(j, '}');
	buf_free(&text);
	const struct contract_object *o = c->contract && format ? contract_object_for(c->contract, f->path) : NULL;
	if (o)
		add_record_set(c, o, f->path);
}

int croissant_end(struct croissant *c)
{
	struct json *j = &c->j;
	json_close(j, ']');
	json_close(&c->records_json, ']');
	int r = buf_check(&c->records);
	if (!r && c->record_sets) {
		json_key(j, "recordSet");
		json_raw(j, buf_text(&c->records));
	}
	/* The one way that the format has to say that a file comes without its SHA-256. */
	if (c->unhashed)
		json_field_bool(j, "isLiveDataset", true);
	json_close(j, '}');
	buf_addc(c->out, '\n');
	buf_free(&c->records);
	return r ? r : buf_check(c->out);
}
