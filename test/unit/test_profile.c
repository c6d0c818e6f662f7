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

CHECK_MAIN()
