#define PCRE2_CODE_UNIT_WIDTH 8
#include "catalog/pattern.h"

#include <errno.h>
#include <pcre2.h>
#include <stdlib.h>

#define STEPS_MAX 100000u /* of one match */

struct pattern {
	pcre2_code *code;
	pcre2_match_context *context;
};

int pattern_new(const char *text, struct pattern **ret, struct err *e)
{
	struct pattern *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, -ENOMEM, "out of memory");
	int code;
	PCRE2_SIZE at;
	p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
				PCRE2_ANCHORED | PCRE2_ENDANCHORED | PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at,
				NULL);
	if (!p->code) {
		PCRE2_UCHAR why[128];
		pcre2_get_error_message(code, why, sizeof why);
		pattern_free(p);
		return err_set(e, -EINVAL, "the pattern does not parse: %s at character %zu", (const char *)why, (size_t)at + 1);
	}
	p->context = pcre2_match_context_create(NULL);
	if (!p->context) {
		pattern_free(p);
		return err_set(e, -ENOMEM, "out of memory");
	}
	pcre2_set_match_limit(p->context, STEPS_MAX);
	pcre2_set_depth_limit(p->context, 1000);
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* slower without, not wrong */
	*ret = p;
	return 0;
}

void pattern_free(struct pattern *p)
{
	if (!p)
		return;
	pcre2_code_free(p->code);
	pcre2_match_context_free(p->context);
	free(p);
}

int pattern_match(const struct pattern *p, const char *text, size_t len)
{
	pcre2_match_data *data = pcre2_match_data_create(1, NULL);
	if (!data)
		return -ENOMEM;
	int r = pcre2_match(p->code, (PCRE2_SPTR)text, len, 0, 0, data, p->context);
	pcre2_match_data_free(data);
	if (r >= 0)
		return 1;
	return r == PCRE2_ERROR_NOMATCH ? 0 : r == PCRE2_ERROR_NOMEMORY ? -ENOMEM : -E2BIG;
}
