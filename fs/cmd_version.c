#include "fs/commands.h"

#include <stdio.h>

int cmd_version(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	(void)inv;
	(void)ret_status;
	int words;
	int r = options_parse("version", "Prints the version of this program.", NULL, 0, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words)
		return options_wrong(e, "version", "version wants no '%s'", argv[0]);
	printf("meshfs %s\n", MESHFS_VERSION);
	return 0;
}
