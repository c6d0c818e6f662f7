/* Bytes of a .gz or .zst file as they come in, unpacked as a stream: memory does not grow with the file.  One thread. */
#ifndef MESHFS_CATALOG_UNPACK_H
#define MESHFS_CATALOG_UNPACK_H

#include <stdbool.h>
#include <stddef.h>

struct unpack;

/* How long the name is without ".gz" or ".zst"; 0 when it ends in neither. */
size_t unpack_stem(const char *path);

int unpack_new(const char *path, struct unpack **ret); /* -EINVAL: neither */
void unpack_free(struct unpack *u); /* NULL is legal */
/* Calls `sink` with what comes out; its non-zero return ends the call and is returned.  -EBADMSG: not what its name says. */
int unpack_feed(struct unpack *u, const void *bytes, size_t len, int (*sink)(void *arg, const void *bytes, size_t len), void *arg);
/* Did the last frame end where the bytes did? */
bool unpack_complete(const struct unpack *u);

#endif
