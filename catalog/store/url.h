/* URLs of stores, and names inside them.  Pure functions. */
#ifndef MESHFS_CATALOG_STORE_URL_H
#define MESHFS_CATALOG_STORE_URL_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>

/* Appends `text` with every byte but A-Z a-z 0-9 - _ . ~ (and '/' when `keep_slash`) as %XX: the form that S3 signs. */
void url_encode(struct buf *out, const char *text, size_t len, bool keep_slash);
/* Appends the bytes of an encoded text ('+' is a blank, as S3 lists write it).  0, or -EBADMSG for a bad %XX or a NUL byte. */
int url_decode(struct buf *out, const char *text, size_t len);

/* The path of a file:// URL (host: none or localhost; %XX decoded), the caller's; NULL when it is not one, or has no such path. */
char *url_file_path(const char *url);

struct url_parts {
	bool tls;
	const char *host; /* with its port */
	size_t host_len;
	const char *path; /* from the '/' on, "" when absent; without query */
	size_t path_len;
	const char *query; /* after the '?', "" when absent */
};
/* An http(s) URL.  Refuses credentials in it, fragments, blanks and control characters: -EINVAL (ERR_PARSE). */
int url_split(const char *url, struct url_parts *ret, struct err *e);

#endif
