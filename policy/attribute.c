#include "policy/attribute.h"

#include "catalog/base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct attribute_spec attribute_specs[ATTR_COUNT] = {
	[ATTR_USER] = { "user", VALUE_TEXT, ATTR_IS_SESSION, "the user" },
	[ATTR_UID] = { "uid", VALUE_NUMBER, ATTR_IS_SESSION, "the user's number" },
	[ATTR_GROUP] = { "group", VALUE_TEXT, ATTR_IS_SET | ATTR_IS_SESSION, "the user's groups" },
	[ATTR_PURPOSE] = { "purpose", VALUE_TEXT, ATTR_IS_SESSION, "the purpose of the session" },
	[ATTR_RUN] = { "run", VALUE_TEXT, ATTR_IS_SESSION, "the run" },
	[ATTR_HOST] = { "host", VALUE_TEXT, ATTR_IS_SESSION, "this host's name" },
	[ATTR_NOW] = { "now", VALUE_TIME, ATTR_IS_TIMED, "the moment" },
	[ATTR_DOMAIN] = { "product.domain", VALUE_TEXT, 0, "the domain" },
	[ATTR_NAME] = { "product.name", VALUE_TEXT, 0, "the product's name" },
	[ATTR_VERSION] = { "product.version", VALUE_TEXT, 0, "the version" },
	[ATTR_STATUS] = { "product.status", VALUE_TEXT, 0, "the contract's status" },
	[ATTR_TEAM] = { "product.team", VALUE_TEXT, ATTR_IS_SET, "groups and users of the contract's team" },
	[ATTR_TAGS] = { "product.tags", VALUE_TEXT, ATTR_IS_SET, "the contract's tags" },
	[ATTR_PURPOSES] = { "product.allowed_purposes", VALUE_TEXT, ATTR_IS_SET, "the contract's allowedPurposes" },
	[ATTR_AGE_DAYS] = { "product.age_days", VALUE_NUMBER, ATTR_IS_TIMED, "whole days since it was published" },
	[ATTR_QUALITY_SCORE] = { "product.quality.score", VALUE_NUMBER, 0, "the quality score" },
	[ATTR_FAILED_ERRORS] = { "product.quality.failed_errors", VALUE_NUMBER, 0, "failed checks of severity error" },
	[ATTR_FAILED_WARNINGS] = { "product.quality.failed_warnings", VALUE_NUMBER, 0, "failed checks of severity warning" },
	[ATTR_FILE_PATH] = { "file.path", VALUE_TEXT, ATTR_IS_FILE, "the file's path within the version" },
	[ATTR_FILE_FORMAT] = { "file.format", VALUE_TEXT, ATTR_IS_FILE, "the file's format" },
	[ATTR_FILE_SIZE] = { "file.size", VALUE_NUMBER, ATTR_IS_FILE, "the source file's bytes" },
};

int attribute_find(const char *name)
{
	for (int i = 0; i < ATTR_COUNT; i++)
		if (!strcmp(attribute_specs[i].name, name))
			return i;
	return -1;
}

const char *attribute_nearest(const char *word)
{
	const char *names[ATTR_COUNT];
	for (int i = 0; i < ATTR_COUNT; i++)
		names[i] = attribute_specs[i].name;
	return text_nearest(word, names, ATTR_COUNT);
}

void attribute_set_text(struct expr_env *env, enum attribute a, const char *text)
{
	struct row_value *v = &env->attr[a].value;
	*v = text ? (struct row_value){ .kind = VALUE_TEXT, .text = text, .len = strlen(text) } : (struct row_value){ .kind = VALUE_MISSING };
}

void attribute_set_int(struct expr_env *env, enum attribute a, int64_t v, char room[24])
{
	int n = snprintf(room, 24, "%lld", (long long)v);
	if (!value_parse_number(room, (size_t)n, &env->attr[a].value))
		env->attr[a].value = (struct row_value){ .kind = VALUE_MISSING };
}

void attribute_set_double(struct expr_env *env, enum attribute a, double v, char room[40])
{
	/* The shortest decimal that stands for it: 0.9 is 0.9, not 0.90000000000000002, since decimals are compared exactly. */
	int n = 0;
	for (int digits = 15; digits <= 17; digits++) {
		n = snprintf(room, 40, "%.*g", digits, v);
		if (strtod(room, NULL) == v)
			break;
	}
	if (!isfinite(v) || !value_parse_number(room, (size_t)n, &env->attr[a].value))
		env->attr[a].value = (struct row_value){ .kind = VALUE_MISSING };
}

void attribute_set_list(struct expr_env *env, enum attribute a, const char *const *texts, size_t count, struct row_value *items)
{
	for (size_t i = 0; i < count; i++)
		items[i] = (struct row_value){ .kind = VALUE_TEXT, .text = texts[i], .len = strlen(texts[i]) };
	env->attr[a] = (struct attribute_value){ .value = { .kind = VALUE_TEXT }, .items = items, .count = count };
}
