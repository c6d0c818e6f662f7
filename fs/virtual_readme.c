/* README.md of the mesh, of a domain, of a product: to be read with cat. */
#include "fs/virtual.h"

#include "fs/node.h"
#include "fs/show_measures.h"
#include "fs/show_ports.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/sla.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESH_PRODUCTS_MAX 30 /* of a domain, in the README of the mesh */

struct readme {
	struct session *session;
	struct domain_host *domain;
	struct snapshot *snapshot;
	struct buf *out;
	size_t shown, most; /* most: products that are listed, 0: all */
	size_t left_out;
	const char *folder; /* what links to products begin with */
};

/* -- what is known of the newest version ------------------------------------------------------- */

/* Of what this session sees. */
struct newest {
	char version[VERSION_SIZE];
	int64_t published_ns;
	enum outcome outcome;
	bool checked;                 /* the failures are known, and may be told: they are of all rows and columns */
	struct version_checks checks;
	bool with_failures;
};

static int on_newest(void *arg, struct slot *slot, enum outcome outcome)
{
	struct newest *n = arg;
	snprintf(n->version, sizeof n->version, "%s", slot->info.version);
	n->published_ns = slot->info.published_ns;
	n->outcome = outcome;
	n->with_failures = slot->info.failures_reason != NULL;
	n->checked = outcome == OUTCOME_ALLOW && !slot_checks(slot, &n->checks);
	return 1;
}

/* ", 1.2.0 is 3 days old, 2 checks fail" */
static void add_newest_words(const struct newest *n, struct buf *out)
{
	char age[32];
	show_age(clock_now_ns() - n->published_ns, age);
	buf_addf(out, ", %s is %s old", n->version, age);
	if (n->outcome == OUTCOME_DENY)
		buf_adds(out, ", denied to you");
	else if (n->outcome == OUTCOME_VIEW)
		buf_adds(out, ", filtered for you");
	if (n->checked && n->checks.failed_errors)
		buf_addf(out, ", %lld check%s", (long long)n->checks.failed_errors, n->checks.failed_errors == 1 ? " fails" : "s fail");
	else if (n->with_failures)
		buf_adds(out, ", checks fail");
}

/* Of what a domain says, where it must stay in one line of ours. */
static void add_line(struct buf *out, const char *before, const char *text, const char *after)
{
	buf_adds(out, before);
	for (; text && *text; text++)
		buf_addc(out, *text == '\n' || *text == '\r' ? ' ' : *text);
	buf_adds(out, after);
}

/* What a domain says is read with cat. */
static int disarmed(int code, struct buf *text)
{
	if (!buf_check(text) && text->len)
		text_disarm(text->data, text->len);
	return code;
}

/* -- mesh and domain --------------------------------------------------------------------------------- */

/* The contract of the newest version that the session may see; NULL: there is none.  The caller's. */
static struct contract *own_contract(struct session *s, struct domain_host *domain, const char *product)
{
	struct vnode v = { .domain = domain };
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	snprintf(v.product, sizeof v.product, "%s", product);
	if (product_contract(s, &v, &text, NULL) || contract_parse("contract.yaml", buf_text(&text), text.len, &c, NULL))
		c = NULL;
	buf_free(&text);
	return c;
}

static int add_product(void *arg, const struct product_info *p)
{
	struct readme *r = arg;
	struct newest n = { 0 };
	if (!tree_product_visible(r->session, r->domain, r->snapshot, p->name))
		return 0;
	if (r->most && r->shown >= r->most) {
		r->left_out++;
		return 0;
	}
	tree_versions(r->session, r->domain, r->snapshot, p->name, on_newest, &n);
	/* What the snapshot says is of the newest version of all. */
	const bool newest = p->latest && !strcmp(p->latest, n.version);
	struct contract *c = newest ? NULL : own_contract(r->session, r->domain, p->name);
	const char *title = newest ? p->title : c ? contract_title(c) : NULL;
	const char *status = newest ? p->status : c ? contract_status(c) : NULL;
	buf_addf(r->out, "- [%s](%s%s/)", p->name, r->folder, p->name);
	if (title && strcmp(title, p->name) != 0)
		add_line(r->out, ": ", title, "");
	if (status && strcmp(status, "active") != 0)
		add_line(r->out, " (", status, ")");
	contract_unref(c);
	if (*n.version)
		add_newest_words(&n, r->out);
	buf_addc(r->out, '\n');
	r->shown++;
	return 0;
}

static int add_domain(struct session *s, struct domain_host *domain, struct buf *ret)
{
	const struct mesh_domain *config = domain->config;
	char folder[NAME_SIZE + 2];
	snprintf(folder, sizeof folder, "%s/", config->name);
	struct readme r = { .session = s, .domain = domain, .snapshot = domain_snapshot(domain->domain), .out = ret, .most = MESH_PRODUCTS_MAX, .folder = folder };
	buf_addf(ret, "\n## [%s](%s/)%s%s\n", config->name, config->name, config->owner ? ": " : "", config->owner ? config->owner : "");
	if (!r.snapshot) {
		buf_adds(ret, "Its store has not been reached yet.\n");
		return 0;
	}
	int code = snapshot_products(r.snapshot, add_product, &r);
	if (r.left_out)
		buf_addf(ret, "- and %zu more: %s/README.md\n", r.left_out, config->name);
	else if (!r.shown)
		buf_adds(ret, "No products that you may see.\n");
	snapshot_unref(r.snapshot);
	return code < 0 ? code : 0;
}

static int write_root(struct session *s, struct buf *ret)
{
	const struct mesh_config *config = s->mesh->config;
	buf_addf(ret, "# %s\n\nA data mesh: every folder here is a domain, in it its products, in them their versions. "
		      "A version never changes.\n",
		 config->name ? config->name : "mesh");
	for (size_t i = 0; i < s->mesh->domain_count; i++) {
		int r = add_domain(s, &s->mesh->domains[i], ret);
		if (r)
			return r;
	}
	buf_adds(ret, "\n## Look around\n"
		      "- `cat <domain>/<product>/README.md` describes a product, `contract.yaml` beside it promises what is in it.\n"
		      "- `<domain>/<product>/latest` leads to the newest version; `1` and `1.2` lead to the newest that match.\n"
		      "- `ls .mesh/search/'some words'/` finds products.\n"
		      "- `cat <version>/.mesh/policy.txt` says what you are shown of a version and why; `.mesh/manifest.csv` lists its files.\n"
		      "- `getfattr -d FILE` tells a file's address, hash and view.\n\nWhat you open is on record (`meshfs lineage reads`).\n");
	return 0;
}

int readme_root(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	(void)v;
	(void)e;
	return disarmed(write_root(s, ret), ret);
}

static int write_domain(struct session *s, const struct vnode *v, struct buf *ret)
{
	const struct mesh_domain *config = v->domain->config;
	struct readme r = { .session = s, .domain = v->domain, .snapshot = domain_snapshot(v->domain->domain), .out = ret, .folder = "" };
	buf_addf(ret, "# %s\n\n", config->name);
	if (config->owner)
		buf_addf(ret, "Owner: %s\n\n", config->owner);
	if (!r.snapshot) {
		pthread_mutex_lock(&v->domain->lock);
		buf_addf(ret, "Its store has not been reached yet%s%s.\n", *v->domain->reason ? ": " : "", v->domain->reason);
		pthread_mutex_unlock(&v->domain->lock);
		return 0;
	}
	buf_adds(ret, "## Products\n");
	int code = snapshot_products(r.snapshot, add_product, &r);
	if (!r.shown)
		buf_adds(ret, "None that you may see.\n");
	snapshot_unref(r.snapshot);
	return code < 0 ? code : 0;
}

int readme_domain(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	(void)e;
	return disarmed(write_domain(s, v, ret), ret);
}

/* -- product ------------------------------------------------------------------------------------------ */

/* Text inside a table: a bar would start another column, a line end another row. */
static void add_cell(struct buf *out, const char *text)
{
	for (; text && *text; text++)
		buf_addc(out, (unsigned char)*text < 0x20 || *text == '|' ? ' ' : *text);
}

static int add_version(void *arg, struct slot *slot, enum outcome outcome)
{
	struct readme *r = arg;
	char size[TEXT_SIZE_MAX], when[CLOCK_TEXT_MAX];
	const struct version_info *v = &slot->info;
	clock_format_ns(v->published_ns, when);
	if (!r->shown++)
		buf_adds(r->out, "| version | published | files | size | |\n|---|---|---|---|---|\n");
	buf_addf(r->out, "| %s | %.10s |", v->version, when);
	if (outcome == OUTCOME_ALLOW) { /* counts of the source are only for who sees all of it */
		text_size(v->bytes, size);
		buf_addf(r->out, " %llu | %s | ", (unsigned long long)v->files, size);
	} else if (outcome == OUTCOME_DENY) {
		buf_addf(r->out, " | | denied to you (%s/.mesh/policy.txt says why) ", v->version);
	} else {
		buf_addf(r->out, " | | filtered for you (%s/.mesh/policy.txt says how) ", v->version);
	}
	if (v->failures_reason) {
		buf_adds(r->out, "published with failing checks: ");
		add_cell(r->out, v->failures_reason);
		buf_addc(r->out, ' ');
	}
	buf_adds(r->out, "|\n");
	return 0;
}

/* How old the newest version is, what was promised, and what its checks say. */
static void add_state(const struct newest *n, const struct contract *c, struct buf *out)
{
	char age[32], promised[32];
	int64_t frequency_ns, age_ns = clock_now_ns() - n->published_ns;
	show_age(age_ns, age);
	buf_addf(out, "\nNewest version: **%s**, %s old", n->version, age);
	if (c && sla_frequency(c, &frequency_ns)) {
		show_age(frequency_ns, promised);
		buf_addf(out, "; one is promised every %s%s", promised, age_ns > frequency_ns ? ": **overdue**" : "");
	}
	buf_adds(out, ".\n");
	if (n->checked && !n->checks.failed_errors && !n->checks.failed_warnings)
		buf_addf(out, "Quality: every check passed (`%s/.mesh/quality.json`).\n", n->version);
	else if (n->checked)
		buf_addf(out, "Quality: **%lld check%s**, %lld warning%s (`%s/.mesh/quality.json`).\n", (long long)n->checks.failed_errors,
			 n->checks.failed_errors == 1 ? " fails" : "s fail", (long long)n->checks.failed_warnings, n->checks.failed_warnings == 1 ? "" : "s", n->version);
	else if (n->with_failures)
		buf_adds(out, "Quality: **published with failing checks**.\n");
}

/* What policy.txt of the newest version says of rules and columns, a line each. */
static int on_filtered(void *arg, struct slot *slot, enum outcome outcome)
{
	static const char begin[] = "\nRules that made it so:\n";
	const struct readme *r = arg;
	const struct vnode version = { .slot = slot };
	struct buf text = BUF_INIT;
	if (outcome == OUTCOME_VIEW && !version_policy(r->session, &version, &text, NULL)) {
		const char *from = strstr(buf_text(&text), begin), *to = from ? strstr(from + 1, "\nPolicy ") : NULL;
		if (to) {
			buf_adds(r->out, "\n## How it is filtered for you\n```\n");
			buf_add(r->out, from + sizeof begin - 1, (size_t)(to - from) - (sizeof begin - 1));
			buf_adds(r->out, "```\n");
		}
	}
	buf_free(&text);
	return 1;
}

static const char *type_name(const struct contract_column *c)
{
	const char *type = doc_get_text(c->node, "logicalType");
	return type ? type : "any";
}

static void add_columns(const struct contract *c, struct buf *out)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	for (size_t i = 0; i < count; i++) {
		const struct contract_object *o = &objects[i];
		add_line(out, "\n### ", o->name, "");
		if (o->files)
			add_line(out, " (files ", o->files, ")");
		buf_addc(out, '\n');
		if (o->column_count)
			buf_adds(out, "| column | type | | classification | what it is |\n|---|---|---|---|---|\n");
		for (size_t k = 0; k < o->column_count; k++) {
			const struct contract_column *column = &o->columns[k];
			buf_adds(out, "| ");
			add_cell(out, column->name);
			buf_addf(out, " | %s | %s | ", type_name(column), column->primary_key ? "key" : column->required ? "always there" : "");
			add_cell(out, column->classification ? column->classification : "none: counts as restricted");
			buf_adds(out, " | ");
			add_cell(out, doc_get_text(column->node, "description"));
			buf_adds(out, " |\n");
		}
	}
}

static void add_text(struct buf *out, const char *title, const char *text)
{
	if (text)
		buf_addf(out, "\n%s: %s\n", title, text);
}

#define NOT_FOR_QUOTES "\"'`\\$\n" /* a pattern that would end the quotes it stands in is nothing for people to copy */

/* Of a product of documents the ending of their names, such as ".png"; NULL: it has tables, or no ending is told. */
static const char *document_ending(const struct contract_object *objects, size_t count)
{
	const char *found = NULL;
	for (size_t i = 0; i < count; i++) {
		const char *dot = objects[i].files ? strrchr(objects[i].files, '.') : NULL;
		if (!objects[i].document)
			return NULL;
		if (!found && dot && dot[1] && !strpbrk(dot, "/*?" NOT_FOR_QUOTES))
			found = dot;
	}
	return found;
}

/* How to read files that are no tables. */
static void add_use_of_files(const char *ending, const char *path, struct buf *out)
{
	buf_addf(out,
		 "\n## Use\n```python\nimport glob\nfiles = sorted(glob.glob(\"%s/latest/**/*%s\", recursive=True))\n"
		 "# PyTorch: a file is an item, read by the loader's workers\n"
		 "from torch.utils.data import DataLoader, Dataset\n"
		 "class Files(Dataset):\n"
		 "    def __len__(self):\n        return len(files)\n"
		 "    def __getitem__(self, i):\n        with open(files[i], \"rb\") as f:\n            return f.read()\n"
		 "loader = DataLoader(Files(), batch_size=64, num_workers=4, collate_fn=list)\n```\n"
		 "```sh\n# training, on record with what it read (MESHFS_MOUNT leads to the same tree)\n"
		 "meshfs run --purpose training -- python train.py\n```\n",
		 path, ending);
}

/* How to read it: with the files that the contract names, or all CSV files. */
static void add_use(const struct contract *c, const char *path, struct buf *out)
{
	static const struct {
		const char *suffix, *reader;
	} readers[] = { { ".parquet", "pd.read_parquet(f)" },
			{ ".jsonl", "pd.read_json(f, lines=True)" },
			{ ".ndjson", "pd.read_json(f, lines=True)" },
			{ ".tsv", "pd.read_csv(f, sep=\"\\t\")" },
			{ "", "pd.read_csv(f)" } };
	const struct contract_object *objects = NULL;
	size_t count = c ? contract_objects(c, &objects) : 0, k = 0;
	const char *files = NULL;
	for (size_t i = count; i-- > 0;)
		if (objects[i].files && !objects[i].document)
			files = objects[i].files;
	const char *ending = document_ending(objects, count);
	if (ending) {
		add_use_of_files(ending, path, out);
		return;
	}
	const bool known = files && path_is_tabular(files) && !text_ends(files, ".zst") && !strpbrk(files, NOT_FOR_QUOTES);
	char *plain = known && text_ends(files, ".gz") ? strndup(files, strlen(files) - 3) : NULL;
	while (!text_ends(plain ? plain : known ? files : "", readers[k].suffix))
		k++;
	free(plain);
	buf_adds(out, "\n## Use\n```python\nimport glob, pandas as pd\n");
	buf_addf(out, "files = glob.glob(\"%s/latest/%s\", recursive=True)%s\n", path, known ? files : "**/*.csv",
		 known ? "" : "   # or *.parquet, *.jsonl: look with ls");
	buf_addf(out, "data = pd.concat(%s for f in files)%s\n", readers[k].reader,
		 known ? "" : "   # or pd.read_parquet(f), pd.read_json(f, lines=True)");
	buf_adds(out, "# PyTorch: batches of its records\n"
		      "from torch.utils.data import DataLoader\n"
		      "loader = DataLoader(data.to_dict(\"records\"), batch_size=64, shuffle=True)\n```\n");
	buf_addf(out,
		 "```sql\n-- DuckDB\nselect * from '%s/latest/%s';\n```\n"
		 "```sh\n# training, on record with what it read (MESHFS_MOUNT leads to the same tree)\n"
		 "meshfs run --purpose training -- python train.py\n```\n",
		 path, known ? files : "**/*.csv");
}

/* What the contract says, as this session may see it: dropped columns are not in it.  Returns the contract (the caller's), or NULL. */
static struct contract *add_contract(struct session *s, const struct vnode *v, struct snapshot *snapshot, struct buf *ret)
{
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	if (!product_contract(s, v, &text, NULL) && !contract_parse("contract.yaml", buf_text(&text), text.len, &c, NULL)) {
		if (contract_description(c))
			buf_addf(ret, "\n%s\n", contract_description(c));
		const char *status = contract_status(c);
		char end[CLOCK_TEXT_MAX];
		if (status && (!strcmp(status, "deprecated") || !strcmp(status, "retired")))
			buf_addf(ret, "\n**This product is %s.** Look for another one before you build on it.\n", status);
		if (contract_end(c, end))
			buf_addf(ret, "\nIts support ends on %s.\n", end);
		const struct doc_node *root = doc_root(contract_doc(c));
		add_text(ret, "Limitations", doc_text(doc_path(root, "description.limitations")));
		add_text(ret, "Usage", doc_text(doc_path(root, "description.usage")));
		const char *const *team;
		size_t members = contract_team(c, &team);
		for (size_t i = 0; i < members; i++)
			add_line(ret, i ? ", " : "\nTeam: ", team[i], i + 1 == members ? "\n" : "");
		if (snapshot)
			show_ports_readme(snapshot, c, ret);
		buf_adds(ret, "\n## Columns\n");
		add_columns(c, ret);
	}
	buf_free(&text);
	return c;
}

static int write_product(struct session *s, const struct vnode *v, struct buf *ret)
{
	struct product_info p = { 0 };
	struct readme r = { .session = s, .domain = v->domain, .snapshot = domain_snapshot(v->domain->domain), .out = ret };
	struct newest newest = { 0 };
	const char *domain = v->domain->config->name;
	if (!r.snapshot)
		return -ENOENT;
	int code = snapshot_product(r.snapshot, v->product, &p);
	if (!code) {
		struct buf about = BUF_INIT;
		struct contract *c = add_contract(s, v, r.snapshot, &about);
		add_line(ret, "# ", c && contract_title(c) ? contract_title(c) : v->product, "\n\n");
		buf_addf(ret, "`%s/%s`", domain, v->product);
		if (c && contract_status(c))
			add_line(ret, ", ", contract_status(c), "");
		buf_addc(ret, '\n');
		tree_versions(s, v->domain, r.snapshot, v->product, on_newest, &newest);
		if (*newest.version)
			add_state(&newest, c, ret);
		buf_adds(ret, buf_text(&about));
		buf_free(&about);
		tree_versions(s, v->domain, r.snapshot, v->product, on_filtered, &r);
		buf_adds(ret, "\n## Versions\n");
		code = tree_versions(s, v->domain, r.snapshot, v->product, add_version, &r);
		product_info_fini(&p);
		char *path = text_format("%s/%s/%s", s->mountpoint, domain, v->product);
		if (path)
			add_use(c, path, ret);
		free(path);
		contract_unref(c);
	}
	snapshot_unref(r.snapshot);
	return code;
}

int readme_product(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	(void)e;
	return disarmed(write_product(s, v, ret), ret);
}
