#include "policy/diff.h"

#include "catalog/base/json.h"
#include "policy/diff_atoms.h"
#include "policy/expr_internal.h"
#include "policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A product to ask about: one that exists, or one made of the atoms. */
struct world {
	char domain[64], product[64], version[36];
	struct version_facts facts;
	const char *label;
	struct names paths;
};

struct found {
	struct policy_change c;

};

struct diff {
	struct policy *before, *after;
	struct atoms atoms;
	struct world *worlds;
	size_t world_count;
	struct names users, groups, purposes, runs;
	struct found *found;
	size_t found_count;
	struct map *by_key; /* → index + 1 */
	int64_t now_ns;
	struct err *e;
};

static int no_memory(struct diff *x)
{
	return err_set(x->e, -ENOMEM, "out of memory");
}

/* -- worlds ----------------------------------------------------------------------------- */

/* A path that the part of the glob behind the version matches: `*` and `**` become "x". */
static void plain_path(const char *glob, char *ret, size_t size)
{
	size_t n = 0;
	for (; *glob && n + 2 < size; glob++) {
		if (*glob == '*') {
			while (glob[1] == '*')
				glob++;
			ret[n++] = 'x';
		} else {
			ret[n++] = *glob == '?' ? 'x' : *glob;
		}
	}
	ret[n] = '\0';
}

/* Splits a glob into plain names of domain, product and version, and the rest; parts that are globs give "any". */
static const char *split_glob(const char *glob, char parts[3][64])
{
	for (int i = 0; i < 3; i++)
		snprintf(parts[i], 64, i == 2 ? "1.0.0" : "any");
	for (int i = 0; i < 3; i++) {
		size_t n = strcspn(glob, "/");
		if (!n || memchr(glob, '*', n) || memchr(glob, '?', n) || n > 63) {
			if (n == 2 && !memcmp(glob, "**", 2))
				return glob[n] ? glob + n + 1 : "";
		} else {
			snprintf(parts[i], 64, "%.*s", (int)n, glob);
		}
		if (!glob[n])
			return "";
		glob += n + 1;
	}
	return glob;
}

static int add_path(struct diff *x, struct world *w, const char *glob)
{
	char path[512];
	plain_path(glob, path, sizeof path);
	return path[0] ? names_add(&x->atoms, &w->paths, path, strlen(path)) : 0;
}

static int add_paths(struct diff *x, struct world *w)
{
	int r = 0;
	const struct contract_object *objects;
	size_t count = w->facts.contract ? contract_objects(w->facts.contract, &objects) : 0;
	for (size_t i = 0; i < count && !r; i++)
		r = add_path(x, w, objects[i].files ? objects[i].files : "data.csv");
	for (size_t i = 0; i < x->atoms.globs.count && !r; i++) {
		char parts[3][64];
		const char *rest = split_glob(x->atoms.globs.items[i], parts);
		if (*rest && strcmp(rest, "**") != 0 && glob_reach(x->atoms.globs.items[i], w->domain, w->product, w->version) != REACH_NONE)
			r = add_path(x, w, rest);
	}
	return r ? r : w->paths.count ? 0 : add_path(x, w, "data.csv");
}

static void json_column(struct json *j, const char *name, const char *tag, const char *classification)
{
	json_open(j, '{');
	json_field_text(j, "name", name);
	json_field_text(j, "classification", classification);
	json_key(j, "tags");
	json_open(j, '[');
	if (tag)
		json_text(j, tag);
	json_close(j, ']');
	json_close(j, '}');
}

/* A contract with a column for each name, tag and classification that the rules know. */
static int make_contract(struct diff *x, const char *status, struct contract **ret)
{
	struct atoms *a = &x->atoms;
	struct buf b = BUF_INIT, name = BUF_INIT;
	struct json j;
	json_start(&j, &b);
	json_open(&j, '{');
	json_field_text(&j, "apiVersion", "v3.1.0");
	json_field_text(&j, "kind", "DataContract");
	json_field_text(&j, "id", "any");
	json_field_text(&j, "version", "1.0.0");
	json_field_text(&j, "status", status);
	json_key(&j, "customProperties");
	json_open(&j, '[');
	json_open(&j, '{');
	json_field_text(&j, "property", "allowedPurposes");
	json_key(&j, "value");
	json_open(&j, '[');
	/* Every other one, so that both answers of `purpose in product.allowed_purposes` are asked. */
	for (size_t i = 0; i < x->purposes.count; i += 2)
		if (x->purposes.items[i][0])
			json_text(&j, x->purposes.items[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	json_close(&j, ']');
	json_key(&j, "schema");
	json_open(&j, '[');
	json_open(&j, '{');
	json_field_text(&j, "name", "any");
	json_field_text(&j, "physicalName", "**");
	json_key(&j, "properties");
	json_open(&j, '[');
	for (size_t i = 0; i < a->named.count; i++)
		json_column(&j, a->named.items[i], NULL, "public");
	for (size_t i = 0; i < a->row_columns.count; i++) {
		bool known = false;
		for (size_t k = 0; k < a->named.count; k++)
			known |= !strcmp(a->named.items[k], a->row_columns.items[i]);
		if (!known)
			json_column(&j, a->row_columns.items[i], NULL, "public");
	}
	for (size_t i = 0; i < a->tagged.count; i++) {
		buf_clear(&name);
		buf_addf(&name, "(tagged %s)", a->tagged.items[i]);
		json_column(&j, buf_text(&name), a->tagged.items[i], "public");
	}
	for (size_t i = 0; i < a->classified.count; i++) {
		buf_clear(&name);
		buf_addf(&name, "(classified %s)", a->classified.items[i]);
		json_column(&j, buf_text(&name), NULL, a->classified.items[i]);
	}
	json_column(&j, "(unclassified)", NULL, NULL);
	json_column(&j, "(other)", NULL, "public");
	json_close(&j, ']');
	json_close(&j, '}');
	json_close(&j, ']');
	json_close(&j, '}');
	int r = buf_check(&b) || buf_check(&name) ? no_memory(x) : contract_parse("any", buf_text(&b), b.len, ret, x->e);
	buf_free(&b);
	buf_free(&name);
	return r;
}

static int add_world(struct diff *x, const char *domain, const char *product, const char *version, const struct version_facts *facts,
		     const char *status, const char *label)
{
	struct world *more = realloc(x->worlds, (x->world_count + 1) * sizeof *more);
	if (!more)
		return no_memory(x);
	x->worlds = more;
	struct world *w = &more[x->world_count];
	*w = (struct world){ .label = label };
	snprintf(w->domain, sizeof w->domain, "%s", domain);
	snprintf(w->product, sizeof w->product, "%s", product);
	snprintf(w->version, sizeof w->version, "%s", version);
	w->facts = facts ? *facts : (struct version_facts){ .published_ns = x->now_ns, .has_quality = true, .quality_score = 1 };
	int r = 0;
	if (w->facts.contract)
		contract_ref(w->facts.contract);
	else
		r = make_contract(x, status, &w->facts.contract);
	x->world_count++;
	return r ? r : add_paths(x, w) ? no_memory(x) : 0;
}

static bool has_world(const struct diff *x, const char *domain, const char *product)
{
	for (size_t i = 0; i < x->world_count; i++)
		if (!strcmp(x->worlds[i].domain, domain) && !strcmp(x->worlds[i].product, product))
			return true;
	return false;
}

/* A product made of atoms, in each state that rules tell apart. */
static int add_states(struct diff *x, const char *domain, const char *product, const char *version)
{
	const struct names *statuses = &x->atoms.values[ATTR_STATUS];
	bool quality = x->atoms.used[ATTR_FAILED_ERRORS] || x->atoms.used[ATTR_FAILED_WARNINGS] || x->atoms.used[ATTR_QUALITY_SCORE];
	struct version_facts failed = { .published_ns = x->now_ns, .has_quality = true, .failed_errors = 1, .failed_warnings = 1 };
	struct version_facts unknown = { .published_ns = x->now_ns };
	if (has_world(x, domain, product))
		return 0;
	int r = add_world(x, domain, product, version, NULL, "active", "");
	for (size_t i = 0; i < statuses->count && !r; i++)
		if (strcmp(statuses->items[i], "active") != 0)
			r = add_world(x, domain, product, version, NULL, statuses->items[i], statuses->items[i]);
	if (!r && quality)
		r = add_world(x, domain, product, version, &failed, "active", "quality failed");
	if (!r && quality)
		r = add_world(x, domain, product, version, &unknown, "active", "quality unknown");
	return r;
}

static int add_domains(struct diff *x, const struct policy *p)
{
	int r = 0;
	for (size_t i = 0; i < p->file_count && !r; i++)
		if (p->files[i]->domain)
			r = add_states(x, p->files[i]->domain, "any", "1.0.0");
	return r;
}

static int make_worlds(struct diff *x, const struct version_facts *versions, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && !r; i++)
		r = add_world(x, versions[i].domain, versions[i].product, versions[i].version, &versions[i], "active", "");
	for (size_t i = 0; i < x->atoms.globs.count && !r; i++) {
		char parts[3][64];
		split_glob(x->atoms.globs.items[i], parts);
		if (strcmp(parts[0], "any") != 0)
			r = add_states(x, parts[0], parts[1], parts[2]);
	}
	if (!r)
		r = add_domains(x, x->before);
	if (!r)
		r = add_domains(x, x->after);
	return r;
}

/* -- subjects ------------------------------------------------------------------------------------ */

static int add_names(struct diff *x, struct names *to, const struct names *from, const char *other)
{
	int r = 0;
	for (size_t i = 0; i < from->count && !r; i++)
		r = names_add(&x->atoms, to, from->items[i], strlen(from->items[i]));
	return r ? r : names_add(&x->atoms, to, other, strlen(other));
}

/* "" stands for none. */
static int make_subjects(struct diff *x)
{
	struct atoms *a = &x->atoms;
	int r = add_names(x, &x->users, &a->values[ATTR_USER], "(anyone)");
	if (!r)
		r = add_names(x, &x->groups, &a->values[ATTR_GROUP], "");
	if (!r)
		r = add_names(x, &x->purposes, &a->values[ATTR_PURPOSE], "(other)");
	if (!r)
		r = names_add(a, &x->purposes, "", 0);
	if (!r)
		r = add_names(x, &x->runs, &a->values[ATTR_RUN], "");
	if (!r && a->used[ATTR_RUN])
		r = names_add(a, &x->runs, "(some)", 6);
	return r ? no_memory(x) : 0;
}

static void subject_text(const struct subject *s, char *ret, size_t size)
{
	snprintf(ret, size, "user %s%s%s%s%s%s%s", s->user, s->group_count ? ", group " : "", s->group_count ? s->groups[0] : "",
		 s->purpose ? ", purpose " : ", no purpose", s->purpose ? s->purpose : "", s->run ? ", run " : "", s->run ? s->run : "");
}

/* -- comparing ---------------------------------------------------------------------------------------- */

static int note(struct diff *x, const struct world *w, const char *path, const struct subject *s, bool loosened, const char *what,
		const char *before, const char *after)
{
	char subject[512], product[160];
	struct buf key = BUF_INIT;
	subject_text(s, subject, sizeof subject);
	snprintf(product, sizeof product, "%s/%s", w->domain, w->product);
	buf_addf(&key, "%d|%s|%s|%s|%s|%s", loosened, product, w->label, what, before, after);
	size_t at = (size_t)(uintptr_t)map_gets(x->by_key, buf_text(&key));
	if (at) {
		x->found[at - 1].c.subjects++;
		buf_free(&key);
		return 0;
	}
	struct found *more = buf_check(&key) ? NULL : realloc(x->found, (x->found_count + 1) * sizeof *more);
	if (!more) {
		buf_free(&key);
		return no_memory(x);
	}
	x->found = more;
	struct arena *a = &x->atoms.arena;
	struct policy_change c = { loosened, arena_text(a, product, strlen(product)), arena_text(a, path, strlen(path)),
				   arena_text(a, what, strlen(what)), arena_text(a, before, strlen(before)), arena_text(a, after, strlen(after)),
				   arena_text(a, subject, strlen(subject)), w->label, 1 };
	int r = c.product && c.path && c.what && c.before && c.after && c.subject ? 0 : no_memory(x);
	if (!r && map_sets(x->by_key, buf_text(&key), (void *)(uintptr_t)(x->found_count + 1)))
		r = no_memory(x);
	buf_free(&key);
	if (r)
		return r;
	more[x->found_count++] = (struct found){ c };
	return 0;
}

static const struct mask *mask_of(const struct transform *t, const char *column)
{
	static const struct mask keep = { .kind = MASK_KEEP };
	if (!t)
		return &keep;
	if (!column)
		return &t->unnamed;
	for (size_t i = 0; i < t->action_count; i++) {
		size_t n = strlen(t->actions[i].column);
		if (!strncmp(t->actions[i].column, column, n) && (!column[n] || column[n] == '.'))
			return &t->actions[i].mask;
	}
	return &keep;
}

static int compare_column(struct diff *x, const struct world *w, const char *path, const struct subject *s, const struct transform *a,
			  const struct transform *b, const char *column)
{
	const struct mask *ma = mask_of(a, column), *mb = mask_of(b, column);
	struct buf ta = BUF_INIT, tb = BUF_INIT, what = BUF_INIT;
	struct mask strictest;
	if (mask_equal(ma, mb))
		return 0;
	mask_combine(ma, mb, &strictest);
	mask_text(ma, &ta);
	mask_text(mb, &tb);
	buf_addf(&what, column ? "column %s" : "columns that the contract does not name", column);
	bool tightened = mask_equal(&strictest, mb);
	int r = note(x, w, path, s, !tightened, buf_text(&what), buf_text(&ta), buf_text(&tb));
	buf_free(&ta);
	buf_free(&tb);
	buf_free(&what);
	return r;
}

/* The conditions that all have to hold. */
static size_t conjuncts(const struct expr *x, struct buf *texts, size_t max)
{
	const struct expr_node *root = expr_root(x);
	size_t count = root->op == EXPR_AND ? root->child_count : 1;
	for (size_t i = 0; i < count && i < max; i++)
		expr_node_text(x, root->op == EXPR_AND ? root->children[i] : root, &texts[i]);
	return count < max ? count : max;
}

/* Does whoever passes `a` pass `b`, as far as the text tells? */
static bool implies(const struct expr *a, const struct expr *b)
{
	enum { MOST = 64 };
	struct buf ta[MOST] = { BUF_INIT }, tb[MOST] = { BUF_INIT };
	const struct expr_node *root = a ? expr_root(a) : NULL;
	bool all = true;
	if (!b || (root && root->op == EXPR_CONSTANT && root->constant != TRUTH_TRUE))
		return true;
	if (!a)
		return false;
	size_t na = conjuncts(a, ta, MOST), nb = conjuncts(b, tb, MOST);
	for (size_t i = 0; i < nb; i++) {
		bool found = false;
		for (size_t k = 0; k < na; k++)
			found |= !strcmp(buf_text(&ta[k]), buf_text(&tb[i]));
		all &= found;
	}
	for (size_t i = 0; i < MOST; i++) {
		buf_free(&ta[i]);
		buf_free(&tb[i]);
	}
	return all;
}

static int compare_rows(struct diff *x, const struct world *w, const char *path, const struct subject *s, const struct expr *a,
			const struct expr *b)
{
	struct buf ta = BUF_INIT, tb = BUF_INIT;
	if (implies(a, b) && implies(b, a))
		return 0;
	buf_adds(&ta, a ? "" : "all");
	buf_adds(&tb, b ? "" : "all");
	if (a)
		expr_text(a, &ta);
	if (b)
		expr_text(b, &tb);
	int r = note(x, w, path, s, !implies(b, a), "rows", buf_text(&ta), buf_text(&tb));
	buf_free(&ta);
	buf_free(&tb);
	return r;
}

static int rank(enum outcome o)
{
	return o == OUTCOME_HIDE ? 2 : o == OUTCOME_DENY ? 1 : 0;
}

static int compare(struct diff *x, const struct world *w, const char *path, const struct subject *s, const struct file_decision *a,
		   const struct file_decision *b)
{
	if (rank(a->outcome) != rank(b->outcome))
		return note(x, w, path, s, rank(b->outcome) < rank(a->outcome), "files", outcome_name(a->outcome), outcome_name(b->outcome));
	if (rank(a->outcome))
		return 0;
	int r = compare_rows(x, w, path, s, a->transform ? a->transform->filter : NULL, b->transform ? b->transform->filter : NULL);
	const struct contract_object *o = contract_object_for(w->facts.contract, path);
	for (size_t i = 0; o && i < o->column_count && !r; i++)
		r = compare_column(x, w, path, s, a->transform, b->transform, o->columns[i].name);
	return r ? r : compare_column(x, w, path, s, a->transform, b->transform, NULL);
}

static int ask_world(struct diff *x, struct world *w, const struct subject *s)
{
	struct version_decision *a = NULL, *b = NULL;
	w->facts.domain = w->domain;
	w->facts.product = w->product;
	w->facts.version = w->version;
	int r = policy_decide_version(x->before, s, &w->facts, x->now_ns, &a, x->e);
	if (!r)
		r = policy_decide_version(x->after, s, &w->facts, x->now_ns, &b, x->e);
	for (size_t i = 0; i < w->paths.count && !r; i++) {
		struct file_facts f = { w->paths.items[i], view_format(w->paths.items[i]), 0 };
		struct file_decision da = { 0 }, db = { 0 };
		if (!strcmp(f.format, "other"))
			f.format = "csv"; /* what a rule does should be seen, not that a made-up name cannot be filtered */
		r = version_decision_file(a, &f, &da, x->e);
		if (!r)
			r = version_decision_file(b, &f, &db, x->e);
		if (!r)
			r = compare(x, w, f.path, s, &da, &db);
		file_decision_fini(&da);
		file_decision_fini(&db);
	}
	version_decision_free(a);
	version_decision_free(b);
	return r;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

static int ask_all(struct diff *x)
{
	size_t subjects = x->users.count * x->groups.count * x->purposes.count * x->runs.count;
	if (subjects > POLICY_DIFF_ASK_MAX || subjects * x->world_count > POLICY_DIFF_ASK_MAX)
		return err_set(x->e, -E2BIG, "the rules name too many users, groups and purposes to ask every combination (%zu)",
			       subjects * x->world_count);
	int r = 0;
	for (size_t i = 0; i < subjects && !r; i++) {
		size_t n = i;
		const char *user = x->users.items[n % x->users.count];
		n /= x->users.count;
		const char *group = x->groups.items[n % x->groups.count];
		n /= x->groups.count;
		const char *purpose = x->purposes.items[n % x->purposes.count], *run = x->runs.items[n / x->purposes.count];
		struct subject s = { .user = user, .uid = (uid_t)-1, .groups = &group, .group_count = group[0] != 0, .purpose = or_null(purpose),
				     .run = or_null(run), .host = "localhost" };
		for (size_t k = 0; k < x->world_count && !r; k++)
			r = ask_world(x, &x->worlds[k], &s);
	}
	return r;
}

int policy_diff(struct policy *before, struct policy *after, const struct version_facts *versions, size_t count, int64_t now_ns,
		void (*each)(void *arg, const struct policy_change *c), void *arg, struct err *e)
{
	struct diff x = { .before = before, .after = after, .now_ns = now_ns, .e = e, .by_key = map_new() };
	int r = x.by_key ? atoms_collect(&x.atoms, before) : -ENOMEM;
	if (!r)
		r = atoms_collect(&x.atoms, after);
	if (r)
		no_memory(&x);
	if (!r)
		r = make_subjects(&x);
	if (!r)
		r = make_worlds(&x, versions, count);
	if (!r)
		r = ask_all(&x);
	for (int loosened = 1; !r && loosened >= 0; loosened--)
		for (size_t i = 0; i < x.found_count; i++)
			if (x.found[i].c.loosened == (loosened == 1))
				each(arg, &x.found[i].c);
	for (size_t i = 0; i < x.world_count; i++)
		contract_unref(x.worlds[i].facts.contract);
	free(x.worlds);
	free(x.found);
	map_free(x.by_key, NULL);
	arena_free(&x.atoms.arena);
	return r;
}
