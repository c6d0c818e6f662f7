/*
 * Heads: which generation of a domain's catalog is the newest, and how the next one is made.
 *
 * `.mesh/heads/<n>` is a small JSON object that names the snapshot of generation n.  It is created exclusively and never replaced, so
 * of two racing writers exactly one makes generation n.  Generations are numbered 1, 2, 3 … without gaps and heads are never
 * deleted.  `.mesh/HEAD` has the same form and is replaced after each commit: a hint of the newest generation its writer knew, never
 * more.  The order of a commit is: packs, manifest, snapshot, heads/<n+1>, HEAD.  A crash after any step leaves objects that
 * nothing refers to, or a hint that is behind.
 *
 * Thread rules: all functions block on the store; any thread.
 */
#ifndef MESHFS_CATALOG_HEADS_H
#define MESHFS_CATALOG_HEADS_H

#include "catalog/address.h"
#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define HEAD_FORMAT 1
#define HEAD_BYTES_MAX 16384
#define HEADS_KEY_SIZE 128

struct head {
	uint64_t generation; /* 0: there is none */
	char domain[NAME_SIZE];
	struct digest snapshot;
	uint64_t size; /* of the snapshot */
	int64_t time_ns;
};

void head_key(uint64_t generation, char ret_key[HEADS_KEY_SIZE]);
void snapshot_key(const struct digest *digest, char ret_key[HEADS_KEY_SIZE]);
void manifest_key(const struct digest *digest, char ret_key[HEADS_KEY_SIZE]);
void rows_key(const struct digest *manifest, char ret_key[HEADS_KEY_SIZE]); /* the index of rows of a version */

/* `name` stands in errors; -EBADMSG, or -EPROTONOSUPPORT for a newer format. */
int head_parse(const char *name, const char *text, size_t len, struct head *ret, struct err *e);
void head_format(const struct head *h, struct buf *ret);

/* Reads heads/<generation>; it must be `domain`'s and say the same number.  -ENOENT. */
int heads_read(struct store *s, const char *domain, uint64_t generation, struct head *ret, struct err *e);
/* The newest head, given one that exists (or generation 0: nothing is known, the hint is read).  ret->generation is 0 when the store
 * holds no catalog. */
int heads_newest(struct store *s, const char *domain, const struct head *known, struct head *ret, struct err *e);
/* Creates heads/<h->generation>: -EEXIST when another writer was first.  An answer that was lost on the way is looked up.  With
 * `single_writer` (a store that cannot create exclusively) it looks and then writes: safe for one writer only. */
int heads_create(struct store *s, const struct head *h, bool single_writer, struct err *e);
/* Replaces the hint. */
int heads_hint(struct store *s, const struct head *h, struct err *e);

#endif
