#include "catalog/base/secret.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define NAME_LONGEST 64
#define USER_PART_TOKEN 20 /* a user part as long as that is no user's name */

/* At the end of a name, whatever stands before it. */
static const char *const endings[] = { "password", "passwd", "passphrase", "secret", "secret-key", "secret-access-key", "apikey", "api-key", "access-key", "signature",
				       "authorization", "x-amz-credential" };
/* The whole name, or behind a '-'. */
static const char *const words[] = { "api-token", "auth-token", "access-token", "security-token", "session-token", "refresh-token", "bearer-token", "hub-token", "hf-token",
				     "github-token", "gh-token", "gitlab-token", "wandb-token" };
/* The whole name. */
static const char *const names[] = { "token", "pass", "sig", "pw" };
static const char *const schemes[] = { "bearer ", "basic ", "token " }; /* before the secret of an Authorization */

static bool ends_with(const char *text, size_t len, const char *end, bool whole_word)
{
	size_t n = strlen(end);
	return len >= n && !strncmp(text + len - n, end, n) && (!whole_word || len == n || !isalnum((unsigned char)text[len - n - 1]));
}

bool secret_name(const char *name, size_t len)
{
	char plain[NAME_LONGEST];
	while (len && (*name == '-' || *name == '_')) {
		name++;
		len--;
	}
	if (len > sizeof plain) { /* the end tells */
		name += len - sizeof plain;
		len = sizeof plain;
	}
	for (size_t i = 0; i < len; i++)
		plain[i] = name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (ends_with(plain, len, endings[i], false))
			return true;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (ends_with(plain, len, words[i], true))
			return true;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (len == strlen(names[i]) && !strncmp(plain, names[i], len))
			return true;
	return false;
}

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
}

static bool in_value(char c)
{
	return c && !isspace((unsigned char)c) && !strchr("'\"`", c);
}

/* Replaces [from, to) and returns where it goes on. */
static char *hide(char *from, char *to)
{
	size_t n = strlen(SECRET_HIDDEN) < (size_t)(to - from) ? strlen(SECRET_HIDDEN) : (size_t)(to - from);
	memcpy(from, SECRET_HIDDEN, n);
	memmove(from + n, to, strlen(to) + 1);
	return from + n;
}

/* "v=1" of a query. */
static bool begins_pair(const char *p)
{
	const char *name = p;
	while (in_name(*p))
		p++;
	return p > name && *p == '=';
}

/* In quotes of its own it may hold anything. */
static char *value_end(char *p)
{
	char quote = p[-1] == '"' || p[-1] == '\'' ? p[-1] : '\0';
	while (quote ? *p && *p != quote : in_value(*p) && !(*p == '&' && begins_pair(p + 1)))
		p++;
	return p;
}

/* Behind a secret's name: the value that belongs to it, or NULL. */
static char *value_of(char *name, char *p)
{
	char quote = '\0';
	if (*p == '"' || *p == '\'') /* "key": "value" */
		p++;
	if (*p == '=' || *p == ':')
		p++;
	else if (!isspace((unsigned char)*p) || *name != '-')
		return NULL;
	while (isspace((unsigned char)*p))
		p++;
	if (*p == '"' || *p == '\'')
		quote = *p++;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (!strncasecmp(p, schemes[i], strlen(schemes[i])))
			p += strlen(schemes[i]);
	return in_value(*p) && (*p != '-' || quote || p[-1] == '=') ? p : NULL;
}

/* Behind "://": the password, or all of a user part that is a token; hides it. */
static char *hide_user_part(char *p)
{
	char *end = p + strcspn(p, "/?# \t\n'\"`"), *at = NULL;
	for (char *c = p; c < end; c++)
		at = *c == '@' ? c : at;
	if (!at)
		return p;
	char *colon = memchr(p, ':', (size_t)(at - p));
	if (colon)
		return colon + 1 < at ? hide(colon + 1, at) : at;
	return at - p >= USER_PART_TOKEN ? hide(p, at) : at;
}

size_t secret_kept(const char *before, const char *argument)
{
	size_t name = strcspn(argument, "=");
	if (*argument == '-' && argument[name] && secret_name(argument, name)) /* others may be a script: API_KEY=x python train.py */
		return name + 1;
	if (before && *before == '-' && *argument && *argument != '-' && !strchr(before, '=') && secret_name(before, strlen(before)))
		return 0;
	return strlen(argument);
}

void secrets_hide(char *text)
{
	char *p = text;
	while (*p) {
		if (!strncmp(p, "://", 3)) {
			p = hide_user_part(p + 3);
			continue;
		}
		if (!in_name(*p)) {
			p++;
			continue;
		}
		char *name = p;
		while (in_name(*p))
			p++;
		char *value = secret_name(name, (size_t)(p - name)) ? value_of(name, p) : NULL;
		if (value)
			p = hide(value, value_end(value));
	}
}
