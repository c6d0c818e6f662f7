#include "test/unit/check.h"

#include "catalog/compat.h"

#define HEAD "kind: DataContract\napiVersion: v3.1.0\nid: a\nversion: 1.0.0\nstatus: active\nschema:\n- name: t\n  properties:\n"

static struct contract *parsed(const char *tail)
{
	struct err e = ERR_INIT;
	struct buf text = BUF_INIT;
	struct contract *c = NULL;
	buf_addf(&text, "%s%s", HEAD, tail);
	if (contract_parse("c.yaml", text.data, text.len, &c, &e))
		printf("%s\n", e.text);
	buf_free(&text);
	return c;
}

static void step(const char *before, const char *after, enum version_step expected, const char *words)
{
	struct contract *a = parsed(before), *b = parsed(after);
	struct buf changes = BUF_INIT;
	enum version_step s = compat_compare(a, b, &changes);
	contract_unref(a);
	contract_unref(b);
	if (s != expected || strcmp(buf_text(&changes), words) != 0)
		CHECK_FAIL("%s → %s: %s, \"%s\"", before, after, compat_step_name(s), buf_text(&changes));
	buf_free(&changes);
}

TEST(least_steps)
{
	static const char base[] = "  - {name: a, logicalType: integer}\n  - {name: b, required: true}\n";
	step(base, base, STEP_PATCH, "");
	step(base, "  - {name: a, logicalType: integer}\n", STEP_MAJOR, "t.b removed (major)\n");
	step(base, "  - {name: a, logicalType: string}\n  - {name: b, required: true}\n", STEP_MAJOR, "t.a is string, was integer (major)\n");
	step(base, "  - {name: a, logicalType: integer}\n  - {name: b, required: true}\n  - {name: c}\n", STEP_MINOR, "t.c added (minor)\n");
	step(base, "  - {name: a, logicalType: integer}\n  - {name: b}\n", STEP_MAJOR, "t.b is no longer required (major)\n");
	step("  - {name: a, logicalType: array, items: {logicalType: string}}\n", "  - {name: a, logicalType: array, items: {logicalType: integer}}\n", STEP_MAJOR,
	     "t.a holds items of integer, were string (major)\n");
	step("  - {name: a}\n", "  - {name: a, logicalType: integer, tags: [pii]}\n", STEP_PATCH, "");
}

TEST(steps_of_numbers)
{
	struct semver a = { 1, 2, 3 }, b = { 2, 0, 0 }, c = { 1, 3, 0 }, d = { 1, 2, 4 };
	CHECK_INT(compat_step(&a, &b), STEP_MAJOR);
	CHECK_INT(compat_step(&a, &c), STEP_MINOR);
	CHECK_INT(compat_step(&a, &d), STEP_PATCH);
}

CHECK_MAIN()
