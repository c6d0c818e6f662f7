#include "fs/reader_internal.h"

#include <errno.h>

int view_content_init(struct content *c, struct domain *d, struct transform *view, struct err *e)
{
	(void)d;
	(void)view;
	return err_set(e, -EACCES, "%s: this build serves no views", c->path);
}

void view_content_fini(struct content *c)
{
	(void)c;
}

int view_content_size(const struct content *c, uint64_t *ret_size)
{
	(void)c;
	(void)ret_size;
	return -EACCES;
}

int view_content_hash(const struct content *c, struct xxh128 *ret)
{
	(void)c;
	(void)ret;
	return -ENODATA;
}

int view_content_prepare(struct content *c, int64_t deadline_ms, content_ready done, void *arg, uint64_t *ret_token)
{
	(void)c;
	(void)deadline_ms;
	(void)ret_token;
	done(arg, -EACCES, "this build serves no views");
	return 0;
}

void view_content_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	(void)c;
	(void)offset;
	(void)len;
	(void)ret_token;
	done(arg, -EACCES, NULL, 0);
}

int view_content_whole_fd(struct content *c, int *ret_fd)
{
	(void)c;
	(void)ret_fd;
	return -EAGAIN;
}

uint64_t view_content_fetched(const struct content *c)
{
	(void)c;
	return 0;
}

int view_content_warm(struct content *c, void (*progress)(void *arg, uint64_t bytes), void *arg, struct err *e)
{
	(void)progress;
	(void)arg;
	return err_set(e, -EACCES, "%s: this build serves no views", c->path);
}
