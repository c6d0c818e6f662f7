/* The writer of snapshots: a private copy of the base generation, changed in place, compacted and hashed at the end. */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/contract.h"
#include "catalog/snapshot_format.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define NONCE_BYTES 16

struct snapshot_edit {
	char domain[NAME_SIZE];
	struct snapshot *base; /* a reference, or NULL */
	char *path;            /* of the scratch file */
	struct db *db;         /* NULL after snapshot_edit_finish */
	bool descriptions; /* their table was made */
};

/* -- life ---------------------------------------------------------------------------------- */

/* Copies the base, and makes sure that what was copied is what was checked. */
static int copy_base(struct snapshot_edit *x, int fd, struct err *e)
{
	struct buf bytes = BUF_INIT;
	struct digest found;
	int r = io_read_file(snapshot_path(x->base), SNAPSHOT_BYTES_MAX, &bytes, e);
	if (!r) {
		sha256_of(bytes.data, bytes.len, &found);
		if (!digest_equal(&found, snapshot_digest(x->base)))
			r = err_set(e, -EBADMSG, "%s: the catalog's copy in the cache was changed; remove %s", x->domain,
				    snapshot_path(x->base));
	}
	if (!r) {
		r = io_write_full(fd, bytes.data, bytes.len);
		if (r)
			err_set(e, r, "%s: %s", x->path, strerror(-r));
	}
	buf_free(&bytes);
	return r;
}

static int make_scratch(struct snapshot_edit *x, const char *folder, struct err *e)
{
	x->path = text_format("%s/snapshot-XXXXXX", folder);
	if (!x->path)
		return err_set(e, -ENOMEM, "%s: out of memory", folder);
	int fd = mkostemp(x->path, O_CLOEXEC);
	if (fd < 0) {
		int r = err_set(e, -errno, "%s: %s", x->path, strerror(errno));
		free(x->path);
		x->path = NULL;
		return r;
	}
	int r = x->base ? copy_base(x, fd, e) : 0;
	close(fd);
	return r;
}

static int make_tables(struct snapshot_edit *x, struct err *e)
{
	struct db_stmt *q;
	int r = db_exec(x->db, SNAPSHOT_SCHEMA, e);
	if (!r)
		r = db_set_format(x->db, SNAPSHOT_APPLICATION_ID, SNAPSHOT_FORMAT, e);
	if (!r)
		r = db_cached(x->db, "INSERT INTO meta VALUES (?, 0, 0, x'')", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, x->domain);
	return db_run(q, e);
}

int snapshot_edit_begin(const char *domain, struct snapshot *base, const char *folder, struct snapshot_edit **ret, struct err *e)
{
	struct snapshot_edit *x = calloc(1, sizeof *x);
	if (!x)
		return err_set(e, -ENOMEM, "%s: out of memory", domain);
	strncpy(x->domain, domain, NAME_SIZE - 1);
	x->base = snapshot_ref(base);
	int r = make_scratch(x, folder, e);
	if (!r)
		r = db_open(x->path, DB_SYNC_NONE, &x->db, e);
	if (!r && !base)
		r = make_tables(x, e);
	if (!r)
		r = db_begin(x->db, e);
	if (r) {
		snapshot_edit_free(x);
		return r;
	}
	*ret = x;
	return 0;
}

void snapshot_edit_free(struct snapshot_edit *x)
{
	if (!x)
		return;
	db_close(x->db);
	if (x->path)
		unlink(x->path);
	free(x->path);
	snapshot_unref(x->base);
	free(x);
}

struct snapshot *snapshot_edit_base(struct snapshot_edit *x)
{
	return x->base;
}

/* -- versions ------------------------------------------------------------------------------ */

/* The product's id; -ENOENT. */
static int product_id(struct snapshot_edit *x, const char *product, int64_t *ret, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(x->db, "SELECT id FROM product WHERE name = ?", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, product);
	r = db_step(q, e);
	if (r == DB_ROW)
		*ret = db_int(q, 0);
	db_reset(q);
	if (r == 0)
		return err_set(e, -ENOENT, "%s/%s: no such product", x->domain, product);
	return r < 0 ? r : 0;
}

static int product_make(struct snapshot_edit *x, const char *product, int64_t *ret, struct err *e)
{
	struct db_stmt *q;
	int r = product_id(x, product, ret, NULL);
	if (r != -ENOENT)
		return r ? err_set(e, r, "%s/%s: %s", x->domain, product, strerror(-r)) : 0;
	r = db_cached(x->db, "INSERT INTO product(name) VALUES (?)", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, product);
	r = db_run(q, e);
	*ret = db_last_id(x->db);
	if (r)
		return r;
	r = db_cached(x->db, "INSERT INTO search(rowid, name) VALUES (?, ?)", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, *ret);
	db_bind_text(q, 2, product);
	return db_run(q, e);
}

static void bind_number(struct db_stmt *q, int i, const struct semver *n)
{
	db_bind_int(q, i, n->major);
	db_bind_int(q, i + 1, n->minor);
	db_bind_int(q, i + 2, n->patch);
}

static bool is_zero(const struct digest *d)
{
	static const struct digest zero;
	return digest_equal(d, &zero);
}

static void bind_version(struct db_stmt *q, int64_t id, const struct version_info *v, const char *quality)
{
	db_bind_int(q, 1, id);
	bind_number(q, 2, &v->number);
	db_bind_int(q, 5, v->status);
	db_bind_blob(q, 6, v->manifest.bytes, SHA256_SIZE);
	db_bind_int(q, 7, (int64_t)v->manifest_size);
	db_bind_int(q, 8, v->published_ns);
	db_bind_int(q, 9, (int64_t)v->files);
	db_bind_int(q, 10, (int64_t)v->bytes);
	if (is_zero(&v->contract))
		db_bind_null(q, 11);
	else
		db_bind_blob(q, 11, v->contract.bytes, SHA256_SIZE);
	db_bind_text(q, 12, quality);
	db_bind_text(q, 13, v->failures_reason);
	db_bind_text(q, 14, v->withdrawn_reason);
	db_bind_text(q, 15, v->publisher);
	db_bind_text(q, 16, v->run);
}

static bool number_ok(const struct semver *n)
{
	return n->major <= INT32_MAX && n->minor <= INT32_MAX && n->patch <= INT32_MAX;
}

int snapshot_edit_add_version(struct snapshot_edit *x, const char *product, const struct version_info *v, const char *quality, struct err *e)
{
	struct db_stmt *q;
	char text[VERSION_SIZE];
	int64_t id;
	int r = name_check("product", product, e);
	if (r)
		return r;
	if (!number_ok(&v->number) || v->published_ns < 0 || v->published_ns > SNAPSHOT_TIME_MAX_NS)
		return err_set(e, -EINVAL, "%s/%s: the version's number or time is out of range", x->domain, product);
	if (quality && strlen(quality) > DB_UNTRUSTED_VALUE_MAX)
		return err_set(e, -EFBIG, "%s/%s: its results of quality checks take more than %u MiB", x->domain, product, DB_UNTRUSTED_VALUE_MAX >> 20);
	r = product_make(x, product, &id, e);
	if (!r)
		r = db_cached(x->db, "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &q, e);
	if (r)
		return r;
	bind_version(q, id, v, quality);
	r = db_run(q, e);
	if (r == -EEXIST) {
		semver_format(&v->number, text);
		return err_set(e, -EEXIST, "%s/%s/%s: published already; a version never changes", x->domain, product, text);
	}
	return r;
}

static int absent(struct snapshot_edit *x, const char *product, const struct semver *number, struct err *e)
{
	char text[VERSION_SIZE];
	semver_format(number, text);
	return err_set(e, -ENOENT, "%s/%s/%s: no such version", x->domain, product, text);
}

#define WITHDRAW_SQL                                                                                                                \
	"UPDATE version SET status = 1, withdrawn_reason = ?5 WHERE product = ?1 AND major = ?2 AND minor = ?3 AND patch = ?4"

int snapshot_edit_withdraw(struct snapshot_edit *x, const char *product, const struct semver *number, const char *reason, struct err *e)
{
	struct db_stmt *q;
	int64_t id;
	int r = product_id(x, product, &id, e);
	if (!r)
		r = db_cached(x->db, WITHDRAW_SQL, &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, id);
	bind_number(q, 2, number);
	db_bind_text(q, 5, reason);
	r = db_run(q, e);
	if (!r && !db_changes(x->db))
		return absent(x, product, number, e);
	return r;
}

/* -- contracts, descriptions, policies, garbage ---------------------------------------------- */

int snapshot_edit_contract(struct snapshot_edit *x, const char *text, size_t len, struct digest *ret, struct err *e)
{
	struct db_stmt *q;
	if (len > DOC_BYTES_MAX)
		return err_set(e, -EFBIG, "%s: a contract of more than %u MiB", x->domain, DOC_BYTES_MAX >> 20);
	if (!text_is_utf8(text, len) || memchr(text, '\0', len))
		return err_set(e, -EINVAL, "%s: the contract is not UTF-8 text", x->domain);
	sha256_of(text, len, ret);
	int r = db_cached(x->db, "INSERT OR IGNORE INTO contract VALUES (?, ?)", &q, e);
	if (r)
		return r;
	db_bind_blob(q, 1, ret->bytes, SHA256_SIZE);
	db_bind_text_n(q, 2, text, len);
	return db_run(q, e);
}

int snapshot_edit_describe(struct snapshot_edit *x, const char *product, const struct product_text *t, struct err *e)
{
	struct db_stmt *q;
	int64_t id;
	int r = product_id(x, product, &id, e);
	if (!r)
		r = db_cached(x->db, "UPDATE product SET title = ?2, description = ?3, status = ?4 WHERE id = ?1", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, id);
	db_bind_text(q, 2, t->title);
	db_bind_text(q, 3, t->description);
	db_bind_text(q, 4, t->status);
	r = db_run(q, e);
	if (!r)
		r = db_cached(x->db, "UPDATE search SET title = ?2, description = ?3, columns = ?4, tags = ?5 WHERE rowid = ?1", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, id);
	db_bind_text(q, 2, t->title);
	db_bind_text(q, 3, t->description);
	db_bind_text(q, 4, t->columns);
	db_bind_text(q, 5, t->tags);
	return db_run(q, e);
}

static void add_word(struct buf *words, const char *word)
{
	if (words->len)
		buf_addc(words, ' ');
	buf_adds(words, word);
}

void contract_search_words(const struct contract *c, struct buf *columns, struct buf *tags)
{
	const struct contract_object *objects;
	const char *const *words;
	size_t object_count = contract_objects(c, &objects), count = contract_tags(c, &words);
	for (size_t i = 0; i < count; i++)
		add_word(tags, words[i]);
	for (size_t o = 0; o < object_count; o++) {
		add_word(columns, objects[o].name);
		for (size_t i = 0; i < objects[o].column_count; i++) {
			const struct contract_column *column = &objects[o].columns[i];
			const char *business = doc_get_text(column->node, "businessName");
			add_word(columns, column->name);
			if (business)
				add_word(columns, business);
			for (size_t t = 0; t < column->tag_count; t++)
				add_word(tags, column->tags[t]);
		}
	}
}

int snapshot_edit_describe_contract(struct snapshot_edit *x, const char *product, const struct contract *c, struct err *e)
{
	struct buf columns = BUF_INIT, tags = BUF_INIT;
	contract_search_words(c, &columns, &tags);
	int r = buf_check(&columns) || buf_check(&tags) ? err_set(e, -ENOMEM, "%s/%s: out of memory", x->domain, product) : 0;
	if (!r) {
		struct product_text t = { contract_title(c), contract_description(c), contract_status(c), buf_text(&columns), buf_text(&tags) };
		r = snapshot_edit_describe(x, product, &t, e);
	}
	buf_free(&columns);
	buf_free(&tags);
	return r;
}

int snapshot_edit_policy(struct snapshot_edit *x, const char *name, const char *text, size_t len, struct err *e)
{
	struct db_stmt *q;
	if (!policy_name_ok(name))
		return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s' cannot name a policy file: use a-z, 0-9, '.', '_', '-' and end in .policy", name);
	if (text && (len > POLICY_BYTES_MAX || !text_is_utf8(text, len) || memchr(text, '\0', len)))
		return err_set(e, -EINVAL, "%s: not UTF-8 text of at most %u MiB", name, POLICY_BYTES_MAX >> 20);
	int r = text ? db_cached(x->db, "INSERT OR REPLACE INTO policy VALUES (?, ?)", &q, e)
		     : db_cached(x->db, "DELETE FROM policy WHERE name = ?", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, name);
	if (text)
		db_bind_text_n(q, 2, text, len);
	r = db_run(q, e);
	if (!r && !text && !db_changes(x->db))
		return err_set(e, -ENOENT, "%s: domain %s has no such policy file", name, x->domain);
	return r;
}

/* The first description makes the catalog one of the newer format. */
static int add_descriptions(struct snapshot_edit *x, struct err *e)
{
	if (x->descriptions || (x->base && snapshot_has_descriptions(x->base)))
		return 0;
	int r = db_exec(x->db, SNAPSHOT_DESCRIPTIONS, e);
	if (!r)
		r = db_set_format(x->db, SNAPSHOT_APPLICATION_ID, SNAPSHOT_FORMAT_DESCRIPTIONS, e);
	x->descriptions = !r;
	return r;
}

int snapshot_edit_description(struct snapshot_edit *x, const char *id, const char *text, size_t len, struct err *e)
{
	struct db_stmt *q;
	if (!*id || strlen(id) > DESCRIPTION_ID_MAX)
		return err_set(e, -EINVAL, "the id of a description has 1 to %u bytes", DESCRIPTION_ID_MAX);
	if (text && (len > DESCRIPTION_BYTES_MAX || !text_is_utf8(text, len) || memchr(text, '\0', len)))
		return err_set(e, -EINVAL, "%s: not UTF-8 text of at most %u MiB", id, DESCRIPTION_BYTES_MAX >> 20);
	int r = add_descriptions(x, e);
	if (!r)
		r = text ? db_cached(x->db, "INSERT OR REPLACE INTO description VALUES (?, ?)", &q, e)
			 : db_cached(x->db, "DELETE FROM description WHERE id = ?", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, id);
	if (text)
		db_bind_text_n(q, 2, text, len);
	r = db_run(q, e);
	if (!r && !text && !db_changes(x->db))
		return err_set(e, -ENOENT, "domain %s has no description %s", x->domain, id);
	return r;
}

int snapshot_edit_condemn(struct snapshot_edit *x, const char *key, int64_t now_ns, struct err *e)
{
	struct db_stmt *q;
	if (!condemned_key_ok(key))
		return err_set(e, -EINVAL, "%s: not an object that gc may remove", key);
	int r = db_cached(x->db, "INSERT OR IGNORE INTO condemned VALUES (?, ?, ?)", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, key);
	db_bind_int(q, 2, x->base ? (int64_t)snapshot_generation(x->base) + 1 : 1);
	db_bind_int(q, 3, now_ns);
	return db_run(q, e);
}

int snapshot_edit_pardon(struct snapshot_edit *x, const char *key, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(x->db, "DELETE FROM condemned WHERE key = ?", &q, e);
	if (r)
		return r;
	db_bind_text(q, 1, key);
	return db_run(q, e);
}

/* -- the end ------------------------------------------------------------------------------- */

#define TIDY_SQL                                                                                                                    \
	"DELETE FROM contract WHERE digest NOT IN (SELECT contract FROM version WHERE contract IS NOT NULL);"                        \
	"UPDATE product SET active = (SELECT count(*) FROM version v WHERE v.product = id AND v.status = 0),"                        \
	" latest = (SELECT format('%d.%d.%d', major, minor, patch) FROM version v WHERE v.product = id AND v.status = 0"            \
	" ORDER BY major DESC, minor DESC, patch DESC LIMIT 1);"

static int write_meta(struct snapshot_edit *x, uint64_t generation, int64_t now_ns, struct err *e)
{
	unsigned char nonce[NONCE_BYTES];
	struct db_stmt *q;
	if (getrandom(nonce, sizeof nonce, 0) != (ssize_t)sizeof nonce)
		return err_set(e, -EIO, "%s: no random numbers: %s", x->domain, strerror(errno));
	int r = db_cached(x->db, "UPDATE meta SET generation = ?, created_ns = ?, nonce = ?", &q, e);
	if (r)
		return r;
	db_bind_int(q, 1, (int64_t)generation);
	db_bind_int(q, 2, now_ns);
	db_bind_blob(q, 3, nonce, sizeof nonce);
	return db_run(q, e);
}

/* Nothing was synced while editing. */
static int sync_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	int r = fsync(fd) ? err_set(e, -errno, "%s: %s", path, strerror(errno)) : 0;
	close(fd);
	return r;
}

int snapshot_edit_finish(struct snapshot_edit *x, uint64_t generation, int64_t now_ns, const char **ret_path, struct digest *ret_digest,
			 uint64_t *ret_size, struct err *e)
{
	if (now_ns < 0 || now_ns > SNAPSHOT_TIME_MAX_NS) /* nobody would read it */
		return err_set(e, -EINVAL, "%s: the clock of this machine is wrong", x->domain);
	int r = db_exec(x->db, TIDY_SQL, e);
	if (!r)
		r = write_meta(x, generation, now_ns, e);
	if (!r)
		r = db_commit(x->db, e);
	if (!r)
		r = db_exec(x->db, "VACUUM", e);
	db_close(x->db);
	x->db = NULL;
	if (!r)
		r = sync_file(x->path, e);
	if (!r)
		r = digest_of_file(x->path, ret_digest, ret_size, e);
	if (!r && *ret_size > SNAPSHOT_BYTES_MAX)
		r = err_set(e, -EFBIG, "%s: the catalog would be larger than %u MiB", x->domain, SNAPSHOT_BYTES_MAX >> 20);
	if (!r)
		*ret_path = x->path;
	return r;
}
