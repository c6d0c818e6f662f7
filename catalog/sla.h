/*
 * Service levels of a contract (ODCS `slaProperties`) that can be measured: latency (how old the newest value of a column may be), retention
 * (how old the oldest), frequency (how often a version is promised).  The others are words for people.
 */
#ifndef MESHFS_CATALOG_SLA_H
#define MESHFS_CATALOG_SLA_H

#include "catalog/contract.h"

#include <stdbool.h>
#include <stdint.h>

/* `value` and `unit` of a property as a time.  NULL, or why it is none, in words. */
const char *sla_duration(const struct doc_node *property, int64_t *ret_ns);
/* The promised time between versions; false: none is. */
bool sla_frequency(const struct contract *c, int64_t *ret_ns);
/* The column that a property is about (`element`, else slaDefaultElement), as "object.column"; several are separated by commas.  NULL: none. */
const char *sla_element(const struct contract *c, const struct doc_node *property);

#endif
