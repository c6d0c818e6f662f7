/*
 * What a kind of store implements.  Private to catalog/store.
 *
 * store.c checks keys and arguments and then calls through `struct backend`; so a backend may rely on a valid key, a
 * writable store in the writing calls and a non-NULL `struct err`.  A call that a backend leaves NULL is answered by store.c with
 * -EROFS (writing) or -EOPNOTSUPP (listing).
 */
#ifndef MESHFS_CATALOG_STORE_BACKEND_H
#define MESHFS_CATALOG_STORE_BACKEND_H

#include "catalog/store/store.h"

#include <time.h>

#define STORE_KEY_MAX 4096  /* bytes; file systems and S3 (1024) refuse earlier in their own words */

struct backend {
	int (*fetch)(struct store *s, const struct fetch_request *r, struct fetch **ret, struct err *e);
	int (*get)(struct store *s, const char *key, size_t max_bytes, struct buf *ret, struct object_info *info, struct err *e);
	/* The bytes go to `fd`, an empty local file. */
	int (*get_fd)(struct store *s, const char *key, int fd, struct object_info *info, struct err *e);
	int (*get_range)(struct store *s, const char *key, uint64_t offset, size_t len, const char *if_match, void *bytes, struct err *e);
	int (*head)(struct store *s, const char *key, struct object_info *info, struct err *e);
	int (*put)(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e);
	/* `fd` is a local file of `size` bytes. */
	int (*put_fd)(struct store *s, const char *key, int fd, uint64_t size, void (*progress)(void *, uint64_t), void *arg, struct err *e);
	int (*delete)(struct store *s, const char *key, struct err *e);
	int (*list)(struct store *s, const char *prefix, int (*each)(void *, const char *, const struct object_info *), void *arg,
		    struct err *e);
	int (*prepare)(struct store *s, struct err *e);
	bool (*ours)(const struct store *s);    /* NULL: whenever it is writable */
	bool (*healthy)(const struct store *s); /* NULL: always */
	void (*free)(struct store *s);          /* what follows the base, and the base's own memory */
};

/* The first member of each kind of store. */
struct store {
	const struct backend *backend;
	struct transfer *transfer; /* borrowed */
	char *label, *url;         /* owned by store.c */
	bool writable;
};

/* The first member of each kind of request under way. */
struct fetch {
	void (*cancel)(struct fetch *f);
	void (*raise)(struct fetch *f, enum fetch_priority priority);
};

/* Each makes a store of its kind from a URL whose scheme was recognised; base.label and base.url are filled in by store.c. */
int file_store_new(struct transfer *t, const char *url, struct store **ret, struct err *e);

/* "sales: .mesh/HEAD: …" in front of a reason. */
int store_err(const struct store *s, const char *key, struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Relative, '/'-separated, no empty, "." or ".." part, no NUL, at most STORE_KEY_MAX bytes. */
bool store_key_valid(const char *key);

/* Writes `value` into an object_info's etag; one that is too long or holds control bytes leaves "". */
void object_info_set_etag(struct object_info *info, const char *value, size_t len);

#endif
