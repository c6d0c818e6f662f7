/*
 * Where a version's records are, by their fingerprints (row_print.h): an index beside the manifest, for contracts that ask for one.
 *
 * An index is an SQLite file at `.mesh/rows/<manifest>`: each file's columns and pieces (ranges of whole records, with the number of the first), and pages of
 * fingerprints, in order, with the pieces that hold such a record.  It tells what to read and is no answer: a record counts as found once its piece was read.
 *
 * Thread rules: a maker's observer is called by one thread at a time, as publish.h has it; a `struct row_index` belongs to one thread.
 */
#ifndef MESHFS_FS_ROW_INDEX_H
#define MESHFS_FS_ROW_INDEX_H

#include "catalog/publish.h"
#include "fs/row_print.h"

#define ROW_INDEX_FORMAT 2
#define ROW_INDEX_APPLICATION_ID 0x4d665231 /* "MfR1" */
#define ROW_INDEX_SCHEMA                                                                                                                    \
	"CREATE TABLE file (number INTEGER PRIMARY KEY, path TEXT NOT NULL, size INTEGER NOT NULL, first_piece INTEGER NOT NULL,"           \
	" pieces INTEGER NOT NULL);"                                                                                                        \
	"CREATE TABLE field (file INTEGER NOT NULL, name TEXT NOT NULL);"                                                                   \
	"CREATE TABLE piece (number INTEGER PRIMARY KEY, file INTEGER NOT NULL, start INTEGER NOT NULL, length INTEGER NOT NULL,"           \
	" first_row INTEGER NOT NULL);"                                                                                                     \
	"CREATE TABLE page (first INTEGER PRIMARY KEY, places BLOB NOT NULL);"                                                              \
	"CREATE UNIQUE INDEX file_path ON file (path);"                                                                                     \
	"CREATE INDEX field_file ON field (file);"

/*
 * A page's places: 12 bytes each, the lower half of a print and the number of a piece, little-endian; ordered, each once.  All places of a print are in one
 * page, whose key is its first print with the highest bit turned over (so that SQLite's signed numbers have the prints' order).
 */
#define ROW_PLACE_BYTES 12
#define ROW_PAGE_PLACES 4096            /* as many at least, but for the last page */
#define ROW_PAGE_BYTES_MAX (16u << 20)  /* a print in more pieces than that: the version gets no index */
#define ROW_PIECES_MAX (1u << 26)       /* of a version, likewise */
#define ROW_PAGE_KEY(print) ((int64_t)((print) ^ 1ull << 63))

/* Does the contract (may be NULL) ask for an index: customProperties rowFingerprints, its own or the object's (may be NULL)? */
bool row_index_asked(const struct contract *c, const struct contract_object *object);

/* -- making ------------------------------------------------------------------------------------ */

struct row_maker;

/* Hands all it sees to `next` (borrowed), too.  NULL without memory. */
struct row_maker *row_maker_new(const struct publish_observer *next);
const struct publish_observer *row_maker_observer(struct row_maker *m);
/* After publish_begin: what the publication's contract asks for.  Scratch files go to the domain's folder. */
int row_maker_open(struct row_maker *m, const struct publication *p, const struct domain *d, struct err *e);
/* After the last file was observed: writes the index, and hands it to the publication. */
int row_maker_close(struct row_maker *m, struct publication *p, struct err *e);
void row_maker_free(struct row_maker *m); /* NULL is legal */

/* -- asking ------------------------------------------------------------------------------------ */

struct row_piece {
	uint64_t start, length, first_row;
};

struct row_index;

/* A local copy; `name` stands in errors.  -EBADMSG, -EPROTONOSUPPORT. */
int row_index_open(const char *path, const char *name, struct row_index **ret, struct err *e);
void row_index_close(struct row_index *x); /* NULL is legal */
/* Which pieces may hold records with these prints (lower halves, ascending): remembered for row_index_pieces. */
int row_index_probe(struct row_index *x, const uint64_t *prints, size_t count, struct err *e);
/*
 * The pieces of the file to read, in order; with `head`, the first one goes before them when there is any.  The caller frees *ret.  -ENOENT: the index cannot tell,
 * as it has no such file, or the file has values in columns that `column` does not count.
 */
int row_index_pieces(struct row_index *x, const char *path, uint64_t size, bool head, bool (*column)(void *arg, const char *name), void *arg,
		     struct row_piece **ret, size_t *ret_count, struct err *e);

#endif
