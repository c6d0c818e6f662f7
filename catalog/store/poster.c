#include "catalog/store/poster.h"

#include "catalog/store/transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct poster {
	struct lane *lane;
	char *url, *headers;
};

int poster_open(struct transfer *t, const char *label, const char *url, const char *headers, struct poster **ret, struct err *e)
{
	struct poster *p = calloc(1, sizeof *p);
	if (!p || !(p->url = strdup(url)) || !(p->headers = strdup(headers))) {
		poster_close(p);
		return err_set(e, -ENOMEM, "out of memory");
	}
	struct lane_config config = { .label = label, .probe_url = p->url };
	int r = lane_new(t, &config, &p->lane, e);
	if (r)
		poster_close(p);
	else
		*ret = p;
	return r;
}

int poster_send(struct poster *p, const void *body, size_t len, struct err *e)
{
	struct http_answer a = { 0 };
	struct http_call call = { .method = HTTP_POST, .url = p->url, .headers = p->headers, .body = body, .body_len = len };
	int r = lane_call(p->lane, &call, NULL, &a, e);
	buf_free(&a.body);
	return r;
}

void poster_close(struct poster *p)
{
	if (!p)
		return;
	lane_free(p->lane);
	free(p->url);
	free(p->headers);
	free(p);
}
