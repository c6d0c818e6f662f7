/*
 * Thrift's compact protocol: as much of it as Parquet's metadata needs.
 *
 * A reader walks bytes that it borrows and never goes beyond them: after the first offence `bad` is set and everything reads as zero or
 * empty.  Values may be skipped and copied raw, so that what a version of the format adds survives.
 */
#ifndef MESHFS_POLICY_THRIFT_H
#define MESHFS_POLICY_THRIFT_H

#include "catalog/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THRIFT_DEPTH_MAX 32

enum thrift_type {
	THRIFT_STOP = 0, THRIFT_TRUE = 1, THRIFT_FALSE = 2, THRIFT_BYTE = 3, THRIFT_I16 = 4, THRIFT_I32 = 5, THRIFT_I64 = 6,
	THRIFT_DOUBLE = 7, THRIFT_BINARY = 8, THRIFT_LIST = 9, THRIFT_SET = 10, THRIFT_MAP = 11, THRIFT_STRUCT = 12,
};

struct thrift_reader {
	const unsigned char *at, *end;
	bool bad;
};

/* The next field of a struct: false at its end.  `*id` holds the last one's id, 0 at the start. */
bool thrift_field(struct thrift_reader *r, int *id, enum thrift_type *ret_type);
int64_t thrift_int(struct thrift_reader *r);
const char *thrift_binary(struct thrift_reader *r, size_t *ret_len);
/* A list's head.  No more items than bytes are left. */
size_t thrift_list(struct thrift_reader *r, enum thrift_type *ret_type);
void thrift_skip(struct thrift_reader *r, enum thrift_type type);
/* Skips an item of a list (booleans take a byte there). */
void thrift_skip_item(struct thrift_reader *r, enum thrift_type type);

/* `*last` holds the id of the struct's last field, 0 at the start. */
void thrift_write_field(struct buf *b, int *last, int id, enum thrift_type type);
void thrift_write_stop(struct buf *b);
void thrift_write_int(struct buf *b, int64_t v);
void thrift_write_binary(struct buf *b, const void *bytes, size_t len);
void thrift_write_list(struct buf *b, enum thrift_type type, size_t count);

#endif
