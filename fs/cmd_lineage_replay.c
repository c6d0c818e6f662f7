/* meshfs lineage replay: would today's policy decide the same for what a run read? */
#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/json.h"
#include "catalog/base/map.h"
#include "catalog/base/text.h"
#include "catalog/lineage.h"
#include "catalog/lineage_query.h"
#include "fs/cmd_lineage.h"
#include "fs/identity.h"
#include "fs/scan.h"
#include "policy/decide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct person { /* the run's subject, with the groups that he had then; where they are not on record, those of today */
	struct identity who;
	struct doc *groups; /* the recorded list, or NULL */
	const char **names; /* in it */
	struct subject subject;
	char *user, *purpose, *run, *id, *host;
};

struct replay {
	struct lineage_question q;
	struct map *decisions; /* of the run under way: version → struct version_decision */
	struct person *people;
	size_t people_count;
	struct person *person;
	bool json, quiet;
	int64_t reads, different;
	struct err *e;
};

struct today {
	const char *outcome; /* "served" "denied" "gone" */
	char view[SHA256_HEX_SIZE];
	char rules[DECISION_RULES_MAX], reason[ERR_TEXT_MAX];
};

static void free_decision(void *d)
{
	version_decision_free(d);
}

/* -- the subject -------------------------------------------------------------------------------- */

/* `have run` asks for a run that somebody named; a mount without a name has one that was made up. */
static bool is_named(const struct lineage_run_row *row)
{
	char *made = text_format("mount-%s-", row->user);
	bool named = row->command || !made || !text_starts(row->name, made);
	free(made);
	return named;
}

static int read_groups(struct replay *x, struct person *p, const char *json)
{
	int r = doc_parse("the run's groups", json, strlen(json), &p->groups, x->e);
	if (r)
		return r;
	const struct doc_node *list = doc_root(p->groups);
	p->names = calloc(doc_count(list) + 1, sizeof *p->names);
	if (!p->names)
		return err_set(x->e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < doc_count(list); i++) {
		const char *name = doc_text(doc_item(list, i));
		p->names[i] = name ? name : "";
	}
	return 0;
}

static int add_person(void *arg, const struct lineage_run_row *row)
{
	struct replay *x = arg;
	struct person *more = realloc(x->people, (x->people_count + 1) * sizeof *more);
	if (!more)
		return err_set(x->e, -ENOMEM, "out of memory");
	x->people = more;
	struct person *p = &more[x->people_count++];
	*p = (struct person){ .user = strdup(row->user), .purpose = row->purpose ? strdup(row->purpose) : NULL, .id = strdup(row->id),
			      .run = is_named(row) ? strdup(row->name) : NULL, .host = strdup(row->host ? row->host : "") };
	if (!p->user || !p->id || !p->host)
		return err_set(x->e, -ENOMEM, "out of memory");
	return row->groups ? read_groups(x, p, row->groups) : 0;
}

static int make_subject(struct replay *x, struct person *p)
{
	struct err why = ERR_INIT;
	int r = identity_of(p->user, &p->who, &why);
	if (r && r != -ENOENT)
		return err_move(x->e, &why);
	if (r && !p->groups && !x->quiet)
		fprintf(stderr, "meshfs: %s is no user of this host: decided without groups\n", p->user);
	if (r)
		p->subject = (struct subject){ .user = p->user, .uid = (uid_t)-1 };
	else
		identity_subject(&p->who, &p->subject);
	if (p->groups) {
		p->subject.groups = p->names;
		p->subject.group_count = doc_count(doc_root(p->groups));
	}
	p->subject.purpose = p->purpose;
	p->subject.run = p->run;
	p->subject.host = p->host;
	return 0;
}

/* -- today's decision ------------------------------------------------------------------------------- */

static int decision_of(struct replay *x, struct scan_version *v, struct version_decision **ret)
{
	*ret = map_gets(x->decisions, v->address);
	if (*ret)
		return 0;
	int r = policy_decide_version(scan_policy(x->q.scan), &x->person->subject, &v->loaded.facts, clock_now_ns(), ret, x->e);
	if (!r && map_sets(x->decisions, v->address, *ret)) {
		version_decision_free(*ret);
		r = err_set(x->e, -ENOMEM, "out of memory");
	}
	return r;
}

static int decide(struct replay *x, const struct lineage_read_row *row, struct today *ret)
{
	struct scan_version *v;
	struct version_decision *d;
	struct file_decision fd;
	struct manifest_entry entry = { 0 };
	*ret = (struct today){ .outcome = "gone" };
	int r = scan_version(x->q.scan, row->version_address, &v, x->e);
	if (r)
		return r;
	if (!v->manifest || v->loaded.info.status == VERSION_WITHDRAWN) {
		snprintf(ret->reason, sizeof ret->reason, "%s", v->manifest ? "the version was withdrawn" : v->gone.text);
		return 0;
	}
	r = decision_of(x, v, &d);
	if (!r)
		manifest_resolve(v->manifest, row->file, &entry);
	struct file_facts facts = { row->file, view_format(row->file), entry.size, false };
	if (!r)
		r = version_decision_file(d, &facts, &fd, x->e);
	if (r)
		return r;
	ret->outcome = fd.outcome == OUTCOME_ALLOW || fd.outcome == OUTCOME_VIEW ? "served" : "denied";
	snprintf(ret->rules, sizeof ret->rules, "%s", fd.rules);
	snprintf(ret->reason, sizeof ret->reason, "%s", fd.reason);
	if (fd.transform)
		hex_format(fd.transform->hash.bytes, SHA256_SIZE, ret->view);
	file_decision_fini(&fd);
	return 0;
}

/* -- comparing ------------------------------------------------------------------------------------------ */

static void print_json(const struct lineage_read_row *row, const struct today *t, bool same)
{
	struct buf b = BUF_INIT;
	struct json j;
	char *address = text_format("%s/%s", row->version_address, row->file);
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "run", row->run);
	json_field_text(&j, "run_id", row->run_id);
	json_field_text(&j, "address", address);
	json_field_bool(&j, "same", same);
	json_field_text(&j, "outcome", row->outcome);
	json_field_text(&j, "view", row->view);
	json_field_text(&j, "rules", row->rules);
	json_field_text(&j, "policy", row->policy);
	json_field_text(&j, "outcome_today", t->outcome);
	json_field_text(&j, "view_today", t->view);
	json_field_text(&j, "rules_today", t->rules);
	json_field_text(&j, "reason_today", t->reason[0] ? t->reason : NULL);
	json_close(&j, '}');
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
	free(address);
}

static void say(struct buf *b, const char *outcome, const char *view, const char *rules)
{
	buf_adds(b, outcome);
	if (view[0])
		buf_addf(b, " through view %.12s", view);
	if (rules[0])
		buf_addf(b, " (%s)", rules);
}

static void print_text(const struct lineage_read_row *row, const struct today *t)
{
	struct buf b = BUF_INIT;
	buf_addf(&b, "%s  %s/", row->run, row->version_address);
	browse_add_safe(&b, row->file);
	buf_adds(&b, "\n    then:  ");
	say(&b, row->outcome, row->view, row->rules);
	buf_adds(&b, "\n    today: ");
	say(&b, t->outcome, t->view, t->rules);
	if (t->reason[0])
		buf_addf(&b, ": %s", t->reason);
	buf_addc(&b, '\n');
	browse_print(&b);
	buf_free(&b);
}

static int each_read(void *arg, const struct lineage_read_row *row)
{
	struct replay *x = arg;
	struct today t;
	int r = decide(x, row, &t);
	if (r)
		return r;
	bool same = !strcmp(row->outcome, t.outcome) && (strcmp(t.outcome, "served") != 0 || !strcmp(row->view, t.view));
	x->reads++;
	x->different += !same;
	if (x->json)
		print_json(row, &t, same);
	else if (!same)
		print_text(row, &t);
	return 0;
}

static int replay(struct replay *x, const char *run)
{
	int r = lineage_runs(x->q.l, run, add_person, x, x->e);
	for (size_t i = 0; !r && i < x->people_count; i++) {
		x->person = &x->people[i];
		x->decisions = map_new();
		r = x->decisions ? make_subject(x, x->person) : err_set(x->e, -ENOMEM, "out of memory");
		struct lineage_filter filter = { .run = x->person->id };
		if (!r)
			r = lineage_reads(x->q.l, &filter, each_read, x, x->e);
		if (x->decisions)
			map_free(x->decisions, free_decision);
	}
	return r;
}

static void people_free(struct replay *x)
{
	for (size_t i = 0; i < x->people_count; i++) {
		struct person *p = &x->people[i];
		char *texts[] = { p->user, p->purpose, p->run, p->id, p->host };
		for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
			free(texts[k]);
		identity_fini(&p->who);
		free(p->names);
		doc_free(p->groups);
	}
	free(x->people);
}

int lineage_verb_replay(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	struct replay x = { .quiet = inv->quiet, .e = e };
	const struct option_spec specs[] = { { "--json", 0, OPTION_FLAG, NULL, "one JSON object a line: every read, then and today", &x.json } };
	int words;
	(void)ret_status;
	int r = options_parse("lineage replay RUN",
			      "Would today's policy decide the same for everything that the run (its name or id) opened?\n"
			      "The subject is the run's: user, groups, purpose, name, host. For a run that an older meshfs recorded, the groups are those of today.\n"
			      "Exit status 3 when a read would be decided otherwise.",
			      specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "lineage replay", "lineage replay: wants one run");
	r = lineage_question_open(inv, NULL, true, &x.q, e);
	if (!r)
		r = replay(&x, argv[0]);
	if (!r && x.different)
		r = err_set_kind(e, ERR_REFUSED, -EPERM, "%lld of %lld reads of %s would be decided otherwise today", (long long)x.different,
				 (long long)x.reads, argv[0]);
	else if (!r && !x.json)
		printf("today's policy decides %s%lld read%s of %s the same\n", x.reads == 1 ? "the " : "all ", (long long)x.reads,
		       x.reads == 1 ? "" : "s", argv[0]);
	people_free(&x);
	lineage_question_close(&x.q);
	return r;
}
