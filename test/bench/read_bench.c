/*
 * read_bench MESH.YAML ADDRESS [CACHE-FOLDER [THREADS]]: how fast the read path is without a kernel in between.
 *
 * ADDRESS names a version (all its files are read) or one file of it.  Prints a cold pass (the cache folder should be empty) and a warm one:
 * MiB/s, files/s, CPU seconds a GiB, requests to the store, peak memory.  Each thread takes the next file and reads it in 128 KiB steps;
 * a single file is read by one thread.  With no address: the rates of the hashes alone.
 */
#include "catalog/address.h"
#include "catalog/base/clock.h"
#include "catalog/domain.h"
#include "catalog/mesh.h"
#include "fs/content.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define STEP (128u << 10)

struct item {
	struct manifest_entry entry;
	char *path;
};

struct bench {
	struct reader *reader;
	struct domain *domain;
	struct manifest *manifest;
	const char *only;
	struct item *items;
	size_t count, cap;
	_Atomic size_t next;
	_Atomic uint64_t bytes;
	_Atomic int failures;
};

static int add(void *arg, const struct manifest_entry *entry, const char *path)
{
	struct bench *b = arg;
	if (entry->kind != ENTRY_FILE || (*b->only && strcmp(b->only, path) != 0))
		return 0;
	if (b->count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 1024;
		b->items = realloc(b->items, b->cap * sizeof *b->items);
	}
	b->items[b->count++] = (struct item){ *entry, strdup(path) };
	return 0;
}

struct one {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int code;
	size_t len;
};

static void on_bytes(void *arg, int code, const struct iovec *parts, size_t count, size_t len)
{
	struct one *x = arg;
	(void)parts;
	(void)count;
	pthread_mutex_lock(&x->lock);
	x->code = code;
	x->len = len;
	x->done = true;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

static void read_item(struct bench *b, const struct item *i)
{
	struct content *c;
	struct err e = ERR_INIT;
	if (content_get(b->reader, b->domain, b->manifest, &i->entry, i->path, NULL, &c, &e)) {
		fprintf(stderr, "%s\n", e.text);
		b->failures++;
		return;
	}
	struct one x = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	for (uint64_t at = 0; at < i->entry.size; at += x.len) {
		x.done = false;
		content_read(c, at, STEP, on_bytes, &x, NULL);
		pthread_mutex_lock(&x.lock);
		while (!x.done)
			pthread_cond_wait(&x.wake, &x.lock);
		pthread_mutex_unlock(&x.lock);
		if (x.code || !x.len) {
			fprintf(stderr, "%s: %d at %llu\n", i->path, x.code, (unsigned long long)at);
			b->failures++;
			break;
		}
		b->bytes += x.len;
	}
	content_unref(c);
}

static void *work(void *arg)
{
	struct bench *b = arg;
	for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->count;)
		read_item(b, &b->items[i]);
	return NULL;
}

static double cpu_seconds(const struct rusage *u)
{
	return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) + (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e6;
}

static void pass(struct bench *b, const char *label, unsigned threads)
{
	pthread_t ids[64];
	struct rusage before, after;
	struct reader_stats s0, s1;
	b->next = 0;
	b->bytes = 0;
	getrusage(RUSAGE_SELF, &before);
	reader_stats(b->reader, &s0);
	int64_t start = clock_mono_ns();
	for (unsigned i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, work, b);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	double seconds = (double)(clock_mono_ns() - start) / 1e9, gib = (double)b->bytes / (1 << 30);
	getrusage(RUSAGE_SELF, &after);
	reader_stats(b->reader, &s1);
	printf("%-5s %8.0f MiB/s %9.0f files/s %6.2f CPU-s/GiB  %6llu waits  %5ld MiB peak  %d failed\n", label, gib * 1024 / seconds,
	       (double)b->count / seconds, (cpu_seconds(&after) - cpu_seconds(&before)) / (gib > 0 ? gib : 1),
	       (unsigned long long)(s1.misses - s0.misses), after.ru_maxrss / 1024, b->failures);
}

static void hash_rates(void)
{
	size_t n = 1 << 20;
	unsigned char *x = calloc(2, n);
	struct digest a, b;
	int64_t start = clock_mono_ns();
	for (int i = 0; i < 512; i++)
		sha256_of(x, n, &a);
	int64_t plain = clock_mono_ns() - start;
	start = clock_mono_ns();
	for (int i = 0; i < 256; i++)
		sha256_pair(x, n, x + n, n, &a, &b);
	int64_t pair = clock_mono_ns() - start;
	printf("SHA-256: %.0f MiB/s, in pairs %.0f MiB/s\n", 512e9 / (double)plain, 512e9 / (double)pair);
	free(x);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		hash_rates();
		return 0;
	}
	struct err e = ERR_INIT;
	struct mesh_config *mesh;
	struct transfer *t;
	struct address a;
	struct snapshot *s;
	struct version_info v;
	struct bench b = { 0 };
	const struct mesh_domain *d;
	if (mesh_open(argv[1], &mesh, &e) || address_parse(argv[2], &a, &e) || mesh_domain_get(mesh, a.domain, &d, &e) ||
	    transfer_start(NULL, &t, &e) || domain_open(mesh, d, t, &b.domain, &e) || domain_refresh(b.domain, NULL, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	s = domain_snapshot(b.domain);
	if (!s || snapshot_version(s, a.product, a.version, &v) || domain_manifest(b.domain, a.product, &v, &b.manifest, &e)) {
		fprintf(stderr, "no such version; %s\n", e.text);
		return 1;
	}
	b.only = a.path;
	manifest_walk(b.manifest, add, &b);
	struct reader_config config = { .cache_folder = argc > 3 ? argv[3] : mesh->cache_folder, .cache_limit_bytes = mesh->cache_limit_bytes };
	if (reader_start(&config, t, &b.reader, &e)) {
		fprintf(stderr, "%s\n", e.text);
		return 1;
	}
	unsigned threads = argc > 4 ? (unsigned)atoi(argv[4]) : 1;
	if (threads < 1 || threads > 64)
		threads = 1;
	pass(&b, "cold", threads);
	pass(&b, "warm", threads);
	reader_stop(b.reader);
	return b.failures ? 1 : 0;
}
