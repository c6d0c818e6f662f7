#include "fs/show_changes.h"

#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/compat.h"
#include "catalog/contract.h"
#include "catalog/manifest.h"
#include "fs/show_columns.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct side {
	struct version_info v;
	struct contract *contract;
	struct manifest *manifest;
	bool whole; /* the caller may know what is counted of its bytes */
	struct doc *quality; /* results of checks that he may know, or NULL */
	int64_t rows;        /* -1: they do not say */
	bool found;
};

static int side_open(const struct browse *b, struct browse_domain *d, const struct address *a, struct side *s, struct err *e)
{
	int r = browse_version(b, d, a, &s->v, e);
	if (r)
		return r;
	s->found = true;
	s->whole = browse_outcome(b, d, a->product, &s->v, NULL) == OUTCOME_ALLOW;
	struct buf found = BUF_INIT;
	if (s->whole && !snapshot_quality(d->snapshot, a->product, &s->v.number, &found))
		doc_parse("quality", buf_text(&found), found.len, &s->quality, NULL);
	buf_free(&found);
	if (!s->quality || doc_int(doc_get(doc_root(s->quality), "rows"), &s->rows))
		s->rows = -1;
	browse_contract(b, d, a->product, &s->v, &s->contract, NULL);
	if (s->whole && s->v.status != VERSION_WITHDRAWN)
		r = domain_manifest(d->domain, a->product, &s->v, &s->manifest, e);
	return r;
}

static void side_close(struct side *s)
{
	if (s->found)
		version_info_fini(&s->v);
	contract_unref(s->contract);
	doc_free(s->quality);
	manifest_unref(s->manifest);
}

/* -- files ---------------------------------------------------------------------------------------- */

struct tally {
	struct manifest *other;
	uint64_t same, changed, absent;
	int code;
};

static int tally_file(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct tally *t = arg;
	struct manifest_entry there;
	if (entry->kind != ENTRY_FILE)
		return 0;
	int r = manifest_resolve(t->other, path, &there);
	if (r == -ENOENT || r == -ENOTDIR || (!r && there.kind != ENTRY_FILE))
		t->absent++;
	else if (r)
		t->code = r;
	else if (digest_equal(&there.content, &entry->content) && there.size == entry->size)
		t->same++;
	else
		t->changed++;
	return t->code != 0;
}

/* -- the answer ------------------------------------------------------------------------------------- */

static void number(bool as_json, struct json *j, struct buf *out, const char *key, int64_t before, int64_t after)
{
	if (as_json) {
		json_key(j, key);
		json_open(j, '[');
		json_int(j, before);
		json_int(j, after);
		json_close(j, ']');
		return;
	}
	buf_addf(out, "%-13s %" PRId64 " -> %" PRId64 " (%+" PRId64 ")\n", key, before, after, after - before);
}

static void schema(bool as_json, struct json *j, struct buf *out, const struct side *a, const struct side *b)
{
	struct buf changes = BUF_INIT;
	const char *step = NULL;
	if (a->contract && b->contract)
		step = compat_step_name(compat_compare(a->contract, b->contract, &changes));
	if (as_json) {
		json_field_text(j, "step", step);
		json_key(j, "schema");
		json_open(j, '[');
	}
	char *save = NULL, *text = buf_take(&changes);
	bool any = false;
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save), any = true) {
		if (as_json) {
			json_text(j, line);
		} else {
			buf_addf(out, "%-13s ", any ? "" : "schema");
			browse_add_safe(out, line);
			buf_addc(out, '\n');
		}
	}
	free(text);
	if (as_json)
		json_close(j, ']');
	else if (!any)
		buf_addf(out, "%-13s %s\n", "schema", step ? "unchanged" : "not known: a version has no contract");
}

static int files(bool as_json, struct json *j, struct buf *out, const struct side *a, const struct side *b)
{
	struct tally after = { .other = a->manifest }, before = { .other = b->manifest };
	int r = manifest_walk(b->manifest, tally_file, &after);
	if (r >= 0 && !after.code)
		r = manifest_walk(a->manifest, tally_file, &before);
	if (r < 0 || after.code || before.code)
		return r < 0 ? r : after.code ? after.code : before.code;
	if (as_json) {
		json_field_int(j, "files_added", (int64_t)after.absent);
		json_field_int(j, "files_changed", (int64_t)after.changed);
		json_field_int(j, "files_removed", (int64_t)before.absent);
		json_field_int(j, "files_same", (int64_t)after.same);
	} else {
		buf_addf(out, "%-13s %" PRIu64 " added, %" PRIu64 " changed, %" PRIu64 " removed, %" PRIu64 " the same\n", "", after.absent,
			 after.changed, before.absent, after.same);
	}
	return 0;
}

int show_changes(const struct browse *b, struct browse_domain *d, const struct address *from, const char *to, bool as_json, struct json *j,
		 struct buf *out, struct err *e)
{
	struct side first = { 0 }, second = { 0 };
	struct address other;
	char *text = strchr(to, '/') ? strdup(to) : text_format("%s/%s/%s", from->domain, from->product, to);
	int r = text ? address_parse(text, &other, e) : err_set(e, -ENOMEM, "no memory");
	if (!r && (!*from->version || !*other.version || *from->path || *other.path || strcmp(from->domain, other.domain) != 0 ||
		   strcmp(from->product, other.product) != 0))
		r = options_wrong(e, "show", "--changes compares two versions of one product, as in: meshfs show sales/orders/1.0.0 --changes 1.1.0");
	if (!r)
		r = side_open(b, d, from, &first, e);
	if (!r)
		r = side_open(b, d, &other, &second, e);
	if (!r) {
		if (as_json) {
			json_field_text(j, "from", first.v.version);
			json_field_text(j, "to", second.v.version);
		} else {
			buf_addf(out, "%s/%s: %s -> %s\n", from->domain, from->product, first.v.version, second.v.version);
		}
		schema(as_json, j, out, &first, &second);
		if (first.rows >= 0 && second.rows >= 0)
			number(as_json, j, out, "rows", first.rows, second.rows);
		if (first.whole && second.whole) {
			number(as_json, j, out, "bytes", (int64_t)first.v.bytes, (int64_t)second.v.bytes);
			number(as_json, j, out, "files", (int64_t)first.v.files, (int64_t)second.v.files);
		}
		show_column_changes(first.quality, second.quality, as_json, j, out);
		if (first.manifest && second.manifest && (r = files(as_json, j, out, &first, &second)))
			err_set(e, r, "a manifest cannot be read: %s", strerror(-r));
	}
	side_close(&first);
	side_close(&second);
	free(text);
	return r;
}
