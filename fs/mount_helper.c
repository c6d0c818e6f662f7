#include "fs/mount_helper.h"

#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* mount(8)'s own words: they are for it, or for what we do always. */
static const char *const ignored[] = { "defaults", "auto",  "noauto", "nofail", "_netdev", "user",  "nouser", "users", "owner",  "group", "rw",
				       "ro",       "dev",   "nodev",  "suid",   "nosuid",  "exec",  "async",  "atime", "noatime", "relatime", "nodiratime",
				       "diratime", "nolock" };

static bool is_ignored(const char *word)
{
	if (text_starts(word, "x-") || text_starts(word, "comment="))
		return true;
	for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
		if (!strcmp(word, ignored[i]))
			return true;
	}
	return false;
}

int mount_helper_options(char *text, struct mount_options *ret, struct err *e)
{
	static const char *const known[] = { "purpose", "run", "as", "over" };
	char *rest = text;
	for (char *word; (word = strsep(&rest, ","));) {
		if (!*word || is_ignored(word))
			continue;
		if (text_starts(word, "purpose="))
			ret->purpose = word + 8;
		else if (text_starts(word, "run="))
			ret->run = word + 4;
		else if (text_starts(word, "as="))
			ret->user = word + 3;
		else if (!strcmp(word, "over"))
			ret->over = true;
		else {
			const char *near = text_nearest(word, known, sizeof known / sizeof *known);
			return err_set_kind(e, ERR_PARSE, -EINVAL, "-o %s: unknown option%s%s%s; known are purpose=P, run=NAME, as=U, over", word,
					    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
		}
	}
	return 0;
}

bool mount_helper_named(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash ? slash + 1 : argv0;
	return !strcmp(name, "mount.fuse.meshfs") || !strcmp(name, "mount.meshfs");
}

int mount_helper_main(int argc, char **argv)
{
	struct mount_options o = { 0 };
	struct err e = ERR_INIT;
	const char *words[2];
	int count = 0, r = 0;
	log_set_level(LOG_WARN);
	for (int i = 1; i < argc && !r; i++) {
		if (!strcmp(argv[i], "-o") && i + 1 < argc)
			r = mount_helper_options(argv[++i], &o, &e);
		else if ((!strcmp(argv[i], "-t") || !strcmp(argv[i], "-N")) && i + 1 < argc)
			i++;
		else if (argv[i][0] == '-')
			continue; /* -s -f -n -v: nothing that changes what we do */
		else if (count < 2)
			words[count++] = argv[i];
		else
			r = err_set_kind(&e, ERR_PARSE, -EINVAL, "%s: one word too many", argv[i]);
	}
	if (!r && count != 2)
		r = err_set_kind(&e, ERR_PARSE, -EINVAL, "usage: %s MESH-FILE MOUNTPOINT [-o OPTIONS]", argv[0]);
	if (!r)
		r = mount_mesh(words[0], words[1], &o, &e);
	if (r)
		fprintf(stderr, "meshfs: %s\n", e.text);
	return r ? err_exit_status(&e) : 0;
}
