/* meshfs lineage runs, reads, denials. */
#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"
#include "catalog/mesh.h"
#include "fs/browse.h"
#include "fs/cmd_lineage.h"
#include "fs/domain_command.h"
#include "fs/drain.h"
#include "fs/lineage_sync.h"
#include "fs/named.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Prints one line of JSON and forgets it.  Returns -ENOMEM, or -EPIPE when nobody listens. */
static int print_line(struct buf *b)
{
	int r = buf_check(b);
	if (!r) {
		buf_addc(b, '\n');
		if (fwrite(buf_text(b), 1, b->len, stdout) != b->len)
			r = -EPIPE;
	}
	buf_clear(b);
	return r;
}

struct output {
	bool json;
	struct buf line;
	uint64_t count;
	bool own;      /* of this user's runs alone */
	char user[64];
};

static bool is_shown(const struct output *o, const char *user)
{
	return !o->own || (user && !strcmp(user, o->user));
}

/* -- runs ------------------------------------------------------------------------------------ */

static int run_json(struct output *o, const struct lineage_run_row *row)
{
	struct json j;
	json_start(&j, &o->line);
	json_open(&j, '{');
	json_field_text(&j, "run", row->id);
	json_field_text(&j, "name", row->name);
	json_field_text(&j, "purpose", row->purpose);
	json_field_text(&j, "user", row->user);
	json_field_text(&j, "command", row->command);
	json_field_time(&j, "started", row->started_ns);
	json_field_time(&j, "ended", row->ended_ns);
	json_key(&j, "exit");
	if (row->exit_status < 0)
		json_null(&j);
	else
		json_int(&j, row->exit_status);
	json_field_int(&j, "reads", row->reads);
	json_field_text(&j, "parent", row->parent);
	json_field_text(&j, "git_commit", row->git_commit);
	json_key(&j, "params");
	json_raw(&j, row->params ? row->params : "{}");
	json_field_text(&j, "host", row->host);
	json_field_text(&j, "mount", row->mount);
	json_close(&j, '}');
	return print_line(&o->line);
}

void lineage_print_safe(const char *text)
{
	struct buf b = BUF_INIT;
	browse_add_safe(&b, text ? text : "");
	browse_print(&b);
	buf_free(&b);
}

void lineage_print_who(const char *user, const char *purpose)
{
	printf("  (");
	lineage_print_safe(user);
	printf(purpose ? ", " : "");
	lineage_print_safe(purpose);
	printf(")");
}

static void run_text(const struct lineage_run_row *row)
{
	char started[CLOCK_TEXT_MAX], state[32];
	clock_format_local(row->started_ns, started);
	if (!row->ended_ns)
		snprintf(state, sizeof state, "under way");
	else if (row->exit_status < 0)
		snprintf(state, sizeof state, "killed");
	else
		snprintf(state, sizeof state, "exit %d", row->exit_status);
	printf("%s  %-9s  %8lld read%s  %s  ", started, state, (long long)row->reads, row->reads == 1 ? " " : "s", row->id);
	lineage_print_safe(row->name);
	lineage_print_who(row->user, row->purpose);
	if (row->command) {
		char *command = text_printable(row->command, strlen(row->command));
		printf("  %.100s", command ? command : "");
		free(command);
	}
	printf("\n");
}

static int run_each(void *arg, const struct lineage_run_row *row)
{
	struct output *o = arg;
	if (!is_shown(o, row->user))
		return 0;
	o->count++;
	if (o->json)
		return run_json(o, row);
	run_text(row);
	return 0;
}

/* -- reads ----------------------------------------------------------------------------------- */

static int read_json(struct output *o, const struct lineage_read_row *row)
{
	struct json j;
	json_start(&j, &o->line);
	json_open(&j, '{');
	json_field_text(&j, "run", row->run);
	json_field_text(&j, "run_id", row->run_id);
	json_field_text(&j, "purpose", row->purpose);
	json_field_text(&j, "user", row->user);
	json_field_int(&j, "pid", row->pid);
	json_field_text(&j, "exe", row->exe);
	json_field_text(&j, "command", row->command);
	char *address = text_format("%s/%s", row->version_address, row->file);
	json_field_text(&j, "address", address);
	free(address);
	json_field_text(&j, "product", row->product);
	json_field_text(&j, "version", row->version);
	json_field_text(&j, "file", row->file);
	json_field_text(&j, "view", row->view);
	json_field_text(&j, "policy", row->policy);
	json_field_text(&j, "rules", row->rules);
	json_field_text(&j, "outcome", row->outcome);
	json_field_int(&j, "opens", row->opens);
	json_field_int(&j, "bytes", row->bytes);
	json_field_time(&j, "first", row->first_ns);
	json_field_time(&j, "last", row->last_ns);
	json_close(&j, '}');
	return print_line(&o->line);
}

static int read_each(void *arg, const struct lineage_read_row *row)
{
	struct output *o = arg;
	if (!is_shown(o, row->user))
		return 0;
	o->count++;
	if (o->json)
		return read_json(o, row);
	char last[CLOCK_TEXT_MAX];
	const char *exe = row->exe && strrchr(row->exe, '/') ? strrchr(row->exe, '/') + 1 : "";
	clock_format_local(row->last_ns, last);
	printf("%s  %6lld× %s  %s/", last, (long long)row->opens, row->outcome, row->version_address);
	lineage_print_safe(row->file);
	printf("  by ");
	lineage_print_safe(exe);
	printf("[%lld] in ", (long long)row->pid);
	lineage_print_safe(row->run);
	if (row->view[0])
		printf("  view %.12s", row->view);
	if (row->rules[0])
		printf("  (%s)", row->rules);
	printf("\n");
	return 0;
}

/* -- verbs ----------------------------------------------------------------------------------- */

struct question {
	const char *usage, *about;
	bool takes_address;
};

static int ask(const struct invocation *inv, int argc, char **argv, const struct question *q, int outcome, struct err *e)
{
	struct output o = { .line = BUF_INIT };
	struct lineage_filter filter = { .outcome = outcome };
	const struct option_spec specs[] = {
		{ "--run", 0, OPTION_TEXT, "R", "only this run (its name or id)", &filter.run },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object a line", &o.json },
	};
	int words;
	int r = options_parse(q->usage, q->about, specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words > q->takes_address)
		return options_wrong(e, "lineage", "%s: one word too many", argv[words - 1]);
	char *address = NULL;
	struct mesh_config *mesh = NULL;
	struct lineage *l = NULL;
	r = mesh_open(inv->mesh_path, &mesh, e);
	if (!r) {
		caller_name(o.user);
		o.own = !lineage_is_own(mesh);
		r = drain_open(mesh, &l, e);
	}
	if (!r && words) {
		r = lineage_sync(l, mesh, e);
		if (!r)
			r = named_resolve(inv, l, argv[0], &address, e);
		filter.address = address;
	}
	if (!r && q->takes_address)
		r = lineage_reads(l, &filter, read_each, &o, e);
	else if (!r)
		r = lineage_runs(l, filter.run, run_each, &o, e);
	if (!r && address && !o.count)
		r = named_check_in(inv, l, address, e); /* because there is no such thing? */
	if (r == -EPIPE)
		r = 0; /* the reader has seen enough */
	lineage_close(l);
	mesh_config_free(mesh);
	buf_free(&o.line);
	free(address);
	return r;
}

int lineage_verb_runs(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	static const struct question q = { "lineage runs [--run R]", "Lists the runs of this host: who, for what purpose, how it ended.", false };
	(void)ret_status;
	return ask(inv, argc, argv, &q, 0, e);
}

int lineage_verb_reads(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	static const struct question q = { "lineage reads [--run R] [ADDRESS]",
					   "Lists which files were opened: one line for each run, file and decision, with how often.", true };
	(void)ret_status;
	return ask(inv, argc, argv, &q, 0, e);
}

int lineage_verb_denials(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	static const struct question q = { "lineage denials [--run R] [ADDRESS]", "Lists which opens policy refused, and the rules that did.", true };
	(void)ret_status;
	return ask(inv, argc, argv, &q, LINEAGE_DENIED, e);
}
