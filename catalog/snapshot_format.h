/*
 * The tables of a snapshot, shared by its reader and its writer only.
 *
 * meta has one row.  `nonce` is random, so that two writers never make the same file.  A version refers to its product by id; `search` has
 * the product's id as rowid.
 */
#ifndef MESHFS_CATALOG_SNAPSHOT_FORMAT_H
#define MESHFS_CATALOG_SNAPSHOT_FORMAT_H

#include "catalog/db.h"
#include "catalog/snapshot.h"

#define SNAPSHOT_APPLICATION_ID 0x6d736873u /* "mshs" */

#define SNAPSHOT_SCHEMA                                                                                                               \
	"CREATE TABLE meta(domain TEXT NOT NULL, generation INTEGER NOT NULL, created_ns INTEGER NOT NULL, nonce BLOB NOT NULL) STRICT;"    \
	"CREATE TABLE product(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, title TEXT, description TEXT, status TEXT,"            \
	" latest TEXT, active INTEGER NOT NULL DEFAULT 0) STRICT;"                                                                  \
	"CREATE TABLE version(product INTEGER NOT NULL, major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL,"        \
	" status INTEGER NOT NULL, manifest BLOB NOT NULL, manifest_size INTEGER NOT NULL, published_ns INTEGER NOT NULL,"          \
	" files INTEGER NOT NULL, bytes INTEGER NOT NULL, contract BLOB, quality TEXT, failures_reason TEXT, withdrawn_reason TEXT,"  \
	" publisher TEXT, run TEXT, PRIMARY KEY(product, major, minor, patch)) STRICT, WITHOUT ROWID;"                               \
	"CREATE TABLE contract(digest BLOB PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;"                                    \
	"CREATE TABLE policy(name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;"                                       \
	"CREATE TABLE condemned(key TEXT PRIMARY KEY, generation INTEGER NOT NULL, since_ns INTEGER NOT NULL) STRICT, WITHOUT ROWID;" \
	"CREATE VIRTUAL TABLE search USING fts5(name, title, description, columns, tags, tokenize = 'unicode61 remove_diacritics 2',"  \
	" prefix = '2 3');"

/* What format 2 has besides. */
#define SNAPSHOT_DESCRIPTIONS "CREATE TABLE description(id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT, WITHOUT ROWID;"

/* A snapshot that is being opened: how messages call it, whose it must be; and what it says of itself, filled in by the check. */
struct snapshot_claims {
	const char *label, *domain;
	bool descriptions; /* by its format it has that table */
	uint64_t generation;
	int64_t created_ns;
};

/* Reads all of it.  -EBADMSG with the first thing that is not as it must be. */
int snapshot_check(struct db *db, struct snapshot_claims *claims, struct err *e);

bool column_is_digest(struct db_stmt *q, int column); /* a blob of its size */

bool snapshot_has_descriptions(const struct snapshot *s);

/* The reader's connections (for the parts of it that stand in other files). */
struct db_pool *snapshot_pool(struct snapshot *s);

/* A policy file's name: [a-z0-9][a-z0-9._-]* and ".policy". */
bool policy_name_ok(const char *name);

/* What gc may condemn: objects under .mesh/packs, manifests, snapshots, views. */
bool condemned_key_ok(const char *key);

/* SHA-256 of a file's bytes and their number. */
int digest_of_file(const char *path, struct digest *ret, uint64_t *ret_size, struct err *e);

#endif
