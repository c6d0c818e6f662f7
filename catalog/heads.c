#include "catalog/heads.h"

#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/json.h"
#include "catalog/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HINT_KEY ".mesh/HEAD"
#define GENERATION_MAX ((uint64_t)1 << 53) /* what every JSON reader keeps exactly */

void head_key(uint64_t generation, char ret_key[HEADS_KEY_SIZE])
{
	snprintf(ret_key, HEADS_KEY_SIZE, ".mesh/heads/%" PRIu64, generation);
}

static void hashed_key(const char *folder, const struct digest *digest, char ret_key[HEADS_KEY_SIZE])
{
	char hex[SHA256_HEX_SIZE];
	hex_format(digest->bytes, SHA256_SIZE, hex);
	snprintf(ret_key, HEADS_KEY_SIZE, ".mesh/%s/%s", folder, hex);
}

void snapshot_key(const struct digest *digest, char ret_key[HEADS_KEY_SIZE])
{
	hashed_key("snapshots", digest, ret_key);
}

void manifest_key(const struct digest *digest, char ret_key[HEADS_KEY_SIZE])
{
	hashed_key("manifests", digest, ret_key);
}

void rows_key(const struct digest *manifest, char ret_key[HEADS_KEY_SIZE])
{
	hashed_key("rows", manifest, ret_key);
}

/* -- form ---------------------------------------------------------------------------------- */

void head_format(const struct head *h, struct buf *ret)
{
	struct json j;
	char hex[SHA256_HEX_SIZE];
	hex_format(h->snapshot.bytes, SHA256_SIZE, hex);
	json_start(&j, ret);
	json_open(&j, '{');
	json_field_int(&j, "format", HEAD_FORMAT);
	json_field_text(&j, "domain", h->domain);
	json_field_int(&j, "generation", (int64_t)h->generation);
	json_field_text(&j, "snapshot", hex);
	json_field_int(&j, "size", (int64_t)h->size);
	json_field_int(&j, "time_ns", h->time_ns);
	json_field_time(&j, "time", h->time_ns);
	json_close(&j, '}');
	buf_addc(ret, '\n');
}

static int field_int(const struct doc_node *root, const char *key, int64_t min, int64_t max, int64_t *ret)
{
	return doc_int(doc_get(root, key), ret) || *ret < min || *ret > max ? -EBADMSG : 0;
}

/* Unknown fields are allowed: a newer writer may add some without a new format. */
static int head_fields(const char *name, const struct doc_node *root, struct head *h, struct err *e)
{
	int64_t format, generation, size;
	if (doc_kind(root) != DOC_MAP || field_int(root, "format", 1, INT64_MAX, &format))
		return err_set(e, -EBADMSG, "%s: not a head of a catalog", name);
	if (format > HEAD_FORMAT)
		return err_set(e, -EPROTONOSUPPORT, "%s: written in format %" PRId64 ", and this meshfs reads formats up to %d: use a newer meshfs",
			       name, format, HEAD_FORMAT);
	const char *domain = doc_get_text(root, "domain"), *snapshot = doc_get_text(root, "snapshot");
	if (!domain || name_check("domain", domain, NULL) || !snapshot || hex_parse(snapshot, h->snapshot.bytes, SHA256_SIZE) ||
	    field_int(root, "generation", 1, (int64_t)GENERATION_MAX, &generation) ||
	    field_int(root, "size", 1, SNAPSHOT_BYTES_MAX, &size) || field_int(root, "time_ns", 0, INT64_MAX, &h->time_ns))
		return err_set(e, -EBADMSG, "%s: a field is missing or out of range", name);
	memcpy(h->domain, domain, strlen(domain) + 1);
	h->generation = (uint64_t)generation;
	h->size = (uint64_t)size;
	return 0;
}

int head_parse(const char *name, const char *text, size_t len, struct head *ret, struct err *e)
{
	struct doc *doc;
	struct head h = { 0 };
	if (len > HEAD_BYTES_MAX)
		return err_set(e, -EBADMSG, "%s: too large for a head", name);
	int r = doc_parse(name, text, len, &doc, e);
	if (r == -ENOMEM)
		return r;
	if (r)
		return err_set(e, -EBADMSG, "%s: not JSON", name);
	r = head_fields(name, doc_root(doc), &h, e);
	doc_free(doc);
	if (!r)
		*ret = h;
	return r;
}

/* -- reading ------------------------------------------------------------------------------- */

static int read_head(struct store *s, const char *key, const char *domain, struct head *ret, struct err *e)
{
	struct buf text = BUF_INIT;
	struct head h;
	char name[HEADS_KEY_SIZE + NAME_SIZE + 4];
	snprintf(name, sizeof name, "%s: %s", domain, key);
	int r = store_get(s, key, HEAD_BYTES_MAX, &text, NULL, e);
	if (!r)
		r = head_parse(name, text.data ? text.data : "", text.len, &h, e);
	buf_free(&text);
	if (!r && strcmp(h.domain, domain) != 0)
		r = err_set_kind(e, ERR_FAIL, -EBADMSG, "%s: the store holds the catalog of another domain ('%s'); check its URL in mesh.yaml", name, h.domain);
	if (!r)
		*ret = h;
	return r;
}

int heads_read(struct store *s, const char *domain, uint64_t generation, struct head *ret, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	struct head h;
	head_key(generation, key);
	int r = read_head(s, key, domain, &h, e);
	if (!r && h.generation != generation)
		r = err_set(e, -EBADMSG, "%s: %s says it is generation %" PRIu64, domain, key, h.generation);
	if (!r)
		*ret = h;
	return r;
}

/* heads_read, where "not there" is 1.  S3 answers 403 to who may not list when an object is absent: that counts as absent when
 * `readable` (a neighbour could be read with the same credentials). */
static int probe(struct store *s, const char *domain, uint64_t generation, bool readable, struct head *ret, struct err *e)
{
	if (generation > GENERATION_MAX)
		return 1;
	int r = heads_read(s, domain, generation, ret, e);
	if (r == -ENOENT || (r == -EACCES && readable)) {
		err_clear(e);
		return 1;
	}
	return r;
}

/* `ret` is a head that exists: moves it to the newest.  Steps double while heads are found and halve once one is missing, so a reader
 * that is n generations behind asks about 2 log n times. */
static int climb(struct store *s, const char *domain, bool readable, struct head *ret, struct err *e)
{
	uint64_t step = 1;
	bool growing = true;
	struct head h;
	while (step) {
		int r = probe(s, domain, ret->generation + step, readable, &h, e);
		if (r < 0)
			return r;
		if (r == 0) {
			*ret = h;
			readable = true;
		} else {
			growing = false;
		}
		step = growing ? step * 2 : step / 2;
	}
	return 0;
}

/* The hint may be absent, behind, or nonsense; only the head it leads to counts. */
static int from_hint(struct store *s, const char *domain, struct head *ret, struct err *e)
{
	struct head hint;
	int r = read_head(s, HINT_KEY, domain, &hint, e);
	bool readable = r != -EACCES;
	if (r == -EIO || r == -ETIMEDOUT || r == -ECANCELED || r == -ENOMEM || r == -EPROTONOSUPPORT)
		return r;
	if (r == 0) {
		r = probe(s, domain, hint.generation, true, ret, e);
		if (r <= 0)
			return r;
	}
	struct err first = ERR_INIT;
	if (e)
		first = *e;
	r = probe(s, domain, 1, readable, ret, e);
	if (r == 1) {
		/* No catalog; but a hint of another domain, say, is worth telling. */
		if (first.code && first.code != -ENOENT && first.code != -EACCES)
			return err_move(e, &first);
		memset(ret, 0, sizeof *ret);
		return 0;
	}
	return r;
}

int heads_newest(struct store *s, const char *domain, const struct head *known, struct head *ret, struct err *e)
{
	struct head h = *known;
	bool readable = false;
	int r = 0;
	if (!h.generation) {
		r = from_hint(s, domain, &h, e);
		readable = true;
	} else {
		struct head next;
		r = heads_read(s, domain, h.generation + 1, &next, e);
		if (r == 0)
			h = next;
		/* Absent is the usual answer.  A refusal may mean the same: then the known head must be readable. */
		if (r == -EACCES)
			r = heads_read(s, domain, h.generation, &next, e) ? r : -ENOENT;
		if (r == -ENOENT) {
			err_clear(e);
			*ret = h;
			return 0;
		}
		readable = true;
	}
	if (!r && h.generation)
		r = climb(s, domain, readable, &h, e);
	if (!r)
		*ret = h;
	return r;
}

/* -- writing ------------------------------------------------------------------------------- */

/* After a create that failed: is the head there ours after all (the answer was lost), another's, or none? */
static int settle(struct store *s, const struct head *h, int failed, struct err *e)
{
	struct head there;
	struct err why = ERR_INIT;
	int r = heads_read(s, h->domain, h->generation, &there, &why);
	if (r)
		return failed; /* `e` says why the create failed */
	if (digest_equal(&there.snapshot, &h->snapshot)) {
		err_clear(e);
		return 0;
	}
	return err_set(e, -EEXIST, "%s: another publisher made generation %" PRIu64 " first", h->domain, h->generation);
}

int heads_create(struct store *s, const struct head *h, bool single_writer, struct err *e)
{
	struct buf text = BUF_INIT;
	struct object_info info;
	char key[HEADS_KEY_SIZE];
	head_key(h->generation, key);
	head_format(h, &text);
	int r = buf_check(&text);
	if (r) {
		buf_free(&text);
		return err_set(e, r, "%s: out of memory", h->domain);
	}
	if (single_writer) {
		r = store_head(s, key, &info, e);
		if (r == -ENOENT) {
			err_clear(e);
			r = store_put(s, key, text.data, text.len, PUT_REPLACE, e);
		} else if (r == 0) {
			r = err_set(e, -EEXIST, "%s: generation %" PRIu64 " exists", h->domain, h->generation);
		}
	} else {
		r = store_put(s, key, text.data, text.len, PUT_EXCLUSIVE, e);
	}
	buf_free(&text);
	return r ? settle(s, h, r, e) : 0;
}

int heads_hint(struct store *s, const struct head *h, struct err *e)
{
	struct buf text = BUF_INIT;
	head_format(h, &text);
	int r = buf_check(&text);
	r = r ? err_set(e, r, "%s: out of memory", h->domain) : store_put(s, HINT_KEY, text.data, text.len, PUT_REPLACE, e);
	buf_free(&text);
	return r;
}
