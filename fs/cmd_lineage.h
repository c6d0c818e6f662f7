/* The subcommands of `meshfs lineage`: the table is in cmd_lineage.c. */
#ifndef MESHFS_FS_CMD_LINEAGE_H
#define MESHFS_FS_CMD_LINEAGE_H

#include "catalog/mesh.h"
#include "fs/options.h"

typedef int lineage_verb(const struct invocation *inv, int argc, char **argv, int *ret_status, struct err *e);

/* May the caller see the records of others: root, or the owner of the database (who has none yet may, too)? */
bool lineage_is_own(const struct mesh_config *mesh);

lineage_verb lineage_verb_runs, lineage_verb_reads, lineage_verb_denials, lineage_verb_up, lineage_verb_down, lineage_verb_verify, lineage_verb_prune,
	lineage_verb_export, lineage_verb_trace, lineage_verb_erasure, lineage_verb_find, lineage_verb_replay, lineage_verb_summary;

/* What questions about data start with: the mesh's data and its lineage, up to date; `address` (may be NULL) with its selectors resolved.  `rules`: with the
 * policy in force. */
struct lineage;
struct scan;
struct lineage_question {
	struct scan *scan;
	struct lineage *l;
	char *address;
};
int lineage_question_open(const struct invocation *inv, const char *address, bool rules, struct lineage_question *ret, struct err *e);
void lineage_question_close(struct lineage_question *q);

/* A question about rows of `address` (with selectors), and who says the answer. */
struct where_answer;
struct lineage_rows {
	const char *address, *where;
	const char *run; /* or NULL */
	bool sources, json;
	int (*answer)(struct lineage_question *q, const struct where_answer *a, bool json, struct err *e);
};
int lineage_ask_rows(const struct invocation *inv, const struct lineage_rows *ask, struct err *e);

/* To standard output, so that it can neither drive a terminal nor break a line (NULL: nothing); who: "  (user, purpose)". */
void lineage_print_safe(const char *text);
void lineage_print_who(const char *user, const char *purpose);

/* Warns of opens that are not on record: who made them is missing from an answer to who read what. */
void lineage_warn_gaps(struct lineage *l);

struct where_gone;
void lineage_print_gone(const struct where_gone *g, bool json);

#endif
