/*
 * A data contract: the Open Data Contract Standard (ODCS) v3.1, read unchanged; unknown fields are kept.
 *
 * A `struct contract` is immutable after contract_parse and reference-counted; any thread may read it.
 */
#ifndef MESHFS_CATALOG_CONTRACT_H
#define MESHFS_CATALOG_CONTRACT_H

#include "catalog/base/buf.h"
#include "catalog/base/clock.h"
#include "catalog/base/doc.h"
#include "catalog/base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct contract;

enum logical_type { TYPE_NONE, TYPE_STRING, TYPE_DATE, TYPE_TIMESTAMP, TYPE_TIME, TYPE_NUMBER, TYPE_INTEGER, TYPE_OBJECT, TYPE_ARRAY, TYPE_BOOLEAN };
const char *logical_type_name(enum logical_type t); /* as contracts write it; "untyped" */
enum logical_type logical_type_of(const char *name); /* TYPE_NONE: NULL, or no such type */

struct contract_column {
	const char *name; /* nested columns by dotted path: "address.zip"; physicalName when the contract gives one */
	enum logical_type type;
	const char *classification;   /* NULL: unclassified, counts as restricted */
	const char *const *tags;      /* own tags, and those of the object it stands in do not count */
	size_t tag_count;
	bool required, unique, primary_key;
	bool whole; /* of an object or array: checks look at all of it, not only at what is in it */
	const struct doc_node *node;  /* its ODCS property */
};

/* A schema object of the contract: which files, which columns. */
struct contract_object {
	const char *name;
	const char *files;  /* physicalName, a glob over paths within the version; NULL: all tabular files (a single object) */
	bool document;      /* physicalType: document: files that hold no columns */
	const struct contract_column *columns; /* parents before children */
	size_t column_count;
	const struct doc_node *node;
};

/* `name` stands in errors.  Parses, and validates what meshfs relies on (contract_validate does the rest). */
int contract_parse(const char *name, const char *text, size_t len, struct contract **ret, struct err *e);
struct contract *contract_ref(struct contract *c);
void contract_unref(struct contract *c);
/* Everything ODCS v3.1 asks for: required fields, types, allowed values; the first offence with its position. */
int contract_validate(const struct contract *c, struct err *e);

const struct doc *contract_doc(const struct contract *c);
const char *contract_text(const struct contract *c); /* as it was given */
const char *contract_status(const struct contract *c);     /* proposed, draft, active, deprecated, retired; NULL */
const char *contract_title(const struct contract *c);      /* name; or NULL */
const char *contract_description(const struct contract *c); /* description.purpose, or NULL */
/* The day on which support or life of the product ends (slaProperties endOfSupport, endOfLife), in the contract's words; the earlier when
 * it has both.  False: none. */
bool contract_end(const struct contract *c, char ret[CLOCK_TEXT_MAX]);
size_t contract_tags(const struct contract *c, const char *const **ret);
size_t contract_team(const struct contract *c, const char *const **ret);             /* users and groups of `team` */
/* customProperties allowedPurposes.  False: the contract says nothing of purposes (unknown). */
bool contract_allowed_purposes(const struct contract *c, const char *const **ret, size_t *ret_count);

size_t contract_objects(const struct contract *c, const struct contract_object **ret);
/* The object that claims the file, or NULL (then the file counts as holding any column).  A table goes before a document. */
const struct contract_object *contract_object_for(const struct contract *c, const char *path);
/* Have its CSV files a head?  customProperties can say that they have none. */
bool contract_object_header(const struct contract_object *o);
/* The second table that claims it, or NULL.  Where there is one, nobody can tell which of them says what its columns are. */
const struct contract_object *contract_object_second(const struct contract *c, const char *path);
const struct contract_column *contract_column_find(const struct contract_object *o, const char *name, size_t name_len);

/* Is the file tabular by its name (csv tsv psv jsonl ndjson parquet, also .gz .zst of line formats)? */
bool path_is_tabular(const char *path);

#endif
