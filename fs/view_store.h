/*
 * View indexes that a domain's store keeps, so that what one host computed no other has to.
 *
 * Looking for one waits for the store: view workers and commands only.  A set that was fetched serves all files of its version; one that
 * was not there is not asked for again for a while.  Giving is for who has the domain's credentials: a store that refuses is not tried again.
 *
 * Who is believed: an index from a store is a claim of whoever may write there, who could as well publish another version.  It is checked
 * for form here and held against every chunk that is derived (fs/view_chunk.c); the claim that nothing at all is shown is not taken.
 */
#ifndef MESHFS_FS_VIEW_STORE_H
#define MESHFS_FS_VIEW_STORE_H

#include "catalog/base/err.h"
#include "fs/content.h"

struct view_index;
struct view_sets; /* what a reader has fetched of sets */

struct view_sets *view_sets_new(void); /* NULL without memory */
void view_sets_free(struct view_sets *s);

/* The index of a view's content, marked as claimed.  -ENOENT: compute it. */
int view_store_find(struct content *c, struct view_index **ret);
/* Offers an index that was computed here, of a file that is large enough for an object of its own.  Failures are logged. */
void view_store_offer(struct content *c, const struct view_index *x);

/* What a command computed, given to the stores at its end as one set for each version and view. */
struct view_gift;
struct view_gift *view_gift_new(void);                                   /* NULL without memory */
int view_gift_add(struct view_gift *g, struct content *c);               /* a view whose size is known; others are passed over */
/* Puts the sets and frees the gift; NULL is legal.  Failures are logged: the indexes serve here all the same. */
void view_gift_give(struct view_gift *g);

#endif
