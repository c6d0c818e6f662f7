/* meshfs lineage erasure-report: where rows are, who was served them, what came of it, whom to tell. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_graph.h"
#include "fs/cmd_lineage.h"
#include "fs/obligations.h"
#include "fs/scan.h"
#include "fs/where.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Everything that is named, once, in the order in which it was found. */
struct item {
	const char *kind; /* "version" "view" "run" "output" "user" "domain" */
	const char *relation;
	char *id, *label, *detail, *user, *purpose; /* but id: or NULL */
	int64_t rows; /* of versions that hold and runs that were served; -1: not said */
	bool withdrawn;
	struct obligations owed; /* of a version with a contract */
	struct buf with; /* what it has to do with, one a line: files, runs, versions */
};

struct report {
	struct item **items;
	size_t count;
	struct map *by_id;
	const struct mesh_config *mesh;
	struct scan *scan;
	struct err *e;
};

static int no_memory(struct report *r)
{
	return err_set(r->e, -ENOMEM, "out of memory");
}

static void free_item(struct item *i)
{
	free(i->id);
	free(i->label);
	free(i->detail);
	free(i->user);
	free(i->purpose);
	buf_free(&i->with);
	obligations_fini(&i->owed);
	free(i);
}

/* The item of that kind and id, made when it is new; NULL without memory. */
static struct item *item_of(struct report *r, const char *kind, const char *id)
{
	char *key = text_format("%s %s", kind, id);
	struct item *i = key ? map_gets(r->by_id, key) : NULL;
	struct item **more = !key || i ? NULL : realloc(r->items, (r->count + 1) * sizeof *more);
	if (more) {
		r->items = more;
		i = calloc(1, sizeof *i);
		if (i) {
			*i = (struct item){ .kind = kind, .rows = -1, .id = strdup(id) };
			if (!i->id || map_sets(r->by_id, key, i)) {
				free_item(i);
				i = NULL;
			} else {
				r->items[r->count++] = i;
			}
		}
	}
	free(key);
	return i;
}

static void add_with(struct item *i, const char *text)
{
	size_t n = strlen(text);
	for (const char *line = buf_text(&i->with); *line; line += strcspn(line, "\n") + 1)
		if (strcspn(line, "\n") == n && !memcmp(line, text, n))
			return;
	buf_adds(&i->with, text);
	buf_addc(&i->with, '\n');
}

static void set_text(char **to, const char *text)
{
	if (!*to && text)
		*to = strdup(text);
}

/* -- whom to tell ------------------------------------------------------------------------------------- */

static int tell_user(struct report *r, const char *user, const char *run)
{
	struct item *i = user ? item_of(r, "user", user) : NULL;
	if (i)
		add_with(i, run);
	return !user || i ? 0 : no_memory(r);
}

static int tell_domain(struct report *r, const char *version)
{
	struct scan_version *v;
	char *name = strndup(version, strcspn(version, "/"));
	struct item *i = name ? item_of(r, "domain", name) : NULL;
	const struct mesh_domain *d = name ? mesh_domain_find(r->mesh, name) : NULL;
	if (i) {
		add_with(i, version);
		set_text(&i->user, d ? d->owner : NULL);
		if (!scan_version(r->scan, version, &v, NULL) && v->loaded.facts.contract && !i->detail) {
			const char *const *team;
			struct buf b = BUF_INIT;
			for (size_t k = 0, n = contract_team(v->loaded.facts.contract, &team); k < n; k++)
				buf_addf(&b, "%s%s", k ? ", " : "", team[k]);
			if (b.len)
				i->detail = buf_take(&b);
			buf_free(&b);
		}
	}
	free(name);
	return i ? 0 : no_memory(r);
}

/* -- gathering ------------------------------------------------------------------------------------------ */

static int add_version(struct report *r, const char *address, const char *file, int64_t rows, bool withdrawn, const char *relation)
{
	struct item *i = item_of(r, "version", address);
	struct scan_version *v;
	if (!i)
		return no_memory(r);
	if (!i->relation && !scan_version(r->scan, address, &v, NULL) && v->loaded.facts.contract &&
	    obligations_read(v->loaded.facts.contract, v->loaded.info.published_ns, &i->owed))
		return no_memory(r);
	if (!i->relation)
		i->relation = relation;
	i->withdrawn |= withdrawn;
	if (file) {
		char *text = text_format("%s: %lld", file, (long long)rows);
		if (text)
			add_with(i, text);
		free(text);
		i->rows = (i->rows < 0 ? 0 : i->rows) + rows;
	}
	return tell_domain(r, address);
}

static int add_hit(struct report *r, const struct where_hit *h)
{
	struct item *run = item_of(r, "run", h->run_id), *view = h->view[0] ? item_of(r, "view", h->view) : NULL;
	if (!run || (h->view[0] && !view))
		return no_memory(r);
	char *what = text_format("%s/%s: %lld", h->version, h->file, (long long)h->rows);
	if (what)
		add_with(run, what);
	free(what);
	run->relation = "served";
	run->rows = (run->rows < 0 ? 0 : run->rows) + h->rows;
	set_text(&run->label, h->run);
	set_text(&run->user, h->user);
	set_text(&run->purpose, h->purpose);
	if (view) {
		set_text(&view->detail, h->masks);
		add_with(view, h->run);
	}
	return tell_user(r, h->user, h->run);
}

static int add_node(struct report *r, const struct lineage_node *n)
{
	if (n->kind == NODE_VERSION)
		return add_version(r, n->id, NULL, 0, false, "descends");
	struct item *i = item_of(r, n->kind == NODE_RUN ? "run" : "output", n->id);
	if (!i)
		return no_memory(r);
	if (!i->relation)
		i->relation = "descends";
	set_text(&i->label, n->kind == NODE_RUN ? n->label : n->output_run);
	set_text(&i->detail, n->extra);
	set_text(&i->user, n->user);
	set_text(&i->purpose, n->purpose);
	return n->kind == NODE_RUN ? tell_user(r, n->user, n->label) : 0;
}

static int add_descendants(struct report *r, struct lineage *l, const char *run_id)
{
	struct lineage_graph *g = NULL;
	int code = lineage_walk(l, run_id, true, &g, r->e);
	for (size_t i = g ? g->start_count : 0; !code && i < g->count; i++)
		code = add_node(r, &g->nodes[i]);
	lineage_graph_free(g);
	return code;
}

static int gather(struct report *r, struct lineage *l, const struct where_answer *a)
{
	int code = 0;
	for (size_t i = 0; !code && i < a->source_count; i++)
		code = add_version(r, a->sources[i].version, a->sources[i].file, a->sources[i].rows, a->sources[i].withdrawn, "holds");
	for (size_t i = 0; !code && i < a->hit_count; i++)
		code = add_hit(r, &a->hits[i]);
	/* The same run may stand in many hits; its descendants are walked once. */
	for (size_t i = 0, n = r->count; !code && i < n; i++)
		if (!strcmp(r->items[i]->kind, "run"))
			code = add_descendants(r, l, r->items[i]->id);
	return code;
}

/* -- saying it -------------------------------------------------------------------------------------------- */

static void list_json(struct json *j, const char *key, const struct buf *lines)
{
	json_key(j, key);
	json_open(j, '[');
	for (const char *line = buf_text(lines); *line; line += strcspn(line, "\n") + 1)
		json_text_n(j, line, strcspn(line, "\n"));
	json_close(j, ']');
}

static void item_json(const struct item *i)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "kind", i->kind);
	if (!strcmp(i->kind, "version")) {
		json_field_text(&j, "address", i->id);
		json_field_text(&j, "relation", i->relation);
		json_field_text(&j, "status", i->withdrawn ? "withdrawn" : "active");
		if (i->rows >= 0)
			json_field_int(&j, "rows", i->rows);
		json_field_text(&j, "erase_by", i->owed.erase_by[0] ? i->owed.erase_by : NULL);
		list_json(&j, "categories", &i->owed.categories);
		list_json(&j, "files", &i->with);
	} else if (!strcmp(i->kind, "view")) {
		json_field_text(&j, "view", i->id);
		json_field_text(&j, "masks", i->detail);
		list_json(&j, "runs", &i->with);
	} else if (!strcmp(i->kind, "run")) {
		json_field_text(&j, "run", i->label);
		json_field_text(&j, "run_id", i->id);
		json_field_text(&j, "relation", i->relation);
		json_field_text(&j, "user", i->user);
		json_field_text(&j, "purpose", i->purpose);
		if (i->rows >= 0)
			json_field_int(&j, "rows", i->rows);
		list_json(&j, "files", &i->with);
	} else if (!strcmp(i->kind, "output")) {
		json_field_text(&j, "path", i->id);
		json_field_text(&j, "sha256", i->detail);
		json_field_text(&j, "run_id", i->label);
	} else if (!strcmp(i->kind, "user")) {
		json_field_text(&j, "user", i->id);
		list_json(&j, "runs", &i->with);
	} else {
		json_field_text(&j, "domain", i->id);
		json_field_text(&j, "owner", i->user);
		json_field_text(&j, "team", i->detail);
		list_json(&j, "versions", &i->with);
	}
	json_close(&j, '}');
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static void item_text(const struct item *i)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, "  ");
	browse_add_safe(&b, i->label && !strcmp(i->kind, "run") ? i->label : i->id);
	if (!strcmp(i->kind, "version") || !strcmp(i->kind, "run")) {
		if (i->user)
			buf_addf(&b, "  (%s%s%s)", i->user, i->purpose ? ", " : "", i->purpose ? i->purpose : "");
		if (i->rows >= 0)
			buf_addf(&b, "  %lld %s", (long long)i->rows, i->rows == 1 ? "row" : "rows");
		else
			buf_adds(&b, "  by descent");
		if (i->withdrawn)
			buf_adds(&b, "  withdrawn");
		if (i->owed.erase_by[0])
			buf_addf(&b, "  to be erased by %s", i->owed.erase_by);
	} else if (!strcmp(i->kind, "output")) {
		buf_addf(&b, "  sha256 %.12s", i->detail ? i->detail : "");
	} else if (!strcmp(i->kind, "view")) {
		b.len = 0;
		buf_addf(&b, "  %.12s  ", i->id);
		browse_add_safe(&b, i->detail ? i->detail : "");
	} else if (!strcmp(i->kind, "domain")) {
		if (i->user || i->detail)
			buf_addf(&b, "  (%s%s%s)", i->user ? i->user : "", i->user && i->detail ? "; " : "", i->detail ? i->detail : "");
	}
	for (const char *line = buf_text(&i->with), *sign = ": "; *line && strcmp(i->kind, "version") && strcmp(i->kind, "run");
	     line += strcspn(line, "\n") + 1, sign = ", ")
		buf_addf(&b, "%s%.*s", sign, (int)strcspn(line, "\n"), line);
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static void print_report(const struct report *r, const struct where_answer *a, bool json)
{
	static const struct {
		const char *kind, *title;
	} parts[] = { { "version", "Versions that hold such rows, or descend from reads of them" },
		      { "view", "Views through which they were served" },
		      { "run", "Runs that were served them, or used what came of it" },
		      { "output", "Models and other outputs" },
		      { "user", "People to tell" },
		      { "domain", "Domains to tell" } };
	for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
		bool any = false;
		for (size_t i = 0; i < r->count; i++) {
			if (strcmp(r->items[i]->kind, parts[p].kind) != 0)
				continue;
			if (!json && !any)
				printf("%s:\n", parts[p].title);
			any = true;
			json ? item_json(r->items[i]) : item_text(r->items[i]);
		}
	}
	for (size_t i = 0; i < a->gone_count; i++)
		lineage_print_gone(&a->gone[i], json);
	if (!json && !r->count)
		printf("No version that is there holds such a row, and no run on record was served one.\n");
}

static int report(struct lineage_question *q, const struct where_answer *a, bool json, struct err *e)
{
	struct report r = { .by_id = map_new(), .mesh = scan_mesh(q->scan), .scan = q->scan, .e = e };
	int code = r.by_id ? gather(&r, q->l, a) : no_memory(&r);
	if (!code)
		print_report(&r, a, json);
	for (size_t i = 0; i < r.count; i++)
		free_item(r.items[i]);
	free(r.items);
	if (r.by_id)
		map_free(r.by_id, NULL);
	return code;
}

int lineage_verb_erasure(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *text = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "--where", 0, OPTION_TEXT, "EXPR", "whose rows: 'customer_id == 17'", &text },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: a version, view, run, output, user or domain each", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage erasure-report ADDRESS --where EXPR",
			      "Before rows are erased: which versions hold them, which runs were served them through which views, what descends from that, whom to tell.",
			      specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1 || !text)
		return options_wrong(e, "lineage erasure-report", "lineage erasure-report: wants one address and --where EXPR");
	struct lineage_rows rows = { .address = argv[0], .where = text, .sources = true, .json = json, .answer = report };
	return lineage_ask_rows(inv, &rows, e);
}
