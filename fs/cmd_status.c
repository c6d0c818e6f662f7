/* status: this host's mounts, the cache, what waits to be put into the lineage database, the domains, the products. */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "fs/browse.h"
#include "fs/cache.h"
#include "fs/commands.h"
#include "fs/drain.h"
#include "fs/journal.h"
#include "fs/registry.h"
#include "fs/show_measures.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct status {
	bool json;
	struct buf out;
	size_t mounts;
};

static void begin(struct status *s, struct json *j, const char *kind)
{
	json_start(j, &s->out);
	json_open(j, '{');
	json_field_text(j, "kind", kind);
}

static void end(struct status *s, struct json *j)
{
	json_close(j, '}');
	buf_addc(&s->out, '\n');
}

/* -- mounts ------------------------------------------------------------------------------------ */

static int add_mount(void *arg, const struct mount_facts *f, bool alive)
{
	struct status *s = arg;
	char since[CLOCK_TEXT_MAX];
	struct json j;
	s->mounts++;
	if (s->json) {
		begin(s, &j, "mount");
		json_field_text(&j, "mountpoint", f->mountpoint);
		json_field_text(&j, "mesh", f->mesh);
		json_field_text(&j, "mesh_path", f->mesh_path);
		json_field_text(&j, "user", f->user);
		json_field_text(&j, "purpose", f->purpose);
		json_field_text(&j, "run", f->run_id);
		json_field_text(&j, "log", f->log);
		json_field_int(&j, "pid", f->pid);
		json_field_time(&j, "started", f->started_ns);
		json_field_bool(&j, "alive", alive);
		end(s, &j);
		return 0;
	}
	clock_format_local(f->started_ns, since);
	buf_adds(&s->out, "mount    ");
	browse_add_safe(&s->out, f->mountpoint);
	buf_addf(&s->out, "  mesh %s  user %s%s%s", f->mesh ? f->mesh : "?", f->user ? f->user : "?", f->purpose ? "  purpose " : "",
		 f->purpose ? f->purpose : "");
	if (alive)
		buf_addf(&s->out, "  pid %d since %s\n", (int)f->pid, since);
	else
		buf_adds(&s->out, "  its process was killed; 'meshfs umount' removes it\n");
	return 0;
}

/* -- cache ------------------------------------------------------------------------------------- */

static void add_cache(struct status *s, const struct mesh_config *mesh)
{
	struct cache *c = NULL;
	struct err e = ERR_INIT;
	struct json j;
	char used[TEXT_SIZE_MAX], limit[TEXT_SIZE_MAX];
	uint64_t bytes = 0;
	bool writable = !cache_open(mesh->cache_folder, mesh->cache_limit_bytes, NULL, &c, &e);
	if (writable)
		bytes = cache_usage(c);
	cache_close(c);
	if (s->json) {
		begin(s, &j, "cache");
		json_field_text(&j, "folder", mesh->cache_folder);
		json_field_int(&j, "bytes", (int64_t)bytes);
		json_field_int(&j, "limit", (int64_t)mesh->cache_limit_bytes);
		json_field_text(&j, "problem", writable ? NULL : e.text);
		end(s, &j);
		return;
	}
	text_size(bytes, used);
	text_size(mesh->cache_limit_bytes, limit);
	if (writable)
		buf_addf(&s->out, "cache    %s of %s in %s\n", used, limit, mesh->cache_folder);
	else
		buf_addf(&s->out, "cache    not in use: %s\n", e.text);
}

/* -- lineage ----------------------------------------------------------------------------------- */

struct journals {
	int64_t count, waiting; /* records that are not in the database yet */
};

static void add_journal(struct journals *t, struct lineage *l, const char *path)
{
	struct journal *j = NULL;
	int64_t position = 0;
	if (journal_open(path, &j, NULL))
		return;
	if (l && lineage_journal_position(l, journal_id(j), &position, NULL))
		position = 0;
	t->count++;
	if ((int64_t)journal_count(j) > position)
		t->waiting += (int64_t)journal_count(j) - position;
	journal_close(j);
}

static struct journals count_journals(const char *db_path, struct lineage *l)
{
	struct journals t = { 0, 0 };
	char *folder = drain_folder_path(db_path);
	DIR *dir = folder ? opendir(folder) : NULL;
	for (struct dirent *d; dir && (d = readdir(dir));) {
		char *path = text_ends(d->d_name, JOURNAL_SUFFIX) ? io_join(folder, d->d_name) : NULL;
		if (path)
			add_journal(&t, l, path);
		free(path);
	}
	if (dir)
		closedir(dir);
	free(folder);
	return t;
}

/* Looks, and makes nothing: a database that is not there yet stays so. */
static void add_lineage(struct status *s, const struct mesh_config *mesh)
{
	struct stat st;
	struct lineage *l = NULL;
	struct err e = ERR_INIT;
	struct json j;
	bool there = !stat(mesh->lineage_db, &st);
	if (there)
		lineage_open(mesh->lineage_db, &l, &e);
	struct journals t = count_journals(mesh->lineage_db, l);
	lineage_close(l);
	if (s->json) {
		begin(s, &j, "lineage");
		json_field_text(&j, "database", mesh->lineage_db);
		json_field_int(&j, "bytes", there ? (int64_t)st.st_size : 0);
		json_field_int(&j, "journals", t.count);
		json_field_int(&j, "waiting", t.waiting);
		json_field_text(&j, "problem", e.code ? e.text : NULL);
		end(s, &j);
		return;
	}
	char size[TEXT_SIZE_MAX];
	text_size(there ? (uint64_t)st.st_size : 0, size);
	buf_addf(&s->out, "lineage  %s in %s", there ? size : "nothing yet", mesh->lineage_db);
	buf_addf(&s->out, "; %" PRId64 " journal%s, %" PRId64 " record%s not in it yet\n", t.count, t.count == 1 ? "" : "s", t.waiting,
		 t.waiting == 1 ? "" : "s");
	if (e.code)
		buf_addf(&s->out, "         %s\n", e.text);
}

/* -- domains ----------------------------------------------------------------------------------- */

/* Generations count publications, of what is hidden as well: for who holds the mesh. */
static void add_domain(struct status *s, const struct browse *b, const struct browse_domain *d)
{
	int64_t modified = d->snapshot ? snapshot_time_ns(d->snapshot) : 0;
	uint64_t generation = d->snapshot ? snapshot_generation(d->snapshot) : 0;
	struct json j;
	if (s->json) {
		begin(s, &j, "domain");
		json_field_text(&j, "domain", d->config->name);
		json_field_bool(&j, "reachable", d->reached);
		if (!b->policy) {
			json_field_int(&j, "generation", (int64_t)generation);
			json_field_time(&j, "modified", modified);
		}
		json_field_text(&j, "problem", d->reached ? NULL : d->why.text);
		end(s, &j);
		return;
	}
	char age[32];
	show_age(clock_now_ns() - modified, age);
	buf_addf(&s->out, "domain   %-20s %s", d->config->name, d->reached ? "ok" : d->snapshot ? "unreachable" : "never reached");
	if (d->snapshot && !b->policy)
		buf_addf(&s->out, "  generation %" PRIu64 ", %s old", generation, age);
	if (!d->reached)
		buf_addf(&s->out, "  (%s)", d->why.text);
	buf_addc(&s->out, '\n');
}

/* -- products ---------------------------------------------------------------------------------- */

struct products {
	struct status *status;
	struct browse_domain *d;
	const struct map *uses; /* NULL: the database cannot be opened */
	int64_t now_ns;
	size_t count, poor;
};

static int add_product(void *arg, const struct product_info *p)
{
	struct products *x = arg;
	struct product_measures m;
	struct buf problem = BUF_INIT;
	struct json j;
	if (product_measures(x->d->snapshot, p->name, x->now_ns, &m) || !*m.version)
		return 0;
	x->count++;
	show_measures_problem(&m, x->now_ns, &problem);
	x->poor += problem.len > 0;
	if (x->status->json) {
		begin(x->status, &j, "product");
		json_field_text(&j, "domain", x->d->config->name);
		json_field_text(&j, "product", p->name);
		json_field_text(&j, "latest", m.version);
		show_measures_json(&m, x->uses ? product_use_of(x->uses, x->d->config->name, p->name) : NULL, x->now_ns, &j);
		json_field_text(&j, "problem", problem.len ? buf_text(&problem) : NULL);
		end(x->status, &j);
	} else if (problem.len) {
		buf_addf(&x->status->out, "product  %s/%s/%s: %s\n", x->d->config->name, p->name, m.version, buf_text(&problem));
	}
	buf_free(&problem);
	return 0;
}

/* Of all versions and readers: for who holds the mesh. */
static void add_products(struct status *s, struct browse *b)
{
	struct map *uses = NULL;
	struct products x = { .status = s, .now_ns = clock_now_ns() };
	if (b->policy)
		return;
	if (!product_uses(b->mesh->lineage_db, &uses, NULL))
		x.uses = uses;
	for (size_t i = 0; i < b->count; i++) {
		x.d = &b->domains[i];
		if (x.d->snapshot)
			snapshot_products(x.d->snapshot, add_product, &x);
	}
	if (!s->json && x.count)
		buf_addf(&s->out, "products %zu, %zu of them with failing checks or overdue\n", x.count, x.poor);
	product_uses_free(uses);
}

int cmd_status(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)ret_status;
	struct status s = { .out = BUF_INIT };
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: kind, and what belongs to it", &s.json } };
	struct browse b;
	int words;
	int r = options_parse("status [--json]",
			      "This host's mounts of the caller, the cache, what waits to be put into the lineage database, the domains and\n"
			      "products: readers and runs of this host, freshness, failing checks.", specs, 1,
			      false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "status", "status wants no '%s'", argv[0]);
	r = browse_open(inv, NULL, &b, e);
	if (r)
		return r;
	registry_list(add_mount, &s);
	if (!s.mounts && !s.json)
		buf_adds(&s.out, "mount    none\n");
	add_cache(&s, b.mesh);
	add_lineage(&s, b.mesh);
	for (size_t i = 0; i < b.count; i++)
		if (browse_sees(&b, &b.domains[i], NULL, NULL, NULL))
			add_domain(&s, &b, &b.domains[i]);
	add_products(&s, &b);
	browse_print(&s.out);
	buf_free(&s.out);
	browse_close(&b);
	return 0;
}
