/*
 * A parsed YAML 1.2 or JSON document, with the position of every value (libfyaml reads both).
 *
 * Scalars are kept as text: "yes" is the text yes and an unquoted 2026-11-22 is the text 2026-11-22; a caller that wants
 * a number or a truth value asks for it.  Anchors and merge keys are resolved.  Documents are data from outside:
 * at most DOC_BYTES_MAX bytes, DOC_DEPTH_MAX levels, one document a file, duplicate keys refused; and with its aliases written out no deeper,
 * and at most 1 MiB and four times its own bytes.
 *
 * Thread rules: a document never changes after doc_parse, so any number of threads may read it.
 */
#ifndef MESHFS_BASE_DOC_H
#define MESHFS_BASE_DOC_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DOC_BYTES_MAX (16u << 20)
#define DOC_DEPTH_MAX 64

enum doc_kind { DOC_NULL, DOC_SCALAR, DOC_LIST, DOC_MAP };

struct doc;      /* owns all its nodes and texts */
struct doc_node; /* borrowed from its document */

/* `name` stands in errors (a path or a URL).  An empty text gives a document whose root is DOC_NULL. */
int doc_parse(const char *name, const char *text, size_t len, struct doc **ret, struct err *e);
int doc_read_file(const char *path, struct doc **ret, struct err *e);
void doc_free(struct doc *d);
const struct doc_node *doc_root(const struct doc *d);
const char *doc_name(const struct doc *d);

enum doc_kind doc_kind(const struct doc_node *n); /* NULL counts as DOC_NULL, here and below */
int doc_line(const struct doc_node *n);
int doc_column(const struct doc_node *n);
bool doc_quoted(const struct doc_node *n); /* a scalar that was written in quotes or as a block */

/* Scalars.  doc_text gives NULL for anything else.  The typed forms return -EINVAL when the text is not one (YAML 1.2 core
 * schema; a quoted scalar is only ever text). */
const char *doc_text(const struct doc_node *n);
int doc_bool(const struct doc_node *n, bool *ret);
int doc_int(const struct doc_node *n, int64_t *ret);
int doc_double(const struct doc_node *n, double *ret);

/* Lists and maps: how many children, the i-th child, the i-th key. */
size_t doc_count(const struct doc_node *n);
const struct doc_node *doc_item(const struct doc_node *n, size_t i);
const char *doc_key(const struct doc_node *n, size_t i);
const struct doc_node *doc_key_node(const struct doc_node *n, size_t i); /* for the key's position */

/* The value under `key`, or NULL.  doc_path follows "a.b.c". */
const struct doc_node *doc_get(const struct doc_node *map, const char *key);
const struct doc_node *doc_path(const struct doc_node *map, const char *dotted);
const char *doc_get_text(const struct doc_node *map, const char *key);

/* An error at a node's position ("name:line:column: …", kind ERR_PARSE).  Returns -EINVAL. */
int doc_err(const struct doc *d, const struct doc_node *n, struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Refuses keys of `map` that are not in `names`, naming the nearest known one. */
int doc_check_keys(const struct doc *d, const struct doc_node *map, const char *const *names, size_t count, struct err *e);

/* Appends the node as JSON (unquoted YAML numbers, booleans and null as such). */
void doc_to_json(const struct doc_node *n, struct buf *out);

#endif
