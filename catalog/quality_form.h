/*
 * Forms of values that need more than their type: integers of so many bits, and what JSON objects and arrays must hold.
 * Constant once made; any thread may judge with them.
 */
#ifndef MESHFS_CATALOG_QUALITY_FORM_H
#define MESHFS_CATALOG_QUALITY_FORM_H

#include "catalog/base/doc.h"
#include "catalog/cell.h"

/* i8 … i128, u8 … u128. */
struct integer_form;
const struct integer_form *integer_form_find(const char *name); /* NULL: no such form */
bool integer_form_fits(const struct integer_form *f, struct cell *v);

/* Does an object or array (its JSON text) keep to the logicalTypeOptions minItems maxItems uniqueItems, minProperties maxProperties required?
 * Items are the same when they are written alike, whatever the space between.  1, 0 or -ENOMEM. */
int container_fits(const struct doc_node *options, const struct cell *v);

/* Calls `each` with every item of an array (its JSON text): objects and arrays as their text, the others as what they say.  1; 0: `each` said false of
 * one, or it could not be read; -ENOMEM. */
int container_each(const struct cell *array, bool (*each)(void *arg, struct cell *item), void *arg);

#endif
