/*
 * Answers that are held back.  To say of a hidden name that it is not there takes a decision, of one that never was a probe of an index; a clock
 * tells the two apart.  So where policy binds, both are answered at the same moment: the next one, from the request's arrival on, that is a
 * multiple of HOLD_NS away.
 *
 * Thread rules: any thread; one thread of its own resumes what is due.  hold.lock is a leaf.
 */
#ifndef MESHFS_FS_HOLD_H
#define MESHFS_FS_HOLD_H

#include <stdint.h>

#define HOLD_NS 5000000 /* well over what the decisions on a product's versions take */

struct hold;
struct op;

struct hold *hold_new(void); /* NULL without memory or a thread */
void hold_free(struct hold *h); /* nothing may be held any more; NULL is none */
/* Resumes the request, which arrived at `arrived_ns` (monotonic), when it may be answered.  Only being killed ends its caller's wait before. */
void hold_until(struct hold *h, struct op *op, int64_t arrived_ns);

#endif
