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

#endif
