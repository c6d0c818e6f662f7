/*
 * How fast the transfer engine reads, and what it costs: parallel ranges of one object.
 *
 *   store_read [-e ENDPOINT] [-p PARALLEL] [-s RANGE_MiB] [-n TOTAL_MiB] URL KEY
 *
 * Prints MiB/s and CPU seconds a GiB.  The bytes are copied once into a buffer of their range, as a reader would.
 */
#include "catalog/base/clock.h"
#include "catalog/store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;

struct slot {
	char *bytes;
	size_t got;
	bool busy;
	int code;
	struct err e;
};

static int on_data(void *arg, const void *bytes, size_t len)
{
	struct slot *s = arg;
	memcpy(s->bytes + s->got, bytes, len);
	s->got += len;
	return 0;
}

static void on_done(void *arg, int code, const struct err *e)
{
	struct slot *s = arg;
	pthread_mutex_lock(&lock);
	s->busy = false;
	if (code) {
		s->code = code;
		s->e = *e;
	}
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&lock);
}

static double cpu_s(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static struct slot *free_slot(struct slot *slots, size_t count)
{
	for (;;) {
		for (size_t i = 0; i < count; i++)
			if (!slots[i].busy)
				return &slots[i];
		pthread_cond_wait(&ended, &lock);
	}
}

int main(int argc, char **argv)
{
	const char *endpoint = NULL;
	size_t parallel = 8, range = 8u << 20, total = 1u << 30;
	int option;
	while ((option = getopt(argc, argv, "e:p:s:n:")) != -1) {
		if (option == 'e')
			endpoint = optarg;
		else if (option == 'p')
			parallel = (size_t)atoi(optarg);
		else if (option == 's')
			range = (size_t)(atof(optarg) * 1048576);
		else if (option == 'n')
			total = (size_t)atoi(optarg) << 20;
		else
			return 2;
	}
	if (optind + 2 != argc || !parallel || !range)
		return 2;
	struct transfer *t = NULL;
	struct store *s = NULL;
	struct object_info info;
	struct err e = ERR_INIT;
	struct transfer_config config = { .max_connections_per_store = (unsigned)parallel };
	if (transfer_start(&config, &t, &e) || store_open(t, "bench", argv[optind], endpoint, NULL, &s, &e) ||
	    store_head(s, argv[optind + 1], &info, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	if (info.size < range) {
		fprintf(stderr, "the object is smaller than a range\n");
		return 1;
	}
	struct slot *slots = calloc(parallel, sizeof *slots);
	for (size_t i = 0; slots && i < parallel; i++)
		slots[i].bytes = malloc(range);
	double cpu = cpu_s();
	int64_t from = clock_mono_ns();
	uint64_t offset = 0;
	size_t asked = 0;
	int failed = 0;
	pthread_mutex_lock(&lock);
	for (; asked < total && !failed; asked += range) {
		struct slot *x = free_slot(slots, parallel);
		if (offset + range > info.size)
			offset = 0;
		x->busy = true;
		x->got = 0;
		pthread_mutex_unlock(&lock);
		struct fetch_request q = { .key = argv[optind + 1], .offset = offset, .length = range, .on_data = on_data, .on_done = on_done, .arg = x };
		failed = store_fetch(s, &q, NULL, &e);
		pthread_mutex_lock(&lock);
		x->busy &= !failed;
		offset += range;
	}
	for (size_t i = 0; i < parallel; i++) {
		while (slots[i].busy)
			pthread_cond_wait(&ended, &lock);
		if (slots[i].code) {
			failed = slots[i].code;
			e = slots[i].e;
		}
	}
	pthread_mutex_unlock(&lock);
	double seconds = (double)(clock_mono_ns() - from) / 1e9, mib = (double)asked / 1048576;
	if (failed)
		fprintf(stderr, "%s\n", e.text);
	else
		printf("%.0f MiB/s  %.2f CPU-s/GiB  (%zu x %zu KiB ranges, %zu in flight)\n", mib / seconds, (cpu_s() - cpu) / (mib / 1024),
		       asked / range, range >> 10, parallel);
	store_free(s);
	transfer_stop(t);
	for (size_t i = 0; i < parallel; i++)
		free(slots[i].bytes);
	free(slots);
	return failed ? 1 : 0;
}
