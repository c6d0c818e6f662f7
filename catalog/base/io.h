/*
 * Files: whole reads and writes, atomic replacement, folders.  All paths are local.
 * Thread rules: any thread; no shared state.
 */
#ifndef MESHFS_BASE_IO_H
#define MESHFS_BASE_IO_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Appends the file's bytes; more than `max_bytes` is -EFBIG. */
int io_read_file(const char *path, size_t max_bytes, struct buf *ret, struct err *e);
/* The same from where the descriptor stands; `name` is for errors. */
int io_read_fd(int fd, const char *name, size_t max_bytes, struct buf *ret, struct err *e);

/* Replaces `path` in one step: writes a temporary file beside it, syncs it, renames it, syncs the folder. */
int io_write_file(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e);
/* The same in one step for who reads now, but nothing is synced: after a power cut the old file, the new one, or one that is short or holds zeros.  For what
   carries a checksum and can be made again. */
int io_write_cached(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e);
/* Where somebody says: through a symbolic link, and into a device or pipe as it is (/dev/stdout); else as io_write_file. */
int io_write_output(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e);

/* read(2)/write(2) until all is done.  EINTR is retried.  A short read gives -ENODATA. */
int io_read_full(int fd, void *bytes, size_t len);
int io_pread_full(int fd, void *bytes, size_t len, uint64_t offset);
int io_write_full(int fd, const void *bytes, size_t len);
int io_pwrite_full(int fd, const void *bytes, size_t len, uint64_t offset);

/* A new file in the folder that has no name, so that nothing is left of it after a crash: its descriptor (the caller's), or -errno. */
int io_open_nameless(const char *folder);
/* The same in $TMPDIR, or /tmp. */
int io_open_scratch(void);
/* A new folder of the caller's alone, TMPDIR (or /tmp)/`name`-XXXXXX; *ret is the caller's to free, and the folder to remove.  0 or -errno, and *ret is
 * NULL. */
int io_make_scratch_folder(const char *name, char **ret);
/* `size` bytes of `from` to `to`, in the kernel where it can; `progress` (may be NULL) is told how many came at a time.  0 or -errno (-ENODATA: too short). */
int io_copy(int from, int to, uint64_t size, void (*progress)(void *arg, uint64_t bytes), void *arg);

/* Makes a folder and its parents; existing folders are fine and keep their mode. */
int io_make_folders(const char *path, mode_t mode, struct err *e);
/* Makes the folders that `path`'s last part needs. */
int io_make_parents(const char *path, mode_t mode, struct err *e);
/* Removes a folder with all it holds; does not follow symlinks or cross mounts.  Absent is fine. */
int io_remove_tree(const char *path, struct err *e);

/* New strings, NULL without memory. */
char *io_join(const char *folder, const char *name);
/* "~" and "~/x" to the caller's home ($HOME, else the password file). */
char *io_expand_home(const char *path);
/* An absolute form of `path`, relative to `base` (a folder; NULL means the current one); no symlinks resolved. */
char *io_absolute(const char *base, const char *path);
/* The one name of a file whose folder is there: that folder without links and dots, and the file's own name, which may be a link.  Else as io_absolute. */
char *io_canonical(const char *path);
/* $XDG_STATE_HOME/meshfs, $XDG_CACHE_HOME/meshfs; root without XDG variables: /var/lib/meshfs, /var/cache/meshfs. */
char *io_state_folder(void);
char *io_cache_folder(void);
/* $XDG_RUNTIME_DIR/meshfs; else /run/meshfs for root, /tmp/meshfs-UID (checked: ours, 0700) otherwise. */
char *io_runtime_folder(void);

/* 0, or -ENOSPC when `bytes` would take nearly all that is free where the file lies: what others say of a size must not fill a disk. */
int io_check_room(int fd, uint64_t bytes);
/* Is the folder on a network file system (NFS, CIFS, 9p, FUSE …)?  1, 0 or -errno. */
int io_is_network(const char *path);
/* No time of access is kept for the file any more, where its file system can do without. */
void io_no_access_time(int fd);

#endif
