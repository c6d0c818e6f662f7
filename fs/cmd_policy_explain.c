/* policy explain: the decision for one address and subject, and each rule that made it. */
#include "catalog/base/clock.h"
#include "catalog/base/json.h"
#include "catalog/base/text.h"
#include "fs/domain_command.h"
#include "fs/policy_command.h"
#include "policy/explain.h"
#include "policy/expr.h"
#include "policy/view.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 256

/* -- the subject ------------------------------------------------------------------------ */

struct person {
	struct subject s;
	char user[64], host[256];
	char *as; /* the taken-apart --as */
	const char *groups[GROUPS_MAX];
	char *names[GROUPS_MAX]; /* looked up; owned */
	size_t name_count;
	bool self;
};

static void person_free(struct person *p)
{
	for (size_t i = 0; i < p->name_count; i++)
		free(p->names[i]);
	free(p->as);
}

/* The groups that this machine knows of the user. */
static void system_groups(struct person *p, const char *user, gid_t gid)
{
	gid_t list[GROUPS_MAX];
	int count = GROUPS_MAX;
	if (getgrouplist(user, gid, list, &count) < 0)
		count = GROUPS_MAX;
	for (int i = 0; i < count && p->name_count < GROUPS_MAX; i++) {
		struct group *g = getgrgid(list[i]);
		char *name = g ? strdup(g->gr_name) : NULL;
		if (!name)
			continue;
		p->names[p->name_count++] = name;
		p->groups[p->s.group_count++] = name;
	}
}

static int read_as(struct person *p, const char *as, bool *ret_groups, struct err *e)
{
	static const char *const names[] = { "user", "group", "purpose", "run", "host", "uid" };
	char *save = NULL;
	p->as = strdup(as);
	if (!p->as)
		return err_set(e, -ENOMEM, "out of memory");
	for (char *part = strtok_r(p->as, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
		char *value = strchr(part, '=');
		if (!value || !value[1])
			return options_wrong(e, "policy explain", "--as wants user=U,group=G,purpose=P,run=R, not '%s'", part);
		*value++ = '\0';
		if (!strcmp(part, "user")) {
			p->s.user = value;
			p->self = p->self && !strcmp(value, p->user);
		} else if (!strcmp(part, "group") && p->s.group_count < GROUPS_MAX) {
			p->groups[p->s.group_count++] = value;
			*ret_groups = true;
		} else if (!strcmp(part, "purpose")) {
			p->s.purpose = value;
		} else if (!strcmp(part, "run")) {
			p->s.run = value;
		} else if (!strcmp(part, "host")) {
			p->s.host = value;
		} else if (!strcmp(part, "uid")) {
			p->s.uid = (uid_t)strtoul(value, NULL, 10);
		} else {
			const char *near = text_nearest(part, names, 6);
			return options_wrong(e, "policy explain", near ? "--as knows no '%s'; did you mean '%s'?" : "--as knows no '%s'", part, near);
		}
	}
	return 0;
}

static int read_person(struct person *p, const char *as, struct err *e)
{
	bool groups = false;
	caller_name(p->user);
	if (gethostname(p->host, sizeof p->host - 1))
		p->host[0] = '\0';
	p->self = true;
	p->s = (struct subject){ .user = p->user, .uid = geteuid(), .groups = p->groups, .host = p->host };
	int r = as ? read_as(p, as, &groups, e) : 0;
	if (r)
		return r;
	struct passwd *pw = getpwnam(p->s.user);
	if (!p->self)
		p->s.uid = pw ? pw->pw_uid : (uid_t)-1;
	if (!groups && pw)
		system_groups(p, p->s.user, pw->pw_gid);
	return 0;
}

/* -- the decision ------------------------------------------------------------------------------- */

struct column_note {
	char *name, *mask, *words;
};

/* What was decided, of one file or of all files of a version together. */
struct verdict {
	struct version_decision *d;
	bool any, mixed;
	enum outcome outcome;
	struct buf rules, reason, rows;
	struct column_note *columns;
	size_t column_count;
	bool missed; /* some file is denied by default; `permit` came nearest to letting it be read */
	struct missed_permit permit;
};

static void add_rules(struct buf *all, const char *ids)
{
	while (*ids) {
		size_t n = strcspn(ids, ",");
		bool found = false;
		for (const char *p = buf_text(all); *p; p += strcspn(p, ","), p += *p == ',')
			found |= strcspn(p, ",") == n && !memcmp(p, ids, n);
		if (!found) {
			if (all->len)
				buf_addc(all, ',');
			buf_add(all, ids, n);
		}
		ids += n + (ids[n] == ',');
	}
}

static void add_column(struct verdict *v, const char *name, const struct mask *m)
{
	struct buf text = BUF_INIT, words = BUF_INIT;
	for (size_t i = 0; i < v->column_count; i++)
		if (!strcmp(v->columns[i].name, name))
			return;
	struct column_note *more = realloc(v->columns, (v->column_count + 1) * sizeof *more);
	if (!more)
		return;
	v->columns = more;
	mask_text(m, &text);
	mask_words(m, &words);
	more[v->column_count].name = strdup(name);
	more[v->column_count].mask = buf_take(&text);
	more[v->column_count].words = buf_take(&words);
	if (more[v->column_count].name && more[v->column_count].mask && more[v->column_count].words)
		v->column_count++;
}

static int decide_file(struct verdict *v, const char *path, uint64_t size, bool link, struct err *e)
{
	struct file_facts f = { path, view_format(path), size, link };
	struct file_decision fd;
	int r = version_decision_file(v->d, &f, &fd, e);
	if (r)
		return r;
	v->mixed |= v->any && v->outcome != fd.outcome;
	v->outcome = v->any && v->outcome != fd.outcome ? OUTCOME_VIEW : fd.outcome;
	v->any = true;
	add_rules(&v->rules, fd.rules);
	if (fd.reason[0] && !v->reason.len)
		buf_adds(&v->reason, fd.reason);
	for (size_t i = 0; fd.transform && i < fd.transform->action_count; i++)
		add_column(v, fd.transform->actions[i].column, &fd.transform->actions[i].mask);
	if (fd.transform && fd.transform->filter && !v->rows.len)
		expr_words(fd.transform->filter, &v->rows);
	if (fd.outcome == OUTCOME_DENY && !strcmp(fd.rules, "default") && !v->missed)
		v->missed = version_decision_missed_permit(v->d, &f, &v->permit);
	file_decision_fini(&fd);
	return 0;
}

struct walk {
	struct verdict *v;
	struct err *e;
	const char *below; /* "" for all; else a folder or file */
	size_t below_len;
	bool found;
	int code;
};

static int each_entry(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct walk *w = arg;
	if (w->below_len && (strncmp(path, w->below, w->below_len) != 0 || (path[w->below_len] && path[w->below_len] != '/')))
		return 0;
	w->found = true;
	if (entry->kind == ENTRY_FILE || (entry->kind == ENTRY_SYMLINK && w->below_len && !path[w->below_len]))
		w->code = decide_file(w->v, path, entry->size, entry->kind == ENTRY_SYMLINK, w->e);
	return w->code;
}

/* All files of the version, or those at or beneath `below`. */
static int decide_all(struct verdict *v, struct loaded_version *lv, const char *below, struct err *e)
{
	struct manifest *m = NULL;
	struct walk w = { .v = v, .e = e, .below = below, .below_len = strlen(below) };
	while (w.below_len && below[w.below_len - 1] == '/')
		w.below_len--;
	v->outcome = version_decision_outcome(v->d);
	int r = domain_manifest(lv->domain->domain, lv->facts.product, &lv->info, &m, e);
	if (r && w.below_len) /* its data may be gone, or its store be down: the name alone decides nearly everything */
		return decide_file(v, below, 0, false, e);
	if (r)
		return r;
	r = manifest_walk(m, each_entry, &w);
	manifest_unref(m);
	if (w.code)
		return w.code;
	if (r < 0)
		return err_set(e, r, "the manifest cannot be read: %s", strerror(-r));
	return w.found || !w.below_len ? 0 : err_set(e, -ENOENT, "%s/%s/%s/%s: no such file", lv->facts.domain, lv->facts.product, lv->facts.version, below);
}

static void verdict_fini(struct verdict *v)
{
	for (size_t i = 0; i < v->column_count; i++) {
		free(v->columns[i].name);
		free(v->columns[i].mask);
		free(v->columns[i].words);
	}
	free(v->columns);
	buf_free(&v->rules);
	buf_free(&v->reason);
	buf_free(&v->rows);
	if (v->missed)
		buf_free(&v->permit.lacks);
	version_decision_free(v->d);
}

/* -- saying it ----------------------------------------------------------------------------------------- */

static const char *binding(const struct person *p)
{
	return p->self && geteuid() != 0 ? "advisory" : "enforced when root makes the session";
}

static int json_rule(void *arg, const struct explained_rule *r)
{
	struct json *j = arg;
	json_open(j, '{');
	json_field_text(j, "rule", r->id);
	json_field_text(j, "effect", r->effect);
	json_field_text(j, "file", r->file);
	json_field_int(j, "line", r->line);
	json_field_text(j, "words", r->words);
	json_close(j, '}');
	return 0;
}

static void print_json(const char *address, const struct person *p, const struct verdict *v)
{
	struct buf b = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "address", address);
	json_field_text(&j, "outcome", outcome_name(v->outcome));
	json_key(&j, "rules");
	json_open(&j, '[');
	for (const char *id = buf_text(&v->rules); *id; id += strcspn(id, ","), id += *id == ',')
		json_text_n(&j, id, strcspn(id, ","));
	json_close(&j, ']');
	json_field_text(&j, "rows", v->rows.len ? buf_text(&v->rows) : NULL);
	json_key(&j, "columns");
	json_open(&j, '{');
	for (size_t i = 0; i < v->column_count; i++)
		json_field_text(&j, v->columns[i].name, v->columns[i].mask);
	json_close(&j, '}');
	json_field_text(&j, "reason", v->reason.len ? buf_text(&v->reason) : NULL);
	json_key(&j, "made_by");
	json_open(&j, '[');
	version_decision_rules(v->d, buf_text(&v->rules), json_rule, &j);
	json_close(&j, ']');
	json_key(&j, "nearest_permit");
	if (v->missed) {
		json_open(&j, '{');
		json_field_text(&j, "rule", v->permit.id);
		json_field_text(&j, "file", v->permit.file);
		json_field_int(&j, "line", v->permit.line);
		json_field_text(&j, "lacks", buf_text(&v->permit.lacks));
		json_close(&j, '}');
	} else {
		json_null(&j);
	}
	json_field_text(&j, "binding", binding(p));
	int64_t until = version_decision_valid_until_ns(v->d);
	json_field_time(&j, "valid_until", until == INT64_MAX ? 0 : until);
	json_close(&j, '}');
	printf("%s\n", buf_text(&b));
	buf_free(&b);
}

static int say_rule(void *arg, const struct explained_rule *r)
{
	(void)arg;
	printf("  %s %s\n      %s:%d\n", r->id, r->words, r->file, r->line);
	return 0;
}

static void print_words(const char *address, const struct person *p, const struct verdict *v)
{
	int64_t until = version_decision_valid_until_ns(v->d);
	char when[CLOCK_TEXT_MAX];
	printf("%s: %s%s\n", address, outcome_name(v->outcome), v->mixed ? " (files differ)" : "");
	if (v->reason.len)
		printf("  %s\n", buf_text(&v->reason));
	for (size_t i = 0; i < v->column_count; i++)
		printf("  column %s: %s (%s)\n", v->columns[i].name, v->columns[i].mask, v->columns[i].words);
	if (v->rows.len)
		printf("  rows where %s\n", buf_text(&v->rows));
	printf("rules:\n");
	version_decision_rules(v->d, buf_text(&v->rules), say_rule, NULL);
	if (strstr(buf_text(&v->rules), "default"))
		printf("  none: what no permit of the domain covers is denied\n");
	if (v->missed)
		printf("nearest permit:\n  %s does not hold: %s\n      %s:%d\n", v->permit.id, buf_text(&v->permit.lacks), v->permit.file, v->permit.line);
	if (!version_decision_now_known(v->d))
		printf("The clock of this machine is wrong: the version was published later than it shows. Rules about time that restrict apply, others do not.\n");
	if (until != INT64_MAX) {
		clock_format_local(until, when);
		printf("This holds until %s.\n", when);
	}
	if (p->self && geteuid() != 0)
		printf("A session that you make yourself is advisory: it protects from mistakes. It binds when root makes it (mount --user %s).\n", p->s.user);
	else
		printf("It binds %s in a session that root makes (mount --user %s); one that the user makes himself is advisory.\n", p->s.user, p->s.user);
}

static int explain(struct policy_command *c, const struct address *a, const struct person *p, bool json, struct err *e)
{
	struct loaded_version lv;
	struct verdict v = { .outcome = OUTCOME_DENY };
	int r = policy_command_version(c, a->domain, a->product, a->version, &lv, e);
	if (r)
		return r;
	char *address = text_format("%s/%s/%s%s%s", lv.facts.domain, lv.facts.product, lv.facts.version, a->path[0] ? "/" : "", a->path);
	r = address ? policy_decide_version(c->policy, &p->s, &lv.facts, clock_now_ns(), &v.d, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = decide_all(&v, &lv, a->path, e);
	if (!r && json)
		print_json(address, p, &v);
	else if (!r)
		print_words(address, p, &v);
	verdict_fini(&v);
	free(address);
	loaded_version_free(&lv);
	return r;
}

int policy_verb_explain(const struct invocation *inv, int argc, char **argv, struct err *e)
{
	const char *as = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "--as", 0, OPTION_TEXT, "WHO", "user=U,group=G,purpose=P,run=R (group may stand several times); default: the caller", &as },
		{ "--json", 0, OPTION_FLAG, NULL, "one JSON object", &json },
	};
	struct policy_command c;
	struct person p = { 0 };
	struct address a;
	int words;
	int r = options_parse("policy explain ADDRESS [--as user=U,group=G,purpose=P,run=R]",
			      "Says what is decided of a version or file, and which rules made it so.", specs, 2, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words != 1)
		return options_wrong(e, "policy explain", "policy explain wants one address");
	r = address_parse(argv[0], &a, e);
	if (!r && !a.product[0])
		r = options_wrong(e, "policy explain", "policy explain wants the address of a product, version or file, not of a domain");
	if (!r)
		r = read_person(&p, as, e);
	if (!r && !(r = policy_command_open(inv, &c, e))) {
		r = explain(&c, &a, &p, json, e);
		policy_command_close(&c);
	}
	person_free(&p);
	return r;
}
