/*
 * The texts of one journal segment, each written once: from bytes to offset.  Not thread-safe: the recorder's lock guards it.
 */
#ifndef MESHFS_FS_INTERN_H
#define MESHFS_FS_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct intern;
struct journal;

/* Room for the texts that `records` records can name. */
struct intern *intern_new(uint32_t records);
void intern_free(struct intern *t);
/* Forgets all; from now on texts go to `j` (borrowed). */
void intern_reset(struct intern *t, struct journal *j);
/* The text's offset in the journal; writes it when it is new there.  As journal_add_text. */
int intern(struct intern *t, const void *bytes, size_t len, uint32_t *ret, bool *ret_new);

#endif
