/*
 * Numbers that tell nothing: inode numbers, node ids and the offsets of folders count what lies between two files, hidden ones included.  A keyed
 * permutation keeps them unique and constant within a session, and says no more.
 *
 * Thread rules: a key is immutable once it is made.
 */
#ifndef MESHFS_FS_OPAQUE_H
#define MESHFS_FS_OPAQUE_H

#include <stdbool.h>
#include <stdint.h>

struct opaque {
	uint64_t key[2];
	bool open; /* numbers go as they are */
};

/* A random key; `open`: none. */
int opaque_init(struct opaque *o, bool open);
/* A permutation of the numbers of 2 * `half_bits` bits (up to 64), and its inverse. */
uint64_t opaque_put(const struct opaque *o, uint64_t number, unsigned half_bits);
uint64_t opaque_get(const struct opaque *o, uint64_t number, unsigned half_bits);
/* Node ids as the kernel has them: whoever may see a file can ask for its file handle, in which the number stands.  0 (none) and 1 (the root)
 * stay what they are. */
uint64_t opaque_node_put(const struct opaque *o, uint64_t id);
uint64_t opaque_node_get(const struct opaque *o, uint64_t number);

#endif
