/* The commit that a folder's git repository is at, read from its files (git itself is not run).  Pure but for reading. */
#ifndef MESHFS_FS_GIT_HEAD_H
#define MESHFS_FS_GIT_HEAD_H

#define GIT_COMMIT_MAX 65 /* 40 or 64 hex digits and the NUL */

/* 0, or -ENOENT when the folder is in no repository or it has no commit yet. */
int git_head(const char *folder, char ret[GIT_COMMIT_MAX]);

#endif
