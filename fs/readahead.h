/*
 * Read-ahead: what a content's readers will want next, from the offsets they ask for.
 *
 * Forked loader workers share descriptors, so patterns are found among offsets: several streams a content, each with a window that
 * grows while it moves forward; a read that continues no stream starts one without a window, so that random reads fetch only
 * what they need.  Kernel threads deliver the reads of one stream slightly out of order: a step back or a small jump ahead still continues it.
 *
 * Thread rules: none of its own; the owner's lock guards it.
 */
#ifndef MESHFS_FS_READAHEAD_H
#define MESHFS_FS_READAHEAD_H

#include <stdint.h>

#define READAHEAD_STREAMS 8

struct readahead_stream {
	uint64_t start, next; /* read sequentially from start up to next */
	uint64_t ahead;       /* asked for up to here */
	uint64_t window;
	uint64_t used;        /* when: a counter; 0: free */
};

struct readahead {
	struct readahead_stream stream[READAHEAD_STREAMS];
	uint64_t clock;
};

/* How far ahead a stream is worth reading, in bytes. */
struct readahead_limits {
	uint64_t first; /* after a first read at the start of the file */
	uint64_t most;  /* windows grow up to this */
};

/* For a store whose first byte takes `first_byte_ns` at least (0: not known).  `most` is what arrives in that time at a gigabyte a second, and enough for a few
 * requests at once.  From a near store nothing is fetched ahead of a first read: it would compete with the read for the processor, and is soon there if
 * a second one comes. */
struct readahead_limits readahead_limits(int64_t first_byte_ns);

/* Notes a read of [offset, offset + len) of a file of `size` bytes.  Gives the range to fetch ahead now ([*ret_from, *ret_to), empty when
 * equal); windows are within `limits`. */
void readahead_note(struct readahead *r, uint64_t offset, uint64_t len, uint64_t size, const struct readahead_limits *limits, uint64_t *ret_from,
		    uint64_t *ret_to);

#endif
