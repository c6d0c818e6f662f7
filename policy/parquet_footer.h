/*
 * The footer of a Parquet file: what views need of it, read strictly, with the raw bytes of what is copied.
 *
 * A footer borrows the bytes that it was read from.  Nothing here trusts them: offsets and lengths lie within the data region, counts
 * agree, the schema is a tree.
 */
#ifndef MESHFS_POLICY_PARQUET_FOOTER_H
#define MESHFS_POLICY_PARQUET_FOOTER_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARQUET_FOOTER_MAX (128u << 20)
#define PARQUET_MAGIC "PAR1"

struct parquet_slice {
	const unsigned char *at;
	size_t len;
};

enum parquet_repetition { PARQUET_REQUIRED = 0, PARQUET_OPTIONAL = 1, PARQUET_REPEATED = 2 };
enum parquet_type { PARQUET_BOOLEAN, PARQUET_INT32, PARQUET_INT64, PARQUET_INT96, PARQUET_FLOAT, PARQUET_DOUBLE, PARQUET_BYTES, PARQUET_FIXED, PARQUET_GROUP };

struct parquet_element {
	struct parquet_slice raw;
	const char *name;
	size_t name_len;
	enum parquet_type type;
	enum parquet_repetition repetition;
	int converted; /* -1: none */
	int logical;   /* field id in the union of logical types, 0: none */
	int scale, precision; /* of a decimal: 0 <= scale <= precision */
	bool utc;             /* of a timestamp: a moment, not a local time */
	bool is_unsigned;     /* of an integer */
	size_t child_count;
	size_t parent; /* the root is its own */
	size_t leaf;   /* of a leaf: its number */
	bool skipped_name; /* part of a LIST's or MAP's make-up: the contract does not name it */
};

struct parquet_range {
	uint64_t offset, len; /* len 0: none */
};

struct parquet_stats {
	struct parquet_slice min, max; /* min_value, max_value; at NULL: unknown */
	int64_t null_count;            /* -1: unknown */
	bool inexact;
};

struct parquet_chunk {
	struct parquet_slice raw, metadata;
	struct parquet_range data, offset_index, column_index, bloom; /* bloom.len 0 with an offset: of unknown length */
	int64_t value_count, uncompressed;
	struct parquet_stats stats;
};

struct parquet_group {
	struct parquet_slice raw;
	struct parquet_chunk *chunks; /* leaf_count */
	int64_t rows;
};

struct parquet_footer {
	struct parquet_slice raw;
	struct parquet_element *elements;
	size_t element_count, leaf_count;
	size_t *leaves; /* element of each leaf */
	struct parquet_group *groups;
	size_t group_count;
	size_t order_count;  /* of column orders; 0: none */
	uint64_t data_end;   /* where the footer starts in the file */
};

/* `bytes` is the Thrift part; it starts at `data_end` of the file.  -EACCES: encrypted, split over files or otherwise unsupported; or not well-formed.  */
int parquet_footer_read(const void *bytes, size_t len, uint64_t data_end, struct parquet_footer **ret, struct err *e);
void parquet_footer_free(struct parquet_footer *f);

/* Appends the path of a leaf as contracts write it: dotted, without the make-up of lists and maps. */
void parquet_leaf_path(const struct parquet_footer *f, size_t leaf, struct buf *ret);

#endif
