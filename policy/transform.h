/*
 * A transform: the row filter and the column actions of one view, in canonical form; its hash names the view.
 *
 * Built by decisions, applied by the views of each format.  Immutable, reference-counted, any thread.  It holds no key
 * bytes: masks name their key and its fingerprint; the view loads the key.
 */
#ifndef MESHFS_POLICY_TRANSFORM_H
#define MESHFS_POLICY_TRANSFORM_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/contract.h"
#include "catalog/entity.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strictest first; the numbers order them.  MASK_KEEP is the absence of a mask. */
enum mask_kind {
	MASK_DROP,
	MASK_NULL,
	MASK_REDACT,
	MASK_HMAC,
	MASK_YEAR,
	MASK_MONTH,
	MASK_ZIP3,
	MASK_ROUND,
	MASK_TOP,
	MASK_SCRUB,
	MASK_PARTIAL,
	MASK_KEEP,
};

enum scrub_entity {
	SCRUB_EMAIL_ADDRESS = ENTITY_EMAIL_ADDRESS,
	SCRUB_PHONE_NUMBER = ENTITY_PHONE_NUMBER,
	SCRUB_US_SSN = ENTITY_US_SSN,
	SCRUB_CREDIT_CARD = ENTITY_CREDIT_CARD,
	SCRUB_IBAN_CODE = ENTITY_IBAN_CODE,
	SCRUB_IP_ADDRESS = ENTITY_IP_ADDRESS,
	SCRUB_URL = ENTITY_URL,
	SCRUB_ALL = ENTITY_ALL,
};

struct mask {
	enum mask_kind kind;
	bool keep_length;      /* redact keep length */
	bool last;             /* partial last N (else first N) */
	double number;         /* round N, top N, partial N */
	unsigned entities;     /* scrub: enum scrub_entity bits */
	char key[64];          /* hmac: the key's name */
	unsigned char key_fingerprint[8];
};

/* The stricter of two masks, both of which read the raw value; MASK_NULL when they cannot be ordered. */
void mask_combine(const struct mask *a, const struct mask *b, struct mask *ret);
/* Of several, whatever their order: the strictest when any two can be ordered, else MASK_NULL (MASK_DROP when it is among them); MASK_KEEP for none. */
void mask_strictest(const struct mask *list, size_t count, struct mask *ret);
bool mask_equal(const struct mask *a, const struct mask *b);
/* What is left of a value, in words: "a keyed token in its place". */
void mask_words(const struct mask *m, struct buf *ret);
/* As the language writes it: "hmac key train-1", "partial first 2".  Fingerprints are not part of it. */
void mask_text(const struct mask *m, struct buf *ret);
/* "drop", "null", "redact", "hmac", … */
const char *mask_kind_name(enum mask_kind kind);

struct column_action {
	char *column; /* dotted path for nested columns */
	struct mask mask;
};

struct expr; /* policy/expr.h: a checked boolean expression over row.<column> */

struct transform {
	unsigned refs; /* atomic */
	struct column_action *actions; /* sorted by column; only columns that change */
	size_t action_count;
	/* A column that the contract does not name matches every `columns` clause: what happens to it.  MASK_KEEP: no rule. */
	struct mask unnamed;
	struct expr *filter; /* NULL: all rows */
	/* The columns that the contract names for the file, with their types (borrowed from `contract`). */
	struct contract *contract;
	const struct contract_object *object;
	char *text;         /* canonical: the same rules in any order give the same text */
	struct digest hash; /* SHA-256 of VIEW_CODE_VERSION, text and the keys' fingerprints */
};

#define VIEW_CODE_VERSION 5

/*
 * Builds one.  `actions` and `filter` are copied; a filter must be bound (policy/expr.h).  Actions that keep are left out, and so are those
 * under a column whose parent has an action: that one covers all that stands in it (null or drop; a value mask that meets an object or a
 * list gives null, and is the strictest of all of theirs).  `contract` is referenced.  NULL without memory.
 */
struct transform *transform_new(const struct column_action *actions, size_t count, const struct mask *unnamed, const struct expr *filter,
				struct contract *contract, const struct contract_object *object);
struct mesh_config;
/*
 * The transform whose canonical text was kept (a lineage database).  `contract` and `object` are those of the file it was made for; keys are looked up in
 * `mesh`.  The caller compares the hash: it is the recorded one only when contract and keys are what they were.  -EINVAL: not such a text.
 */
int transform_parse(const char *text, const struct mesh_config *mesh, struct contract *contract, const struct contract_object *object,
		    struct transform **ret, struct err *e);
struct transform *transform_ref(struct transform *t);
void transform_unref(struct transform *t);
/* One line: what this view drops or masks (the xattr user.mesh.policy): "drops email; masks zip (zip3); rows where …". */
void transform_summary(const struct transform *t, struct buf *ret);

#endif
