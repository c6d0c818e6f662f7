/*
 * Views: a file seen through a transform.
 *
 * Three ways a format's view can work; the read path (fs/) handles each:
 *  - VIEW_CHUNKED (CSV/TSV, JSONL): each derived chunk is a pure function of one source chunk and the plan (which holds
 *    what the head of the file says: separator, columns).  Random access, parallel.
 *  - VIEW_SEGMENTS (Parquet, where no value changes): the derived file is a list of segments: bytes of the source, zeros, or bytes
 *    made by the plan.  Known from the footer alone; the denied ranges are never fetched.
 *  - VIEW_WHOLE (.gz/.zst of line formats; Parquet that needs an engine): the derived file is made in one pass over the whole source
 *    and kept in the cache.
 *
 * Errors: -EACCES: the view cannot be made of this file (broken records at the head, unsupported feature, no engine, a row over
 * VIEW_ROW_MAX): the file is denied, `e` says why, in words for the reader and without values of rows.
 *
 * Thread rules: a plan is immutable; view_chunk may run on any number of threads at once.
 */
#ifndef MESHFS_POLICY_VIEW_H
#define MESHFS_POLICY_VIEW_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "policy/transform.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_ROW_MAX (64u << 20)

enum view_kind { VIEW_CHUNKED, VIEW_SEGMENTS, VIEW_WHOLE };

/* "csv" "tsv" "psv" "jsonl" "parquet" "csv.gz" … by the file's name; "other" when no view understands it. */
const char *view_format(const char *path);

#define VIEW_MAKER_SIZE 64

/* What the derived bytes depend on besides file and transform: the format, and the version of who packs or derives them (zlib and zstd give other
 * bytes in other versions, DuckDB other files).  Part of a view's identity wherever one is kept, and of a file's name: without slashes.
 * `ret_text` gets at most `size` bytes. */
void view_maker(const char *path, char *ret_text, size_t size);

/* Reading the source, blocking; 0 or -errno.  Ranges lie within the file. */
struct view_source {
	int (*read)(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e);
	void *arg;
	uint64_t size;
	const char *path; /* within the version: for the format and for messages */
};

/* Key bytes for the hmac mask: fills 32 bytes; -ENOENT or -EACCES with words in `e`.  */
struct view_keys {
	int (*get)(void *arg, const char *name, unsigned char ret_key[32], struct err *e);
	void *arg;
};

struct view_plan;

/* Reads what it needs of the source (the head of a line format, the footer of Parquet) and makes the plan. */
int view_plan_new(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret, struct err *e);
void view_plan_free(struct view_plan *p);
enum view_kind view_plan_kind(const struct view_plan *p);

struct view_stats {
	uint64_t rows_in, rows_out;
	uint64_t rows_rejected; /* records that strict parsing rejected (not shown) */
	bool cut; /* VIEW_CHUNKED: the chunk ends within a record; unless it is the file's last, its neighbours cannot be trusted */
};

/* VIEW_CHUNKED: appends the derived bytes of source chunk number `index` (whole records; index 0 holds the head). */
int view_chunk(const struct view_plan *p, uint32_t index, const void *bytes, size_t len, struct buf *ret, struct view_stats *ret_stats,
	       struct err *e);

/* VIEW_SEGMENTS: sorted, gapless from 0. */
enum segment_kind { SEGMENT_SOURCE, SEGMENT_ZERO, SEGMENT_BYTES };
struct view_segment {
	enum segment_kind kind;
	uint64_t offset, length;  /* in the derived file */
	uint64_t source_offset;   /* SEGMENT_SOURCE */
	const void *bytes;        /* SEGMENT_BYTES; owned by the plan */
};
size_t view_segments(const struct view_plan *p, const struct view_segment **ret);

/*
 * Parquet's rows as the transform (NULL: none) shows them, in the file's order, for questions about records: `row` (from 1) counts in the source, `json` is an object of the
 * columns that stay, without a line end.  Needs the engine; -EACCES without one, or where it cannot make the view.  A non-zero return of `each` stops and is
 * returned.
 */
int view_parquet_rows(struct transform *t, const struct view_source *source, const struct view_keys *keys,
		      int (*each)(void *arg, uint64_t row, const char *json, size_t len), void *arg, struct err *e);
/* The names of a Parquet file's columns, as contracts write them, and of what holds them; without an engine. */
int view_parquet_columns(const struct view_source *source, int (*each)(void *arg, const char *name), void *arg, struct err *e);
bool view_has_engine(void);

/* VIEW_WHOLE: writes the derived file through `write` (in order). */
int view_whole(const struct view_plan *p, const struct view_source *source, int (*write)(void *arg, const void *bytes, size_t len), void *arg,
	       struct view_stats *ret_stats, struct err *e);

#endif
