/*
 * S3 credentials and settings from where every S3 tool looks: the environment, then the profile (AWS_PROFILE, or
 * "default") in the shared credentials and config files.
 */
#ifndef MESHFS_CATALOG_STORE_CREDENTIALS_H
#define MESHFS_CATALOG_STORE_CREDENTIALS_H

#include "catalog/base/err.h"

#include <stddef.h>

struct credentials {
	char *access, *secret; /* both NULL: none were found, requests are anonymous */
	char *token;           /* may be NULL */
	char *region;          /* may be NULL, as may be */
	char *endpoint;
};

/* Reads the environment and the files.  A named profile that does not exist, half a pair of keys and a file that does not parse are
 * errors. */
int credentials_load(struct credentials *ret, struct err *e);
/* The settings of one profile in the text of such a file; what `c` has already stays.  `config` files call the section "profile NAME".
 * 1 when the profile is there, 0 when not, -errno. */
int credentials_parse(const char *name, const char *text, size_t len, const char *profile, int config, struct credentials *c,
		      struct err *e);
/* Overwrites the secrets with zeros and frees them. */
void credentials_fini(struct credentials *c);

#endif
