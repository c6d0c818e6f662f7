/*
 * A version as Croissant 1.1 (JSON-LD that machine-learning tools load data sets from): its files, and the columns that its contract
 * names as record sets.
 *
 *     croissant_start(&c, &info, contract, &text);  croissant_file(&c, &f) …  croissant_end(&c)
 *
 * What is not given is not told: the caller hands over the contract and the files as the reader may see them.  Pure; one thread.
 */
#ifndef MESHFS_CATALOG_CROISSANT_H
#define MESHFS_CATALOG_CROISSANT_H

#include "catalog/base/buf.h"
#include "catalog/base/json.h"
#include "catalog/contract.h"

#include <stdbool.h>
#include <stdint.h>

#define CROISSANT_RECORD_SETS_MAX 1000 /* beyond it, files are named and no records of them described */

struct croissant_info {
	const char *name;        /* "sales/orders" */
	const char *title, *description; /* or NULL */
	const char *version;
	const char *address;
	const char *owner;       /* or NULL */
	int64_t published_ns;
	const char *prefix;      /* in front of every path in a contentUrl: "../" */
};

struct croissant_content {
	const char *path;
	const char *media_type;
	const char *sha256;  /* hex, or NULL: not known without reading it */
	bool size_known;
	uint64_t size;
};

struct croissant {
	struct json j;
	struct buf *out;
	const struct croissant_info *info;
	struct contract *contract;
	struct buf records; /* of the files so far: written after them */
	struct json records_json;
	unsigned record_sets;
	bool unhashed;
};

void croissant_start(struct croissant *c, const struct croissant_info *info, struct contract *contract, struct buf *out);
void croissant_file(struct croissant *c, const struct croissant_content *f);
int croissant_end(struct croissant *c); /* 0 or -ENOMEM */

#endif
