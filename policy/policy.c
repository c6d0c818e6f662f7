/* Loading: all files together, checked, sorted, indexed, hashed. */
#include "policy/policy.h"

#include "catalog/address.h"
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "policy/key.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_FILES_MAX 10000

/* -- canonical text ------------------------------------------------------------------- */

static int order_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The items in order, once each: "word item, item\n". */
static void text_list(const char *word, char **items, size_t count, struct buf *ret)
{
	if (!count)
		return;
	qsort(items, count, sizeof *items, order_text);
	for (size_t i = 0; i < count; i++)
		if (!i || strcmp(items[i], items[i - 1]) != 0)
			buf_addf(ret, "  %s %s\n", word, items[i]);
}

static void conditions_text(const char *word, struct expr *const *list, size_t count, struct buf *ret)
{
	char **texts = calloc(count + 1, sizeof *texts);
	bool ok = texts != NULL;
	for (size_t i = 0; ok && i < count; i++) {
		struct buf b = BUF_INIT;
		expr_text(list[i], &b);
		texts[i] = buf_take(&b);
		ok = texts[i] != NULL;
	}
	if (ok)
		text_list(word, texts, count, ret);
	else
		ret->failed = true;
	for (size_t i = 0; texts && i < count; i++)
		free(texts[i]);
	free(texts);
}

static void names_text(const char *word, const char **names, size_t count, struct buf *ret)
{
	char **copy = calloc(count + 1, sizeof *copy);
	if (!copy) {
		ret->failed = true;
		return;
	}
	if (count)
		memcpy(copy, names, count * sizeof *copy);
	text_list(word, copy, count, ret);
	free(copy);
}

void rule_text(const struct rule *r, struct buf *ret)
{
	static const char *const words[] = { "columns named", "columns tagged", "columns classified", "columns unclassified", "columns all" };
	buf_addf(ret, "%s%s %s %s%s\n", r->file->domain ? "domain " : "mesh", r->file->domain ? r->file->domain : "", r->id,
		 rule_kind_names[r->kind], r->publish ? " to publish" : "");
	names_text("files", r->files, r->file_count, ret);
	conditions_text("when", r->when, r->when_count, ret);
	conditions_text("unless", r->unless, r->unless_count, ret);
	for (int kind = SELECT_NAMED; kind <= SELECT_ALL; kind++) {
		const char **names = NULL;
		size_t count = 0;
		struct arena a = { 0 };
		for (size_t i = 0; i < r->selector_count; i++) {
			const struct selector *s = &r->selectors[i];
			for (size_t k = 0; s->kind == (enum selector_kind)kind && k < s->count + (s->count == 0); k++) {
				const char **slot = arena_push(&a, &names, &count, sizeof *slot);
				if (slot)
					*slot = s->count ? s->names[k] : "";
				else
					ret->failed = true;
			}
		}
		names_text(words[kind], names, count, ret);
		arena_free(&a);
	}
	if (r->rows) {
		buf_adds(ret, "  rows ");
		expr_text(r->rows, ret);
		buf_addc(ret, '\n');
	}
	if (r->kind == RULE_MASK) {
		buf_adds(ret, "  with ");
		mask_text(&r->mask, ret);
		buf_addc(ret, '\n');
	}
	for (int a = 0; a < ATTR_COUNT; a++)
		for (size_t i = 0; i < r->have_count; i++)
			if (r->have[i] == a) {
				buf_addf(ret, "  have %s\n", attribute_specs[a].name);
				break;
			}
	names_text("from", r->from, r->from_count, ret);
	if (r->until_text)
		buf_addf(ret, "  until %lld\n", (long long)r->until_ns);
	if (r->reason)
		buf_addf(ret, "  reason \"%s\"\n", r->reason);
}

static int make_digest(struct policy *p)
{
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < p->rule_count; i++) {
		const struct mask *m = &p->rules[i]->mask;
		char hex[2 * sizeof m->key_fingerprint + 1];
		rule_text(p->rules[i], &b);
		if (m->kind != MASK_HMAC)
			continue;
		/* Another key under the same name is another policy: mounts must make new views. */
		hex_format(m->key_fingerprint, sizeof m->key_fingerprint, hex);
		buf_addf(&b, "  key %s\n", hex);
	}
	int r = buf_check(&b);
	/* A broken file of a domain changes what is served. */
	const void *key;
	void *text;
	size_t len;
	char **broken = calloc(map_count(p->broken) + 1, sizeof *broken);
	size_t n = 0;
	for (size_t i = 0; broken && map_next(p->broken, &i, &key, &len, &text);)
		broken[n++] = text;
	if (broken)
		text_list("broken", broken, n, &b);
	free(broken);
	sha256_of(buf_text(&b), b.len, &p->digest);
	buf_free(&b);
	return r;
}

/* -- reach and index ------------------------------------------------------------------------ */

/* Does a part of the glob match the name?  Parts hold no '/'. */
static bool part_matches(const char *glob, size_t len, const char *name)
{
	return value_like(glob, len, name, strlen(name));
}

enum reach glob_reach(const char *glob, const char *domain, const char *product, const char *version)
{
	const char *names[] = { domain, product, version }, *g = glob;
	for (int i = 0; i < 3; i++) {
		size_t n = strcspn(g, "/");
		for (size_t k = 0; k + 1 < n; k++)
			if (g[k] == '*' && g[k + 1] == '*') {
				/* `**` swallows what is left; only a glob that ends so covers all of the version. */
				return n == 2 && !g[n] ? REACH_ALL : REACH_SOME;
			}
		if (!part_matches(g, n, names[i]))
			return REACH_NONE;
		if (!g[n])
			return REACH_NONE; /* ends above any file */
		g += n + 1;
	}
	return strcmp(g, "**") == 0 ? REACH_ALL : REACH_SOME;
}

enum reach rule_reach(const struct rule *r, const char *domain, const char *product, const char *version)
{
	enum reach most = REACH_NONE;
	if (r->file->domain && strcmp(r->file->domain, domain) != 0)
		return REACH_NONE;
	for (size_t i = 0; i < r->file_count && most != REACH_ALL; i++) {
		enum reach reach = glob_reach(r->files[i], domain, product, version);
		if (reach > most)
			most = reach;
	}
	return most;
}

bool rule_matches(const struct rule *r, const char *domain, const char *address)
{
	if (r->file->domain && strcmp(r->file->domain, domain) != 0)
		return false;
	for (size_t i = 0; i < r->file_count; i++)
		if (text_glob(r->files[i], address))
			return true;
	return false;
}

static bool is_literal(const char *text, size_t n)
{
	return n && !memchr(text, '*', n) && !memchr(text, '?', n);
}

static int list_add(struct policy *p, struct rule_list *l, unsigned number)
{
	if (l->count && l->numbers[l->count - 1] == number)
		return 0;
	unsigned *slot = arena_push(&p->arena, &l->numbers, &l->count, sizeof *slot);
	if (!slot)
		return -ENOMEM;
	*slot = number;
	return 0;
}

static int map_list_add(struct policy *p, struct map *m, const char *key, size_t len, unsigned number)
{
	struct rule_list *l = map_get(m, key, len);
	if (!l) {
		l = arena_alloc(&p->arena, sizeof *l);
		if (!l || map_set(m, key, len, l, NULL))
			return -ENOMEM;
	}
	return list_add(p, l, number);
}

static int index_glob(struct policy *p, const struct rule *r, const char *glob)
{
	const char *domain = r->file->domain;
	size_t first = strcspn(glob, "/");
	if (is_literal(glob, first) && glob[first]) {
		if (domain && (strlen(domain) != first || memcmp(domain, glob, first) != 0))
			return 0; /* another domain's: never */
		size_t second = strcspn(glob + first + 1, "/");
		if (is_literal(glob + first + 1, second))
			return map_list_add(p, p->by_product, glob, first + 1 + second, r->number);
		return map_list_add(p, p->by_domain, glob, first, r->number);
	}
	if (domain)
		return map_list_add(p, p->by_domain, domain, strlen(domain), r->number);
	return list_add(p, &p->anywhere, r->number);
}

static int order_numbers(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
	return x < y ? -1 : x > y;
}

size_t policy_candidates(const struct policy *p, const char *domain, const char *product, const unsigned char *idle, unsigned *room)
{
	char key[2 * NAME_SIZE + 2];
	size_t n = strlen(domain), m = strlen(product), count = 0;
	const struct rule_list *lists[3] = { &p->anywhere, map_get(p->by_domain, domain, n), NULL };
	if (n + m + 1 < sizeof key) {
		memcpy(key, domain, n);
		key[n] = '/';
		memcpy(key + n + 1, product, m);
		lists[2] = map_get(p->by_product, key, n + m + 1);
	}
	/* A rule with many globs may stand in several lists, once in each. */
	int used = 0;
	for (int i = 0; i < 3; i++) {
		if (!lists[i] || !lists[i]->count)
			continue;
		for (size_t k = 0; k < lists[i]->count && count < p->rule_count * 3; k++) {
			unsigned rule = lists[i]->numbers[k];
			if (!(idle[rule / 8] >> (rule % 8) & 1))
				room[count++] = rule;
		}
		used++;
	}
	if (used < 2)
		return count;
	qsort(room, count, sizeof *room, order_numbers);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (!kept || room[kept - 1] != room[i])
			room[kept++] = room[i];
	return kept;
}

/* -- exempts -------------------------------------------------------------------------------------- */

bool exempt_names(const struct rule *exempt, const struct rule *r)
{
	if (r->file->domain)
		return false;
	for (size_t i = 0; i < exempt->from_count; i++)
		if (!strcmp(exempt->from[i], r->id) || !strcmp(exempt->from[i], r->name))
			return true;
	return false;
}

static int check_exempt(const struct policy *p, const struct rule *x, struct err *e)
{
	for (size_t i = 0; i < x->from_count; i++) {
		const struct rule *found = NULL;
		const char *names[256];
		size_t count = 0;
		for (size_t k = 0; k < p->rule_count; k++) {
			const struct rule *r = p->rules[k];
			if (r->file->domain || r->kind == RULE_EXEMPT)
				continue;
			bool full = !strcmp(x->from[i], r->id);
			if (!full && strcmp(x->from[i], r->name) != 0) {
				if (count < 256)
					names[count++] = strchr(x->from[i], '/') ? r->id : r->name;
				continue;
			}
			if (found && !full)
				return err_at(e, x->file->path, x->line, x->column, "exempt '%s': two rules are called '%s': %s and %s; name one in full",
					      x->name, x->from[i], found->id, r->id);
			found = r;
		}
		if (found)
			continue;
		const char *near = text_nearest(x->from[i], names, count);
		return err_at(e, x->file->path, x->line, x->column, "exempt '%s': the mesh has no rule '%s'%s%s%s", x->name, x->from[i],
			      near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	}
	return 0;
}

/* -- loading ------------------------------------------------------------------------------------------ */

static int order_rules(const void *a, const void *b)
{
	const struct rule *x = *(struct rule *const *)a, *y = *(struct rule *const *)b;
	int order = strcmp(x->file->domain ? x->file->domain : "", y->file->domain ? y->file->domain : "");
	return order ? order : strcmp(x->id, y->id);
}

static int find_key(const struct mesh_config *mesh, struct rule *r, struct err *e)
{
	struct err why = ERR_INIT;
	if (r->mask.kind != MASK_HMAC || !mesh)
		return 0;
	if (!mesh_key_find(mesh, r->mask.key)) {
		const char *names[64];
		size_t count = 0;
		for (; count < mesh->key_count && count < 64; count++)
			names[count] = mesh->keys[count].name;
		const char *near = text_nearest(r->mask.key, names, count);
		return err_at(e, r->file->path, r->mask_line, r->mask_column, "mesh.yaml names no key '%s'%s%s%s", r->mask.key,
			      near ? "; did you mean '" : "; make it by 'meshfs policy key new ", near ? near : r->mask.key, near ? "'?" : "'");
	}
	int code = policy_key_fingerprint(mesh, r->mask.key, r->mask.key_fingerprint, &why);
	/* Who may not read the key can still learn what is decided; a view that needs it is denied when it asks for it. */
	if (!code || code == -EACCES)
		return 0;
	return err_at(e, r->file->path, r->mask_line, r->mask_column, "%s", why.text);
}

static int check_file(const struct mesh_config *mesh, const struct policy *p, const struct policy_source *s, struct policy_file *f, struct err *e)
{
	if (s->domain && (!f->domain || strcmp(f->domain, s->domain) != 0))
		return err_at(e, f->path, f->line, f->column, "a policy that domain %s publishes has the scope 'domain %s', no other", s->domain,
			      s->domain);
	for (size_t i = 0; i < p->file_count; i++) {
		const struct policy_file *o = p->files[i];
		bool same = !strcmp(o->domain ? o->domain : "", f->domain ? f->domain : "");
		if (same && !strcmp(o->name, f->name))
			return err_at(e, f->path, f->line, f->column, "policy '%s' stands in %s already", f->name, o->path);
	}
	for (size_t i = 0; i < f->rule_count; i++) {
		int r = find_key(mesh, &f->rules[i], e);
		if (r)
			return r;
	}
	return 0;
}

static int add_problem(struct policy *p, const char *text)
{
	const char **slot = arena_push(&p->arena, &p->problems, &p->problem_count, sizeof *slot);
	return slot && (*slot = arena_text(&p->arena, text, strlen(text))) ? 0 : -ENOMEM;
}

static int load_source(struct policy *p, const struct mesh_config *mesh, const struct policy_source *s, struct err *e)
{
	struct policy_file *f = NULL;
	struct err why = ERR_INIT;
	int r = policy_parse(s->name, s->text, s->len, &f, &why);
	if (!r)
		r = check_file(mesh, p, s, f, &why);
	if (!r) {
		struct policy_file **slot = arena_push(&p->arena, &p->files, &p->file_count, sizeof *slot);
		if (slot) {
			*slot = f;
			p->rule_count += f->rule_count;
			return 0;
		}
		r = err_set(&why, -ENOMEM, "out of memory");
	}
	policy_file_free(f);
	if (r == -ENOMEM || !s->domain)
		return err_move(e, &why);
	/* What a domain publishes can only harm the domain itself. */
	char *text = arena_text(&p->arena, why.text, strlen(why.text));
	if (!text || map_sets(p->broken, s->domain, text) || add_problem(p, text))
		return err_set(e, -ENOMEM, "out of memory");
	return 0;
}

static bool asks_checks(const struct expr *x)
{
	return expr_uses(x, ATTR_QUALITY_SCORE) || expr_uses(x, ATTR_FAILED_ERRORS) || expr_uses(x, ATTR_FAILED_WARNINGS);
}

static int collect(struct policy *p, struct err *e)
{
	size_t n = 0;
	p->rules = arena_alloc(&p->arena, (p->rule_count + 1) * sizeof *p->rules);
	if (!p->rules)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < p->file_count; i++) {
		const struct policy_file *f = p->files[i];
		for (size_t k = 0; k < f->rule_count; k++)
			p->rules[n++] = &f->rules[k];
		for (size_t k = 0; k < f->expr_count; k++)
			p->asks_checks |= asks_checks(f->exprs[k]);
	}
	if (n)
		qsort(p->rules, n, sizeof *p->rules, order_rules);
	for (size_t i = 0; i < n; i++) {
		struct rule *r = p->rules[i];
		r->number = (unsigned)i;
		for (size_t k = 0; k < r->file_count; k++)
			if (index_glob(p, r, r->files[k]))
				return err_set(e, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < n; i++) {
		int r = p->rules[i]->kind == RULE_EXEMPT ? check_exempt(p, p->rules[i], e) : 0;
		if (r)
			return r;
	}
	return 0;
}

int policy_load(const struct mesh_config *mesh, const struct policy_source *sources, size_t count, struct policy **ret, struct err *e)
{
	struct policy *p = calloc(1, sizeof *p);
	int r = 0;
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	p->refs = 1;
	pthread_mutex_init(&p->idle_lock, NULL);
	p->by_product = map_new();
	p->by_domain = map_new();
	p->broken = map_new();
	if (!p->by_product || !p->by_domain || !p->broken)
		r = err_set(e, -ENOMEM, "out of memory");
	/* The mesh's own files first: a domain's file can then never displace one of them. */
	for (int domains = 0; !r && domains < 2; domains++)
		for (size_t i = 0; !r && i < count; i++)
			if ((sources[i].domain != NULL) == domains)
				r = load_source(p, mesh, &sources[i], e);
	if (!r)
		r = collect(p, e);
	if (!r && make_digest(p))
		r = err_set(e, -ENOMEM, "out of memory");
	if (r) {
		policy_unref(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct policy *policy_ref(struct policy *p)
{
	__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
	return p;
}

void policy_unref(struct policy *p)
{
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < p->file_count; i++)
		policy_file_free(p->files[i]);
	map_free(p->by_product, NULL);
	map_free(p->by_domain, NULL);
	map_free(p->broken, NULL);
	for (int i = 0; i < IDLE_SUBJECTS; i++)
		free(p->idle[i].bits);
	pthread_mutex_destroy(&p->idle_lock);
	arena_free(&p->arena);
	free(p);
}

const struct digest *policy_digest(const struct policy *p)
{
	return &p->digest;
}

size_t policy_problems(const struct policy *p, const char *const **ret)
{
	*ret = p->problems;
	return p->problem_count;
}

const char *policy_domain_problem(const struct policy *p, const char *domain)
{
	return map_gets(p->broken, domain);
}

bool policy_asks_checks(const struct policy *p)
{
	return p->asks_checks;
}

size_t policy_rule_count(const struct policy *p)
{
	return p->rule_count;
}

/* -- the mesh's folder ---------------------------------------------------------------------------------- */

struct folder {
	struct policy_source *sources;
	struct buf *texts;
	size_t count, own; /* `own`: how many were read here */
};

static int select_policy(const struct dirent *d)
{
	return d->d_name[0] != '.' && text_ends(d->d_name, ".policy");
}

static int read_one(struct folder *f, const char *folder, const char *name, struct err *e)
{
	char *path = io_join(folder, name);
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	struct buf *b = &f->texts[f->own];
	int r = io_read_file(path, POLICY_FILES_MAX * 1000, b, e);
	if (r) {
		free(path);
		return r;
	}
	f->sources[f->own++] = (struct policy_source){ .name = path, .text = buf_text(b), .len = b->len };
	f->count = f->own;
	return 0;
}

static int read_folder(const char *folder, size_t extra, struct folder *f, struct err *e)
{
	struct dirent **names = NULL;
	int n = scandir(folder, &names, select_policy, alphasort), r = 0;
	if (n < 0 && errno != ENOENT)
		return err_set(e, -errno, "cannot read the policy folder %s: %s", folder, strerror(errno));
	if (n < 0)
		return err_set(e, -ENOENT, "there is no policy folder %s: with no policy everything is denied", folder);
	if (n > POLICY_FILES_MAX)
		r = err_set(e, -EINVAL, "%s holds more than %d policy files", folder, POLICY_FILES_MAX);
	f->sources = calloc((size_t)n + extra + 1, sizeof *f->sources);
	f->texts = calloc((size_t)n + 1, sizeof *f->texts);
	if (!f->sources || !f->texts)
		r = err_set(e, -ENOMEM, "out of memory");
	for (int i = 0; i < n; i++) {
		if (!r)
			r = read_one(f, folder, names[i]->d_name, e);
		free(names[i]);
	}
	free(names);
	return r;
}

int policy_load_mesh(const struct mesh_config *mesh, const struct policy_source *extra, size_t extra_count, struct policy **ret, struct err *e)
{
	return policy_load_folder(mesh, mesh->policy_folder, extra, extra_count, ret, e);
}

int policy_load_folder(const struct mesh_config *mesh, const char *folder, const struct policy_source *extra, size_t extra_count,
		       struct policy **ret, struct err *e)
{
	struct folder f = { 0 };
	int r = read_folder(folder, extra_count, &f, e);
	for (size_t i = 0; !r && i < extra_count; i++)
		f.sources[f.count++] = extra[i];
	if (!r)
		r = policy_load(mesh, f.sources, f.count, ret, e);
	for (size_t i = 0; i < f.own; i++) {
		free((char *)f.sources[i].name);
		buf_free(&f.texts[i]);
	}
	free(f.sources);
	free(f.texts);
	return r;
}
