/*
 * The measures of a product: who uses it, how fresh it is, whether its newest version keeps its promises.
 *
 * What the catalog knows (product_measures) and what this host's lineage database knows (product_uses) are asked for apart, as the second is not
 * for everybody.
 */
#ifndef MESHFS_CATALOG_MEASURES_H
#define MESHFS_CATALOG_MEASURES_H

#include "catalog/base/err.h"
#include "catalog/base/map.h"
#include "catalog/domain.h"

#include <stdbool.h>
#include <stdint.h>

struct product_measures {
	char version[VERSION_SIZE];  /* the newest active one; "": none */
	int64_t published_ns;
	int64_t good_ns;             /* when the newest one without failing checks was published; 0: never */
	int64_t failed_errors, failed_warnings; /* of the newest; -1: nothing was checked */
	int64_t frequency_ns;        /* the promised time between versions; 0: none */
	bool overdue;                /* … has passed since the newest one */
};
/* -ENOENT: no such product.  `now_ns`: what overdue is measured by. */
int product_measures(struct snapshot *s, const char *product, int64_t now_ns, struct product_measures *ret);

/* What a version's own checks say for it in a ranking, at most 1.  `v` NULL: nothing that the caller may know. */
double version_merit(struct snapshot *s, const char *product, const struct version_info *v);

struct product_use {
	int64_t readers, runs, opens, last_ns; /* users and runs that were served some of it; opens; the last of them */
};

/* What this host's lineage database says, as a map from "domain/product" to struct product_use.  A database that is not there yet: an empty
 * map.  product_uses_free it. */
int product_uses(const char *lineage_db, struct map **ret, struct err *e);
void product_uses_free(struct map *uses); /* NULL is legal */
/* Borrowed; all zero for what nobody read. */
const struct product_use *product_use_of(const struct map *uses, const char *domain, const char *product);

/*
 * A product's place among search results: how relevant it is (snapshot_search), times what is held against it or speaks for it.  Failing checks
 * of its newest version take up to four tenths, deprecation half, retirement three quarters; use adds up to half, by the logarithm of
 * its runs.  `status`: its contract's, or NULL.  `merit`: its newest version's.  `use` is NULL where the caller may not know it, and weighs nothing then.
 */
double product_rank(double relevance, const char *status, double merit, const struct product_use *use);

#endif
