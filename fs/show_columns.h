/* What changed in the values of columns from one version to another, by the distributions that quality.json keeps. */
#ifndef MESHFS_FS_SHOW_COLUMNS_H
#define MESHFS_FS_SHOW_COLUMNS_H

#include "catalog/base/buf.h"
#include "catalog/base/doc.h"
#include "catalog/base/json.h"

#include <stdbool.h>

/* Both are quality.json of a version all of which the caller may see; NULL: it has none.  JSON: a field `columns`; else lines into `out`. */
void show_column_changes(const struct doc *before, const struct doc *after, bool as_json, struct json *j, struct buf *out);

#endif
