/* doctor: what is wrong with this machine or this mesh, and how to mend it. */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/store/url.h"
#include "fs/commands.h"
#include "fs/policy_command.h"
#include "fs/registry.h"
#include "policy/duckdb.h"
#include "policy/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FILES_WANTED 4096
#define CLOCK_SLACK_NS (60 * NS_PER_S)

enum level { OK, WARNING, PROBLEM };

struct doctor {
	bool json, quiet;
	int problems;
};

/* One finding: what is so, and (NULL when nothing) what to do. */
static void say(struct doctor *d, enum level level, const char *check, const char *advice, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static void say(struct doctor *d, enum level level, const char *check, const char *advice, const char *fmt, ...)
{
	static const char *const names[] = { "ok", "warning", "problem" };
	char text[ERR_TEXT_MAX];
	struct buf out = BUF_INIT;
	struct json j;
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	d->problems += level == PROBLEM;
	if (d->json) {
		json_start(&j, &out);
		json_open(&j, '{');
		json_field_text(&j, "check", check);
		json_field_text(&j, "status", names[level]);
		json_field_text(&j, "detail", text);
		json_field_text(&j, "advice", advice);
		json_close(&j, '}');
		buf_addc(&out, '\n');
	} else if (level != OK || !d->quiet) {
		buf_addf(&out, "%-8s %-12s ", names[level], check);
		browse_add_safe(&out, text);
		buf_addf(&out, "%s%s\n", advice ? "; " : "", advice ? advice : "");
	}
	browse_print(&out);
	buf_free(&out);
}

/* -- the machine ------------------------------------------------------------------------------- */

static bool on_path(const char *program)
{
	const char *path = getenv("PATH");
	char *copy = strdup(path ? path : "/usr/bin:/bin"), *rest = copy;
	bool found = false;
	for (char *folder; copy && !found && (folder = strsep(&rest, ":"));) {
		char *full = io_join(*folder ? folder : ".", program);
		found = full && !access(full, X_OK);
		free(full);
	}
	free(copy);
	return found;
}

static void check_fuse(struct doctor *d)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		close(fd);
		say(d, OK, "fuse", NULL, "/dev/fuse can be opened");
	} else {
		say(d, PROBLEM, "fuse",
		    errno == ENOENT ? "load the module (modprobe fuse); a container must be given the device" : "root must let this user open it",
		    "/dev/fuse: %s", strerror(errno));
	}
	if (on_path("fusermount3"))
		say(d, OK, "fusermount3", NULL, "found");
	else
		say(d, geteuid() ? PROBLEM : WARNING, "fusermount3", "install the package fuse3", "not on PATH; only root can mount without it");
}

static void check_kernel(struct doctor *d)
{
	struct utsname u;
	struct rlimit files;
	int major = 0, minor = 0;
	if (!uname(&u) && sscanf(u.release, "%d.%d", &major, &minor) == 2) {
		bool knows = major > 6 || (major == 6 && minor >= 9);
		say(d, OK, "passthrough", NULL, "%s (kernel %d.%d)",
		    !knows	? "not known to this kernel, 6.9 has it; costs speed only" :
		    geteuid()	? "for mounts by root only; costs speed only" :
				  "cached files are read without a detour",
		    major, minor);
	}
	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_max < FILES_WANTED)
		say(d, WARNING, "open files", "raise it (ulimit -Hn)", "at most %llu", (unsigned long long)files.rlim_max);
}

static void check_engine(struct doctor *d)
{
	const char *version = duckdb_engine_version();
	if (strcmp(version, "none") != 0)
		say(d, OK, "engine", NULL, "DuckDB %s", version);
	else
		say(d, WARNING, "engine", "install libduckdb.so, or name it in MESHFS_DUCKDB",
		    "no DuckDB: Parquet files under row filters or value masks are denied");
}

static int check_mount(void *arg, const struct mount_facts *f, bool alive)
{
	if (alive)
		say(arg, OK, "mount", NULL, "%s is served by pid %d", f->mountpoint, (int)f->pid);
	else
		say(arg, PROBLEM, "mount", "meshfs umount removes it", "%s: its process was killed", f->mountpoint);
	return 0;
}

/* -- folders and files ------------------------------------------------------------------------- */

/* The deepest folder on the way to `path` that exists; the caller's. */
static char *existing_parent(const char *path)
{
	char *p = strdup(path);
	struct stat st;
	while (p && stat(p, &st)) {
		char *slash = strrchr(p, '/');
		if (!slash)
			break;
		slash[slash == p] = '\0';
	}
	return p;
}

/* A folder that only its owner may read and that is on a local disk. */
static void check_folder(struct doctor *d, const char *check, const char *folder, enum level if_network)
{
	struct stat st;
	char *parent = existing_parent(folder);
	bool there = !stat(folder, &st);
	if (there && st.st_uid != geteuid() && geteuid())
		say(d, PROBLEM, check, "choose another in mesh.yaml", "%s belongs to uid %u", folder, (unsigned)st.st_uid);
	else if (there && (st.st_mode & 077))
		say(d, PROBLEM, check, "chmod 700", "%s can be entered by others (mode %03o)", folder, (unsigned)st.st_mode & 0777);
	else if (parent && access(parent, W_OK | X_OK))
		say(d, PROBLEM, check, "choose another in mesh.yaml, or mend its mode", "%s cannot be written: %s", parent, strerror(errno));
	else if (parent && io_is_network(parent) == 1)
		say(d, if_network, check, "choose one on a local disk in mesh.yaml", "%s is on a network file system", parent);
	else
		say(d, OK, check, NULL, "%s%s", folder, there ? "" : " (made when first used)");
	free(parent);
}

static void check_lineage(struct doctor *d, const struct mesh_config *mesh)
{
	struct stat st;
	char *folder = strdup(mesh->lineage_db), *slash = folder ? strrchr(folder, '/') : NULL;
	char *parent;
	if (slash)
		slash[slash == folder] = '\0';
	parent = folder ? existing_parent(folder) : NULL;
	if (!stat(mesh->lineage_db, &st) && (st.st_mode & 077))
		say(d, WARNING, "lineage", "chmod 600", "%s can be read by others (mode %03o)", mesh->lineage_db, (unsigned)st.st_mode & 0777);
	else if (parent && io_is_network(parent) == 1)
		say(d, PROBLEM, "lineage", "set lineage.db in mesh.yaml to a local disk", "%s is on a network file system", parent);
	else if (parent && access(parent, W_OK | X_OK))
		say(d, PROBLEM, "lineage", "set lineage.db in mesh.yaml", "%s cannot be written, so nothing can be read: %s", parent, strerror(errno));
	else
		say(d, OK, "lineage", NULL, "%s", mesh->lineage_db);
	free(parent);
	free(folder);
}

/* Who can write the rules decides what they say. */
static void check_rules_mode(struct doctor *d, const char *path)
{
	struct stat st;
	if (!stat(path, &st) && (st.st_mode & S_IWOTH))
		say(d, PROBLEM, "policy", "chmod o-w", "%s can be written by everyone", path);
}

/* -- the mesh ---------------------------------------------------------------------------------- */

static void check_keys(struct doctor *d, const struct mesh_config *mesh)
{
	unsigned char fingerprint[8];
	for (size_t i = 0; i < mesh->key_count; i++) {
		struct err e = ERR_INIT;
		if (policy_key_fingerprint(mesh, mesh->keys[i].name, fingerprint, &e))
			say(d, PROBLEM, "key", NULL, "%s: %s", mesh->keys[i].name, e.text);
		else
			say(d, OK, "key", NULL, "%s", mesh->keys[i].name);
	}
}

/* Readers of a folder's files need no mount, so no policy binds them. */
static void check_store_mode(struct doctor *d, const struct browse_domain *b)
{
	struct stat st;
	const char *url = b->config->store;
	char *path = url_file_path(url);
	char *own = path ? io_join(path, ".mesh") : NULL;
	free(path);
	if (own && !stat(own, &st) && (st.st_mode & 077))
		say(d, WARNING, "store", "chmod 700 its .mesh", "%s: other users can read %s itself, past every rule", b->config->name, own);
	free(own);
}

static void check_writable(struct doctor *d, const struct browse_domain *b)
{
	struct store *s = domain_store(b->domain);
	struct err e = ERR_INIT;
	bool exclusive = true;
	if (!store_writable(s)) {
		say(d, OK, "store", NULL, "%s is reached (read only)", b->config->name);
		return;
	}
	int r = store_probe_exclusive(s, &exclusive, &e);
	if (r == -EACCES || r == -EROFS || r == -EPERM)
		say(d, OK, "store", NULL, "%s is reached; nothing can be published there from here", b->config->name);
	else if (r)
		say(d, PROBLEM, "store", NULL, "%s is reached and cannot be written: %s", b->config->name, e.text);
	else if (!exclusive && !b->config->single_writer)
		say(d, PROBLEM, "store", "set single_writer: true for it in mesh.yaml, and publish from one place",
		    "%s: its server lets two publishers overwrite each other", b->config->name);
	else
		say(d, OK, "store", NULL, "%s is reached and can be written%s", b->config->name, b->config->single_writer ? " (single writer)" : "");
}

static void check_domain(struct doctor *d, const struct browse_domain *b)
{
	if (!b->reached) {
		say(d, PROBLEM, "store", b->snapshot ? "what is cached stays readable" : NULL, "%s", b->why.text);
		return;
	}
	check_writable(d, b);
	check_store_mode(d, b);
	int64_t ahead = b->snapshot ? snapshot_time_ns(b->snapshot) - clock_now_ns() : 0;
	if (ahead > CLOCK_SLACK_NS)
		say(d, WARNING, "clock", "set the clock of this machine, or of the publisher's",
		    "%s was published %lld s in the future as this clock has it", b->config->name, (long long)(ahead / NS_PER_S));
}

static void check_mesh(struct doctor *d, const struct invocation *inv)
{
	struct policy_command c = { 0 };
	struct browse plain;
	struct err e = ERR_INIT, why = ERR_INIT;
	bool loads = !policy_command_open(inv, &c, &e);
	struct browse *b = loads ? &c.browse : &plain;
	if (!loads && browse_open(inv, NULL, &plain, &why)) {
		say(d, PROBLEM, "mesh", why.code == -ENOENT ? "'meshfs init' makes one, -m or MESHFS_MESH names one" : NULL, "%s", why.text);
		return;
	}
	say(d, OK, "mesh", NULL, "%s (%s)", b->mesh->name, b->mesh->path);
	if (loads)
		say(d, OK, "policy", NULL, "%zu %s", policy_rule_count(c.policy), policy_rule_count(c.policy) == 1 ? "rule loads" : "rules load");
	else
		say(d, PROBLEM, "policy", "nothing is served until it loads", "%s", e.text);
	check_rules_mode(d, b->mesh->path);
	check_rules_mode(d, b->mesh->policy_folder);
	check_keys(d, b->mesh);
	check_folder(d, "cache", b->mesh->cache_folder, WARNING);
	check_lineage(d, b->mesh);
	for (size_t i = 0; i < b->count; i++)
		check_domain(d, &b->domains[i]);
	if (loads)
		policy_command_close(&c);
	else
		browse_close(&plain);
}

int cmd_doctor(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct doctor d = { .quiet = inv->quiet };
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: check status detail advice", &d.json } };
	int words;
	int r = options_parse("doctor [--json]",
			      "Looks for what is wrong with this machine or this mesh, and says how to mend it.  Exits with 1 when there is a problem.",
			      specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "doctor", "doctor wants no '%s'", argv[0]);
	check_fuse(&d);
	check_kernel(&d);
	check_engine(&d);
	say(&d, OK, "binding", NULL, "%s",
	    geteuid() ? "a mount of your own is advisory; policy binds in a session that root makes (mount --user)" :
			"policy binds users in sessions made with mount --user or run --user");
	registry_list(check_mount, &d);
	check_mesh(&d, inv);
	*ret_status = d.problems ? ERR_FAIL : 0;
	return 0;
}
