#include "catalog/store/credentials.h"

#include "catalog/base/buf.h"
#include "catalog/base/io.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)

static void forget(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void credentials_fini(struct credentials *c)
{
	forget(&c->access);
	forget(&c->secret);
	forget(&c->token);
	forget(&c->region);
	forget(&c->endpoint);
}

struct span {
	const char *at;
	size_t len;
};

static struct span trimmed(const char *at, size_t len)
{
	while (len && isspace((unsigned char)*at)) {
		at++;
		len--;
	}
	while (len && isspace((unsigned char)at[len - 1]))
		len--;
	return (struct span){ at, len };
}

static bool span_is(struct span s, const char *text)
{
	return s.len == strlen(text) && !memcmp(s.at, text, s.len);
}

/* "[profile x]" or "[x]": is it ours? */
static bool section_matches(struct span s, const char *profile, int config)
{
	if (config && s.len > 8 && !memcmp(s.at, "profile", 7) && isspace((unsigned char)s.at[7]))
		return span_is(trimmed(s.at + 8, s.len - 8), profile);
	return (!config || !strcmp(profile, "default")) && span_is(s, profile);
}

static int set(struct credentials *c, struct span key, struct span value)
{
	const struct {
		const char *name;
		char **to;
	} settings[] = {
		{ "aws_access_key_id", &c->access },   { "aws_secret_access_key", &c->secret },
		{ "aws_session_token", &c->token },    { "region", &c->region },
		{ "endpoint_url", &c->endpoint },
	};
	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
		if (!span_is(key, settings[i].name) || *settings[i].to || !value.len)
			continue;
		if (!(*settings[i].to = strndup(value.at, value.len)))
			return -ENOMEM;
	}
	return 0;
}

int credentials_parse(const char *name, const char *text, size_t len, const char *profile, int config, struct credentials *c,
		      struct err *e)
{
	bool ours = false, found = false;
	int line = 0;
	for (const char *p = text, *end = text + len; p < end;) {
		const char *newline = memchr(p, '\n', (size_t)(end - p));
		size_t n = newline ? (size_t)(newline - p) : (size_t)(end - p);
		bool indented = n && isspace((unsigned char)*p); /* a nested setting: none of ours */
		struct span s = trimmed(p, n);
		p += n + 1;
		line++;
		if (!s.len || *s.at == '#' || *s.at == ';' || indented)
			continue;
		if (memchr(s.at, '\0', s.len))
			return err_at(e, name, line, 1, "not a text file");
		if (*s.at == '[') {
			const char *close = memchr(s.at, ']', s.len);
			if (!close)
				return err_at(e, name, line, 1, "a section without its closing ]");
			ours = section_matches(trimmed(s.at + 1, (size_t)(close - s.at - 1)), profile, config);
			found |= ours;
			continue;
		}
		const char *equals = memchr(s.at, '=', s.len);
		if (!equals)
			return err_at(e, name, line, 1, "neither a section nor a setting");
		if (ours && set(c, trimmed(s.at, (size_t)(equals - s.at)), trimmed(equals + 1, (size_t)(s.at + s.len - equals - 1))))
			return err_set(e, -ENOMEM, "out of memory");
	}
	return found;
}

static const char *env(const char *name)
{
	const char *v = getenv(name);
	return v && *v ? v : NULL;
}

static int from_env(const char *name, char **ret)
{
	const char *v = env(name);
	if (v && !*ret && !(*ret = strdup(v)))
		return -ENOMEM;
	return 0;
}

/* 1 when the profile is in the file, 0 when not (or there is no file), -errno. */
static int read_profile(const char *variable, const char *usual, const char *profile, int config, struct credentials *c, struct err *e)
{
	char *path = io_expand_home(env(variable) ? env(variable) : usual);
	struct buf b = BUF_INIT;
	if (!path)
		return err_set(e, -ENOMEM, "out of memory");
	int r = io_read_file(path, FILE_BYTES_MAX, &b, e);
	if (!r)
		r = credentials_parse(path, buf_text(&b), b.len, profile, config, c, e);
	else if (r == -ENOENT || r == -ENOTDIR) {
		err_clear(e);
		r = 0;
	}
	if (b.data)
		explicit_bzero(b.data, b.cap);
	buf_free(&b);
	free(path);
	return r;
}

int credentials_load(struct credentials *ret, struct err *e)
{
	struct credentials c = { 0 };
	const char *named = env("AWS_PROFILE"), *profile = named ? named : "default";
	int r = 0, in_credentials = 0, in_config = 0;
	if (from_env("AWS_ACCESS_KEY_ID", &c.access) || from_env("AWS_SECRET_ACCESS_KEY", &c.secret) ||
	    from_env("AWS_SESSION_TOKEN", &c.token) || from_env("AWS_REGION", &c.region) || from_env("AWS_DEFAULT_REGION", &c.region) ||
	    from_env("AWS_ENDPOINT_URL_S3", &c.endpoint) || from_env("AWS_ENDPOINT_URL", &c.endpoint)) {
		r = err_set(e, -ENOMEM, "out of memory");
		goto out;
	}
	if (!c.access != !c.secret) {
		r = err_set(e, -EINVAL, "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set");
		goto out;
	}
	/* A pair of keys belongs together with its token: never complete the environment's from a file. */
	bool from_environment = c.access != NULL;
	struct credentials file = { 0 };
	in_credentials = read_profile("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", profile, 0, &file, e);
	if (in_credentials >= 0)
		in_config = read_profile("AWS_CONFIG_FILE", "~/.aws/config", profile, 1, &file, e);
	if (in_credentials < 0 || in_config < 0) {
		r = in_credentials < 0 ? in_credentials : in_config;
	} else if (named && !in_credentials && !in_config) {
		r = err_set_kind(e, ERR_FAIL, -ENOENT, "AWS_PROFILE names %s, and no such profile is in ~/.aws/credentials or ~/.aws/config", named);
	} else if (!from_environment && !file.access != !file.secret) {
		r = err_set(e, -EINVAL, "the profile %s has only one of aws_access_key_id and aws_secret_access_key", profile);
	} else {
		char **mine[] = { &c.access, &c.secret, &c.token, &c.region, &c.endpoint };
		char **theirs[] = { &file.access, &file.secret, &file.token, &file.region, &file.endpoint };
		for (size_t i = from_environment ? 3 : 0; i < sizeof mine / sizeof *mine; i++)
			if (!*mine[i]) {
				*mine[i] = *theirs[i];
				*theirs[i] = NULL;
			}
	}
	credentials_fini(&file);
out:
	if (r)
		credentials_fini(&c);
	else
		*ret = c;
	return r;
}
