/*
 * Personal data in text: what looks like an address, a number of a card, an account or a person.
 *
 * Entities have Presidio's names.  What carries a check digit counts only when it verifies (cards by Luhn, IBANs modulo 97 and
 * by the length of their country).  Linear in the length of the text; pure; any thread.
 */
#ifndef MESHFS_CATALOG_ENTITY_H
#define MESHFS_CATALOG_ENTITY_H

#include <stdbool.h>
#include <stddef.h>

enum entity {
	ENTITY_EMAIL_ADDRESS = 1 << 0,
	ENTITY_PHONE_NUMBER = 1 << 1,
	ENTITY_US_SSN = 1 << 2,
	ENTITY_CREDIT_CARD = 1 << 3,
	ENTITY_IBAN_CODE = 1 << 4,
	ENTITY_IP_ADDRESS = 1 << 5,
	ENTITY_URL = 1 << 6,
	ENTITY_ALL = (1 << 7) - 1,
};

/* Calls `each` for every entity of the `wanted` kinds (0: all), from left to right, none overlapping. */
void entity_find(unsigned wanted, const char *text, size_t len, void (*each)(void *arg, unsigned entity, size_t start, size_t len), void *arg);
const char *entity_name(unsigned entity);     /* "EMAIL_ADDRESS"; NULL for no single entity */
unsigned entity_by_name(const char *name); /* 0: none */

#endif
