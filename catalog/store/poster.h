/*
 * Sends texts to a web address by POST, with the engine's retries and deadline: for events that other programs collect.
 *
 * A text counts as taken when the server answers 2xx.  One whose answer was lost may have been taken as well: the receiver tells by the text, which is
 * the same each time.  Thread rules: one thread at a time.
 */
#ifndef MESHFS_CATALOG_STORE_POSTER_H
#define MESHFS_CATALOG_STORE_POSTER_H

#include "catalog/base/err.h"

#include <stddef.h>

struct transfer;
struct poster;

/* `label` stands in messages; `headers` ("Name: value\n" each) go with every text and are in no message.  Both are copied. */
int poster_open(struct transfer *t, const char *label, const char *url, const char *headers, struct poster **ret, struct err *e);
int poster_send(struct poster *p, const void *body, size_t len, struct err *e);
void poster_close(struct poster *p); /* NULL is legal */

#endif
