/* What is wrong with rules that load all the same: for `policy check` and a mount's log. */
#ifndef MESHFS_POLICY_CHECK_H
#define MESHFS_POLICY_CHECK_H

#include "policy/decide.h"

/* One line, with file and line. */
typedef void (*policy_warning)(void *arg, const char *text);

/* Expired exempts, globs that never match. */
void policy_check_rules(const struct policy *p, int64_t now_ns, policy_warning warn, void *arg);
/* Row filters that this contract's columns do not satisfy: they deny the version's files. */
void policy_check_contract(const struct policy *p, const char *domain, const char *product, const char *version, struct contract *c,
			   policy_warning warn, void *arg);

#endif
