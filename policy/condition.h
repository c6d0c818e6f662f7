/* One condition over rows, from a text that stands outside any policy file: a view's canonical `rows`, a `--where`. */
#ifndef MESHFS_POLICY_CONDITION_H
#define MESHFS_POLICY_CONDITION_H

#include "catalog/base/err.h"
#include "policy/expr.h"

/* `name` stands in errors.  Columns are written row.x.  -EINVAL with the position. */
int condition_parse(const char *name, const char *text, struct expr **ret, struct err *e);
/* The text of a `--where`: columns are bare words, `customer_id == 17 and not (country in {DE, FR})`.  It must speak of a column. */
int condition_parse_where(const char *text, struct expr **ret, struct err *e);
/*
 * Types the columns of a condition after `object` (NULL: no contract); a column that the contract does not name takes the type of what it is
 * compared with.   -EINVAL: compared with something of another type.
 */
int condition_bind(const struct expr *x, const struct contract_object *object, struct expr **ret, struct err *e);

#endif
