/* What a snapshot from a store must be before it is used: whole, its domain's own, every name and number in its range. */
#include "catalog/snapshot_format.h"

#include "catalog/base/doc.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <string.h>

static int broken(const struct snapshot_claims *s, struct err *e, const char *what)
{
	return err_set(e, -EBADMSG, "%s: %s", s->label, what);
}

static bool in_range(int64_t v, int64_t max)
{
	return v >= 0 && v <= max;
}

bool column_is_digest(struct db_stmt *q, int column)
{
	size_t len;
	return db_blob(q, column, &len) && len == SHA256_SIZE;
}

static int check_meta(struct snapshot_claims *s, struct db *db, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(db, "SELECT domain, generation, created_ns FROM meta", &q, e);
	if (r)
		return r;
	r = db_step(q, e);
	if (r < 0)
		return r;
	if (r == 0)
		return broken(s, e, "it does not say whose it is");
	const char *domain = db_text(q, 0);
	s->generation = (uint64_t)db_int(q, 1);
	s->created_ns = db_int(q, 2);
	if (!domain || strcmp(domain, s->domain) != 0)
		r = err_set(e, -EBADMSG, "%s: it belongs to another domain ('%.64s'); check the store's URL", s->label, domain ? domain : "");
	else if (db_int(q, 1) < 1)
		r = broken(s, e, "its generation is not a number of 1 or more");
	else if (!in_range(s->created_ns, SNAPSHOT_TIME_MAX_NS))
		r = broken(s, e, "its time is out of range");
	else
		r = db_step(q, e) == DB_ROW ? broken(s, e, "it says twice whose it is") : 0;
	db_reset(q);
	return r;
}

bool policy_name_ok(const char *name)
{
	return text_ends(name, ".policy") && strlen(name) < 256 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == strlen(name) &&
	       name[0] != '.' && name[0] != '_' && name[0] != '-';
}

bool condemned_key_ok(const char *key)
{
	static const char *const folders[] = { ".mesh/packs/", ".mesh/manifests/", ".mesh/snapshots/", ".mesh/views/", ".mesh/rows/" };
	if (strlen(key) > 500 || strstr(key, "/.") || strstr(key, "//"))
		return false;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
		if (text_starts(key, folders[i]) && key[strlen(folders[i])])
			return true;
	return false;
}

/* -- rows, each by itself ----------------------------------------------------------------------------- */

static bool words_ok(struct db_stmt *q)
{
	return db_int(q, 0) <= DOC_BYTES_MAX && db_int(q, 1) <= DOC_BYTES_MAX; /* they come from a contract */
}

static bool product_ok(struct db_stmt *q)
{
	struct semver v;
	size_t len;
	const char *name = db_text_n(q, 0, &len), *latest = db_text(q, 1);
	return name && strlen(name) == len && !name_check("product", name, NULL) && (!latest || !semver_parse(latest, &v));
}

static bool version_ok(struct db_stmt *q)
{
	return in_range(db_int(q, 0), INT32_MAX) && in_range(db_int(q, 1), INT32_MAX) && in_range(db_int(q, 2), INT32_MAX) &&
	       in_range(db_int(q, 3), VERSION_WITHDRAWN) && column_is_digest(q, 4) && in_range(db_int(q, 5), INT64_MAX) &&
	       in_range(db_int(q, 6), INT64_MAX) && in_range(db_int(q, 7), INT64_MAX) && (db_is_null(q, 8) || column_is_digest(q, 8)) &&
	       !db_is_null(q, 9) && in_range(db_int(q, 10), SNAPSHOT_TIME_MAX_NS) && in_range(db_int(q, 11), DB_UNTRUSTED_VALUE_MAX);
}

static bool policy_ok(struct db_stmt *q)
{
	const char *name = db_text(q, 0);
	return name && policy_name_ok(name) && db_int(q, 1) <= POLICY_BYTES_MAX;
}

/* gc deletes such keys with the domain's credentials: only what meshfs itself wrote may stand here. */
static bool condemned_ok(struct db_stmt *q)
{
	const char *key = db_text(q, 0);
	return key && condemned_key_ok(key);
}

static bool description_ok(struct db_stmt *q)
{
	return in_range(db_int(q, 0) - 1, DESCRIPTION_ID_MAX - 1) && in_range(db_int(q, 1), DESCRIPTION_BYTES_MAX);
}

struct rule {
	const char *sql;
	bool (*ok)(struct db_stmt *q);
	const char *what; /* what is said of a row that is not */
};

static const struct rule rules[] = {
	{ "SELECT length(CAST(title AS BLOB)), length(CAST(description AS BLOB)) FROM product", words_ok,
	  "it holds a title or description of a product that is too long" },
	{ "SELECT name, latest FROM product", product_ok, "it holds a product with a name or version that is not allowed" },
	{ "SELECT major, minor, patch, v.status, manifest, manifest_size, files, bytes, contract, p.id, published_ns,"
	  " coalesce(length(CAST(quality AS BLOB)), 0) FROM version v LEFT JOIN product p ON p.id = v.product",
	  version_ok, "it holds a version that is not well formed" },
	{ "SELECT name, length(CAST(text AS BLOB)) FROM policy", policy_ok, "it holds a policy file that is not allowed" },
	{ "SELECT key FROM condemned", condemned_ok, "it condemns a key that is not one of the catalog's" },
};

static const struct rule description_rule = { "SELECT length(CAST(id AS BLOB)), length(CAST(text AS BLOB)) FROM description", description_ok,
					      "it holds a description of products that is not allowed" };

static int check_rows(const struct snapshot_claims *s, struct db *db, const struct rule *rule, struct err *e)
{
	struct db_stmt *q;
	int r = db_cached(db, rule->sql, &q, e);
	if (r)
		return r;
	while ((r = db_step(q, e)) == DB_ROW)
		if (!rule->ok(q)) {
			r = broken(s, e, rule->what);
			break;
		}
	db_reset(q);
	return r;
}

int snapshot_check(struct db *db, struct snapshot_claims *s, struct err *e)
{
	int r = db_check_pages(db, e);
	if (!r)
		r = check_meta(s, db, e);
	for (size_t i = 0; i < sizeof rules / sizeof *rules && !r; i++)
		r = check_rows(s, db, &rules[i], e);
	return !r && s->descriptions ? check_rows(s, db, &description_rule, e) : r;
}
