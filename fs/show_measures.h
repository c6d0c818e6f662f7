/* The measures of a product (catalog/measures.h) as show, status and Prometheus tell them. */
#ifndef MESHFS_FS_SHOW_MEASURES_H
#define MESHFS_FS_SHOW_MEASURES_H

#include "catalog/base/json.h"
#include "catalog/measures.h"

/* JSON: a field `measures`.  `use` NULL: not for the caller. */
void show_measures_json(const struct product_measures *m, const struct product_use *use, int64_t now_ns, struct json *j);
/* Lines of show. */
void show_measures_lines(const struct product_measures *m, const struct product_use *use, int64_t now_ns, struct buf *out);
/* "2 checks fail, last good version 3 days old; a version is overdue", or "" when nothing is wrong. */
void show_measures_problem(const struct product_measures *m, int64_t now_ns, struct buf *out);

/* "3 h", "12 days" */
void show_age(int64_t ns, char ret[32]);

/* Prometheus text: one product's lines are added metric by metric, as its format wants those of one metric together. */
struct measure_lines {
	struct buf metrics[8];
};
void measure_lines_add(struct measure_lines *l, const char *domain, const char *product, const struct product_measures *m,
		       const struct product_use *use, int64_t now_ns);
/* Writes them all with their heads, and frees. */
void measure_lines_end(struct measure_lines *l, struct buf *out);

#endif
