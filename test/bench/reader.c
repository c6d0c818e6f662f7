/*
 * reader: what a program does to files, timed, one number on stdout.  All times are of the monotonic clock.
 *
 *   reader seq FILE [BLOCK]                     MiB/s, open and close included
 *   reader random FILE BLOCK THREADS SECONDS    reads/s at random multiples of BLOCK, over and over
 *   reader distinct FILE BLOCK COUNT SEED       reads/s of COUNT different blocks in random order, each once
 *   reader first FILE                           ms from before open until 4 KiB are here
 *   reader epoch FOLDER THREADS SECONDS [MAX [PASSES]]   files/s: all files (at most MAX, at most SECONDS) whole, in random order, PASSES times;
 *                                               finding them is not timed
 *   reader stat FOLDER                          lstat/s of every file, the second time
 *   reader sum FOLDER                           bytes of all files, read one by one (a first complete pass)
 */
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (128u << 10)
#define THREADS_MAX 64

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s * 0x2545F4914F6CDD1DULL;
}

static void *block_new(size_t size)
{
	void *b = NULL;
	if (posix_memalign(&b, 4096, size))
		die("memory");
	memset(b, 0, size); /* page faults are not what is measured */
	return b;
}

static uint64_t read_whole(const char *path, void *block, size_t size)
{
	int fd = open(path, O_RDONLY);
	uint64_t sum = 0;
	ssize_t n;
	if (fd < 0)
		die(path);
	while ((n = read(fd, block, size)) > 0)
		sum += (uint64_t)n;
	if (n < 0)
		die(path);
	close(fd);
	return sum;
}

static void run_seq(const char *path, size_t size)
{
	void *block = block_new(size);
	double start = now();
	uint64_t bytes = read_whole(path, block, size);
	printf("%.2f\n", (double)bytes / (1 << 20) / (now() - start));
	free(block);
}

static void run_first(const char *path)
{
	char block[4096];
	double start = now();
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, block, sizeof block) <= 0)
		die(path);
	printf("%.4f\n", (now() - start) * 1e3);
	close(fd);
}

static struct {
	int fd;
	size_t block;
	uint64_t blocks;
	double end;
	_Atomic uint64_t done;
} rnd;

static void *random_thread(void *arg)
{
	uint64_t state = (uintptr_t)arg * 0x9E3779B97F4A7C15ULL | 1, done = 0;
	void *block = block_new(rnd.block);
	while ((done & 15) || now() < rnd.end) {
		if (pread(rnd.fd, block, rnd.block, (off_t)(next_random(&state) % rnd.blocks * rnd.block)) != (ssize_t)rnd.block)
			die("pread");
		done++;
	}
	atomic_fetch_add(&rnd.done, done);
	free(block);
	return NULL;
}

static void open_blocks(const char *path, size_t block)
{
	struct stat st;
	rnd.fd = open(path, O_RDONLY);
	if (rnd.fd < 0 || fstat(rnd.fd, &st) || !block || (size_t)st.st_size < block)
		die(path);
	rnd.block = block;
	rnd.blocks = (uint64_t)st.st_size / block;
}

static void in_threads(int count, void *(*run)(void *))
{
	pthread_t threads[THREADS_MAX];
	count = count < 1 ? 1 : count > THREADS_MAX ? THREADS_MAX : count;
	for (int i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)(uintptr_t)(i + 1)))
			die("thread");
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
}

static void run_random(const char *path, size_t block, int threads, double seconds)
{
	open_blocks(path, block);
	double start = now();
	rnd.end = start + seconds;
	in_threads(threads, random_thread);
	printf("%.1f\n", (double)rnd.done / (now() - start));
	close(rnd.fd);
}

static void shuffle(uint64_t *order, uint64_t count, uint64_t seed)
{
	uint64_t state = seed * 0x9E3779B97F4A7C15ULL | 1;
	for (uint64_t i = 0; i < count; i++)
		order[i] = i;
	for (uint64_t i = count; i > 1; i--) {
		uint64_t j = next_random(&state) % i, t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

static void run_distinct(const char *path, size_t size, uint64_t count, uint64_t seed)
{
	open_blocks(path, size);
	uint64_t *order = calloc(rnd.blocks, sizeof *order);
	void *block = block_new(size);
	if (!order)
		die("memory");
	shuffle(order, rnd.blocks, seed);
	count = count < rnd.blocks ? count : rnd.blocks;
	double start = now();
	for (uint64_t i = 0; i < count; i++)
		if (pread(rnd.fd, block, size, (off_t)(order[i] * size)) != (ssize_t)size)
			die("pread");
	printf("%.1f\n", (double)count / (now() - start));
	close(rnd.fd);
	free(order);
	free(block);
}

static char **files;
static size_t file_count, file_cap, file_max = SIZE_MAX, passes = 1;
static uint64_t *order;
static _Atomic size_t next_file, files_done;
static double cap_at;

static int add_file(const char *path, const struct stat *st, int kind, struct FTW *w)
{
	(void)st;
	(void)w;
	if (kind != FTW_F)
		return 0;
	if (file_count == file_cap) {
		file_cap = file_cap ? 2 * file_cap : 4096;
		files = realloc(files, file_cap * sizeof *files);
	}
	if (!files || !(files[file_count++] = strdup(path)))
		die("memory");
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* By name, whatever order the file system lists them in, so that all file systems read the same ones. */
static void find_files(const char *folder)
{
	if (nftw(folder, add_file, 64, FTW_PHYS) || !file_count)
		die(folder);
	qsort(files, file_count, sizeof *files, by_name);
	if (file_count > file_max)
		file_count = file_max;
}

static void *epoch_thread(void *arg)
{
	(void)arg;
	void *block = block_new(BLOCK);
	size_t i;
	while ((i = atomic_fetch_add(&next_file, 1)) < file_count * passes && now() < cap_at) {
		read_whole(files[order[i % file_count]], block, BLOCK);
		atomic_fetch_add(&files_done, 1);
	}
	free(block);
	return NULL;
}

static void run_epoch(const char *folder, int threads, double seconds)
{
	find_files(folder);
	order = calloc(file_count, sizeof *order);
	if (!order)
		die("memory");
	shuffle(order, file_count, 7);
	double start = now();
	cap_at = start + seconds;
	in_threads(threads, epoch_thread);
	printf("%.1f\n", (double)files_done / (now() - start));
}

static void run_stat(const char *folder)
{
	struct stat st;
	double took = 0;
	find_files(folder);
	for (int round = 0; round < 2; round++) {
		double start = now();
		for (size_t i = 0; i < file_count; i++)
			if (lstat(files[i], &st))
				die(files[i]);
		took = now() - start;
	}
	printf("%.0f\n", (double)file_count / took);
}

static void run_sum(const char *folder)
{
	void *block = block_new(BLOCK);
	uint64_t bytes = 0;
	find_files(folder);
	for (size_t i = 0; i < file_count; i++)
		bytes += read_whole(files[i], block, BLOCK);
	printf("%llu\n", (unsigned long long)bytes);
	free(block);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
	double n[4] = { 0 };
	for (int i = 3; i < argc && i < 7; i++)
		n[i - 3] = atof(argv[i]);
	if (!strcmp(what, "seq"))
		run_seq(path, argc > 3 ? (size_t)n[0] : BLOCK);
	else if (!strcmp(what, "first"))
		run_first(path);
	else if (!strcmp(what, "random") && argc == 6)
		run_random(path, (size_t)n[0], (int)n[1], n[2]);
	else if (!strcmp(what, "distinct") && argc == 6)
		run_distinct(path, (size_t)n[0], (uint64_t)n[1], (uint64_t)n[2]);
	else if (!strcmp(what, "epoch") && argc >= 5) {
		file_max = argc > 5 ? (size_t)n[2] : SIZE_MAX;
		passes = argc > 6 ? (size_t)n[3] : 1;
		run_epoch(path, (int)n[0], n[1]);
	} else if (!strcmp(what, "stat"))
		run_stat(path);
	else if (!strcmp(what, "sum"))
		run_sum(path);
	else {
		fprintf(stderr, "usage: reader seq|random|distinct|first|epoch|stat|sum PATH …\n");
		return 2;
	}
	return 0;
}
