/*
 * One memory budget for everything in flight and the hot bytes, whatever the number of open files; and the buffers it is spent on.
 *
 * Buffers of some size come from one mapping (fs/buffers.h), smaller ones from malloc.
 * Thread rules: any thread.
 */
#ifndef MESHFS_FS_BUDGET_H
#define MESHFS_FS_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget;

struct budget *budget_new(uint64_t limit_bytes); /* NULL without memory */
void budget_free(struct budget *b);

/* Takes `bytes` unless that would pass the limit (`share` of 256 of it).  When nothing is taken at all, any amount is given: a single chunk may be
 * larger than the budget. */
bool budget_take(struct budget *b, uint64_t bytes, unsigned share);
void budget_give(struct budget *b, uint64_t bytes);
uint64_t budget_used(const struct budget *b);
uint64_t budget_limit(const struct budget *b);

void *budget_buffer(struct budget *b, size_t size); /* NULL without memory */
void budget_release(struct budget *b, void *buffer, size_t size); /* the size that was asked for; NULL is legal */
/* To be called now and then: an idle budget keeps no memory. */
void budget_trim(struct budget *b);

#endif
