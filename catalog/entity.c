#include "catalog/entity.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* Longest matches that make sense; a longer run is cut there, so that every matcher is bounded. */
#define CARD_DIGITS_MAX 19
#define IBAN_MAX 34
#define PHONE_DIGITS_MIN 7
#define PHONE_DIGITS_MAX 15
#define IPV6_MAX 45
#define QUOTED_MAX 64

struct text {
	const char *bytes;
	size_t len;
	size_t no_email_before; /* no address starts before this place: its run of letters was looked at */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
	return is_digit(c) || is_letter(c);
}

static char at(const struct text *t, size_t i)
{
	return i < t->len ? t->bytes[i] : '\0';
}

/* The bytes of a blank or hyphen between groups of digits, as text processors write them too: U+00A0, U+2007 to U+2015, U+202F.  0: none. */
static size_t gap_at(const struct text *t, size_t i)
{
	unsigned char a = (unsigned char)at(t, i), b = (unsigned char)at(t, i + 1), c = (unsigned char)at(t, i + 2);
	if (a == ' ' || a == '-')
		return 1;
	if (a == 0xC2 && b == 0xA0)
		return 2;
	return a == 0xE2 && b == 0x80 && ((c >= 0x87 && c <= 0x95) || c == 0xAF) ? 3 : 0;
}

/* Letters of other scripts count as part of a mail's local part and of a URL. */
static bool is_local(char c)
{
	return is_alnum(c) || (c && strchr(".!#$%&'*+/=?^_`{|}~-", c)) || (unsigned char)c >= 0x80;
}

static size_t match_domain(const struct text *t, size_t i)
{
	size_t end = 0;
	for (bool dotted = false;; dotted = true) {
		size_t label = i;
		while (is_alnum(at(t, i)) || at(t, i) == '-' || at(t, i) == '_' || (unsigned char)at(t, i) >= 0x80)
			i++;
		if (i == label)
			break;
		if (dotted && i - label >= 2 && !is_digit(at(t, label)))
			end = i;
		if (at(t, i) != '.')
			break;
		i++;
	}
	return end;
}

/* Behind the quotes of a local part ("john smith"@example.org), or 0. */
static size_t quoted_end(const struct text *t, size_t start)
{
	for (size_t i = start + 1; i < t->len && i - start <= QUOTED_MAX; i++) {
		if (at(t, i) == '\\')
			i++;
		else if (at(t, i) == '"')
			return i + 1;
	}
	return 0;
}

static size_t match_email(struct text *t, size_t start)
{
	size_t i = start;
	if (at(t, i) == '"') {
		i = quoted_end(t, i);
		size_t end = i && at(t, i) == '@' ? match_domain(t, i + 1) : 0;
		return end ? end - start : 0;
	}
	if (start < t->no_email_before)
		return 0;
	while (is_local(at(t, i)))
		i++;
	if (i == start || at(t, i) != '@') {
		t->no_email_before = i;
		return 0;
	}
	size_t end = match_domain(t, i + 1);
	if (!end)
		t->no_email_before = i;
	return end ? end - start : 0;
}

static size_t match_url(const struct text *t, size_t start)
{
	static const char *const schemes[] = { "http://", "https://", "ftp://", "ftps://", "www." };
	size_t i = 0;
	for (size_t s = 0; s < sizeof schemes / sizeof *schemes && !i; s++) {
		size_t n = strlen(schemes[s]);
		if (n < t->len - start && strncasecmp(t->bytes + start, schemes[s], n) == 0)
			i = start + n;
	}
	if (!i)
		return 0;
	size_t body = i;
	while (i < t->len && (unsigned char)at(t, i) > ' ' && !strchr("<>\"`{}|\\^", at(t, i)))
		i++;
	while (i > body && strchr(".,;:!?)]'*", at(t, i - 1)))
		i--;
	return i > body ? i - start : 0;
}

static size_t match_ipv4(const struct text *t, size_t start)
{
	size_t i = start;
	for (int part = 0; part < 4; part++) {
		int v = 0, n = 0;
		if (part && at(t, i++) != '.')
			return 0;
		for (; is_digit(at(t, i)) && n < 4; i++, n++)
			v = v * 10 + (at(t, i) - '0');
		if (!n || n > 3 || v > 255)
			return 0;
	}
	if (is_alnum(at(t, i)) || (at(t, i) == '.' && is_digit(at(t, i + 1))))
		return 0;
	return i - start;
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static size_t match_ipv6(const struct text *t, size_t start)
{
	size_t i = start, colons = 0;
	for (; is_hex(at(t, i)) || at(t, i) == ':' || at(t, i) == '.'; i++)
		if ((colons += at(t, i) == ':') && i - start > IPV6_MAX)
			return 0;
		else if (!colons && i - start > 4)
			return 0;
	if (colons < 2 || is_alnum(at(t, i)))
		return 0;
	for (size_t len = i - start; len >= 2 && len + 2 > i - start; len--) { /* a sentence may end in '.' or ':' */
		char copy[IPV6_MAX + 2];
		struct in6_addr a;
		if (len > IPV6_MAX)
			continue;
		memcpy(copy, t->bytes + start, len);
		copy[len] = 0;
		if (inet_pton(AF_INET6, copy, &a) == 1)
			return len;
		if (is_hex(copy[len - 1]))
			break;
	}
	return 0;
}

static size_t match_ip(const struct text *t, size_t start)
{
	size_t n = is_digit(at(t, start)) ? match_ipv4(t, start) : 0;
	return n ? n : match_ipv6(t, start);
}

static int iban_length(const char country[2])
{
	static const char lengths[] =
		"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27GB22"
		"GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20"
		"MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26"
		"UA29VA22VG24XK20YE30";
	for (const char *p = lengths; *p; p += 4)
		if ((p[0] | 32) == (country[0] | 32) && (p[1] | 32) == (country[1] | 32))
			return (p[2] - '0') * 10 + (p[3] - '0');
	return 0;
}

/* ISO 7064: the first four characters go last, letters count 10 … 35, the whole modulo 97 is 1. */
static bool iban_verifies(const char *iban, int len)
{
	unsigned rest = 0;
	for (int k = 0; k < len; k++) {
		char c = iban[(k + 4) % len];
		if (is_digit(c))
			rest = (rest * 10 + (unsigned)(c - '0')) % 97;
		else
			rest = (rest * 100 + (unsigned)((c | 32) - 'a' + 10)) % 97;
	}
	return rest == 1;
}

static size_t match_iban(const struct text *t, size_t start)
{
	char iban[IBAN_MAX];
	if (!is_letter(at(t, start)) || !is_letter(at(t, start + 1)) || !is_digit(at(t, start + 2)))
		return 0;
	int want = iban_length(t->bytes + start), n = 0;
	size_t i = start;
	while (n < want) {
		size_t gap = gap_at(t, i);
		if (!is_alnum(at(t, i + gap)))
			return 0;
		i += gap;
		iban[n++] = at(t, i++);
	}
	return want && !is_alnum(at(t, i)) && iban_verifies(iban, want) ? i - start : 0;
}

static bool luhn_verifies(const int *digit, int n)
{
	int sum = 0;
	for (int k = 0; k < n; k++) {
		int d = digit[n - 1 - k];
		if (k & 1)
			d = d > 4 ? 2 * d - 9 : 2 * d;
		sum += d;
	}
	return sum % 10 == 0;
}

/* The longest run of whole groups of digits that verifies: another number (a date, a code) may follow the card's. */
static size_t match_card(const struct text *t, size_t start)
{
	int digit[CARD_DIGITS_MAX], n = 0;
	size_t i = start, found = 0;
	for (;;) {
		if (is_digit(at(t, i))) {
			if (n == CARD_DIGITS_MAX)
				break;
			digit[n++] = at(t, i++) - '0';
			continue;
		}
		size_t gap = gap_at(t, i);
		if (n >= 13 && digit[0] != 0 && !is_letter(at(t, i)) && luhn_verifies(digit, n))
			found = i - start;
		if (!gap || !is_digit(at(t, i + gap)))
			break;
		i += gap;
	}
	return found;
}

static int number_at(const struct text *t, size_t i, int digits)
{
	int v = 0;
	for (int k = 0; k < digits; k++) {
		if (!is_digit(at(t, i + (size_t)k)))
			return -1;
		v = v * 10 + (at(t, i + (size_t)k) - '0');
	}
	return v;
}

/* AAA-GG-SSSS, with spaces, points or nothing between; numbers that were never given out do not count. */
static size_t match_ssn(const struct text *t, size_t start)
{
	size_t gap = at(t, start + 3) == '.' ? 1 : gap_at(t, start + 3);
	int area = number_at(t, start, 3), group = number_at(t, start + 3 + gap, 2);
	int serial = number_at(t, start + 5 + 2 * gap, 4);
	if (area <= 0 || group <= 0 || serial <= 0 || area == 666 || area >= 900)
		return 0;
	for (size_t i = 0; i < gap; i++)
		if (at(t, start + 3 + i) != at(t, start + 5 + gap + i))
			return 0;
	size_t len = 9 + 2 * gap;
	return is_alnum(at(t, start + len)) ? 0 : len;
}

static int group_length(const struct text *t, size_t i)
{
	int n = 0;
	while (n <= PHONE_DIGITS_MAX && is_digit(at(t, i + (size_t)n)))
		n++;
	return n;
}

/* What a run of digits and separators looks like. */
struct digits {
	size_t end;      /* behind the last digit */
	int count, groups, first, last; /* digits, groups of them, the sizes of the first and last group */
	bool dots_only;
};

static struct digits read_digits(const struct text *t, size_t start)
{
	struct digits d = { start, 0, 0, 0, 0, true };
	int run = 0;
	size_t gap = 0;
	for (size_t i = start; d.count <= PHONE_DIGITS_MAX; i++) {
		char c = at(t, i);
		if (is_digit(c) && run == 0 && d.count >= PHONE_DIGITS_MIN && d.count + group_length(t, i) > PHONE_DIGITS_MAX)
			break; /* the number ended before this group */
		if (is_digit(c)) {
			d.groups += run == 0;
			d.count++;
			run++;
			gap = 0;
			if (d.groups == 1)
				d.first = run;
			d.last = run;
			d.end = i + 1;
		} else if (((c && strchr("().-/ ", c)) || gap_at(t, i)) && ++gap <= 3) {
			d.dots_only = d.dots_only && c == '.';
			run = 0;
			i += gap_at(t, i) ? gap_at(t, i) - 1 : 0;
		} else if (c != '+' || i != start) {
			break;
		}
	}
	return d;
}

/* "+49 …", "0049 …", "(212) 555-0100", "212-555-0100", "030 1234567", and ten or eleven bare digits; not dates, decimals or quads of dots. */
static size_t match_phone(const struct text *t, size_t start)
{
	char c = at(t, start);
	if (c != '+' && c != '(' && !is_digit(c))
		return 0;
	struct digits d = read_digits(t, start);
	if (d.count < PHONE_DIGITS_MIN || d.count > PHONE_DIGITS_MAX || is_letter(at(t, d.end)))
		return 0;
	bool international = c == '+' || (at(t, start) == '0' && at(t, start + 1) == '0');
	if (international || c == '(')
		return d.end - start;
	if (d.groups == 1) /* an identifier or a phone number: only the usual lengths count */
		return (c == '0' && d.count >= 10) || d.count == 10 || (d.count == 11 && c == '1') ? d.end - start : 0;
	if (d.groups == 2 && d.dots_only)
		return 0;
	if (d.count == 8 && d.groups == 3 && (d.first == 4 || d.last == 4) && d.first + d.last <= 6)
		return 0; /* 2024-05-17, 17.05.2024 */
	if (d.groups > 2 && d.first == 4 && d.count >= 8 && number_at(t, start + 5, 2) >= 1 && number_at(t, start + 5, 2) <= 12 &&
	    number_at(t, start + 8, 2) >= 1 && number_at(t, start + 8, 2) <= 31 && !is_digit(at(t, start + 7)))
		return 0; /* 2024-05-17 10:… */
	return c == '0' || d.groups > 2 || (d.groups == 2 && d.last >= 4 && d.count == 7) || d.count >= 10 ? d.end - start : 0;
}

/* In this order: what is part of another (an address in a URL) comes later. */
static const struct {
	unsigned entity;
	const char *name;
} names[] = {
	{ ENTITY_URL, "URL" },
	{ ENTITY_EMAIL_ADDRESS, "EMAIL_ADDRESS" },
	{ ENTITY_IBAN_CODE, "IBAN_CODE" },
	{ ENTITY_IP_ADDRESS, "IP_ADDRESS" },
	{ ENTITY_CREDIT_CARD, "CREDIT_CARD" },
	{ ENTITY_US_SSN, "US_SSN" },
	{ ENTITY_PHONE_NUMBER, "PHONE_NUMBER" },
};

static size_t match(unsigned entity, struct text *t, size_t i)
{
	switch (entity) {
	case ENTITY_URL:
		return match_url(t, i);
	case ENTITY_EMAIL_ADDRESS:
		return match_email(t, i);
	case ENTITY_IBAN_CODE:
		return match_iban(t, i);
	case ENTITY_IP_ADDRESS:
		return match_ip(t, i);
	case ENTITY_CREDIT_CARD:
		return match_card(t, i);
	case ENTITY_US_SSN:
		return match_ssn(t, i);
	case ENTITY_PHONE_NUMBER:
		return match_phone(t, i);
	}
	return 0;
}

/* An entity starts where a word starts; a mail's local part may start with a sign. */
static bool may_start(const struct text *t, size_t i)
{
	char before = i ? t->bytes[i - 1] : ' ', c = t->bytes[i];
	if (is_alnum(c) || c == ':')
		return !is_alnum(before) || (is_digit(c) != is_digit(before));
	return c == '+' || c == '(' || c == '"' || is_local(c);
}

void entity_find(unsigned wanted, const char *text, size_t len, void (*each)(void *arg, unsigned entity, size_t start, size_t len), void *arg)
{
	struct text t = { text, len, 0 };
	if (!wanted)
		wanted = ENTITY_ALL;
	for (size_t i = 0; i < len;) {
		size_t n = 0;
		if (may_start(&t, i)) {
			for (size_t k = 0; k < sizeof names / sizeof *names && !n; k++) {
				if ((wanted & names[k].entity) && (n = match(names[k].entity, &t, i)))
					each(arg, names[k].entity, i, n);
			}
		}
		i += n ? n : 1;
	}
}

const char *entity_name(unsigned entity)
{
	for (size_t k = 0; k < sizeof names / sizeof *names; k++)
		if (names[k].entity == entity)
			return names[k].name;
	return NULL;
}

unsigned entity_by_name(const char *name)
{
	for (size_t k = 0; k < sizeof names / sizeof *names; k++)
		if (!strcmp(names[k].name, name))
			return names[k].entity;
	return 0;
}
