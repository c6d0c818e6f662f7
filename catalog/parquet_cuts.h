/*
 * Where to cut a Parquet file: at the boundaries of its column chunks, and before its footer, so that a view that drops a column
 * never fetches its bytes.
 *
 * The footer is a Thrift compact structure; only the offsets are collected, with every length checked.  On any doubt
 * (-EBADMSG) the file is cut by its content instead.
 */
#ifndef MESHFS_CATALOG_PARQUET_CUTS_H
#define MESHFS_CATALOG_PARQUET_CUTS_H

#include <stddef.h>
#include <stdint.h>

#define PARQUET_FOOTER_MAX (64u << 20)
#define PARQUET_CUTS_MAX (1u << 20)

/* The footer's length from the file's last 8 bytes; 0 when they are not Parquet's. */
uint32_t parquet_footer_length(const unsigned char tail[8], uint64_t file_size);
/* `footer` of `len` bytes stands before the last 8.  `ret` (ascending, distinct, within the file) is the caller's to free. */
int parquet_cuts(const void *footer, size_t len, uint64_t file_size, uint64_t **ret, size_t *ret_count);

#endif
