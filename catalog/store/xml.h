/*
 * A small, strict scanner for the XML that S3 servers answer with.  No DTD, no external anything; at most XML_DEPTH_MAX
 * levels.  Untrusted input: anything that is not well-formed in the part that was read is -EBADMSG.
 */
#ifndef MESHFS_CATALOG_STORE_XML_H
#define MESHFS_CATALOG_STORE_XML_H

#include <stddef.h>

#define XML_DEPTH_MAX 16
#define XML_PATH_MAX 256

/* Calls `each` at the end of every element with its path ("ListBucketResult/Contents/Key", without namespace prefixes) and the text
 * that stood directly in it after its last child (entities resolved; NUL-terminated).  A non-zero return stops and is
 * returned.  0, -EBADMSG, -ENOMEM. */
int xml_walk(const char *text, size_t len, int (*each)(void *arg, const char *path, const char *value, size_t value_len), void *arg);

#endif
