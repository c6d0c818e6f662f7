#include "catalog/compat.h"

#include <stdio.h>
#include <string.h>

const char *compat_step_name(enum version_step s)
{
	return s == STEP_MAJOR ? "major" : s == STEP_MINOR ? "minor" : "patch";
}

static void say(struct buf *changes, enum version_step step, const char *object, const char *column, const char *what)
{
	if (changes)
		buf_addf(changes, "%s%s%s %s (%s)\n", object, column ? "." : "", column ? column : "", what, compat_step_name(step));
}

static void raise_step(enum version_step *step, enum version_step to)
{
	if (*step < to)
		*step = to;
}

static const struct contract_object *object_named(const struct contract *c, const char *name)
{
	const struct contract_object *objects;
	size_t count = contract_objects(c, &objects);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(objects[i].name, name))
			return &objects[i];
	return NULL;
}

static enum logical_type items_type(const struct contract_column *c)
{
	return logical_type_of(doc_text(doc_path(c->node, "items.logicalType")));
}

static enum version_step column_step(const struct contract_object *o, const struct contract_column *a, const struct contract_column *b,
				     struct buf *changes)
{
	enum version_step step = STEP_PATCH;
	char text[96];
	if (!b) {
		say(changes, STEP_MAJOR, o->name, a->name, "removed");
		return STEP_MAJOR;
	}
	if (a->type != b->type && a->type != TYPE_NONE) {
		snprintf(text, sizeof text, "is %s, was %s", logical_type_name(b->type), logical_type_name(a->type));
		say(changes, STEP_MAJOR, o->name, a->name, text);
		step = STEP_MAJOR;
	}
	const enum logical_type items = items_type(a);
	if (items != TYPE_NONE && b->type == a->type && items_type(b) != items) {
		snprintf(text, sizeof text, "holds items of %s, were %s", logical_type_name(items_type(b)), logical_type_name(items));
		say(changes, STEP_MAJOR, o->name, a->name, text);
		step = STEP_MAJOR;
	}
	if (a->required && !b->required) { /* readers may rely on a value being there */
		say(changes, STEP_MAJOR, o->name, a->name, "is no longer required");
		step = STEP_MAJOR;
	}
	if (a->unique && !b->unique) {
		say(changes, STEP_MAJOR, o->name, a->name, "is no longer unique");
		step = STEP_MAJOR;
	}
	return step;
}

static enum version_step object_step(const struct contract_object *a, const struct contract_object *b, struct buf *changes)
{
	enum version_step step = STEP_PATCH;
	for (size_t i = 0; i < a->column_count; i++) {
		const char *name = a->columns[i].name;
		raise_step(&step, column_step(a, &a->columns[i], contract_column_find(b, name, strlen(name)), changes));
	}
	for (size_t i = 0; i < b->column_count; i++) {
		const char *name = b->columns[i].name;
		if (contract_column_find(a, name, strlen(name)))
			continue;
		say(changes, STEP_MINOR, b->name, name, "added");
		raise_step(&step, STEP_MINOR);
	}
	return step;
}

enum version_step compat_compare(const struct contract *before, const struct contract *after, struct buf *changes)
{
	const struct contract_object *objects;
	enum version_step step = STEP_PATCH;
	size_t count = contract_objects(before, &objects);
	for (size_t i = 0; i < count; i++) {
		const struct contract_object *b = object_named(after, objects[i].name);
		if (b) {
			raise_step(&step, object_step(&objects[i], b, changes));
		} else {
			say(changes, STEP_MAJOR, objects[i].name, NULL, "removed");
			raise_step(&step, STEP_MAJOR);
		}
	}
	count = contract_objects(after, &objects);
	for (size_t i = 0; i < count; i++) {
		if (object_named(before, objects[i].name))
			continue;
		say(changes, STEP_MINOR, objects[i].name, NULL, "added");
		raise_step(&step, STEP_MINOR);
	}
	return step;
}

enum version_step compat_step(const struct semver *from, const struct semver *to)
{
	return to->major != from->major ? STEP_MAJOR : to->minor != from->minor ? STEP_MINOR : STEP_PATCH;
}
