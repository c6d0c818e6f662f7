/*
 * The format of a manifest file, for its reader and its writer.  A change here is a new MANIFEST_FORMAT.
 *
 * Rows of `entry` and of `chunk` stand in row order; the chunks of a file are neighbours: first_chunk …
 * first_chunk + chunk_count - 1.  `leaves` holds the digests of a chunk's leaves one after the other and stands last, as most queries
 * do not ask for it; it is NULL for chunks without leaves.
 */
#ifndef MESHFS_CATALOG_MANIFEST_SCHEMA_H
#define MESHFS_CATALOG_MANIFEST_SCHEMA_H

#define MANIFEST_FORMAT 2
#define MANIFEST_FORMAT_OLDEST 2
#define MANIFEST_APPLICATION_ID 0x4d664d31 /* "MfM1" */

#define MANIFEST_TABLES                                                                                                                    \
	"CREATE TABLE manifest (domain TEXT NOT NULL, product TEXT NOT NULL, version TEXT NOT NULL, created INTEGER NOT NULL,"            \
	" rows INTEGER NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL, tree BLOB NOT NULL);"                                     \
	"CREATE TABLE entry (row INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL,"                 \
	" executable INTEGER NOT NULL, mtime INTEGER NOT NULL, size INTEGER NOT NULL, hash BLOB, content BLOB, first_chunk INTEGER,"       \
	" chunk_count INTEGER, aligned INTEGER, first_child INTEGER, child_count INTEGER, target BLOB);"                                   \
	"CREATE TABLE chunk (id INTEGER PRIMARY KEY, digest BLOB NOT NULL, hash BLOB NOT NULL, file_offset INTEGER NOT NULL,"              \
	" length INTEGER NOT NULL, pack INTEGER NOT NULL, pack_offset INTEGER NOT NULL, stored_length INTEGER NOT NULL,"                   \
	" codec INTEGER NOT NULL, raw_offset INTEGER NOT NULL, slot INTEGER NOT NULL, piece INTEGER NOT NULL, leaves BLOB);"               \
	"CREATE TABLE pack (number INTEGER PRIMARY KEY, key TEXT NOT NULL, in_place INTEGER NOT NULL, etag TEXT NOT NULL,"                 \
	" size INTEGER NOT NULL, raw_size INTEGER NOT NULL, slots INTEGER NOT NULL);"

#define MANIFEST_INDEXES                                                                                                                   \
	"CREATE UNIQUE INDEX entry_name ON entry (parent, name);"                                                                          \
	"CREATE INDEX chunk_slot ON chunk (pack, slot);"

#define MANIFEST_SCHEMA MANIFEST_TABLES MANIFEST_INDEXES

#define MANIFEST_ROWS_MAX (INT64_C(1) << 40)
#define MANIFEST_CHUNK_MAX ((64u << 20) + 1) /* bytes of a chunk */
#define MANIFEST_TARGET_MAX 4095
#define MANIFEST_PATH_MAX 65535 /* deeper than any kernel path, bounded all the same */

#endif
