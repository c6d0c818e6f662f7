/*
 * Scrubbing: personal data inside free text is replaced by its type, as "<EMAIL_ADDRESS>".
 *
 * Entities have Presidio's names.  What carries a check digit is replaced only when it verifies (cards by Luhn, IBANs modulo
 * 97 and by the length of their country).  Linear in the length of the text; pure; any thread.
 */
#ifndef MESHFS_POLICY_SCRUB_H
#define MESHFS_POLICY_SCRUB_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* `entities`: enum scrub_entity bits; 0 stands for all. */
void scrub_text(unsigned entities, const char *text, size_t len, struct buf *ret);

#endif
