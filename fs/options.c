#include "fs/options.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void print_help(const char *usage, const char *about, const struct option_spec *specs, size_t count)
{
	printf("usage: meshfs %s\n\n%s\n", usage, about);
	if (count)
		printf("\noptions:\n");
	for (size_t i = 0; i < count; i++) {
		char left[64];
		snprintf(left, sizeof left, "%s%s%s", specs[i].name, specs[i].argument ? " " : "",
			 specs[i].argument ? specs[i].argument : "");
		if (specs[i].letter)
			printf("  -%c, %-26s %s\n", specs[i].letter, left, specs[i].help);
		else
			printf("      %-26s %s\n", left, specs[i].help);
	}
	printf("      %-26s %s\n", "--help", "this text");
}

static const struct option_spec *find(const struct option_spec *specs, size_t count, const char *word, size_t len)
{
	for (size_t i = 0; i < count; i++) {
		if (word[1] == '-' ? strlen(specs[i].name) == len && !memcmp(specs[i].name, word, len)
				   : len == 2 && specs[i].letter && specs[i].letter == word[1])
			return &specs[i];
	}
	return NULL;
}

/* The command's words: "policy explain" of "policy explain ADDRESS [--as …]". */
static void command_words(const char *usage, char *ret, size_t size)
{
	size_t len = 0;
	for (size_t n; (n = strspn(usage + len, "abcdefghijklmnopqrstuvwxyz-")) > 0 && (!usage[len + n] || usage[len + n] == ' ');)
		len += n + (usage[len + n] == ' ');
	while (len && usage[len - 1] == ' ')
		len--;
	snprintf(ret, size, "%.*s", (int)len, usage);
}

static int unknown(const char *usage, const char *word, const struct option_spec *specs, size_t count, struct err *e)
{
	const char *names[64];
	size_t n = 0;
	for (; n < count && n < 64; n++)
		names[n] = specs[n].name;
	const char *near = text_nearest(word, names, n);
	char verb[64];
	command_words(usage, verb, sizeof verb);
	if (strlen(word) == 2 && strchr("mqv", word[1]))
		return options_wrong(e, verb, "%s: stands before the command: meshfs %s%s %s …", word, word, word[1] == 'm' ? " MESH" : "", verb);
	if (near)
		return options_wrong(e, verb, "%s: unknown option (did you mean %s?)", word, near);
	return options_wrong(e, verb, "%s: unknown option", word);
}

static int store_value(const struct option_spec *spec, const char *value, struct err *e)
{
	if (spec->kind == OPTION_TEXT) {
		*(const char **)spec->target = value;
		return 0;
	}
	struct option_list *list = spec->target;
	if (list->count == OPTION_LIST_MAX)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: given more than %d times", spec->name, OPTION_LIST_MAX);
	list->items[list->count++] = value;
	return 0;
}

int options_parse(const char *usage, const char *about, const struct option_spec *specs, size_t count, bool stop_at_word, int argc,
		  char **argv, int *ret_count, struct err *e)
{
	int words = 0, i = 1;
	for (; i < argc; i++) {
		char *word = argv[i];
		if (!strcmp(word, "--")) {
			i++;
			break;
		}
		if (word[0] != '-' || !word[1]) {
			if (stop_at_word)
				break;
			argv[words++] = word;
			continue;
		}
		if (!strcmp(word, "--help")) {
			print_help(usage, about, specs, count);
			return OPTIONS_HELP;
		}
		size_t len = strcspn(word, "=");
		const struct option_spec *spec = find(specs, count, word, len);
		if (!spec)
			return unknown(usage, word, specs, count, e);
		if (spec->kind == OPTION_FLAG) {
			if (word[len])
				return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: takes no value", spec->name);
			*(bool *)spec->target = true;
			continue;
		}
		const char *value = word[len] ? word + len + 1 : i + 1 < argc ? argv[++i] : NULL;
		if (!value)
			return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: wants a value (%s)", spec->name, spec->argument);
		int r = store_value(spec, value, e);
		if (r)
			return r;
	}
	for (; i < argc; i++)
		argv[words++] = argv[i];
	argv[words] = NULL;
	*ret_count = words;
	return 0;
}

int options_wrong(struct err *e, const char *command, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX / 2];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return err_set_kind(e, ERR_PARSE, -EINVAL, "%s; see 'meshfs %s --help'", text, command);
}
