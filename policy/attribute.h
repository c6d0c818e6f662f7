/*
 * Attributes: what a decision knows of the subject, the product, the file and the moment.  One table drives parsing, type
 * checks, suggestions and the manual's list.
 */
#ifndef MESHFS_POLICY_ATTRIBUTE_H
#define MESHFS_POLICY_ATTRIBUTE_H

#include "policy/expr.h"

enum attribute {
	ATTR_USER, ATTR_UID, ATTR_GROUP, ATTR_PURPOSE, ATTR_RUN, ATTR_HOST, ATTR_NOW,
	ATTR_DOMAIN, ATTR_NAME, ATTR_VERSION, ATTR_STATUS, ATTR_TEAM, ATTR_TAGS, ATTR_PURPOSES, ATTR_AGE_DAYS,
	ATTR_QUALITY_SCORE, ATTR_FAILED_ERRORS, ATTR_FAILED_WARNINGS,
	ATTR_FILE_PATH, ATTR_FILE_FORMAT, ATTR_FILE_SIZE,
	ATTR_COUNT,
};

enum attribute_flags {
	ATTR_IS_SET = 1,  /* several texts: `==` is membership */
	ATTR_IS_TIMED = 2, /* depends on the moment: not in `rows` */
	ATTR_IS_FILE = 4, /* known only of a file */
	ATTR_IS_SESSION = 8, /* `have` may ask for it */
};

struct attribute_spec {
	const char *name;
	enum value_kind kind; /* VALUE_TEXT, VALUE_NUMBER, VALUE_TIME */
	unsigned flags;
	const char *about; /* for people */
};
extern const struct attribute_spec attribute_specs[ATTR_COUNT];

int attribute_find(const char *name);            /* -1 when there is none */
const char *attribute_nearest(const char *word); /* or NULL */

/* The value of each attribute.  A scalar: value.  A set: items, and value.kind VALUE_TEXT when it is known, else VALUE_MISSING. */
struct attribute_value {
	struct row_value value;
	struct row_value *items;
	size_t count;
};

struct expr_env {
	struct attribute_value attr[ATTR_COUNT];
	int64_t published_ns;
	int64_t now_ns; /* INT64_MIN: not known */
	int64_t valid_until_ns; /* lowered by every evaluation whose answer time will change */
};

void attribute_set_text(struct expr_env *env, enum attribute a, const char *text); /* NULL: missing */
void attribute_set_int(struct expr_env *env, enum attribute a, int64_t v, char room[24]);
void attribute_set_double(struct expr_env *env, enum attribute a, double v, char room[40]);
/* `items` is the caller's room for `count` values. */
void attribute_set_list(struct expr_env *env, enum attribute a, const char *const *texts, size_t count, struct row_value *items);

/* -- what the rest of policy/ needs of expressions -------------------------------------------- */

struct lexer;
struct token;

/* Parses tokens[*at …] to the end of the line.  `rows`: columns may be used, attributes that depend on time may not; else the other way round.
 * Everything is copied.  -EINVAL with the position. */
int expr_parse(const struct lexer *l, size_t at, bool rows, struct expr **ret, struct err *e);
/* A condition asked from outside (`--where`): a bare word on the left of a comparison is a column, `row.` may be left out, there are no
 * attributes, and a number stands for text where the column is text. */
int expr_parse_where(const struct lexer *l, struct expr **ret, struct err *e);
/* OR of the flags of the attributes it uses. */
unsigned expr_flags(const struct expr *x);
bool expr_uses(const struct expr *x, enum attribute a);
/* A condition without columns. */
enum truth expr_eval(const struct expr *x, struct expr_env *env);
/* Replaces attributes, types columns after `object`, folds constants.  -EINVAL: a column is missing or of the wrong type (`e` says which,
 * without a position). */
int expr_bind(const struct expr *x, struct expr_env *env, const struct contract_object *object, struct expr **ret, struct err *e);
/* The conjunction of bound expressions: sorted, equal ones once.  NULL without memory. */
struct expr *expr_and(struct expr *const *list, size_t count);
struct expr *expr_constant(enum truth t);

#endif
