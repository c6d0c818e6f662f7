/* Every subcommand's function; the table is fs/commands.def. */
#ifndef MESHFS_FS_COMMANDS_H
#define MESHFS_FS_COMMANDS_H

#include "fs/options.h"

#define COMMAND(id, name, usage, summary) \
	int cmd_##id(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e);
#include "fs/commands.def"
#undef COMMAND

#endif
