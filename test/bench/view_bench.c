/*
 * view_bench [MIB]: how fast views of line formats are on one core, over people of eight columns made here (names quoted, texts hard to compress).
 * Prints a line a case: format, rules, MiB of source a second.
 */
#include "catalog/base/clock.h"
#include "test/bench/people.h"
#include "test/view_case.h"

#include <time.h>

#define CONTRACT                                                                                                                        \
	"contract\n  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\n  - {name: name, logicalType: string}\n" \
	"  - {name: age, logicalType: integer}\n  - {name: country, logicalType: string}\n  - {name: amount, logicalType: number}\n"      \
	"  - {name: ts, logicalType: timestamp}\n  - {name: notes, logicalType: string}\nend\n"
#define DROP "mask ts drop\nmask notes drop\n"
#define ROWS "rows row.country == DE\n"

/* Time on this thread's core: what other work on the machine takes does not count. */
static int64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int measure(const char *format, const char *name, const char *rules, const struct buf *in)
{
	char *spec = text_format(CONTRACT "%s", rules), path[32];
	struct view_case c;
	struct err e = ERR_INIT;
	struct view_keys keys = { view_case_key, NULL };
	struct view_case_bytes bytes = { in->data, in->len };
	struct view_plan *plan = NULL;
	struct buf out = BUF_INIT;
	double best = 0;
	snprintf(path, sizeof path, "t.%s", format);
	struct view_source source = { view_case_read, &bytes, in->len, path };
	int r = view_case_init(&c, path, spec, &e);
	if (r == 0)
		r = view_plan_new(c.transform, &source, &keys, &plan, &e);
	for (int round = 0; round < 3 && r == 0; round++) {
		int64_t start = cpu_ns();
		uint32_t index = 0;
		for (size_t at = 0; at < in->len && r == 0;) {
			size_t end = at + (1 << 20) < in->len ? at + (1 << 20) : in->len;
			while (end < in->len && in->data[end - 1] != '\n')
				end++;
			struct view_stats stats;
			buf_clear(&out);
			r = view_chunk(plan, index++, in->data + at, end - at, &out, &stats, &e);
			at = end;
		}
		double rate = (double)in->len / (1 << 20) / ((double)(cpu_ns() - start) / NS_PER_S);
		best = rate > best ? rate : best;
	}
	if (r == 0)
		printf("%-6s %-28s %6.0f MiB/s\n", format, name, best);
	else
		fprintf(stderr, "view_bench: %s\n", e.text);
	view_plan_free(plan);
	view_case_fini(&c);
	buf_free(&out);
	free(spec);
	return r;
}

int main(int argc, char **argv)
{
	static const char *const cases[][2] = {
		{ "drop 2", DROP }, { "filter", ROWS }, { "drop 2, filter", DROP ROWS }, { "drop 2, filter, hmac", DROP ROWS "mask email hmac k1\n" },
		{ "drop 2, filter, redact", DROP ROWS "mask email redact\n" }, { "drop 2, filter, partial", DROP ROWS "mask email partial first 1\n" },
		{ "drop 2, hmac", DROP "mask email hmac k1\n" }, { "drop 2, partial", DROP "mask email partial first 1\n" },
		{ "scrub notes", "mask notes scrub\n" },
	};
	size_t size = (argc > 1 ? strtoul(argv[1], NULL, 10) : 64) << 20;
	int r = 0;
	for (int json = 0; json < 2; json++) {
		struct buf in = BUF_INIT;
		if (!json)
			buf_adds(&in, PEOPLE_HEADER);
		for (unsigned id = 1; in.len < size; id++)
			people_add(&in, json, id);
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			r |= measure(json ? "jsonl" : "csv", cases[i][0], cases[i][1], &in);
		buf_free(&in);
	}
	return r != 0;
}
