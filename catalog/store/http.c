/* http:// and https://: a folder on a web server, read only. */
#include "catalog/store/remote.h"
#include "catalog/store/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void http_free(struct store *s)
{
	remote_fini((struct remote *)s);
	free(s);
}

static const struct backend http_backend = {
	.fetch = remote_fetch,
	.get = remote_get,
	.get_fd = remote_get_fd,
	.get_range = remote_get_range,
	.head = remote_head,
	.healthy = remote_healthy,
	.free = http_free,
};

int http_store_new(struct transfer *t, const char *label, const char *url, struct store **ret, struct err *e)
{
	struct url_parts u;
	int r = url_split(url, &u, e);
	if (r)
		return r;
	if (*u.query || u.path[u.path_len])
		return err_set_kind(e, ERR_PARSE, -EINVAL, "the address of a store has no query (\"?…\")");
	struct remote *s = calloc(1, sizeof *s);
	struct buf prefix = BUF_INIT;
	buf_adds(&prefix, url);
	if (u.path_len == 0 || u.path[u.path_len - 1] != '/')
		buf_addc(&prefix, '/');
	if (!s || !(s->prefix = buf_take(&prefix))) {
		buf_free(&prefix);
		free(s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->base.backend = &http_backend;
	s->base.writable = false;
	struct lane_config config = { .label = label, .probe_url = s->prefix, .redirects = true };
	r = lane_new(t, &config, &s->lane, e);
	if (r) {
		http_free(&s->base);
		return r;
	}
	*ret = &s->base;
	return 0;
}
