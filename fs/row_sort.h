/*
 * Fingerprints of records and the pieces that they stand in, sorted in bounded memory.
 *
 * What does not fit goes, sorted, to a file without a name in a folder of the caller's; at the end the runs are merged.  Thread rules: a sorter belongs to one
 * thread.
 */
#ifndef MESHFS_FS_ROW_SORT_H
#define MESHFS_FS_ROW_SORT_H

#include <stddef.h>
#include <stdint.h>

struct row_sort;

struct row_place {
	uint64_t print;
	uint32_t piece;
};

/* `folder` is copied; nothing is made in it before the memory is full.  NULL without memory. */
struct row_sort *row_sort_new(const char *folder, size_t memory_bytes);
void row_sort_free(struct row_sort *s); /* NULL is legal */
/* Pieces never descend.  0, -ENOMEM, or what the disk failed with. */
int row_sort_add(struct row_sort *s, uint64_t print, uint32_t piece);
/* Ends the sorter: each place once, by print and then by piece.  A non-zero return of `each` stops and is returned. */
int row_sort_each(struct row_sort *s, int (*each)(void *arg, const struct row_place *place), void *arg);

#endif
