/* meshfs lineage summary: what a run or version was made from, by source. */
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/db.h"
#include "catalog/lineage.h"
#include "catalog/lineage_graph.h"
#include "fs/cmd_lineage.h"
#include "fs/named.h"
#include "fs/obligations.h"
#include "fs/scan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
	const char *address;
	int depth;   /* steps from what was asked about */
	bool origin; /* nothing on record that it was made from */
	bool gone, withdrawn;
	int64_t files, bytes; /* of the version; -1: not known */
	int64_t read_files;   /* files that the runs between were served, whatever the view */
	struct buf views;     /* how they saw it: a summary a line */
	struct obligations owed;
	char *title, *purpose, *limits, *team, *licence, *status;
};

static void source_fini(struct source *s)
{
	char *texts[] = { s->title, s->purpose, s->limits, s->team, s->licence, s->status };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		free(texts[i]);
	buf_free(&s->views);
	obligations_fini(&s->owed);
}

/* -- what the contract says ------------------------------------------------------------------------ */

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

/* ODCS has no field of its own for it: a custom property, or what the description says of usage. */
static const char *licence_of(const struct doc_node *root)
{
	static const char *const names[] = { "license", "licence", "licenseUrl", "licenceUrl" };
	const struct doc_node *list = doc_get(root, "customProperties");
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *property = doc_get_text(doc_item(list, i), "property");
		for (size_t k = 0; property && k < sizeof names / sizeof *names; k++)
			if (!strcmp(property, names[k]))
				return doc_get_text(doc_item(list, i), "value");
	}
	return doc_text(doc_path(root, "description.usage"));
}

static void read_contract(struct source *s, const struct contract *c)
{
	const struct doc_node *root = doc_root(contract_doc(c));
	const char *const *team;
	struct buf b = BUF_INIT;
	s->title = copy(contract_title(c));
	s->purpose = copy(contract_description(c));
	s->limits = copy(doc_text(doc_path(root, "description.limitations")));
	s->licence = copy(licence_of(root));
	s->status = copy(contract_status(c));
	for (size_t i = 0, n = contract_team(c, &team); i < n; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", team[i]);
	if (b.len)
		s->team = buf_take(&b);
	buf_free(&b);
}

static int read_version(struct lineage_question *q, struct source *s, struct err *e)
{
	struct scan_version *v;
	int r = scan_version(q->scan, s->address, &v, e);
	if (r)
		return r;
	s->files = s->bytes = -1;
	s->gone = !v->loaded.domain;
	if (s->gone)
		return 0;
	s->withdrawn = v->loaded.info.status == VERSION_WITHDRAWN;
	s->files = (int64_t)v->loaded.info.files;
	s->bytes = (int64_t)v->loaded.info.bytes;
	const struct contract *c = v->loaded.facts.contract;
	if (!c)
		return 0;
	read_contract(s, c);
	r = obligations_read(c, v->loaded.info.published_ns, &s->owed);
	return r ? err_set(e, r, "out of memory") : 0;
}

/* -- how it was seen ---------------------------------------------------------------------------------- */

/* What a recorded view did, from its canonical text: all but the line that names the contract. */
static void add_view(struct buf *to, const char *text)
{
	struct buf b = BUF_INIT;
	for (const char *line = text; line && *line;) {
		size_t n = strcspn(line, "\n");
		if (n < 7 || strncmp(line, "object ", 7) != 0)
			buf_addf(&b, "%s%.*s", b.len ? "; " : "", (int)n, line);
		line += n + (line[n] == '\n');
	}
	buf_adds(to, text ? buf_text(&b) : "as it is");
	buf_addc(to, '\n');
	buf_free(&b);
}

static int read_views(struct lineage_question *q, struct source *s, const char *run_id, struct err *e)
{
	struct db_stmt *stmt;
	int r = db_prepare(lineage_db(q->l),
			   "SELECT d.view, t.text, sum(i.files) FROM inputs i JOIN versions v ON v.id = i.version JOIN decisions d ON d.id = i.decision"
			   " JOIN runs r ON r.id = i.run LEFT JOIN transforms t ON t.view = d.view WHERE v.address = ?1 AND r.uuid = ?2 AND d.outcome = 1"
			   " GROUP BY d.id ORDER BY d.view",
			   &stmt, e);
	if (r)
		return r;
	db_bind_text(stmt, 1, s->address);
	db_bind_text(stmt, 2, run_id);
	while ((r = db_step(stmt, e)) == DB_ROW) {
		add_view(&s->views, db_text(stmt, 0)[0] ? db_text(stmt, 1) ? db_text(stmt, 1) : "a view that is not on record" : NULL);
		s->read_files += db_int(stmt, 2);
	}
	db_finalize(stmt);
	return r;
}

static int read_source(struct lineage_question *q, const struct lineage_graph *g, size_t at, const size_t *in, const size_t *in_list,
		       const size_t *out, const size_t *out_list, struct source *s, struct err *e)
{
	*s = (struct source){ .address = g->nodes[at].id, .depth = g->nodes[at].depth, .origin = true };
	for (size_t i = in[at]; i < in[at + 1]; i++) { /* a run that published it, and read something */
		size_t run = g->edges[in_list[i]].from;
		s->origin &= in[run] == in[run + 1];
	}
	int r = read_version(q, s, e);
	for (size_t i = out[at]; !r && i < out[at + 1]; i++) {
		const struct lineage_node *reader = &g->nodes[g->edges[out_list[i]].to];
		bool again = false;
		for (size_t k = out[at]; k < i; k++)
			again |= g->edges[out_list[k]].to == g->edges[out_list[i]].to;
		if (reader->kind == NODE_RUN && !again)
			r = read_views(q, s, reader->id, e);
	}
	return r;
}

/* -- saying it -------------------------------------------------------------------------------------------- */

static void print_json(const struct source *s)
{
	struct buf b = BUF_INIT;
	struct json j;
	const char *slash = strrchr(s->address, '/');
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "address", s->address);
	json_key(&j, "product");
	json_text_n(&j, s->address, slash ? (size_t)(slash - s->address) : 0);
	json_field_text(&j, "version", slash ? slash + 1 : "");
	json_field_bool(&j, "origin", s->origin);
	json_field_int(&j, "depth", s->depth);
	json_field_text(&j, "status", s->gone ? "gone" : s->withdrawn ? "withdrawn" : "active");
	json_key(&j, "files");
	s->files < 0 ? json_null(&j) : json_int(&j, s->files);
	json_key(&j, "bytes");
	s->bytes < 0 ? json_null(&j) : json_int(&j, s->bytes);
	json_field_int(&j, "files_read", s->read_files);
	json_key(&j, "views");
	json_open(&j, '[');
	for (const char *line = buf_text(&s->views); *line; line += strcspn(line, "\n") + 1)
		json_text_n(&j, line, strcspn(line, "\n"));
	json_close(&j, ']');
	json_field_text(&j, "title", s->title);
	json_field_text(&j, "description", s->purpose);
	json_field_text(&j, "limitations", s->limits);
	json_field_text(&j, "licence", s->licence);
	json_field_text(&j, "team", s->team);
	json_field_text(&j, "erase_by", s->owed.erase_by[0] ? s->owed.erase_by : NULL);
	json_key(&j, "categories");
	json_open(&j, '[');
	for (const char *line = buf_text(&s->owed.categories); *line; line += strcspn(line, "\n") + 1)
		json_text_n(&j, line, strcspn(line, "\n"));
	json_close(&j, ']');
	json_close(&j, '}');
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static void add_line(struct buf *b, const char *name, const char *text)
{
	if (!text)
		return;
	buf_addf(b, "    %-12s ", name);
	browse_add_safe(b, text);
	buf_addc(b, '\n');
}

static void print_text(const struct source *s)
{
	struct buf b = BUF_INIT;
	char size[TEXT_SIZE_MAX];
	buf_addf(&b, "%s%s%s\n", s->address, s->origin ? "" : "  (made from others)", s->gone ? "  gone" : s->withdrawn ? "  withdrawn" : "");
	if (s->files >= 0) {
		text_size((uint64_t)s->bytes, size);
		buf_addf(&b, "    %-12s %lld of %lld files, %s in all\n", "read", (long long)s->read_files, (long long)s->files, size);
	}
	add_line(&b, "title", s->title);
	add_line(&b, "description", s->purpose);
	add_line(&b, "limitations", s->limits);
	add_line(&b, "licence", s->licence ? s->licence : s->gone ? NULL : "not said by the contract");
	add_line(&b, "team", s->team);
	for (const char *line = buf_text(&s->owed.categories); *line; line += strcspn(line, "\n") + 1) {
		char *one = strndup(line, strcspn(line, "\n"));
		add_line(&b, "category", one);
		free(one);
	}
	add_line(&b, "erase by", s->owed.erase_by[0] ? s->owed.erase_by : NULL);
	for (const char *line = buf_text(&s->views); *line; line += strcspn(line, "\n") + 1) {
		char *one = strndup(line, strcspn(line, "\n"));
		add_line(&b, "seen", one);
		free(one);
	}
	browse_print(&b);
	buf_free(&b);
}

static int summary(const struct invocation *inv, struct lineage_question *q, const char *what, bool json, struct err *e)
{
	struct lineage_graph *g = NULL;
	size_t *in = NULL, *in_list = NULL, *out = NULL, *out_list = NULL, count = 0;
	int r = named_walk(inv, q->l, what, false, &g, e);
	if (!r && (lineage_graph_index(g, false, &in, &in_list) || lineage_graph_index(g, true, &out, &out_list)))
		r = err_set(e, -ENOMEM, "out of memory");
	for (size_t i = g ? g->start_count : 0; !r && i < g->count; i++) {
		struct source s = { 0 };
		if (g->nodes[i].kind != NODE_VERSION)
			continue;
		r = read_source(q, g, i, in, in_list, out, out_list, &s, e);
		if (!r)
			json ? print_json(&s) : print_text(&s);
		source_fini(&s);
		count++;
	}
	if (!r && !json && !count)
		printf("Nothing on record that it was made from.\n");
	free(in);
	free(in_list);
	free(out);
	free(out_list);
	lineage_graph_free(g);
	return r;
}

int lineage_verb_summary(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	bool json = false;
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: a source each", &json } };
	int words;
	(void)ret_status;
	int r = options_parse("lineage summary RUN|VERSION|OUTPUT",
			      "The content of a run, version or output by source, over all steps on record: files, bytes, description, licence and limits as the\n"
			      "contracts say them, and through which views it was seen.",
			      specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "lineage summary", "lineage summary: wants one run, version or output");
	struct lineage_question q = { 0 };
	r = lineage_question_open(inv, NULL, false, &q, e);
	if (!r)
		r = summary(inv, &q, argv[0], json, e);
	lineage_question_close(&q);
	return r;
}
