/* Conditions: Kleene's tables, every comparison over every kind of value, exact numbers, dates, globs, binding. */
#include "policy/attribute.h"
#include "policy/condition.h"
#include "policy/arena.h"
#include "policy/expr.h"
#include "policy/lexer.h"
#include "test/unit/policy_fixture.h"

enum { F = TRUTH_FALSE, T = TRUTH_TRUE, U = TRUTH_UNKNOWN };
static const char letters[] = "FTU";

/* -- a condition over one row ------------------------------------------------------------- */

struct cell {
	const char *column, *text; /* `text` NULL: VALUE_NULL */
	enum value_kind kind;      /* VALUE_TEXT: `text` as the column's type reads it */
};

/* Columns: t string, u string, n number, m number, i integer, d date, s timestamp, c time, b boolean, w boolean, x (no type). */
static struct contract *columns(void)
{
	static const char text[] = "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\nschema:\n- name: o\n  properties:\n"
				   "  - { name: t, logicalType: string }\n  - { name: u, logicalType: string }\n"
				   "  - { name: n, logicalType: number }\n  - { name: m, logicalType: number }\n  - { name: i, logicalType: integer }\n"
				   "  - { name: d, logicalType: date }\n  - { name: s, logicalType: timestamp }\n  - { name: c, logicalType: time }\n"
				   "  - { name: b, logicalType: boolean }\n  - { name: w, logicalType: boolean }\n  - { name: x }\n";
	struct contract *c = NULL;
	contract_parse("c", text, sizeof text - 1, &c, NULL);
	return c;
}

static struct expr *bind(const char *text, struct expr_env *env, struct err *e)
{
	struct contract *c = columns();
	const struct contract_object *o = NULL;
	struct expr *x = NULL, *bound = NULL;
	contract_objects(c, &o);
	if (!condition_parse("rows", text, &x, e))
		expr_bind(x, env, o, &bound, e);
	expr_free(x);
	contract_unref(c);
	return bound;
}

/* The answer for a row of which `cells` are known; the other columns are missing.  -1: it does not parse or bind. */
static int answer(const char *text, const struct cell *cells, size_t count, struct err *e)
{
	struct expr_env env = { 0 };
	struct expr *x = bind(text, &env, e);
	const struct expr_column *names;
	struct row_value values[16];
	if (!x)
		return -1;
	size_t n = expr_columns(x, &names);
	for (size_t i = 0; i < n; i++) {
		values[i] = (struct row_value){ .kind = VALUE_MISSING };
		for (size_t k = 0; k < count; k++) {
			if (strcmp(cells[k].column, names[i].name) != 0)
				continue;
			if (cells[k].kind == VALUE_TEXT)
				row_value_parse(names[i].type, cells[k].text, strlen(cells[k].text), &values[i]);
			else
				values[i].kind = cells[k].kind;
		}
	}
	int t = (int)expr_eval_row(x, values);
	expr_free(x);
	return t;
}

static void expect(int line, const char *text, const struct cell *cells, size_t count, int want)
{
	struct err e = ERR_INIT;
	int got = answer(text, cells, count, &e);
	if (got != want) {
		printf("%s:%d: '%s' is %s%c, expected %c\n", __FILE__, line, text, e.text, got < 0 ? '!' : letters[got], letters[want]);
		check_failed = 1;
	}
}
#define ROW(text, want, ...) expect(__LINE__, text, (const struct cell[]){ __VA_ARGS__ }, sizeof((const struct cell[]){ __VA_ARGS__ }) / sizeof(struct cell), want)
#define IS(column, text) { column, text, VALUE_TEXT }

/* -- Kleene ------------------------------------------------------------------------------------ */

static void says(const char *text, const char *want)
{
	struct arena arena = { 0 };
	struct lexer l;
	struct err e = ERR_INIT;
	struct expr *x = NULL;
	struct buf b = BUF_INIT;
	CHECK_OK(lexer_start(&l, "words", text, strlen(text), &arena, &e), &e);
	CHECK_INT(lexer_line(&l, &e), 1);
	CHECK_OK(expr_parse(&l, 0, true, &x, &e), &e);
	expr_words(x, &b);
	CHECK_STR(buf_text(&b), want);
	buf_free(&b);
	expr_free(x);
	arena_free(&arena);
}

TEST(words_are_as_one_would_write_them)
{
	says("row.age >= 18 and row.name != user", "row.name != user and row.age >= 18");
	says("row.b not in {x, y} and (row.a == 1 or row.c is not null)", "(row.c is not null or row.a == 1) and row.b not in {\"x\", \"y\"}");
	says("not (row.a > 1)", "not row.a > 1");
	says("not (row.a > 1 and row.b not like \"x*\")", "not (row.b not like \"x*\" and row.a > 1)");
	says("not row.ok", "not row.ok");
	says("row.ok", "row.ok");
}

TEST(kleenes_tables)
{
	static const enum truth all[] = { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN };
	static const char and[] = "FFF" "FTU" "FUU", or[] = "FTU" "TTT" "UTU", not[] = "TFU";
	for (int a = 0; a < 3; a++) {
		CHECK_INT(letters[truth_not(all[a])], not[a]);
		for (int b = 0; b < 3; b++) {
			CHECK_INT(letters[truth_and(all[a], all[b])], and[a * 3 + b]);
			CHECK_INT(letters[truth_or(all[a], all[b])], or[a * 3 + b]);
		}
	}
}

/* `row.b` in each of its three answers, and what stands for it. */
static struct cell boolean(const char *column, int truth)
{
	return (struct cell){ column, truth == T ? "true" : "false", truth == U ? VALUE_NULL : VALUE_TEXT };
}

TEST(connectives_of_every_pair_and_triple)
{
	static const char *const laws[][2] = {
		/* the two must be equal for every pair */
		{ "not (row.b and row.w)", "not row.b or not row.w" },
		{ "not (row.b or row.w)", "not row.b and not row.w" },
		{ "not not row.b", "row.b" },
		{ "row.b and row.w", "row.w and row.b" },
		{ "row.b or row.w and row.b", "row.b or (row.w and row.b)" },
		{ "not row.b and row.w", "(not row.b) and row.w" },
		{ "row.b or row.b and row.w", "row.b" },
		{ "row.b and true", "row.b or false" },
		{ "row.b and false", "false" },
		{ "row.b or true", "true" },
	};
	for (int a = 0; a < 3; a++)
		for (int b = 0; b < 3; b++) {
			struct cell row[] = { boolean("b", a), boolean("w", b) };
			struct err e = ERR_INIT;
			CHECK_INT(answer("row.b and row.w", row, 2, &e), truth_and((enum truth)a, (enum truth)b));
			CHECK_INT(answer("row.b or row.w", row, 2, &e), truth_or((enum truth)a, (enum truth)b));
			CHECK_INT(answer("not row.b", row, 2, &e), truth_not((enum truth)a));
			for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
				int x = answer(laws[i][0], row, 2, &e), y = answer(laws[i][1], row, 2, &e);
				if (x < 0 || x != y)
					CHECK_FAIL("%s is %d, %s is %d for %c%c", laws[i][0], x, laws[i][1], y, letters[a], letters[b]);
			}
		}
}

/* -- every operator over every kind --------------------------------------------------------------- */

TEST(what_is_not_known_is_unknown_in_every_operator)
{
	static const char *const asks[] = {
		"row.t == a", "row.t != a", "row.t < a", "row.t <= a", "row.t > a", "row.t >= a", "row.t in {a, b}", "row.t not in {a, b}",
		"row.t like \"*\"", "row.t not like \"*\"", "row.t == row.u", "row.t != row.t",
		"row.n == 1", "row.n != 1", "row.n < 1", "row.n >= 1", "row.n in {1, 2}", "row.n not in {1}", "row.n == row.m",
		"row.i > 3", "row.d == 2026-01-01", "row.d < 2026-01-01", "row.d not in {2026-01-01}", "row.s >= 2026-01-01", "row.c < \"12:00\"",
		"row.b", "not row.b", "row.b == true", "row.b != true", "row.b == row.w", "row.x == a",
	};
	static const enum value_kind kinds[] = { VALUE_MISSING, VALUE_NULL, VALUE_INVALID };
	for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
		for (int k = 0; k < 3; k++) {
			struct cell row[11];
			for (int c = 0; c < 11; c++) {
				static const char *const names[] = { "t", "u", "n", "m", "i", "d", "s", "c", "b", "w", "x" };
				row[c] = (struct cell){ names[c], "", kinds[k] };
			}
			expect(__LINE__, asks[i], row, 11, U);
		}
}

TEST(is_null_knows_null_and_missing_but_not_the_invalid)
{
	static const char *const names[] = { "t", "n", "i", "d", "s", "c", "b", "x" };
	static const char *const good[] = { "a", "1", "1", "2026-01-01", "2026-01-01T00:00:00Z", "12:00:00", "true", "a" };
	static const struct {
		enum value_kind kind;
		int is, is_not;
	} kinds[] = { { VALUE_MISSING, T, F }, { VALUE_NULL, T, F }, { VALUE_INVALID, U, U }, { VALUE_TEXT, F, T } };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		for (int k = 0; k < 4; k++) {
			char is[64], is_not[64], not_is[64];
			struct cell row = { names[i], good[i], kinds[k].kind };
			snprintf(is, sizeof is, "row.%s is null", names[i]);
			snprintf(is_not, sizeof is_not, "row.%s is not null", names[i]);
			snprintf(not_is, sizeof not_is, "not row.%s is null", names[i]);
			expect(__LINE__, is, &row, 1, kinds[k].is);
			expect(__LINE__, is_not, &row, 1, kinds[k].is_not);
			expect(__LINE__, not_is, &row, 1, kinds[k].is_not);
		}
}

TEST(comparisons_of_known_values)
{
	static const char *const signs[] = { "==", "!=", "<", "<=", ">", ">=" };
	static const char want[3][7] = { "FTTTFF", "TFFTFT", "FTFFTT" }; /* before, equal, after */
	static const struct {
		const char *column, *low, *high, *low_said, *high_said;
	} rows[] = {
		{ "t", "a", "b", "a", "b" }, { "t", "B", "a", "B", "a" }, { "t", "a", "aa", "a", "aa" }, { "t", "", "a", "\"\"", "a" },
		{ "t", "10", "9", "\"10\"", "\"9\"" }, { "t", "z", "\xc3\xa9", "z", "\"\xc3\xa9\"" },
		{ "n", "9", "10", "9", "10" }, { "n", "-2", "1", "-2", "1" }, { "n", "0.1", "0.2", "0.1", "0.2" }, { "i", "3", "4", "3", "4" },
		{ "d", "2024-02-28", "2024-02-29", "2024-02-28", "2024-02-29" }, { "d", "1969-12-31", "1970-01-01", "1969-12-31", "1970-01-01" },
		{ "d", "0001-01-01", "9999-12-31", "0001-01-01", "9999-12-31" },
		{ "s", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000001Z", "2026-01-01", "2026-01-01T00:00:00.000000001Z" },
		{ "s", "2026-01-01T01:00:00+02:00", "2026-01-01T00:00:00Z", "2025-12-31T23:00:00Z", "2026-01-01" },
		{ "c", "09:00:00", "17:30", "\"09:00\"", "\"17:30:00\"" }, { "b", "false", "true", "false", "true" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int s = 0; s < 6; s++)
			for (int way = 0; way < 3; way++) {
				char text[128];
				struct cell row = { rows[i].column, way == 0 ? rows[i].low : rows[i].high, VALUE_TEXT };
				snprintf(text, sizeof text, "row.%s %s %s", rows[i].column, signs[s], way == 2 ? rows[i].low_said : rows[i].high_said);
				expect(__LINE__, text, &row, 1, (int)(strchr(letters, want[way][s]) - letters));
			}
}

TEST(sets)
{
	ROW("row.t in {a, b}", T, IS("t", "b"));
	ROW("row.t in {a, b}", F, IS("t", "c"));
	ROW("row.t not in {a, b}", T, IS("t", "c"));
	ROW("row.t in {\"\"}", T, IS("t", ""));
	ROW("row.n in {1, 2.50, 3e2}", T, IS("n", "2.5"));
	ROW("row.n in {1, 2.50, 3e2}", T, IS("n", "300"));
	ROW("row.n not in {1, 2.50, 3e2}", T, IS("n", "301"));
	ROW("row.d in {2026-01-01, 2026-02-01}", T, IS("d", "2026-02-01"));
	ROW("row.d not in {2026-01-01, 2026-02-01}", T, IS("d", "2026-02-02"));
	ROW("row.t in {and, null, true}", T, IS("t", "null"));
	ROW("row.n in {1, 2}", U, IS("n", "one"));
}

/* -- exact numbers ------------------------------------------------------------------------------------ */

/* Ascending; those of one line are equal in value. */
static const char *const ladder[][6] = {
	{ "-1e1000000" }, { "-1e400" }, { "-9223372036854775809" }, { "-9223372036854775808", "-9223372036854775808.0" }, { "-9223372036854775807" },
	{ "-1000000000000000000", "-1e18", "-1E+18" }, { "-999999999999999999" }, { "-1.5", "-15e-1", "-1.50" }, { "-1", "-1.0", "-0.1e1" },
	{ "-0.1" }, { "-1e-400" }, { "0", "-0", "0.0", "0e5", "-0.000", "00" }, { "1e-1000000" }, { "1e-400", "0.1e-399" }, { "1e-10" },
	{ "0.1", ".1", "1e-1", "0.10", "+0.1" }, { "0.1000000000000000055511151231257827", "0.10000000000000000555111512312578270" }, { "0.2" },
	{ "0.3" }, { "0.30000000000000004" }, { "1", "1.", "+1", "01", "1e0", "10e-1" }, { "1.0000000000000000000001" }, { "2" }, { "9" }, { "10", "1e1" },
	{ "16777217" }, { "9007199254740992" }, { "9007199254740993", "9007199254740993.000" }, { "9007199254740993.1" },
	{ "999999999999999999" }, { "1000000000000000000", "1e18" }, { "1000000000000000001" }, { "9223372036854775807" }, { "9223372036854775808" },
	{ "18446744073709551616" }, { "99999999999999999999999999999999999999" }, { "1e38", "100000000000000000000000000000000000000" },
	{ "1e400" }, { "1.0000000000000000001e400" }, { "1e1000000" },
};

TEST(numbers_are_exact)
{
	const int n = sizeof ladder / sizeof *ladder;
	for (int a = 0; a < n; a++)
		for (int b = 0; b < n; b++)
			for (int i = 0; i < 6 && ladder[a][i]; i++)
				for (int k = 0; k < 6 && ladder[b][k]; k++) {
					struct row_value x, y;
					int order;
					if (!value_parse_number(ladder[a][i], strlen(ladder[a][i]), &x) ||
					    !value_parse_number(ladder[b][k], strlen(ladder[b][k]), &y) || !value_compare(&x, &y, &order))
						CHECK_FAIL("%s and %s cannot be compared", ladder[a][i], ladder[b][k]);
					if ((order > 0) - (order < 0) != (a > b) - (a < b))
						CHECK_FAIL("%s against %s gives %d", ladder[a][i], ladder[b][k], order);
				}
}

TEST(what_is_no_number)
{
	static const char *const bad[] = { "", " ", "-", "+", ".", "1e", "1e+", "e5", "1.2.3", "0x10", "1_000", "1,5", "nan", "inf", "Infinity", "--1", "1 2", "1e1000001",
					   "1e99999999999999999999", "\xd9\xa1" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct row_value v;
		if (value_parse_number(bad[i], strlen(bad[i]), &v))
			CHECK_FAIL("'%s' counts as a number", bad[i]);
	}
	ROW("row.i == 1", U, IS("i", "one"));
	ROW("row.i == 1", T, IS("i", " 1\t"));
	ROW("row.n is null", T, IS("n", ""));
	ROW("row.t is null", F, IS("t", ""));
}

/* -- dates ------------------------------------------------------------------------------------------------ */

TEST(dates_and_moments)
{
	static const char *const good[] = { "2026-11-22", "0000-01-01", "9999-12-31", "2024-02-29", "2000-02-29", "2026-11-22T21:20", "2026-11-22 21:20:00",
					    "2026-11-22T21:20:00.5", "2026-11-22T21:20:00Z", "2026-11-22T21:20:00+05:30", "2026-11-22T21:20:00-0800",
					    "2016-12-31T23:59:60Z", "2026-11-22T00:00:00.123456789z" };
	static const char *const bad[] = { "", "2026", "2026-11", "2026-13-01", "2026-00-01", "2026-11-31", "2026-11-00", "2023-02-29", "1900-02-29", "26-11-22",
					   "2026/11/22", "22.11.2026", "2026-11-22T", "2026-11-22T24:00", "2026-11-22T21:60", "2026-11-22T21:20:61",
					   "2026-11-22T21:20:00.", "2026-11-22T21:20+24:00", "2026-11-22x", "10000-01-01", "-001-01-01", "2026-11-22T21:20:00ZZ" };
	struct row_value v;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		if (!value_parse_time(good[i], strlen(good[i]), &v) || v.kind != VALUE_TIME)
			CHECK_FAIL("'%s' is no moment", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (value_parse_time(bad[i], strlen(bad[i]), &v))
			CHECK_FAIL("'%s' counts as a moment", bad[i]);
	CHECK(value_parse_time("2026-11-22T21:20:00.25+05:30", 28, &v));
	CHECK_INT(v.integer, 1795362600);
	CHECK_INT(v.nanos, 250000000);
	CHECK(value_parse_time("1969-12-31T23:59:59Z", 20, &v));
	CHECK_INT(v.integer, -1);
	ROW("row.d == 2026-01-01", U, IS("d", "01/01/2026"));
	ROW("row.s == \"2026-01-01T00:00:00+01:00\"", T, IS("s", "2025-12-31T23:00:00Z"));
	ROW("row.s == 2026-01-01", T, IS("s", "2026-01-01 00:00"));
}

/* -- globs -------------------------------------------------------------------------------------------------- */

/* The definition, in the plainest words. */
static bool like(const char *glob, const char *text)
{
	if (!*glob)
		return !*text;
	if (*glob == '*')
		return like(glob + 1, text) || (*text && like(glob, text + 1));
	return *text && (*glob == '?' || *glob == *text) && like(glob + 1, text + 1);
}

static unsigned next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

TEST(like_agrees_with_its_definition)
{
	unsigned seed = 7, hits = 0;
	for (int i = 0; i < 40000; i++) {
		char glob[8], text[10];
		size_t n = next(&seed) % 7, m = next(&seed) % 9;
		for (size_t k = 0; k < n; k++)
			glob[k] = "ab*?*"[next(&seed) % 5];
		for (size_t k = 0; k < m; k++)
			text[k] = "ab"[next(&seed) % 2];
		glob[n] = text[m] = '\0';
		bool want = like(glob, text);
		hits += want;
		if (value_like(glob, n, text, m) != want)
			CHECK_FAIL("'%s' like '%s' is not %d", text, glob, want);
	}
	CHECK(hits > 4000 && hits < 36000);
}

TEST(like_is_linear_enough)
{
	char text[20001], glob[] = "*a*a*a*a*a*a*a*a*a*a*b";
	memset(text, 'a', 20000);
	CHECK(value_like("M?ller", 6, "M\xC3\xBCller", 7) && !value_like("M??ller", 7, "M\xC3\xBCller", 7) && value_like("*?", 2, "\xC3\xBC", 2) && !value_like("*??", 3, "\xC3\xBC", 2));
	CHECK(!value_like(glob, strlen(glob), text, 20000));
	text[19999] = 'b';
	CHECK(value_like(glob, strlen(glob), text, 20000));
}

TEST(like_of_columns_and_its_negation)
{
	ROW("row.t like \"a*\"", T, IS("t", "abc"));
	ROW("row.t like \"a*\"", F, IS("t", "ba"));
	ROW("row.t not like \"a*\"", T, IS("t", "ba"));
	ROW("row.t like \"\"", T, IS("t", ""));
	ROW("row.t like \"[a]\"", F, IS("t", "a"));
	ROW("row.t like \"*.com\" or row.t like \"*.org\"", T, IS("t", "x.org"));
	ROW("row.t like 2026-*", T, IS("t", "2026-01"));
}

/* -- attributes ------------------------------------------------------------------------------------------------ */

static int with_env(const char *text, struct expr_env *env)
{
	struct err e = ERR_INIT;
	struct expr *x = bind(text, env, &e);
	int t = x ? (int)expr_eval_row(x, NULL) : -1;
	if (!x)
		printf("%s: %s\n", text, e.text);
	expr_free(x);
	return t;
}

TEST(attributes_become_values)
{
	struct expr_env env = { 0 };
	char room[24];
	static const char *const mine[] = { "ds", "etl" }, *const team[] = { "etl", "ana" };
	struct row_value groups[2], teams[2];
	/* Nothing is known: everything but `is null` is unknown. */
	static const char *const asks[] = { "user == ana", "user != ana", "user in {ana}", "group == ds", "group != ds", "group in {ds}", "group == product.team",
					    "purpose like \"*\"", "uid > 1", "uid <= 1", "user == purpose", "product.quality.failed_errors == 0", "product.tags in {a}" };
	for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
		if (with_env(asks[i], &env) != U)
			CHECK_FAIL("%s is known of nobody", asks[i]);
	CHECK_INT(with_env("user is null and group is null and uid is null", &env), T);
	CHECK_INT(with_env("user is not null or group is not null", &env), F);
	char score[40];
	attribute_set_double(&env, ATTR_QUALITY_SCORE, 0.9, score);
	CHECK_INT(with_env("product.quality.score == 0.9 and product.quality.score <= 0.9 and product.quality.score > 0.89999999999999999", &env), T);
	attribute_set_text(&env, ATTR_USER, "ana");
	attribute_set_int(&env, ATTR_UID, 1000, room);
	attribute_set_list(&env, ATTR_GROUP, mine, 2, groups);
	CHECK_INT(with_env("user == ana and uid == 1000.0 and group == ds and group in {x, etl} and group != x and group not in {x, y}", &env), T);
	CHECK_INT(with_env("group == product.team", &env), U);
	attribute_set_list(&env, ATTR_TEAM, team, 1, teams);
	CHECK_INT(with_env("group == product.team", &env), T);
	CHECK_INT(with_env("group != product.team", &env), F);
	attribute_set_list(&env, ATTR_GROUP, mine, 1, groups);
	CHECK_INT(with_env("group == product.team", &env), F);
	attribute_set_list(&env, ATTR_TEAM, team, 2, teams);
	CHECK_INT(with_env("group == product.team", &env), T); /* the team names the user */
	CHECK_INT(with_env("user in product.team and user == product.team", &env), T);
	attribute_set_list(&env, ATTR_GROUP, mine, 0, groups);
	CHECK_INT(with_env("group == ds", &env), F);
	CHECK_INT(with_env("group is null", &env), T);
	CHECK_INT(with_env("user == \"user\"", &env), F);
	CHECK_INT(with_env("user == user", &env), T);
}

/* -- canonical text and binding ---------------------------------------------------------------------------------- */

static void same_text(int line, const char *a, const char *b)
{
	struct expr_env env = { 0 };
	struct err e = ERR_INIT;
	struct buf ta = BUF_INIT, tb = BUF_INIT;
	struct expr *x = bind(a, &env, &e), *y = bind(b, &env, &e);
	if (x && y) {
		expr_text(x, &ta);
		expr_text(y, &tb);
	}
	if (!x || !y || strcmp(buf_text(&ta), buf_text(&tb)) != 0) {
		printf("%s:%d: %s\n  %s\n  %s\n", __FILE__, line, e.text, buf_text(&ta), buf_text(&tb));
		check_failed = 1;
	}
	expr_free(x);
	expr_free(y);
	buf_free(&ta);
	buf_free(&tb);
}

TEST(equal_conditions_have_equal_texts)
{
	same_text(__LINE__, "row.n == 1 and row.t == a", "row.t == \"a\" and row.n == 1");
	same_text(__LINE__, "(row.n == 1 and row.b) and row.w", "row.w and (row.b and row.n == 1)");
	same_text(__LINE__, "row.b or row.b", "row.b");
	same_text(__LINE__, "not not row.b", "row.b");
	same_text(__LINE__, "row.t in {b, a, b}", "row.t in {a, b}");
	same_text(__LINE__, "row.t != a", "not row.t == a");
	same_text(__LINE__, "row.b and (row.w or true)", "row.b");
	same_text(__LINE__, "row.t == a and user == ana", "row.t == a and purpose == x"); /* both unknown */
}

static void no_bind(int line, const char *text, const char *said)
{
	struct expr_env env = { 0 };
	struct err e = ERR_INIT;
	struct expr *x = bind(text, &env, &e);
	if (x || !strstr(e.text, said)) {
		printf("%s:%d: '%s' gives '%s', expected '%s'\n", __FILE__, line, text, x ? "(it binds)" : e.text, said);
		check_failed = 1;
	}
	expr_free(x);
}

TEST(the_contract_types_columns)
{
	no_bind(__LINE__, "row.n == a", "column n is a number in the contract, and a rule compares it with text");
	no_bind(__LINE__, "row.t == 1", "column t is a string in the contract, and a rule compares it with a number");
	no_bind(__LINE__, "row.d == a", "column d is a date in the contract, and a rule compares it with text");
	no_bind(__LINE__, "row.d == 5", "column d is a date");
	no_bind(__LINE__, "row.b == 1", "column b is a boolean in the contract, and a rule compares it with a number");
	no_bind(__LINE__, "row.t", "column t is a string in the contract, and a rule takes it for true or false");
	no_bind(__LINE__, "row.n like \"1*\"", "column n is a number in the contract, and a rule asks 'like' of it");
	no_bind(__LINE__, "row.t == row.n", "column t is a string in the contract and column n is a number: a rule compares them");
	no_bind(__LINE__, "row.d == row.c", "a rule compares them");
	no_bind(__LINE__, "row.n in {1, 2} and row.t in {1, 2}", "column t is a string");
	no_bind(__LINE__, "row.zz is null", "a rule needs the column zz, which the contract does not have");
	ROW("row.d == \"2026-01-01\"", T, IS("d", "2026-01-01"));
	ROW("row.i == row.n", T, IS("i", "5"), IS("n", "5.0"));
	ROW("row.s > row.d", T, IS("s", "2026-01-01T00:00:01Z"), IS("d", "2026-01-01"));
	ROW("row.x == 5", T, IS("x", "5.0"));
	ROW("row.x == \"5\"", F, IS("x", "5.0"));
}

CHECK_MAIN()
