/*
 * Formats of dates and times as contracts write them: the letters of Java's DateTimeFormatter, "dd/MM/yyyy HH:mm".
 *
 * Known are y u M d H h m s S a E and the zones X x Z, texts in single quotes, and all that is no letter; names of months and days are English.  One
 * letter takes one digit or two (years: any number), several take as many as they are.  A T stands for itself, as many write it.
 *
 * A format is constant once made; any thread may read with it.
 */
#ifndef MESHFS_CATALOG_DATE_FORMAT_H
#define MESHFS_CATALOG_DATE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct date_format;

/* 0, -ENOMEM, or -EOPNOTSUPP: it has a letter that is not known. */
int date_format_new(const char *text, struct date_format **ret);
void date_format_free(struct date_format *f);
/* The moment that a text says, since 1970 UTC; of a format without a day, since midnight.  False: it is not of the format, or there is no such day
 * or hour. */
bool date_format_read(const struct date_format *f, const char *text, size_t len, int64_t *ret_ns);

#endif
