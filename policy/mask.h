/*
 * Masks on values: one function for every format, so that the same rule gives the same value everywhere.
 *
 * A mask sees the text of a value (a CSV field or a JSON string without its quoting, a number as it was written) and gives a
 * text, or null when it cannot apply.  Null stays null under every mask: callers do not ask.
 *
 * Thread rules: a mask_run is immutable after mask_prepare; any thread.
 */
#ifndef MESHFS_POLICY_MASK_H
#define MESHFS_POLICY_MASK_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "policy/transform.h"
#include "policy/view.h"

#include <stdbool.h>
#include <stddef.h>

#define MASK_REDACTED "REDACTED"
#define MASK_HMAC_SIZE 32 /* hex characters */

/* A decimal number: (-1)^negative * digits * 10^exponent, exact. */
struct decimal {
	bool negative;
	unsigned __int128 digits;
	int exponent;
};

/* JSON's number syntax, and what CSV adds to it: a leading '+', leading zeros, a bare point on one side.  At most 36 significant
 * digits and exponents within +-60; anything else is no number.  */
bool decimal_parse(const char *text, size_t len, struct decimal *ret);

/* A mask with its key loaded. */
struct mask_run {
	struct mask mask;
	struct hmac_key *key;  /* MASK_HMAC; owned */
	struct decimal number; /* MASK_ROUND, MASK_TOP */
	bool number_ok;        /* false: the number is of no use, every value becomes null */
};

/* Loads the key of an hmac mask; -EACCES when it is not there or its fingerprint is not the mask's. */
int mask_prepare(const struct mask *m, const struct view_keys *keys, struct mask_run *ret, struct err *e);
void mask_fini(struct mask_run *m);

/* Appends the masked text and returns true, or returns false: null.  MASK_DROP and MASK_NULL give null, MASK_KEEP the text.  What is
 * appended under MASK_ROUND and MASK_TOP is again a number. */
bool mask_value(const struct mask_run *m, const char *text, size_t len, struct buf *ret);

/* Does the mask give a number for a number (and a text otherwise)? */
bool mask_keeps_number(const struct mask_run *m);

/* Is this three-digit area one of those with 20,000 people or fewer (HIPAA safe harbor, census of 2000)? */
bool mask_zip3_is_small(const char area[3]);

#endif
