/* Writing to s3://: single objects, exclusive creation, uploads in parts. */
#include "catalog/store/s3.h"

#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct s3 *s3(struct store *s)
{
	return (struct s3 *)s;
}

/*
 * An exclusive PUT whose answer was lost is tried again, and then finds its own object.  So when the object exists, it is
 * looked at: the very bytes that were to be put mean that ours is the one that won.
 */
static bool is_ours(struct store *s, const char *key, const void *bytes, size_t len)
{
	struct buf b = BUF_INIT;
	struct object_info info;
	bool same = !remote_get(s, key, len, &b, &info, NULL) && b.len == len && !memcmp(buf_text(&b), bytes, len);
	buf_free(&b);
	return same;
}

int s3_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e)
{
	struct http_answer a = { 0 };
	char *url = remote_url(&s3(s)->remote, key);
	if (!url)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	bool exclusive = mode == PUT_EXCLUSIVE;
	int r = s3_call(s3(s), HTTP_PUT, url, key, exclusive ? "If-None-Match: *\n" : NULL, bytes, len, &a, e);
	free(url);
	buf_free(&a.body);
	if (r == -EEXIST && exclusive && a.retried && is_ours(s, key, bytes, len)) {
		err_clear(e);
		r = 0;
	}
	return r;
}

/* -- uploads in parts ---------------------------------------------------------------------- */

struct part {
	struct upload *of;
	char *bytes;
	size_t len;
	unsigned number; /* from 1 */
	bool done;
	int code;
	struct err e;
	struct http_answer answer;
};

struct upload {
	struct s3 *s;
	const char *key;
	char *url, *id;       /* id: encoded for a query */
	struct buf completion; /* the list of parts, as XML */
	pthread_mutex_t lock; /* guards done, code and e of the parts */
	pthread_cond_t ended;
	struct part parts[S3_PARTS_IN_FLIGHT];
};

static void part_done(void *arg, int code, const struct err *e)
{
	struct part *p = arg;
	pthread_mutex_lock(&p->of->lock);
	p->code = code;
	if (code)
		err_move(&p->e, e);
	p->done = true;
	pthread_cond_broadcast(&p->of->ended);
	pthread_mutex_unlock(&p->of->lock);
}

static int part_start(struct upload *u, struct part *p, struct err *e)
{
	char hash[SHA256_HEX_SIZE];
	struct buf url = BUF_INIT;
	buf_addf(&url, "%s?partNumber=%u&uploadId=%s", u->url, p->number, u->id);
	p->done = false;
	p->code = 0;
	memset(&p->answer, 0, sizeof p->answer);
	if (buf_check(&url)) {
		buf_free(&url);
		return store_err(&u->s->remote.base, u->key, e, -ENOMEM, "out of memory");
	}
	struct http_call call = {
		.method = HTTP_PUT,
		.url = buf_text(&url),
		.key = u->key,
		.body = p->bytes,
		.body_len = p->len,
		.body_sha256 = s3_body_hash(u->s, p->bytes, p->len, hash),
		.deadline_extends = true,
		.on_done = part_done,
		.arg = p,
		.answer = &p->answer,
	};
	int r = lane_submit(u->s->remote.lane, &call, NULL, e);
	buf_free(&url);
	return r;
}

static void add_escaped(struct buf *b, const char *text)
{
	for (; *text; text++) {
		const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '"' ? "&quot;" : NULL;
		if (entity)
			buf_adds(b, entity);
		else
			buf_addc(b, *text);
	}
}

static int part_wait(struct upload *u, struct part *p, struct err *e)
{
	pthread_mutex_lock(&u->lock);
	while (!p->done)
		pthread_cond_wait(&u->ended, &u->lock);
	pthread_mutex_unlock(&u->lock);
	buf_free(&p->answer.body);
	if (p->code)
		return err_move(e, &p->e), p->code;
	if (!*p->answer.etag)
		return store_err(&u->s->remote.base, u->key, e, -EBADMSG, "the server gave no ETag for a part");
	buf_addf(&u->completion, "<Part><PartNumber>%u</PartNumber><ETag>", p->number);
	add_escaped(&u->completion, p->answer.etag);
	buf_adds(&u->completion, "</ETag></Part>");
	return 0;
}

/* Reads and sends part after part, a few in flight. */
static int send_parts(struct upload *u, int fd, uint64_t size, size_t part_size, void (*progress)(void *, uint64_t), void *arg,
		      struct err *e)
{
	unsigned next = 0, oldest = 0;
	uint64_t read = 0;
	int r = 0;
	while (!r && (read < size || oldest < next)) {
		if (read < size && next - oldest < S3_PARTS_IN_FLIGHT) {
			struct part *p = &u->parts[next % S3_PARTS_IN_FLIGHT];
			p->len = size - read < part_size ? (size_t)(size - read) : part_size;
			p->number = next + 1;
			if (!p->bytes && !(p->bytes = malloc(part_size)))
				r = store_err(&u->s->remote.base, u->key, e, -ENOMEM, "out of memory");
			else if ((r = io_pread_full(fd, p->bytes, p->len, read)))
				r = store_err(&u->s->remote.base, u->key, e, -EIO, "cannot read the source: %s",
					      r == -ENODATA ? "it became shorter" : strerror(-r));
			else if (!(r = part_start(u, p, e)))
				next++;
			read += p->len;
			continue;
		}
		struct part *p = &u->parts[oldest++ % S3_PARTS_IN_FLIGHT];
		r = part_wait(u, p, e);
		if (!r && progress)
			progress(arg, p->len);
	}
	for (; oldest < next; oldest++)
		part_wait(u, &u->parts[oldest % S3_PARTS_IN_FLIGHT], NULL);
	return r;
}

static int begin_upload(struct upload *u, struct err *e)
{
	struct http_answer a = { 0 };
	struct buf url = BUF_INIT, id = BUF_INIT, encoded = BUF_INIT;
	buf_addf(&url, "%s?uploads=", u->url);
	int r = buf_check(&url) ? store_err(&u->s->remote.base, u->key, e, -ENOMEM, "out of memory")
				: s3_call(u->s, HTTP_POST, buf_text(&url), u->key, NULL, "", 0, &a, e);
	/* rclone's server leaves the "Result" out. */
	if (!r && s3_element(&a.body, "InitiateMultipartUploadResult/UploadId", &id) &&
	    s3_element(&a.body, "InitiateMultipartUpload/UploadId", &id))
		r = store_err(&u->s->remote.base, u->key, e, -EBADMSG, "the server's answer to an upload does not parse");
	if (!r) {
		url_encode(&encoded, buf_text(&id), id.len, false);
		if (!(u->id = buf_take(&encoded)))
			r = store_err(&u->s->remote.base, u->key, e, -ENOMEM, "out of memory");
	}
	buf_free(&a.body);
	buf_free(&url);
	buf_free(&id);
	return r;
}

/* Ends the upload: with its parts, or without them.  What is not ended would be stored, and paid for, unseen. */
static int end_upload(struct upload *u, bool commit, struct err *e)
{
	struct http_answer a = { 0 };
	struct buf url = BUF_INIT;
	buf_addf(&url, "%s?uploadId=%s", u->url, u->id);
	buf_adds(&u->completion, "</CompleteMultipartUpload>");
	int r = buf_check(&url) || buf_check(&u->completion) ? store_err(&u->s->remote.base, u->key, e, -ENOMEM, "out of memory") : 0;
	if (!r && commit)
		r = s3_call(u->s, HTTP_POST, buf_text(&url), u->key, "Content-Type: application/xml\n", u->completion.data,
			    u->completion.len, &a, e);
	else if (!r)
		r = s3_call(u->s, HTTP_DELETE, buf_text(&url), u->key, NULL, NULL, 0, &a, e);
	buf_free(&a.body);
	buf_free(&url);
	return r;
}

static int put_parts(struct s3 *s, const char *key, int fd, uint64_t size, void (*progress)(void *, uint64_t), void *arg, struct err *e)
{
	uint64_t part_size = (size + S3_PARTS_MAX - 1) / S3_PARTS_MAX;
	part_size = part_size < S3_PART_MIN ? S3_PART_MIN : (part_size + 0xfffff) & ~(uint64_t)0xfffff;
	struct upload *u = calloc(1, sizeof *u);
	if (!u)
		return store_err(&s->remote.base, key, e, -ENOMEM, "out of memory");
	u->s = s;
	u->key = key;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->ended, NULL);
	for (int i = 0; i < S3_PARTS_IN_FLIGHT; i++)
		u->parts[i].of = u;
	buf_adds(&u->completion, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	u->url = remote_url(&s->remote, key);
	int r = u->url ? begin_upload(u, e) : store_err(&s->remote.base, key, e, -ENOMEM, "out of memory");
	if (!r) {
		r = send_parts(u, fd, size, (size_t)part_size, progress, arg, e);
		if (!r)
			r = end_upload(u, true, e);
		if (r)
			end_upload(u, false, NULL);
	}
	for (int i = 0; i < S3_PARTS_IN_FLIGHT; i++)
		free(u->parts[i].bytes);
	buf_free(&u->completion);
	pthread_mutex_destroy(&u->lock);
	pthread_cond_destroy(&u->ended);
	free(u->url);
	free(u->id);
	free(u);
	return r;
}

int s3_put_fd(struct store *s, const char *key, int fd, uint64_t size, void (*progress)(void *, uint64_t), void *arg, struct err *e)
{
	if (size > S3_SINGLE_MAX)
		return put_parts(s3(s), key, fd, size, progress, arg, e);
	char *bytes = malloc(size ? (size_t)size : 1);
	if (!bytes)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	int r = io_pread_full(fd, bytes, (size_t)size, 0);
	if (r)
		r = store_err(s, key, e, -EIO, "cannot read the source: %s", r == -ENODATA ? "it became shorter" : strerror(-r));
	else
		r = s3_put(s, key, bytes, (size_t)size, PUT_REPLACE, e);
	free(bytes);
	if (!r && progress)
		progress(arg, size);
	return r;
}
