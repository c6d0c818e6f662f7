#include "test/unit/check.h"

#include "catalog/contract.h"
#include "catalog/profile.h"

#include <errno.h>

static struct contract *drafted(const char *path, const char *data, struct buf *text)
{
	struct err e = ERR_INIT;
	struct contract *c = NULL;
	struct profile *p = profile_new();
	if (profile_file_begin(p, path, &e) || profile_file_feed(p, data, strlen(data), &e) || profile_file_end(p, &e) ||
	    profile_contract(p, "d", "p", text, &e) || contract_parse("draft.yaml", text->data, text->len, &c, &e) || contract_validate(c, &e))
		printf("%s\n%s\n", e.text, buf_text(text));
	profile_free(p);
	return c;
}

TEST(a_draft_is_a_valid_contract)
{
	struct buf text = BUF_INIT;
	struct contract *c = drafted("a.csv", "id,zip,when,score,mail\n1,01234,2026-01-01,1.5,a@b.org\n2,10115,2026-01-02,NA,c@d.org\n", &text);
	CHECK(c != NULL);
	const struct contract_object *o;
	CHECK_INT(contract_objects(c, &o), 1);
	CHECK_INT(o->column_count, 5);
	CHECK_INT(o->columns[0].type, TYPE_INTEGER);
	CHECK(o->columns[0].unique && o->columns[0].required);
	CHECK_INT(o->columns[1].type, TYPE_STRING); /* a leading zero: a code */
	CHECK_INT(o->columns[2].type, TYPE_DATE);
	CHECK_INT(o->columns[3].type, TYPE_NUMBER);
	CHECK(!o->columns[3].required);
	CHECK_INT(o->columns[4].tag_count, 2);
	CHECK_STR(o->columns[4].tags[1], "EMAIL_ADDRESS");
	CHECK(strstr(text.data, "missingValues: [\"NA\"]") != NULL);
	CHECK(!strstr(text.data, "a@b.org") && !strstr(text.data, "10115"));
	contract_unref(c);
	buf_free(&text);
}

TEST(nested_records)
{
	struct buf text = BUF_INIT;
	struct contract *c = drafted("a.jsonl", "{\"a\":{\"b\":[{\"c\":1},{\"c\":2}]},\"odd \\\"name\\\"\":true}\n", &text);
	CHECK(c != NULL);
	const struct contract_object *o;
	contract_objects(c, &o);
	CHECK(contract_column_find(o, "a.b.c", 5) && contract_column_find(o, "a.b.c", 5)->type == TYPE_INTEGER);
	CHECK(contract_column_find(o, "odd \"name\"", 10) != NULL);
	contract_unref(c);
	buf_free(&text);
}

/* A folder of images is one object; what may hold records is named and left to the rules. */
TEST(documents_are_told_by_their_endings)
{
	static const char *const paths[] = { "b/2.png", "a/1.png", "LICENSE", "notes.md", "a/3.png", "x.xlsx", "T.CSV", "y.xlsx", "odd\nname.txt" };
	struct err e = ERR_INIT;
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	struct profile *p = profile_new();
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		CHECK_INT(profile_file_begin(p, paths[i], &e), -EOPNOTSUPP);
	CHECK_INT(profile_contract(p, "d", "p", &text, &e), 0);
	CHECK_INT(contract_parse("draft.yaml", text.data, text.len, &c, &e), 0);
	CHECK_INT(contract_validate(c, &e), 0);
	const struct contract_object *o;
	CHECK_INT(contract_objects(c, &o), 4);
	for (size_t i = 0; i < 4; i++)
		CHECK(o[i].document);
	CHECK(contract_object_for(c, "a/1.png") && contract_object_for(c, "a/1.png") == contract_object_for(c, "deep/er/9.png"));
	CHECK(contract_object_for(c, "LICENSE") && contract_object_for(c, "notes.md") && contract_object_for(c, "odd\nname.txt"));
	CHECK(!contract_object_for(c, "x.xlsx") && !contract_object_for(c, "T.CSV"));
	CHECK(strstr(buf_text(&text), "\"x.xlsx\" and 1 more .xlsx") && strstr(buf_text(&text), "Left out: \"T.CSV\""));
	contract_unref(c);
	profile_free(p);
	buf_free(&text);
}

CHECK_MAIN()
