/*
 * A view set: the indexes of a version's files under one view, one object in the domain's store:
 *
 *   .mesh/views/<manifest>/<view>             of all files that were computed together (publish, policy apply, warm)
 *   .mesh/views/<manifest>/<view>.<content>   of one large file, by the host that needed it first
 *
 * <view> is view_identity(): transform (with the fingerprints of its keys), format, engine.  Both names stand in the set as well, so that
 * one that was copied to another name is refused.  A set holds lengths, counts of rows and hashes of derived chunks, no value and no rule.
 *
 * Input from a store: view_set_decode checks everything but the truth of the indexes, which only deriving can (fs/view_chunk.c).
 *
 * Thread rules: a set is immutable and reference-counted; a draft belongs to one thread at a time.
 */
#ifndef MESHFS_FS_VIEW_SET_H
#define MESHFS_FS_VIEW_SET_H

#include "catalog/base/buf.h"
#include "catalog/base/hash.h"
#include "policy/transform.h"

#include <stdbool.h>
#include <stddef.h>

#define VIEW_SET_BYTES_MAX ((size_t)256 << 20)
#define VIEW_SET_FILES_MAX (1u << 20)
#define VIEW_SET_KEY_SIZE 256

struct view_set;
struct view_set_draft;

void view_identity(const struct transform *t, const char *path, struct digest *ret);
/* `content` NULL: the set of many files. */
void view_set_key(const struct digest *manifest, const struct digest *view, const struct digest *content, char ret_key[VIEW_SET_KEY_SIZE]);

/* Takes the bytes over on success.  -EBADMSG: not a sound set of that manifest and view. */
int view_set_decode(struct buf *bytes, const struct digest *manifest, const struct digest *view, struct view_set **ret);
struct view_set *view_set_ref(struct view_set *s);
void view_set_unref(struct view_set *s); /* NULL is legal */
size_t view_set_bytes(const struct view_set *s);
/* The encoded index (fs/view_index.h) of a file's content, borrowed from the set; -ENOENT. */
int view_set_find(const struct view_set *s, const struct digest *content, const void **ret_bytes, size_t *ret_len);

struct view_set_draft *view_set_draft_new(void); /* NULL without memory */
void view_set_draft_free(struct view_set_draft *d);
/* Copies an encoded index; the first one of a content stays.  -EFBIG beyond the limits. */
int view_set_draft_add(struct view_set_draft *d, const struct digest *content, const void *bytes, size_t len);
/* Adds what `s` has and the draft does not.  *ret_news (may be NULL): the draft has something that `s` has not, or has otherwise. */
int view_set_draft_merge(struct view_set_draft *d, const struct view_set *s, bool *ret_news);
size_t view_set_draft_count(const struct view_set_draft *d);
/* The same indexes give the same bytes. */
int view_set_draft_encode(const struct view_set_draft *d, const struct digest *manifest, const struct digest *view, struct buf *ret);

#endif
