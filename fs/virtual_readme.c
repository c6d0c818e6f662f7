/* README.md of the mesh, of a domain, of a product: to be read with cat. */
#include "fs/virtual.h"

#include "fs/node.h"
#include "fs/show_ports.h"
#include "fs/state.h"
#include "fs/tree.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int readme_root(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	const struct mesh_config *config = s->mesh->config;
	(void)v;
	(void)e;
	buf_addf(ret, "# %s\n\nA data mesh: every folder here is a domain, in it its products, in them their versions. "
		      "A version never changes.\n\n## Domains\n",
		 config->name ? config->name : "mesh");
	for (size_t i = 0; i < config->domain_count; i++)
		buf_addf(ret, "- [%s](%s/)%s%s\n", config->domains[i].name, config->domains[i].name, config->domains[i].owner ? ": " : "",
			 config->domains[i].owner ? config->domains[i].owner : "");
	buf_adds(ret, "\n## Look around\n"
		      "- `cat <domain>/<product>/README.md` describes a product, `contract.yaml` beside it promises what is in it.\n"
		      "- `<domain>/<product>/latest` leads to the newest version; `1` and `1.2` lead to the newest that match.\n"
		      "- `ls .mesh/search/'some words'/` finds products.\n"
		      "- `cat <version>/.mesh/policy.txt` says what you are shown of a version and why; `.mesh/manifest.csv` lists its files.\n"
		      "- `getfattr -d FILE` tells a file's address, hash and view.\n\nWhat you open is on record (`meshfs lineage reads`).\n");
	return 0;
}

struct readme {
	struct session *session;
	struct domain_host *domain;
	struct snapshot *snapshot;
	struct buf *out;
	size_t shown;
};

static int add_product(void *arg, const struct product_info *p)
{
	struct readme *r = arg;
	if (!tree_product_visible(r->session, r->domain, r->snapshot, p->name))
		return 0;
	buf_addf(r->out, "- [%s](%s/)", p->name, p->name);
	if (p->title && strcmp(p->title, p->name) != 0)
		buf_addf(r->out, ": %s", p->title);
	buf_addc(r->out, '\n');
	r->shown++;
	return 0;
}

int readme_domain(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	const struct mesh_domain *config = v->domain->config;
	struct readme r = { s, v->domain, domain_snapshot(v->domain->domain), ret, 0 };
	(void)e;
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

static int add_version(void *arg, struct slot *slot, enum outcome outcome)
{
	struct readme *r = arg;
	char size[TEXT_SIZE_MAX], when[CLOCK_TEXT_MAX];
	const struct version_info *v = &slot->info;
	clock_format_ns(v->published_ns, when);
	buf_addf(r->out, "- %s: published %.10s", v->version, when);
	if (outcome == OUTCOME_ALLOW) { /* counts of the source are only for who sees all of it */
		text_size(v->bytes, size);
		buf_addf(r->out, ", %llu file%s, %s", (unsigned long long)v->files, v->files == 1 ? "" : "s", size);
	} else if (outcome == OUTCOME_DENY) {
		buf_addf(r->out, ", denied to you (%s/.mesh/policy.txt says why)", v->version);
	} else {
		buf_addf(r->out, ", filtered for you (%s/.mesh/policy.txt says how)", v->version);
	}
	if (v->failures_reason)
		buf_addf(r->out, ", published with failing checks: %s", v->failures_reason);
	buf_addc(r->out, '\n');
	r->shown++;
	return 0;
}

static const char *type_name(const struct contract_column *c)
{
	const char *type = doc_get_text(c->node, "logicalType");
	return type ? type : "any";
}

/* Text of a contract inside a table: a bar would start another column, a line end another row. */
static void add_cell(struct buf *out, const char *text)
{
	for (; text && *text; text++)
		buf_addc(out, (unsigned char)*text < 0x20 || *text == '|' ? ' ' : *text);
}

static void add_columns(const struct contract *c, struct buf *out)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	for (size_t i = 0; i < count; i++) {
		const struct contract_object *o = &objects[i];
		buf_addf(out, "\n### %s%s%s%s\n", o->name, o->files ? " (files " : "", o->files ? o->files : "", o->files ? ")" : "");
		if (o->column_count)
			buf_adds(out, "| column | type | | classification | what it is |\n|---|---|---|---|---|\n");
		for (size_t k = 0; k < o->column_count; k++) {
			const struct contract_column *column = &o->columns[k];
			buf_addf(out, "| %s | %s | %s | %s | ", column->name, type_name(column),
				 column->primary_key ? "key" : column->required ? "always there" : "",
				 column->classification ? column->classification : "none: counts as restricted");
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
	const char *files = "**/*.csv";
	for (size_t i = count; i-- > 0;)
		if (objects[i].files && !objects[i].document)
			files = objects[i].files;
	while (!text_ends(files, readers[k].suffix))
		k++;
	buf_addf(out,
		 "\n## Use\n```python\nimport glob, pandas as pd\nfiles = glob.glob(\"%s/latest/%s\", recursive=True)\n"
		 "data = pd.concat(%s for f in files)\n```\n"
		 "```sql\n-- DuckDB\nselect * from '%s/latest/%s';\n```\n"
		 "```sh\n# training, on record with what it read (MESHFS_MOUNT leads to the same tree)\n"
		 "meshfs run --purpose training -- python train.py\n```\n",
		 path, files, readers[k].reader, path, files);
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
			buf_addf(ret, "%s%s%s", i ? ", " : "\nTeam: ", team[i], i + 1 == members ? "\n" : "");
		if (snapshot)
			show_ports_readme(snapshot, c, ret);
		buf_adds(ret, "\n## Columns\n");
		add_columns(c, ret);
	}
	buf_free(&text);
	return c;
}

int readme_product(struct session *s, const struct vnode *v, struct buf *ret, struct err *e)
{
	struct product_info p = { 0 };
	struct readme r = { s, v->domain, domain_snapshot(v->domain->domain), ret, 0 };
	const char *domain = v->domain->config->name;
	if (!r.snapshot)
		return -ENOENT;
	int code = snapshot_product(r.snapshot, v->product, &p);
	if (!code) {
		buf_addf(ret, "# %s\n\n`%s/%s`", p.title ? p.title : v->product, domain, v->product);
		if (p.status)
			buf_addf(ret, ", %s", p.status);
		buf_addc(ret, '\n');
		struct contract *c = add_contract(s, v, r.snapshot, ret);
		buf_adds(ret, "\n## Versions\n");
		code = tree_versions(s, v->domain, r.snapshot, v->product, add_version, &r);
		product_info_fini(&p);
		char *path = text_format("%s/%s/%s", s->mountpoint, domain, v->product);
		if (path)
			add_use(c, path, ret);
		free(path);
		contract_unref(c);
	}
	(void)e;
	snapshot_unref(r.snapshot);
	return code;
}
