/* meshfs lineage trace: which runs were served rows like these. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"
#include "fs/cmd_lineage.h"
#include "fs/drain.h"
#include "fs/lineage_sync.h"
#include "fs/named.h"
#include "fs/scan.h"
#include "fs/where.h"
#include "policy/condition.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void hit_json(const struct where_hit *h)
{
	struct buf b = BUF_INIT;
	struct json j;
	char *address = text_format("%s/%s", h->version, h->file);
	const char *slash = strrchr(h->version, '/');
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "run", h->run);
	json_field_text(&j, "run_id", h->run_id);
	json_field_text(&j, "user", h->user);
	json_field_text(&j, "purpose", h->purpose);
	json_field_text(&j, "address", address);
	json_key(&j, "product");
	json_text_n(&j, h->version, slash ? (size_t)(slash - h->version) : 0);
	json_field_text(&j, "version", slash ? slash + 1 : "");
	json_field_text(&j, "file", h->file);
	json_field_int(&j, "rows", h->rows);
	json_field_text(&j, "view", h->view);
	json_field_text(&j, "masks", h->masks);
	json_field_text(&j, "policy", h->policy);
	json_field_text(&j, "rules", h->rules);
	json_field_text(&j, "status", h->withdrawn ? "withdrawn" : "active");
	json_field_int(&j, "opens", h->opens);
	json_field_time(&j, "first", h->first_ns);
	json_field_time(&j, "last", h->last_ns);
	json_close(&j, '}');
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
	free(address);
}

static void hit_text(const struct where_hit *h)
{
	struct buf b = BUF_INIT;
	char last[CLOCK_TEXT_MAX];
	clock_format_local(h->last_ns, last);
	buf_addf(&b, "%s  %s", last, h->run);
	buf_addf(&b, "  (%s%s%s)", h->user ? h->user : "?", h->purpose ? ", " : "", h->purpose ? h->purpose : "");
	buf_addf(&b, "  %lld %s of %s/", (long long)h->rows, h->rows == 1 ? "row" : "rows", h->version);
	browse_add_safe(&b, h->file);
	if (h->withdrawn)
		buf_adds(&b, " (withdrawn since)");
	buf_adds(&b, "\n    ");
	browse_add_safe(&b, h->masks ? h->masks : "as it is: no view");
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

void lineage_print_gone(const struct where_gone *g, bool json)
{
	struct buf b = BUF_INIT;
	struct json j;
	if (json) {
		json_start(&j, &b);
		json_open(&j, '{');
		json_field_text(&j, "kind", "uncounted"); /* beside the kinds of an erasure report */
		json_field_text(&j, "address", g->address);
		json_field_text(&j, "status", g->version ? "no column" : "gone");
		json_field_text(&j, "why", g->why);
		json_close(&j, '}');
	} else {
		buf_adds(&b, g->version ? "not counted: " : "not known: ");
		browse_add_safe(&b, g->address);
		buf_addf(&b, g->version ? "%s: %s" : "%s is gone or cannot be looked at: %s", g->more ? ", and other files of that version" : "", g->why);
	}
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static int print_answer(struct lineage_question *q, const struct where_answer *a, bool json, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < a->hit_count; i++)
		json ? hit_json(&a->hits[i]) : hit_text(&a->hits[i]);
	for (size_t i = 0; i < a->gone_count; i++)
		lineage_print_gone(&a->gone[i], json);
	if (!json && !a->hit_count && !a->gone_count && !a->looked_at)
		printf("No run on record was served rows of %s at all; whether it has the columns of the question was not looked for.\n", q->address);
	else if (!json && !a->hit_count)
		printf("No run on record was served such a row%s.\n", a->gone_count ? " of what could be looked at" : "");
	return 0;
}

int lineage_question_open(const struct invocation *inv, const char *address, bool rules, struct lineage_question *ret, struct err *e)
{
	struct lineage_question q = { 0 };
	int r = scan_open(inv, rules, &q.scan, e);
	if (!r)
		r = drain_open(scan_mesh(q.scan), &q.l, e);
	if (!r)
		r = lineage_sync(q.l, scan_mesh(q.scan), e);
	if (!r && address)
		r = named_resolve(inv, q.l, address, &q.address, e);
	if (!r && address)
		r = named_check(scan_browse(q.scan), q.l, q.address, e);
	if (r)
		lineage_question_close(&q);
	else
		*ret = q;
	return r;
}

void lineage_question_close(struct lineage_question *q)
{
	free(q->address);
	lineage_close(q->l);
	scan_close(q->scan);
	*q = (struct lineage_question){ 0 };
}

int lineage_ask_rows(const struct invocation *inv, const struct lineage_rows *ask, struct err *e)
{
	struct lineage_question q = { 0 };
	struct where_answer a = { 0 };
	struct expr *where = NULL;
	int r = condition_parse_where(ask->where, &where, e);
	if (!r)
		r = lineage_question_open(inv, ask->address, false, &q, e);
	if (!r)
		r = where_ask(q.l, q.scan, q.address, ask->run, where, ask->sources, inv->quiet, &a, e);
	if (!r)
		r = ask->answer(&q, &a, ask->json, e);
	if (!r)
		lineage_warn_gaps(q.l);
	where_answer_free(&a);
	lineage_question_close(&q);
	expr_free(where);
	return r;
}

int lineage_verb_trace(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *text = NULL, *run = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "--where", 0, OPTION_TEXT, "EXPR", "a condition on columns: 'customer_id == 17 and country in {DE, FR}'", &text },
		{ "--run", 0, OPTION_TEXT, "R", "only this run (its name or id)", &run },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: a run, file and view each", &json },
	};
	int words;
	(void)ret_status;
	int r = options_parse("lineage trace ADDRESS --where EXPR [--run R]",
			      "Which runs were served rows like these, of which versions, through which views.\n"
			      "The versions that were read are looked at again, through the filters that were in force then.",
			      specs, 3, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1 || !text)
		return options_wrong(e, "lineage trace", "lineage trace: wants one address and --where EXPR");
	struct lineage_rows rows = { .address = argv[0], .where = text, .run = run, .json = json, .answer = print_answer };
	return lineage_ask_rows(inv, &rows, e);
}
