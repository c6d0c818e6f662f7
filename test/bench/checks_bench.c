/*
 * checks_bench FILE CONTRACT: what the checks of a contract cost over a file (CSV, JSONL or Parquet), apart from everything else of publishing.
 * Prints the CPU time of the process for one pass, the best of some, and what a value costs.
 */
#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/contract.h"
#include "catalog/quality.h"
#include "fs/sql_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 5
#define PIECE (1u << 20)

static int64_t cpu_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int feed(struct quality_file *f, const struct buf *data)
{
	int r = 0;
	for (size_t at = 0; f && at < data->len && !r; at += PIECE)
		r = quality_file_feed(f, data->data + at, data->len - at < PIECE ? data->len - at : PIECE);
	return r;
}

static int pass(struct contract *contract, const char *path, const struct buf *data, int64_t *ret_ns, uint64_t *ret_rows, struct err *e)
{
	struct sql_engine *engine = sql_engine_new(&path, 1, &(struct sql_bounds){ .time_ms = 60000 });
	struct quality *q = NULL;
	struct quality_file *f = NULL;
	struct quality_report *report = NULL;
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	const int64_t start = cpu_ns();
	int r = engine ? quality_new(contract, sql_engine_quality(engine), &q, e) : -ENOMEM;
	if (!r)
		r = quality_file_begin(q, name, &f);
	if (!r)
		r = feed(f, data);
	if (!r)
		r = quality_file_end(f);
	if (!r)
		r = quality_finish(q, &report, e);
	*ret_ns = cpu_ns() - start;
	if (!r)
		*ret_rows = quality_report_rows(report);
	quality_report_free(report);
	quality_free(q);
	sql_engine_free(engine);
	return r;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct buf text = BUF_INIT, data = BUF_INIT;
	struct contract *contract = NULL;
	const struct contract_object *objects;
	int64_t ns, best = INT64_MAX;
	uint64_t rows = 0;
	if (argc != 3) {
		fputs("usage: checks_bench FILE CONTRACT\n", stderr);
		return 2;
	}
	int r = io_read_file(argv[2], 1 << 20, &text, &e);
	if (!r)
		r = contract_parse(argv[2], buf_text(&text), text.len, &contract, &e);
	if (!r)
		r = io_read_file(argv[1], SIZE_MAX, &data, &e);
	for (int i = 0; i < ROUNDS && !r; i++) {
		r = pass(contract, argv[1], &data, &ns, &rows, &e);
		best = ns < best ? ns : best;
	}
	if (!r && contract_objects(contract, &objects) && rows)
		printf("%.0f ms, %llu rows, %.1f ns a value\n", (double)best / 1e6, (unsigned long long)rows,
		       (double)best / (double)rows / (double)objects[0].column_count);
	else
		fprintf(stderr, "checks_bench: %s\n", e.code ? e.text : strerror(-r));
	contract_unref(contract);
	buf_free(&data);
	buf_free(&text);
	return r || !rows;
}
