/* What the files of the s3:// store share.  Private to catalog/store. */
#ifndef MESHFS_CATALOG_STORE_S3_H
#define MESHFS_CATALOG_STORE_S3_H

#include "catalog/store/credentials.h"
#include "catalog/store/remote.h"

#define S3_ANSWER_MAX (16u << 20) /* bytes of one page of a list */
#define S3_PART_MIN (8u << 20)
#define S3_PARTS_MAX 10000
#define S3_PARTS_IN_FLIGHT 4      /* also the memory an upload takes, in parts */
#define S3_SINGLE_MAX (32u << 20) /* larger files go up in parts */

/* Fields do not change after s3_store_new, so every thread may read them. */
struct s3 {
	struct remote remote;
	struct credentials credentials;
	char *region, *bucket;
	char *prefix;     /* of keys in the bucket: "" or "mesh/" */
	char *bucket_url; /* where the bucket's own requests go; ends in '/' */
	bool tls;         /* else bodies are hashed for the signature, because nothing else protects them */
};

/* An answer with a body: what it says went wrong, in words.  See lane_config.explain. */
int s3_explain(void *arg, const struct http_answer *a, const char *key, struct err *e);

/* The text of one element of an answer, e.g. "InitiateMultipartUploadResult/UploadId": 0, -ENOENT or -EBADMSG. */
int s3_element(const struct buf *xml, const char *path, struct buf *ret);

/* PUT or POST of bytes that stay where they are until it is done; `hash` gets the hex SHA-256 when one is needed. */
const char *s3_body_hash(const struct s3 *s, const void *bytes, size_t len, char hash[65]);
/* A request that is not for a plain object's bytes. */
int s3_call(struct s3 *s, enum http_method m, const char *url, const char *key, const char *headers, const void *body, size_t len,
	    struct http_answer *answer, struct err *e);

int s3_put(struct store *s, const char *key, const void *bytes, size_t len, enum put_mode mode, struct err *e);
int s3_put_fd(struct store *s, const char *key, int fd, uint64_t size, void (*progress)(void *, uint64_t), void *arg, struct err *e);

#endif
