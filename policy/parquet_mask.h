/*
 * What a masked Parquet column is afterwards: the type, in the engine's words, that holds every value of the mask exactly, and is the
 * column's own where the mask allows.  A value that a type cannot hold after all (an integer next to 2^63, rounded up) is null.
 *
 * Pure functions; any thread.
 */
#ifndef MESHFS_POLICY_PARQUET_MASK_H
#define MESHFS_POLICY_PARQUET_MASK_H

#include "catalog/base/buf.h"
#include "policy/mask.h"
#include "policy/parquet_footer.h"

#define PARQUET_TYPE_TEXT_MAX 32

/* The name of the type: "DATE", "DECIMAL(12,2)", "VARCHAR"… */
void parquet_type_after(const struct parquet_element *el, const struct mask_run *m, char ret[PARQUET_TYPE_TEXT_MAX]);

/* Bytes that the file does not call a text: the engine writes those that are not printable as \xHH, and so each backslash. */
bool parquet_is_escaped(const struct parquet_element *el);

/* Does the file call it a text, or bytes that may be one? */
bool parquet_is_text(const struct parquet_element *el);

#endif
