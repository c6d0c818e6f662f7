#include "catalog/store/sigv4.h"

#include "catalog/base/hash.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

/* The Host header that curl sends: without a port that is the scheme's own. */
static void add_host(struct buf *b, const struct url_parts *u)
{
	const char *own = u->tls ? ":443" : ":80";
	size_t n = u->host_len, m = strlen(own);
	if (n > m && !memcmp(u->host + n - m, own, m))
		n -= m;
	for (size_t i = 0; i < n; i++)
		buf_addc(b, u->host[i] >= 'A' && u->host[i] <= 'Z' ? (char)(u->host[i] | 0x20) : u->host[i]);
}

static void canonical_request(const struct sigv4 *s, const struct url_parts *u, const char *stamp, struct buf *b)
{
	buf_addf(b, "%s\n", s->method);
	if (u->path_len)
		buf_add(b, u->path, u->path_len);
	else
		buf_addc(b, '/');
	buf_addf(b, "\n%s\nhost:", u->query);
	add_host(b, u);
	buf_addf(b, "\nx-amz-content-sha256:%s\nx-amz-date:%s\n", s->body_sha256, stamp);
	if (s->token)
		buf_addf(b, "x-amz-security-token:%s\n", s->token);
	buf_addf(b, "\nhost;x-amz-content-sha256;x-amz-date%s\n%s", s->token ? ";x-amz-security-token" : "", s->body_sha256);
}

static void derive_key(const struct sigv4 *s, const char *day, struct digest *key)
{
	struct buf secret = BUF_INIT;
	buf_addf(&secret, "AWS4%s", s->secret);
	hmac_sha256_of(secret.data, secret.len, day, strlen(day), key);
	hmac_sha256_of(key->bytes, sizeof key->bytes, s->region, strlen(s->region), key);
	hmac_sha256_of(key->bytes, sizeof key->bytes, "s3", 2, key);
	hmac_sha256_of(key->bytes, sizeof key->bytes, "aws4_request", 12, key);
	if (secret.data)
		explicit_bzero(secret.data, secret.len);
	buf_free(&secret);
}

int sigv4_sign(const struct sigv4 *s, struct buf *out)
{
	struct url_parts u;
	struct tm tm;
	time_t when = (time_t)s->time_s;
	char stamp[24], day[12], hex[SHA256_HEX_SIZE];
	struct buf b = BUF_INIT;
	struct digest hash, key;
	if (url_split(s->url, &u, NULL) || !gmtime_r(&when, &tm) || !strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm) ||
	    !strftime(day, sizeof day, "%Y%m%d", &tm))
		return -EINVAL;
	canonical_request(s, &u, stamp, &b);
	int r = buf_check(&b);
	if (r)
		goto out;
	sha256_of(b.data, b.len, &hash);
	hex_format(hash.bytes, sizeof hash.bytes, hex);
	buf_clear(&b);
	buf_addf(&b, "AWS4-HMAC-SHA256\n%s\n%s/%s/s3/aws4_request\n%s", stamp, day, s->region, hex);
	if ((r = buf_check(&b)))
		goto out;
	derive_key(s, day, &key);
	hmac_sha256_of(key.bytes, sizeof key.bytes, b.data, b.len, &hash);
	explicit_bzero(&key, sizeof key);
	hex_format(hash.bytes, sizeof hash.bytes, hex);
	buf_addf(out, "x-amz-date: %s\nx-amz-content-sha256: %s\n", stamp, s->body_sha256);
	if (s->token)
		buf_addf(out, "x-amz-security-token: %s\n", s->token);
	buf_addf(out, "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/s3/aws4_request, "
		      "SignedHeaders=host;x-amz-content-sha256;x-amz-date%s, Signature=%s\n",
		 s->access, day, s->region, s->token ? ";x-amz-security-token" : "", hex);
	r = buf_check(out);
out:
	buf_free(&b);
	return r;
}
