#include "catalog/personal_weigh.h"

#include "catalog/entity.h"

#include <ctype.h>
#include <string.h>

#define IBAN_SHARE 200 /* within text one value in so many */
#define IBAN_VALUES 20 /* of whole values: of random texts with the look of an IBAN one in 97 has right check digits */
#define MAYBE_MIN 20   /* fewer bare numbers may be alike by chance */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static size_t digits_in(const char *t, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += is_digit(t[i]);
	return count;
}

static bool ends_in_digits(const char *t, size_t n)
{
	return n && is_digit(t[n - 1]);
}

/* A part of a longer code: SKU-123-4567, 123-45-6789-X. */
static bool is_part_of_code(const char *t, size_t len, size_t start, size_t found)
{
	static const char joints[] = "-_/#.";
	const size_t end = start + found;
	const bool before = start >= 2 && strchr(joints, t[start - 1]) && isalnum((unsigned char)t[start - 2]);
	const bool after = end + 1 < len && strchr(joints, t[end]) && isalnum((unsigned char)t[end + 1]);
	const bool glued = (start && isalnum((unsigned char)t[start - 1])) || (end < len && isalnum((unsigned char)t[end]));
	return before || after || glued;
}

/* Area and exchange of North America begin with 2 to 9. */
static bool is_nanp(const char *t, size_t n)
{
	char d[12];
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		if (is_digit(t[i]) && count < sizeof d)
			d[count++] = t[i];
	const char *p = count == 11 && d[0] == '1' ? d + 1 : d;
	return (count == 10 || p != d) && p[0] >= '2' && p[3] >= '2';
}

/* In groups of three, three and four, or with the signs that only phone numbers have. */
static bool is_written_as_phone(const char *t, size_t n)
{
	if (*t == '+' || *t == '(')
		return true;
	return n == 12 && !is_digit(t[3]) && t[7] == t[3] && digits_in(t, n) == 10 && is_nanp(t, n);
}

static bool is_isbn(const char *t, size_t n)
{
	return digits_in(t, n) == 13 && (!strncmp(t, "978", 3) || !strncmp(t, "979", 3));
}

/* 31/12/2020 … and 12.31.2020 …, whatever follows. */
static bool is_day(const char *t, size_t n)
{
	return n >= 10 && digits_in(t, 10) == 8 && !is_digit(t[2]) && t[5] == t[2] && t[2] != ' ' && (t[6] == '1' || t[6] == '2') && (t[7] == '9' || t[7] == '0');
}

static enum personal_weight weigh_phone(const char *t, size_t n, bool whole, bool hinted)
{
	const bool bare = digits_in(t, n) == n;
	if (is_isbn(t, n) || is_day(t, n))
		return PERSONAL_NOT;
	if (hinted)
		return whole ? PERSONAL_VALUE : PERSONAL_WITHIN;
	if (bare && *t == '0')
		return n >= 10 && t[1] != '0' ? PERSONAL_MAYBE : t[1] == '0' && t[2] != '0' && n >= 11 ? PERSONAL_MAYBE : PERSONAL_NOT;
	if (bare)
		return whole && is_nanp(t, n) ? PERSONAL_MAYBE : PERSONAL_NOT;
	if (digits_in(t, n) == 7)
		return PERSONAL_NOT; /* 123-4567, which may be anything */
	if (is_written_as_phone(t, n) || (whole && *t == '0'))
		return whole ? PERSONAL_VALUE : PERSONAL_WITHIN;
	return whole ? PERSONAL_MAYBE : PERSONAL_NOT;
}

/* Versions (1.2.3.4) have small numbers; of addresses one in forty. */
static bool has_large_part(const char *t, size_t n)
{
	for (size_t i = 0; i + 3 <= n; i++)
		if (digits_in(t + i, 3) == 3)
			return true;
	return memchr(t, ':', n) != NULL;
}

enum personal_weight personal_weigh(unsigned entity, const char *text, size_t len, size_t start, size_t found, unsigned hints)
{
	const char *t = text + start;
	const bool whole = found == len, hinted = hints & entity;
	const enum personal_weight there = whole ? PERSONAL_VALUE : PERSONAL_WITHIN;
	switch (entity) {
	case ENTITY_PHONE_NUMBER:
		return is_part_of_code(text, len, start, found) ? PERSONAL_NOT : weigh_phone(t, found, whole, hinted);
	case ENTITY_US_SSN:
		if (is_part_of_code(text, len, start, found))
			return PERSONAL_NOT;
		return hinted || digits_in(t, found) != found ? there : PERSONAL_NOT;
	case ENTITY_IP_ADDRESS:
		return hinted || has_large_part(t, found) ? there : PERSONAL_NOT;
	case ENTITY_CREDIT_CARD:
		return is_part_of_code(text, len, start, found) || !ends_in_digits(t, found) ? PERSONAL_NOT : there;
	default:
		return there;
	}
}

bool personal_is_telling(unsigned entity, uint64_t maybe, uint64_t value, uint64_t within, uint64_t examined)
{
	const uint64_t hits = value + within;
	switch (entity) {
	case ENTITY_EMAIL_ADDRESS:
		return hits >= 1;
	case ENTITY_IBAN_CODE:
		return hits && (hits == examined || (within >= 2 && within * IBAN_SHARE >= examined) || (value >= 2 && value * IBAN_VALUES >= examined));
	case ENTITY_US_SSN:
	case ENTITY_IP_ADDRESS:
		return hits && hits * 10 >= examined;
	case ENTITY_PHONE_NUMBER:
		if (hits >= 2 && within * 50 >= examined && within)
			return true;
		return (hits >= 2 && hits * 2 >= examined) || (hits + maybe >= MAYBE_MIN && (hits + maybe) * 100 >= examined * 98);
	default:
		return hits >= 2 && hits * 2 >= examined;
	}
}
