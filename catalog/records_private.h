/*
 * Inside records: what its halves share.
 *
 * records.c finds records in the pieces and numbers columns; records_csv.c reads fields, records_json.c objects.
 */
#ifndef MESHFS_CATALOG_RECORDS_PRIVATE_H
#define MESHFS_CATALOG_RECORDS_PRIVATE_H

#include "catalog/records.h"

#include "catalog/base/buf.h"
#include "catalog/csv_scan.h"

struct map;
struct records_json;

#define RECORDS_POSITIONS 1024u /* of the scanner, at a time */

struct records {
	enum record_format format;
	char separator;
	bool header_pending;
	struct records_callbacks call;
	struct map *by_name; /* column name → number + 1 */
	char **names;
	bool *present; /* CSV: the head names it */
	bool repeated; /* CSV: the head names a column more than once */
	uint32_t count, capacity;
	struct buf line; /* the record under way, when it does not lie whole in one piece */
	bool in_quotes;  /* CSV: the piece ended inside a quoted field */
	char before;     /* CSV: the byte before the piece; '\n' at the start of a record */
	bool at_start;   /* nothing was fed yet: a byte order mark may follow */
	uint64_t number, line_number, line_next;
	/* CSV */
	struct record_field *fields; /* of the record under way */
	size_t field_capacity;
	struct buf unescaped; /* texts of fields with doubled quotes, one behind the other */
	uint32_t *order; /* the column of each field of the head */
	size_t order_count;
	csv_scan_fn *scan;
	uint32_t positions[RECORDS_POSITIONS + CSV_SCAN_SLACK];
	struct records_json *json;
	const struct contract_object *object; /* or NULL */
	bool wholes; /* some of its columns are wanted whole */
};

/* One record of CSV without its line end; the first is the head, when there is one. */
int records_csv_record(struct records *r, const char *line, size_t len);
/* Hands over the strict records that lie whole at the start of the bytes, which start a record; *ret_used: how many bytes they take.  What follows
 * is the end of the piece, or a record that is read by itself. */
int records_csv_many(struct records *r, const char *bytes, size_t len, size_t *ret_used);
/* Is the text of an object or array in that column wanted? */
bool records_wants_whole(const struct records *r, uint32_t column);

#endif
