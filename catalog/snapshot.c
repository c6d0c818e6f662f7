#include "catalog/snapshot.h"

#include "catalog/base/text.h"
#include "catalog/snapshot_format.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_CONNECTIONS 4
#define HASH_PIECE (1u << 20)

struct snapshot {
	atomic_uint refs;
	char domain[NAME_SIZE];
	char *path, *label;
	uint64_t generation;
	int64_t created_ns;
	struct digest digest;
	struct db_pool *pool;
	uint32_t format;
};

/* -- opening ------------------------------------------------------------------------------- */

int digest_of_file(const char *path, struct digest *ret, uint64_t *ret_size, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	struct sha256 *h = sha256_new();
	char *piece = malloc(HASH_PIECE);
	int r = h && piece ? 0 : err_set(e, -ENOMEM, "%s: out of memory", path);
	uint64_t size = 0;
	while (!r) {
		ssize_t n = read(fd, piece, HASH_PIECE);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_set(e, -errno, "%s: %s", path, strerror(errno));
		if (n <= 0)
			break;
		sha256_update(h, piece, (size_t)n);
		size += (uint64_t)n;
	}
	if (!r) {
		sha256_final(h, ret);
		*ret_size = size;
	}
	sha256_free(h);
	free(piece);
	close(fd);
	return r;
}

bool snapshot_has_descriptions(const struct snapshot *s)
{
	return s->format >= SNAPSHOT_FORMAT_DESCRIPTIONS;
}

static int check_content(struct snapshot *s, struct err *e)
{
	struct snapshot_claims claims = { .label = s->label, .domain = s->domain, .descriptions = snapshot_has_descriptions(s) };
	struct db *db;
	int r = db_pool_take(s->pool, &db, e);
	if (r)
		return r;
	r = snapshot_check(db, &claims, e);
	db_pool_give(s->pool, db);
	s->generation = claims.generation;
	s->created_ns = claims.created_ns;
	return r;
}

static int open_checked(struct snapshot *s, struct err *e)
{
	struct digest found;
	uint64_t size;
	int r = digest_of_file(s->path, &found, &size, e);
	if (r)
		return r;
	if (size > SNAPSHOT_BYTES_MAX)
		return err_set(e, -EBADMSG, "%s: it is too large", s->label);
	if (!digest_equal(&found, &s->digest))
		return err_set(e, -EBADMSG, "%s: its bytes do not match its hash", s->label);
	r = db_check_format(s->path, s->label, SNAPSHOT_APPLICATION_ID, SNAPSHOT_FORMAT, SNAPSHOT_FORMAT_DESCRIPTIONS, &s->format, e);
	if (!r)
		r = db_pool_open(s->path, s->label, snapshot_has_descriptions(s) ? SNAPSHOT_SCHEMA SNAPSHOT_DESCRIPTIONS : SNAPSHOT_SCHEMA,
				 IDLE_CONNECTIONS, &s->pool, e);
	if (!r)
		r = check_content(s, e);
	return r;
}

int snapshot_open(const char *path, const char *domain, const struct digest *digest, struct snapshot **ret, struct err *e)
{
	char hex[SHA256_HEX_SIZE];
	struct snapshot *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	hex_format(digest->bytes, SHA256_SIZE, hex);
	atomic_init(&s->refs, 1);
	s->digest = *digest;
	strncpy(s->domain, domain, NAME_SIZE - 1);
	s->path = strdup(path);
	s->label = text_format("%s: catalog %.16s", domain, hex);
	int r = s->path && s->label ? open_checked(s, e) : err_set(e, -ENOMEM, "%s: out of memory", path);
	if (r) {
		snapshot_unref(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	if (s)
		atomic_fetch_add(&s->refs, 1);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	db_pool_close(s->pool);
	free(s->path);
	free(s->label);
	free(s);
}

struct db_pool *snapshot_pool(struct snapshot *s)
{
	return s->pool;
}

const char *snapshot_domain(const struct snapshot *s)
{
	return s->domain;
}

const char *snapshot_path(const struct snapshot *s)
{
	return s->path;
}

uint64_t snapshot_generation(const struct snapshot *s)
{
	return s->generation;
}

const struct digest *snapshot_digest(const struct snapshot *s)
{
	return &s->digest;
}

int64_t snapshot_time_ns(const struct snapshot *s)
{
	return s->created_ns;
}

/* -- reading ------------------------------------------------------------------------------- */

void version_info_fini(struct version_info *v)
{
	free(v->failures_reason);
	free(v->withdrawn_reason);
	free(v->publisher);
	free(v->run);
	v->failures_reason = v->withdrawn_reason = v->publisher = v->run = NULL;
}

void product_info_fini(struct product_info *p)
{
	free(p->title);
	free(p->description);
	free(p->status);
	free(p->latest);
	p->title = p->description = p->status = p->latest = NULL;
}

/* A column as a new string: NULL for NULL.  Sets *r to -ENOMEM. */
static char *copy_text(struct db_stmt *q, int i, int *r)
{
	const char *text = db_text(q, i);
	char *copy = text ? strdup(text) : NULL;
	if (!copy && !db_is_null(q, i))
		*r = -ENOMEM;
	return copy;
}

#define PRODUCT_COLUMNS "name, title, description, status, latest, active"

static int load_product(struct db_stmt *q, struct product_info *p)
{
	int r = 0;
	const char *name = db_text(q, 0);
	memset(p, 0, sizeof *p);
	if (!name || strlen(name) >= NAME_SIZE)
		return -EBADMSG;
	memcpy(p->name, name, strlen(name) + 1);
	p->title = copy_text(q, 1, &r);
	p->description = copy_text(q, 2, &r);
	p->status = copy_text(q, 3, &r);
	p->latest = copy_text(q, 4, &r);
	p->versions = db_int(q, 5) >= 0 && db_int(q, 5) <= UINT32_MAX ? (uint32_t)db_int(q, 5) : 0;
	if (r)
		product_info_fini(p);
	return r;
}

#define VERSION_COLUMNS                                                                                                             \
	"major, minor, patch, v.status, manifest, manifest_size, published_ns, files, bytes, contract, quality IS NOT NULL,"           \
	" failures_reason, withdrawn_reason, publisher, run"

/* Ranges and lengths were checked when the snapshot was opened; copying stays within bounds all the same. */
static int load_version(struct db_stmt *q, struct version_info *v)
{
	int r = 0;
	size_t len;
	memset(v, 0, sizeof *v);
	v->number = (struct semver){ (uint32_t)db_int(q, 0), (uint32_t)db_int(q, 1), (uint32_t)db_int(q, 2) };
	semver_format(&v->number, v->version);
	v->status = db_int(q, 3) == VERSION_ACTIVE ? VERSION_ACTIVE : VERSION_WITHDRAWN;
	if (!column_is_digest(q, 4) || (!db_is_null(q, 9) && !column_is_digest(q, 9)))
		return -EBADMSG;
	memcpy(v->manifest.bytes, db_blob(q, 4, &len), SHA256_SIZE);
	v->manifest_size = (uint64_t)db_int(q, 5);
	v->published_ns = db_int(q, 6);
	v->files = (uint64_t)db_int(q, 7);
	v->bytes = (uint64_t)db_int(q, 8);
	if (!db_is_null(q, 9))
		memcpy(v->contract.bytes, db_blob(q, 9, &len), SHA256_SIZE);
	v->checked = db_int(q, 10) != 0;
	v->failures_reason = copy_text(q, 11, &r);
	v->withdrawn_reason = copy_text(q, 12, &r);
	v->publisher = copy_text(q, 13, &r);
	v->run = copy_text(q, 14, &r);
	if (r)
		version_info_fini(v);
	return r;
}

/* Takes a connection and the kept statement for `sql` (a literal); end_query gives both back. */
static int begin_query(struct snapshot *s, const char *sql, struct db **ret_db, struct db_stmt **ret)
{
	int r = db_pool_take(s->pool, ret_db, NULL);
	if (r)
		return r;
	r = db_cached(*ret_db, sql, ret, NULL);
	if (r)
		db_pool_give(s->pool, *ret_db);
	return r;
}

static void end_query(struct snapshot *s, struct db *db, struct db_stmt *q)
{
	db_reset(q);
	db_pool_give(s->pool, db);
}

int snapshot_products(struct snapshot *s, int (*each)(void *, const struct product_info *), void *arg)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT " PRODUCT_COLUMNS " FROM product ORDER BY name", &db, &q);
	if (r)
		return r;
	while ((r = db_step(q, NULL)) == DB_ROW) {
		struct product_info p;
		r = load_product(q, &p);
		if (r)
			break;
		r = each(arg, &p);
		product_info_fini(&p);
		if (r)
			break;
	}
	end_query(s, db, q);
	return r;
}

int snapshot_product(struct snapshot *s, const char *product, struct product_info *ret)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT " PRODUCT_COLUMNS " FROM product WHERE name = ?", &db, &q);
	if (r)
		return r;
	db_bind_text(q, 1, product);
	r = db_step(q, NULL);
	if (r == DB_ROW)
		r = load_product(q, ret);
	else if (r == 0)
		r = -ENOENT;
	end_query(s, db, q);
	return r;
}

/* A selector names a range of numbers: its ends, which the primary key finds. */
#define OF_VERSIONS                                                                                                                 \
	" FROM product p JOIN version v ON v.product = p.id WHERE p.name = ?1"                                                       \
	" AND (major, minor, patch) BETWEEN (?2, ?3, ?4) AND (?5, ?6, ?7)"
#define NEWEST_FIRST " ORDER BY major DESC, minor DESC, patch DESC"

static void bind_versions(struct db_stmt *q, const char *product, const struct version_selector *sel)
{
	const uint32_t numbers[] = { sel->v.major, sel->v.minor, sel->v.patch };
	db_bind_text(q, 1, product);
	for (int i = 0; i < 3; i++) {
		bool given = sel->parts > i;
		db_bind_int(q, 2 + i, given ? numbers[i] : 0);
		db_bind_int(q, 5 + i, given ? numbers[i] : INT32_MAX);
	}
}

int snapshot_versions_matching(struct snapshot *s, const char *product, const struct version_selector *selector,
			       int (*each)(void *, const struct version_info *), void *arg)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT " VERSION_COLUMNS OF_VERSIONS NEWEST_FIRST, &db, &q);
	if (r)
		return r;
	bind_versions(q, product, selector);
	while ((r = db_step(q, NULL)) == DB_ROW) {
		struct version_info v;
		r = load_version(q, &v);
		if (r)
			break;
		r = each(arg, &v);
		version_info_fini(&v);
		if (r)
			break;
	}
	end_query(s, db, q);
	return r;
}

int snapshot_versions(struct snapshot *s, const char *product, int (*each)(void *, const struct version_info *), void *arg)
{
	const struct version_selector all = { 0 };
	return snapshot_versions_matching(s, product, &all, each, arg);
}

int snapshot_version(struct snapshot *s, const char *product, const char *selector, struct version_info *ret)
{
	struct version_selector sel;
	struct db *db;
	struct db_stmt *q;
	if (version_selector_parse(selector, &sel))
		return -ENOENT;
	int r = begin_query(s, "SELECT " VERSION_COLUMNS OF_VERSIONS " AND v.status <= ?8" NEWEST_FIRST " LIMIT 1", &db, &q);
	if (r)
		return r;
	bind_versions(q, product, &sel);
	db_bind_int(q, 8, sel.parts == 3 ? VERSION_WITHDRAWN : VERSION_ACTIVE);
	r = db_step(q, NULL);
	if (r == DB_ROW)
		r = load_version(q, ret);
	else if (r == 0)
		r = -ENOENT;
	end_query(s, db, q);
	return r;
}

/* Begins a query of one version and takes its row.  0: end_query gives back. */
static int begin_version(struct snapshot *s, const char *sql, const char *product, const struct semver *number, struct db **ret_db,
			 struct db_stmt **ret)
{
	const struct version_selector exact = { .parts = 3, .v = *number };
	int r = begin_query(s, sql, ret_db, ret);
	if (r)
		return r;
	bind_versions(*ret, product, &exact);
	r = db_step(*ret, NULL);
	if (r == DB_ROW)
		return 0;
	end_query(s, *ret_db, *ret);
	return r ? r : -ENOENT;
}

int snapshot_quality(struct snapshot *s, const char *product, const struct semver *number, struct buf *ret)
{
	struct db *db;
	struct db_stmt *q;
	size_t len;
	int r = begin_version(s, "SELECT quality" OF_VERSIONS " AND quality IS NOT NULL", product, number, &db, &q);
	if (r)
		return r;
	const char *text = db_text_n(q, 0, &len);
	if (text)
		buf_add(ret, text, len);
	r = text ? buf_check(ret) : -ENOMEM;
	end_query(s, db, q);
	return r;
}

#define CHECKS_SQL                                                                                                                  \
	"SELECT json_extract(quality, '$.failed_errors'), json_extract(quality, '$.failed_warnings'), json_extract(quality, '$.score')" \
	OF_VERSIONS " AND quality IS NOT NULL"

int snapshot_checks(struct snapshot *s, const char *product, const struct semver *number, struct version_checks *ret)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_version(s, CHECKS_SQL, product, number, &db, &q);
	if (r)
		return r == -ENOENT || r == -ENOMEM ? r : -EBADMSG; /* no JSON: SQLite says that it is broken */
	if (db_is_int(q, 0) && db_is_int(q, 1) && (db_is_int(q, 2) || db_is_double(q, 2)) && isfinite(db_double(q, 2)))
		*ret = (struct version_checks){ db_int(q, 0), db_int(q, 1), db_double(q, 2) };
	else
		r = -EBADMSG;
	end_query(s, db, q);
	return r;
}

int snapshot_contract(struct snapshot *s, const struct digest *digest, struct buf *ret)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT text FROM contract WHERE digest = ?", &db, &q);
	if (r)
		return r;
	db_bind_blob(q, 1, digest->bytes, SHA256_SIZE);
	r = db_step(q, NULL);
	if (r == DB_ROW) {
		size_t len;
		struct digest found;
		const char *text = db_text_n(q, 0, &len);
		sha256_of(text ? text : "", len, &found);
		r = digest_equal(&found, digest) ? 0 : -EBADMSG;
		if (!r) {
			buf_add(ret, text, len);
			r = buf_check(ret);
		}
	} else if (r == 0) {
		r = -ENOENT;
	}
	end_query(s, db, q);
	return r;
}

static int each_text(struct snapshot *s, const char *sql, int (*each)(void *, const char *name, const char *text, size_t len), void *arg)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, sql, &db, &q);
	if (r)
		return r;
	while ((r = db_step(q, NULL)) == DB_ROW) {
		size_t len;
		const char *name = db_text(q, 0), *text = db_text_n(q, 1, &len);
		r = name && text ? each(arg, name, text, len) : -ENOMEM;
		if (r)
			break;
	}
	end_query(s, db, q);
	return r;
}

int snapshot_policies(struct snapshot *s, int (*each)(void *, const char *name, const char *text, size_t len), void *arg)
{
	return each_text(s, "SELECT name, text FROM policy ORDER BY name", each, arg);
}

int snapshot_descriptions(struct snapshot *s, int (*each)(void *, const char *id, const char *text, size_t len), void *arg)
{
	return snapshot_has_descriptions(s) ? each_text(s, "SELECT id, text FROM description ORDER BY id", each, arg) : 0;
}

int snapshot_condemned(struct snapshot *s, int (*each)(void *arg, const struct condemned *c), void *arg)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT key, generation, since_ns FROM condemned ORDER BY key", &db, &q);
	if (r)
		return r;
	while ((r = db_step(q, NULL)) == DB_ROW) {
		struct condemned c = { db_text(q, 0), (uint64_t)db_int(q, 1), db_int(q, 2) };
		r = c.key ? each(arg, &c) : -ENOMEM;
		if (r)
			break;
	}
	end_query(s, db, q);
	return r;
}

int snapshot_is_condemned(struct snapshot *s, const char *key, int64_t *ret_since_ns)
{
	struct db *db;
	struct db_stmt *q;
	int r = begin_query(s, "SELECT since_ns FROM condemned WHERE key = ?", &db, &q);
	if (r)
		return r;
	db_bind_text(q, 1, key);
	r = db_step(q, NULL);
	if (r == DB_ROW && ret_since_ns)
		*ret_since_ns = db_int(q, 0);
	r = r == DB_ROW ? 0 : r ? r : -ENOENT;
	end_query(s, db, q);
	return r;
}
