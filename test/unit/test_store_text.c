/* The pure parts of the stores: headers, back-off, URLs, XML, credentials, signatures. */
#include "catalog/base/buf.h"
#include "catalog/store/credentials.h"
#include "catalog/store/headers.h"
#include "catalog/store/sigv4.h"
#include "catalog/store/url.h"
#include "catalog/store/xml.h"
#include "check.h"

#include <errno.h>

TEST(content_ranges)
{
	struct content_range r;
	CHECK_INT(content_range_parse("bytes 0-9/100", 13, &r), 0);
	CHECK(r.first == 0 && r.last == 9 && r.total == 100);
	CHECK_INT(content_range_parse(" bytes 5-5/* ", 13, &r), 0);
	CHECK(r.first == 5 && r.last == 5 && r.total == UINT64_MAX);
	static const char *const bad[] = { "",	       "bytes",		  "bytes 9-0/100",    "bytes 0-100/100",
					   "bytes */100", "bytes 0-9/100x", "items 0-9/100",    "bytes -1-9/100",
					   "bytes 0-9",   "bytes 0-9/",	  "bytes 0-18446744073709551616/*" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK_INT(content_range_parse(bad[i], strlen(bad[i]), &r), -EBADMSG);
}

TEST(dates_and_retry_after)
{
	static const char date[] = "Mon, 02 Nov 2026 10:00:00 GMT";
	int64_t s;
	CHECK_INT(http_date_parse(date, strlen(date), &s), 0);
	CHECK_INT(s, 1793613600);
	CHECK_INT(http_date_parse("Mon, 02 Nox 2026 10:00:00 GMT", 29, &s), -EBADMSG);
	CHECK_INT(http_date_parse("Mon, 02 Nov 2026 10:00:00 GMT+1", 31, &s), -EBADMSG);
	CHECK_INT(retry_after_ms("7", 1, 0), 7000);
	CHECK_INT(retry_after_ms("99999999999", 11, 0), 86400000);
	CHECK_INT(retry_after_ms(date, strlen(date), 1793613600 - 5), 5000);
	CHECK_INT(retry_after_ms(date, strlen(date), 1793613600 + 5), 0);
	CHECK_INT(retry_after_ms("soon", 4, 0), 0);
}

TEST(back_off_doubles_is_spread_and_bounded)
{
	for (unsigned n = 1; n < 40; n++) {
		int64_t least = retry_delay_ms(n, 0), most = retry_delay_ms(n, UINT32_MAX);
		CHECK_INT(least, n < 7 ? (RETRY_FIRST_MS << (n - 1)) / 2 : RETRY_MOST_MS / 2);
		CHECK_INT(most, 2 * least);
	}
	CHECK(status_is_transient(500) && status_is_transient(503) && status_is_transient(429) && status_is_transient(408));
	CHECK(!status_is_transient(403) && !status_is_transient(404) && !status_is_transient(501) && !status_is_transient(200));
}

TEST(url_encoding)
{
	struct buf b = BUF_INIT;
	url_encode(&b, "a b/+~%\xc3\xa9", 9, true);
	CHECK_STR(buf_text(&b), "a%20b/%2B~%25%C3%A9");
	buf_clear(&b);
	url_encode(&b, "a/b", 3, false);
	CHECK_STR(buf_text(&b), "a%2Fb");
	buf_clear(&b);
	CHECK_INT(url_decode(&b, "a+b%2Bc", 7), 0);
	CHECK_STR(buf_text(&b), "a b+c");
	CHECK_INT(url_decode(&b, "%2", 2), -EBADMSG);
	CHECK_INT(url_decode(&b, "%zz", 3), -EBADMSG);
	CHECK_INT(url_decode(&b, "%00", 3), -EBADMSG);
	buf_free(&b);
}

TEST(url_parts)
{
	struct url_parts u;
	struct err e = ERR_INIT;
	CHECK_OK(url_split("https://h:81/a/b?c=d", &u, &e), &e);
	CHECK(u.tls && u.host_len == 4 && u.path_len == 4);
	CHECK_STR(u.query, "c=d");
	CHECK_OK(url_split("http://h", &u, &e), &e);
	CHECK(!u.tls && u.path_len == 0 && !*u.query);
	CHECK_INT(url_split("http://u:hunter2@h/", &u, &e), -EINVAL);
	CHECK(!strstr(e.text, "hunter2"));
	CHECK_INT(url_split("http:///x", &u, &e), -EINVAL);
	CHECK_INT(url_split("http://h/a b", &u, &e), -EINVAL);
	CHECK_INT(url_split("ftp://h/", &u, &e), -EINVAL);
}

static int collect(void *arg, const char *path, const char *value, size_t len)
{
	(void)len;
	buf_addf(arg, "%s=%s;", path, value);
	return 0;
}

static int walk(const char *xml, struct buf *b)
{
	buf_clear(b);
	return xml_walk(xml, strlen(xml), collect, b);
}

TEST(xml_elements)
{
	struct buf b = BUF_INIT;
	CHECK_INT(walk("<?xml version=\"1.0\"?>\n<a xmlns='x>y'><p:b>1 &lt; &#x41;&#233;</p:b><!-- <c> --><d/><e><![CDATA[<&]]></e></a>\n", &b), 0);
	CHECK_STR(buf_text(&b), "a/b=1 < A\xc3\xa9;a/d=;a/e=<&;a=;");
	buf_free(&b);
}

TEST(xml_that_is_refused)
{
	struct buf b = BUF_INIT;
	static const char *const bad[] = {
		"", "x", "<a>", "<a></b>", "</a>", "<a/><b/>", "<a>&nope;</a>", "<a>&#0;</a>", "<a>&#xd800;</a>", "<a>&#1114112;</a>",
		"<!DOCTYPE a [<!ENTITY x 'y'>]><a/>", "<a b='</a>", "<a><![CDATA[x</a>", "<a", "<", "<a><!-- </a>", "<:/>",
		"<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>",
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (walk(bad[i], &b) != -EBADMSG)
			CHECK_FAIL("accepted: %s", bad[i]);
	buf_free(&b);
}

static int parse(const char *text, const char *profile, int config, struct credentials *c, struct err *e)
{
	return credentials_parse("f", text, strlen(text), profile, config, c, e);
}

TEST(credentials_files)
{
	struct err e = ERR_INIT;
	struct credentials c = { 0 };
	static const char keys[] = "# mine\n[default]\naws_access_key_id = A\r\naws_secret_access_key=S=/+\n\n[team]\naws_access_key_id=T\n";
	CHECK_INT(parse(keys, "default", 0, &c, &e), 1);
	CHECK_STR(c.access, "A");
	CHECK_STR(c.secret, "S=/+");
	CHECK(!c.token && !c.region);
	credentials_fini(&c);
	CHECK(!c.secret);
	CHECK_INT(parse(keys, "team", 0, &c, &e), 1);
	CHECK_STR(c.access, "T");
	CHECK(!c.secret);
	credentials_fini(&c);
	CHECK_INT(parse(keys, "other", 0, &c, &e), 0);
	static const char config[] = "[default]\nregion=x\n[profile team]\nregion = eu-west-1\ns3 =\n  region = no\n[team]\nregion=bad\n";
	CHECK_INT(parse(config, "team", 1, &c, &e), 1);
	CHECK_STR(c.region, "eu-west-1");
	credentials_fini(&c);
	CHECK_INT(parse("[default\n", "default", 0, &c, &e), -EINVAL);
	CHECK_INT(parse("[default]\nsecret\n", "default", 0, &c, &e), -EINVAL);
	CHECK(!strstr(e.text, "secret"));
	CHECK_STR(e.text, "f:2:1: neither a section nor a setting");
}

/* The worked examples of the S3 API reference. */
static void check_signature(const char *url, const char *signature)
{
	struct buf b = BUF_INIT;
	struct sigv4 s = {
		.access = "AKIAIOSFODNN7EXAMPLE",
		.secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		.region = "us-east-1",
		.method = "GET",
		.url = url,
		.body_sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		.time_s = 1369353600,
	};
	CHECK_INT(sigv4_sign(&s, &b), 0);
	CHECK(strstr(buf_text(&b), signature));
	CHECK(!strstr(buf_text(&b), s.secret));
	buf_free(&b);
}

TEST(signatures)
{
	check_signature("https://examplebucket.s3.amazonaws.com/?lifecycle=",
			"Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543\n");
	if (check_failed)
		return;
	check_signature("https://examplebucket.s3.amazonaws.com:443/?max-keys=2&prefix=J",
			"Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7\n");
}

CHECK_MAIN()
