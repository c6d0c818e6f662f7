/* The front of every store: recognises the URL, checks keys, answers what a kind of store cannot do. */
#include "catalog/store/store.h"

#include "catalog/base/text.h"
#include "catalog/store/backend.h"
#include "catalog/store/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int store_err(const struct store *s, const char *key, struct err *e, int code, const char *fmt, ...)
{
	char reason[ERR_TEXT_MAX / 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(reason, sizeof reason, fmt, ap);
	va_end(ap);
	return err_set(e, code, "%s: %s%s%s", s->label, key ? key : "", key ? ": " : "", reason);
}

bool store_key_valid(const char *key)
{
	if (!key || !*key || strlen(key) > STORE_KEY_MAX)
		return false;
	for (const char *part = key;;) {
		size_t n = strcspn(part, "/");
		if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		if (!part[n])
			return true;
		part += n + 1;
	}
}

void object_info_set_etag(struct object_info *info, const char *value, size_t len)
{
	info->etag[0] = '\0';
	if (len >= sizeof info->etag)
		return;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || (unsigned char)value[i] == 0x7f)
			return;
	memcpy(info->etag, value, len);
	info->etag[len] = '\0';
}

static int check_key(const struct store *s, const char *key, struct err *e)
{
	if (store_key_valid(key))
		return 0;
	char *shown = text_printable(key ? key : "", key ? strnlen(key, 200) : 0);
	err_set(e, -EINVAL, "%s: \"%s\" is not a valid object name", s->label, shown ? shown : "");
	free(shown);
	return -EINVAL;
}

static int check_write(const struct store *s, const char *key, struct err *e)
{
	if (!s->writable)
		return store_err(s, key, e, -EROFS, "the store %s is read only; publish through its file:// or s3:// address", s->url);
	return key ? check_key(s, key, e) : 0;
}

int store_open(struct transfer *t, const char *label, const char *url, const char *endpoint, const char *region, struct store **ret,
	       struct err *e)
{
	struct store *s = NULL;
	int r;
	if ((endpoint || region) && !text_starts(url, "s3://"))
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: only an s3:// store has %s", label, endpoint ? "an endpoint" : "a region");
	if (text_starts(url, "file://")) {
		r = file_store_new(t, url, &s, e);
	} else if (text_starts(url, "http://") || text_starts(url, "https://")) {
		r = http_store_new(t, label, url, &s, e);
	} else if (text_starts(url, "s3://")) {
		r = s3_store_new(t, label, url, endpoint, region, &s, e);
	} else {
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: %s: not a store; file://, http://, https:// and s3:// are known", label, url);
	}
	if (r)
		return err_prefix(e, r, "%s", label);
	s->transfer = t;
	s->label = strdup(label);
	s->url = strdup(url);
	if (!s->label || !s->url) {
		store_free(s);
		return err_set(e, -ENOMEM, "%s: out of memory", label);
	}
	*ret = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	char *label = s->label, *url = s->url;
	s->backend->free(s);
	free(label);
	free(url);
}

const char *store_url(const struct store *s)
{
	return s->url;
}

bool store_writable(const struct store *s)
{
	return s->writable;
}

bool store_ours(const struct store *s)
{
	return s->writable && (!s->backend->ours || s->backend->ours(s));
}

bool store_healthy(const struct store *s)
{
	return !s->backend->healthy || s->backend->healthy(s);
}

int store_fetch(struct store *s, const struct fetch_request *request, struct fetch **ret, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	int r = check_key(s, request->key, e);
	if (r)
		return r;
	if (request->length == 0 || request->offset + request->length < request->offset ||
	    request->offset + request->length > INT64_MAX || (unsigned)request->priority > FETCH_WARM)
		return store_err(s, request->key, e, -EINVAL, "not a range that can be read");
	return s->backend->fetch(s, request, ret, e);
}

void fetch_cancel(struct fetch *f)
{
	f->cancel(f);
}

void fetch_raise(struct fetch *f, enum fetch_priority priority)
{
	f->raise(f, priority);
}

int store_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *ret_info, struct err *e)
{
	struct err local = ERR_INIT;
	struct object_info info = { 0 };
	e = e ? e : &local;
	int r = check_key(s, key, e);
	if (!r)
		r = s->backend->get(s, key, max_bytes, ret, &info, e);
	if (!r && buf_check(ret))
		r = store_err(s, key, e, -ENOMEM, "out of memory");
	if (!r && ret_info)
		*ret_info = info;
	return r;
}

int store_get_file(struct store *s, const char *key, const char *path, struct object_info *ret_info, struct err *e)
{
	struct err local = ERR_INIT;
	struct object_info info = { 0 };
	e = e ? e : &local;
	int r = check_key(s, key, e);
	if (r)
		return r;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: cannot write: %s", path, strerror(errno));
	r = s->backend->get_fd(s, key, fd, &info, e);
	if (close(fd) && !r)
		r = err_set(e, -errno, "%s: cannot write: %s", path, strerror(errno));
	if (r)
		unlink(path);
	else if (ret_info)
		*ret_info = info;
	return r;
}

int store_get_range(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *ret_bytes, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	int r = check_key(s, key, e);
	if (r || len == 0)
		return r;
	if (offset + len < offset || offset + len > INT64_MAX)
		return store_err(s, key, e, -EINVAL, "not a range that can be read");
	return s->backend->get_range(s, key, offset, len, if_match, ret_bytes, e);
}

int store_head(struct store *s, const char *key, struct object_info *ret, struct err *e)
{
	struct err local = ERR_INIT;
	struct object_info info = { 0 };
	e = e ? e : &local;
	int r = check_key(s, key, e);
	if (!r)
		r = s->backend->head(s, key, &info, e);
	if (!r)
		*ret = info;
	return r;
}

int store_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	int r = check_write(s, key, e);
	return r ? r : s->backend->put(s, key, bytes, len, mode, e);
}

int store_put_file(struct store *s, const char *key, const char *path, void (*progress)(void *, uint64_t), void *arg, struct err *e)
{
	struct err local = ERR_INIT;
	struct stat st;
	e = e ? e : &local;
	int r = check_write(s, key, e);
	if (r)
		return r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st))
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		r = err_set(e, -EINVAL, "%s: not a regular file", path);
	else
		r = s->backend->put_fd(s, key, fd, (uint64_t)st.st_size, progress, arg, e);
	close(fd);
	return r;
}

int store_delete(struct store *s, const char *key, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	int r = check_write(s, key, e);
	return r ? r : s->backend->delete(s, key, e);
}

int store_list(struct store *s, const char *prefix, int (*each)(void *arg, const char *key, const struct object_info *info), void *arg,
	       struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	if (!s->backend->list)
		return store_err(s, NULL, e, -EOPNOTSUPP, "the store %s cannot list its objects", s->url);
	return s->backend->list(s, prefix, each, arg, e);
}

int store_probe_exclusive(struct store *s, bool *ret, struct err *e)
{
	struct err local = ERR_INIT;
	unsigned char random[12];
	char key[64] = ".mesh/probe/";
	e = e ? e : &local;
	int r = check_write(s, NULL, e);
	if (r)
		return r;
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return store_err(s, NULL, e, -EIO, "no random bytes");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(key + strlen(key), 3, "%02x", random[i]);
	r = store_put(s, key, "1", 1, PUT_EXCLUSIVE, e);
	if (r == -EOPNOTSUPP) {
		err_clear(e);
		*ret = false;
		return 0;
	}
	if (r)
		return r;
	struct err second = ERR_INIT;
	r = store_put(s, key, "2", 1, PUT_EXCLUSIVE, &second);
	struct err removal = ERR_INIT;
	int d = store_delete(s, key, &removal);
	if (r && r != -EEXIST && r != -EOPNOTSUPP)
		return err_move(e, &second);
	if (d)
		return err_move(e, &removal);
	*ret = r == -EEXIST;
	return 0;
}

int store_prepare(struct store *s, struct err *e)
{
	struct err local = ERR_INIT;
	e = e ? e : &local;
	if (!s->writable)
		return 0;
	return s->backend->prepare(s, e);
}
