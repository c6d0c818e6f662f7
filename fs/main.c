/* meshfs: the program.  A table of subcommands, which is also the usage text. */
#include "catalog/base/log.h"
#include "catalog/base/text.h"
#include "fs/browse.h"
#include "fs/commands.h"
#include "fs/mount_helper.h"
#include "fs/options.h"
#include "fs/sql_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command commands[] = {
#define COMMAND(id, name, usage, summary) { name, usage, summary, cmd_##id },
#include "fs/commands.def"
#undef COMMAND
};

#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void usage(FILE *out)
{
	fprintf(out, "usage: meshfs [-m MESH] [-q|-v] COMMAND …\n\ncommands:\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	fprintf(out, "\n'meshfs COMMAND --help' explains one; meshfs(1) is the manual.\n");
}

static int unknown_command(const char *word)
{
	const char *names[COMMAND_COUNT];
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		names[i] = commands[i].name;
	const char *near = text_nearest(word, names, COMMAND_COUNT);
	if (near)
		fprintf(stderr, "meshfs: %s: no such command (did you mean '%s'?); see 'meshfs --help'\n", word, near);
	else
		fprintf(stderr, "meshfs: %s: no such command; see 'meshfs --help'\n", word);
	return ERR_PARSE;
}

/* Standard descriptors that are closed would be given to the first files we open, and our messages written into them. */
static void open_standard_descriptors(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

/* Writes what is buffered.  Did some of the output not arrive, now or earlier?  A reader that has enough (`| head`) is no failure. */
static bool output_lost(void)
{
	struct pollfd out = { .fd = STDOUT_FILENO };
	if (browse_incomplete()) {
		fflush(stdout);
		fprintf(stderr, "meshfs: out of memory: not all of the output was written; run it again with more memory\n");
		return true;
	}
	errno = 0;
	if (!fflush(stdout) && !ferror(stdout))
		return false;
	if (errno == EPIPE || (poll(&out, 1, 0) > 0 && (out.revents & POLLERR)))
		return false;
	fprintf(stderr, "meshfs: cannot write the output%s%s\n", errno ? ": " : "", errno ? strerror(errno) : "");
	return true;
}

/* What stands before the command.  Returns its place in argv, or 0 with the exit status in *ret_status. */
static int read_globals(int argc, char **argv, struct invocation *inv, int *ret_status)
{
	int i = 1;
	*ret_status = 0;
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "-m") && i + 1 < argc) {
			inv->mesh_path = argv[++i];
		} else if (!strcmp(argv[i], "-q")) {
			inv->quiet = true;
		} else if (!strcmp(argv[i], "-v")) {
			inv->verbose = true;
		} else if (!strcmp(argv[i], "--version")) {
			printf("meshfs %s\n", MESHFS_VERSION);
			return 0;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			usage(stdout);
			return 0;
		} else {
			fprintf(stderr, "meshfs: %s: %s; see 'meshfs --help'\n", argv[i],
				!strcmp(argv[i], "-m") ? "wants the path of a mesh file" : "unknown option");
			*ret_status = ERR_PARSE;
			return 0;
		}
	}
	if (i < argc)
		return i;
	usage(stderr);
	*ret_status = ERR_PARSE;
	return 0;
}

static int run_command(const struct command *command, const struct invocation *inv, int argc, char **argv)
{
	struct err e = ERR_INIT;
	int status = -1;
	int r = command->run(inv, argc, argv, &status, &e);
	if (r && !e.code)
		err_set(&e, r, "%s: %s", command->name, strerror(-r));
	if (r)
		fprintf(stderr, "meshfs: %s\n", e.text);
	return status >= 0 ? status : r ? err_exit_status(&e) : 0;
}

/* `help COMMAND …` is `COMMAND … --help`: "help" leaves argv, and its last place is for the option. */
static bool wants_help(int argc, char **argv)
{
	static char option[] = "--help";
	if (strcmp(argv[0], "help") != 0 || argc < 2)
		return false;
	memmove(argv, argv + 1, (size_t)(argc - 1) * sizeof *argv);
	argv[argc - 1] = option;
	return true;
}

int main(int argc, char **argv)
{
	struct invocation inv = { NULL, false, false };
	int status;
	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	if (argc && mount_helper_named(argv[0]))
		return mount_helper_main(argc, argv);
	if (argc && sql_worker_named(argv[0]))
		return sql_worker_main();
	int at = read_globals(argc, argv, &inv, &status);
	if (!at)
		return output_lost() ? ERR_FAIL : status;
	log_set_level(inv.verbose ? LOG_DEBUG : inv.quiet ? LOG_ERROR : LOG_WARN);
	if (!wants_help(argc - at, argv + at) && !strcmp(argv[at], "help")) {
		usage(stdout);
		return output_lost() ? ERR_FAIL : 0;
	}
	for (size_t c = 0; c < COMMAND_COUNT; c++) {
		if (strcmp(commands[c].name, argv[at]) != 0)
			continue;
		status = run_command(&commands[c], &inv, argc - at, argv + at);
		return output_lost() && !status ? ERR_FAIL : status;
	}
	return unknown_command(argv[at]);
}
