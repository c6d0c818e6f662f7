/* Conditions asked from outside (`--where`), and transforms read back from their canonical text. */
#include "test/unit/policy_fixture.h"

#include "policy/attribute.h"
#include "policy/condition.h"

/* The bound condition's canonical text; "!" and the error when it is refused.  Valid until the next call. */
static const char *bound(const char *where, const struct contract_object *object)
{
	static struct buf b;
	struct err e = ERR_INIT;
	struct expr *raw = NULL, *x = NULL;
	buf_free(&b);
	if (condition_parse_where(where, &raw, &e) || condition_bind(raw, object, &x, &e))
		buf_addf(&b, "!%s", e.text);
	else
		expr_text(x, &b);
	expr_free(raw);
	expr_free(x);
	return buf_text(&b);
}

TEST(words_on_the_left_are_columns)
{
	struct contract *c = fixture_contract("active");
	const struct contract_object *o = contract_object_for(c, "people.csv");
	CHECK_STR(bound("age == 17", o), "row.age == 17");
	CHECK_STR(bound("row.age == 17", o), "row.age == 17");
	CHECK_STR(bound("name == user and not (age > 3)", o), "(not (row.age > 3) and row.name == \"user\")");
	CHECK_STR(bound("address.zip in {123, 456}", o), "row.address.zip in {\"123\", \"456\"}");
	CHECK_STR(bound("email is not null", o), "not (row.email is null)");
	CHECK_STR(bound("purpose == training", o), "row.purpose == \"training\""); /* a column of the data, no attribute */
	CHECK_STR(bound("born < 1990-01-01", o), "row.born < 1990-01-01");
	contract_unref(c);
}

TEST(types_without_a_contract_are_those_of_the_question)
{
	CHECK_STR(bound("customer == 17", NULL), "row.customer == 17");
	CHECK_STR(bound("customer == \"17\"", NULL), "row.customer == \"17\"");
	CHECK_STR(bound("row.\"first name\" like \"a*\"", NULL), "row.\"first name\" like \"a*\"");
}

TEST(questions_that_ask_nothing_are_refused)
{
	static const char *const wrong[] = { "", "true", "17 == 17", "a = 1", "a ==", "a == 1 b", "(a == 1", "age == x" };
	struct contract *c = fixture_contract("active");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		CHECK(bound(wrong[i], contract_object_for(c, "people.csv"))[0] == '!');
	contract_unref(c);
}

/* Every kind of line that a canonical text can have. */
TEST(a_transform_is_read_back_from_its_text)
{
	static const struct mask masks[] = {
		{ .kind = MASK_DROP }, { .kind = MASK_NULL }, { .kind = MASK_REDACT, .keep_length = true }, { .kind = MASK_ROUND, .number = 0.5 },
		{ .kind = MASK_TOP, .number = 89 }, { .kind = MASK_SCRUB, .entities = SCRUB_EMAIL_ADDRESS | SCRUB_URL }, { .kind = MASK_PARTIAL, .last = true, .number = 4 },
		{ .kind = MASK_YEAR }, { .kind = MASK_ZIP3 },
	};
	static const char *const filters[] = { NULL, "age >= 18 and not (note like \"x*\")", "born < 1990-01-01 or name in {a, \"b \\\"c\"}", "unknown" };
	struct contract *c = fixture_contract("active");
	const struct contract_object *o = contract_object_for(c, "people.csv");
	const struct mask keep = { .kind = MASK_KEEP }, drop = { .kind = MASK_DROP };
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		for (size_t k = 0; k < sizeof filters / sizeof *filters; k++) {
			struct expr *raw = NULL, *filter = NULL;
			if (filters[k] && !strcmp(filters[k], "unknown"))
				filter = expr_constant(TRUTH_UNKNOWN);
			else if (filters[k])
				CHECK(!condition_parse_where(filters[k], &raw, NULL) && !condition_bind(raw, o, &filter, NULL));
			struct column_action actions[] = { { (char *)"email", masks[i] }, { (char *)"odd \"name\"", masks[i] } };
			struct transform *t = transform_new(actions, 2, k % 2 ? &drop : &keep, filter, c, o), *back = NULL;
			struct err e = ERR_INIT;
			CHECK(t && !transform_parse(t->text, NULL, c, o, &back, &e));
			if (back) {
				CHECK_STR(back->text, t->text);
				CHECK(digest_equal(&back->hash, &t->hash));
			}
			transform_unref(back);
			transform_unref(t);
			expr_free(raw);
			expr_free(filter);
		}
	}
	contract_unref(c);
}

TEST(texts_that_are_no_transform_are_refused)
{
	static const char *const wrong[] = { "columns x", "column \"x\" blur", "rows", "rows row.x ==", "column \"x\" hmac key k", "rows true\nrows true" };
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		struct transform *t = NULL;
		CHECK(transform_parse(wrong[i], NULL, NULL, NULL, &t, NULL) < 0 && !t);
	}
}

CHECK_MAIN()
