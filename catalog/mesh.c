#include "catalog/mesh.h"

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/doc.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/store/store.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CACHE_LIMIT_DEFAULT ((uint64_t)20 << 30)
#define CACHE_LIMIT_MIN ((uint64_t)1 << 20)
#define REFRESH_DEFAULT_MS 5000
#define REFRESH_MIN_MS 50
#define LINEAGE_KEEP_MIN_MS ((int64_t)24 * 3600 * 1000)
#define REFRESH_MAX_MS ((int64_t)24 * 3600 * 1000)
#define TIMEOUT_DEFAULT_MS 30000
#define TIMEOUT_MIN_MS 1000
#define TIMEOUT_MAX_MS ((int64_t)3600 * 1000)
#define SQL_LIMIT_DEFAULT_MS 60000
#define SQL_LIMIT_MIN_MS 1000
#define SQL_LIMIT_MAX_MS ((int64_t)24 * 3600 * 1000)
#define CONNECT_MAX_MS 10000
#define DOMAINS_MAX 100000

/* What the readers of single keys share.  On failure the config stays half filled; its owner frees it. */
struct reader {
	struct mesh_config *m;
	const struct doc *doc;
	struct err *e;
};

static int no_memory(struct reader *r)
{
	return err_set(r->e, -ENOMEM, "%s: out of memory", r->m->path);
}

static int copy(struct reader *r, const char *text, char **ret)
{
	*ret = strdup(text);
	return *ret ? 0 : no_memory(r);
}

/* The text of a scalar that must be there and not be empty. */
static int need_text(struct reader *r, const struct doc_node *n, const char *key, const char **ret)
{
	const char *text = doc_text(n);
	if (!text || !*text)
		return doc_err(r->doc, n, r->e, "'%s' wants a text", key);
	*ret = text;
	return 0;
}

static int need_map(struct reader *r, const struct doc_node *n, const char *key)
{
	if (doc_kind(n) != DOC_MAP)
		return doc_err(r->doc, n, r->e, "'%s' wants a map ({ … } or indented lines of 'key: value')", key);
	return 0;
}

static int optional_text(struct reader *r, const struct doc_node *map, const char *key, char **ret)
{
	const struct doc_node *n = doc_get(map, key);
	const char *text = NULL;
	if (doc_kind(n) == DOC_NULL)
		return 0;
	int code = need_text(r, n, key, &text);
	return code ? code : copy(r, text, ret);
}

/* A path as it stands in the file: `~` is expanded, a relative one starts at the file's folder. */
static char *resolve(const struct mesh_config *m, const char *text)
{
	char *home = io_expand_home(text);
	char *path = home ? io_absolute(m->folder, home) : NULL;
	free(home);
	return path;
}

static int set_path(struct reader *r, const char *text, char **ret)
{
	free(*ret);
	*ret = resolve(r->m, text);
	return *ret ? 0 : no_memory(r);
}

/* -- domains ------------------------------------------------------------------------------- */

static const char *const schemes[] = { "file://", "http://", "https://", "s3://" };

static void add_escaped(struct buf *url, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '%')
			buf_adds(url, "%25");
		else
			buf_addc(url, text[i]);
	}
}

/* "." and ".." parts are resolved by name; what file stores would decode is escaped, and nothing else. */
char *mesh_path_to_url(const char *path)
{
	struct buf url = BUF_INIT;
	const size_t root = strlen("file://");
	buf_adds(&url, "file://");
	for (const char *p = path; *p && !url.failed;) {
		p += strspn(p, "/");
		size_t len = strcspn(p, "/");
		if (len == 2 && p[0] == '.' && p[1] == '.') {
			while (url.len > root && url.data[--url.len] != '/')
				;
			url.data[url.len] = '\0';
		} else if (len && !(len == 1 && p[0] == '.')) {
			buf_addc(&url, '/');
			add_escaped(&url, p, len);
		}
		p += len;
	}
	if (url.len == root)
		buf_addc(&url, '/');
	return buf_take(&url);
}

/* Credentials come from the environment or ~/.aws; in a file that is shared and committed they would leak. */
static bool has_credentials(const char *url)
{
	const char *host = strstr(url, "://");
	if (!host)
		return false;
	host += 3;
	size_t len = strcspn(host, "/");
	return memchr(host, '@', len) != NULL;
}

int mesh_store_check(const char *url, struct err *e)
{
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		if (!text_starts(url, schemes[i]))
			continue;
		const char *rest = url + strlen(schemes[i]);
		if (!*rest)
			return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s' names no place", url);
		if (i == 0 && *rest != '/' && !text_starts(rest, "localhost/"))
			return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s': a file:// URL has an absolute path (file:///srv/data)", url);
		char *path = i ? NULL : url_file_path(url);
		free(path);
		if (!i && !path)
			return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s': a '%%' in a file:// URL begins two hex digits; write %%25 for the sign itself", url);
		if (i && has_credentials(url))
			return err_set_kind(e, ERR_PARSE, -EINVAL, "credentials do not belong into a store's URL; use the AWS_* variables or "
								   "~/.aws/credentials");
		return 0;
	}
	return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s': a store is file://, http://, https:// or s3://", url);
}

static int read_store(struct reader *r, const struct doc_node *n, char **ret)
{
	const char *text = NULL;
	struct err why = ERR_INIT;
	int code = need_text(r, n, "store", &text);
	if (code)
		return code;
	if (strstr(text, "://"))
		return mesh_store_check(text, &why) ? doc_err(r->doc, n, r->e, "%s", why.text) : copy(r, text, ret);
	char *path = resolve(r->m, text);
	*ret = path ? mesh_path_to_url(path) : NULL;
	free(path);
	return *ret ? 0 : no_memory(r);
}

static int read_domain(struct reader *r, const struct doc_node *key, const struct doc_node *n, struct mesh_domain *d)
{
	static const char *const known[] = { "store", "endpoint", "region", "owner", "single_writer" };
	struct err why = ERR_INIT;
	int code = need_map(r, n, d->name);
	if (code)
		return code;
	if (name_check("domain", d->name, &why))
		return doc_err(r->doc, key, r->e, "%s", why.text);
	code = doc_check_keys(r->doc, n, known, sizeof known / sizeof *known, r->e);
	if (code)
		return code;
	if (!doc_get(n, "store"))
		return doc_err(r->doc, key, r->e, "domain %s has no 'store'", d->name);
	code = read_store(r, doc_get(n, "store"), &d->store);
	if (!code)
		code = optional_text(r, n, "endpoint", &d->endpoint);
	if (!code)
		code = optional_text(r, n, "region", &d->region);
	if (!code)
		code = optional_text(r, n, "owner", &d->owner);
	if (code)
		return code;
	if (d->endpoint && (has_credentials(d->endpoint) || (!text_starts(d->endpoint, "http://") && !text_starts(d->endpoint, "https://"))))
		return doc_err(r->doc, doc_get(n, "endpoint"), r->e, "an endpoint is an http:// or https:// URL without credentials");
	const struct doc_node *single = doc_get(n, "single_writer");
	if (single && doc_bool(single, &d->single_writer))
		return doc_err(r->doc, single, r->e, "'single_writer' wants true or false");
	return 0;
}

static int read_domains(struct reader *r, const struct doc_node *n)
{
	if (doc_kind(n) == DOC_NULL)
		return 0;
	int code = need_map(r, n, "domains");
	size_t count = doc_count(n);
	if (code)
		return code;
	if (count > DOMAINS_MAX)
		return doc_err(r->doc, n, r->e, "more than %d domains", DOMAINS_MAX);
	r->m->domains = calloc(count ? count : 1, sizeof *r->m->domains);
	if (!r->m->domains)
		return no_memory(r);
	for (size_t i = 0; !code && i < count; i++) {
		struct mesh_domain *d = &r->m->domains[r->m->domain_count++];
		code = copy(r, doc_key(n, i), &d->name);
		if (!code)
			code = read_domain(r, doc_key_node(n, i), doc_item(n, i), d);
	}
	return code;
}

/* -- the other keys ------------------------------------------------------------------------ */

static int read_name(struct reader *r, const struct doc_node *n)
{
	struct err why = ERR_INIT;
	const char *text = NULL;
	int code = need_text(r, n, "mesh", &text);
	if (code)
		return code;
	if (name_check("mesh", text, &why))
		return doc_err(r->doc, n, r->e, "%s", why.text);
	return copy(r, text, &r->m->name);
}

static int read_policy(struct reader *r, const struct doc_node *n)
{
	const char *text = NULL;
	int code = need_text(r, n, "policy", &text);
	return code ? code : set_path(r, text, &r->m->policy_folder);
}

static int read_cache(struct reader *r, const struct doc_node *n)
{
	static const char *const known[] = { "dir", "limit" };
	const struct doc_node *dir = doc_get(n, "dir"), *limit = doc_get(n, "limit");
	const char *text = NULL;
	int code = need_map(r, n, "cache");
	if (!code)
		code = doc_check_keys(r->doc, n, known, 2, r->e);
	if (!code && dir)
		code = need_text(r, dir, "dir", &text);
	if (!code && dir)
		code = set_path(r, text, &r->m->cache_folder);
	if (code || !limit)
		return code;
	text = doc_text(limit);
	if (!text || text_parse_size(text, &r->m->cache_limit_bytes) || r->m->cache_limit_bytes < CACHE_LIMIT_MIN)
		return doc_err(r->doc, limit, r->e, "'limit' wants a size of at least 1MiB, such as 20GiB");
	return 0;
}

static int read_keep(struct reader *r, const struct doc_node *n)
{
	const char *text = doc_text(n);
	if (!text || text_parse_duration_ms(text, &r->m->lineage_keep_ms) || r->m->lineage_keep_ms < LINEAGE_KEEP_MIN_MS)
		return doc_err(r->doc, n, r->e, "'keep' wants a time of at least 1d, such as 400d");
	return 0;
}

static int read_lineage(struct reader *r, const struct doc_node *n)
{
	static const char *const known[] = { "db", "on_full", "keep" };
	const struct doc_node *db = doc_get(n, "db"), *full = doc_get(n, "on_full"), *keep = doc_get(n, "keep");
	const char *text = NULL;
	int code = need_map(r, n, "lineage");
	if (!code)
		code = doc_check_keys(r->doc, n, known, 3, r->e);
	if (!code && keep)
		code = read_keep(r, keep);
	if (!code && db)
		code = need_text(r, db, "db", &text);
	if (!code && db)
		code = set_path(r, text, &r->m->lineage_db);
	if (code || !full)
		return code;
	text = doc_text(full);
	if (text && !strcmp(text, "wait"))
		r->m->lineage_on_full = LINEAGE_FULL_WAIT;
	else if (text && !strcmp(text, "serve"))
		r->m->lineage_on_full = LINEAGE_FULL_SERVE;
	else
		return doc_err(r->doc, full, r->e, "'on_full' is wait (nothing is served that cannot be recorded) or serve");
	return 0;
}

static int read_refresh(struct reader *r, const struct doc_node *n)
{
	const char *text = doc_text(n);
	if (!text || text_parse_duration_ms(text, &r->m->refresh_ms) || r->m->refresh_ms < REFRESH_MIN_MS || r->m->refresh_ms > REFRESH_MAX_MS)
		return doc_err(r->doc, n, r->e, "'refresh' wants a time from 50ms to 1d, such as 5s");
	return 0;
}

static int read_timeout(struct reader *r, const struct doc_node *n)
{
	const char *text = doc_text(n);
	if (!text || text_parse_duration_ms(text, &r->m->timeout_ms) || r->m->timeout_ms < TIMEOUT_MIN_MS || r->m->timeout_ms > TIMEOUT_MAX_MS)
		return doc_err(r->doc, n, r->e, "'timeout' wants a time from 1s to 1h, such as 30s");
	return 0;
}

static int read_sql_limit(struct reader *r, const struct doc_node *n)
{
	const char *text = doc_text(n);
	if (!text || text_parse_duration_ms(text, &r->m->sql_limit_ms) || r->m->sql_limit_ms < SQL_LIMIT_MIN_MS || r->m->sql_limit_ms > SQL_LIMIT_MAX_MS)
		return doc_err(r->doc, n, r->e, "'sql_limit' wants a time from 1s to 1d, such as 60s");
	return 0;
}

static int read_keys(struct reader *r, const struct doc_node *n)
{
	size_t count = doc_count(n);
	const char *text = NULL;
	struct err why = ERR_INIT;
	int code = need_map(r, n, "keys");
	if (code)
		return code;
	r->m->keys = calloc(count ? count : 1, sizeof *r->m->keys);
	if (!r->m->keys)
		return no_memory(r);
	for (size_t i = 0; !code && i < count; i++) {
		struct mesh_key *k = &r->m->keys[r->m->key_count++];
		if (name_check("key", doc_key(n, i), &why))
			return doc_err(r->doc, doc_key_node(n, i), r->e, "%s", why.text);
		code = copy(r, doc_key(n, i), &k->name);
		if (!code)
			code = need_text(r, doc_item(n, i), k->name, &text);
		if (!code)
			code = set_path(r, text, &k->path);
	}
	return code;
}

static int read_views(struct reader *r, const struct doc_node *n)
{
	static const char *const known[] = { "user", "group", "purpose" };
	size_t count = doc_count(n);
	int code = 0;
	if (doc_kind(n) != DOC_LIST)
		return doc_err(r->doc, n, r->e, "'views' wants a list of subjects, such as [ { group: ds, purpose: training } ]");
	r->m->views = calloc(count ? count : 1, sizeof *r->m->views);
	if (!r->m->views)
		return no_memory(r);
	for (size_t i = 0; !code && i < count; i++) {
		const struct doc_node *item = doc_item(n, i);
		struct mesh_view_subject *v = &r->m->views[r->m->view_count++];
		code = need_map(r, item, "views");
		if (!code)
			code = doc_check_keys(r->doc, item, known, 3, r->e);
		if (!code)
			code = optional_text(r, item, "user", &v->user);
		if (!code)
			code = optional_text(r, item, "group", &v->group);
		if (!code)
			code = optional_text(r, item, "purpose", &v->purpose);
		if (!code && !v->user && !v->group && !v->purpose)
			code = doc_err(r->doc, item, r->e, "a subject names at least one of user, group, purpose");
	}
	return code;
}

/* Every key of the file, in the order in which they are read. */
static const struct {
	const char *name;
	int (*read)(struct reader *r, const struct doc_node *n);
} keys[] = {
	{ "mesh", read_name },       { "domains", read_domains }, { "policy", read_policy }, { "cache", read_cache },
	{ "lineage", read_lineage }, { "refresh", read_refresh }, { "keys", read_keys },     { "views", read_views },
	{ "timeout", read_timeout }, { "sql_limit", read_sql_limit },
};
#define KEY_COUNT (sizeof keys / sizeof *keys)

/* What the file leaves out. */
static int fill_defaults(struct reader *r)
{
	struct mesh_config *m = r->m;
	char *state = NULL;
	if (!m->policy_folder)
		m->policy_folder = io_join(m->folder, "policy");
	if (!m->cache_folder)
		m->cache_folder = io_cache_folder();
	if (!m->lineage_db && (state = io_state_folder()))
		m->lineage_db = text_format("%s/lineage/%s.db", state, m->name);
	free(state);
	return m->policy_folder && m->cache_folder && m->lineage_db ? 0 : no_memory(r);
}

static int read_all(struct reader *r)
{
	const char *names[KEY_COUNT];
	const struct doc_node *root = doc_root(r->doc);
	for (size_t i = 0; i < KEY_COUNT; i++)
		names[i] = keys[i].name;
	if (doc_kind(root) != DOC_MAP)
		return doc_err(r->doc, root, r->e, "a mesh file is a map that starts with 'mesh: NAME'");
	int code = doc_check_keys(r->doc, root, names, KEY_COUNT, r->e);
	if (!code && !doc_get(root, "mesh"))
		code = doc_err(r->doc, root, r->e, "the mesh has no name: add 'mesh: NAME'");
	for (size_t i = 0; !code && i < KEY_COUNT; i++) {
		const struct doc_node *n = doc_get(root, keys[i].name);
		if (doc_kind(n) != DOC_NULL || (n && !i))
			code = keys[i].read(r, n);
	}
	return code ? code : fill_defaults(r);
}

int mesh_parse(const char *path, const char *text, size_t len, struct mesh_config **ret, struct err *e)
{
	struct mesh_config *m = calloc(1, sizeof *m);
	struct doc *doc = NULL;
	struct reader r = { m, NULL, e };
	if (!m)
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	m->cache_limit_bytes = CACHE_LIMIT_DEFAULT;
	m->refresh_ms = REFRESH_DEFAULT_MS;
	m->timeout_ms = TIMEOUT_DEFAULT_MS;
	m->sql_limit_ms = SQL_LIMIT_DEFAULT_MS;
	m->path = io_absolute(NULL, path);
	m->folder = m->path ? strdup(m->path) : NULL;
	if (!m->folder) {
		mesh_config_free(m);
		return err_set(e, -ENOMEM, "%s: out of memory", path);
	}
	char *slash = strrchr(m->folder, '/');
	slash[slash == m->folder] = '\0';
	int code = doc_parse(path, text, len, &doc, e);
	r.doc = doc;
	if (!code)
		code = read_all(&r);
	doc_free(doc);
	if (code) {
		mesh_config_free(m);
		return code;
	}
	*ret = m;
	return 0;
}

static bool is_folder(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* Relative paths start where the named file stands.  A link that stands there alone, without the policy, means the mesh it leads to. */
static int follow_link(struct mesh_config **m, const char *text, size_t len, struct err *e)
{
	struct stat st;
	if (is_folder((*m)->policy_folder) || lstat((*m)->path, &st) || !S_ISLNK(st.st_mode))
		return 0;
	char *real = realpath((*m)->path, NULL);
	struct mesh_config *there = NULL;
	int r = real ? mesh_parse(real, text, len, &there, e) : 0;
	free(real);
	if (!there)
		return r;
	mesh_config_free(*m);
	*m = there;
	return 0;
}

int mesh_load(const char *path, struct mesh_config **ret, struct err *e)
{
	struct buf text = BUF_INIT;
	struct mesh_config *m = NULL;
	int r = io_read_file(path, DOC_BYTES_MAX, &text, e);
	if (!r)
		r = mesh_parse(path, buf_text(&text), text.len, &m, e);
	if (!r)
		r = follow_link(&m, buf_text(&text), text.len, e);
	if (!r)
		*ret = m;
	else
		mesh_config_free(m);
	buf_free(&text);
	return r;
}

void mesh_config_free(struct mesh_config *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->domain_count; i++) {
		struct mesh_domain *d = &m->domains[i];
		free(d->name);
		free(d->store);
		free(d->endpoint);
		free(d->region);
		free(d->owner);
	}
	for (size_t i = 0; i < m->key_count; i++) {
		free(m->keys[i].name);
		free(m->keys[i].path);
	}
	for (size_t i = 0; i < m->view_count; i++) {
		free(m->views[i].user);
		free(m->views[i].group);
		free(m->views[i].purpose);
	}
	free(m->domains);
	free(m->keys);
	free(m->views);
	free(m->name);
	free(m->path);
	free(m->folder);
	free(m->policy_folder);
	free(m->cache_folder);
	free(m->lineage_db);
	free(m);
}

/* -- asking -------------------------------------------------------------------------------- */

const struct mesh_domain *mesh_domain_find(const struct mesh_config *m, const char *name)
{
	for (size_t i = 0; i < m->domain_count; i++)
		if (!strcmp(m->domains[i].name, name))
			return &m->domains[i];
	return NULL;
}

const struct mesh_key *mesh_key_find(const struct mesh_config *m, const char *name)
{
	for (size_t i = 0; i < m->key_count; i++)
		if (!strcmp(m->keys[i].name, name))
			return &m->keys[i];
	return NULL;
}

int mesh_domain_get(const struct mesh_config *m, const char *name, const struct mesh_domain **ret, struct err *e)
{
	*ret = mesh_domain_find(m, name);
	if (*ret)
		return 0;
	const char **names = calloc(m->domain_count + 1, sizeof *names);
	for (size_t i = 0; names && i < m->domain_count; i++)
		names[i] = m->domains[i].name;
	const char *near = names ? text_nearest(name, names, m->domain_count) : NULL;
	int r = near ? err_set(e, -ENOENT, "%s: no such domain in %s (did you mean '%s'?)", name, m->path, near)
		     : err_set(e, -ENOENT, "%s: no such domain in %s; 'meshfs domain ls' lists them", name, m->path);
	free(names);
	return r;
}

int mesh_transfer_start(const struct mesh_config *m, struct transfer **ret, struct err *e)
{
	int64_t connect_ms = m->timeout_ms / 3;
	struct transfer_config config = {
		.connect_timeout_ms = connect_ms < CONNECT_MAX_MS ? connect_ms : CONNECT_MAX_MS,
		.deadline_ms = m->timeout_ms * 2, /* what nobody waits for in a read(2) may take longer */
	};
	return transfer_start(&config, ret, e);
}
