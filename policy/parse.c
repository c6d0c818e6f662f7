/* The grammar of policy files: header, blocks, clauses. */
#include "catalog/address.h"
#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "policy/parse_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES_MAX 100000
#define GLOB_DEEP_MAX 6 /* `**` in one glob: matching is exponential in them at worst */

const char *const rule_kind_names[RULE_KINDS] = { "permit", "deny", "hide", "filter", "drop", "mask", "require", "exempt" };

enum clause { FILES, WHEN, UNLESS, COLUMNS, ROWS, WITH, HAVE, REASON, FROM, UNTIL, CLAUSE_COUNT };
static const char *const clause_names[] = { "files", "when", "unless", "columns", "rows", "with", "have", "reason", "from", "until" };

#define BIT(x) (1u << (x))
#define WHERE (BIT(FILES) | BIT(WHEN) | BIT(UNLESS) | BIT(REASON))
/* Which clauses a block may have, and which it needs. */
static const struct {
	unsigned may, needs;
} block_clauses[RULE_KINDS] = {
	[RULE_PERMIT] = { WHERE, 0 },
	[RULE_DENY] = { WHERE, 0 },
	[RULE_HIDE] = { WHERE, 0 },
	[RULE_FILTER] = { WHERE | BIT(ROWS), BIT(ROWS) },
	[RULE_DROP] = { WHERE | BIT(COLUMNS), BIT(COLUMNS) },
	[RULE_MASK] = { WHERE | BIT(COLUMNS) | BIT(WITH), BIT(COLUMNS) | BIT(WITH) },
	[RULE_REQUIRE] = { WHERE | BIT(HAVE), BIT(HAVE) },
	[RULE_EXEMPT] = { WHERE | BIT(FROM) | BIT(UNTIL), BIT(FROM) | BIT(UNTIL) },
};

/* -- small readers ----------------------------------------------------------------- */

const struct token *parse_peek(const struct parser *p)
{
	return p->at < p->l.count ? &p->l.tokens[p->at] : NULL;
}

static bool token_is(const struct token *t, const char *word)
{
	return t && t->kind != TOKEN_STRING && !strcmp(t->text, word);
}

bool parse_take(struct parser *p, const char *word)
{
	if (!token_is(parse_peek(p), word))
		return false;
	p->at++;
	return true;
}

int parse_error(struct parser *p, int column, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_at(p->e, p->l.name, p->l.line, column, "%s", text);
}

int parse_no_memory(struct parser *p)
{
	return err_set(p->e, -ENOMEM, "out of memory");
}

int parse_wrong(struct parser *p, const char *expected)
{
	const struct token *t = parse_peek(p);
	if (!t)
		return parse_error(p, p->l.end_column, "%s is missing here", expected);
	return parse_error(p, t->column, "'%s' stands where %s is expected", t->text, expected);
}

int parse_unknown(struct parser *p, const struct token *t, const char *what, const char *const *names, size_t count)
{
	const char *near = text_nearest(t->text, names, count);
	if (near)
		return parse_error(p, t->column, "'%s' is no %s; did you mean '%s'?", t->text, what, near);
	struct buf b = BUF_INIT;
	for (size_t i = 0; i < count; i++)
		buf_addf(&b, "%s%s", i ? ", " : "", names[i]);
	int r = parse_error(p, t->column, "'%s' is no %s; there are: %s", t->text, what, buf_text(&b));
	buf_free(&b);
	return r;
}

int parse_word(struct parser *p, const char *what, const char **ret)
{
	const struct token *t = parse_peek(p);
	if (!t || t->kind == TOKEN_SIGN)
		return parse_wrong(p, what);
	p->at++;
	*ret = t->text;
	return 0;
}

int parse_end(struct parser *p)
{
	return parse_peek(p) ? parse_wrong(p, "the end of the line") : 0;
}

int parse_names(struct parser *p, const char *what, const char ***names, size_t *count)
{
	do {
		const char *word = "";
		int r = parse_word(p, what, &word);
		if (r)
			return r;
		const char **slot = arena_push(&p->f->arena, names, count, sizeof *slot);
		if (!slot)
			return parse_no_memory(p);
		*slot = word;
	} while (parse_take(p, ","));
	return 0;
}

int parse_integer(struct parser *p, const char *what, int64_t *ret)
{
	const struct token *t = parse_peek(p);
	struct row_value v;
	if (!t || t->kind != TOKEN_WORD || !value_parse_number(t->text, t->len, &v) || !v.exact || v.integer < 0)
		return parse_wrong(p, what);
	p->at++;
	*ret = v.integer;
	return 0;
}

/* A glob must be able to match a file: domain/product/version/path. */
static int check_glob(struct parser *p, const struct token *t)
{
	int parts = 1, deep = 0;
	for (const char *c = t->text; *c; c++) {
		parts += *c == '/';
		if (*c == '/' && (c[1] == '/' || (!c[1])))
			return parse_error(p, t->column, "'%s' matches no file: a part of it is empty; 'sales/**' is all that stands below sales", t->text);
		if (c[0] == '*' && c[1] == '*') {
			deep++;
			while (c[1] == '*')
				c++;
		}
	}
	if (deep > GLOB_DEEP_MAX)
		return parse_error(p, t->column, "a glob may have at most %d '**'", GLOB_DEEP_MAX);
	if (!deep && parts < 4)
		return parse_error(p, t->column, "'%s' matches no file (an address is domain/product/version/path); did you mean '%s/**'?",
				   t->text, t->text);
	return 0;
}

int parse_globs(struct parser *p, const char ***globs, size_t *count)
{
	do {
		const struct token *t = parse_peek(p);
		const char *glob = "";
		int r = parse_word(p, "a glob of addresses (like sales/**)", &glob);
		if (!r)
			r = check_glob(p, t);
		if (r)
			return r;
		const char **slot = arena_push(&p->f->arena, globs, count, sizeof *slot);
		if (!slot)
			return parse_no_memory(p);
		*slot = glob[0] == '/' ? glob + 1 : glob;
	} while (parse_take(p, ","));
	return 0;
}

static int check_name(struct parser *p, const struct token *t, const char *what)
{
	size_t ok = strspn(t->text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	if (t->kind != TOKEN_WORD || ok != t->len || t->len > 63)
		return parse_error(p, t->column, "'%s' cannot be the name of a %s: letters, digits, '.', '_', '-', at most 63", t->text, what);
	return 0;
}

static int parse_name(struct parser *p, const char *what, const char **ret)
{
	const struct token *t = parse_peek(p);
	char expected[64];
	snprintf(expected, sizeof expected, "the %s's name", what);
	int r = parse_word(p, expected, ret);
	return r ? r : check_name(p, t, what);
}

/* -- clauses ---------------------------------------------------------------------------- */

static int parse_condition(struct parser *p, bool rows, struct expr **ret)
{
	int r = expr_parse(&p->l, p->at, rows, ret, p->e);
	if (r)
		return r;
	struct expr **slot = arena_push(&p->f->arena, &p->f->exprs, &p->f->expr_count, sizeof *slot);
	if (!slot) {
		expr_free(*ret);
		return parse_no_memory(p);
	}
	*slot = *ret;
	p->at = p->l.count;
	return 0;
}

static int add_condition(struct parser *p, struct rule *rule, struct expr ***list, size_t *count)
{
	struct expr *x;
	int r = parse_condition(p, false, &x);
	if (r)
		return r;
	struct expr **slot = arena_push(&p->f->arena, list, count, sizeof *slot);
	if (!slot)
		return parse_no_memory(p);
	*slot = x;
	rule->flags |= expr_flags(x);
	return 0;
}

static int parse_columns(struct parser *p, struct rule *rule)
{
	static const char *const words[] = { "named", "tagged", "classified", "unclassified", "all" };
	const struct token *t = parse_peek(p);
	struct selector *s = arena_push(&p->f->arena, &rule->selectors, &rule->selector_count, sizeof *s);
	if (!s)
		return parse_no_memory(p);
	for (int i = 0; i < 5; i++) {
		if (!parse_take(p, words[i]))
			continue;
		s->kind = (enum selector_kind)i;
		if (s->kind == SELECT_UNCLASSIFIED || s->kind == SELECT_ALL)
			return 0;
		return parse_names(p, i == 0 ? "a column's name" : i == 1 ? "a tag" : "a classification", &s->names, &s->count);
	}
	if (!t || t->kind == TOKEN_SIGN)
		return parse_wrong(p, "named, tagged, classified, unclassified or all");
	return parse_unknown(p, t, "way to choose columns", words, 5);
}

static int parse_number(struct parser *p, const char *what, double least, struct mask *m)
{
	const struct token *t = parse_peek(p);
	struct row_value v;
	if (!t || t->kind != TOKEN_WORD || !value_parse_number(t->text, t->len, &v))
		return parse_wrong(p, what);
	m->number = strtod(t->text, NULL);
	if (!(m->number >= least && m->number < 1e15))
		return parse_error(p, t->column, "'%s' is out of range", t->text);
	p->at++;
	return 0;
}

static const struct {
	const char *name;
	unsigned bit;
} entities[] = { { "EMAIL_ADDRESS", SCRUB_EMAIL_ADDRESS }, { "PHONE_NUMBER", SCRUB_PHONE_NUMBER }, { "US_SSN", SCRUB_US_SSN },
		 { "CREDIT_CARD", SCRUB_CREDIT_CARD },	   { "IBAN_CODE", SCRUB_IBAN_CODE },	   { "IP_ADDRESS", SCRUB_IP_ADDRESS },
		 { "URL", SCRUB_URL } };
#define ENTITY_COUNT (sizeof entities / sizeof *entities)

static int parse_scrub(struct parser *p, struct mask *m)
{
	const char *names[ENTITY_COUNT];
	for (size_t i = 0; i < ENTITY_COUNT; i++)
		names[i] = entities[i].name;
	while (parse_peek(p)) {
		const struct token *t = parse_peek(p);
		size_t i = 0;
		while (i < ENTITY_COUNT && !token_is(t, names[i]))
			i++;
		if (i == ENTITY_COUNT)
			return parse_unknown(p, t, "entity that can be found", names, ENTITY_COUNT);
		m->entities |= entities[i].bit;
		p->at++;
		if (parse_take(p, ",") && !parse_peek(p))
			return parse_wrong(p, "an entity");
	}
	if (!m->entities)
		m->entities = SCRUB_ALL;
	return 0;
}

static int parse_partial(struct parser *p, struct mask *m)
{
	if (parse_take(p, "last"))
		m->last = true;
	else if (!parse_take(p, "first"))
		return parse_wrong(p, "'first N' or 'last N'");
	const struct token *t = parse_peek(p);
	int r = parse_number(p, "how many characters", 0, m);
	if (!r && m->number != (double)(int64_t)m->number)
		return parse_error(p, t->column, "'%s' is not a whole number", t->text);
	return r;
}

static int parse_hmac(struct parser *p, struct mask *m)
{
	const char *key;
	if (!parse_take(p, "key"))
		return parse_wrong(p, "'key NAME'");
	int r = parse_name(p, "key", &key);
	if (!r)
		snprintf(m->key, sizeof m->key, "%s", key);
	return r;
}

int parse_mask(struct parser *p, struct mask *m)
{
	const char *names[MASK_KEEP];
	const struct token *t = parse_peek(p);
	for (int i = 0; i < MASK_KEEP; i++)
		names[i] = mask_kind_name((enum mask_kind)i);
	if (!t || t->kind == TOKEN_SIGN)
		return parse_wrong(p, "a mask");
	for (m->kind = MASK_DROP; m->kind < MASK_KEEP && !token_is(t, names[m->kind]); m->kind++)
		;
	if (m->kind == MASK_KEEP)
		return parse_unknown(p, t, "mask", names, MASK_KEEP);
	p->at++;
	switch (m->kind) {
	case MASK_REDACT:
		if (!parse_take(p, "keep"))
			return 0;
		m->keep_length = true;
		return parse_take(p, "length") ? 0 : parse_wrong(p, "'length'");
	case MASK_HMAC:
		return parse_hmac(p, m);
	case MASK_ROUND:
		return parse_number(p, "a number above 0", 1e-9, m);
	case MASK_TOP:
		return parse_number(p, "a number", -1e15, m);
	case MASK_PARTIAL:
		return parse_partial(p, m);
	case MASK_SCRUB:
		return parse_scrub(p, m);
	default:
		return 0;
	}
}

static int parse_have(struct parser *p, struct rule *rule)
{
	const char *names[ATTR_COUNT];
	size_t count = 0;
	for (int i = 0; i < ATTR_COUNT; i++)
		if (attribute_specs[i].flags & ATTR_IS_SESSION)
			names[count++] = attribute_specs[i].name;
	do {
		const struct token *t = parse_peek(p);
		int a = t && t->kind == TOKEN_WORD ? attribute_find(t->text) : -1;
		if (!t || t->kind == TOKEN_SIGN)
			return parse_wrong(p, "an attribute of the session (like run)");
		if (a < 0 || !(attribute_specs[a].flags & ATTR_IS_SESSION))
			return parse_unknown(p, t, "attribute of a session", names, count);
		int *slot = arena_push(&p->f->arena, &rule->have, &rule->have_count, sizeof *slot);
		if (!slot)
			return parse_no_memory(p);
		*slot = a;
		p->at++;
	} while (parse_take(p, ",") || parse_take(p, "and"));
	return 0;
}

static int parse_until(struct parser *p, struct rule *rule)
{
	const struct token *t = parse_peek(p);
	struct row_value v;
	if (!t || !value_parse_time(t->text, t->len, &v))
		return parse_wrong(p, "a date (like 2027-06-30)");
	if (v.integer > INT64_MAX / NS_PER_S - 86400 || v.integer < 0)
		return parse_error(p, t->column, "the date is out of range (1970 to 2261)");
	p->at++;
	rule->until_text = t->text;
	rule->until_ns = v.integer * NS_PER_S + v.nanos;
	if (t->len == 10) /* a day belongs to it until it ends */
		rule->until_ns += 86400 * NS_PER_S;
	return 0;
}

static int parse_rows(struct parser *p, struct rule *rule)
{
	int r = parse_condition(p, true, &rule->rows);
	if (!r)
		rule->flags |= expr_flags(rule->rows) & ATTR_IS_FILE;
	return r;
}

static int parse_reason(struct parser *p, struct rule *rule)
{
	const struct token *t = parse_peek(p);
	if (!t || t->kind != TOKEN_STRING)
		return parse_wrong(p, "a text in quotes");
	p->at++;
	rule->reason = t->text;
	return 0;
}

static int parse_clause_body(struct parser *p, struct rule *rule, enum clause c)
{
	switch (c) {
	case FILES:
		return parse_globs(p, &rule->files, &rule->file_count);
	case WHEN:
		return add_condition(p, rule, &rule->when, &rule->when_count);
	case UNLESS:
		return add_condition(p, rule, &rule->unless, &rule->unless_count);
	case COLUMNS:
		return parse_columns(p, rule);
	case ROWS:
		return parse_rows(p, rule);
	case WITH:
		rule->mask_line = p->l.line;
		rule->mask_column = parse_peek(p) ? parse_peek(p)->column : p->l.end_column;
		return parse_mask(p, &rule->mask);
	case HAVE:
		return parse_have(p, rule);
	case REASON:
		return parse_reason(p, rule);
	case FROM:
		return parse_names(p, "a rule of the mesh", &rule->from, &rule->from_count);
	case UNTIL:
		return parse_until(p, rule);
	default:
		return -EINVAL;
	}
}

static int parse_clause(struct parser *p, struct rule *rule, unsigned *seen)
{
	const unsigned many = BIT(FILES) | BIT(WHEN) | BIT(UNLESS) | BIT(COLUMNS) | BIT(HAVE) | BIT(FROM);
	const struct token *t = parse_peek(p);
	const char *names[CLAUSE_COUNT];
	size_t count = 0;
	int c = 0;
	for (int i = 0; i < CLAUSE_COUNT; i++)
		if (block_clauses[rule->kind].may & BIT(i))
			names[count++] = clause_names[i];
	while (c < CLAUSE_COUNT && !token_is(t, clause_names[c]))
		c++;
	if (c == CLAUSE_COUNT)
		return parse_unknown(p, t, "clause", names, count);
	if (!(block_clauses[rule->kind].may & BIT(c)))
		return parse_error(p, t->column, "'%s' has no place in a '%s'", t->text, rule_kind_names[rule->kind]);
	if (*seen & BIT(c) && !(many & BIT(c)))
		return parse_error(p, t->column, "'%s' stands here twice", t->text);
	*seen |= BIT(c);
	p->at++;
	int r = parse_clause_body(p, rule, (enum clause)c);
	return r ? r : parse_end(p);
}

/* -- blocks ----------------------------------------------------------------------------------- */

static int check_scope(struct parser *p, const struct token *t, enum rule_kind kind)
{
	if (kind == RULE_PERMIT && !p->f->domain)
		return parse_error(p, t->column, "'permit' stands only in files of a domain (scope domain NAME): the mesh's rules only take away");
	if (kind == RULE_EXEMPT && p->f->domain)
		return parse_error(p, t->column, "'exempt' stands only in files of the mesh (scope mesh)");
	return 0;
}

static int default_files(struct parser *p, struct rule *rule)
{
	if (rule->file_count)
		return 0;
	const char **slot = arena_push(&p->f->arena, &rule->files, &rule->file_count, sizeof *slot);
	char glob[NAME_SIZE + 8] = "**";
	if (p->f->domain)
		snprintf(glob, sizeof glob, "%s/**", p->f->domain);
	return slot && (*slot = arena_text(&p->f->arena, glob, strlen(glob))) ? 0 : parse_no_memory(p);
}

/* What stands behind the block's name. */
static int parse_heading(struct parser *p, struct rule *rule, unsigned *seen)
{
	if (rule->kind == RULE_PERMIT && parse_take(p, "to")) {
		if (!parse_take(p, "publish"))
			return parse_wrong(p, "'publish'");
		rule->publish = true;
	}
	if (rule->kind == RULE_EXEMPT && parse_take(p, "from")) {
		int r = parse_names(p, "a rule of the mesh", &rule->from, &rule->from_count);
		if (r)
			return r;
		*seen |= BIT(FROM);
	}
	if (rule->kind == RULE_EXEMPT && parse_take(p, "until")) {
		int r = parse_until(p, rule);
		if (r)
			return r;
		*seen |= BIT(UNTIL);
	}
	return parse_end(p);
}

static int check_needs(struct parser *p, const struct rule *rule, unsigned seen)
{
	unsigned lacking = block_clauses[rule->kind].needs & ~seen;
	for (int i = 0; i < CLAUSE_COUNT; i++)
		if (lacking & BIT(i))
			return err_at(p->e, p->l.name, rule->line, rule->column, "%s '%s' needs a '%s'", rule_kind_names[rule->kind], rule->name,
				      clause_names[i]);
	return 0;
}

static int check_new_name(struct parser *p, const char *name, const struct token *t, bool test)
{
	for (size_t i = 0; !test && i + 1 < p->f->rule_count; i++)
		if (!strcmp(p->f->rules[i].name, name))
			return parse_error(p, t->column, "there is a rule '%s' already, in line %d", name, p->f->rules[i].line);
	for (size_t i = 0; test && i + 1 < p->f->test_count; i++)
		if (!strcmp(p->f->tests[i].name, name))
			return parse_error(p, t->column, "there is a test '%s' already, in line %d", name, p->f->tests[i].line);
	return 0;
}

/* Returns 1 with the next block's heading as the current line, 0 at the end of the file. */
static int parse_rule(struct parser *p, enum rule_kind kind, const struct token *word)
{
	struct policy_file *f = p->f;
	unsigned seen = 0;
	int r = check_scope(p, word, kind);
	if (r)
		return r;
	if (f->rule_count >= RULES_MAX)
		return parse_error(p, word->column, "a file may have at most %d rules", RULES_MAX);
	struct rule *rule = arena_push(&f->arena, &f->rules, &f->rule_count, sizeof *rule);
	if (!rule)
		return parse_no_memory(p);
	const struct token *name = parse_peek(p);
	*rule = (struct rule){ .kind = kind, .file = f, .line = p->l.line, .column = word->column };
	rule->mask.kind = kind == RULE_DROP ? MASK_DROP : MASK_KEEP;
	r = parse_name(p, "rule", &rule->name);
	if (!r)
		r = check_new_name(p, rule->name, name, false);
	if (!r)
		r = parse_heading(p, rule, &seen);
	if (r)
		return r;
	char id[160];
	snprintf(id, sizeof id, "%s/%s", f->name, rule->name);
	rule->id = arena_text(&f->arena, id, strlen(id));
	if (!rule->id)
		return parse_no_memory(p);
	while ((r = lexer_line(&p->l, p->e)) == 1 && p->l.indented) {
		p->at = 0;
		int c = parse_clause(p, rule, &seen);
		if (c)
			return c;
	}
	if (r < 0)
		return r;
	int bad = check_needs(p, rule, seen);
	if (!bad)
		bad = default_files(p, rule);
	return bad ? bad : r;
}

static int parse_test(struct parser *p)
{
	struct policy_file *f = p->f;
	struct test_case *t = arena_push(&f->arena, &f->tests, &f->test_count, sizeof *t);
	int r;
	if (!t)
		return parse_no_memory(p);
	*t = (struct test_case){ .file = f, .line = p->l.line, .uid = -1, .age_days = -1 };
	const struct token *name = parse_peek(p);
	r = parse_name(p, "test", &t->name);
	if (!r)
		r = check_new_name(p, t->name, name, true);
	if (!r)
		r = parse_end(p);
	if (r)
		return r;
	while ((r = lexer_line(&p->l, p->e)) == 1 && p->l.indented) {
		p->at = 1;
		int c = parse_test_clause(p, t, &p->l.tokens[0]);
		if (!c)
			c = parse_end(p);
		if (c)
			return c;
	}
	if (r < 0)
		return r;
	int bad = parse_test_done(p, t);
	return bad ? bad : r;
}

static int parse_block(struct parser *p)
{
	const char *names[RULE_KINDS + 1];
	const struct token *t = &p->l.tokens[0];
	p->at = 1;
	if (p->l.indented)
		return parse_error(p, t->column, "a clause without a block: blocks start in column 1");
	if (token_is(t, "test"))
		return parse_test(p);
	for (int i = 0; i < RULE_KINDS; i++) {
		if (token_is(t, rule_kind_names[i]))
			return parse_rule(p, (enum rule_kind)i, t);
		names[i] = rule_kind_names[i];
	}
	names[RULE_KINDS] = "test";
	for (int i = 0; i < CLAUSE_COUNT; i++)
		if (token_is(t, clause_names[i]))
			return parse_error(p, t->column, "'%s' is a clause: indent it under its block", t->text);
	if (token_is(t, "policy"))
		return parse_error(p, t->column, "a file holds one policy");
	if (t->kind != TOKEN_WORD)
		return parse_error(p, t->column, "a block is expected here, and its word stands without quotes");
	return parse_unknown(p, t, "block", names, RULE_KINDS + 1);
}

static int parse_header(struct parser *p)
{
	struct policy_file *f = p->f;
	int r = lexer_line(&p->l, p->e);
	if (r < 0)
		return r;
	p->at = 0;
	if (!r)
		return err_at(p->e, p->l.name, 1, 1, "the file is empty: 'policy NAME scope mesh version 1' is expected");
	f->line = p->l.line;
	f->column = p->l.tokens[0].column;
	if (p->l.indented || !parse_take(p, "policy"))
		return parse_error(p, p->l.tokens[0].column, "a policy file starts with 'policy NAME scope mesh version 1' in column 1");
	r = parse_name(p, "policy", &f->name);
	if (r)
		return r;
	if (!parse_take(p, "scope"))
		return parse_wrong(p, "'scope mesh' or 'scope domain NAME'");
	const struct token *t = parse_peek(p);
	if (parse_take(p, "domain")) {
		struct err ignored = ERR_INIT;
		t = parse_peek(p);
		r = parse_word(p, "the domain's name", &f->domain);
		if (!r && name_check("domain", f->domain, &ignored))
			r = parse_error(p, t->column, "%s", ignored.text);
	} else if (!parse_take(p, "mesh")) {
		static const char *const scopes[] = { "mesh", "domain" };
		r = t && t->kind == TOKEN_WORD ? parse_unknown(p, t, "scope", scopes, 2) : parse_wrong(p, "'mesh' or 'domain NAME'");
	}
	if (r)
		return r;
	if (!parse_take(p, "version"))
		return parse_wrong(p, "'version N'");
	t = parse_peek(p);
	r = parse_word(p, "a number", &f->version);
	if (!r && (strspn(f->version, "0123456789.") != strlen(f->version) || !f->version[0]))
		r = parse_error(p, t->column, "'%s' is no version: a number is expected", f->version);
	return r ? r : parse_end(p);
}

int policy_parse(const char *path, const char *text, size_t len, struct policy_file **ret, struct err *e)
{
	struct policy_file *f = calloc(1, sizeof *f);
	struct parser p = { .f = f, .e = e };
	if (!f)
		return err_set(e, -ENOMEM, "out of memory");
	f->path = arena_text(&f->arena, path, strlen(path));
	int r = f->path ? lexer_start(&p.l, f->path, text, len, &f->arena, e) : err_set(e, -ENOMEM, "out of memory");
	if (!r)
		r = parse_header(&p);
	if (!r)
		r = lexer_line(&p.l, e);
	while (r == 1)
		r = parse_block(&p);
	if (r) {
		policy_file_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void policy_file_free(struct policy_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->expr_count; i++)
		expr_free(f->exprs[i]);
	arena_free(&f->arena);
	free(f);
}
