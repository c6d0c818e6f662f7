/* The canonical bytes of a value; apart from row_print.c because records and policy each have a value_kind of their own. */
#include "catalog/base/buf.h"
#include "fs/row_print.h"
#include "policy/mask.h"
#include "policy/value.h"

#include <string.h>
#include <strings.h>

/* One form for each number, whatever zeros it is written with: 30, 30.0 and 3e1 are the same. */
static void add_number(struct decimal d, struct buf *ret)
{
	char out[2 + sizeof d.digits + sizeof d.exponent];
	size_t len = 2;
	while (d.digits > UINT64_MAX && d.digits % 10 == 0) {
		d.digits /= 10;
		d.exponent++;
	}
	for (uint64_t low = (uint64_t)d.digits; low == d.digits && low && low % 10 == 0; d.digits = low) {
		low /= 10;
		d.exponent++;
	}
	out[0] = 'n';
	out[1] = d.negative && d.digits ? '-' : '+';
	memcpy(out + len, &d.digits, sizeof d.digits);
	len += sizeof d.digits;
	if (d.digits) {
		memcpy(out + len, &d.exponent, sizeof d.exponent);
		len += sizeof d.exponent;
	}
	buf_add(ret, out, len);
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && (*text | 32) == *word && !strncasecmp(text, word, len);
}

/* 'n' numbers by what they are worth, 't' times by their moment, 'b' truth values, 's' anything else by its bytes. */
void row_canonical(const char *text, size_t len, struct buf *ret)
{
	struct decimal d;
	struct row_value v;
	if (is_word(text, len, "true") || is_word(text, len, "false")) {
		buf_add(ret, len == 4 ? "b1" : "b0", 2);
	} else if (decimal_parse(text, len, &d)) {
		add_number(d, ret);
	} else if (len >= 10 && text[4] == '-' && value_parse_time(text, len, &v)) {
		buf_addc(ret, 't');
		buf_add(ret, &v.integer, sizeof v.integer);
		buf_add(ret, &v.nanos, sizeof v.nanos);
	} else {
		buf_addc(ret, 's');
		buf_add(ret, text, len);
	}
}
