/* One condition over rows, from a text that stands outside any policy file: a view's canonical `rows`, a `--where`. */
#ifndef MESHFS_POLICY_CONDITION_H
#define MESHFS_POLICY_CONDITION_H

#include "catalog/base/err.h"
#include "policy/expr.h"

/* `name` stands in errors.  Columns are written row.x.  -EINVAL with the position. */
int condition_parse(const char *name, const char *text, struct expr **ret, struct err *e);

#endif
