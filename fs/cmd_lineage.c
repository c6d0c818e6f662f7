/* meshfs lineage: a table of questions. */
#include "fs/cmd_lineage.h"

#include "catalog/base/text.h"
#include "fs/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct verb {
	const char *name, *usage, *summary;
	lineage_verb *run;
	bool own; /* tells a caller of his own runs alone when the database is another's; the others are refused then */
} verbs[] = {
	{ "runs", "runs [--run R]", "the runs, oldest first", lineage_verb_runs, true },
	{ "reads", "reads [--run R] [ADDRESS]", "which files each run opened, through which view", lineage_verb_reads, true },
	{ "denials", "denials [--run R] [ADDRESS]", "which opens were refused, and by which rules", lineage_verb_denials, true },
	{ "up", "up ADDRESS", "what it was made from", lineage_verb_up, false },
	{ "down", "down ADDRESS", "what was made from it, runs included", lineage_verb_down, false },
	{ "trace", "trace ADDRESS --where EXPR", "which runs were served rows like these", lineage_verb_trace, false },
	{ "find", "find FILE [--in ADDRESS] [--run R]", "which product, version, file and row each record came from", lineage_verb_find, false },
	{ "erasure-report", "erasure-report ADDRESS --where EXPR", "what rows touched, and whom to tell, before they are erased", lineage_verb_erasure,
	  false },
	{ "replay", "replay RUN", "would today's policy decide the same?", lineage_verb_replay, false },
	{ "summary", "summary RUN|VERSION", "what it was made from, by source: rights, team, files, bytes", lineage_verb_summary, false },
	{ "export", "export --format F [--to URL|FILE] [ADDRESS]", "OpenLineage events, DOT, SVG, JSON", lineage_verb_export, false },
	{ "verify", "verify [--head FILE]", "was anything changed since it was sealed?", lineage_verb_verify, false },
	{ "prune", "prune [--before DATE]", "delete old reads; their seals stay", lineage_verb_prune, false },
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

bool lineage_is_own(const struct mesh_config *mesh)
{
	struct stat st;
	return geteuid() == 0 || stat(mesh->lineage_db, &st) || st.st_uid == geteuid();
}

static int check_caller(const struct invocation *inv, const struct verb *v, struct err *e)
{
	struct mesh_config *mesh;
	if (v->own || mesh_open(inv->mesh_path, &mesh, NULL)) /* without a mesh the question itself says what is wrong */
		return 0;
	int r = lineage_is_own(mesh) ? 0 : err_set_kind(e, ERR_REFUSED, -EACCES, "lineage %s: the records are another user's; 'lineage reads' tells of your own runs", v->name);
	mesh_config_free(mesh);
	return r;
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
		if (!strcmp(argv[1], names[i])) {
			int r = check_caller(inv, &verbs[i], e);
			return r ? r : verbs[i].run(inv, argc - 1, argv + 1, ret_status, e);
		}
	}
	const char *near = text_nearest(argv[1], names, VERBS);
	return near ? options_wrong(e, "lineage", "lineage %s: no such question (did you mean '%s'?)", argv[1], near)
		    : options_wrong(e, "lineage", "lineage %s: no such question", argv[1]);
}
