#include "catalog/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NUMBER_MAX 0x7fffffffu

/* Reads one decimal number without leading zeros; returns what follows it, or NULL. */
static const char *number(const char *p, uint32_t *ret)
{
	uint64_t v = 0;
	const char *start = p;
	if (*p == '0' && p[1] >= '0' && p[1] <= '9')
		return NULL;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (uint64_t)(*p - '0');
		if (v > NUMBER_MAX)
			return NULL;
	}
	*ret = (uint32_t)v;
	return p == start ? NULL : p;
}

/* One to `max` numbers with dots between them and nothing after: how many, or -EINVAL. */
static int numbers(const char *p, uint32_t *v, int max)
{
	for (int n = 0; n < max;) {
		p = number(p, &v[n++]);
		if (!p)
			return -EINVAL;
		if (!*p)
			return n;
		if (*p++ != '.')
			return -EINVAL;
	}
	return -EINVAL;
}

int semver_parse(const char *text, struct semver *ret)
{
	uint32_t v[3];
	if (numbers(text, v, 3) != 3)
		return -EINVAL;
	*ret = (struct semver){ v[0], v[1], v[2] };
	return 0;
}

void semver_format(const struct semver *v, char ret_text[VERSION_SIZE])
{
	snprintf(ret_text, VERSION_SIZE, "%u.%u.%u", v->major, v->minor, v->patch);
}

static int order(uint32_t a, uint32_t b)
{
	return (a > b) - (a < b);
}

int semver_compare(const struct semver *a, const struct semver *b)
{
	int c = order(a->major, b->major);
	if (!c)
		c = order(a->minor, b->minor);
	return c ? c : order(a->patch, b->patch);
}

int version_selector_parse(const char *text, struct version_selector *ret)
{
	uint32_t v[3] = { 0, 0, 0 };
	int parts = strcmp(text, "latest") ? numbers(text, v, 3) : 0;
	if (parts < 0)
		return parts;
	*ret = (struct version_selector){ parts, { v[0], v[1], v[2] } };
	return 0;
}

bool version_selector_matches(const struct version_selector *s, const struct semver *v)
{
	return (s->parts < 1 || s->v.major == v->major) && (s->parts < 2 || s->v.minor == v->minor) &&
	       (s->parts < 3 || s->v.patch == v->patch);
}

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static const char *const reserved_products[] = { "latest", "README.md", "contract.yaml", ".mesh" };

int name_check(const char *what, const char *name, struct err *e)
{
	size_t len = strlen(name);
	if (!len)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "a %s needs a name", what);
	if (!strcmp(what, "product")) {
		for (size_t i = 0; i < sizeof reserved_products / sizeof *reserved_products; i++)
			if (!strcmp(name, reserved_products[i]))
				return err_set_kind(e, ERR_PARSE, -EINVAL, "'%s' cannot name a product: the mount uses that name itself", name);
	}
	if (len >= NAME_SIZE)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "the %s name '%.20s…' has %zu characters; at most %d are allowed", what, name, len,
				    NAME_SIZE - 1);
	for (size_t i = 0; i < len; i++) {
		if (alnum(name[i]) || (i && strchr("._-", name[i])))
			continue;
		return err_set_kind(e, ERR_PARSE, -EINVAL,
				    "'%s' cannot name a %s: use a-z, 0-9 and, after the first character, '.', '_', '-'", name, what);
	}
	return 0;
}

/* Copies the part up to the next '/', whatever its length may be, as far as it fits (one byte more than a name may have, so that
 * name_check sees it is too long). */
static const char *part(const char *p, char *ret, size_t size)
{
	size_t len = strcspn(p, "/");
	size_t fits = len < size ? len : size - 1;
	memcpy(ret, p, fits);
	ret[fits] = '\0';
	p += len;
	return p + strspn(p, "/");
}

static int check_path(const char *text, const char *path, struct err *e)
{
	for (const char *p = path; *p;) {
		size_t len = strcspn(p, "/");
		if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
			return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: an address has no '.' or '..' parts", text);
		p += len;
		p += strspn(p, "/");
	}
	return 0;
}

int address_parse(const char *text, struct address *ret, struct err *e)
{
	char name[NAME_SIZE + 1], product[NAME_SIZE + 1] = "", version[VERSION_SIZE + 1] = "";
	struct version_selector selector;
	const char *p = part(text + strspn(text, "/"), name, sizeof name);
	int r = name_check("domain", name, e);
	if (r)
		return err_prefix(e, r, "%s: not an address", text);
	if (*p) {
		p = part(p, product, sizeof product);
		r = name_check("product", product, e);
		if (r)
			return err_prefix(e, r, "%s: not an address", text);
	}
	if (*p) {
		p = part(p, version, sizeof version);
		if (version_selector_parse(version, &selector))
			return err_set_kind(e, ERR_PARSE, -EINVAL,
					    "%s: '%s' is not a version (1.2.0; or 1.2, 1 and latest for the newest that matches)", text, version);
	}
	r = check_path(text, p, e);
	if (r)
		return r;
	memset(ret, 0, sizeof *ret);
	memcpy(ret->domain, name, strlen(name));
	memcpy(ret->product, product, strlen(product));
	memcpy(ret->version, version, strlen(version));
	ret->path = p;
	return 0;
}
