/*
 * Documents against shapes: tables that say which fields a map may have, of what kind, and which it must have.
 *
 * Fields that a shape does not know are kept, as an extension; one that is nearly a known field is refused as a slip of the pen, because a
 * misspelt `classification` would otherwise be silently without effect.  Errors are of kind ERR_PARSE, with the position.
 *
 * Shapes are constant; any thread may check with them.
 */
#ifndef MESHFS_CATALOG_SHAPE_H
#define MESHFS_CATALOG_SHAPE_H

#include "catalog/base/doc.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum field_type {
	ANY,	  /* anything, null too */
	SOMETHING, /* anything else */
	TEXT,
	STABLE_ID,  /* [A-Za-z0-9_-]+ */
	FLAG,
	NUMBER,
	POSITIVE, /* a number above 0 */
	INTEGER,
	COUNT,	  /* an integer of 0 or more */
	DATE,
	TIME,	  /* a date with a time */
	SCALAR,	  /* text, number, truth value or null */
	TEXTS,	  /* list of texts */
	PAIR,	  /* list of two numbers, the smaller one first */
	LIST,
	MAP,	  /* a map of any shape */
	SHAPE,	  /* a map of `shape` */
	SHAPES,	  /* a list of maps of `shape` */
};

struct field {
	const char *name;
	enum field_type type;
	bool required;
	const struct shape *shape;
	const char *const *allowed; /* TEXT: NULL-terminated */
};

/* Aliases let a small document nest the same maps again and again. */
#define SHAPE_MAPS_MAX 200000u

struct checker {
	const struct doc *doc;
	struct err *err;
	unsigned maps; /* looked at so far */
};

struct shape {
	const char *what; /* in errors: "a server" */
	const struct field *fields;
	int (*extra)(struct checker *k, const struct doc_node *n); /* rules over several fields, or NULL */
};

#define FIELDS(...) ((const struct field[]){ __VA_ARGS__, { NULL, ANY, false, NULL, NULL } })
#define ALLOWED(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define OPTIONAL(name, type) { name, type, false, NULL, NULL }
#define REQUIRED(name, type) { name, type, true, NULL, NULL }
#define OF_SHAPE(name, type, shape) { name, type, false, &shape, NULL }

/* The whole document; its root must be a map.  0 or -EINVAL. */
int shape_check_doc(const struct doc *d, const struct shape *shape, struct err *e);

/* For `extra` rules. */
int shape_check(struct checker *k, const struct doc_node *n, const struct shape *shape);
int shape_check_field(struct checker *k, const struct field *f, const struct doc_node *n);
/* An error at `n`; returns its code. */
int shape_bad(struct checker *k, const struct doc_node *n, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* What both Bitol standards write alike. */
extern const struct shape shape_custom_property, shape_definition, shape_member;
#define CUSTOM OF_SHAPE("customProperties", SHAPES, shape_custom_property)
#define DEFINITIONS OF_SHAPE("authoritativeDefinitions", SHAPES, shape_definition)
/* `team` is a list of members or a map with name and members. */
int shape_check_team(struct checker *k, const struct doc_node *n);

#endif
