/*
 * A client that logs what it opened: opener ROOT LOG FILES OPENS PROCESSES THREADS
 *
 * Forks PROCESSES, each of which opens files at random in THREADS threads until together they have OPENS, or until an open fails; beside them, one after the other,
 * processes that open a few files and end.  Each process appends what was answered to LOG when it ends: lines of "file count".  A file's name is NN/NNNNN.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES_MAX 100000
#define SHORT_OPENS 12

static const char *root, *log_path;
static unsigned files;

struct worker {
	pthread_t thread;
	uint64_t seed, opens;
	uint32_t *counts;
};

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return *state >> 33;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	char path[4096], byte;
	for (uint64_t i = 0; i < w->opens; i++) {
		uint64_t random = next_random(&w->seed);
		unsigned file = (unsigned)(random % files);
		snprintf(path, sizeof path, "%s/%02u/%05u", root, file % 100, file);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			break; /* the mount is gone */
		w->counts[file]++;
		if (random >> 20 & 1 && read(fd, &byte, 1) < 0 && errno == EFAULT)
			abort();
		close(fd);
	}
	return NULL;
}

static void append_log(const uint32_t *counts)
{
	int fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	FILE *f = fd < 0 || flock(fd, LOCK_EX) ? NULL : fdopen(fd, "a");
	if (!f)
		abort();
	for (unsigned i = 0; i < files; i++)
		if (counts[i])
			fprintf(f, "%02u/%05u %u\n", i % 100, i, counts[i]);
	if (fclose(f))
		abort();
}

static void live(uint64_t seed, unsigned threads, uint64_t opens)
{
	struct worker *workers = calloc(threads, sizeof *workers);
	uint32_t *sum = calloc(files, sizeof *sum);
	if (!workers || !sum)
		abort();
	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){ .seed = seed * 1000 + i, .opens = opens / threads, .counts = calloc(files, sizeof(uint32_t)) };
		if (!workers[i].counts || pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			abort();
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(workers[i].thread, NULL);
		for (unsigned k = 0; k < files; k++)
			sum[k] += workers[i].counts[k];
	}
	append_log(sum);
	_exit(0);
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return 2;
	root = argv[1];
	log_path = argv[2];
	files = (unsigned)atoi(argv[3]);
	uint64_t opens = strtoull(argv[4], NULL, 10);
	unsigned processes = (unsigned)atoi(argv[5]), threads = (unsigned)atoi(argv[6]), alive = processes;
	if (!files || files > FILES_MAX || !processes || !threads)
		return 2;
	for (unsigned i = 0; i < processes; i++)
		if (!fork())
			live((uint64_t)getpid(), threads, opens / processes);
	pid_t short_one = -1, done;
	while (alive) {
		if (short_one < 0 && !(short_one = fork()))
			live((uint64_t)getpid(), 1, 1 + (unsigned)getpid() % SHORT_OPENS);
		int status;
		done = wait(&status);
		if (done < 0 || status)
			return 1;
		if (done == short_one)
			short_one = -1;
		else
			alive--;
	}
	if (short_one > 0)
		waitpid(short_one, NULL, 0);
	return 0;
}
