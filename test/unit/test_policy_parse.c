/* What the language accepts, and the words and the place with which it refuses. */
#include "test/unit/policy_fixture.h"

#define H "policy m scope mesh version 1\n"
#define D "policy m scope domain sales version 1\n"

static const char *load_one(const char *text, size_t len)
{
	struct policy_source s = { "f", text, len, NULL };
	struct policy *p = NULL;
	fixture_error = (struct err)ERR_INIT;
	policy_load(NULL, &s, 1, &p, &fixture_error);
	policy_unref(p);
	return fixture_error.text;
}

/* -- refused ---------------------------------------------------------------------------------- */

static const struct {
	const char *text, *said;
} broken[] = {
	/* the header */
	{ "", "f:1:1: the file is empty: 'policy NAME scope mesh version 1' is expected" },
	{ "# only a comment\n\n", "f:1:1: the file is empty: 'policy NAME scope mesh version 1' is expected" },
	{ "\n\n  policy m scope mesh version 1\n", "f:3:3: a policy file starts with 'policy NAME scope mesh version 1' in column 1" },
	{ "deny all\n", "f:1:1: a policy file starts with 'policy NAME scope mesh version 1' in column 1" },
	{ "policy\n", "f:1:7: the policy's name is missing here" },
	{ "policy \"a b\" scope mesh version 1\n", "f:1:8: 'a b' cannot be the name of a policy: letters, digits, '.', '_', '-', at most 63" },
	{ "policy a/b scope mesh version 1\n", "f:1:8: 'a/b' cannot be the name of a policy: letters, digits, '.', '_', '-', at most 63" },
	{ "policy m\n", "f:1:9: 'scope mesh' or 'scope domain NAME' is missing here" },
	{ "policy m version 1\n", "f:1:10: 'version' stands where 'scope mesh' or 'scope domain NAME' is expected" },
	{ "policy m scope\n", "f:1:15: 'mesh' or 'domain NAME' is missing here" },
	{ "policy m scope mash version 1\n", "f:1:16: 'mash' is no scope; did you mean 'mesh'?" },
	{ "policy m scope global version 1\n", "f:1:16: 'global' is no scope; there are: mesh, domain" },
	{ "policy m scope domain\n", "f:1:22: the domain's name is missing here" },
	{ "policy m scope domain Sales version 1\n", "f:1:23: 'Sales' cannot name a domain: use a-z, 0-9 and, after the first character, '.', '_', '-'" },
	{ "policy m scope mesh\n", "f:1:20: 'version N' is missing here" },
	{ "policy m scope mesh version\n", "f:1:28: a number is missing here" },
	{ "policy m scope mesh version one\n", "f:1:29: 'one' is no version: a number is expected" },
	{ "policy m scope mesh version 1 2\n", "f:1:31: '2' stands where the end of the line is expected" },
	{ H "policy n scope mesh version 1\n", "f:2:1: a file holds one policy" },
	/* blocks */
	{ H "dney all\n", "f:2:1: 'dney' is no block; did you mean 'deny'?" },
	{ H "forbid all\n", "f:2:1: 'forbid' is no block; there are: permit, deny, hide, filter, drop, mask, require, exempt, test" },
	{ H "\"deny\" all\n", "f:2:1: a block is expected here, and its word stands without quotes" },
	{ H "  when user == x\n", "f:2:3: a clause without a block: blocks start in column 1" },
	{ H "deny d\nwhen user == x\n", "f:3:1: 'when' is a clause: indent it under its block" },
	{ H "deny\n", "f:2:5: the rule's name is missing here" },
	{ H "deny a b\n", "f:2:8: 'b' stands where the end of the line is expected" },
	{ H "deny \"no ads\"\n", "f:2:6: 'no ads' cannot be the name of a rule: letters, digits, '.', '_', '-', at most 63" },
	{ H "deny d\nhide h\n\ndeny d\n", "f:5:6: there is a rule 'd' already, in line 2" },
	{ H "permit p\n", "f:2:1: 'permit' stands only in files of a domain (scope domain NAME): the mesh's rules only take away" },
	{ D "exempt x from r until 2027-01-01\n", "f:2:1: 'exempt' stands only in files of the mesh (scope mesh)" },
	{ D "permit p to read\n", "f:2:13: 'read' stands where 'publish' is expected" },
	{ D "deny d to publish\n", "f:2:8: 'to' stands where the end of the line is expected" },
	/* clauses */
	{ H "deny d\n  wehn user == x\n", "f:3:3: 'wehn' is no clause; did you mean 'when'?" },
	{ H "deny d\n  rows row.a == 1\n", "f:3:3: 'rows' has no place in a 'deny'" },
	{ H "deny d\n  with null\n", "f:3:3: 'with' has no place in a 'deny'" },
	{ H "filter f\n  columns all\n", "f:3:3: 'columns' has no place in a 'filter'" },
	{ H "deny d\n  reason \"a\"\n  reason \"b\"\n", "f:4:3: 'reason' stands here twice" },
	{ H "filter f\n  rows row.a == 1\n  rows row.b == 1\n", "f:4:3: 'rows' stands here twice" },
	{ H "mask k\n  columns all\n  with null\n  with drop\n", "f:5:3: 'with' stands here twice" },
	{ H "filter f\n  when user == x\n", "f:2:1: filter 'f' needs a 'rows'" },
	{ H "drop d\n", "f:2:1: drop 'd' needs a 'columns'" },
	{ H "mask k\n  columns all\n", "f:2:1: mask 'k' needs a 'with'" },
	{ H "mask k\n  with null\ndeny e\n", "f:2:1: mask 'k' needs a 'columns'" },
	{ H "require r\n", "f:2:1: require 'r' needs a 'have'" },
	{ H "exempt x until 2027-01-01\n", "f:2:1: exempt 'x' needs a 'from'" },
	{ H "deny d\nexempt x from d\n", "f:3:1: exempt 'x' needs a 'until'" },
	/* files */
	{ H "deny d\n  files\n", "f:3:8: a glob of addresses (like sales/**) is missing here" },
	{ H "deny d\n  files sales\n", "f:3:9: 'sales' matches no file (an address is domain/product/version/path); did you mean 'sales/**'?" },
	{ H "deny d\n  files sales/**, sales/orders\n", "f:3:19: 'sales/orders' matches no file (an address is domain/product/version/path); did you mean 'sales/orders/**'?" },
	{ H "deny d\n  files sales/**,\n", "f:3:18: a glob of addresses (like sales/**) is missing here" },
	{ H "deny d\n  files **/a**b**/**/**/**/**/**\n", "f:3:9: a glob may have at most 6 '**'" },
	/* columns */
	{ H "drop d\n  columns\n", "f:3:10: named, tagged, classified, unclassified or all is missing here" },
	{ H "drop d\n  columns taged pii\n", "f:3:11: 'taged' is no way to choose columns; did you mean 'tagged'?" },
	{ H "drop d\n  columns tagged\n", "f:3:17: a tag is missing here" },
	{ H "drop d\n  columns named a,\n", "f:3:19: a column's name is missing here" },
	{ H "drop d\n  columns named a b\n", "f:3:19: 'b' stands where the end of the line is expected" },
	{ H "drop d\n  columns all a\n", "f:3:15: 'a' stands where the end of the line is expected" },
	/* masks */
	{ H "mask k\n  columns all\n  with\n", "f:4:7: a mask is missing here" },
	{ H "mask k\n  columns all\n  with redcat\n", "f:4:8: 'redcat' is no mask; did you mean 'redact'?" },
	{ H "mask k\n  columns all\n  with keep\n", "f:4:8: 'keep' is no mask; there are: drop, null, redact, hmac, year, month, zip3, round, top, scrub, partial" },
	{ H "mask k\n  columns all\n  with redact keep size\n", "f:4:20: 'size' stands where 'length' is expected" },
	{ H "mask k\n  columns all\n  with hmac\n", "f:4:12: 'key NAME' is missing here" },
	{ H "mask k\n  columns all\n  with hmac k1\n", "f:4:13: 'k1' stands where 'key NAME' is expected" },
	{ H "mask k\n  columns all\n  with hmac key\n", "f:4:16: the key's name is missing here" },
	{ H "mask k\n  columns all\n  with hmac key a/b\n", "f:4:17: 'a/b' cannot be the name of a key: letters, digits, '.', '_', '-', at most 63" },
	{ H "mask k\n  columns all\n  with round 0\n", "f:4:14: '0' is out of range" },
	{ H "mask k\n  columns all\n  with round -5\n", "f:4:14: '-5' is out of range" },
	{ H "mask k\n  columns all\n  with round ten\n", "f:4:14: 'ten' stands where a number above 0 is expected" },
	{ H "mask k\n  columns all\n  with top\n", "f:4:11: a number is missing here" },
	{ H "mask k\n  columns all\n  with partial 2\n", "f:4:16: '2' stands where 'first N' or 'last N' is expected" },
	{ H "mask k\n  columns all\n  with partial first 1.5\n", "f:4:22: '1.5' is not a whole number" },
	{ H "mask k\n  columns all\n  with scrub EMAIL\n", "f:4:14: 'EMAIL' is no entity that can be found; there are: EMAIL_ADDRESS, PHONE_NUMBER, US_SSN, CREDIT_CARD, IBAN_CODE, IP_ADDRESS, URL" },
	{ H "mask k\n  columns all\n  with scrub URL,\n", "f:4:18: an entity is missing here" },
	{ H "mask k\n  columns all\n  with year 5\n", "f:4:13: '5' stands where the end of the line is expected" },
	/* have, reason, until, from */
	{ H "require r\n  have\n", "f:3:7: an attribute of the session (like run) is missing here" },
	{ H "require r\n  have purpse\n", "f:3:8: 'purpse' is no attribute of a session; did you mean 'purpose'?" },
	{ H "require r\n  have product.name\n", "f:3:8: 'product.name' is no attribute of a session; there are: user, uid, group, purpose, run, host" },
	{ H "deny d\n  reason because\n", "f:3:10: 'because' stands where a text in quotes is expected" },
	{ H "deny d\nexempt x from d until tomorrow\n", "f:3:23: 'tomorrow' stands where a date (like 2027-06-30) is expected" },
	{ H "deny d\nexempt x from d until 2027-02-30\n", "f:3:23: '2027-02-30' stands where a date (like 2027-06-30) is expected" },
	{ H "deny d\nexempt x from d until 1969-12-31\n", "f:3:23: the date is out of range (1970 to 2261)" },
	{ H "deny d\nexempt x from d until 9999-12-31\n", "f:3:23: the date is out of range (1970 to 2261)" },
	{ H "deny low\nexempt x from lwo until 2027-01-01\n", "f:3:1: exempt 'x': the mesh has no rule 'lwo'; did you mean 'low'?" },
	{ H "exempt x from m/d until 2027-01-01\n", "f:2:1: exempt 'x': the mesh has no rule 'm/d'" },
	/* conditions */
	{ H "deny d\n  when\n", "f:3:7: an attribute or column is missing here" },
	{ H "deny d\n  when purpos == x\n", "f:3:8: there is no attribute 'purpos'; did you mean 'purpose'?" },
	{ H "deny d\n  when product.qality.score > 1\n", "f:3:8: there is no attribute 'product.qality.score'; did you mean 'product.quality.score'?" },
	{ H "deny d\n  when user = x\n", "f:3:13: '=' is not a comparison; write '=='" },
	{ H "deny d\n  when user ! x\n", "f:3:13: '!' must be followed by '=' (or write 'not')" },
	{ H "deny d\n  when user\n", "f:3:12: a comparison (==, in, is null …) is missing here" },
	{ H "deny d\n  when user ==\n", "f:3:15: a value is missing here" },
	{ H "deny d\n  when user == a b\n", "f:3:18: 'b' stands where 'and', 'or' or the end of the line is expected" },
	{ H "deny d\n  when user == a and\n", "f:3:21: an attribute or column is missing here" },
	{ H "deny d\n  when (user == a\n", "f:3:18: ')' is missing here" },
	{ H "deny d\n  when user == a)\n", "f:3:17: ')' stands where 'and', 'or' or the end of the line is expected" },
	{ H "deny d\n  when user in a\n", "f:3:16: 'in' wants a set: {a, b}, or an attribute that has several values" },
	{ H "deny d\n  when user in {}\n", "f:3:17: the set is empty: nothing is in it" },
	{ H "deny d\n  when user in {a b}\n", "f:3:19: 'b' stands where ',' or '}' is expected" },
	{ H "deny d\n  when user in {a, group}\n", "f:3:20: 'group' is an attribute, and a set holds plain values; quote it to mean the text" },
	{ H "deny d\n  when user is nil\n", "f:3:16: 'nil' stands where 'null' is expected" },
	{ H "deny d\n  when user not a\n", "f:3:17: 'a' stands where 'in' or 'like' is expected" },
	{ H "deny d\n  when uid like \"1*\"\n", "f:3:8: 'like' can be asked of text only" },
	{ H "deny d\n  when uid == root\n", "f:3:15: 'uid' is a number, and is compared with text" },
	{ H "deny d\n  when now > yesterday\n", "f:3:14: 'now' is a date, and is compared with text" },
	{ H "deny d\n  when now > 2026-02-30\n", "f:3:14: '2026-02-30' is not a date" },
	{ H "deny d\n  when user == uid\n", "f:3:16: 'user' is text, and is compared with a number" },
	{ H "deny d\n  when group < a\n", "f:3:8: only ==, !=, in and like can be asked of 'group'" },
	{ H "deny d\n  when product.version >= 2\n", "f:3:8: only ==, !=, in and like can be asked of 'product.version'" },
	{ H "deny d\n  when row.age > 1\n", "f:3:8: 'row.age': columns are known only in the 'rows' of a filter" },
	{ H "deny d\n  when yes\n", "f:3:8: 'yes' is neither an attribute nor a comparison" },
	{ H "filter f\n  rows now > 2026-01-01\n", "f:3:8: 'now' stands only in 'when' and 'unless': a view must not change with the time" },
	{ H "filter f\n  rows product.age_days > 3\n", "f:3:8: 'product.age_days' stands only in 'when' and 'unless': a view must not change with the time" },
	{ H "filter f\n  rows row. == 1\n", "f:3:8: 'row.' wants a column's name" },
	{ H "filter f\n  rows age > 1\n", "f:3:8: there is no attribute 'age'; a column is written row.age" },
	/* text */
	{ H "deny d\n  reason \"open\n", "f:3:10: the string is not closed" },
	{ H "deny d\n  reason \"a\\n\"\n", "f:3:12: only \\\" and \\\\ may follow a backslash here" },
	{ H "deny d\n  when user == a; b\n", "f:3:17: this character means nothing here; text that holds it stands in quotes" },
	{ H "deny d\n  reason \"caf\xe9\"\n", "f:3:14: this is not text (UTF-8)" },
	{ H "deny \xc0\xaf\n", "f:2:6: this is not text (UTF-8)" },
	{ H "deny d\r\n\twehn user == x\r\n", "f:3:2: 'wehn' is no clause; did you mean 'when'?" },
	{ "\xef\xbb\xbfpolicy m scope mesh\n", "f:1:20: 'version N' is missing here" },
	/* tests */
	{ H "test t\n  as user a\n  expect deny\n", "f:2:1: test 't' needs a 'read'" },
	{ H "test t\n  read a/b/1.0.0/c\n  expect deny\n", "f:2:1: test 't' needs an 'as'" },
	{ H "test t\n  as user a\n  read a/b/1.0.0/c\n", "f:2:1: test 't' needs an 'expect'" },
	{ H "test t\n  as user a\n  read a/b/1.0.0/c\n  read a/b/1.0.0/d\n", "f:5:3: a test reads one address" },
	{ H "test t\n  expect deny\n  expect deny\n", "f:4:3: a test expects one thing" },
	{ H "test t\n  expect alow\n", "f:3:10: 'alow' is no outcome; did you mean 'allow'?" },
	{ H "test t\n  expect view email=hash\n", "f:3:21: 'hash' is no mask; there are: drop, null, redact, hmac, year, month, zip3, round, top, scrub, partial, keep" },
	{ H "test t\n  expect view rows 6 of 5\n", "f:3:25: more rows are shown than there are" },
	{ H "test t\n  expect deny rows 1 of 5\n", "f:3:15: nothing is read under 'deny': no columns and rows can be expected" },
	{ H "test t\n  gvien permit sales/**\n", "f:3:3: 'gvien' is no clause of a test; did you mean 'given'?" },
	{ H "test t\n  given qualty x\n", "f:3:9: 'qualty' is no fact that a test can give; did you mean 'quality'?" },
	{ H "test t\n  as usr ana\n", "f:3:6: 'usr' is no attribute of a session; did you mean 'user'?" },
	{ H "test t\n  as user a\n  read a/b/1.0.0/c\n  expect deny\ntest t\n", "f:6:6: there is a test 't' already, in line 2" },
};

TEST(every_refusal_has_its_place_and_words)
{
	size_t count = sizeof broken / sizeof *broken;
	CHECK(count >= 80);
	for (size_t i = 0; i < count; i++) {
		const char *said = load_one(broken[i].text, strlen(broken[i].text)), *want = broken[i].said;
		if (strcmp(said, want) != 0) {
			printf("%zu: %s\n   said: %s\n   want: %s\n", i, broken[i].text, said, want);
			check_failed = 1;
		} else if (fixture_error.kind != ERR_PARSE) {
			CHECK_FAIL("%s: not a fault of the file", said);
		}
	}
}

TEST(limits)
{
	char *text = malloc(6u << 20);
	CHECK(text);
	/* A file that is too long, a NUL byte, a line with too many words, a condition nested too deeply, too long a name. */
	memset(text, '#', 6u << 20);
	CHECK_STR(load_one(text, 5u << 20), "f:1:1: a policy file may have at most 4194304 bytes");
	CHECK_STR(load_one(H "deny d\0\n", sizeof H + 7), "f:2:7: this is not text (UTF-8)");
	size_t n = (size_t)sprintf(text, H "drop d\n  columns named a");
	for (int i = 0; i < 5000; i++)
		n += (size_t)sprintf(text + n, ", a%d", i);
	CHECK(strstr(load_one(text, n), ": the line is too long"));
	n = (size_t)sprintf(text, H "deny d\n  when ");
	for (int i = 0; i < 100; i++)
		text[n++] = '(';
	n += (size_t)sprintf(text + n, "user == a");
	for (int i = 0; i < 100; i++)
		text[n++] = ')';
	CHECK_STR(load_one(text, n), "f:3:72: conditions may be nested 64 deep");
	n = (size_t)sprintf(text, H "deny ");
	memset(text + n, 'a', 64);
	CHECK(strstr(load_one(text, n + 64), "at most 63"));
	CHECK_STR(load_one(text, n + 63), "");
	free(text);
}

/* -- accepted ------------------------------------------------------------------------------------ */

TEST(every_construct_of_the_language_loads)
{
	static const char *const good[] = {
		H, "# first\n\npolicy m scope mesh version 1.2 # last\n", "\xef\xbb\xbf" H, "policy m scope mesh version 1",
		H "deny d", H "deny d\r\n\twhen\tuser == a\r\n", H "\n\n\n# x\ndeny d\n\n  # inside\n\n  when user == a\n",
		H "deny d\n  when user == a   # why\n  reason \"# no comment, \\\"quoted\\\", a \\\\ and caf\xc3\xa9\"\n",
		D "permit all", D "permit p\n  files sales/**\n  when purpose in product.allowed_purposes\n",
		D "permit team to publish\n  when group == product.team\n",
		D "deny d\nhide h\nfilter f\n  rows row.a == 1\ndrop x\n  columns all\nmask k\n  columns all\n  with null\nrequire r\n  have run\n",
		D "deny d\n  files health/**\n", /* matches nothing, and harms nobody */
		H "deny d\n  files **\n", H "deny d\n  files sales/**, health/*/1.?.0/*.csv, */orders/**\n  files ops/**/x\n", H "deny d\n  files \"sales/a b/**\"\n",
		H "deny d\n  when user == a\n  when group == b\n  unless purpose == c\n  unless run is null\n",
		H "drop d\n  columns named a, \"b c\", address.zip\n", H "drop d\n  columns tagged pii, hipaa:A\n", H "drop d\n  columns classified restricted, secret\n",
		H "drop d\n  columns unclassified\n", H "drop d\n  columns all\n", H "drop d\n  columns named a\n  columns tagged b\n  columns unclassified\n",
		H "mask k\n  columns all\n  with drop\n", H "mask k\n  columns all\n  with null\n", H "mask k\n  columns all\n  with redact\n",
		H "mask k\n  columns all\n  with redact keep length\n", H "mask k\n  columns all\n  with hmac key train-1\n", H "mask k\n  columns all\n  with year\n",
		H "mask k\n  columns all\n  with month\n", H "mask k\n  columns all\n  with zip3\n", H "mask k\n  columns all\n  with round 0.5\n",
		H "mask k\n  columns all\n  with top 90\n", H "mask k\n  columns all\n  with top -1\n", H "mask k\n  columns all\n  with partial first 3\n",
		H "mask k\n  columns all\n  with partial last 4\n", H "mask k\n  columns all\n  with scrub\n",
		H "mask k\n  columns all\n  with scrub EMAIL_ADDRESS PHONE_NUMBER, US_SSN CREDIT_CARD IBAN_CODE IP_ADDRESS URL\n",
		H "require r\n  have run\n", H "require r\n  have purpose, run and group\n  when user != root\n",
		H "deny d\nhide h\nexempt x from d until 2027-06-30\n  when group == audit\n", H "deny d\nhide h\nexempt x from d, m/h until 2027-06-30T12:00:00Z\n",
		H "deny d\nexempt x\n  from d\n  until 2027-06-30\n  files sales/**\n  unless user == b\n  reason \"audit\"\n",
		H "filter f\n  rows row.age >= 18 and (row.consent == \"yes\" or not row.minor) and row.\"first name\" is not null\n",
		H "filter f\n  rows row.owner == user or group == admins or row.region in {eu, \"us east\"}\n", H "filter f\n  rows true\n", H "filter f\n  rows row.ok\n",
		H "filter f\n  rows row.a < 1 and row.b <= -1.5e3 and row.c > 2026-01-01 and row.d >= 2026-01-01T10:00:00Z and row.e != x\n",
		H "filter f\n  rows row.a not in {1, 2} and row.b like \"a*\" and row.c not like \"?\" and row.d is null and true != row.e\n",
		H "deny d\n  when user == \"user\" and \"purpose\" != purpose and x == run\n",
		H "deny d\n  when uid >= 1000 and uid in {0, 1} and host like \"gpu-*\" and run is not null and now < 2027-01-01\n",
		H "deny d\n  when product.domain == a and product.name != b and product.version in {1.0.0, 1.1.0} and product.status in {draft}\n",
		H "deny d\n  when group == product.team and user in product.team and product.tags == gold and purpose not in product.allowed_purposes\n",
		H "deny d\n  when product.age_days > 30 or product.quality.score < 0.9 or product.quality.failed_errors > 0 or product.quality.failed_warnings >= 5\n",
		H "deny d\n  when file.path like \"raw/*\" and file.format in {csv, csv.gz} and file.size > 1e9\n", H "deny d\n  when not (user == a or not group == b)\n",
		H "test t\n  given permit sales/**\n  given quality sales/a/1.0.0 failed_errors 1 failed_warnings 2 score 0.5\n  given quality sales/b missing\n"
		  "  given columns a, b type integer classified public tagged x, y\n  given status draft\n  given tags gold\n  given team owners\n"
		  "  given allowed_purposes research, training\n  given age_days 3\n  given now 2026-01-01\n  given document\n"
		  "  as user a uid 5 group x, y purpose p run r host h\n  read sales/a/1.0.0/a.csv\n  expect view a=hmac b==\"partial first 2\" rows 1 of 5 by m/d, e\n",
	};
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		const char *said = load_one(good[i], strlen(good[i]));
		if (*said) {
			printf("%zu: %s\n   said: %s\n", i, good[i], said);
			check_failed = 1;
		}
	}
}

TEST(files_together)
{
	struct policy *p = LOAD(H, "policy m scope mesh version 2\n");
	CHECK(!p);
	CHECK_STR(load_error(), "b.policy:1:1: policy 'm' stands in a.policy already");
	p = LOAD(H, D, "policy m scope domain health version 2\n"); /* the same name elsewhere is another policy */
	CHECK_STR(load_error(), "");
	policy_unref(p);
	p = LOAD(H "deny d\n", "policy n scope mesh version 1\ndeny d\n", "policy o scope mesh version 1\nexempt x from d until 2027-01-01\n");
	CHECK(!p);
	CHECK_STR(load_error(), "c.policy:2:1: exempt 'x': two rules are called 'd': m/d and n/d; name one in full");
	p = LOAD(D "deny d\n", "policy o scope mesh version 1\nexempt x from d until 2027-01-01\n");
	CHECK(!p);
	CHECK_STR(load_error(), "b.policy:2:1: exempt 'x': the mesh has no rule 'd'"); /* a domain's rule is the domain's */
}

CHECK_MAIN()
