/*
 * Command lines: one table of options a command drives parsing, --help and the manual's list.
 */
#ifndef MESHFS_FS_OPTIONS_H
#define MESHFS_FS_OPTIONS_H

#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>

#define OPTION_LIST_MAX 256

enum option_kind {
	OPTION_FLAG, /* bool *: set to true */
	OPTION_TEXT, /* const char **: the argument, borrowed from argv */
	OPTION_LIST, /* struct option_list *: may be repeated */
};

struct option_list {
	const char *items[OPTION_LIST_MAX];
	size_t count;
};

struct option_spec {
	const char *name;     /* "--purpose" */
	char letter;          /* 'f' for -f, or 0 */
	enum option_kind kind;
	const char *argument; /* "P" in the help; NULL for a flag */
	const char *help;
	void *target;
};

/* What every command is given. */
struct invocation {
	const char *mesh_path; /* -m, or NULL */
	bool quiet, verbose;
};

/*
 * A subcommand.  `run` gets its own name in argv[0], returns 0 or a negative errno with `e` filled; the exit status is
 * err_exit_status(e), unless it stored one in *ret_status (a child's exit status).  Its options are parsed by
 * options_parse; "--help" is handled there.
 */
struct command {
	const char *name;
	const char *usage;   /* "publish ADDRESS SOURCE… [options]" */
	const char *summary; /* one line */
	int (*run)(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e);
};

#define OPTIONS_HELP 1 /* options_parse printed the help: the command returns 0 at once */

/*
 * Parses options (before, between and after the other words; "--" ends them) into the targets of `specs`, and moves the
 * other words to the front of argv: argv[0 … *ret_count - 1].  With `stop_at_word`, the first other word ends the options
 * (for `run … COMMAND`).  Accepts "--name value" and "--name=value".  `usage` and `about` are printed by --help.
 * Returns 0, OPTIONS_HELP, or -EINVAL (kind ERR_PARSE; the nearest known option is suggested).
 */
int options_parse(const char *usage, const char *about, const struct option_spec *specs, size_t count, bool stop_at_word, int argc,
		  char **argv, int *ret_count, struct err *e);

/* "wrong usage" (exit 2): `text`, then where help is. */
int options_wrong(struct err *e, const char *command, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
