/*
 * Open files and folders.  The kernel keeps the handle's number (its address) between OPEN and RELEASE, and uses it from
 * any thread; FUSE sends RELEASE after the last other request on it.
 */
#ifndef MESHFS_FS_HANDLE_H
#define MESHFS_FS_HANDLE_H

#include "fs/tree.h"

#include "catalog/base/buf.h"

#include <stdatomic.h>
#include <sys/stat.h>

enum handle_kind { HANDLE_TEXT, HANDLE_FILE, HANDLE_FOLDER, HANDLE_DRAFT };

struct dnode;

struct handle {
	enum handle_kind kind;
	struct session *session;
	struct handle *next, **at; /* in the session's list; guarded by session->handles_lock */

	struct buf text; /* HANDLE_TEXT: a generated file as it was when it was opened */

	/* HANDLE_FILE */
	struct slot *slot;       /* a reference */
	struct content *content; /* a reference */
	struct manifest_entry entry;
	char *path;              /* within the version */
	uint32_t view;           /* of the node */
	_Atomic uint64_t epoch;  /* of the policy that last allowed it */
	_Atomic int64_t valid_until_ns; /* when that decision ends; INT64_MAX: never */
	atomic_bool revoked;     /* denied since: every later read is ESTALE */
	uint64_t record;         /* of fs/recorder.h */
	uint64_t fetched_before; /* by others, before this open */
	struct stat st;

	/* HANDLE_DRAFT */
	int fd;              /* owned */
	struct dnode *dnode; /* counted in its `opens` */
	bool writing;

	/* HANDLE_FOLDER */
	struct place place;
	struct folder_item *items; /* outside of versions: as listed when the reading began */
	size_t item_count;
};

struct folder_item {
	char *name;
	enum node_kind kind;
	uint64_t ino;
};

struct handle *handle_new(struct session *s, enum handle_kind kind);
/* Closes its record, too. */
void handle_free(struct handle *h);
/* An unmount or an aborted connection may send no RELEASE: closes what is left.  No request may be under way. */
void handles_sweep(struct session *s);
static inline struct handle *handle_of(uint64_t number)
{
	return (struct handle *)(uintptr_t)number;
}
/* The attributes that an open file keeps; NULL: ask the tree. */
const struct stat *handle_stat(uint64_t number);
void folder_clear(struct handle *h);
int folder_add(struct handle *h, const char *name, enum node_kind kind, uint64_t ino);

#endif
