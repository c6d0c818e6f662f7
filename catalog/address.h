/*
 * Addresses: `sales/orders/1.2.0/part-0.csv`, the name of a thing everywhere (command line, mount, lineage, policy).
 * Pure functions.
 */
#ifndef MESHFS_CATALOG_ADDRESS_H
#define MESHFS_CATALOG_ADDRESS_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define NAME_SIZE 64     /* domains and products: at most 63 bytes */
#define VERSION_SIZE 36  /* three numbers of up to 10 digits */

struct semver {
	uint32_t major, minor, patch;
};

/* MAJOR.MINOR.PATCH, decimal, no leading zeros, each below 2^31.  0 or -EINVAL. */
int semver_parse(const char *text, struct semver *ret);
void semver_format(const struct semver *v, char ret_text[VERSION_SIZE]);
int semver_compare(const struct semver *a, const struct semver *b);

/* What stands in the third part of an address: an exact version, or "latest", "1", "1.2". */
struct version_selector {
	int parts; /* 0: latest, 1: MAJOR, 2: MAJOR.MINOR, 3: exact */
	struct semver v;
};
int version_selector_parse(const char *text, struct version_selector *ret); /* 0 or -EINVAL */
bool version_selector_matches(const struct version_selector *s, const struct semver *v);

struct address {
	char domain[NAME_SIZE];
	char product[NAME_SIZE];    /* "" when the address ends before it */
	char version[VERSION_SIZE]; /* as written: may be a selector; "" when absent */
	const char *path;           /* the rest, borrowed from the parsed text; "" when absent */
};

/* [a-z0-9][a-z0-9._-]{0,62}; `what` ("domain", "product") stands in the error.  Products may not be named `latest`,
 * `README.md`, `contract.yaml` or `.mesh`.  0 or -EINVAL (kind ERR_PARSE). */
int name_check(const char *what, const char *name, struct err *e);

/* Reads an address of one to four parts; a leading "/" and trailing "/" are ignored.  0 or -EINVAL (kind ERR_PARSE, says what is
 * wrong with which part). */
int address_parse(const char *text, struct address *ret, struct err *e);

#endif
