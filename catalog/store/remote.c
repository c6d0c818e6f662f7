#include "catalog/store/remote.h"

#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define DOWNLOAD_PIECE (4u << 20)
#define DOWNLOAD_PIECES 4 /* in flight; also the memory a download takes, in pieces */

static struct remote *remote(struct store *s)
{
	return (struct remote *)s;
}

char *remote_url(const struct remote *r, const char *key)
{
	struct buf b = BUF_INIT;
	buf_adds(&b, r->prefix);
	url_encode(&b, key, strlen(key), true);
	return buf_take(&b);
}

void remote_fini(struct remote *r)
{
	lane_free(r->lane);
	free(r->prefix);
}

bool remote_healthy(const struct store *s)
{
	return lane_healthy(((const struct remote *)s)->lane);
}

static void info_of(const struct http_answer *a, struct object_info *ret)
{
	ret->size = a->size;
	ret->modified_ns = a->modified_ns;
	memcpy(ret->etag, a->etag, sizeof ret->etag);
}

int remote_fetch(struct store *s, const struct fetch_request *q, struct fetch **ret, struct err *e)
{
	char *url = remote_url(remote(s), q->key);
	if (!url)
		return store_err(s, q->key, e, -ENOMEM, "out of memory");
	struct http_call call = {
		.method = HTTP_GET,
		.url = url,
		.key = q->key,
		.offset = q->offset,
		.length = q->length,
		.if_match = q->if_match,
		.priority = q->priority,
		.deadline_ms = q->deadline_ms,
		.on_data = q->on_data,
		.on_done = q->on_done,
		.arg = q->arg,
	};
	int r = lane_submit(remote(s)->lane, &call, ret, e);
	free(url);
	return r;
}

static int append(void *arg, const void *bytes, size_t len)
{
	buf_add(arg, bytes, len);
	return buf_check(arg);
}

int remote_get_url(struct remote *r, const char *url, const char *key, size_t max_bytes, struct buf *ret, struct http_answer *answer,
		   struct err *e)
{
	struct http_call call = {
		.method = HTTP_GET,
		.url = url,
		.key = key,
		.max_bytes = max_bytes,
		.deadline_extends = true,
		.on_data = append,
	};
	struct http_answer a = { 0 };
	int code = lane_call(r->lane, &call, ret, &a, e);
	buf_free(&a.body);
	*answer = a;
	return code;
}

int remote_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *info, struct err *e)
{
	char *url = remote_url(remote(s), key);
	struct http_answer a = { 0 };
	size_t before = ret->len;
	if (!url)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	int r = remote_get_url(remote(s), url, key, max_bytes, ret, &a, e);
	free(url);
	if (!r) {
		info_of(&a, info);
		info->size = ret->len - before;
	}
	return r;
}

struct destination {
	char *at;
};

static int place(void *arg, const void *bytes, size_t len)
{
	struct destination *d = arg;
	memcpy(d->at, bytes, len);
	d->at += len;
	return 0;
}

int remote_get_range(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *bytes, struct err *e)
{
	char *url = remote_url(remote(s), key);
	struct destination d = { bytes };
	if (!url)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	struct http_call call = {
		.method = HTTP_GET,
		.url = url,
		.key = key,
		.offset = offset,
		.length = len,
		.if_match = if_match,
		.on_data = place,
	};
	int r = lane_call(remote(s)->lane, &call, &d, NULL, e);
	free(url);
	return r;
}

int remote_head(struct store *s, const char *key, struct object_info *info, struct err *e)
{
	char *url = remote_url(remote(s), key);
	struct http_answer a = { 0 };
	if (!url)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	struct http_call call = { .method = HTTP_HEAD, .url = url, .key = key };
	int r = lane_call(remote(s)->lane, &call, NULL, &a, e);
	free(url);
	buf_free(&a.body);
	if (!r && !a.size_known)
		r = store_err(s, key, e, -EBADMSG, "the server does not say how large the object is");
	if (!r)
		info_of(&a, info);
	return r;
}

/* -- downloads: a few pieces in flight, written in order by the caller's thread ----------------- */

struct piece {
	char *bytes;
	size_t len, got;
	bool done;
	int code;
	struct err e;
	struct download *of;
};

struct download {
	pthread_mutex_t lock; /* guards done, code and e of the pieces */
	pthread_cond_t ended;
	struct piece pieces[DOWNLOAD_PIECES];
};

static int piece_data(void *arg, const void *bytes, size_t len)
{
	struct piece *p = arg;
	memcpy(p->bytes + p->got, bytes, len); /* the engine gives no more than the range */
	p->got += len;
	return 0;
}

static void piece_done(void *arg, int code, const struct err *e)
{
	struct piece *p = arg;
	pthread_mutex_lock(&p->of->lock);
	p->code = code;
	if (code)
		err_move(&p->e, e);
	p->done = true;
	pthread_cond_broadcast(&p->of->ended);
	pthread_mutex_unlock(&p->of->lock);
}

static int piece_start(struct store *s, struct piece *p, const char *key, const struct object_info *info, uint64_t offset, struct err *e)
{
	uint64_t left = info->size - offset;
	p->len = left < DOWNLOAD_PIECE ? (size_t)left : DOWNLOAD_PIECE;
	p->got = 0;
	p->done = false;
	struct fetch_request q = {
		.key = key,
		.offset = offset,
		.length = p->len,
		.if_match = info->etag,
		.on_data = piece_data,
		.on_done = piece_done,
		.arg = p,
	};
	return remote_fetch(s, &q, NULL, e);
}

static int piece_wait(struct piece *p, struct err *e)
{
	pthread_mutex_lock(&p->of->lock);
	while (!p->done)
		pthread_cond_wait(&p->of->ended, &p->of->lock);
	pthread_mutex_unlock(&p->of->lock);
	if (p->code)
		err_move(e, &p->e);
	return p->code;
}

static int download(struct store *s, struct download *d, const char *key, int fd, const struct object_info *info, struct err *e)
{
	uint64_t asked = 0, written = 0;
	size_t next = 0, oldest = 0, under_way = 0; /* piece numbers, modulo DOWNLOAD_PIECES */
	int r = 0;
	while (!r && written < info->size) {
		while (!r && asked < info->size && under_way < DOWNLOAD_PIECES) {
			struct piece *p = &d->pieces[next % DOWNLOAD_PIECES];
			r = piece_start(s, p, key, info, asked, e);
			if (!r) {
				asked += p->len;
				next++;
				under_way++;
			}
		}
		if (r)
			break;
		struct piece *p = &d->pieces[oldest++ % DOWNLOAD_PIECES];
		under_way--;
		r = piece_wait(p, e);
		int w = r ? 0 : io_write_full(fd, p->bytes, p->len);
		if (w)
			r = store_err(s, key, e, w, "cannot write the copy: %s", strerror(-w));
		written += p->len;
	}
	for (; under_way; under_way--)
		piece_wait(&d->pieces[oldest++ % DOWNLOAD_PIECES], NULL);
	return r;
}

int remote_get_fd(struct store *s, const char *key, int fd, struct object_info *info, struct err *e)
{
	int r = remote_head(s, key, info, e);
	if (r || info->size == 0)
		return r;
	if (io_check_room(fd, info->size))
		return store_err(s, key, e, -ENOSPC, "there is no room for its %llu bytes on this disk", (unsigned long long)info->size);
	struct download *d = calloc(1, sizeof *d);
	if (!d)
		return store_err(s, key, e, -ENOMEM, "out of memory");
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->ended, NULL);
	for (int i = 0; i < DOWNLOAD_PIECES; i++) {
		d->pieces[i].of = d;
		if ((uint64_t)i * DOWNLOAD_PIECE < info->size && !(d->pieces[i].bytes = malloc(DOWNLOAD_PIECE)))
			r = store_err(s, key, e, -ENOMEM, "out of memory");
	}
	if (!r)
		r = download(s, d, key, fd, info, e);
	for (int i = 0; i < DOWNLOAD_PIECES; i++)
		free(d->pieces[i].bytes);
	pthread_mutex_destroy(&d->lock);
	pthread_cond_destroy(&d->ended);
	free(d);
	return r;
}
