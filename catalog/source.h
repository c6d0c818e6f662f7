/*
 * Local files and folders as the source of a publication.
 *
 * One folder: its content becomes the version.  Several paths: each by its name.  Kept: executable bits, times, symlinks that stay
 * inside the version, empty files and folders, every name.  Refused by name: sockets, devices, pipes, `.mesh`, symlinks that
 * lead out.  Hard links become files of their own.
 */
#ifndef MESHFS_CATALOG_SOURCE_H
#define MESHFS_CATALOG_SOURCE_H

#include "catalog/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct publication;

struct source_totals {
	uint64_t files, bytes;
};

/* Looks at everything without reading it: what cannot be published is said before any work is done. */
int source_scan(const char *const *paths, size_t count, struct source_totals *ret, struct err *e);
/* Adds everything, folder by folder, files before subfolders, in byte order of the names. */
int source_publish(struct publication *p, const char *const *paths, size_t count, struct err *e);

/*
 * In place: registers what lies in the domain's store already.  `source` is a path inside the folder of a file:// store, else the URL, key or
 * key prefix of objects.  One prefix (folder): what is below it becomes the version; one object: by its name.
 */
struct store;
int source_in_place_scan(struct store *s, const char *source, struct source_totals *ret, struct err *e);
int source_in_place(struct publication *p, struct store *s, const char *source, struct err *e);

#endif
