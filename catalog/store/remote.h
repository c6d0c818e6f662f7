/*
 * What http(s):// and s3:// have in common: objects are at a URL each, and are read through a lane.  Private to
 * catalog/store.
 */
#ifndef MESHFS_CATALOG_STORE_REMOTE_H
#define MESHFS_CATALOG_STORE_REMOTE_H

#include "catalog/store/backend.h"
#include "catalog/store/transfer.h"

/* The first member of both kinds. */
struct remote {
	struct store base;
	struct lane *lane;
	char *prefix; /* the URL under which the objects are; ends in '/' */
};

char *remote_url(const struct remote *r, const char *key); /* NULL without memory */
void remote_fini(struct remote *r);

int remote_fetch(struct store *s, const struct fetch_request *q, struct fetch **ret, struct err *e);
int remote_get(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *info, struct err *e);
int remote_get_fd(struct store *s, const char *key, int fd, struct object_info *info, struct err *e);
int remote_get_range(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *bytes, struct err *e);
int remote_head(struct store *s, const char *key, struct object_info *info, struct err *e);
bool remote_healthy(const struct store *s);

/* The whole answer of a GET as text (lists). */
int remote_get_url(struct remote *r, const char *url, const char *key, size_t max_bytes, struct buf *ret, struct http_answer *answer,
		   struct err *e);

/* Each makes a store from its URL; `region` and `endpoint` may be NULL. */
int http_store_new(struct transfer *t, const char *label, const char *url, struct store **ret, struct err *e);
int s3_store_new(struct transfer *t, const char *label, const char *url, const char *endpoint, const char *region, struct store **ret,
		 struct err *e);

#endif
