/*
 * Keys of the `hmac` mask: files of 32 random bytes, mode 0600, named in mesh.yaml.  Key bytes are never logged, stored elsewhere, or part of
 * an error.  Pure but for reading files; any thread.
 */
#ifndef MESHFS_POLICY_KEY_H
#define MESHFS_POLICY_KEY_H

#include "catalog/base/err.h"
#include "catalog/mesh.h"

#define POLICY_KEY_SIZE 32

/* -ENOENT: no such key, or no file; -EACCES: not ours to read; -EINVAL: readable by others, or not 32 bytes. */
int policy_key_read(const struct mesh_config *mesh, const char *name, unsigned char ret_key[POLICY_KEY_SIZE], struct err *e);
/* Tells keys apart without telling what they are. */
int policy_key_fingerprint(const struct mesh_config *mesh, const char *name, unsigned char ret[8], struct err *e);
void policy_key_fingerprint_of(const unsigned char key[POLICY_KEY_SIZE], unsigned char ret[8]);
/* Makes a key file of random bytes; -EEXIST when there is one. */
int policy_key_make(const char *path, struct err *e);

#endif
