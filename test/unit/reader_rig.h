/* What tests of the read path share: a reader over the mesh of fake_mesh.h, and reads that wait and compare. */
#ifndef MESHFS_TEST_READER_RIG_H
#define MESHFS_TEST_READER_RIG_H

#include "catalog/base/io.h"
#include "fs/content.h"
#include "test/unit/fake_mesh.h"

/* A reader over a fake domain with its cache in a folder of its own. */
struct rig {
	struct manifest *m;
	struct domain d;
	struct reader *r;
	char folder[64];
	struct reader_config config;
};

static inline void rig_start(struct rig *g)
{
	struct err e = ERR_INIT;
	g->config.cache_folder = g->folder;
	if (!g->config.cache_limit_bytes)
		g->config.cache_limit_bytes = 1u << 30;
	if (reader_start(&g->config, NULL, &g->r, &e))
		abort();
}

static inline void rig_open(struct rig *g)
{
	strcpy(g->folder, "/tmp/meshfs-test-XXXXXX");
	if (!mkdtemp(g->folder))
		abort();
	if (!g->m)
		g->m = fake_manifest_new();
	strcpy(g->d.name, "sales");
	g->d.store = fake_store_new(g->m, 3);
	rig_start(g);
}

static inline void rig_close(struct rig *g)
{
	reader_stop(g->r);
	fake_store_free(g->d.store);
	fake_manifest_free(g->m);
	io_remove_tree(g->folder, NULL);
}

struct result {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	const unsigned char *want;
	size_t len;
	int code, calls;
	bool same;
};

static inline bool same_bytes(const unsigned char *want, const struct iovec *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (memcmp(parts[i].iov_base, want, parts[i].iov_len) != 0)
			return false;
		want += parts[i].iov_len;
	}
	return true;
}

static inline void on_bytes(void *arg, int code, const struct iovec *parts, size_t count, size_t len)
{
	struct result *x = arg;
	pthread_mutex_lock(&x->lock);
	x->code = code;
	x->len = len;
	x->same = !code && (!x->want || same_bytes(x->want, parts, count));
	x->calls++;
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

static inline void result_init(struct result *x, const unsigned char *want)
{
	memset(x, 0, sizeof *x);
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->wake, NULL);
	x->want = want;
}

static inline void result_wait(struct result *x)
{
	pthread_mutex_lock(&x->lock);
	while (!x->calls)
		pthread_cond_wait(&x->wake, &x->lock);
	pthread_mutex_unlock(&x->lock);
}

/* Reads and compares; the number of bytes or a negative errno; -EILSEQ when they differ. */
static inline long read_at(struct content *c, const struct fake_file *f, uint64_t offset, size_t len)
{
	struct result x;
	result_init(&x, offset < f->entry.size ? f->bytes + offset : NULL);
	content_read(c, offset, len, on_bytes, &x, NULL);
	result_wait(&x);
	return x.code ? x.code : x.same ? (long)x.len : -EILSEQ;
}

static inline struct content *get(struct rig *g, unsigned file)
{
	struct content *c = NULL;
	struct err e = ERR_INIT;
	struct fake_file *f = &g->m->files[file];
	if (content_get(g->r, &g->d, g->m, &f->entry, f->path, NULL, &c, &e))
		printf("content_get: %s\n", e.text);
	return c;
}

static inline long read_whole(struct content *c, const struct fake_file *f, size_t step)
{
	for (uint64_t at = 0; at < f->entry.size; at += step) {
		size_t n = f->entry.size - at < step ? (size_t)(f->entry.size - at) : step;
		long got = read_at(c, f, at, step);
		if (got != (long)n)
			return got < 0 ? got : -EPIPE;
	}
	return 0;
}

#endif
