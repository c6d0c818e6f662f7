/*
 * view_tool CASE PATH CHUNK <source >derived: applies the view that the file CASE describes (test/view_case.h) to a file named PATH, in chunks of
 * about CHUNK bytes.  On stderr: "rows_in rows_out rows_rejected".  Exit 3: denied, and why.
 * With more than one line "CASE PATH CHUNK SOURCE DERIVED" on stdin and the single argument "-", each is done in turn and answered on stdout.
 */
#include "catalog/base/io.h"
#include "test/view_case.h"

#include <stdio.h>
#include <unistd.h>

static int apply(const char *spec_path, const char *path, size_t chunk, const char *from, const char *to, struct view_stats *stats, struct err *e)
{
	struct buf spec = BUF_INIT, in = BUF_INIT, out = BUF_INIT;
	struct view_case c;
	int r = io_read_file(spec_path, 1 << 20, &spec, e);
	if (r == 0)
		r = io_read_file(from, SIZE_MAX / 2, &in, e);
	if (r == 0)
		r = view_case_init(&c, path, buf_text(&spec), e);
	if (r == 0) {
		r = view_case_apply(&c, path, buf_text(&in), in.len, chunk, &out, stats, e);
		view_case_fini(&c);
	}
	if (r == 0)
		r = io_write_file(to, buf_text(&out), out.len, 0644, e);
	buf_free(&spec);
	buf_free(&in);
	buf_free(&out);
	return r;
}

static int serve(void)
{
	char line[8192], spec[2048], path[2048], from[2048], to[2048];
	unsigned long chunk;
	while (fgets(line, sizeof line, stdin)) {
		struct err e = ERR_INIT;
		struct view_stats s = { 0 };
		if (sscanf(line, "%2047s %2047s %lu %2047s %2047s", spec, path, &chunk, from, to) != 5)
			return 2;
		int r = apply(spec, path, chunk, from, to, &s, &e);
		if (r == 0)
			printf("ok %llu %llu %llu\n", (unsigned long long)s.rows_in, (unsigned long long)s.rows_out,
			       (unsigned long long)s.rows_rejected);
		else
			printf("%s %s\n", r == -EACCES ? "denied" : "failed", e.text);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "-") == 0)
		return serve();
	if (argc != 6) {
		fprintf(stderr, "usage: view_tool CASE PATH CHUNK SOURCE DERIVED | view_tool -\n");
		return 2;
	}
	struct err e = ERR_INIT;
	struct view_stats s = { 0 };
	int r = apply(argv[1], argv[2], strtoul(argv[3], NULL, 10), argv[4], argv[5], &s, &e);
	if (r == 0)
		fprintf(stderr, "%llu %llu %llu\n", (unsigned long long)s.rows_in, (unsigned long long)s.rows_out,
			(unsigned long long)s.rows_rejected);
	else
		fprintf(stderr, "%s\n", e.text);
	return r == -EACCES ? 3 : r != 0;
}
