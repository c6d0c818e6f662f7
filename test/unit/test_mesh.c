#include "catalog/base/buf.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/mesh.h"
#include "test/unit/check.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static struct err e;

static struct mesh_config *parse(const char *text)
{
	struct mesh_config *m = NULL;
	err_clear(&e);
	mesh_parse("/srv/acme/mesh.yaml", text, strlen(text), &m, &e);
	return m;
}

TEST(every_key)
{
	setenv("HOME", "/home/ana", 1);
	struct mesh_config *m = parse("mesh: acme\n"
				      "domains:\n"
				      "  sales:   { store: \"file:///srv/sales\", owner: Sales }\n"
				      "  health:  { store: \"s3://health-data/mesh\", endpoint: \"http://127.0.0.1:9000\", region: us-east-1, single_writer: true }\n"
				      "  public:  { store: \"https://data.example.org/mesh\" }\n"
				      "  local:   { store: ./data }\n"
				      "policy: rules\n"
				      "cache:   { dir: ~/c, limit: 2GiB }\n"
				      "lineage: { db: lineage.db, on_full: serve, keep: 400d }\n"
				      "refresh: 250ms\n"
				      "timeout: 3s\n"
				      "sql_limit: 2min\n"
				      "keys:    { train-1: keys/train-1.key, other: /k }\n"
				      "views:   [ { group: ds, purpose: training }, { user: ana } ]\n");
	if (!m)
		printf("%s\n", e.text);
	CHECK(m != NULL);
	CHECK_STR(m->name, "acme");
	CHECK_STR(m->path, "/srv/acme/mesh.yaml");
	CHECK_STR(m->folder, "/srv/acme");
	CHECK_INT(m->domain_count, 4);
	const struct mesh_domain *d = mesh_domain_find(m, "health");
	CHECK(d && d->single_writer);
	CHECK_STR(d->endpoint, "http://127.0.0.1:9000");
	CHECK_STR(d->region, "us-east-1");
	CHECK_STR(mesh_domain_find(m, "sales")->owner, "Sales");
	CHECK_STR(mesh_domain_find(m, "local")->store, "file:///srv/acme/data");
	CHECK_STR(m->policy_folder, "/srv/acme/rules");
	CHECK_STR(m->cache_folder, "/home/ana/c");
	CHECK(m->cache_limit_bytes == (uint64_t)2 << 30);
	CHECK_STR(m->lineage_db, "/srv/acme/lineage.db");
	CHECK_INT(m->lineage_on_full, LINEAGE_FULL_SERVE);
	CHECK_INT(m->lineage_keep_ms, 400LL * 86400 * 1000);
	CHECK_INT(m->refresh_ms, 250);
	CHECK_INT(m->timeout_ms, 3000);
	CHECK_INT(m->sql_limit_ms, 120000);
	CHECK_STR(mesh_key_find(m, "train-1")->path, "/srv/acme/keys/train-1.key");
	CHECK_STR(mesh_key_find(m, "other")->path, "/k");
	CHECK(!mesh_key_find(m, "none"));
	CHECK_INT(m->view_count, 2);
	CHECK_STR(m->views[0].purpose, "training");
	CHECK(!m->views[0].user);
	const struct mesh_domain *near;
	CHECK_INT(mesh_domain_get(m, "heatlh", &near, &e), -ENOENT);
	CHECK(strstr(e.text, "did you mean 'health'"));
	CHECK_INT(e.kind, ERR_ABSENT);
	mesh_config_free(m);
}

TEST(paths_as_urls)
{
	static const char *const cases[][2] = { { "/a/b", "file:///a/b" }, { "/", "file:///" },   { "/a//b/", "file:///a/b" },
						{ "/a/./b/../c", "file:///a/c" }, { "/../..", "file:///" }, { "/a b%", "file:///a b%25" } };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *url = mesh_path_to_url(cases[i][0]);
		CHECK_STR(url, cases[i][1]);
		free(url);
	}
}

TEST(defaults)
{
	setenv("XDG_CACHE_HOME", "/x/cache", 1);
	setenv("XDG_STATE_HOME", "/x/state", 1);
	struct mesh_config *m = parse("mesh: acme\ndomains:\n");
	CHECK(m != NULL);
	CHECK_INT(m->domain_count, 0);
	CHECK_STR(m->policy_folder, "/srv/acme/policy");
	CHECK_STR(m->cache_folder, "/x/cache/meshfs");
	CHECK_STR(m->lineage_db, "/x/state/meshfs/lineage/acme.db");
	CHECK(m->cache_limit_bytes == (uint64_t)20 << 30);
	CHECK_INT(m->refresh_ms, 5000);
	CHECK_INT(m->timeout_ms, 30000);
	CHECK_INT(m->sql_limit_ms, 60000);
	mesh_config_free(m);
	unsetenv("XDG_CACHE_HOME");
	unsetenv("XDG_STATE_HOME");
}

TEST(what_is_wrong_is_told_with_its_place)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{ "", "mesh.yaml" },
		{ "- a\n", ":1:" },
		{ "domains: {}\n", "no name" },
		{ "mesh: Acme\n", ":1:7: 'Acme' cannot name a mesh" },
		{ "mesh: a\ndomain: {}\n", ":2:1: " },
		{ "mesh: a\ndomain: {}\n", "domains" },
		{ "mesh: a\ndomains: [x]\n", ":2:" },
		{ "mesh: a\ndomains:\n  Sales: { store: /x }\n", ":3:3: 'Sales'" },
		{ "mesh: a\ndomains:\n  sales: { stroe: /x }\n", "store" },
		{ "mesh: a\ndomains:\n  sales: { owner: x }\n", ":3:3: domain sales has no 'store'" },
		{ "mesh: a\ndomains:\n  sales: { store: 'ftp://x' }\n", "a store is file://" },
		{ "mesh: a\ndomains:\n  sales: { store: 'file://x' }\n", "absolute path" },
		{ "mesh: a\ndomains:\n  sales: { store: 's3://' }\n", "names no place" },
		{ "mesh: a\ndomains:\n  sales: { store: 's3://key:secret@bucket' }\n", "credentials" },
		{ "mesh: a\ndomains:\n  sales: { store: /x, endpoint: 'https://k:s@h' }\n", "without credentials" },
		{ "mesh: a\ndomains:\n  sales: { store: /x, single_writer: perhaps }\n", "true or false" },
		{ "mesh: a\ndomains:\n  sales: { store: /x }\n  sales: { store: /y }\n", "twice" },
		{ "mesh: a\ncache: { limit: lots }\n", ":2:17: 'limit'" },
		{ "mesh: a\ncache: { limit: 5 }\n", "at least 1MiB" },
		{ "mesh: a\ncache: { size: 5GiB }\n", ":2:10" },
		{ "mesh: a\ntimeout: 1ms\n", ":2:10: 'timeout'" },
		{ "mesh: a\nsql_limit: 1ms\n", ":2:12: 'sql_limit'" },
		{ "mesh: a\nrefresh: soon\n", ":2:10: 'refresh'" },
		{ "mesh: a\nrefresh: 1ms\n", "50ms" },
		{ "mesh: a\nlineage: { on_full: drop }\n", "on_full" },
		{ "mesh: a\nlineage: { keep: 1h }\n", "keep" },
		{ "mesh: a\nlineage: { keep: long }\n", "keep" },
		{ "mesh: a\nkeys: { ../x: y }\n", "cannot name a key" },
		{ "mesh: a\nkeys: { k: }\n", "wants a text" },
		{ "mesh: a\nviews: { group: ds }\n", "wants a list" },
		{ "mesh: a\nviews: [ {} ]\n", "at least one" },
		{ "mesh: a\nviews: [ { groups: ds } ]\n", "group" },
		{ "mesh: [a\n", ":" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mesh_config *m = parse(cases[i].text);
		if (m || e.kind != ERR_PARSE || !strstr(e.text, "mesh.yaml") || !strstr(e.text, cases[i].expected))
			CHECK_FAIL("%s\ngave: %s\nexpected: %s", cases[i].text, m ? "no error" : e.text, cases[i].expected);
		if (strstr(e.text, "secret"))
			CHECK_FAIL("a credential stands in: %s", e.text);
	}
}

/* -- edits --------------------------------------------------------------------------------- */

static char folder[64];

static const char *write_mesh(const char *text)
{
	static char path[128];
	if (!*folder) {
		strcpy(folder, "/tmp/meshfs-test-mesh-XXXXXX");
		if (!mkdtemp(folder))
			abort();
	}
	snprintf(path, sizeof path, "%s/mesh.yaml", folder);
	if (io_write_file(path, text, strlen(text), 0640, NULL))
		abort();
	return path;
}

static void inserts(const char *before, const char *after)
{
	struct buf out = BUF_INIT;
	struct mesh_domain d = { .name = (char *)"new", .store = (char *)"file:///n w", .owner = (char *)"A \"B\": #c" };
	const char *path = write_mesh(before);
	err_clear(&e);
	if (mesh_add_domain(path, &d, &e))
		CHECK_FAIL("%s\ngave: %s", before, e.text);
	CHECK_OK(io_read_file(path, 1 << 20, &out, &e), &e);
	CHECK_STR(buf_text(&out), after);
	buf_free(&out);
}

#define NEW "new: { store: \"file:///n w\", owner: \"A \\\"B\\\": #c\" }"

TEST(a_domain_is_inserted_and_the_rest_stays)
{
	inserts("mesh: a\n", "mesh: a\n\ndomains:\n  " NEW "\n");
	inserts("mesh: a", "mesh: a\n\ndomains:\n  " NEW "\n");
	inserts("mesh: a\ndomains:\n", "mesh: a\ndomains:\n  " NEW "\n");
	inserts("mesh: a\ndomains:   # none yet\n# c\npolicy: p\n", "mesh: a\ndomains:   # none yet\n  " NEW "\n# c\npolicy: p\n");
	inserts("mesh: a\ndomains:", "mesh: a\ndomains:\n  " NEW "\n");
	inserts("mesh: a\ndomains: {}\npolicy: p\n", "mesh: a\ndomains:\n  " NEW "\npolicy: p\n");
	inserts("mesh: a\ndomains: {}  # none\n", "mesh: a\ndomains:  # none\n  " NEW "\n");
	inserts("mesh: a\ndomains: null\n", "mesh: a\ndomains:\n  " NEW "\n");
	inserts("mesh: a\ndomains: ~ # x\n", "mesh: a\ndomains: # x\n  " NEW "\n");
	inserts("mesh: a\ndomains:\n    s: { store: /s } # sales\n    # last words\n\n# policies\npolicy: p\n",
		"mesh: a\ndomains:\n    s: { store: /s } # sales\n    # last words\n    " NEW "\n\n# policies\npolicy: p\n");
	inserts("mesh: a\ndomains:\n  s:\n    store: /s\n    owner: >\n      long\n\n      words\n\npolicy: p\n",
		"mesh: a\ndomains:\n  s:\n    store: /s\n    owner: >\n      long\n\n      words\n  " NEW "\n\npolicy: p\n");
	inserts("mesh: a\ndomains:\n  s: { store: /s }", "mesh: a\ndomains:\n  s: { store: /s }\n  " NEW "\n");
	inserts("mesh: a\r\ndomains:\r\n  s: { store: /s }\r\npolicy: p\r\n", "mesh: a\r\ndomains:\r\n  s: { store: /s }\r\n  " NEW "\r\npolicy: p\r\n");
	inserts("mesh: a\ndomains: { s: { store: /s } }\npolicy: p\n", "mesh: a\ndomains: { s: { store: /s }, " NEW " }\npolicy: p\n");
	inserts("mesh: a\ndomains: {s: {store: '}'}}\n", "mesh: a\ndomains: {s: {store: '}'}, " NEW " }\n");
	inserts("mesh: a\ndomains: {\n  s: { store: /s }, # {\n  }\n", "mesh: a\ndomains: { " NEW ",\n  s: { store: /s }, # {\n  }\n");
	inserts("# \xc3\xa9t\xc3\xa9\nmesh: a\n\"domains\": { s: { store: \"/\xc3\xa9\" } }\n", "# \xc3\xa9t\xc3\xa9\nmesh: a\n\"domains\": { s: { store: \"/\xc3\xa9\" }, " NEW " }\n");
}

TEST(an_edit_keeps_mode_and_links)
{
	struct stat st;
	char link[160];
	struct mesh_domain d = { .name = (char *)"new", .store = (char *)"file:///n" };
	const char *path = write_mesh("mesh: a\n");
	snprintf(link, sizeof link, "%s/link.yaml", folder);
	CHECK_INT(symlink(path, link), 0);
	CHECK_OK(mesh_add_domain(link, &d, &e), &e);
	CHECK_INT(lstat(link, &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	CHECK_INT(stat(path, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(mesh_add_domain(path, &d, &e), -EEXIST);
	d.name = (char *)"../x";
	CHECK_INT(mesh_add_domain(path, &d, &e), -EINVAL);
	d.name = (char *)"y";
	CHECK_INT(mesh_add_domain(write_mesh("mesh: a\ntypo: 1\n"), &d, &e), -EINVAL);
	CHECK(strstr(e.text, ":2:1"));
}

TEST(a_new_mesh_loads_and_is_not_overwritten)
{
	struct mesh_config *m;
	char *path = text_format("%s/new/mesh", folder);
	struct mesh_domain d = { .name = (char *)"sales", .store = (char *)"file:///s" };
	CHECK_OK(mesh_create(path, "acme", &e), &e);
	CHECK_INT(mesh_create(path, "acme", &e), -EEXIST);
	CHECK_INT(mesh_create(path, "Not a name", &e), -EINVAL);
	CHECK_OK(mesh_open(path, &m, &e), &e);
	CHECK_STR(m->name, "acme");
	CHECK_INT(access(m->policy_folder, R_OK), 0);
	CHECK_OK(mesh_add_domain(m->path, &d, &e), &e);
	mesh_config_free(m);
	CHECK_OK(mesh_open(path, &m, &e), &e);
	CHECK_INT(m->domain_count, 1);
	mesh_config_free(m);
	free(path);
}

TEST(where_a_mesh_is_found)
{
	char *found, *deep = text_format("%s/new/mesh/a/b", folder), here[256];
	CHECK(getcwd(here, sizeof here) != NULL);
	CHECK_OK(io_make_folders(deep, 0755, &e), &e);
	CHECK_INT(chdir(deep), 0);
	CHECK_OK(mesh_find(NULL, &found, &e), &e);
	CHECK(text_ends(found, "/new/mesh/mesh.yaml"));
	free(found);
	setenv("MESHFS_MESH", "/nowhere/mesh.yaml", 1);
	CHECK_INT(mesh_find(NULL, &found, &e), -ENOENT);
	CHECK(strstr(e.text, "$MESHFS_MESH"));
	CHECK_OK(mesh_find("..//..", &found, &e), &e);
	free(found);
	unsetenv("MESHFS_MESH");
	CHECK_INT(chdir("/"), 0);
	setenv("HOME", "/nowhere", 1);
	if (access("/etc/meshfs/mesh.yaml", F_OK)) {
		CHECK_INT(mesh_find(NULL, &found, &e), -ENOENT);
		CHECK(strstr(e.text, "meshfs init"));
	}
	CHECK_INT(chdir(here), 0);
	free(deep);
	io_remove_tree(folder, NULL);
}

CHECK_MAIN()
