/*
 * What a process that runs the words of others gives up, for good.  To be called before it has threads: they inherit it.
 * A second fence: who calls it keeps those words from the machine by other means too, as a kernel may know no Landlock.
 */
#ifndef MESHFS_FS_SANDBOX_H
#define MESHFS_FS_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

/* It ends with its parent, makes no core and writes no file, gets no new rights, and is the first to go when memory is short.  Of memory of its own it may
 * have `memory_bytes`.  0 or -errno. */
int sandbox_enter(uint64_t memory_bytes);

/* What it still may: read files (those in a folder too), list folders. */
struct sandbox_names {
	const char *const *read, *const *list;
	size_t read_count, list_count;
};

/* From now on it opens no other file, makes no connection, and sends signals to nobody but itself.  What is not there is passed over.  0, also where the kernel
 * does not know how; or -errno. */
int sandbox_confine(const struct sandbox_names *may);

#endif
