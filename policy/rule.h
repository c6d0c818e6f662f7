/* What a parsed policy file consists of.  For policy/ only; everything is owned by the file's arena and immutable once loaded. */
#ifndef MESHFS_POLICY_RULE_H
#define MESHFS_POLICY_RULE_H

#include "policy/arena.h"
#include "policy/attribute.h"
#include "policy/decide.h"
#include "policy/expr.h"
#include "policy/transform.h"

enum rule_kind { RULE_PERMIT, RULE_DENY, RULE_HIDE, RULE_FILTER, RULE_DROP, RULE_MASK, RULE_REQUIRE, RULE_EXEMPT };
#define RULE_KINDS (RULE_EXEMPT + 1)
extern const char *const rule_kind_names[RULE_KINDS];

enum selector_kind { SELECT_NAMED, SELECT_TAGGED, SELECT_CLASSIFIED, SELECT_UNCLASSIFIED, SELECT_ALL };

struct selector {
	enum selector_kind kind;
	const char **names;
	size_t count;
};

struct rule {
	enum rule_kind kind;
	const char *name;
	const char *id; /* "policy-name/rule-name" */
	const struct policy_file *file;
	int line, column;
	const char **files; /* globs over addresses; the default of the scope when none was given */
	size_t file_count;
	struct expr **when, **unless;
	size_t when_count, unless_count;
	struct selector *selectors;
	size_t selector_count;
	struct expr *rows;
	struct mask mask; /* RULE_DROP: MASK_DROP */
	int mask_line, mask_column;
	int *have; /* enum attribute */
	size_t have_count;
	const char *reason; /* or NULL */
	bool publish;       /* permit … to publish */
	/* exempt */
	const char **from;
	size_t from_count;
	int64_t until_ns; /* the first moment at which it no longer holds */
	const char *until_text;
	unsigned number; /* among all rules of the policy */
	unsigned flags;  /* of all its conditions: enum attribute_flags */
};

/* A column with what a test says of it. */
struct given_column {
	const char *name;
	const char *classification;
	const char **tags;
	size_t tag_count;
	enum logical_type type;
};

struct expected_column {
	const char *name, *mask;
};

struct test_case {
	const char *name;
	const struct policy_file *file;
	int line;
	const char **permits;
	size_t permit_count;
	struct given_quality {
		const char *address;
		int64_t failed_errors, failed_warnings;
		double score;
		bool missing;
	} *quality;
	size_t quality_count;
	struct given_column *columns;
	size_t column_count;
	const char **tags, **team, **purposes;
	size_t tag_count, team_count, purpose_count;
	bool has_purposes;
	const char *status;
	int64_t age_days;
	int64_t now_ns; /* 0: the moment the test runs */
	bool document;
	/* as */
	const char *user, *purpose, *run, *host;
	int64_t uid;
	const char **groups;
	size_t group_count;
	const char *read;
	enum outcome outcome;
	struct expected_column *expect;
	size_t expect_count;
	bool has_rows;
	int64_t rows_shown, rows_all;
	const char **by;
	size_t by_count;
	int expect_line;
};

struct policy_file {
	struct arena arena;
	const char *path;   /* as errors show it */
	const char *name;
	const char *domain; /* NULL: scope mesh */
	const char *version;
	int line, column;   /* of the header */
	struct rule *rules;
	size_t rule_count;
	struct test_case *tests;
	size_t test_count;
	struct expr **exprs; /* all of them, to be freed */
	size_t expr_count;
};

/* Parses one file.  Everything is copied.  -EINVAL with file:line:column. */
int policy_parse(const char *path, const char *text, size_t len, struct policy_file **ret, struct err *e);
void policy_file_free(struct policy_file *f);
/* The canonical text of a rule: what its file's layout, comments and order do not change. */
void rule_text(const struct rule *r, struct buf *ret);

#endif
