/* The clauses of test blocks: given, as, read, expect. */
#include "policy/parse_internal.h"

#include <stdlib.h>
#include <string.h>

static int given_quality(struct parser *p, struct test_case *t)
{
	static const char *const words[] = { "failed_errors", "failed_warnings", "score", "missing" };
	struct given_quality *q = arena_push(&p->f->arena, &t->quality, &t->quality_count, sizeof *q);
	if (!q)
		return parse_no_memory(p);
	q->score = 1;
	int r = parse_word(p, "an address", &q->address);
	while (!r && parse_peek(p)) {
		const struct token *w = parse_peek(p);
		if (parse_take(p, "failed_errors")) {
			r = parse_integer(p, "a count", &q->failed_errors);
		} else if (parse_take(p, "failed_warnings")) {
			r = parse_integer(p, "a count", &q->failed_warnings);
		} else if (parse_take(p, "missing")) {
			q->missing = true;
		} else if (parse_take(p, "score")) {
			const char *score = "";
			r = parse_word(p, "a number", &score);
			q->score = strtod(score, NULL);
		} else {
			r = parse_unknown(p, w, "quality result", words, 4);
		}
	}
	return r;
}

static int column_type(struct parser *p, enum logical_type *ret)
{
	static const char *const names[] = { "string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean" };
	const struct token *w = parse_peek(p);
	for (int i = 0; i < 9; i++)
		if (parse_take(p, names[i])) {
			*ret = (enum logical_type)(TYPE_STRING + i);
			return 0;
		}
	return w && w->kind == TOKEN_WORD ? parse_unknown(p, w, "logicalType", names, 9) : parse_wrong(p, "a logicalType");
}

/* given columns a, b [type T] [classified C] [tagged t, u] */
static int given_columns(struct parser *p, struct test_case *t)
{
	static const char *const words[] = { "type", "classified", "tagged" };
	struct given_column facts = { 0 };
	const char **names = NULL;
	size_t count = 0;
	int r = parse_names(p, "a column's name", &names, &count);
	while (!r && parse_peek(p)) {
		const struct token *w = parse_peek(p);
		if (parse_take(p, "type"))
			r = column_type(p, &facts.type);
		else if (parse_take(p, "classified"))
			r = parse_word(p, "a classification", &facts.classification);
		else if (parse_take(p, "tagged"))
			r = parse_names(p, "a tag", &facts.tags, &facts.tag_count);
		else
			r = parse_unknown(p, w, "fact of a column", words, 3);
	}
	for (size_t i = 0; !r && i < count; i++) {
		struct given_column *c = arena_push(&p->f->arena, &t->columns, &t->column_count, sizeof *c);
		if (!c)
			return parse_no_memory(p);
		*c = facts;
		c->name = names[i];
	}
	return r;
}

static int given_time(struct parser *p, struct test_case *t)
{
	const struct token *w = parse_peek(p);
	struct row_value v;
	if (!w || !value_parse_time(w->text, w->len, &v) || v.integer <= 0 || v.integer > INT64_MAX / 1000000000 - 1)
		return parse_wrong(p, "a date");
	p->at++;
	t->now_ns = v.integer * 1000000000 + v.nanos;
	return 0;
}

static int parse_given(struct parser *p, struct test_case *t)
{
	static const char *const words[] = { "permit", "quality", "columns", "status", "tags", "team", "allowed_purposes", "age_days", "now", "document" };
	const struct token *w = parse_peek(p);
	if (parse_take(p, "permit"))
		return parse_globs(p, &t->permits, &t->permit_count);
	if (parse_take(p, "quality"))
		return given_quality(p, t);
	if (parse_take(p, "columns"))
		return given_columns(p, t);
	if (parse_take(p, "status"))
		return parse_word(p, "a status", &t->status);
	if (parse_take(p, "tags"))
		return parse_names(p, "a tag", &t->tags, &t->tag_count);
	if (parse_take(p, "team"))
		return parse_names(p, "a group or user", &t->team, &t->team_count);
	if (parse_take(p, "allowed_purposes")) {
		t->has_purposes = true;
		return parse_names(p, "a purpose", &t->purposes, &t->purpose_count);
	}
	if (parse_take(p, "age_days"))
		return parse_integer(p, "a number of days", &t->age_days);
	if (parse_take(p, "now"))
		return given_time(p, t);
	if (parse_take(p, "document")) {
		t->document = true;
		return 0;
	}
	if (!w || w->kind == TOKEN_SIGN)
		return parse_wrong(p, "permit, quality, columns …");
	return parse_unknown(p, w, "fact that a test can give", words, sizeof words / sizeof *words);
}

static int parse_as(struct parser *p, struct test_case *t)
{
	static const char *const words[] = { "user", "uid", "group", "purpose", "run", "host" };
	int r = 0;
	if (!parse_peek(p))
		return parse_wrong(p, "user, group, purpose …");
	while (!r && parse_peek(p)) {
		const struct token *w = parse_peek(p);
		if (parse_take(p, "user"))
			r = parse_word(p, "a user", &t->user);
		else if (parse_take(p, "uid"))
			r = parse_integer(p, "a number", &t->uid);
		else if (parse_take(p, "group"))
			r = parse_names(p, "a group", &t->groups, &t->group_count);
		else if (parse_take(p, "purpose"))
			r = parse_word(p, "a purpose", &t->purpose);
		else if (parse_take(p, "run"))
			r = parse_word(p, "a run", &t->run);
		else if (parse_take(p, "host"))
			r = parse_word(p, "a host", &t->host);
		else
			r = parse_unknown(p, w, "attribute of a session", words, 6);
	}
	return r;
}

static int expect_column(struct parser *p, struct test_case *t)
{
	struct expected_column *c = arena_push(&p->f->arena, &t->expect, &t->expect_count, sizeof *c);
	if (!c)
		return parse_no_memory(p);
	int r = parse_word(p, "a column", &c->name);
	if (r)
		return r;
	if (!parse_take(p, "=") && !parse_take(p, "=="))
		return parse_wrong(p, "'=' and a mask");
	const struct token *w = parse_peek(p);
	r = parse_word(p, "a mask", &c->mask);
	if (r)
		return r;
	const char *names[MASK_KEEP + 1];
	size_t n = strcspn(c->mask, " ");
	for (int i = 0; i <= MASK_KEEP; i++) {
		names[i] = mask_kind_name((enum mask_kind)i);
		if (strlen(names[i]) == n && !memcmp(names[i], c->mask, n))
			return 0;
	}
	return parse_unknown(p, w, "mask", names, MASK_KEEP + 1);
}

static int expect_rows(struct parser *p, struct test_case *t)
{
	int r = parse_integer(p, "a number of rows", &t->rows_shown);
	if (r)
		return r;
	if (!parse_take(p, "of"))
		return parse_wrong(p, "'of'");
	const struct token *w = parse_peek(p);
	t->has_rows = true;
	r = parse_integer(p, "a number of rows", &t->rows_all);
	return !r && t->rows_shown > t->rows_all ? parse_error(p, w->column, "more rows are shown than there are") : r;
}

static int parse_expect(struct parser *p, struct test_case *t)
{
	static const enum outcome outcomes[] = { OUTCOME_ALLOW, OUTCOME_VIEW, OUTCOME_DENY, OUTCOME_HIDE };
	const struct token *w = parse_peek(p);
	const char *names[4];
	int found = -1, r = 0;
	for (int i = 0; i < 4; i++) {
		names[i] = outcome_name(outcomes[i]);
		if (found < 0 && parse_take(p, names[i]))
			found = i;
	}
	if (found < 0)
		return w && w->kind == TOKEN_WORD ? parse_unknown(p, w, "outcome", names, 4) : parse_wrong(p, "allow, view, deny or hide");
	t->outcome = outcomes[found];
	t->expect_line = p->l.line;
	while (!r && parse_peek(p)) {
		if (parse_take(p, "by")) {
			while (!r && parse_peek(p)) {
				r = parse_names(p, "a rule", &t->by, &t->by_count);
			}
			return r ? r : t->by_count ? 0 : parse_wrong(p, "a rule");
		}
		w = parse_peek(p);
		if (t->outcome == OUTCOME_DENY || t->outcome == OUTCOME_HIDE)
			return parse_error(p, w->column, "nothing is read under '%s': no columns and rows can be expected", outcome_name(t->outcome));
		r = parse_take(p, "rows") ? expect_rows(p, t) : expect_column(p, t);
	}
	return r;
}

int parse_test_clause(struct parser *p, struct test_case *t, const struct token *clause)
{
	static const char *const words[] = { "given", "as", "read", "expect" };
	if (clause->kind == TOKEN_WORD && !strcmp(clause->text, "given"))
		return parse_given(p, t);
	if (clause->kind == TOKEN_WORD && !strcmp(clause->text, "as"))
		return parse_as(p, t);
	if (clause->kind == TOKEN_WORD && !strcmp(clause->text, "read")) {
		if (t->read)
			return parse_error(p, clause->column, "a test reads one address");
		return parse_word(p, "an address", &t->read);
	}
	if (clause->kind == TOKEN_WORD && !strcmp(clause->text, "expect")) {
		if (t->expect_line)
			return parse_error(p, clause->column, "a test expects one thing");
		return parse_expect(p, t);
	}
	return parse_unknown(p, clause, "clause of a test", words, 4);
}

int parse_test_done(struct parser *p, const struct test_case *t)
{
	if (!t->read)
		return err_at(p->e, p->l.name, t->line, 1, "test '%s' needs a 'read'", t->name);
	if (!t->expect_line)
		return err_at(p->e, p->l.name, t->line, 1, "test '%s' needs an 'expect'", t->name);
	if (!t->user && !t->purpose && !t->group_count)
		return err_at(p->e, p->l.name, t->line, 1, "test '%s' needs an 'as'", t->name);
	return 0;
}
