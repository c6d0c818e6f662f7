/* init: a new mesh. */
#include "catalog/base/io.h"
#include "catalog/base/text.h"
#include "catalog/address.h"
#include "catalog/mesh.h"
#include "fs/commands.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A mesh's name from its folder's: "Acme Data" becomes acme-data. */
static void name_from(const char *folder, char ret[NAME_SIZE])
{
	char *real = realpath(folder, NULL);
	const char *path = real ? real : folder;
	size_t end = strlen(path), n = 0;
	while (end && path[end - 1] == '/')
		end--;
	size_t start = end;
	while (start && path[start - 1] != '/')
		start--;
	for (size_t i = start; i < end && n < NAME_SIZE - 1; i++) {
		char c = path[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c + 32);
		bool first_ok = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
		if (first_ok || (n && strchr("._-", c)))
			ret[n++] = c;
		else if (n)
			ret[n++] = '-';
	}
	ret[n] = '\0';
	if (name_check("mesh", ret, NULL))
		strcpy(ret, "mesh");
	free(real);
}

int cmd_init(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	const char *name = NULL;
	const struct option_spec specs[] = {
		{ "--name", 0, OPTION_TEXT, "NAME", "the mesh's name (default: the folder's)", &name },
	};
	char made[NAME_SIZE];
	int words;
	(void)ret_status;
	int r = options_parse("init [DIR] [--name NAME]",
			      "Makes a new mesh in DIR (default: here): mesh.yaml, and a policy folder with a commented starting policy.\n"
			      "A mesh that is there already is left as it is.",
			      specs, 1, false, argc, argv, &words, e);
	if (r)
		return r == OPTIONS_HELP ? 0 : r;
	if (words > 1 || (words && !*argv[0]))
		return options_wrong(e, "init", "init wants one folder");
	const char *folder = words ? argv[0] : ".";
	if (!name) {
		name_from(folder, made);
		name = made;
	}
	r = mesh_create(folder, name, e);
	if (!r && !inv->quiet) {
		char *path = io_absolute(NULL, folder);
		printf("mesh %s made in %s\nnext: meshfs domain add NAME URL\n", name, path ? path : folder);
		free(path);
	}
	return r;
}
