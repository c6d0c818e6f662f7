/*
 * The texts of one journal segment, from bytes to offset.  Contexts and processes are written once.  Not thread-safe: the recorder's lock guards it.
 */
#ifndef MESHFS_FS_INTERN_H
#define MESHFS_FS_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intern;
struct journal;

/* Room for `texts` texts at least, besides names. */
struct intern *intern_new(uint32_t texts);
void intern_free(struct intern *t);
/* Forgets all; from now on texts go to `j` (borrowed). */
void intern_reset(struct intern *t, struct journal *j);
/* The text's offset in the journal; writes it when it is new there.  As journal_add_text. */
int intern(struct intern *t, const void *bytes, size_t len, uint32_t *ret, bool *ret_new);
/* For names, of which nearly all are new: remembers the last few thousand, so one that comes again much later is written again. */
int intern_name(struct intern *t, const void *bytes, size_t len, uint32_t *ret);

#endif
