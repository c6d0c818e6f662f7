/* The verbs of `product` that stand in files of their own. */
#ifndef MESHFS_FS_CMD_PRODUCT_H
#define MESHFS_FS_CMD_PRODUCT_H

#include "fs/options.h"

int product_describe(const struct invocation *inv, int argc, char **argv, struct err *e);

#endif
