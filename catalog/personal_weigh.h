/*
 * How much it says that something in a value looks like personal data.  Order numbers, moments and codes look like phone numbers and the like; what
 * makes the difference is how it is written, whether it is all of the value, and what the column is called.  Pure functions.
 */
#ifndef MESHFS_CATALOG_PERSONAL_WEIGH_H
#define MESHFS_CATALOG_PERSONAL_WEIGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum personal_weight {
	PERSONAL_NOT,
	PERSONAL_MAYBE, /* bare digits that could be a phone number: counts when nearly all of a column are like that */
	PERSONAL_VALUE, /* all of the value */
	PERSONAL_WITHIN, /* within other text, written as people write such things */
};

/* `text[start … start + found)` was found to be of an entity (entity.h); `hints`: entities that the column's name speaks of. */
enum personal_weight personal_weigh(unsigned entity, const char *text, size_t len, size_t start, size_t found, unsigned hints);

/* Of `examined` values of a column, so many of each weight: are there more than chance makes? */
bool personal_is_telling(unsigned entity, uint64_t maybe, uint64_t value, uint64_t within, uint64_t examined);

#endif
