/* The JSONL half of records.h: one record is one JSON object. */
#ifndef MESHFS_CATALOG_RECORDS_JSON_H
#define MESHFS_CATALOG_RECORDS_JSON_H

#include "catalog/base/buf.h"
#include "catalog/records.h"

struct records_json;

int records_json_new(struct records *owner, const struct records_callbacks *callbacks, struct records_json **ret);
void records_json_free(struct records_json *j);
int records_json_record(struct records_json *j, uint64_t number, uint64_t line, const char *text, size_t len);
/* The text that a JSON string (with its quotes) says, added to `out`.  False: it says none, or without memory. */
bool records_json_text(const char *quoted, size_t len, struct buf *out);

#endif
