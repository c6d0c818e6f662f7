/*
 * The transfer engine of a process, as the kinds of store see it.  Private to catalog/store.
 */
#ifndef MESHFS_CATALOG_STORE_TRANSFER_H
#define MESHFS_CATALOG_STORE_TRANSFER_H

#include "catalog/store/store.h"

struct file_reader;

/* The configuration with its defaults filled in. */
const struct transfer_config *transfer_settings(const struct transfer *t);
/* The I/O threads for local files; started when first asked for.  NULL without memory or threads. */
struct file_reader *transfer_reader(struct transfer *t);

#endif
