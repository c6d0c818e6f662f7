/*
 * What must hold of every policy, tried on random ones: the order of files and rules never matters; a restriction more never loosens, and a
 * permit more never tightens; knowing less never loosens; a domain's rules reach no other domain; an exempt lifts its own rule and nothing else.
 */
#include "test/unit/policy_fixture.h"

#include "catalog/base/buf.h"

enum { CASES = 1000, RULES_MOST = 14, PATHS = 3, ROWS_TRIED = 24 };

/* -- chance --------------------------------------------------------------------------------- */

static uint64_t state;

static unsigned chance(unsigned n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 20) % n;
}
#define PICK(list) (list)[chance(sizeof(list) / sizeof *(list))]

static void start(int number)
{
	state = 0x9e3779b97f4a7c15ull * (uint64_t)(number + 1);
	for (int i = 0; i < 4; i++)
		chance(2);
}

/* -- random policies --------------------------------------------------------------------------- */

enum scope { MESH_A, MESH_B, SALES, HEALTH, SCOPES };
static const char *const heads[SCOPES] = { "policy a scope mesh version 1\n", "policy b scope mesh version 1\n", "policy s scope domain sales version 1\n",
					   "policy h scope domain health version 1\n" };

struct piece {
	enum scope scope;
	bool permit;
	char text[600];
};

struct pieces {
	struct piece list[RULES_MOST + 2];
	int count;
};

static void condition(struct buf *b, bool rows, int depth)
{
	static const char *const whens[] = {
		"purpose == training", "purpose in {training, research}", "purpose != research", "purpose not in {training}", "purpose like \"t*\"", "user == ana",
		"user != ben", "group == ds", "group != etl", "group in {ds, owners}", "group == product.team", "user in product.team",
		"purpose in product.allowed_purposes", "run like \"r*\"", "run == r1", "host == h1", "uid >= 1000", "uid in {5, 1001}",
		"product.status == draft", "product.status in {active, draft}", "product.status != active", "product.quality.failed_errors > 0",
		"product.quality.failed_errors == 0", "product.quality.score >= 0.5", "product.tags == gold", "product.tags != gold", "product.name == orders",
		"product.age_days > 3", "now > 2026-06-01", "now < 2026-06-01", "file.path like \"raw/*\"", "file.format == csv", "file.format != csv", "file.size > 100",
	};
	static const char *const cells[] = {
		"row.age >= 18", "row.age in {1, 20}", "row.age not in {1}", "row.note == user", "row.note != purpose", "row.born < 2000-01-01", "row.email like \"a*\"",
		"row.name is null", "row.name is not null", "row.ok", "not row.ok", "purpose == training", "group == ds", "row.note == row.name", "row.age != 20",
	};
	switch (depth ? chance(6) : 5) {
	case 0:
		buf_adds(b, "not (");
		condition(b, rows, depth - 1);
		buf_adds(b, ")");
		return;
	case 1:
	case 2:
		buf_adds(b, "(");
		condition(b, rows, depth - 1);
		buf_adds(b, chance(2) ? " and " : " or ");
		condition(b, rows, depth - 1);
		buf_adds(b, ")");
		return;
	default:
		buf_adds(b, rows ? PICK(cells) : PICK(whens));
	}
}

static void clauses(struct buf *b, enum scope scope)
{
	static const char *const globs[] = { "**", "sales/**", "*/orders/**", "sales/orders/1.*/**", "sales/*/*/people.csv", "health/**", "**/*.csv", "sales/orders/*/raw/**" };
	static const char *const own[] = { "**", "sales/**", "health/**", "*/orders/**", "**/people.csv" };
	if (chance(2))
		buf_addf(b, "  files %s\n", scope == MESH_A || scope == MESH_B ? PICK(globs) : PICK(own));
	for (unsigned n = chance(3); n; n--) {
		buf_adds(b, chance(3) ? "  when " : "  unless ");
		condition(b, false, 2);
		buf_addc(b, '\n');
	}
}

static void selector(struct buf *b)
{
	static const char *const selectors[] = { "named email", "named age, note", "named name", "tagged pii", "tagged hipaa:A, gold", "classified restricted",
						 "classified public", "unclassified", "all" };
	buf_addf(b, "  columns %s\n", PICK(selectors));
}

static void add_rule(struct pieces *p, enum scope scope, bool permit)
{
	static const char *const kinds[] = { "deny", "hide", "filter", "filter", "drop", "mask", "mask", "mask", "require" };
	static const char *const masks[] = { "drop", "null", "redact", "redact keep length", "hmac key k1", "hmac key k2", "year", "month", "zip3", "round 10", "round 7",
					     "top 30", "top 90", "partial first 2", "partial first 3", "partial last 2", "scrub", "scrub URL", "scrub EMAIL_ADDRESS" };
	static const char *const haves[] = { "run", "purpose", "run, purpose" };
	struct piece *x = &p->list[p->count];
	struct buf b = BUF_INIT;
	const char *kind = permit ? "permit" : PICK(kinds);
	/* Most worlds would be denied altogether if whole-file rules were as common as the others. */
	if (!permit && (kind[0] == 'd' || kind[0] == 'h') && kind[1] != 'r' && chance(2))
		kind = "mask";
	buf_addf(&b, "%s r%d\n", kind, p->count);
	clauses(&b, scope);
	if (!strcmp(kind, "filter")) {
		buf_adds(&b, "  rows ");
		condition(&b, true, 2);
		buf_addc(&b, '\n');
	} else if (!strcmp(kind, "drop") || !strcmp(kind, "mask")) {
		selector(&b);
		if (kind[0] == 'm')
			buf_addf(&b, "  with %s\n", PICK(masks));
	} else if (!strcmp(kind, "require")) {
		buf_addf(&b, "  have %s\n", PICK(haves));
	}
	x->scope = scope;
	x->permit = permit;
	snprintf(x->text, sizeof x->text, "%s", buf_text(&b));
	buf_free(&b);
	p->count++;
}

static void make_pieces(struct pieces *p)
{
	p->count = 0;
	if (chance(5)) {
		p->list[0] = (struct piece){ SALES, true, "permit r0\n" };
		p->count = 1;
	}
	add_rule(p, SALES, true);
	for (unsigned n = 2 + chance(RULES_MOST - 4); n; n--)
		add_rule(p, chance(3) ? (enum scope)chance(2) : SALES, false);
}

/* The policy of the pieces but for number `without`, plus `extra` at the end of `scope`; shuffled when `shuffle`. */
static struct policy *load_pieces(const struct pieces *p, int without, const char *extra, enum scope scope, bool shuffle)
{
	static const char *const names[SCOPES] = { "a", "b", "s", "h" };
	struct buf texts[SCOPES] = { BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT };
	struct policy_source sources[SCOPES];
	struct policy *loaded = NULL;
	int order[RULES_MOST + 2], files[SCOPES] = { MESH_A, MESH_B, SALES, HEALTH };
	for (int i = 0; i < p->count; i++)
		order[i] = i;
	for (int i = p->count - 1; shuffle && i > 0; i--) {
		int k = (int)chance((unsigned)i + 1), t = order[i];
		order[i] = order[k];
		order[k] = t;
	}
	for (int i = SCOPES - 1; shuffle && i > 0; i--) {
		int k = (int)chance((unsigned)i + 1), t = files[i];
		files[i] = files[k];
		files[k] = t;
	}
	for (int i = 0; i < SCOPES; i++)
		buf_adds(&texts[i], heads[i]);
	for (int i = 0; i < p->count; i++)
		if (order[i] != without)
			buf_adds(&texts[p->list[order[i]].scope], p->list[order[i]].text);
	if (extra)
		buf_adds(&texts[scope], extra);
	for (int i = 0; i < SCOPES; i++)
		sources[i] = (struct policy_source){ names[files[i]], buf_text(&texts[files[i]]), texts[files[i]].len, NULL };
	fixture_error = (struct err)ERR_INIT;
	policy_load(NULL, sources, SCOPES, &loaded, &fixture_error);
	if (!loaded)
		printf("%s\n%s%s%s\n", load_error(), buf_text(&texts[0]), buf_text(&texts[1]), buf_text(&texts[2]));
	for (int i = 0; i < SCOPES; i++)
		buf_free(&texts[i]);
	return loaded;
}

/* -- random worlds -------------------------------------------------------------------------------- */

static const char *const columns[] = { "email", "born", "age", "note", "name", "ok" };
static const char *const types[] = { "string", "date", "integer", "string", "string", "boolean" };
enum { COLUMNS = 6 };

struct world {
	struct contract *contract;
	const char *groups[3];
	struct subject subject;
	struct version_facts facts;
};

static struct contract *make_contract(void)
{
	static const char *const statuses[] = { "active", "active", "draft", "deprecated" };
	static const char *const marks[] = { "", ", classification: public", ", classification: restricted", ", classification: public, tags: [pii]",
					     ", classification: public, tags: [hipaa:A, pii]", ", tags: [gold]" };
	struct contract *c = NULL;
	struct buf b = BUF_INIT;
	buf_addf(&b, "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: %s\n", PICK(statuses));
	if (chance(2))
		buf_adds(&b, "tags: [gold]\n");
	if (chance(2))
		buf_adds(&b, "team: { name: owners, members: [ { username: ana } ] }\n");
	if (chance(2))
		buf_adds(&b, "customProperties: [ { property: allowedPurposes, value: [research] } ]\n");
	buf_addf(&b, "schema:\n- name: people\n  physicalName: \"%s\"\n  properties:\n", chance(4) ? "**" : "*.csv");
	for (int i = 0; i < COLUMNS; i++)
		if (!i || chance(12))
			buf_addf(&b, "  - { name: %s, logicalType: %s%s }\n", columns[i], types[i], PICK(marks));
	fixture_error = (struct err)ERR_INIT;
	if (contract_parse("c", buf_text(&b), b.len, &c, &fixture_error))
		printf("%s\n", load_error());
	buf_free(&b);
	return c;
}

static void make_world(struct world *w)
{
	static const char *const groups[] = { "ds", "etl", "owners" }, *const purposes[] = { "training", "research", "ads", NULL }, *const runs[] = { "r1", "x", NULL },
				 *const users[] = { "ana", "ben" }, *const products[] = { "orders", "returns" };
	*w = (struct world){ .contract = chance(10) ? make_contract() : NULL };
	w->subject = (struct subject){ .user = PICK(users), .uid = 999 + chance(3), .groups = w->groups, .purpose = PICK(purposes), .run = PICK(runs),
				       .host = chance(2) ? "h1" : "h2" };
	for (int i = 0; i < 3; i++)
		if (chance(2))
			w->groups[w->subject.group_count++] = groups[i];
	w->facts = (struct version_facts){ .domain = "sales", .product = PICK(products), .version = "1.0.0", .contract = w->contract,
					   .published_ns = NOW_NS - (int64_t)chance(8) * 86400 * NS_PER_S, .has_quality = chance(4) != 0,
					   .failed_errors = chance(2), .quality_score = (double)chance(3) / 2 };
}

/* -- answers ------------------------------------------------------------------------------------------ */

struct answers {
	struct file_decision files[PATHS];
};

static const struct file_facts paths[PATHS] = { { "people.csv", "csv", 10, false }, { "raw/people.jsonl", "jsonl", 1000, false }, { "raw/deep/x.csv", "csv", 100, false } };

static bool ask(struct policy *p, const struct world *w, struct answers *ret)
{
	struct version_decision *d = NULL;
	struct err e = ERR_INIT;
	memset(ret, 0, sizeof *ret);
	int r = policy_decide_version(p, &w->subject, &w->facts, NOW_NS, &d, &e);
	for (int i = 0; i < PATHS && !r; i++)
		r = version_decision_file(d, &paths[i], &ret->files[i], &e);
	version_decision_free(d);
	if (r)
		printf("%s\n", e.text);
	return !r;
}

static void answers_fini(struct answers *a)
{
	for (int i = 0; i < PATHS; i++)
		file_decision_fini(&a->files[i]);
}

static int rank(enum outcome o)
{
	return o == OUTCOME_HIDE ? 2 : o == OUTCOME_DENY ? 1 : 0;
}

static struct mask mask_of(const struct transform *t, const char *column)
{
	for (size_t i = 0; t && column && i < t->action_count; i++)
		if (!strcmp(t->actions[i].column, column))
			return t->actions[i].mask;
	return t && !column ? t->unnamed : (struct mask){ .kind = MASK_KEEP };
}

/* Is `b` at least as strict as `a`?  null lies above everything but drop. */
static bool mask_covers(const struct mask *a, const struct mask *b)
{
	struct mask both;
	if (mask_equal(a, b))
		return true;
	mask_combine(a, b, &both);
	return mask_equal(&both, b);
}

static bool row_shown(const struct transform *t, const char *const *cells)
{
	const struct expr_column *names;
	struct row_value values[COLUMNS];
	if (!t || !t->filter)
		return true;
	size_t n = expr_columns(t->filter, &names);
	for (size_t i = 0; i < n; i++) {
		values[i] = (struct row_value){ .kind = VALUE_MISSING };
		for (int k = 0; k < COLUMNS; k++)
			if (!strcmp(columns[k], names[i].name) && cells[k])
				row_value_parse(names[i].type, cells[k], strlen(cells[k]), &values[i]);
	}
	return expr_eval_row(t->filter, values) == TRUTH_TRUE;
}

static void make_row(const char **cells)
{
	static const char *const pool[COLUMNS][5] = { { "a@x.y", "b@x.y", "", NULL, "a" }, { "1999-12-31", "2001-01-01", "soon", NULL, "" }, { "17", "20", "1", NULL, "old" },
						      { "ana", "training", "", NULL, "ben" }, { "ana", "x", "", NULL, "training" }, { "true", "false", "maybe", NULL, "" } };
	for (int i = 0; i < COLUMNS; i++)
		cells[i] = pool[i][chance(5)];
}

/* NULL, or in what `b` gives more than `a`. */
static const char *looser_file(const struct file_decision *a, const struct file_decision *b)
{
	if (rank(b->outcome) != rank(a->outcome))
		return rank(b->outcome) < rank(a->outcome) ? "outcome" : NULL;
	if (rank(a->outcome))
		return NULL;
	for (int i = 0; i <= COLUMNS; i++) {
		struct mask ma = mask_of(a->transform, i < COLUMNS ? columns[i] : NULL), mb = mask_of(b->transform, i < COLUMNS ? columns[i] : NULL);
		if (!mask_covers(&ma, &mb))
			return i < COLUMNS ? columns[i] : "unnamed columns";
	}
	for (int i = 0; i < ROWS_TRIED; i++) {
		const char *cells[COLUMNS];
		make_row(cells);
		if (row_shown(b->transform, cells) && !row_shown(a->transform, cells))
			return "rows";
	}
	return NULL;
}

static const char *looser(const struct answers *a, const struct answers *b)
{
	const char *what = NULL;
	for (int i = 0; i < PATHS && !what; i++)
		what = looser_file(&a->files[i], &b->files[i]);
	return what;
}

/* What is decided, rules' names aside. */
static bool same(const struct answers *a, const struct answers *b)
{
	for (int i = 0; i < PATHS; i++) {
		const struct transform *x = a->files[i].transform, *y = b->files[i].transform;
		if (a->files[i].outcome != b->files[i].outcome || !x != !y || (x && !digest_equal(&x->hash, &y->hash)))
			return false;
	}
	return true;
}

static void show(const struct pieces *p, const char *extra)
{
	for (int i = 0; i < p->count; i++)
		printf("[%d] %s", p->list[i].scope, p->list[i].text);
	printf("%s", extra ? extra : "");
}

static int tally[4]; /* outcomes seen, so that a test knows that it tested something */

static void count_outcomes(const struct answers *a)
{
	for (int i = 0; i < PATHS; i++)
		tally[a->files[i].outcome]++;
}

/* -- the properties ------------------------------------------------------------------------------------ */

/* Asks `before` of w and `after` of v; the two answers may not be `bad`. */
static void compare(struct policy *before, struct policy *after, const struct world *w, const struct world *v, bool (*bad)(const struct answers *, const struct answers *),
		    const struct pieces *p, const char *extra, int number)
{
	struct answers a, b;
	if (!before || !after || !ask(before, w, &a)) {
		check_failed = 1;
		return;
	}
	if (ask(after, v, &b)) {
		count_outcomes(&a);
		if (bad(&a, &b)) {
			const char *what = looser(&a, &b);
			printf("case %d: %s\n", number, what ? what : "differs");
			show(p, extra);
			for (int i = 0; i < PATHS; i++)
				printf("  %s: %s (%s) -> %s (%s)\n", paths[i].path, outcome_name(a.files[i].outcome), a.files[i].rules, outcome_name(b.files[i].outcome),
				       b.files[i].rules);
			check_failed = 1;
		}
		answers_fini(&b);
	} else {
		check_failed = 1;
	}
	answers_fini(&a);
}

static bool loosens(const struct answers *a, const struct answers *b)
{
	return looser(a, b) != NULL;
}

static bool tightens(const struct answers *a, const struct answers *b)
{
	return looser(b, a) != NULL;
}

static bool differs(const struct answers *a, const struct answers *b)
{
	return !same(a, b);
}

static bool differs_in_rules(const struct answers *a, const struct answers *b)
{
	for (int i = 0; i < PATHS; i++)
		if (strcmp(a->files[i].rules, b->files[i].rules) != 0 || strcmp(a->files[i].reason, b->files[i].reason) != 0)
			return true;
	return !same(a, b);
}

TEST(order_never_matters)
{
	memset(tally, 0, sizeof tally);
	for (int i = 0; i < CASES && !check_failed; i++) {
		struct pieces p;
		struct world w;
		start(i);
		make_pieces(&p);
		make_world(&w);
		struct policy *a = load_pieces(&p, -1, NULL, 0, false), *b = load_pieces(&p, -1, NULL, 0, true);
		if (a && b && !digest_equal(policy_digest(a), policy_digest(b)))
			check_failed = 1;
		compare(a, b, &w, &w, differs_in_rules, &p, NULL, i);
		policy_unref(a);
		policy_unref(b);
		contract_unref(w.contract);
	}
	/* The cases are no good unless each outcome comes up often. */
	CHECK(tally[OUTCOME_ALLOW] > 100 && tally[OUTCOME_VIEW] > 300 && tally[OUTCOME_DENY] > 300 && tally[OUTCOME_HIDE] > 100);
}

TEST(a_restriction_more_never_loosens_and_a_permit_more_never_tightens)
{
	for (int i = 0; i < CASES && !check_failed; i++) {
		struct pieces p;
		struct world w;
		start(100000 + i);
		make_pieces(&p);
		make_world(&w);
		struct policy *all = load_pieces(&p, -1, NULL, 0, false);
		for (int k = 0; k < p.count && !check_failed; k++) {
			struct policy *less = load_pieces(&p, k, NULL, 0, false);
			compare(less, all, &w, &w, p.list[k].permit ? tightens : loosens, &p, p.list[k].text, i);
			policy_unref(less);
		}
		policy_unref(all);
		contract_unref(w.contract);
	}
}

TEST(knowing_less_never_loosens)
{
	static const char *const lost[] = { "user", "purpose", "run", "host", "contract", "quality" };
	for (int i = 0; i < 2 * CASES && !check_failed; i++) {
		struct pieces p;
		struct world w;
		start(200000 + i);
		make_pieces(&p);
		make_world(&w);
		struct policy *all = load_pieces(&p, -1, NULL, 0, false);
		for (int k = 0; k < 6 && !check_failed; k++) {
			struct world v = w;
			if (k == 0)
				v.subject.user = NULL;
			else if (k == 1)
				v.subject.purpose = NULL;
			else if (k == 2)
				v.subject.run = NULL;
			else if (k == 3)
				v.subject.host = NULL;
			else if (k == 4)
				v.facts.contract = NULL;
			else
				v.facts.has_quality = false;
			v.subject.groups = w.groups;
			compare(all, all, &w, &v, loosens, &p, lost[k], i);
		}
		policy_unref(all);
		contract_unref(w.contract);
	}
}

TEST(a_domain_reaches_no_other)
{
	for (int i = 0; i < CASES && !check_failed; i++) {
		struct pieces p, more;
		struct world w;
		start(300000 + i);
		make_pieces(&p);
		make_world(&w);
		more = p;
		for (unsigned n = 2; n; n--)
			add_rule(&more, HEALTH, chance(3) == 0);
		struct policy *a = load_pieces(&p, -1, NULL, 0, false), *b = load_pieces(&more, -1, NULL, 0, false);
		compare(a, b, &w, &w, differs_in_rules, &more, NULL, i);
		policy_unref(a);
		policy_unref(b);
		contract_unref(w.contract);
	}
}

TEST(an_exempt_lifts_its_own_rule_and_nothing_else)
{
	for (int i = 0; i < CASES && !check_failed; i++) {
		struct pieces p;
		struct world w;
		char id[32], exempt[128], expired[128], unknown[160];
		start(400000 + i);
		make_pieces(&p);
		make_world(&w);
		int k = 0;
		while (k < p.count && p.list[k].scope >= SALES)
			k++;
		if (k < p.count) {
			snprintf(id, sizeof id, "%c/r%d", p.list[k].scope == MESH_A ? 'a' : 'b', k);
			snprintf(exempt, sizeof exempt, "exempt x from %s until 2026-06-15\n", id); /* the last day is within */
			snprintf(expired, sizeof expired, "exempt x from %s until 2026-06-14\n", id);
			snprintf(unknown, sizeof unknown, "exempt x from %s until 2027-01-01\n  when run == nobody-has-this\n", id);
			struct policy *all = load_pieces(&p, -1, NULL, 0, false), *less = load_pieces(&p, k, NULL, 0, false);
			struct policy *lifted = load_pieces(&p, -1, exempt, MESH_B, false), *over = load_pieces(&p, -1, expired, MESH_B, false);
			struct policy *never = load_pieces(&p, -1, unknown, MESH_B, false);
			compare(less, lifted, &w, &w, differs, &p, exempt, i);
			compare(all, over, &w, &w, differs, &p, expired, i);
			compare(all, never, &w, &w, differs, &p, unknown, i);
			policy_unref(all);
			policy_unref(less);
			policy_unref(lifted);
			policy_unref(over);
			policy_unref(never);
		}
		contract_unref(w.contract);
	}
}

CHECK_MAIN()
