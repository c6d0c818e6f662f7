/* What an S3 server's refusal means, in words that say what to do. */
#include "catalog/store/s3.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"
#include "catalog/store/xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct fault {
	char code[64], message[200], region[32];
};

static void keep_text(char *to, size_t size, const char *value)
{
	strncpy(to, value, size - 1);
	to[size - 1] = '\0';
}

static int fault_element(void *arg, const char *path, const char *value, size_t len)
{
	struct fault *f = arg;
	(void)len;
	if (!strcmp(path, "Error/Code"))
		keep_text(f->code, sizeof f->code, value);
	else if (!strcmp(path, "Error/Message"))
		keep_text(f->message, sizeof f->message, value);
	else if (!strcmp(path, "Error/Region"))
		keep_text(f->region, sizeof f->region, value);
	return 0;
}

struct search {
	const char *path;
	struct buf *ret;
	bool found;
};

static int search_element(void *arg, const char *path, const char *value, size_t len)
{
	struct search *s = arg;
	if (!s->found && !strcmp(path, s->path)) {
		buf_add(s->ret, value, len);
		s->found = true;
	}
	return 0;
}

int s3_element(const struct buf *xml, const char *path, struct buf *ret)
{
	struct search s = { path, ret, false };
	int r = xml_walk(buf_text(xml), xml->len, search_element, &s);
	if (!r)
		r = buf_check(ret);
	return r ? r : s.found ? 0 : -ENOENT;
}

static int clock_skew(const struct s3 *s, const struct http_answer *a, struct err *e)
{
	int64_t off_s = clock_now_ns() / NS_PER_S - a->date_s;
	if (!a->date_s)
		return store_err(&s->remote.base, NULL, e, -EACCES, "this machine's clock differs too much from the server's; set it (timedatectl)");
	return store_err(&s->remote.base, NULL, e, -EACCES, "this machine's clock is off by %lld minutes (it is %s); set it (timedatectl)",
			 (long long)(llabs(off_s) + 30) / 60, off_s > 0 ? "ahead" : "behind");
}

static int wrong_region(const struct s3 *s, const struct http_answer *a, const struct fault *f, struct err *e)
{
	const char *region = *f->region ? f->region : a->region;
	if (*region && strcmp(region, s->region) != 0)
		return store_err(&s->remote.base, NULL, e, -EINVAL, "the bucket %s is in region %s, not %s: set \"region: %s\" for this domain",
				 s->bucket, region, s->region, region);
	return store_err(&s->remote.base, NULL, e, -EIO, "the bucket %s is to be reached at another endpoint (%s)", s->bucket,
			 *f->message ? f->message : "the server does not say which");
}

static int refused(const struct s3 *s, const struct fault *f, const char *key, struct err *e)
{
	const struct store *b = &s->remote.base;
	if (!s->credentials.access)
		return store_err(b, key, e, -EACCES,
				 "no S3 credentials were found and the bucket %s is not public: set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
				 "AWS_SECRET_ACCESS_KEY", s->bucket);
	return store_err(b, key, e, -EACCES, "the S3 credentials do not allow this in bucket %s%s%s%s", s->bucket, *f->message ? " (" : "",
			 f->message, *f->message ? ")" : "");
}

enum meaning { RETRY, SKEW, BAD_KEY, BAD_SECRET, EXPIRED, REFUSED, NO_BUCKET, NO_KEY, REGION, NO_SUPPORT };

static const struct {
	const char *code;
	enum meaning meaning;
} meanings[] = {
	{ "SlowDown", RETRY },
	{ "InternalError", RETRY },
	{ "ServiceUnavailable", RETRY },
	{ "RequestTimeout", RETRY },
	{ "OperationAborted", RETRY },
	{ "ConditionalRequestConflict", RETRY },
	{ "BadDigest", RETRY },
	{ "XAmzContentSHA256Mismatch", RETRY },
	{ "IncompleteBody", RETRY },
	{ "RequestTimeTooSkewed", SKEW },
	{ "InvalidAccessKeyId", BAD_KEY },
	{ "XAdminUserNotFound", BAD_KEY }, /* versitygw, with status 404 */
	{ "SignatureDoesNotMatch", BAD_SECRET },
	{ "ExpiredToken", EXPIRED },
	{ "TokenRefreshRequired", EXPIRED },
	{ "InvalidToken", EXPIRED },
	{ "AccessDenied", REFUSED },
	{ "AllAccessDisabled", REFUSED },
	{ "AccountProblem", REFUSED },
	{ "NoSuchBucket", NO_BUCKET },
	{ "NoSuchKey", NO_KEY },
	{ "PermanentRedirect", REGION },
	{ "TemporaryRedirect", REGION },
	{ "AuthorizationHeaderMalformed", REGION },
	{ "IllegalLocationConstraintException", REGION },
	{ "NotImplemented", NO_SUPPORT },
};

static int say(const struct s3 *s, enum meaning m, const struct http_answer *a, const struct fault *f, const char *key, struct err *e)
{
	const struct store *b = &s->remote.base;
	switch (m) {
	case RETRY:
		store_err(b, key, e, -EIO, "the server is not able to answer now (%s)", f->code);
		return -EAGAIN;
	case SKEW:
		return clock_skew(s, a, e);
	case BAD_KEY:
		return store_err(b, key, e, -EACCES, "the S3 server does not know this access key: check AWS_PROFILE, AWS_ACCESS_KEY_ID or "
						     "~/.aws/credentials, and the domain's endpoint");
	case BAD_SECRET:
		return store_err(b, key, e, -EACCES, "the secret key does not belong to the access key: check AWS_SECRET_ACCESS_KEY or "
						     "~/.aws/credentials");
	case EXPIRED:
		return store_err(b, key, e, -EACCES, "the session token of the S3 credentials has expired or is wrong: log in again");
	case REFUSED:
		return refused(s, f, key, e);
	case NO_BUCKET:
		return store_err(b, NULL, e, -EIO, "there is no bucket %s at this endpoint: create it, or mend the domain's \"store\"", s->bucket);
	case NO_KEY:
		return store_err(b, key, e, -ENOENT, "no such object");
	case REGION:
		return wrong_region(s, a, f, e);
	case NO_SUPPORT:
		return store_err(b, key, e, -EOPNOTSUPP, "the S3 server cannot do this (%s)", *f->message ? f->message : f->code);
	}
	return 0;
}

int s3_explain(void *arg, const struct http_answer *a, const char *key, struct err *e)
{
	const struct s3 *s = arg;
	struct fault f = { 0 };
	bool good = a->status >= 200 && a->status < 300;
	if (good && !(a->body.len && memmem(a->body.data, a->body.len, "<Error>", 7)))
		return 0;
	if (a->body.len && xml_walk(buf_text(&a->body), a->body.len, fault_element, &f) && good)
		return store_err(&s->remote.base, key, e, -EBADMSG, "the server's answer does not parse");
	for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
		if (!strcmp(f.code, meanings[i].code))
			return say(s, meanings[i].meaning, a, &f, key, e);
	if (a->status == 301 || a->status == 307 || (a->status == 400 && *a->region && strcmp(a->region, s->region) != 0))
		return say(s, REGION, a, &f, key, e);
	if (a->status == 501)
		return say(s, NO_SUPPORT, a, &f, key, e);
	/* Without a signature: rclone says 400 UnsupportedAlgorithm of that. */
	if (!s->credentials.access && (a->status == 403 || a->status == 401 || !strcmp(f.code, "UnsupportedAlgorithm")))
		return say(s, REFUSED, a, &f, key, e);
	if (a->status == 409)
		return say(s, RETRY, a, &f, key, e);
	/* A 404 with a reason that is unknown here must not pass for an object that is not there. */
	if (good || a->status == 400 || (a->status == 404 && *f.code))
		return store_err(&s->remote.base, key, e, -EIO, "the S3 server refuses the request: %s%s%s", *f.code ? f.code : "status 400",
				 *f.message ? ": " : "", f.message);
	return 0;
}
