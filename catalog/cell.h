/*
 * A cell of a table: a value as text, and what that text says as a number or a moment: parsed when first asked for, then known.
 *
 * Numbers are written as CSV and JSON write them, moments as ISO 8601 does.  A value belongs to one thread.
 */
#ifndef MESHFS_CATALOG_CELL_H
#define MESHFS_CATALOG_CELL_H

#include "catalog/records.h"

struct cell {
	enum value_kind kind;
	const char *text; /* not NUL-terminated; borrowed */
	size_t len;
	/* Ask with the functions below. */
	bool number_known, moment_known;
	bool is_number, is_integer; /* by its digits alone */
	bool has_number, has_moment; /* and it fits */
	double number;
	int64_t moment_ns;
};

/* Has it the digits of a number: [+-]digits[.digits][e[+-]digits], of an integer: [+-]digits? */
bool cell_is_number(struct cell *v);
bool cell_is_integer(struct cell *v);
/* The finite number; the moment in nanoseconds since 1970.  False: it is none. */
bool cell_number(struct cell *v, double *ret);
bool cell_moment(struct cell *v, int64_t *ret_ns);
/* The one way to write a number: 1 for 01, +1, 1.0 and 1e0, and 0 for -0.  Into `room`; 0: the text is that already, or no number (or one of very many
 * digits, which stays as it is). */
#define CELL_NUMBER_MAX 256
size_t cell_plain_number(const struct cell *v, char room[CELL_NUMBER_MAX]);

#endif
