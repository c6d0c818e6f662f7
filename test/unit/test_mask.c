#include "policy/mask.h"
#include "policy/scrub.h"
#include "test/unit/check.h"
#include "test/view_case.h"

static void gives(const char *mask, const char *text, const char *want)
{
	struct mask m;
	struct mask_run run;
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	struct view_keys keys = { view_case_key, NULL };
	char words[200];
	snprintf(words, sizeof words, "%s", mask);
	CHECK(view_case_mask(words, &m) == 0);
	CHECK_OK(mask_prepare(&m, &keys, &run, &e), &e);
	bool some = mask_value(&run, text, strlen(text), &out);
	mask_fini(&run);
	if (some != (want != NULL) || (want && strcmp(buf_text(&out), want) != 0)) {
		printf("%s of '%s': '%s', expected '%s'\n", mask, text, some ? buf_text(&out) : "(null)", want ? want : "(null)");
		check_failed = 1;
	}
	buf_free(&out);
}

TEST(numbers)
{
	gives("round 5", "12.4", "10");
	gives("round 5", "12.5", "15");
	gives("round 5", "-12.5", "-15");
	gives("round 5", "-1", "0");
	gives("round 0.1", "1.25", "1.3");
	gives("round 0.1", " 7 ", "7");
	gives("round 10", "1e3", "1000");
	gives("round 10", "99999999999999999999999999999", "100000000000000000000000000000");
	gives("round 5", "x", NULL);
	gives("round 5", "1e9999", NULL);
	gives("round 5", "", NULL);
	gives("round 5", "0x10", NULL);
	gives("round 5", "nan", NULL);
	gives("top 89", "90", "89");
	gives("top 89", "89.0", "89.0");
	gives("top 89", "89.0000000000000000001", "89");
	gives("top 89", "-100", "-100");
	gives("top -5", "-4", "-5");
	gives("top -5", "-6", "-6");
}

TEST(dates)
{
	gives("year", "2024-05-17", "2024-01-01");
	gives("month", "2024-05-17", "2024-05-01");
	gives("year", "2024-05-17T10:11:12.345+02:00", "2024-01-01T00:00:00.000+02:00");
	gives("month", "2024-05-17 10:11:12Z", "2024-05-01 00:00:00Z");
	gives("year", "2024-13-01", NULL);
	gives("year", "2023-02-29", NULL);
	gives("year", "17.05.2024", NULL);
	gives("year", "2024", NULL);
}

TEST(areas)
{
	gives("zip3", "90210", "902");
	gives("zip3", "90210-1234", "902");
	gives("zip3", "03601", "000");
	gives("zip3", "893011234", "000");
	gives("zip3", "2139", NULL); /* may have been 02139 */
	gives("zip3", "SW1A 1AA", NULL);
	CHECK(mask_zip3_is_small("036") && mask_zip3_is_small("893") && !mask_zip3_is_small("100"));
}

TEST(texts)
{
	gives("redact", "x", "REDACTED");
	gives("redact keep length", "h\xC3\xA9", "**");
	gives("redact keep length", "\xE9\xE9\xE9", "***"); /* not UTF-8: bytes */
	gives("partial first 2", "abcd", "ab**");
	gives("partial last 4", "1234", "****");
	gives("partial last 1", "h\xC3\xA9", "*\xC3\xA9");
	gives("partial first 0", "ab", "**");
	gives("null", "x", NULL);
	gives("drop", "x", NULL);
}

TEST(hmac_is_the_standard_one)
{
	struct digest key, d;
	char hex[65];
	sha256_of("k1", 2, &key);
	hmac_sha256_of(key.bytes, 32, "ana@x.example", 13, &d);
	hex_format(d.bytes, 16, hex);
	gives("hmac k1", "ana@x.example", hex);
	struct hmac_key *k = hmac_key_new("a key of more than sixty-four bytes, which is hashed before it is used as one", 77);
	struct digest want;
	hmac_sha256_of("a key of more than sixty-four bytes, which is hashed before it is used as one", 77, "", 0, &want);
	hmac_key_sign(k, "", 0, &d);
	hmac_key_free(k);
	CHECK(digest_equal(&d, &want));
}

TEST(a_key_that_is_not_the_policy_s_is_refused)
{
	struct mask m = { .kind = MASK_HMAC };
	struct mask_run run;
	struct err e = ERR_INIT;
	struct view_keys keys = { view_case_key, NULL };
	view_case_key_name(&m, "k1");
	m.key_fingerprint[0] ^= 1;
	CHECK_INT(mask_prepare(&m, &keys, &run, &e), -EACCES);
	CHECK_INT(mask_prepare(&m, NULL, &run, &e), -EACCES);
}

static void scrubbed(const char *text, const char *want)
{
	struct buf out = BUF_INIT;
	scrub_text(SCRUB_ALL, text, strlen(text), &out);
	if (strcmp(buf_text(&out), want) != 0) {
		printf("'%s' gives '%s', expected '%s'\n", text, buf_text(&out), want);
		check_failed = 1;
	}
	buf_free(&out);
}

TEST(scrub)
{
	scrubbed("", "");
	scrubbed("write to ana.b+c@mail.example.org, please", "write to <EMAIL_ADDRESS>, please");
	scrubbed("(ana@x.example)", "(<EMAIL_ADDRESS>)");
	scrubbed("a @ b, x@y, @home", "a @ b, x@y, @home");
	scrubbed("see https://x.example/a?b=c. Or www.x.example!", "see <URL>. Or <URL>!");
	scrubbed("from 192.168.0.1 or 999.1.1.1", "from <IP_ADDRESS> or 999.1.1.1");
	scrubbed("2001:db8::1 and ::1 at 10:11:12", "<IP_ADDRESS> and <IP_ADDRESS> at 10:11:12");
	scrubbed("ssn 536-90-4399 or 536904399", "ssn <US_SSN> or <US_SSN>");
	scrubbed("card 4111 1111 1111 1111.", "card <CREDIT_CARD>.");
	/* What follows is another number. */
	scrubbed("4111 1111 1111 1111 12/27, 4111111111111111 2027 or 4111-1111-1111-1111 123456", "<CREDIT_CARD> 12/27, <CREDIT_CARD> 2027 or <CREDIT_CARD> 123456");
	scrubbed("212-555-0100 2024-05-17 10:22", "<PHONE_NUMBER>-05-17 10:22");
	scrubbed("4111\u00a01111\u00a01111\u00a01111 and 536\u201190\u20114399 and +49\u202f30\u202f123456", "<CREDIT_CARD> and <US_SSN> and <PHONE_NUMBER>");
	scrubbed("DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000", "<IBAN_CODE>");
	scrubbed("\"ana b\"@mail.example or ana@my_host.example, \"quoted\" only", "<EMAIL_ADDRESS> or <EMAIL_ADDRESS>, \"quoted\" only");
	scrubbed("DE89 3704 0044 0532 0130 00 is hers", "<IBAN_CODE> is hers");
	scrubbed("GB82WEST12345698765432", "<IBAN_CODE>");
	scrubbed("call +49 30 123456 or (212) 555-0100 or 212-555-0100", "call <PHONE_NUMBER> or <PHONE_NUMBER> or <PHONE_NUMBER>");
	scrubbed("on 2024-05-17 at 17.05.2024 for 12.50", "on 2024-05-17 at 17.05.2024 for 12.50");
}

CHECK_MAIN()
