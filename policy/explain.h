/* What commands ask of a decision beyond decide.h. */
#ifndef MESHFS_POLICY_EXPLAIN_H
#define MESHFS_POLICY_EXPLAIN_H

#include "policy/decide.h"

struct rule;
void rule_words(const struct rule *r, struct buf *ret);

struct explained_rule {
	const char *id, *effect, *file;
	int line;
	const char *words;
};
/* The rules of a file decision (its `rules`), each with its file and line.  Borrowed for the call. */
void version_decision_rules(const struct version_decision *d, const char *ids, int (*each)(void *, const struct explained_rule *), void *arg);

/* The permit that came nearest to a file that is denied by default, and what it lacks: fewest conditions that fail, one that concerns the file first.
 * False: the domain permits nobody anything, or memory ran out.  It quotes rules that do not concern the subject, so it is for who can read the
 * policy, and not for what a session is shown. */
struct missed_permit {
	const char *id, *file; /* borrowed from the policy */
	int line;
	struct buf lacks; /* "when purpose in {research} (purpose is study); …" */
};
bool version_decision_missed_permit(struct version_decision *d, const struct file_facts *f, struct missed_permit *ret);

#endif
