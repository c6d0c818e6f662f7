/*
 * AWS Signature Version 4, for S3.  A pure function of its arguments.
 *
 * It is here, and not left to libcurl, because what libcurl signs depends on its version: 7.88 takes the query as it
 * comes and 8.x sorts and encodes it anew.
 */
#ifndef MESHFS_CATALOG_STORE_SIGV4_H
#define MESHFS_CATALOG_STORE_SIGV4_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdint.h>

struct sigv4 {
	const char *access, *secret;
	const char *token;   /* of temporary credentials, or NULL */
	const char *region;
	const char *method;  /* "GET" */
	const char *url;     /* path and query encoded as url_encode does, query parameters sorted, each with its '=' */
	const char *body_sha256; /* hex, or "UNSIGNED-PAYLOAD" */
	int64_t time_s;
};

/* Appends the headers x-amz-date, x-amz-content-sha256, x-amz-security-token and Authorization, a line each.  0 or -errno. */
int sigv4_sign(const struct sigv4 *s, struct buf *out);

#endif
