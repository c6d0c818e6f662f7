/*
 * Records of line formats and the scanner for personal data behind them.  The first byte chooses the format and the size of the pieces: what is read
 * must not depend on how the bytes come.
 */
#include "catalog/personal.h"
#include "catalog/records.h"
#include "test/fuzz/suppress.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "catalog/base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	struct personal_file *file;
	struct sha256 *all;
	uint64_t row;
};

static int on_column(void *arg, uint32_t column, const char *name, size_t len)
{
	struct seen *s = arg;
	sha256_update(s->all, name, len);
	return personal_column(s->file, column, name, len);
}

static int on_value(void *arg, uint32_t column, enum value_kind kind, const char *text, size_t len)
{
	struct seen *s = arg;
	const uint32_t what[3] = { column, (uint32_t)kind, (uint32_t)len };
	sha256_update(s->all, what, sizeof what);
	if (text)
		sha256_update(s->all, text, len);
	if (text && kind != VALUE_NULL)
		personal_value(s->file, column, s->row + 1, text, len);
	return 0;
}

/* All at once must be what comes one by one. */
static int on_fields(void *arg, const uint32_t *columns, const struct record_field *fields, size_t count)
{
	int r = 0;
	for (size_t i = 0; i < count && !r; i++)
		r = on_value(arg, columns[i], fields[i].kind, fields[i].text, fields[i].len);
	return r;
}

static int on_record(void *arg, uint64_t number, uint64_t line, const char *broken)
{
	struct seen *s = arg;
	const uint64_t what[3] = { number, line, broken != NULL };
	if (number ? number != ++s->row : s->row != 0 || !broken) /* 0: a head that is broken */
		abort();
	sha256_update(s->all, what, sizeof what);
	return 0;
}

static int on_finding(void *arg, const struct personal_finding *f)
{
	(void)arg;
	if (!f->column || !f->entity || f->hits > f->examined)
		abort();
	return 0;
}

static int read_all(enum record_format format, const char *bytes, size_t size, size_t piece, bool fields, struct digest *ret)
{
	struct personal *p = personal_new();
	struct seen s = { .all = sha256_new() };
	struct records_callbacks call = { on_column, on_value, on_record, &s, fields ? on_fields : NULL, NULL };
	struct records *r = NULL;
	int code = p && s.all ? personal_file_begin(p, "a.csv", NULL, &s.file) : -1;
	if (!code)
		code = records_new(format, 0, true, NULL, &call, &r);
	for (size_t at = 0; !code && at < size; at += piece)
		code = records_feed(r, bytes + at, size - at < piece ? size - at : piece);
	if (!code)
		code = records_end(r);
	records_free(r);
	personal_file_end(s.file);
	if (!code)
		personal_each(p, on_finding, NULL);
	personal_free(p);
	sha256_final(s.all, ret);
	sha256_free(s.all);
	return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > 20000)
		return 0;
	const enum record_format format = data[0] & 1 ? RECORDS_JSONL : RECORDS_CSV;
	const char *bytes = (const char *)data + 1;
	struct digest once, pieces;
	const int a = read_all(format, bytes, size - 1, size, false, &once), b = read_all(format, bytes, size - 1, 3 + data[0] / 2, true, &pieces);
	if (a != b || (!a && !digest_equal(&once, &pieces)))
		abort();
	return 0;
}
