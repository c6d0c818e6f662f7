/*
 * make_people csv|jsonl MIB [SEED]: the table that view_bench filters, on stdout, about MIB mebibytes of it.  Another seed gives other people.
 */
#include "test/bench/people.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	bool json = argc > 1 && !strcmp(argv[1], "jsonl");
	if (argc < 3 || (!json && strcmp(argv[1], "csv"))) {
		fprintf(stderr, "usage: make_people csv|jsonl MIB [SEED]\n");
		return 2;
	}
	size_t left = strtoul(argv[2], NULL, 10) << 20;
	struct buf b = BUF_INIT;
	if (argc > 3)
		people_state += strtoul(argv[3], NULL, 10) * 2654435761u;
	if (!json)
		buf_adds(&b, PEOPLE_HEADER);
	for (unsigned id = 1; left; id++) {
		people_add(&b, json, id);
		if (b.len < (1 << 20) && b.len < left)
			continue;
		if (fwrite(b.data, 1, b.len, stdout) != b.len) {
			perror("make_people");
			return 1;
		}
		left -= b.len < left ? b.len : left;
		buf_clear(&b);
	}
	buf_free(&b);
	return fflush(stdout) != 0;
}
