#include "test/unit/check.h"

#include "catalog/base/io.h"
#include "catalog/contract.h"

#include <errno.h>
#include <string.h>

#define HEAD "kind: DataContract\napiVersion: v3.1.0\nid: orders\nversion: 1.0.0\nstatus: active\n"

static struct contract *parsed(const char *text, struct err *e)
{
	struct contract *c = NULL;
	contract_parse("contract.yaml", text, strlen(text), &c, e);
	return c;
}

TEST(columns_and_nesting)
{
	struct err e = ERR_INIT;
	struct contract *c = parsed(HEAD "tags: [retail]\n"
					 "team: {name: shop, members: [{username: ana}]}\n"
					 "customProperties: [{property: allowedPurposes, value: [training, research]}]\n"
					 "schema:\n"
					 "- name: people\n"
					 "  physicalName: 'people/*.csv'\n"
					 "  properties:\n"
					 "  - {name: email, logicalType: string, tags: [pii, 'hipaa:F'], classification: restricted}\n"
					 "  - name: address\n"
					 "    logicalType: object\n"
					 "    properties: [{name: zip, logicalType: string}]\n"
					 "  - name: orders\n"
					 "    logicalType: array\n"
					 "    items: {logicalType: object, properties: [{name: sku}]}\n",
				    &e);
	if (!c)
		CHECK_FAIL("%s", e.text);
	const struct contract_object *o = contract_object_for(c, "people/a.csv");
	CHECK(o != NULL);
	CHECK(contract_object_for(c, "other/a.csv") == NULL);
	CHECK_INT(o->column_count, 5);
	const struct contract_column *email = contract_column_find(o, "email", 5);
	CHECK(email && email->type == TYPE_STRING && email->tag_count == 2);
	CHECK_STR(email->tags[1], "hipaa:F");
	CHECK_STR(email->classification, "restricted");
	CHECK(contract_column_find(o, "address.zip", 11) != NULL);
	CHECK(contract_column_find(o, "orders.sku", 10) != NULL);
	const char *const *list;
	size_t n;
	CHECK(contract_allowed_purposes(c, &list, &n) && n == 2);
	CHECK_INT(contract_team(c, &list), 2);
	CHECK_STR(list[0], "shop");
	CHECK_OK(contract_validate(c, &e), &e);
	contract_unref(c);
}

TEST(one_object_claims_all_tabular_files)
{
	struct err e = ERR_INIT;
	struct contract *c = parsed(HEAD "schema: [{name: t, properties: [{name: a}]}]\n", &e);
	if (!c)
		CHECK_FAIL("%s", e.text);
	CHECK(contract_object_for(c, "x/y.csv.gz") != NULL);
	CHECK(contract_object_for(c, "x.parquet") != NULL);
	CHECK(contract_object_for(c, "LICENSE") == NULL);
	CHECK(contract_object_for(c, ".csv") == NULL);
	contract_unref(c);
}

static void refused(const char *text, const char *position, const char *words)
{
	struct err e = ERR_INIT;
	struct contract *c = parsed(text, &e);
	if (c && contract_validate(c, &e) == 0) {
		contract_unref(c);
		CHECK_FAIL("accepted: %s", text);
	}
	contract_unref(c);
	if (strncmp(e.text, position, strlen(position)) != 0 || !strstr(e.text, words))
		CHECK_FAIL("error is \"%s\", expected %s … %s", e.text, position, words);
	CHECK_INT(e.kind, ERR_PARSE);
}

TEST(refusals_have_positions)
{
	refused("kind: DataContract\napiVersion: v3.1.0\nid: x\nstatus: active\n", "contract.yaml:1:1", "must have 'version'");
	refused(HEAD "schema:\n- name: t\n  properties:\n  - name: a\n    logicalType: strin\n", "contract.yaml:10:18", "did you mean 'string'");
	refused(HEAD "schema:\n- name: t\n  properties:\n  - name: a\n    clasification: secret\n", "contract.yaml:10:5", "did you mean 'classification'");
	refused(HEAD "schema:\n- name: t\n  properties:\n  - name: a\n  - name: a\n", "contract.yaml:10:5", "described twice");
	refused(HEAD "schema:\n- name: t\n  properties:\n  - name: a\n    logicalType: integer\n    logicalTypeOptions: {minLength: 3}\n",
		"contract.yaml:11:26", "no 'minLength'");
	refused(HEAD "schema:\n- name: t\n  quality:\n  - metric: rowCount\n", "contract.yaml:9:5", "must have an operator");
	refused(HEAD "servers: [{server: a, type: local, path: x}]\n", "contract.yaml:6:11", "must have 'format'");
	refused("kind: DataContract\napiVersion: v3.1.0\nid: x\nversion: 1.0\nstatus: active\n", "contract.yaml:4:10", "put it in quotes");
	refused("kind: Data\n", "contract.yaml:1:7", "must be DataContract");
	refused("- a\n", "contract.yaml:1:", "not a data contract");
}

static void one_broken(char *words, const char *yaml, size_t len)
{
	int line = (int)strtol(words, &words, 10);
	struct err e = ERR_INIT;
	struct contract *c = NULL;
	int r = contract_parse("t.yaml", yaml, len, &c, &e);
	if (!r)
		r = contract_validate(c, &e);
	contract_unref(c);
	char position[32];
	snprintf(position, sizeof position, "t.yaml:%d:", line);
	if (!r)
		CHECK_FAIL("accepted, expected line %d%s:\n%s", line, words, yaml);
	if (strncmp(e.text, position, strlen(position)) != 0 || !strstr(e.text, words + (*words == ' ')))
		CHECK_FAIL("error is \"%s\", expected line %d%s", e.text, line, words);
}

/* test/data/contracts/broken.txt: at least 60 variants, each refused at its line, in its words. */
TEST(a_column_described_twice_among_very_many)
{
	struct buf b = BUF_INIT;
	struct contract *c = NULL;
	struct err e = ERR_INIT;
	buf_adds(&b, HEAD "schema:\n- name: t\n  properties:\n");
	for (int i = 0; i < 5000; i++)
		buf_addf(&b, "  - {name: c%d}\n", i == 4999 ? 2500 : i);
	CHECK_INT(contract_parse("contract.yaml", buf_text(&b), b.len, &c, &e), -EINVAL);
	CHECK(strstr(e.text, "'c2500' is described twice"));
	buf_free(&b);
}

TEST(broken_contracts)
{
	struct err e = ERR_INIT;
	struct buf all = BUF_INIT;
	CHECK_OK(io_read_file("test/data/contracts/broken.txt", 1 << 20, &all, &e), &e);
	int count = 0;
	char *at = strstr(all.data, "\n--- ");
	while (at && !check_failed) {
		char *words = at + 5, *yaml = strchr(words, '\n');
		*yaml++ = '\0';
		char *next = strstr(yaml, "\n--- ");
		char *end = next ? next + 1 : all.data + all.len;
		char *copy = strndup(yaml, (size_t)(end - yaml));
		one_broken(words, copy, strlen(copy));
		free(copy);
		count++;
		at = next;
	}
	buf_free(&all);
	CHECK(check_failed || count >= 60);
}

CHECK_MAIN()
