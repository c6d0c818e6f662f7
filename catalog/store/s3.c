/* s3://bucket/prefix: opening, signing, listing, deleting.  Writing is in s3_put.c, errors in s3_explain.c. */
#include "catalog/store/s3.h"

#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/text.h"
#include "catalog/store/sigv4.h"
#include "catalog/store/url.h"
#include "catalog/store/xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define DEFAULT_REGION "us-east-1"
#define EMPTY_PAGES_MAX 100 /* of a list, in a row: a server may give one where objects were deleted */
#define LISTED_MAX (UINT64_C(1) << 28)

static struct s3 *s3(struct store *s)
{
	return (struct s3 *)s;
}

/* -- signing ------------------------------------------------------------------------------- */

static int sign(void *arg, enum http_method m, const char *url, const char *headers, const char *body_sha256, struct buf *out)
{
	const struct s3 *s = arg;
	(void)headers; /* only x-amz-* headers would have to be signed, and there are none */
	if (!s->credentials.access)
		return 0;
	bool has_body = m == HTTP_PUT || m == HTTP_POST;
	struct sigv4 v = {
		.access = s->credentials.access,
		.secret = s->credentials.secret,
		.token = s->credentials.token,
		.region = s->region,
		.method = http_method_name(m),
		.url = url,
		.body_sha256 = body_sha256 ? body_sha256 : has_body ? "UNSIGNED-PAYLOAD" : EMPTY_SHA256,
		.time_s = clock_now_ns() / NS_PER_S,
	};
	return sigv4_sign(&v, out);
}

const char *s3_body_hash(const struct s3 *s, const void *bytes, size_t len, char hash[65])
{
	struct digest d;
	if (s->tls || !s->credentials.access)
		return NULL;
	sha256_of(bytes, len, &d);
	hex_format(d.bytes, sizeof d.bytes, hash);
	return hash;
}

int s3_call(struct s3 *s, enum http_method m, const char *url, const char *key, const char *headers, const void *body, size_t len,
	    struct http_answer *answer, struct err *e)
{
	char hash[SHA256_HEX_SIZE];
	struct http_call call = {
		.method = m,
		.url = url,
		.key = key,
		.headers = headers,
		.body = body,
		.body_len = len,
		.deadline_extends = m == HTTP_PUT || m == HTTP_POST,
	};
	if (m == HTTP_PUT || m == HTTP_POST)
		call.body_sha256 = s3_body_hash(s, body, len, hash);
	return lane_call(s->remote.lane, &call, NULL, answer, e);
}

/* -- lists --------------------------------------------------------------------------------- */

struct list {
	struct s3 *s;
	bool url_encoded, truncated;
	struct buf key, token, decoded;
	uint64_t objects, pages;
	unsigned empty_pages; /* in a row */
	struct buf mark;      /* the token of page `mark_page`, to find a list that goes in circles (Brent's way) */
	uint64_t mark_page;
	struct object_info info;
	int (*each)(void *, const char *, const struct object_info *);
	void *arg;
	bool stopped; /* by `each` */
};

static int keep(struct buf *b, const char *value, size_t len)
{
	buf_clear(b);
	buf_add(b, value, len);
	return buf_check(b);
}

/* As the server's answers to GET have it; some leave the quotes out in lists. */
static void set_etag(struct object_info *info, const char *value, size_t len)
{
	char quoted[STORE_ETAG_MAX];
	if (!len || *value == '"' || !strncmp(value, "W/", 2) || len + 3 > sizeof quoted) {
		object_info_set_etag(info, value, len);
		return;
	}
	quoted[0] = '"';
	memcpy(quoted + 1, value, len);
	quoted[len + 1] = '"';
	object_info_set_etag(info, quoted, len + 2);
}

/* One object is complete: its key, without our prefix, goes to the caller. */
static int list_object(struct list *l)
{
	const char *prefix = l->s->prefix;
	buf_clear(&l->decoded);
	if (l->url_encoded) {
		if (url_decode(&l->decoded, buf_text(&l->key), l->key.len))
			return -EBADMSG;
	} else {
		buf_add(&l->decoded, buf_text(&l->key), l->key.len);
	}
	const char *key = buf_text(&l->decoded);
	if (buf_check(&l->decoded))
		return -ENOMEM;
	if (!text_starts(key, prefix))
		return -EBADMSG;
	key += strlen(prefix);
	int r = 0;
	l->objects++;
	if (store_key_valid(key)) /* others ("folder/") are none of ours */
		r = l->each(l->arg, key, &l->info);
	l->stopped = r != 0;
	buf_clear(&l->key);
	memset(&l->info, 0, sizeof l->info);
	return r;
}

static int list_element(void *arg, const char *path, const char *value, size_t len)
{
	struct list *l = arg;
	if (!text_starts(path, "ListBucketResult/"))
		return 0;
	path += strlen("ListBucketResult/");
	if (!strcmp(path, "Contents/Key"))
		return keep(&l->key, value, len);
	if (!strcmp(path, "Contents/ETag")) {
		set_etag(&l->info, value, len);
	} else if (!strcmp(path, "Contents/LastModified"))
		return clock_parse(value, &l->info.modified_ns) ? -EBADMSG : 0;
	else if (!strcmp(path, "Contents/Size")) {
		char *end;
		errno = 0;
		l->info.size = strtoull(value, &end, 10);
		return errno || *end || !len || *value == '-' ? -EBADMSG : 0;
	} else if (!strcmp(path, "Contents")) {
		return list_object(l);
	} else if (!strcmp(path, "IsTruncated")) {
		l->truncated = !strcmp(value, "true");
	} else if (!strcmp(path, "NextContinuationToken")) {
		return keep(&l->token, value, len);
	}
	return 0;
}

/* EncodingType may come after the objects, so it is looked for first. */
static int find_encoding(void *arg, const char *path, const char *value, size_t len)
{
	struct list *l = arg;
	(void)len;
	if (!strcmp(path, "ListBucketResult/EncodingType"))
		l->url_encoded = !strcmp(value, "url");
	return 0;
}

static char *list_url(struct list *l, const char *prefix, int most)
{
	struct buf b = BUF_INIT;
	buf_addf(&b, "%s?", l->s->bucket_url);
	if (l->token.len) {
		buf_adds(&b, "continuation-token=");
		url_encode(&b, l->token.data, l->token.len, false);
		buf_addc(&b, '&');
	}
	buf_addf(&b, "encoding-type=url&list-type=2&max-keys=%d&prefix=", most);
	url_encode(&b, l->s->prefix, strlen(l->s->prefix), false);
	url_encode(&b, prefix, strlen(prefix), false);
	return buf_take(&b);
}

/* There is said to be another page: does this lead to an end?  A token that comes again would lead here again. */
static int check_end(struct list *l, struct err *e)
{
	bool again = l->pages && l->mark.len == l->token.len && !memcmp(l->mark.data, l->token.data, l->token.len);
	if (again || l->empty_pages > EMPTY_PAGES_MAX || l->objects > LISTED_MAX)
		return store_err(&l->s->remote.base, NULL, e, -EBADMSG, "the server's list of objects does not end (%llu so far)",
				 (unsigned long long)l->objects);
	if (++l->pages < l->mark_page)
		return 0;
	l->mark_page = 2 * l->pages;
	return keep(&l->mark, l->token.data, l->token.len);
}

static int list_page(struct list *l, const char *prefix, int most, struct err *e)
{
	struct store *s = &l->s->remote.base;
	struct buf page = BUF_INIT;
	struct http_answer a = { 0 };
	char *url = list_url(l, prefix, most);
	if (!url)
		return store_err(s, prefix, e, -ENOMEM, "out of memory");
	int r = remote_get_url(&l->s->remote, url, NULL, S3_ANSWER_MAX, &page, &a, e);
	free(url);
	l->truncated = l->url_encoded = false;
	buf_clear(&l->token);
	const uint64_t before = l->objects;
	if (!r && !(r = xml_walk(buf_text(&page), page.len, find_encoding, l)))
		r = xml_walk(buf_text(&page), page.len, list_element, l);
	if (r && !l->stopped && !e->code)
		store_err(s, NULL, e, r, "the server's list of objects does not parse");
	if (!r && l->truncated && !l->token.len)
		r = store_err(s, NULL, e, -EBADMSG, "the server's list of objects breaks off");
	l->empty_pages = l->objects > before ? 0 : l->empty_pages + 1;
	if (!r && l->truncated)
		r = check_end(l, e);
	buf_free(&page);
	return r;
}

static int list_all(struct s3 *s, const char *prefix, int most, bool more, int (*each)(void *, const char *, const struct object_info *),
		    void *arg, struct err *e)
{
	struct list l = { .s = s, .key = BUF_INIT, .token = BUF_INIT, .decoded = BUF_INIT, .mark = BUF_INIT, .each = each, .arg = arg };
	int r;
	err_clear(e);
	do
		r = list_page(&l, prefix, most, e);
	while (!r && more && l.truncated);
	buf_free(&l.key);
	buf_free(&l.token);
	buf_free(&l.mark);
	buf_free(&l.decoded);
	return r;
}

static int s3_list(struct store *s, const char *prefix, int (*each)(void *, const char *, const struct object_info *), void *arg,
		   struct err *e)
{
	return list_all(s3(s), prefix, 1000, true, each, arg, e);
}

/* -- the rest ------------------------------------------------------------------------------ */

static int s3_head(struct store *s, const char *key, struct object_info *info, struct err *e)
{
	int r = remote_head(s, key, info, e);
	if (r != -EACCES && r != -EIO)
		return r;
	if (!remote_healthy(s))
		return r;
	/* An answer to HEAD has no body that says why; one to GET has. */
	struct err why = ERR_INIT;
	char byte;
	int again = remote_get_range(s, key, 0, 1, NULL, &byte, &why);
	return again && again != -EBADMSG ? err_move(e, &why) : r;
}

static int s3_delete(struct store *s, const char *key, struct err *e)
{
	struct http_answer a = { 0 };
	char *url = remote_url(&s3(s)->remote, key);
	if (!url)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	int r = s3_call(s3(s), HTTP_DELETE, url, key, NULL, NULL, 0, &a, e);
	free(url);
	buf_free(&a.body);
	if (r == -ENOENT) {
		err_clear(e);
		r = 0;
	}
	return r;
}

static int ignore_object(void *arg, const char *key, const struct object_info *info)
{
	(void)arg;
	(void)key;
	(void)info;
	return 0;
}

static int s3_prepare(struct store *s, struct err *e)
{
	return list_all(s3(s), ".mesh/", 1, false, ignore_object, NULL, e);
}

static void s3_free(struct store *store)
{
	struct s3 *s = s3(store);
	remote_fini(&s->remote); /* first: the engine may be signing a probe */
	credentials_fini(&s->credentials);
	free(s->region);
	free(s->bucket);
	free(s->prefix);
	free(s->bucket_url);
	free(s);
}

static const struct backend s3_backend = {
	.fetch = remote_fetch,
	.get = remote_get,
	.get_fd = remote_get_fd,
	.get_range = remote_get_range,
	.head = s3_head,
	.put = s3_put,
	.put_fd = s3_put_fd,
	.delete = s3_delete,
	.list = s3_list,
	.prepare = s3_prepare,
	.healthy = remote_healthy,
	.free = s3_free,
};

/* "s3://bucket/some/prefix/" */
static int parse_url(struct s3 *s, const char *url, struct err *e)
{
	const char *bucket = url + strlen("s3://");
	size_t n = strcspn(bucket, "/");
	bool good = n >= 3 && n <= 63;
	for (size_t i = 0; i < n; i++)
		good &= (bucket[i] >= 'a' && bucket[i] <= 'z') || (bucket[i] >= '0' && bucket[i] <= '9') || bucket[i] == '-' ||
			bucket[i] == '.' || bucket[i] == '_' || (bucket[i] >= 'A' && bucket[i] <= 'Z');
	if (!good)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "not an S3 address: s3://BUCKET or s3://BUCKET/PREFIX is wanted");
	const char *prefix = bucket + n;
	while (*prefix == '/')
		prefix++;
	size_t m = strlen(prefix);
	while (m && prefix[m - 1] == '/')
		m--;
	s->bucket = strndup(bucket, n);
	s->prefix = text_format("%.*s%s", (int)m, prefix, m ? "/" : "");
	if (!s->bucket || !s->prefix)
		return err_set(e, -ENOMEM, "out of memory");
	if (m) {
		s->prefix[m] = '\0';
		good = store_key_valid(s->prefix);
		s->prefix[m] = '/';
	}
	return good ? 0 : err_set_kind(e, ERR_PARSE, -EINVAL, "the prefix of an S3 address has no empty, '.' or '..' parts");
}

/* Path style at an endpoint; else AWS, virtual-host style where the certificate allows it (no dots in the bucket's name). */
static int build_urls(struct s3 *s, const char *endpoint, struct err *e)
{
	struct url_parts u;
	struct buf b = BUF_INIT;
	if (endpoint) {
		int r = url_split(endpoint, &u, e);
		if (r)
			return err_prefix(e, r, "endpoint");
		if (*u.query || u.path[u.path_len])
			return err_set_kind(e, ERR_PARSE, -EINVAL, "an endpoint has no query");
		size_t n = strlen(endpoint);
		while (n && endpoint[n - 1] == '/')
			n--;
		buf_add(&b, endpoint, n);
		buf_addf(&b, "/%s/", s->bucket);
		s->tls = u.tls;
	} else {
		const char *suffix = text_starts(s->region, "cn-") ? ".cn" : "";
		if (strchr(s->bucket, '.'))
			buf_addf(&b, "https://s3.%s.amazonaws.com%s/%s/", s->region, suffix, s->bucket);
		else
			buf_addf(&b, "https://%s.s3.%s.amazonaws.com%s/", s->bucket, s->region, suffix);
		s->tls = true;
	}
	s->bucket_url = buf_take(&b);
	if (!s->bucket_url)
		return err_set(e, -ENOMEM, "out of memory");
	buf_adds(&b, s->bucket_url);
	url_encode(&b, s->prefix, strlen(s->prefix), true);
	s->remote.prefix = buf_take(&b);
	return s->remote.prefix ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int choose_region(struct s3 *s, const char *given, struct err *e)
{
	const char *region = given ? given : s->credentials.region ? s->credentials.region : DEFAULT_REGION;
	size_t n = strlen(region);
	if (n == 0 || n > 31 || strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != n)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "\"%s\" is not a region", region);
	s->region = strdup(region);
	return s->region ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int s3_store_new(struct transfer *t, const char *label, const char *url, const char *endpoint, const char *region, struct store **ret,
		 struct err *e)
{
	struct s3 *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->remote.base.backend = &s3_backend;
	s->remote.base.writable = true;
	int r = parse_url(s, url, e);
	if (!r)
		r = credentials_load(&s->credentials, e);
	if (!r)
		r = choose_region(s, region, e);
	if (!r)
		r = build_urls(s, endpoint ? endpoint : s->credentials.endpoint, e);
	struct lane_config config = { .label = label, .probe_url = s->bucket_url, .sign = sign, .explain = s3_explain, .arg = s };
	if (!r)
		r = lane_new(t, &config, &s->remote.lane, e);
	if (r) {
		s3_free(&s->remote.base);
		return r;
	}
	*ret = &s->remote.base;
	return 0;
}
