/* Inside quality: what compiles a contract into checks.  A compiler belongs to one thread. */
#ifndef MESHFS_CATALOG_QUALITY_COMPILE_H
#define MESHFS_CATALOG_QUALITY_COMPILE_H

#include "catalog/quality_check.h"

struct compiler {
	const struct contract *contract;
	struct check_list *list;
	size_t object;
	struct err *err;
	bool arrays; /* the column has arrays */
};

/* A check that counts what is wrong and wants none of it; `name` and `dimension` are borrowed.  NULL without memory, which the compiler's error says. */
struct check *compile_add(struct compiler *k, enum check_kind kind, int64_t column, const char *name, const char *dimension);
/* One that cannot run, and so has failed; `why` is borrowed. */
int compile_never(struct compiler *k, int64_t column, const char *name, const char *why);
/* The error that a node of the contract is wrong; returns its code. */
int compile_bad(struct compiler *k, const struct doc_node *n, const char *text);

/* quality_options.c: the checks of a column's logicalTypeOptions. */
int compile_options(struct compiler *k, int64_t column, const struct contract_column *col);
/* How the column writes dates and times, for a check that is to read them; one of a way that nobody knows here cannot run (CHECK_NEVER).  0 or -ENOMEM. */
int compile_dates(struct compiler *k, const struct contract_column *col, struct check *c);

#endif
