/* The JSONL half of records.h: one record is one JSON object. */
#ifndef MESHFS_CATALOG_RECORDS_JSON_H
#define MESHFS_CATALOG_RECORDS_JSON_H

#include "catalog/records.h"

struct records_json;

int records_json_new(struct records *owner, const struct records_callbacks *callbacks, struct records_json **ret);
void records_json_free(struct records_json *j);
int records_json_record(struct records_json *j, uint64_t number, uint64_t line, const char *text, size_t len);

#endif
