/* What changes something in a draft: called by op_write.c, which takes the requests.  Each answers. */
#ifndef MESHFS_FS_OP_DRAFT_WRITE_H
#define MESHFS_FS_OP_DRAFT_WRITE_H

#include "fs/op.h"

struct dnode;

/* op_draft.c */
void draft_op_mkdir(struct op *op, mode_t mode);
void draft_op_symlink(struct op *op, const char *target);
void draft_op_remove(struct op *op, bool folder);
void draft_op_rename(struct op *op, uint64_t to, const char *to_name, unsigned flags);
/* May something of that name be made there?  With the lock held. */
int draft_may_make_locked(const struct dnode *parent, const char *name, bool file);
/* It as an entry; a lookup is counted.  With the lock held. */
int draft_child_locked(struct dnode *parent, const char *name, struct op_entry *ret);
int draft_reply_entry(struct op *op, struct op_entry *entry);

/* op_draft_file.c */
void draft_op_create(struct op *op, mode_t mode);
void draft_op_write(struct op *op, const char *bytes);
void draft_op_setattr(struct op *op, const struct stat *attr, int to_set);
void draft_op_fallocate(struct op *op, int mode, int64_t length);
void draft_op_fsync(struct op *op, bool data_only);

/* op_draft_link.c */
void draft_op_link(struct op *op, uint64_t file);

#endif
