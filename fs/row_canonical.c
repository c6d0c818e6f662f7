/* The canonical bytes of a value; apart from row_print.c because records and policy each have a value_kind of their own. */
#include "catalog/base/buf.h"
#include "fs/row_print.h"
#include "policy/mask.h"
#include "policy/value.h"

#include <strings.h>

/* 'n' numbers by what they are worth, 't' times by their moment, 'b' truth values, 's' anything else by its bytes. */
void row_canonical(const char *text, size_t len, struct buf *ret)
{
	struct decimal d;
	struct row_value v;
	if ((len == 4 && !strncasecmp(text, "true", 4)) || (len == 5 && !strncasecmp(text, "false", 5))) {
		buf_add(ret, len == 4 ? "b1" : "b0", 2);
	} else if (decimal_parse(text, len, &d)) {
		char sign = d.negative && d.digits ? '-' : '+';
		buf_addc(ret, 'n');
		buf_addc(ret, sign);
		buf_add(ret, &d.digits, sizeof d.digits);
		if (d.digits)
			buf_add(ret, &d.exponent, sizeof d.exponent);
	} else if (len >= 10 && text[4] == '-' && value_parse_time(text, len, &v)) {
		buf_addc(ret, 't');
		buf_add(ret, &v.integer, sizeof v.integer);
		buf_add(ret, &v.nanos, sizeof v.nanos);
	} else {
		buf_addc(ret, 's');
		buf_add(ret, text, len);
	}
}
