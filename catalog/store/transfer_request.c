/* The request of one attempt. */
#include "catalog/store/transfer_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BUFFER_BYTES (128L << 10)  /* curl's, each way: more than a socket holds is only more memory to walk through */
#define REDIRECTS_MAX 5L

static size_t on_send(char *to, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t room = size * n, left = c->what.body_len - (size_t)c->sent;
	if (room > left)
		room = left;
	memcpy(to, (const char *)c->what.body + c->sent, room);
	c->sent += room;
	return room;
}

static int on_seek(void *arg, curl_off_t offset, int origin)
{
	struct call *c = arg;
	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > c->what.body_len)
		return CURL_SEEKFUNC_FAIL;
	c->sent = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}

static int add_lines(struct call *c, const char *lines)
{
	while (lines && *lines) {
		size_t n = strcspn(lines, "\n");
		char *line = strndup(lines, n);
		struct curl_slist *more = line ? curl_slist_append(c->list, line) : NULL;
		free(line);
		if (!more)
			return -ENOMEM;
		c->list = more;
		lines += n + (lines[n] == '\n');
	}
	return 0;
}

static int add_headers(struct call *c)
{
	const struct http_call *w = &c->what;
	const struct lane_config *lane = &c->lane->config;
	struct buf b = BUF_INIT;
	buf_adds(&b, "Accept-Encoding: identity\nExpect:\n");
	if (w->headers)
		buf_adds(&b, w->headers);
	if (w->method == HTTP_GET && w->on_data && (w->length || c->given)) {
		buf_addf(&b, "Range: bytes=%llu-", (unsigned long long)(w->offset + c->given));
		if (w->length)
			buf_addf(&b, "%llu", (unsigned long long)(w->offset + w->length - 1));
		buf_addc(&b, '\n');
	}
	/* A weak ETag never satisfies If-Match; the answer's own is compared in any case. */
	const char *etag = w->if_match ? w->if_match : c->given ? c->first_etag : "";
	if (*etag == '"')
		buf_addf(&b, "If-Match: %s\n", etag);
	int r = 0;
	if (lane->sign)
		r = lane->sign(lane->arg, w->method, w->url, w->headers, w->body_sha256, &b);
	if (!r)
		r = buf_check(&b);
	if (!r)
		r = add_lines(c, buf_text(&b));
	if (b.data)
		explicit_bzero(b.data, b.len);
	buf_free(&b);
	return r;
}

static void set_common(CURL *easy, const struct lane *l, const struct transfer_config *config)
{
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "meshfs/" MESHFS_VERSION);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* one connection a transfer: more bandwidth */
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)config->connect_timeout_ms);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	if (l->config.redirects) {
		bool tls = !strncasecmp(l->config.probe_url, "https:", 6);
		curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
		curl_easy_setopt(easy, CURLOPT_MAXREDIRS, REDIRECTS_MAX);
		curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
	}
	if (l->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, l->ca_file);
}

static void set_method(struct call *c)
{
	CURL *easy = c->easy;
	switch (c->what.method) {
	case HTTP_GET:
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
		return;
	case HTTP_HEAD:
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		return;
	case HTTP_DELETE:
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "DELETE");
		return;
	case HTTP_POST:
	case HTTP_PUT:
		curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, http_method_name(c->what.method));
		curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->what.body_len);
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
		curl_easy_setopt(easy, CURLOPT_READDATA, c);
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, c);
		curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
		return;
	}
}

int attempt_prepare(struct call *c, const struct transfer_config *config, int64_t now_ms)
{
	attempt_reset(c);
	c->started_ms = now_ms;
	curl_easy_reset(c->easy);
	set_common(c->easy, c->lane, config);
	set_method(c);
	bool writes = c->what.method == HTTP_PUT || c->what.method == HTTP_POST;
	long stall_s = writes ? TRANSFER_WRITE_STALL_S : (long)(config->connect_timeout_ms + 999) / 1000;
	curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME, stall_s);
	if (!c->what.deadline_extends) {
		curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, (long)(c->deadline_at_ms - now_ms));
	} else if (!writes) {
		curl_easy_setopt(c->easy, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(c->easy, CURLOPT_XFERINFOFUNCTION, answer_progress);
		curl_easy_setopt(c->easy, CURLOPT_XFERINFODATA, c);
	}
	curl_easy_setopt(c->easy, CURLOPT_URL, c->what.url);
	curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->curl_error);
	curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, answer_header);
	curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, answer_body);
	curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	if (add_headers(c))
		return call_err(c, -ENOMEM, "out of memory");
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->list);
	return 0;
}

void attempt_reset(struct call *c)
{
	for (struct curl_slist *s = c->list; s; s = s->next)
		explicit_bzero(s->data, strlen(s->data));
	curl_slist_free_all(c->list);
	c->list = NULL;
	c->curl_error[0] = '\0';
	c->head_checked = c->is_object = c->has_length = c->has_range = c->bad_range = c->complete = false;
	c->skip = c->sent = c->attempt_given = c->attempt_skipped = 0;
	c->head_bytes = 0;
	c->encoding[0] = '\0';
	c->failure = 0;
}

static size_t ignore_body(char *bytes, size_t size, size_t n, void *arg)
{
	(void)bytes;
	(void)arg;
	return size * n;
}

int probe_prepare(struct lane *l, const struct transfer_config *config)
{
	if (!(l->probe = curl_easy_init()))
		return -ENOMEM;
	set_common(l->probe, l, config);
	curl_easy_setopt(l->probe, CURLOPT_URL, l->config.probe_url);
	curl_easy_setopt(l->probe, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(l->probe, CURLOPT_PRIVATE, NULL);
	curl_easy_setopt(l->probe, CURLOPT_WRITEFUNCTION, ignore_body);
	curl_easy_setopt(l->probe, CURLOPT_TIMEOUT_MS, (long)config->connect_timeout_ms);
	return 0;
}
