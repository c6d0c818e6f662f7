/* show: what is known of a domain, product, version or file. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "fs/browse.h"
#include "fs/commands.h"
#include "fs/show_changes.h"
#include "fs/show_measures.h"
#include "fs/show_ports.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct show {
	struct browse *b;
	struct browse_domain *d;
	bool json;
	struct json j;
	struct buf out;
	const char *product; /* whose versions are being listed */
	size_t listed;
};

/* -- fields: one set of calls for both forms ------------------------------------------------ */

static void field(struct show *s, const char *key, const char *text)
{
	if (s->json) {
		json_field_text(&s->j, key, text);
	} else if (text) {
		buf_addf(&s->out, "%-13s ", key);
		browse_add_safe(&s->out, text);
		buf_addc(&s->out, '\n');
	}
}

static void field_int(struct show *s, const char *key, int64_t v)
{
	if (s->json)
		json_field_int(&s->j, key, v);
	else
		buf_addf(&s->out, "%-13s %" PRId64 "\n", key, v);
}

static void field_size(struct show *s, const char *key, uint64_t bytes)
{
	char text[TEXT_SIZE_MAX];
	if (s->json) {
		json_field_int(&s->j, key, (int64_t)bytes);
		return;
	}
	text_size(bytes, text);
	buf_addf(&s->out, "%-13s %s", key, text);
	if (bytes >= 1024)
		buf_addf(&s->out, " (%" PRIu64 " bytes)", bytes);
	buf_addc(&s->out, '\n');
}

static void field_time(struct show *s, const char *key, int64_t when_ns)
{
	char text[CLOCK_TEXT_MAX];
	if (s->json) {
		json_field_time(&s->j, key, when_ns);
		return;
	}
	clock_format_local(when_ns, text);
	field(s, key, text);
}

static void field_hex(struct show *s, const char *key, const void *bytes, size_t len)
{
	char hex[SHA256_HEX_SIZE];
	hex_format(bytes, len, hex);
	field(s, key, hex);
}

/* Words from a contract: a JSON list, or one line. */
static void field_words(struct show *s, const char *key, const char *const *words, size_t count)
{
	if (!s->json) {
		if (count)
			buf_addf(&s->out, "%-13s", key);
		for (size_t i = 0; i < count; i++) {
			buf_adds(&s->out, i ? ", " : " ");
			browse_add_safe(&s->out, words[i]);
		}
		if (count)
			buf_addc(&s->out, '\n');
		return;
	}
	json_key(&s->j, key);
	json_open(&s->j, '[');
	for (size_t i = 0; i < count; i++)
		json_text(&s->j, words[i]);
	json_close(&s->j, ']');
}

/* -- contract and quality ------------------------------------------------------------------ */

static const char *type_of(const struct contract_column *c)
{
	const char *type = doc_get_text(c->node, "logicalType");
	return type ? type : doc_get_text(c->node, "physicalType");
}

static void show_column(struct show *s, const struct contract_object *o, const struct contract_column *c)
{
	const char *type = type_of(c), *description = doc_get_text(c->node, "description");
	if (s->json) {
		json_open(&s->j, '{');
		json_field_text(&s->j, "object", o->name);
		json_field_text(&s->j, "name", c->name);
		json_field_text(&s->j, "type", type);
		json_field_text(&s->j, "classification", c->classification);
		field_words(s, "tags", c->tags, c->tag_count);
		json_field_bool(&s->j, "required", c->required);
		json_field_bool(&s->j, "unique", c->unique);
		json_field_bool(&s->j, "primary_key", c->primary_key);
		json_field_text(&s->j, "description", description);
		json_close(&s->j, '}');
		return;
	}
	char *name = text_printable(c->name, strlen(c->name)), *about = description ? text_printable(description, strlen(description)) : NULL;
	char *secret = c->classification ? text_printable(c->classification, strlen(c->classification)) : NULL;
	char *kind = type ? text_printable(type, strlen(type)) : NULL;
	buf_addf(&s->out, "  %-24s %-10s %-14s %s\n", name ? name : "?", kind ? kind : "", secret ? secret : "unclassified", about ? about : "");
	free(name);
	free(about);
	free(secret);
	free(kind);
}

static void show_columns(struct show *s, const struct contract *c)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	if (s->json) {
		json_key(&s->j, "columns");
		json_open(&s->j, '[');
	}
	for (size_t o = 0; o < count; o++) {
		if (!s->json && objects[o].column_count) {
			buf_adds(&s->out, "\ncolumns of ");
			browse_add_safe(&s->out, objects[o].name);
			buf_addc(&s->out, '\n');
		}
		for (size_t i = 0; i < objects[o].column_count; i++)
			show_column(s, &objects[o], &objects[o].columns[i]);
	}
	if (s->json)
		json_close(&s->j, ']');
}

static void show_contract(struct show *s, const char *product, const struct version_info *v, bool whole)
{
	struct contract *c = NULL;
	const char *const *words;
	if (browse_contract(s->b, s->d, product, v, &c, NULL) || !c) {
		static const struct digest none;
		field(s, "contract", digest_equal(&v->contract, &none) ? NULL : "unreadable");
		return;
	}
	if (whole)
		field_hex(s, "contract", v->contract.bytes, SHA256_SIZE);
	const char *status = contract_status(c);
	char end[CLOCK_TEXT_MAX];
	if (contract_end(c, end))
		field(s, "ends", end);
	if (!s->json && status && (!strcmp(status, "deprecated") || !strcmp(status, "retired")))
		buf_addf(&s->out, "%-13s this product is %s: look for another one\n", "deprecation", status);
	size_t count = contract_team(c, &words);
	field_words(s, "team", words, count);
	count = contract_tags(c, &words);
	field_words(s, "tags", words, count);
	if (contract_allowed_purposes(c, &words, &count))
		field_words(s, "purposes", words, count);
	if (s->json)
		show_ports_json(s->d->snapshot, c, &s->j);
	else
		show_ports_lines(s->d->snapshot, c, &s->out);
	show_columns(s, c);
	contract_unref(c);
}

/* Results come from the store: they are read and written again, never copied into our JSON. */
static void show_quality(struct show *s, const char *product, const struct version_info *v)
{
	struct doc *doc = NULL;
	struct buf text = BUF_INIT, found = BUF_INIT;
	if (!snapshot_quality(s->d->snapshot, product, &v->number, &found) && !doc_parse("quality", buf_text(&found), found.len, &doc, NULL))
		doc_to_json(doc_root(doc), &text);
	if (s->json) {
		json_key(&s->j, "quality");
		if (text.len && !buf_check(&text))
			json_raw(&s->j, buf_text(&text));
		else
			json_null(&s->j);
	} else if (doc) {
		int64_t errors = 0, warnings = 0;
		const struct doc_node *root = doc_root(doc);
		doc_int(doc_get(root, "failed_errors"), &errors);
		doc_int(doc_get(root, "failed_warnings"), &warnings);
		buf_addf(&s->out, "%-13s %" PRId64 " failed, %" PRId64 " warnings\n", "quality", errors, warnings);
	}
	buf_free(&text);
	buf_free(&found);
	doc_free(doc);
}

/* -- what is shown ------------------------------------------------------------------------- */

static int show_product_line(void *arg, const struct product_info *p)
{
	struct show *s = arg;
	struct product_info seen;
	if (!browse_sees(s->b, s->d, p->name, NULL, NULL))
		return 0;
	if (s->json) {
		json_text(&s->j, p->name);
		return 0;
	}
	if (!s->listed++)
		buf_adds(&s->out, "\nproducts\n");
	buf_addf(&s->out, "  %-30s ", p->name);
	if (browse_product(s->b, s->d, p->name, &seen, NULL)) {
		buf_addc(&s->out, '\n');
		return 0;
	}
	browse_add_titled(&s->out, 12, seen.latest ? seen.latest : "withdrawn", seen.title);
	product_info_fini(&seen);
	return 0;
}

static int show_domain(struct show *s, struct err *e)
{
	const struct mesh_domain *config = s->d->config;
	field(s, "address", config->name);
	field(s, "kind", "domain");
	field(s, "store", config->store);
	field(s, "owner", config->owner);
	field(s, "status", s->d->reached ? "ok" : "unreachable");
	if (!s->b->policy) { /* generations count publications, of what is hidden as well */
		field_int(s, "generation", (int64_t)snapshot_generation(s->d->snapshot));
		field_time(s, "changed", snapshot_time_ns(s->d->snapshot));
	}
	if (s->json) {
		json_key(&s->j, "products");
		json_open(&s->j, '[');
	}
	int r = snapshot_products(s->d->snapshot, show_product_line, s);
	if (s->json)
		json_close(&s->j, ']');
	return r ? err_set(e, r, "%s: its catalog cannot be read: %s", config->name, strerror(-r)) : 0;
}

static int show_version_line(void *arg, const struct version_info *v)
{
	struct show *s = arg;
	char size[TEXT_SIZE_MAX], when[CLOCK_TEXT_MAX];
	const char *status = v->status == VERSION_WITHDRAWN ? "withdrawn" : v->failures_reason ? "failing" : "active";
	enum outcome outcome = browse_outcome(s->b, s->d, s->product, v, NULL);
	if (outcome == OUTCOME_HIDE)
		return 0;
	if (s->json) {
		json_open(&s->j, '{');
		json_field_text(&s->j, "version", v->version);
		json_field_text(&s->j, "status", status);
		json_field_time(&s->j, "published", v->published_ns);
		if (outcome == OUTCOME_ALLOW) {
			json_field_int(&s->j, "files", (int64_t)v->files);
			json_field_int(&s->j, "bytes", (int64_t)v->bytes);
		}
		json_close(&s->j, '}');
		return 0;
	}
	if (!s->listed++)
		buf_adds(&s->out, "\nversions\n");
	text_size(v->bytes, size);
	clock_format_local(v->published_ns, when);
	buf_addf(&s->out, "  %-14s %-10s %s", v->version, status, when);
	if (outcome == OUTCOME_ALLOW)
		buf_addf(&s->out, " %8" PRIu64 " file%s %11s", v->files, v->files == 1 ? " " : "s", size);
	buf_addc(&s->out, '\n');
	return 0;
}

/* Of all versions and readers: for who holds the mesh. */
static void show_measures(struct show *s, const char *product)
{
	struct product_measures m;
	struct map *uses = NULL;
	int64_t now = clock_now_ns();
	if (s->b->policy || product_measures(s->d->snapshot, product, now, &m))
		return;
	if (product_uses(s->b->mesh->lineage_db, &uses, NULL))
		uses = NULL; /* a database that cannot be opened is doctor's to tell */
	const struct product_use *use = uses ? product_use_of(uses, s->d->config->name, product) : NULL;
	if (s->json)
		show_measures_json(&m, use, now, &s->j);
	else
		show_measures_lines(&m, use, now, &s->out);
	product_uses_free(uses);
}

static int show_product(struct show *s, const char *product, struct err *e)
{
	struct product_info p;
	struct version_info v;
	char address[2 * NAME_SIZE + 1];
	int r = browse_product(s->b, s->d, product, &p, e);
	if (r)
		return r;
	snprintf(address, sizeof address, "%s/%s", s->d->config->name, product);
	field(s, "address", address);
	field(s, "kind", "product");
	field(s, "title", p.title);
	field(s, "description", p.description);
	field(s, "status", p.status);
	field(s, "owner", s->d->config->owner);
	field(s, "latest", p.latest);
	if (p.latest && !snapshot_version(s->d->snapshot, product, p.latest, &v)) {
		bool whole = browse_outcome(s->b, s->d, product, &v, NULL) == OUTCOME_ALLOW;
		if (whole) { /* results speak of all rows and columns */
			show_quality(s, product, &v);
			show_measures(s, product);
		}
		show_contract(s, product, &v, whole);
		version_info_fini(&v);
	}
	product_info_fini(&p);
	if (s->json) {
		json_key(&s->j, "versions");
		json_open(&s->j, '[');
	}
	s->product = product;
	r = snapshot_versions(s->d->snapshot, product, show_version_line, s);
	if (s->json)
		json_close(&s->j, ']');
	return r ? err_set(e, r, "%s: its catalog cannot be read: %s", s->d->config->name, strerror(-r)) : 0;
}

static void show_version(struct show *s, const char *product, const struct version_info *v)
{
	char address[2 * NAME_SIZE + VERSION_SIZE + 2];
	snprintf(address, sizeof address, "%s/%s/%s", s->d->config->name, product, v->version);
	field(s, "address", address);
	field(s, "kind", "version");
	field(s, "status", v->status == VERSION_WITHDRAWN ? "withdrawn" : v->failures_reason ? "failing" : "active");
	field(s, "withdrawn", v->withdrawn_reason);
	field(s, "failures", v->failures_reason);
	field_time(s, "published", v->published_ns);
	field(s, "publisher", v->publisher);
	field(s, "run", v->run);
	bool whole = browse_outcome(s->b, s->d, product, v, NULL) == OUTCOME_ALLOW;
	if (whole) {
		field_int(s, "files", (int64_t)v->files);
		field_size(s, "bytes", v->bytes);
		field_hex(s, "manifest", v->manifest.bytes, SHA256_SIZE);
		show_quality(s, product, v);
	}
	show_contract(s, product, v, whole);
}

static int show_entry(struct show *s, const struct address *a, const struct version_info *v, struct err *e)
{
	struct manifest *m = NULL;
	struct manifest_entry entry;
	struct buf link = BUF_INIT;
	enum outcome outcome = OUTCOME_HIDE;
	char *path = strdup(a->path), *address;
	size_t len = path ? strlen(path) : 0;
	while (len && path[len - 1] == '/')
		path[--len] = '\0';
	int r = path ? domain_manifest(s->d->domain, a->product, v, &m, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r) {
		r = manifest_resolve(m, path, &entry);
		outcome = browse_outcome(s->b, s->d, a->product, v, path);
		if (!r && outcome == OUTCOME_HIDE)
			r = -ENOENT;
		if (r)
			err_set(e, r, "%s/%s/%s/%s: %s", a->domain, a->product, v->version, path, r == -ENOENT ? "no such file" : strerror(-r));
	}
	if (!r && (address = text_format("%s/%s/%s/%s", a->domain, a->product, v->version, path))) {
		field(s, "address", address);
		field(s, "kind", entry.kind == ENTRY_FOLDER ? "folder" : entry.kind == ENTRY_SYMLINK ? "symlink" : "file");
		field_time(s, "modified", outcome == OUTCOME_ALLOW ? entry.mtime_ns : v->published_ns);
		if (entry.kind == ENTRY_FILE && outcome != OUTCOME_ALLOW) {
			field(s, "policy", outcome == OUTCOME_DENY ? "denied" : "a view");
		} else if (entry.kind == ENTRY_FILE) {
			field_size(s, "size", entry.size);
			field_hex(s, "hash", entry.hash.bytes, XXH128_SIZE);
			field_int(s, "chunks", entry.chunk_count);
		} else if (entry.kind == ENTRY_FOLDER && outcome == OUTCOME_ALLOW) {
			field_int(s, "entries", (int64_t)entry.child_count);
		} else if (outcome != OUTCOME_DENY && !manifest_link(m, entry.row, &link)) {
			field(s, "target", buf_text(&link));
		}
		free(address);
	}
	buf_free(&link);
	manifest_unref(m);
	free(path);
	return r;
}

static int show(struct show *s, const struct address *a, struct err *e)
{
	struct version_info v;
	if (!*a->product)
		return show_domain(s, e);
	if (!*a->version)
		return show_product(s, a->product, e);
	int r = browse_version(s->b, s->d, a, &v, e);
	if (r)
		return r;
	if (!*a->path)
		show_version(s, a->product, &v);
	else if (!(r = browse_served(a->domain, a->product, &v, e)))
		r = show_entry(s, a, &v, e);
	version_info_fini(&v);
	return r;
}

int cmd_show(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	bool json = false, changes = false;
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object", &json },
					     { "--changes", 0, OPTION_FLAG, NULL, "what changed from the first version to the second", &changes } };
	struct address a;
	struct browse b;
	int words;
	(void)ret_status;
	int r = options_parse("show ADDRESS [--changes VERSION] [--json]", "Describes a domain, product, version or file.", specs,
			      sizeof specs / sizeof *specs, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != (changes ? 2 : 1))
		return options_wrong(e, "show", changes ? "show --changes wants two versions" : "show wants one address");
	r = address_parse(argv[0], &a, e);
	if (!r)
		r = browse_open(inv, a.domain, &b, e);
	if (r)
		return r;
	struct show s = { .b = &b, .d = &b.domains[0], .json = json };
	json_start(&s.j, &s.out);
	if (json)
		json_open(&s.j, '{');
	r = browse_sees(&b, s.d, NULL, NULL, NULL) ? changes ? show_changes(&b, s.d, &a, argv[1], json, &s.j, &s.out, e) : show(&s, &a, e) : err_set(e, -ENOENT, "%s: no such domain", a.domain);
	if (json)
		json_close(&s.j, '}');
	if (json)
		buf_addc(&s.out, '\n');
	if (!r)
		browse_print(&s.out);
	buf_free(&s.out);
	browse_close(&b);
	return r;
}
