/*
 * Decisions: a pure function of (rules, contract, subject, moment).
 *
 * A `struct policy` is a loaded, checked set of rules: immutable, reference-counted, any thread.  A decision is made in
 * two steps, so that a lookup pays once a version and session: policy_decide_version gathers the rules that can concern the
 * version and evaluates what does not depend on the file; version_decision_file finishes it for one file, from a
 * memo where rules do not depend on the file.
 *
 * "Unknown tightens": whatever cannot be evaluated restricts.  No policy at all (NULL) denies everything.
 */
#ifndef MESHFS_POLICY_DECIDE_H
#define MESHFS_POLICY_DECIDE_H

#include "catalog/base/buf.h"
#include "catalog/base/err.h"
#include "catalog/base/hash.h"
#include "catalog/contract.h"
#include "catalog/mesh.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct policy;
struct transform; /* policy/transform.h */

/* A policy source: a file of the mesh's policy folder, or one that a domain published with its catalog. */
struct policy_source {
	const char *name;   /* path or "domain:file", as errors and explanations show it */
	const char *text;
	size_t len;
	const char *domain; /* NULL: from the mesh's folder (mesh or domain scope); else only `scope domain <this>` is accepted */
};

/* Parses and checks all sources.  What a domain published (`domain` set) can only harm that domain: when it does not load, everything of the domain
 * is denied, and policy_problems says why.  Keys are looked up in `mesh` (names and fingerprints).  The first offence is returned with
 * file:line:column. */
int policy_load(const struct mesh_config *mesh, const struct policy_source *sources, size_t count, struct policy **ret, struct err *e);
/* The usual case: all *.policy files of the mesh's folder plus `extra`. */
int policy_load_mesh(const struct mesh_config *mesh, const struct policy_source *extra, size_t extra_count, struct policy **ret,
		     struct err *e);
/* The same for another folder (`policy diff`).  `mesh` may be NULL: keys are not looked up then. */
int policy_load_folder(const struct mesh_config *mesh, const char *folder, const struct policy_source *extra, size_t extra_count,
		       struct policy **ret, struct err *e);
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p);
/* SHA-256 over the canonical text of every rule: does not depend on the order of files or rules, comments or layout. */
const struct digest *policy_digest(const struct policy *p);
/* What a mount's log should say of a policy that was loaded: domains whose own policy is broken. */
size_t policy_problems(const struct policy *p, const char *const **ret);
/* Why the policy that this domain publishes does not load; NULL: it loads, or there is none. */
const char *policy_domain_problem(const struct policy *p, const char *domain);
size_t policy_rule_count(const struct policy *p);
/* Does a rule ask for the results of checks?  Whoever decides may leave them out of the facts otherwise. */
bool policy_asks_checks(const struct policy *p);

struct subject {
	const char *user;
	uid_t uid;
	const char *const *groups;
	size_t group_count;
	const char *purpose; /* NULL when the session has none */
	const char *run;     /* NULL when the session has none */
	const char *host;
};

/* What decisions know of a version.  Borrowed for the life of the decision. */
struct version_facts {
	const char *domain, *product, *version;
	struct contract *contract;      /* NULL: none */
	int64_t published_ns;
	bool has_quality;               /* false: no result; counts as failed */
	int64_t failed_errors, failed_warnings;
	double quality_score;
};

enum outcome { OUTCOME_ALLOW, OUTCOME_VIEW, OUTCOME_DENY, OUTCOME_HIDE };
const char *outcome_name(enum outcome o); /* "allow" "view" "deny" "hide" */

struct version_decision;

/* A clock that cannot be right: `now` and `.age_days` are unknown, no `exempt` holds.  A version that is decided on long before it was published tells that
 * by itself. */
#define POLICY_NOW_UNKNOWN INT64_MIN
#define POLICY_CLOCK_SLACK_NS (600LL * 1000000000LL)

int policy_decide_version(struct policy *p, const struct subject *s, const struct version_facts *facts, int64_t now_ns,
			  struct version_decision **ret, struct err *e);
void version_decision_free(struct version_decision *d);

/* May the subject publish this version (`permit NAME to publish`)?  0, or -EPERM with the reason.  Without such a rule only the mesh's owner
 * may: the caller says whether he is (`is_owner`).  `facts` may lack all but the names. */
int policy_may_publish(struct policy *p, const struct subject *s, const struct version_facts *facts, bool is_owner, int64_t now_ns,
		       struct err *e);

/* The outcome for the version as a whole: OUTCOME_HIDE (not listed) or OUTCOME_DENY when no file can differ; OUTCOME_ALLOW when every file is
 * served as it is; else OUTCOME_VIEW: each file has to be asked for. */
enum outcome version_decision_outcome(const struct version_decision *d);
/* Is there a rule that hides files of it, or could? */
bool version_decision_may_hide(const struct version_decision *d);
/* INT64_MAX, or the wall time until which the decision holds (`now`, `.age_days`, `until`). */
int64_t version_decision_valid_until_ns(const struct version_decision *d);

/* False: the clock was no help (POLICY_NOW_UNKNOWN). */
bool version_decision_now_known(const struct version_decision *d);

struct file_facts {
	const char *path;   /* within the version */
	const char *format; /* "csv", "jsonl", "parquet", "csv.gz", … "other" */
	uint64_t size;
	bool link;          /* a symlink: it holds no rows or columns, and rules about whole files concern it */
};

#define DECISION_RULES_MAX 4096 /* ids of 32 rules at least, of a hundred and more as a rule; what does not fit is told by an ellipsis */

struct file_decision {
	enum outcome outcome;
	char reason[512];            /* deny: what the refused are told */
	char rules[DECISION_RULES_MAX]; /* ids that made it: "pii/no-direct-pii,quality/low-quality" */
	struct transform *transform; /* OUTCOME_VIEW: a reference; NULL otherwise */
};

int version_decision_file(struct version_decision *d, const struct file_facts *f, struct file_decision *ret, struct err *e);
void file_decision_fini(struct file_decision *f);

/* .mesh/policy.txt: the decision in words, each rule with its file and line. */
void version_decision_explain(struct version_decision *d, struct buf *ret);
/* The contract as this subject may see it: without dropped columns and examples. */
int version_decision_contract(struct version_decision *d, struct buf *ret, struct err *e);

#endif
