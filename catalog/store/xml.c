#include "catalog/store/xml.h"

#include "catalog/base/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct scan {
	const char *at, *end;
	char path[XML_PATH_MAX];
	size_t ends[XML_DEPTH_MAX]; /* the path's length above each open element */
	int depth;
	bool had_root;
	struct buf value;
	int (*each)(void *arg, const char *path, const char *value, size_t value_len);
	void *arg;
};

static bool name_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == ':';
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool looking_at(const struct scan *s, const char *word)
{
	size_t n = strlen(word);
	return (size_t)(s->end - s->at) >= n && !memcmp(s->at, word, n);
}

static const char *find(const char *at, const char *end, const char *word)
{
	return memmem(at, (size_t)(end - at), word, strlen(word));
}

static int add_code_point(struct buf *out, unsigned long c)
{
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return -EBADMSG;
	if (c < 0x80) {
		buf_addc(out, (char)c);
	} else if (c < 0x800) {
		buf_add(out, (char[]){ (char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)) }, 2);
	} else if (c < 0x10000) {
		buf_add(out, (char[]){ (char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 63)), (char)(0x80 | (c & 63)) }, 3);
	} else {
		buf_add(out, (char[]){ (char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 63)), (char)(0x80 | (c >> 6 & 63)),
				       (char)(0x80 | (c & 63)) }, 4);
	}
	return 0;
}

/* At '&'. */
static int entity(struct scan *s)
{
	static const struct {
		const char *name;
		char c;
	} named[] = { { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' }, { "&quot;", '"' }, { "&apos;", '\'' } };
	for (size_t i = 0; i < sizeof named / sizeof *named; i++)
		if (looking_at(s, named[i].name)) {
			buf_addc(&s->value, named[i].c);
			s->at += strlen(named[i].name);
			return 0;
		}
	if (!looking_at(s, "&#"))
		return -EBADMSG;
	const char *p = s->at + 2;
	unsigned base = 10;
	if (p < s->end && *p == 'x') {
		base = 16;
		p++;
	}
	unsigned long c = 0;
	const char *first = p;
	for (; p < s->end && p - first < 8; p++) {
		unsigned d = *p >= '0' && *p <= '9' ? (unsigned)(*p - '0') : (*p | 32) >= 'a' && (*p | 32) <= 'f' ? (unsigned)((*p | 32) - 'a' + 10) : 99;
		if (d >= base)
			break;
		c = c * base + d;
	}
	if (p == first || p >= s->end || *p != ';')
		return -EBADMSG;
	s->at = p + 1;
	return add_code_point(&s->value, c);
}

static int end_element(struct scan *s)
{
	int r = buf_check(&s->value);
	if (!r)
		r = s->each(s->arg, s->path, buf_text(&s->value), s->value.len);
	buf_clear(&s->value);
	s->path[s->ends[--s->depth]] = '\0';
	return r;
}

/* The local part of the name at s->at, which is moved past it. */
static int take_name(struct scan *s, const char **ret, size_t *ret_len)
{
	const char *start = s->at, *local = start;
	for (; s->at < s->end && name_byte(*s->at); s->at++)
		if (*s->at == ':')
			local = s->at + 1;
	*ret = local;
	*ret_len = (size_t)(s->at - local);
	return s->at == start || *ret_len == 0 ? -EBADMSG : 0;
}

static int open_tag(struct scan *s)
{
	const char *name;
	size_t n, above = strlen(s->path);
	s->at++;
	if (take_name(s, &name, &n) || s->depth == XML_DEPTH_MAX || above + n + 2 > sizeof s->path || (s->depth == 0 && s->had_root))
		return -EBADMSG;
	s->had_root = true;
	s->ends[s->depth++] = above;
	if (above)
		s->path[above++] = '/';
	memcpy(s->path + above, name, n);
	s->path[above + n] = '\0';
	buf_clear(&s->value);
	/* Attributes (namespaces) are passed over; a '>' may stand in their quotes. */
	for (char quote = 0; s->at < s->end; s->at++) {
		char c = *s->at;
		if (quote) {
			quote = c == quote ? 0 : quote;
		} else if (c == '"' || c == '\'') {
			quote = c;
		} else if (c == '<') {
			return -EBADMSG;
		} else if (c == '>') {
			bool empty = s->at[-1] == '/';
			s->at++;
			return empty ? end_element(s) : 0;
		}
	}
	return -EBADMSG;
}

static int close_tag(struct scan *s)
{
	const char *name;
	size_t n;
	s->at += 2;
	if (take_name(s, &name, &n) || s->depth == 0)
		return -EBADMSG;
	while (s->at < s->end && blank(*s->at))
		s->at++;
	if (s->at == s->end || *s->at++ != '>')
		return -EBADMSG;
	size_t above = s->ends[s->depth - 1];
	const char *open = s->path + above + (above ? 1 : 0);
	if (strlen(open) != n || memcmp(open, name, n) != 0)
		return -EBADMSG;
	return end_element(s);
}

/* At "<!" or "<?": comments, CDATA and processing instructions; a DTD is refused. */
static int passage(struct scan *s)
{
	static const struct {
		const char *open, *close;
	} kinds[] = { { "<!--", "-->" }, { "<?", "?>" }, { "<![CDATA[", "]]>" } };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!looking_at(s, kinds[i].open))
			continue;
		const char *from = s->at + strlen(kinds[i].open), *to = find(from, s->end, kinds[i].close);
		if (!to || (i == 2 && (s->depth == 0 || memchr(from, '\0', (size_t)(to - from)))))
			return -EBADMSG;
		if (i == 2)
			buf_add(&s->value, from, (size_t)(to - from));
		s->at = to + strlen(kinds[i].close);
		return 0;
	}
	return -EBADMSG;
}

static int step(struct scan *s)
{
	if (*s->at == '<') {
		if (s->at + 1 == s->end)
			return -EBADMSG;
		return s->at[1] == '/' ? close_tag(s) : s->at[1] == '!' || s->at[1] == '?' ? passage(s) : open_tag(s);
	}
	if (s->depth == 0) {
		if (!blank(*s->at) && !looking_at(s, "\xef\xbb\xbf"))
			return -EBADMSG;
		s->at += blank(*s->at) ? 1 : 3;
		return 0;
	}
	if (*s->at == '&')
		return entity(s);
	if (*s->at == '\0')
		return -EBADMSG;
	buf_addc(&s->value, *s->at++);
	return 0;
}

int xml_walk(const char *text, size_t len, int (*each)(void *arg, const char *path, const char *value, size_t value_len), void *arg)
{
	struct scan s = { .at = text, .end = text + len, .value = BUF_INIT, .each = each, .arg = arg };
	int r = 0;
	while (!r && s.at < s.end)
		r = step(&s);
	if (!r && (s.depth || !s.had_root))
		r = -EBADMSG;
	if (!r)
		r = buf_check(&s.value);
	buf_free(&s.value);
	return r;
}
