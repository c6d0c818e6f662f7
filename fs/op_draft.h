/* Requests on drafts and on the folders that hold them.  Included by fs/op*.c only. */
#ifndef MESHFS_FS_OP_DRAFT_H
#define MESHFS_FS_OP_DRAFT_H

#include "fs/draft.h"
#include "fs/op_table.h"

/* op_draft.c: each answers. */
void draft_op_lookup(struct op *op);
void draft_op_getattr(struct op *op);
void draft_op_readlink(struct op *op);
void draft_op_statfs(struct op *op);
void draft_op_opendir(struct op *op);
void draft_op_readdir(struct op *op);

/* op_draft_file.c */
void draft_op_open(struct op *op);
void draft_op_read(struct op *op);

#endif
