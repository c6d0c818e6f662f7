/* What the answer of one attempt is worth: its head, its body as it comes, and the verdict in the end. */
#include "catalog/store/transfer_impl.h"

#include "catalog/base/clock.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* -- what is wrong ------------------------------------------------------------------------- */

int call_err(struct call *c, int code, const char *fmt, ...)
{
	va_list ap;
	struct buf b = BUF_INIT;
	va_start(ap, fmt);
	buf_addv(&b, fmt, ap);
	va_end(ap);
	err_set(&c->e, code, "%s: %s%s%s", c->lane->config.label, c->what.key ? c->what.key : "", c->what.key ? ": " : "", buf_text(&b));
	buf_free(&b);
	return code;
}

/* A callback found something wrong; the attempt ends.  A transient failure is worth another try. */
static size_t refuse(struct call *c, int code)
{
	c->failure = code;
	return 0;
}

/* -- the answer's head --------------------------------------------------------------------- */

static bool header_is(const char *line, size_t len, const char *name, const char **value, size_t *value_len)
{
	size_t n = strlen(name);
	if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
		return false;
	const char *v = line + n + 1, *end = line + len;
	while (v < end && (*v == ' ' || *v == '\t'))
		v++;
	while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*value = v;
	*value_len = (size_t)(end - v);
	return true;
}

/* "HTTP/1.1 206 Partial Content": a new answer begins (after a redirect, or 100 Continue). */
static void answer_begins(struct call *c, const char *line, size_t len)
{
	struct http_answer *a = c->answer;
	const char *space = memchr(line, ' ', len);
	a->status = 0;
	if (space && (size_t)(line + len - space) > 3 && strspn(space + 1, "0123456789") >= 3)
		a->status = (space[1] - '0') * 100 + (space[2] - '0') * 10 + (space[3] - '0');
	a->size_known = false;
	a->modified_ns = a->date_s = 0;
	a->etag[0] = a->region[0] = '\0';
	c->has_length = c->has_range = c->bad_range = false;
	c->encoding[0] = '\0';
	c->retry_after_ms = 0;
}

/* Is `value` a coding that changes the bytes?  Others ("aws-chunked", which S3 keeps from the upload) say nothing of them. */
static void note_encoding(struct call *c, const char *value, size_t len)
{
	static const char *const codings[] = { "gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress" };
	for (size_t i = 0; i < sizeof codings / sizeof *codings; i++)
		if (strlen(codings[i]) == len && !strncasecmp(codings[i], value, len))
			memcpy(c->encoding, codings[i], len + 1);
}

size_t answer_header(char *line, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	struct http_answer *a = c->answer;
	struct object_info info;
	const char *v;
	size_t len;
	(void)size;
	c->head_bytes += n;
	if (c->head_bytes > TRANSFER_HEAD_MAX)
		return refuse(c, call_err(c, -EBADMSG, "the server's headers do not end (more than %u bytes)", TRANSFER_HEAD_MAX));
	if (n > 5 && !memcmp(line, "HTTP/", 5)) {
		answer_begins(c, line, n);
	} else if (header_is(line, n, "Content-Length", &v, &len)) {
		c->has_length = !header_decimal_parse(v, len, &c->content_length);
	} else if (header_is(line, n, "Content-Range", &v, &len)) {
		c->has_range = !content_range_parse(v, len, &c->range);
		c->bad_range = !c->has_range;
	} else if (header_is(line, n, "Content-Encoding", &v, &len)) {
		note_encoding(c, v, len);
	} else if (header_is(line, n, "ETag", &v, &len)) {
		object_info_set_etag(&info, v, len);
		memcpy(a->etag, info.etag, sizeof a->etag);
	} else if (header_is(line, n, "Last-Modified", &v, &len)) {
		if (!http_date_parse(v, len, &a->modified_ns))
			a->modified_ns *= NS_PER_S;
	} else if (header_is(line, n, "Date", &v, &len)) {
		http_date_parse(v, len, &a->date_s);
	} else if (header_is(line, n, "Retry-After", &v, &len)) {
		c->retry_after_ms = retry_after_ms(v, len, clock_now_ns() / NS_PER_S);
	} else if (header_is(line, n, "x-amz-bucket-region", &v, &len) && len < sizeof a->region) {
		memcpy(a->region, v, len);
		a->region[len] = '\0';
	}
	return n;
}

/* Is this still the object that the bytes so far, or the caller, speak of? */
static int check_identity(struct call *c)
{
	const struct http_answer *a = c->answer;
	if (c->what.if_match && strcmp(c->what.if_match, a->etag) != 0)
		return call_err(c, -ESTALE, "the object was changed since it was registered");
	if (!c->identified) {
		memcpy(c->first_etag, a->etag, sizeof a->etag);
		c->first_size_known = a->size_known;
		c->first_size = a->size;
		c->first_modified_ns = a->modified_ns;
		c->identified = true;
	} else if (c->given && (strcmp(c->first_etag, a->etag) != 0 || c->first_modified_ns != a->modified_ns ||
				(c->first_size_known && a->size_known && c->first_size != a->size))) {
		return call_err(c, -ESTALE, "the object was replaced while it was read");
	}
	return 0;
}

/* The range of the object that this answer's body must hold: checks what the server says against what was asked. */
static int check_range(struct call *c)
{
	struct http_answer *a = c->answer;
	uint64_t first = c->what.offset + c->given, left = c->what.length - c->given;
	if (c->bad_range)
		return call_err(c, -EBADMSG, "the server's Content-Range does not parse");
	if (a->status == 206 || c->has_range) { /* some servers say 200 although they send the range */
		if (!c->has_range)
			return call_err(c, -EBADMSG, "the server sent a part of the object without saying which");
		if (c->range.first != first)
			return call_err(c, -EBADMSG, "asked for bytes from %llu on, the server sent those from %llu on",
					(unsigned long long)first, (unsigned long long)c->range.first);
		uint64_t sends = c->range.last - c->range.first + 1;
		if (c->range.total != UINT64_MAX) {
			a->size_known = true;
			a->size = c->range.total;
		}
		if (sends != left)
			return call_err(c, -EBADMSG, "asked for %llu bytes from %llu on, the server has %llu of them",
					(unsigned long long)left, (unsigned long long)first, (unsigned long long)sends);
		if (c->has_length && c->content_length != sends)
			return call_err(c, -EBADMSG, "the server's Content-Length (%llu) contradicts its Content-Range (%llu)",
					(unsigned long long)c->content_length, (unsigned long long)sends);
		c->skip = 0;
		return 0;
	}
	/* The whole object, because the server knows no ranges. */
	a->size_known = c->has_length;
	a->size = c->content_length;
	if (c->has_length && c->content_length < c->what.offset + c->what.length)
		return call_err(c, -EBADMSG, "the object has %llu bytes, the range asked for ends at %llu",
				(unsigned long long)c->content_length, (unsigned long long)(c->what.offset + c->what.length));
	if (first > TRANSFER_SKIP_MAX)
		return call_err(c, -EIO, "the server ignores ranges, and the one asked for lies far into the object");
	c->skip = first;
	return 0;
}

/* Before the first byte of the body (or at the end of an empty one). */
static int check_head(struct call *c)
{
	struct http_answer *a = c->answer;
	c->head_checked = true;
	c->is_object = c->what.on_data && (a->status == 200 || a->status == 206);
	if (!c->is_object)
		return 0;
	/* What meshfs wrote has no coding, so one is the server's doing; a file registered in place may have been stored with it. */
	if (*c->encoding && c->what.key && text_starts(c->what.key, ".mesh/"))
		return call_err(c, -EBADMSG, "the server sends it compressed (Content-Encoding: %s) although it was asked not to; turn that off for "
				"what lies under .mesh/", c->encoding);
	int r;
	if (c->what.length) {
		r = check_range(c);
	} else {
		/* A whole object is asked for again from its start only while nothing was given; later, from there on. */
		uint64_t first = c->given;
		if (a->status == 206 && (!c->has_range || c->range.first != first || !first))
			return call_err(c, -EBADMSG, "the server sent another part of the object than asked for");
		if (a->status == 206 && c->range.total != UINT64_MAX && c->range.last + 1 != c->range.total)
			return call_err(c, -EBADMSG, "the server sent less of the object than asked for");
		a->size_known = a->status == 206 ? c->range.total != UINT64_MAX : c->has_length;
		a->size = a->status == 206 ? c->range.total : c->content_length;
		c->skip = a->status == 206 ? 0 : first;
		r = 0;
		if (a->size_known && a->size > c->what.max_bytes)
			r = call_err(c, -EFBIG, "%llu bytes, more than the %llu allowed", (unsigned long long)a->size,
				     (unsigned long long)c->what.max_bytes);
	}
	return r ? r : check_identity(c);
}

/* -- bodies -------------------------------------------------------------------------------- */

/* A deadline extends for what comes at a rate that leads somewhere: a body that drips, and one that nobody wants (of a redirect), might never end. */
int answer_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up)
{
	struct call *c = arg;
	(void)total, (void)now, (void)up_total, (void)up;
	uint64_t allowed_ms = (uint64_t)c->what.deadline_ms + (c->attempt_given + c->attempt_skipped) * 1000 / TRANSFER_RATE_MIN;
	if ((uint64_t)(clock_mono_ms() - c->started_ms) <= allowed_ms)
		return 0;
	c->failure = call_err(c, -ETIMEDOUT, "the server sends less than %u bytes a second", TRANSFER_RATE_MIN);
	return 1;
}

size_t answer_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t all = n;
	(void)size;
	int r;
	if (!c->head_checked && (r = check_head(c)))
		return refuse(c, r);
	if (!c->is_object) {
		buf_add(&c->answer->body, bytes, n);
		c->complete = c->answer->body.len > TRANSFER_ANSWER_MAX; /* the beginning says enough, and it may never end */
		return c->complete ? 0 : all;
	}
	if (c->skip) {
		size_t drop = n < c->skip ? n : (size_t)c->skip;
		c->skip -= drop;
		c->attempt_skipped += drop;
		bytes += drop;
		n -= drop;
	}
	if (c->what.length && n > c->what.length - c->given) {
		if (c->has_range)
			return refuse(c, call_err(c, -EBADMSG, "the server sent more bytes than asked for"));
		n = (size_t)(c->what.length - c->given);
	}
	if (!c->what.length && n > c->what.max_bytes - c->given)
		return refuse(c, call_err(c, -EFBIG, "more than the %llu bytes allowed", (unsigned long long)c->what.max_bytes));
	if (n) {
		c->given += n;
		c->attempt_given += n;
		r = c->what.on_data(c->what.arg, bytes, n);
		if (r)
			return refuse(c, r == -ENOMEM ? call_err(c, r, "out of memory") : call_err(c, -ECANCELED, "the transfer was cancelled by its consumer"));
	}
	if (c->what.length && c->given == c->what.length && !c->has_range) {
		c->complete = true; /* the rest of the object is not wanted: the connection is given up */
		return 0;
	}
	return all;
}

/* -- the verdict --------------------------------------------------------------------------- */

static int judge_transport(struct call *c, CURLcode result, int64_t now_ms)
{
	const char *why = *c->curl_error ? c->curl_error : curl_easy_strerror(result);
	switch (result) {
	case CURLE_OPERATION_TIMEDOUT:
		if (now_ms >= c->deadline_at_ms && !c->what.deadline_extends) {
			call_err(c, -ETIMEDOUT, "no answer within %lld s", (long long)(c->what.deadline_ms + 999) / 1000);
			return c->answer->status ? -ETIMEDOUT : -EAGAIN; /* no time is left to try again; who said nothing at all is down */
		}
		call_err(c, -EIO, "the server stopped answering (%s)", why);
		return -EAGAIN;
	case CURLE_OUT_OF_MEMORY: /* libcurl before 8.8 says so of a header of more than 100 KB, too */
		if (c->head_bytes && !c->head_checked)
			return call_err(c, -EIO, "the server sends a header that is too long (or there is no memory)");
		return call_err(c, -ENOMEM, "out of memory");
#if LIBCURL_VERSION_NUM >= 0x080600
	case CURLE_TOO_LARGE:
		return call_err(c, -EIO, "the server sends a header that is too long");
#endif
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return call_err(c, -EIO, "the server's certificate cannot be trusted: %s (MESHFS_CA_FILE can name an authority of your own)", why);
	case CURLE_TOO_MANY_REDIRECTS:
		return call_err(c, -EIO, "the server redirects in circles");
	case CURLE_UNSUPPORTED_PROTOCOL:
		if (c->answer->status >= 300 && c->answer->status < 400)
			return call_err(c, -EIO, "the server redirects to where must not be followed (from https only to https)");
		call_err(c, -EIO, "what answers there does not speak HTTP (%s)", why);
		return -EAGAIN;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
		call_err(c, -EIO, "%s (check that the server is up, and its address in mesh.yaml)", why);
		return -EAGAIN;
	case CURLE_URL_MALFORMAT:
		return call_err(c, -EINVAL, "not a valid URL: %s", why);
	default:
		call_err(c, -EIO, "%s", why);
		return -EAGAIN;
	}
}

static int judge_status(struct call *c)
{
	struct http_answer *a = c->answer;
	const struct lane_config *lane = &c->lane->config;
	struct err e = ERR_INIT;
	int r = lane->explain ? lane->explain(lane->arg, a, c->what.key, &e) : 0;
	if (r) {
		c->e = e;
		return r;
	}
	if (a->status >= 200 && a->status < 300)
		return 0;
	switch (a->status) {
	case 404:
	case 410:
		return call_err(c, -ENOENT, "no such object");
	case 401:
	case 403:
		return call_err(c, -EACCES, "the server refuses access (status %d)", a->status);
	case 412:
		if (c->given)
			return call_err(c, -ESTALE, "the object was replaced while it was read");
		if (c->what.if_match)
			return call_err(c, -ESTALE, "the object was changed since it was registered");
		return call_err(c, -EEXIST, "the object exists already");
	case 416:
		return call_err(c, -EBADMSG, "the object ends before the range asked for");
	default:
		call_err(c, -EIO, "the server answered with status %d", a->status);
		return status_is_transient(a->status) ? -EAGAIN : -EIO;
	}
}

/* The whole range came, or all of an object whose length is known. */
static int judge_length(struct call *c)
{
	const struct http_answer *a = c->answer;
	uint64_t want = c->what.length ? c->what.length : a->size_known ? a->size : c->given;
	if (c->given == want)
		return 0;
	if (c->what.length && !c->has_range) /* a whole object of unknown length that ended too early */
		return call_err(c, -EBADMSG, "the object ends before the range asked for");
	call_err(c, -EIO, "%llu of %llu bytes came", (unsigned long long)c->given, (unsigned long long)want);
	return -EAGAIN;
}

/* From the last progress on; but many attempts that bring a byte each are no progress. */
static void extend_deadline(struct call *c, int64_t now_ms)
{
	int64_t latest_ms = c->submitted_ms + c->what.deadline_ms + (int64_t)(c->given / TRANSFER_RATE_MIN) * 1000;
	c->deadline_at_ms = now_ms + c->what.deadline_ms < latest_ms ? now_ms + c->what.deadline_ms : latest_ms;
}

int attempt_judge(struct call *c, CURLcode result, int64_t now_ms)
{
	struct http_answer *a = c->answer;
	if (c->attempt_given) {
		c->attempts = 0;
		if (c->what.deadline_extends)
			extend_deadline(c, now_ms);
	}
	if (c->complete && c->is_object)
		return 0;
	if (c->failure)
		return c->failure;
	if (result != CURLE_OK && !c->complete) {
		int r = judge_transport(c, result, now_ms);
		buf_clear(&a->body);
		return r;
	}
	if (buf_check(&a->body))
		return call_err(c, -ENOMEM, "out of memory");
	int r = c->head_checked ? 0 : check_head(c);
	if (r)
		return r;
	r = judge_status(c);
	if (!r && c->is_object)
		return judge_length(c);
	if (!r && c->what.method == HTTP_HEAD) {
		a->size_known = c->has_length;
		a->size = c->content_length;
	}
	if (!r && c->what.on_data)
		return call_err(c, -EIO, "the server answered with status %d where an object was asked for", a->status);
	if (r == -EAGAIN)
		buf_clear(&a->body);
	return r;
}
