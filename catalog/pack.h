/*
 * Packs: store objects that hold many chunks, so that many small files cost few requests.
 *
 *     "MESHPACK"                                     8 bytes
 *     the chunks' stored bytes, one after the other
 *     the table of contents:
 *         nonce                                      16 bytes, random
 *         per chunk: digest 32, length u32, stored length u32, codec u8   (little-endian)
 *     length of the table u32, "MESHTOC1"            12 bytes
 *
 * A pack is named by the SHA-256 of its table of contents.  The table holds the digest of every chunk, so the name binds
 * all bytes; the nonce makes each pack's name its own, so that a pack that gc condemned is never made again.
 *
 * Thread rules: pure functions; a builder or codec belongs to one thread at a time.
 */
#ifndef MESHFS_CATALOG_PACK_H
#define MESHFS_CATALOG_PACK_H

#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACK_TARGET (32u << 20)    /* a pack is closed when its stored bytes reach this */
#define PACK_CHUNKS_MAX (1u << 17) /* or when it holds this many chunks */
#define PACK_KEY_SIZE 80

/* ".mesh/packs/<hex>" */
void pack_key(const struct digest *name, char ret_key[PACK_KEY_SIZE]);

struct pack_builder;

struct pack_builder *pack_builder_new(void); /* NULL without memory or randomness */
void pack_builder_free(struct pack_builder *b);
void pack_builder_reset(struct pack_builder *b); /* a new, empty pack in the same memory */
bool pack_builder_empty(const struct pack_builder *b);
/* Should the pack be closed before `stored_length` more bytes? */
bool pack_builder_full(const struct pack_builder *b, size_t stored_length);
/* Copies the stored bytes.  Of `c`, digest, length, stored_length and codec are read; pack_offset, raw_offset and slot are filled. */
int pack_builder_add(struct pack_builder *b, const void *stored, struct manifest_chunk *c);
/* Writes the table of contents.  The bytes are the builder's until reset.  `ret`: key, size, raw_size, slots. */
int pack_builder_finish(struct pack_builder *b, const void **ret_bytes, size_t *ret_len, struct manifest_pack *ret);

/* -- reading a pack's own table (verify, recovery) ------------------------------------------ */

#define PACK_TRAILER 12

/* The table's offset, from the object's size and its last PACK_TRAILER bytes.  -EBADMSG. */
int pack_toc_find(uint64_t object_size, const void *trailer, uint64_t *ret_offset, size_t *ret_len);
/* Calls `each` for every chunk (all but hash and file_offset are filled).  Checks the name, that lengths add up to the table's offset, and
 * each entry.  -EBADMSG; a non-zero return of `each` stops and is returned. */
int pack_toc_parse(const void *toc, size_t len, uint64_t toc_offset, const struct digest *name,
		   int (*each)(void *arg, const struct manifest_chunk *c), void *arg);

/* -- stored bytes --------------------------------------------------------------------------- */

struct codec;

struct codec *codec_new(void); /* NULL without memory */
void codec_free(struct codec *c);
/*
 * Compresses with zstd when that saves at least two thirds: *ret_stored is then the codec's memory (valid until its next use), else `bytes`.
 * Data that looks incompressible by a sample is not tried.
 */
int codec_pack(struct codec *c, const void *bytes, size_t len, const void **ret_stored, size_t *ret_len, enum chunk_codec *ret_codec);
/* Restores exactly `len` bytes.  -EBADMSG when the stored bytes do not give them. */
int codec_unpack(struct codec *c, enum chunk_codec codec, const void *stored, size_t stored_len, void *ret, size_t len);

#endif
