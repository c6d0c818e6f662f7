/*
 * What recording costs: nanoseconds a record, and opens a second through to the database.
 *
 *     journal_bench DB [RECORDS [DISTINCT [ONLY]]]
 *
 * "record" appends RECORDS opens of DISTINCT files to a journal that holds them all; "drain" is the time until all are in the database;
 * "sustained" does both at once, with the ordinary bounds of a mount; so does "epochs", with the files in another order every time.
 */
#include "catalog/base/clock.h"
#include "fs/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what, const struct err *e)
{
	fprintf(stderr, "journal_bench: %s: %s\n", what, e->text);
	exit(1);
}

static int64_t cpu_ns(clockid_t of)
{
	struct timespec ts;
	clock_gettime(of, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t open_all(struct recorder *r, const char *run, char (*files)[48], int records, int distinct, const int *order)
{
	pid_t pid = getpid();
	int64_t start = cpu_ns(CLOCK_THREAD_CPUTIME_ID); /* other work of the machine, the writer's included, is not the cost of a record */
	for (int i = 0; i < records; i++) {
		uint64_t record;
		struct read_facts facts = { .run = run, .address = "", .version = "sales/orders/1.2.0", .file = files[order ? order[i] : i % distinct],
					    .view = "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9",
					    .policy = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b", .rules = "pii/no-direct-pii",
					    .outcome = READ_SERVED, .pid = pid };
		if (recorder_open_record(r, &facts, &record)) {
			fprintf(stderr, "journal_bench: open %d was not recorded\n", i);
			exit(1);
		}
		recorder_close_record(r, record, 0);
	}
	return cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

static void measure(const char *label, const struct recorder_config *config, char (*files)[48], int records, int distinct, const int *order)
{
	struct err e = ERR_INIT;
	struct recorder *r;
	char run[RUN_ID_SIZE] = "";
	struct run_facts facts = { .name = label, .user = "bench", .purpose = "bench" };
	if (recorder_start_with(config, &r, &e) || recorder_begin_run(r, &facts, run, &e))
		fail("start", &e);
	int64_t start = clock_mono_ns(), used = cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
	int64_t append = open_all(r, run, files, records, distinct, order);
	if (recorder_end_run(r, run, 0, &e) || recorder_stop(r, &e))
		fail("stop", &e);
	int64_t all = clock_mono_ns() - start;
	used = cpu_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
	printf("%-10s %9d records %8d files  %7.1f CPU ns/record  %9.0f records/s into the database, %7.1f CPU ns/record for all\n", label, records,
	       distinct, (double)append / records, records * 1e9 / (double)all, (double)used / records);
}

/* All files in one order after another. */
static int *shuffled(int records, int distinct)
{
	int *order = calloc((size_t)records, sizeof *order);
	uint64_t x = 88172645463325252u;
	for (int i = 0; order && i < records; i++) {
		int at = i % distinct, from = i - at;
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		int to = from + (int)(x % (uint64_t)(at + 1));
		order[i] = order[to];
		order[to] = at;
	}
	return order;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: journal_bench DB [RECORDS [DISTINCT [ONLY]]]\n");
		return 2;
	}
	int records = argc > 2 ? atoi(argv[2]) : 1000000, distinct = argc > 3 ? atoi(argv[3]) : records;
	char (*files)[48] = calloc((size_t)distinct, sizeof *files);
	if (!files || records < 1 || distinct < 1)
		return 2;
	for (int i = 0; i < distinct; i++)
		snprintf(files[i], sizeof files[i], "train/class-%03d/image-%08d.jpeg", i % 1000, i);
	struct recorder_config roomy = { .db_path = argv[1], .slots = (uint32_t)records + 1000, .text_bytes = (uint32_t)distinct * 64 + (1u << 20) };
	struct recorder_config usual = { .db_path = argv[1] };
	int *order = shuffled(records, distinct);
	if (!order)
		return 2;
	const struct {
		const char *label;
		const struct recorder_config *config;
		int distinct;
		const int *order;
	} all[] = { { "repeated", &roomy, distinct < 1000 ? distinct : 1000, NULL },
		    { "distinct", &roomy, distinct, NULL },
		    { "sustained", &usual, distinct, NULL },
		    { "epochs", &usual, distinct, order } };
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		if (argc < 5 || !strcmp(argv[4], all[i].label))
			measure(all[i].label, all[i].config, files, records, all[i].distinct, all[i].order);
	free(order);
	free(files);
	return 0;
}
