/*
 * Cutting a file into chunks.
 *
 * Where a chunk ends depends on the bytes near the cut, not on their offset, so that an insertion moves one or two
 * chunks and leaves the others (and their digests) as they were.
 *
 *  - CHUNK_BYTES: a rolling "gear" hash with normalised thresholds, as in Xia et al., "FastCDC: a Fast and Efficient
 *    Content-Defined Chunking Approach for Data Deduplication", USENIX ATC 2016.
 *  - CHUNK_LINES, CHUNK_CSV: only record ends are candidates; each record votes with its own hash, its chance growing with its
 *    length, under the same normalised thresholds.  A chunk that finds no cut before CHUNK_MAX takes the best candidate
 *    it has seen (also by content).  CHUNK_CSV knows RFC 4180 quotes: a quote opens a quoted field only at the start
 *    of a field, and a line end inside quotes is no record end.
 *  - forced cuts (Parquet: column-chunk boundaries): a chunk never spans one.
 *
 * A record longer than CHUNK_MAX gets a chunk of its own, up to CHUNK_RECORD_MAX; a longer one is cut raw, and the file is no
 * longer aligned.
 *
 * The cuts are part of a version's identity (publishing the same bytes again must give the same chunks): a change of any
 * constant here makes new versions share no chunks with old ones.
 *
 * Thread rules: a chunker belongs to one thread at a time.
 */
#ifndef MESHFS_CATALOG_CHUNKER_H
#define MESHFS_CATALOG_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_MIN (256u << 10)
#define CHUNK_AVERAGE (1u << 20)
#define CHUNK_MAX (4u << 20)
#define CHUNK_RECORD_MAX (64u << 20) /* = VIEW_ROW_MAX of policy/view.h */
#define CHUNK_SNIFF 65536u           /* bytes of the head that chunk_rule_for looks at */

enum chunk_rule { CHUNK_BYTES, CHUNK_LINES, CHUNK_CSV };

struct chunker;

/* How a file is cut, by its name and its first bytes (all of them, or CHUNK_SNIFF): line formats by name (csv tsv psv txt jsonl
 * ndjson) that hold no NUL byte.  `ret_separator` is set for CHUNK_CSV. */
enum chunk_rule chunk_rule_for(const char *path, const void *head, size_t len, char *ret_separator);

/* NULL without memory. */
struct chunker *chunker_new(enum chunk_rule rule, char separator);
void chunker_free(struct chunker *c);
/* Offsets in the file that no chunk may span, ascending; copied.  0 or -ENOMEM. */
int chunker_force(struct chunker *c, const uint64_t *cuts, size_t count);

/*
 * The length of the next chunk, given the file's bytes from the end of the last chunk on: 0 when `len` bytes do not decide
 * (call again with more of the same bytes; never with `eof` and len > 0).  Needs at most CHUNK_RECORD_MAX + 1 bytes.
 */
size_t chunker_next(struct chunker *c, const void *bytes, size_t len, bool eof);
/* Did every chunk so far end at the end of a record?  False for CHUNK_BYTES. */
bool chunker_aligned(const struct chunker *c);

#endif
