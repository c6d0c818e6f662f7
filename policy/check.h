/* What is wrong with rules that load all the same: for `policy check` and a mount's log. */
#ifndef MESHFS_POLICY_CHECK_H
#define MESHFS_POLICY_CHECK_H

#include "policy/decide.h"

/* One line, with file and line. */
typedef void (*policy_warning)(void *arg, const char *text);

/* Expired exempts, globs that never match, domains that `mesh` (may be NULL) does not have. */
void policy_check_rules(const struct policy *p, const struct mesh_config *mesh, int64_t now_ns, policy_warning warn, void *arg);

/* Checks rules against the contracts that it is shown, one after another.  Borrows the policy; one thread. */
struct contract_check;
/* NULL without memory. */
struct contract_check *contract_check_new(const struct policy *p, policy_warning warn, void *arg);
/* Row filters that this contract's columns do not satisfy (they deny the version's files), and masks that can only give null for the type of
 * a column.  The same is said once, whatever the number of versions. */
void contract_check_add(struct contract_check *k, const char *domain, const char *product, const char *version, struct contract *c);
/* Once all contracts were added: columns that rules name and no contract has, where a rule reaches any contract at all. */
void contract_check_finish(struct contract_check *k);
void contract_check_free(struct contract_check *k);

#endif
