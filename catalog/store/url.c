#include "catalog/store/url.h"

#include "catalog/base/hash.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool unreserved(unsigned char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
}

void url_encode(struct buf *out, const char *text, size_t len, bool keep_slash)
{
	static const char hex[] = "0123456789ABCDEF";
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (unreserved(c) || (c == '/' && keep_slash))
			buf_addc(out, (char)c);
		else
			buf_add(out, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
	}
}

static int decode(struct buf *out, const char *text, size_t len, bool plus_is_blank)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];
		if (c == '+' && plus_is_blank) {
			c = ' ';
		} else if (c == '%') {
			if (len - i < 3)
				return -EBADMSG;
			char digits[3] = { text[i + 1], text[i + 2], '\0' };
			if (hex_parse(digits, &c, 1))
				return -EBADMSG;
			i += 2;
		}
		if (!c)
			return -EBADMSG;
		buf_addc(out, c);
	}
	return 0;
}

int url_decode(struct buf *out, const char *text, size_t len)
{
	return decode(out, text, len, true);
}

char *url_file_path(const char *url)
{
	struct buf path = BUF_INIT;
	errno = EINVAL;
	if (strncmp(url, "file://", 7) != 0)
		return NULL;
	url += 7;
	if (!strncmp(url, "localhost/", 10))
		url += 9;
	if (*url == '/' && !decode(&path, url, strlen(url), false)) {
		errno = ENOMEM;
		return buf_take(&path);
	}
	buf_free(&path);
	return NULL;
}

int url_split(const char *url, struct url_parts *ret, struct err *e)
{
	struct url_parts u = { 0 };
	const char *p;
	if (!strncasecmp(url, "https://", 8)) {
		u.tls = true;
		p = url + 8;
	} else if (!strncasecmp(url, "http://", 7)) {
		p = url + 7;
	} else {
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: not an http:// or https:// address", url);
	}
	for (const char *c = p; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '#')
			return err_set_kind(e, ERR_PARSE, -EINVAL, "an address with a blank, a control character or '#' in it");
	u.host = p;
	u.host_len = strcspn(p, "/?");
	if (memchr(u.host, '@', u.host_len))
		return err_set_kind(e, ERR_PARSE, -EINVAL, "an address must not hold credentials (…@%s)",
				    (const char *)memchr(u.host, '@', u.host_len) + 1);
	if (u.host_len == 0)
		return err_set_kind(e, ERR_PARSE, -EINVAL, "%s: names no host", url);
	u.path = p + u.host_len;
	u.path_len = strcspn(u.path, "?");
	u.query = u.path[u.path_len] ? u.path + u.path_len + 1 : "";
	*ret = u;
	return 0;
}
