/*
 * The memory that chunks arrive in: one mapping, cut into grains of 64 KiB, handed out from its lowest free address.
 *
 * A page that is used for the first time costs a fault and is cleared, which at a gigabyte a second is a fifth of a core.  So
 * what is given back is kept and given out again, the lowest addresses first: few pages are touched, and those stay in the processor's
 * caches.  Large pages are asked for.  buffers_trim gives back what nobody used for a while.
 *
 * Thread rules: any thread; its lock is a leaf.
 */
#ifndef MESHFS_FS_BUFFERS_H
#define MESHFS_FS_BUFFERS_H

#include <stddef.h>

struct buffers;

/* Room for `bytes` at once; what does not fit comes from the system.  NULL without memory. */
struct buffers *buffers_new(size_t bytes);
void buffers_free(struct buffers *b); /* nothing of it in use; NULL is legal */

void *buffers_take(struct buffers *b, size_t size); /* NULL without memory; its bytes are anything */
void buffers_give(struct buffers *b, void *buffer, size_t size); /* the size that was asked for */
/* To be called now and then: gives free pages back to the system when none was taken since the last call. */
void buffers_trim(struct buffers *b);

#endif
