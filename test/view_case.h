/*
 * A view for tests, from a few lines of text:
 *
 *     contract                         # ODCS properties of one object, until a line "end"
 *     - {name: email, logicalType: string}
 *     end
 *     custom [{property: header, value: false}]   # before the contract
 *     mask email hmac k1               # a column and its mask, as in the policy language
 *     unnamed drop
 *     rows row.age >= 18
 *
 * Keys are SHA-256 of their names.  Included by unit tests, fuzz targets and the bench tools; one case belongs to one thread.
 */
#ifndef MESHFS_TEST_VIEW_CASE_H
#define MESHFS_TEST_VIEW_CASE_H

#include "catalog/base/hash.h"
#include "catalog/base/text.h"
#include "policy/attribute.h"
#include "catalog/csv_scan.h"
#include "policy/expr.h"
#include "policy/key.h"
#include "policy/lexer.h"
#include "policy/transform.h"
#include "policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct view_case {
	struct column_action actions[64];
	size_t action_count;
	struct mask unnamed;
	struct expr *filter;
	struct contract *contract;
	struct transform *transform;
};

static inline void view_case_key_name(struct mask *ret, const char *name)
{
	struct digest d;
	snprintf(ret->key, sizeof ret->key, "%s", name);
	sha256_of(name, strlen(name), &d);
	policy_key_fingerprint_of(d.bytes, ret->key_fingerprint);
}

static inline int view_case_mask(char *words, struct mask *ret)
{
	static const char *const entities[] = { "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "URL" };
	static const struct {
		const char *name;
		enum mask_kind kind;
	} kinds[] = {
		{ "drop", MASK_DROP },   { "null", MASK_NULL }, { "redact", MASK_REDACT }, { "hmac", MASK_HMAC },   { "year", MASK_YEAR },
		{ "month", MASK_MONTH }, { "zip3", MASK_ZIP3 }, { "round", MASK_ROUND },   { "top", MASK_TOP },	    { "scrub", MASK_SCRUB },
		{ "partial", MASK_PARTIAL }, { "keep", MASK_KEEP },
	};
	char *word[16], *save = NULL;
	size_t n = 0;
	for (char *w = strtok_r(words, " ", &save); w && n < 16; w = strtok_r(NULL, " ", &save))
		word[n++] = w;
	memset(ret, 0, sizeof *ret);
	for (size_t i = 0; n && i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(word[0], kinds[i].name) != 0)
			continue;
		ret->kind = kinds[i].kind;
		if (ret->kind == MASK_REDACT)
			ret->keep_length = n > 1;
		else if (ret->kind == MASK_HMAC)
			view_case_key_name(ret, n > 1 ? word[1] : "k1");
		else if (ret->kind == MASK_PARTIAL)
			ret->last = n > 1 && strcmp(word[1], "last") == 0;
		if (n > 1 && ret->kind != MASK_SCRUB)
			ret->number = strtod(word[n - 1], NULL);
		for (size_t k = 0; ret->kind == MASK_SCRUB && k < 7; k++)
			for (size_t w = 1; w < n; w++)
				ret->entities |= strcmp(word[w], entities[k]) == 0 ? 1u << k : 0;
		if (ret->kind == MASK_SCRUB && !ret->entities)
			ret->entities = SCRUB_ALL;
		return 0;
	}
	return -EINVAL;
}

static inline int view_case_filter(struct view_case *c, const char *text, const struct contract_object *object, struct err *e)
{
	struct arena arena = { 0 };
	struct lexer lexer;
	struct expr *parsed = NULL;
	struct expr_env env;
	memset(&env, 0, sizeof env);
	int r = lexer_start(&lexer, "case", text, strlen(text), &arena, e);
	if (r == 0)
		r = lexer_line(&lexer, e) == 1 ? 0 : -EINVAL;
	if (r == 0)
		r = expr_parse(&lexer, 0, true, &parsed, e);
	if (r == 0)
		r = expr_bind(parsed, &env, object, &c->filter, e);
	expr_free(parsed);
	arena_free(&arena);
	return r;
}

static inline int view_case_contract(struct view_case *c, const char *path, const char *custom, const char *properties, size_t len, struct err *e)
{
	char *text = text_format("kind: DataContract\napiVersion: v3.1.0\nid: t\nversion: 1.0.0\nstatus: active\nschema:\n- name: t\n"
				 "  physicalName: '**'\n%s%s%s%s%.*s",
				 custom ? "  customProperties: " : "", custom ? custom : "", custom ? "\n" : "", len ? "  properties:\n" : "", (int)len,
				 properties);
	(void)path;
	int r = contract_parse("contract.yaml", text, strlen(text), &c->contract, e);
	free(text);
	return r;
}

static inline void view_case_fini(struct view_case *c)
{
	transform_unref(c->transform);
	expr_free(c->filter);
	contract_unref(c->contract);
	for (size_t i = 0; i < c->action_count; i++)
		free(c->actions[i].column);
	memset(c, 0, sizeof *c);
}

static inline int view_case_line(struct view_case *c, char *line, char **custom, char **rows, struct err *e)
{
	if (text_starts(line, "custom "))
		*custom = line + 7;
	else if (text_starts(line, "rows "))
		*rows = line + 5;
	else if (text_starts(line, "unnamed "))
		return view_case_mask(line + 8, &c->unnamed);
	else if (text_starts(line, "mask ") && strchr(line + 5, ' ') && c->action_count < 64) {
		char *space = strchr(line + 5, ' ');
		*space = 0;
		c->actions[c->action_count].column = strdup(line + 5);
		return view_case_mask(space + 1, &c->actions[c->action_count++].mask);
	} else if (*line && *line != '#')
		return err_set(e, -EINVAL, "what is '%s'?", line);
	return 0;
}

static inline int view_case_init(struct view_case *c, const char *path, const char *text, struct err *e)
{
	char *copy = strdup(text), *line = copy, *custom = NULL, *rows = NULL, *properties = NULL, *next;
	size_t properties_len = 0;
	int r = 0;
	memset(c, 0, sizeof *c);
	c->unnamed.kind = MASK_KEEP;
	for (; r == 0 && line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		if (strcmp(line, "contract") == 0 && next) {
			char *end = strstr(next, "\nend");
			properties = next;
			properties_len = end ? (size_t)(end - next) + 1 : 0;
			next = end ? strchr(end + 1, '\n') : NULL;
			next = next ? next + 1 : NULL;
			continue;
		}
		r = view_case_line(c, line, &custom, &rows, e);
	}
	if (r == 0)
		r = view_case_contract(c, path, custom, properties ? properties : "", properties_len, e);
	const struct contract_object *object = r == 0 ? contract_object_for(c->contract, path) : NULL;
	if (r == 0 && rows) {
		char *line_text = text_format("  %s", rows);
		r = view_case_filter(c, line_text, object, e);
		free(line_text);
	}
	if (r == 0 && !(c->transform = transform_new(c->actions, c->action_count, &c->unnamed, c->filter, c->contract, object)))
		r = -ENOMEM;
	free(copy);
	if (r != 0)
		view_case_fini(c);
	return r;
}

struct view_case_bytes {
	const char *bytes;
	size_t len;
};

static inline int view_case_read(void *arg, uint64_t offset, void *bytes, size_t len, struct err *e)
{
	const struct view_case_bytes *b = arg;
	if (offset > b->len || len > b->len - offset)
		return err_set(e, -EIO, "the view reads beyond the end");
	memcpy(bytes, b->bytes + offset, len);
	return 0;
}

static inline int view_case_key(void *arg, const char *name, unsigned char ret_key[32], struct err *e)
{
	struct digest d;
	(void)arg, (void)e;
	if (strcmp(name, "absent") == 0)
		return err_set(e, -ENOENT, "no such key");
	sha256_of(name, strlen(name), &d);
	memcpy(ret_key, d.bytes, 32);
	return 0;
}

static inline int view_case_write(void *arg, const void *bytes, size_t len)
{
	buf_add(arg, bytes, len);
	return buf_check(arg);
}

/* Where a chunk of about `size` bytes ends: at the end of a record. */
static inline size_t view_case_cut(const char *path, const char *bytes, size_t len, size_t from, size_t size)
{
	size_t at = from;
	bool ended;
	const char *format = view_format(path);
	while (at < len && (at == from || at - from < size)) {
		if (text_starts(format, "jsonl")) {
			const char *newline = memchr(bytes + at, '\n', len - at);
			at = newline ? (size_t)(newline - bytes) + 1 : len;
		} else {
			at = csv_skip_record(bytes, len, at, format[0] == 't' ? '\t' : format[0] == 'p' ? '|' : ',', &ended);
		}
	}
	return at;
}

static inline int view_case_segments(const struct view_plan *plan, const struct view_case_bytes *in, struct buf *ret)
{
	const struct view_segment *s;
	size_t n = view_segments(plan, &s);
	for (size_t i = 0; i < n; i++) {
		if (s[i].offset != ret->len)
			return -EIO;
		char *to = buf_reserve(ret, s[i].length);
		if (!to)
			return -ENOMEM;
		if (s[i].kind == SEGMENT_SOURCE && (s[i].source_offset > in->len || s[i].length > in->len - s[i].source_offset))
			return -EIO;
		if (s[i].kind == SEGMENT_ZERO)
			memset(to, 0, s[i].length);
		else
			memcpy(to, s[i].kind == SEGMENT_SOURCE ? in->bytes + s[i].source_offset : s[i].bytes, s[i].length);
		buf_commit(ret, s[i].length);
	}
	return 0;
}

/* The derived file; chunks of about `chunk` bytes. */
static inline int view_case_apply(struct view_case *c, const char *path, const char *bytes, size_t len, size_t chunk, struct buf *ret,
				  struct view_stats *ret_stats, struct err *e)
{
	struct view_case_bytes in = { bytes, len };
	struct view_source source = { view_case_read, &in, len, path };
	struct view_keys keys = { view_case_key, NULL };
	struct view_plan *plan = NULL;
	struct view_stats one = { 0 };
	memset(ret_stats, 0, sizeof *ret_stats);
	int r = view_plan_new(c->transform, &source, &keys, &plan, e);
	if (r != 0)
		return r;
	if (view_plan_kind(plan) == VIEW_WHOLE) {
		r = view_whole(plan, &source, view_case_write, ret, ret_stats, e);
	} else if (view_plan_kind(plan) == VIEW_SEGMENTS) {
		r = view_case_segments(plan, &in, ret);
	} else {
		size_t at = 0;
		uint32_t index = 0;
		do {
			size_t end = view_case_cut(path, bytes, len, at, chunk);
			char *exact = malloc(end - at + !len); /* so that a sanitizer sees reads beyond the chunk */
			if (end > at)
				memcpy(exact, bytes + at, end - at);
			r = view_chunk(plan, index++, exact, end - at, ret, &one, e);
			free(exact);
			ret_stats->rows_in += one.rows_in;
			ret_stats->rows_out += one.rows_out;
			ret_stats->rows_rejected += one.rows_rejected;
			at = end;
		} while (r == 0 && at < len);
	}
	view_plan_free(plan);
	return r;
}

#endif
