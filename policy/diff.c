#include "policy/diff_internal.h"

#include "policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int diff_no_memory(struct diff *x)
{
	return err_set(x->e, -ENOMEM, "out of memory");
}

static void subject_text(const struct diff *x, const struct subject *s, struct buf *ret)
{
	buf_addf(ret, "user %s", s->user);
	for (size_t i = 0; i < s->group_count; i++)
		buf_addf(ret, "%s%s", i ? " and " : ", group ", s->groups[i]);
	buf_addf(ret, s->purpose ? ", purpose %s" : ", no purpose", s->purpose);
	if (s->run)
		buf_addf(ret, ", run %s", s->run);
	if (x->uids.count > 1)
		buf_addf(ret, s->uid == (uid_t)-1 ? ", no uid" : ", uid %lu", (unsigned long)s->uid);
	if (x->hosts.count > 1)
		buf_addf(ret, ", host %s", s->host);
}

/* -- comparing ---------------------------------------------------------------------------------------- */

static int note(struct diff *x, const struct world *w, const char *path, const struct subject *s, bool loosened, const char *what,
		const char *before, const char *after)
{
	char product[160];
	struct buf key = BUF_INIT, subject = BUF_INIT;
	snprintf(product, sizeof product, "%s/%s", w->domain, w->product);
	buf_addf(&key, "%d|%s|%s|%zu|%s|%s|%s", loosened, product, w->label, w->quality, what, before, after);
	size_t at = (size_t)(uintptr_t)map_gets(x->by_key, buf_text(&key));
	if (at) {
		x->found[at - 1].c.subjects++;
		x->found[at - 1].asked = x->found[at - 1].asked * 0x100000001b3u + x->question;
		buf_free(&key);
		return 0;
	}
	subject_text(x, s, &subject);
	struct found *more = buf_check(&key) || buf_check(&subject) ? NULL : realloc(x->found, (x->found_count + 1) * sizeof *more);
	if (!more) {
		buf_free(&key);
		buf_free(&subject);
		return diff_no_memory(x);
	}
	x->found = more;
	struct arena *a = &x->atoms.arena;
	struct policy_change c = { loosened, arena_text(a, product, strlen(product)), arena_text(a, path, strlen(path)),
				   arena_text(a, what, strlen(what)), arena_text(a, before, strlen(before)), arena_text(a, after, strlen(after)),
				   arena_text(a, buf_text(&subject), subject.len), arena_text(a, w->label, strlen(w->label)), 1 };
	int r = c.product && c.path && c.what && c.before && c.after && c.subject && c.facts ? 0 : diff_no_memory(x);
	if (!r && map_sets(x->by_key, buf_text(&key), (void *)(uintptr_t)(x->found_count + 1)))
		r = diff_no_memory(x);
	buf_free(&key);
	buf_free(&subject);
	if (r)
		return r;
	more[x->found_count++] = (struct found){ .c = c, .quality = w->quality, .asked = x->question };
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

static int compare_rows(struct diff *x, const struct world *w, const char *path, const struct subject *s, const struct expr *a,
			const struct expr *b)
{
	struct buf ta = BUF_INIT, tb = BUF_INIT;
	if (diff_implies(a, b) && diff_implies(b, a))
		return 0;
	buf_adds(&ta, a ? "" : "all");
	buf_adds(&tb, b ? "" : "all");
	if (a)
		expr_words(a, &ta);
	if (b)
		expr_words(b, &tb);
	int r = note(x, w, path, s, !diff_implies(b, a), "rows", buf_text(&ta), buf_text(&tb));
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
	const struct contract_object *o = w->facts.contract ? contract_object_for(w->facts.contract, path) : NULL;
	for (size_t i = 0; o && i < o->column_count && !r; i++)
		r = compare_column(x, w, path, s, a->transform, b->transform, o->columns[i].name);
	return r ? r : compare_column(x, w, path, s, a->transform, b->transform, NULL);
}

static int ask_file(struct diff *x, struct world *w, const struct subject *s, struct version_decision *before, struct version_decision *after,
		    const struct file_facts *f)
{
	struct file_decision a = { 0 }, b = { 0 };
	int r = version_decision_file(before, f, &a, x->e);
	if (!r)
		r = version_decision_file(after, f, &b, x->e);
	if (!r)
		r = compare(x, w, f->path, s, &a, &b);
	file_decision_fini(&a);
	file_decision_fini(&b);
	return r;
}

static int ask_publishing(struct diff *x, struct world *w, const struct subject *s)
{
	static const char *const answers[] = { "refused", "permitted" };
	bool before = !policy_may_publish(x->before, s, &w->facts, false, w->now_ns, NULL);
	bool after = !policy_may_publish(x->after, s, &w->facts, false, w->now_ns, NULL);
	return before == after ? 0 : note(x, w, "", s, after, "publishing", answers[before], answers[after]);
}

static int ask_world(struct diff *x, struct world *w, const struct subject *s)
{
	const struct names *formats = &x->atoms.values[ATTR_FILE_FORMAT];
	struct version_decision *a = NULL, *b = NULL;
	w->facts.domain = w->domain;
	w->facts.product = w->product;
	w->facts.version = w->version;
	int r = policy_decide_version(x->before, s, &w->facts, w->now_ns, &a, x->e);
	if (!r)
		r = policy_decide_version(x->after, s, &w->facts, w->now_ns, &b, x->e);
	if (!r && x->atoms.publishing)
		r = ask_publishing(x, w, s);
	size_t files = w->paths.count * (formats->count + 1) * x->sizes.count;
	for (size_t i = 0; i < files && !r; i++, x->question++) {
		const char *path = w->paths.items[i % w->paths.count];
		size_t n = i / w->paths.count, format = n % (formats->count + 1);
		struct file_facts f = { path, format ? formats->items[format - 1] : view_format(path), (uint64_t)x->sizes.items[n / (formats->count + 1)], false };
		if (!strcmp(f.format, "other"))
			f.format = "csv"; /* what a rule does should be seen, not that a made-up name cannot be filtered */
		r = ask_file(x, w, s, a, b, &f);
	}
	version_decision_free(a);
	version_decision_free(b);
	return r;
}

static const char *or_null(const char *text)
{
	return text[0] ? text : NULL;
}

/* Of n groups: none, each, each pair, and all.  Returns how many of `ret` are in the set. */
static size_t group_set(const struct names *groups, size_t number, const char **ret)
{
	size_t n = groups->count, count = 0;
	if (!number)
		return 0;
	if (number <= n) {
		ret[0] = groups->items[number - 1];
		return 1;
	}
	number -= n + 1;
	for (size_t i = 0; i < n; i++) {
		if (number < n - i - 1) {
			ret[0] = groups->items[i];
			ret[1] = groups->items[i + 1 + number];
			return 2;
		}
		number -= n - i - 1;
	}
	for (; count < n; count++)
		ret[count] = groups->items[count];
	return count;
}

static int ask_all(struct diff *x)
{
	size_t n = x->groups.count, sets = n + 1 + n * (n - (n > 0)) / 2 + (n > 2);
	double subjects = (double)x->users.count * (double)sets * (double)x->purposes.count * (double)x->runs.count * (double)x->hosts.count * (double)x->uids.count;
	const char **groups = arena_alloc(&x->atoms.arena, (n + 2) * sizeof *groups);
	int r = groups ? 0 : diff_no_memory(x);
	if (subjects * (double)x->world_count > POLICY_DIFF_ASK_MAX)
		return err_set(x->e, -E2BIG, "the rules name too many users, groups, purposes and states to ask every combination (%.0f)",
			       subjects * (double)x->world_count);
	for (size_t i = 0; i < (size_t)subjects && !r; i++) {
		size_t at = i;
		struct subject s = { .groups = groups };
		s.user = x->users.items[at % x->users.count];
		s.group_count = group_set(&x->groups, (at /= x->users.count) % sets, groups);
		s.purpose = or_null(x->purposes.items[(at /= sets) % x->purposes.count]);
		s.run = or_null(x->runs.items[(at /= x->purposes.count) % x->runs.count]);
		s.host = x->hosts.items[(at /= x->runs.count) % x->hosts.count];
		s.uid = (uid_t)x->uids.items[at / x->hosts.count];
		for (size_t k = 0; k < x->world_count && !r; k++) {
			x->question = (uint64_t)i << 32; /* the same for the same file of every world */
			r = ask_world(x, &x->worlds[k], &s);
		}
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
		diff_no_memory(&x);
	if (!r)
		r = diff_make_subjects(&x);
	if (!r)
		r = diff_make_worlds(&x, versions, count);
	if (!r)
		r = ask_all(&x);
	if (!r)
		r = diff_fold(&x);
	for (int loosened = 1; !r && loosened >= 0; loosened--)
		for (size_t i = 0; i < x.found_count; i++)
			if (!x.found[i].folded && x.found[i].c.loosened == (loosened == 1))
				each(arg, &x.found[i].c);
	for (size_t i = 0; i < x.world_count; i++)
		contract_unref(x.worlds[i].facts.contract);
	free(x.worlds);
	free(x.found);
	map_free(x.by_key, NULL);
	arena_free(&x.atoms.arena);
	return r;
}
