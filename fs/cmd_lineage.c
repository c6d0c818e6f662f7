/* meshfs lineage: a table of questions. */
#include "fs/cmd_lineage.h"

#include "catalog/base/text.h"
#include "fs/commands.h"

#include <stdio.h>
#include <string.h>

static const struct verb {
	const char *name, *usage, *summary;
	lineage_verb *run;
} verbs[] = {
	{ "runs", "runs [--run R]", "the runs, oldest first", lineage_verb_runs },
	{ "reads", "reads [--run R] [ADDRESS]", "which files each run opened, through which view", lineage_verb_reads },
	{ "denials", "denials [--run R] [ADDRESS]", "which opens were refused, and by which rules", lineage_verb_denials },
	{ "up", "up ADDRESS", "what it was made from", lineage_verb_up },
	{ "down", "down ADDRESS", "what was made from it, runs included", lineage_verb_down },
	{ "trace", "trace ADDRESS --where EXPR", "which runs were served rows like these", lineage_verb_trace },
	{ "export", "export --format F [--run R] [ADDRESS]", "OpenLineage events, DOT, SVG, JSON", lineage_verb_export },
	{ "verify", "verify [--head FILE]", "was anything changed since it was sealed?", lineage_verb_verify },
	{ "prune", "prune --before DATE", "delete the reads of old runs; their seals stay", lineage_verb_prune },
};

#define VERBS (sizeof verbs / sizeof *verbs)

static int usage(void)
{
	printf("usage: meshfs lineage QUESTION …\n\nWhat was read, by whom, and what was made of it.\n\nquestions:\n");
	for (size_t i = 0; i < VERBS; i++)
		printf("  %-44s %s\n", verbs[i].usage, verbs[i].summary);
	printf("\n'meshfs lineage QUESTION --help' explains one.\n");
	return 0;
}

/* `lineage --json reads` is `lineage reads --json`. */
static void question_first(int argc, char **argv)
{
	int at = 1;
	while (at < argc && argv[at][0] == '-')
		at++;
	if (at >= argc)
		return;
	char *word = argv[at];
	memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv);
	argv[1] = word;
}

int cmd_lineage(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e)
{
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return usage();
	question_first(argc, argv);
	if (argc < 2)
		return options_wrong(e, "lineage", "lineage: which question?");
	const char *names[VERBS];
	for (size_t i = 0; i < VERBS; i++) {
		names[i] = verbs[i].name;
		if (!strcmp(argv[1], names[i]))
			return verbs[i].run(inv, argc - 1, argv + 1, ret_status, e);
	}
	const char *near = text_nearest(argv[1], names, VERBS);
	return near ? options_wrong(e, "lineage", "lineage %s: no such question (did you mean '%s'?)", argv[1], near)
		    : options_wrong(e, "lineage", "lineage %s: no such question", argv[1]);
}
