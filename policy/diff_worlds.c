/* Whom and what policy diff asks about: subjects and products in each state that the rules of either policy tell apart. */
#include "policy/diff_internal.h"

#include "catalog/base/clock.h"
#include "catalog/base/json.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- atoms ------------------------------------------------------------------------------- */

static int add_names(struct diff *x, struct names *to, const struct names *from, const char *other)
{
	int r = 0;
	for (size_t i = 0; i < from->count && !r; i++)
		r = names_add(&x->atoms, to, from->items[i], strlen(from->items[i]));
	return r || !other ? r : names_add(&x->atoms, to, other, strlen(other));
}

static int number_add(struct diff *x, struct numbers *n, double v)
{
	for (size_t i = 0; i < n->count; i++)
		if (n->items[i] == v)
			return 0;
	double *slot = arena_push(&x->atoms.arena, &n->items, &n->count, sizeof *slot);
	if (!slot)
		return -ENOMEM;
	*slot = v;
	return 0;
}

/* Of each number that the attribute is compared with: it and what lies a step beside it; and `usual`. */
static int add_numbers(struct diff *x, struct numbers *to, enum attribute a, double usual, double step, double least, double most)
{
	const struct names *said = &x->atoms.values[a];
	int r = number_add(x, to, usual);
	for (size_t i = 0; i < said->count && !r; i++)
		for (int k = -1; k <= 1 && !r; k++) {
			double v = strtod(said->items[i], NULL);
			v = (step == 1 ? floor(v) : v) + k * step;
			if (v >= least && v <= most)
				r = number_add(x, to, v);
		}
	return r;
}

/* -- worlds ----------------------------------------------------------------------------- */

#define ANY "any"               /* of domains and products: one that no rule names */
#define VERSION_ANY "999.999.9" /* of versions */

/* Splits a glob into names of domain, product and version that it matches, and the rest; of a domain that is a glob, ANY. */
static const char *split_glob(const char *glob, char parts[3][64])
{
	for (int i = 0; i < 3; i++)
		snprintf(parts[i], 64, "%s", i == 2 ? VERSION_ANY : ANY);
	for (int i = 0; i < 3; i++) {
		size_t n = strcspn(glob, "/");
		char part[64];
		snprintf(part, sizeof part, "%.*s", n < 64 ? (int)n : 0, glob);
		if (strstr(part, "**"))
			return glob[n] ? glob + n + 1 : "";
		if (part[0] && strcmp(part, "*") != 0 && (i || part[strcspn(part, "*?")] == '\0'))
			plain_text(part, i == 2 ? "0" : "x", parts[i], sizeof parts[i]);
		if (!glob[n])
			return "";
		glob += n + 1;
	}
	return glob;
}

static int add_path(struct diff *x, struct world *w, const char *glob)
{
	char path[512];
	plain_text(glob, "x", path, sizeof path);
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
	if (!r)
		r = add_names(x, &w->paths, &x->atoms.values[ATTR_FILE_PATH], NULL);
	return r ? r : w->paths.count && !x->atoms.used[ATTR_FILE_PATH] ? 0 : add_path(x, w, "data.csv");
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
static int make_contract(struct diff *x, const char *status, const char *tag, const char *team, const char *allowed, struct contract **ret)
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
	if (tag[0]) {
		json_key(&j, "tags");
		json_open(&j, '[');
		json_text(&j, tag);
		json_close(&j, ']');
	}
	if (team[0]) {
		json_key(&j, "team");
		json_open(&j, '{');
		json_field_text(&j, "name", team);
		json_close(&j, '}');
	}
	json_key(&j, "customProperties");
	json_open(&j, '[');
	json_open(&j, '{');
	json_field_text(&j, "property", "allowedPurposes");
	json_key(&j, "value");
	json_open(&j, '[');
	/* Every other one, so that both answers of `purpose in product.allowed_purposes` are asked. */
	for (size_t i = 0; !allowed[0] && i < x->purposes.count; i += 2)
		if (x->purposes.items[i][0])
			json_text(&j, x->purposes.items[i]);
	if (allowed[0])
		json_text(&j, allowed);
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
	int r = buf_check(&b) || buf_check(&name) ? diff_no_memory(x) : contract_parse("any", buf_text(&b), b.len, ret, x->e);
	buf_free(&b);
	buf_free(&name);
	return r;
}

static struct world *add_world(struct diff *x, const char *domain, const char *product, const char *version, const struct version_facts *facts)
{
	struct world *more = realloc(x->worlds, (x->world_count + 1) * sizeof *more);
	if (!more)
		return NULL;
	x->worlds = more;
	struct world *w = &more[x->world_count++];
	*w = (struct world){ .now_ns = x->now_ns, .facts = *facts };
	snprintf(w->domain, sizeof w->domain, "%s", domain);
	snprintf(w->product, sizeof w->product, "%s", product);
	snprintf(w->version, sizeof w->version, "%s", version);
	if (w->facts.contract)
		contract_ref(w->facts.contract);
	return add_paths(x, w) ? NULL : w;
}

static bool has_world(const struct diff *x, const char *domain, const char *product, const char *version)
{
	for (size_t i = 0; i < x->world_count; i++)
		if (x->worlds[i].made && !strcmp(x->worlds[i].domain, domain) && !strcmp(x->worlds[i].product, product) &&
		    !strcmp(x->worlds[i].version, version))
			return true;
	return false;
}

static void label_add(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void label_add(struct world *w, const char *fmt, ...)
{
	size_t n = strlen(w->label);
	va_list ap;
	if (n + 3 >= sizeof w->label)
		return;
	n += (size_t)snprintf(w->label + n, sizeof w->label - n, "%s", n ? ", " : "");
	va_start(ap, fmt);
	vsnprintf(w->label + n, sizeof w->label - n, fmt, ap);
	va_end(ap);
}

/* One contract at each moment, age and result of the checks. */
static int add_moments(struct diff *x, const char *domain, const char *product, const char *version, struct contract *c, const char *label)
{
	for (size_t i = 0; i < x->moment_count; i++)
		for (size_t k = 0; k < x->ages.count; k++)
			for (size_t m = 0; m < x->quality_count; m++) {
				const struct quality *q = &x->qualities[m];
				int64_t now = x->moments[i];
				struct version_facts f = { .contract = c, .published_ns = now - (int64_t)x->ages.items[k] * 86400 * NS_PER_S, .has_quality = q->has,
							   .failed_errors = q->errors, .failed_warnings = q->warnings, .quality_score = q->score };
				struct world *w = x->world_count < POLICY_DIFF_ASK_MAX / 16 ? add_world(x, domain, product, version, &f) : NULL;
				if (!w)
					return x->world_count < POLICY_DIFF_ASK_MAX / 16 ? diff_no_memory(x) : err_set(x->e, -E2BIG, "the rules tell too many states of a product apart to ask each");
				w->made = true;
				w->now_ns = now;
				snprintf(w->label, sizeof w->label, "%s", label);
				w->quality = m;
				if (x->ages.count > 1)
					label_add(w, "%.0f days old", x->ages.items[k]);
				if (i) {
					char text[CLOCK_TEXT_MAX];
					clock_format_ns(now, text);
					label_add(w, "from %s on", text);
				}
			}
	return 0;
}

/* A product made of atoms, in every state that rules tell apart. */
static int add_states(struct diff *x, const char *domain, const char *product, const char *version)
{
	static const char *const usual[] = { "active" }, *const none[] = { "" };
	struct names statuses = { 0 }, tags = { 0 }, teams = { 0 }, allowed = { 0 };
	struct atoms *a = &x->atoms;
	if (has_world(x, domain, product, version))
		return 0;
	int r = names_add(a, &statuses, usual[0], 6) || names_add(a, &tags, none[0], 0) || names_add(a, &teams, none[0], 0) || names_add(a, &allowed, none[0], 0);
	r = r || add_names(x, &statuses, &a->values[ATTR_STATUS], NULL) || add_names(x, &tags, &a->values[ATTR_TAGS], NULL) ||
	    add_names(x, &teams, &a->values[ATTR_TEAM], a->used[ATTR_TEAM] ? OWNERS : NULL) || add_names(x, &allowed, &a->values[ATTR_PURPOSES], NULL);
	if (r)
		return diff_no_memory(x);
	size_t all = statuses.count * tags.count * teams.count * allowed.count;
	for (size_t i = 0; i < all && !r; i++) {
		size_t n = i;
		const char *status = statuses.items[n % statuses.count], *tag = tags.items[(n /= statuses.count) % tags.count];
		const char *team = teams.items[(n /= tags.count) % teams.count], *purpose = allowed.items[n / teams.count];
		struct world said = { .label = "" };
		struct contract *c = NULL;
		if (strcmp(status, "active") != 0)
			label_add(&said, "status %s", status);
		if (tag[0])
			label_add(&said, "tagged %s", tag);
		if (team[0])
			label_add(&said, "team %s", team);
		if (purpose[0])
			label_add(&said, "allowed for %s", purpose);
		r = make_contract(x, status, tag, team, purpose, &c);
		if (!r)
			r = add_moments(x, domain, product, version, c, said.label);
		contract_unref(c);
	}
	return r;
}

static int add_domains(struct diff *x, const struct policy *p)
{
	int r = 0;
	for (size_t i = 0; i < p->file_count && !r; i++)
		if (p->files[i]->domain)
			r = add_states(x, p->files[i]->domain, ANY, VERSION_ANY);
	return r;
}

/* Domains, products and versions that conditions name. */
static int add_named_worlds(struct diff *x)
{
	const struct names *domains = &x->atoms.values[ATTR_DOMAIN], *products = &x->atoms.values[ATTR_NAME], *versions = &x->atoms.values[ATTR_VERSION];
	struct names all = { 0 };
	int r = add_names(x, &all, domains, NULL) ? diff_no_memory(x) : 0;
	for (size_t i = 0; i < x->world_count && !r; i++)
		r = names_add(&x->atoms, &all, x->worlds[i].domain, strlen(x->worlds[i].domain)) ? diff_no_memory(x) : 0;
	for (size_t i = 0; i < all.count && !r; i++) {
		for (size_t k = 0; k <= products->count && !r; k++)
			for (size_t m = 0; m <= versions->count && !r; m++)
				if (k < products->count || m < versions->count || i < domains->count)
					r = add_states(x, all.items[i], k < products->count ? products->items[k] : ANY, m < versions->count ? versions->items[m] : VERSION_ANY);
	}
	return r;
}

/* A version that the rule says, and one that it does not. */
static int add_versions(struct diff *x, const char *domain, const char *product, const char *version)
{
	int r = add_states(x, domain, product, version);
	return r ? r : add_states(x, domain, product, VERSION_ANY);
}

/* What a rule's glob tells apart, in its domain or in each of those that are known: `known` worlds. */
static int add_glob(struct diff *x, const char *glob, size_t known)
{
	char parts[3][64], first[64];
	int r = 0;
	split_glob(glob, parts);
	if (strcmp(parts[0], ANY) != 0)
		return add_versions(x, parts[0], parts[1], parts[2]);
	if (!strcmp(parts[1], ANY) && !strcmp(parts[2], VERSION_ANY))
		return 0;
	snprintf(first, sizeof first, "%.*s", (int)strcspn(glob, "/"), glob);
	for (size_t i = 0; i < known && !r; i++) {
		char domain[64];
		snprintf(domain, sizeof domain, "%s", x->worlds[i].domain);
		if (value_like(first, strlen(first), domain, strlen(domain)))
			r = add_versions(x, domain, parts[1], parts[2]);
	}
	return r;
}

int diff_make_worlds(struct diff *x, const struct version_facts *versions, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && !r; i++)
		r = add_world(x, versions[i].domain, versions[i].product, versions[i].version, &versions[i]) ? 0 : diff_no_memory(x);
	r = r ? r : add_domains(x, x->before);
	r = r ? r : add_domains(x, x->after);
	size_t known = x->world_count;
	for (size_t i = 0; i < x->atoms.globs.count && !r; i++)
		r = add_glob(x, x->atoms.globs.items[i], known);
	return r ? r : add_named_worlds(x);
}

/* -- subjects ------------------------------------------------------------------------------------ */

/* Each result of the checks that rules tell apart, one count at a time: good, unknown, failed, and beside each number. */
static int make_qualities(struct diff *x)
{
	static const enum attribute counts[] = { ATTR_FAILED_ERRORS, ATTR_FAILED_WARNINGS, ATTR_QUALITY_SCORE };
	struct arena *a = &x->atoms.arena;
	struct quality *q = arena_push(a, &x->qualities, &x->quality_count, sizeof *q);
	bool used = false;
	if (!q)
		return -ENOMEM;
	*q = (struct quality){ true, 0, 0, 1 };
	for (int i = 0; i < 3; i++) {
		struct numbers n = { 0 };
		if (!x->atoms.used[counts[i]])
			continue;
		used = true;
		if (add_numbers(x, &n, counts[i], i == 2 ? 0 : 1, i == 2 ? 1e-6 : 1, 0, i == 2 ? 1 : 1e12))
			return -ENOMEM;
		for (size_t k = 0; k < n.count; k++) {
			if (!(q = arena_push(a, &x->qualities, &x->quality_count, sizeof *q)))
				return -ENOMEM;
			*q = (struct quality){ true, i == 0 ? (int64_t)n.items[k] : 0, i == 1 ? (int64_t)n.items[k] : 0, i == 2 ? n.items[k] : 1 };
		}
	}
	for (int failed = 0; used && failed < 2; failed++) {
		if (!(q = arena_push(a, &x->qualities, &x->quality_count, sizeof *q)))
			return -ENOMEM;
		*q = failed ? (struct quality){ true, 1, 1, 0 } : (struct quality){ 0 };
	}
	return 0;
}

static int add_moment(struct diff *x, int64_t when_ns)
{
	for (size_t i = 0; i < x->moment_count; i++)
		if (x->moments[i] == when_ns)
			return 0;
	int64_t *m = arena_push(&x->atoms.arena, &x->moments, &x->moment_count, sizeof *m);
	if (!m)
		return -ENOMEM;
	*m = when_ns;
	return 0;
}

/* When exempts have just ended: one that ends later still holds then. */
static int add_ends(struct diff *x, const struct policy *p)
{
	int r = 0;
	for (size_t i = 0; i < p->rule_count && !r; i++)
		if (p->rules[i]->kind == RULE_EXEMPT && p->rules[i]->until_ns > x->now_ns)
			r = add_moment(x, p->rules[i]->until_ns);
	return r;
}

/* Now, and around each later moment that a rule names. */
static int make_moments(struct diff *x)
{
	const struct names *said = &x->atoms.values[ATTR_NOW];
	int r = add_moment(x, x->now_ns);
	for (size_t i = 0; i < said->count && !r; i++) {
		struct row_value v;
		if (!value_parse_time(said->items[i], strlen(said->items[i]), &v) || v.integer > INT64_MAX / NS_PER_S - 1 || v.integer * NS_PER_S <= x->now_ns)
			continue;
		r = add_moment(x, v.integer * NS_PER_S);
		if (!r)
			r = add_moment(x, (v.integer + 1) * NS_PER_S);
	}
	if (!r)
		r = add_ends(x, x->before);
	return r ? r : add_ends(x, x->after);
}

/* "" stands for none. */
int diff_make_subjects(struct diff *x)
{
	struct atoms *a = &x->atoms;
	int r = add_names(x, &x->users, &a->values[ATTR_USER], "(anyone)");
	if (!r && a->used[ATTR_TEAM])
		r = names_add(a, &x->groups, OWNERS, strlen(OWNERS)) || add_names(x, &x->groups, &a->values[ATTR_TEAM], NULL);
	if (!r)
		r = add_names(x, &x->groups, &a->values[ATTR_GROUP], NULL);
	if (!r)
		r = add_names(x, &x->purposes, &a->values[ATTR_PURPOSE], "(other)");
	if (!r)
		r = add_names(x, &x->purposes, &a->values[ATTR_PURPOSES], "");
	if (!r)
		r = add_names(x, &x->runs, &a->values[ATTR_RUN], "");
	if (!r && a->used[ATTR_RUN])
		r = names_add(a, &x->runs, "(some)", 6);
	if (!r)
		r = add_names(x, &x->hosts, &a->values[ATTR_HOST], "localhost");
	if (!r)
		r = add_numbers(x, &x->uids, ATTR_UID, UID_NONE, 1, 0, UID_NONE);
	if (!r)
		r = add_numbers(x, &x->sizes, ATTR_FILE_SIZE, 0, 1, 0, 1e15);
	if (!r)
		r = add_numbers(x, &x->ages, ATTR_AGE_DAYS, 0, 1, 0, 40000);
	if (!r)
		r = make_qualities(x);
	if (!r)
		r = make_moments(x);
	return r ? diff_no_memory(x) : 0;
}
