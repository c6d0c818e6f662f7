/* What tests of views in the read path share: the transforms of fake_mesh.h, what they must give, and waiting for it. */
#ifndef MESHFS_TEST_VIEW_RIG_H
#define MESHFS_TEST_VIEW_RIG_H

#include "test/unit/reader_rig.h"

static inline struct transform *transform_named(const char *text)
{
	struct transform *t = calloc(1, sizeof *t);
	t->refs = 1;
	t->text = (char *)text;
	sha256_of(text, strlen(text), &t->hash);
	return t;
}

/* What the view must look like, as a file to compare with. */
static inline struct fake_file derived_of(const struct fake_file *f, const char *text)
{
	struct fake_file d = { .bytes = malloc(f->entry.size * 3 + 1) };
	size_t n = 0;
	if (!strcmp(text, "segments")) {
		for (uint64_t at = 0; at + 400 <= f->entry.size; at += 400, n += 1000) {
			memcpy(d.bytes + n, f->bytes + at, 400);
			memset(d.bytes + n + 400, 0, 300);
			memset(d.bytes + n + 700, 'x', 300);
		}
	} else {
		for (uint64_t i = 0; i < f->entry.size; i++) {
			if (!strcmp(text, "whole"))
				d.bytes[n++] = f->bytes[i] ^ 1;
			else if (f->bytes[i] != 'a')
				d.bytes[n++] = f->bytes[i];
		}
	}
	d.entry.size = n;
	return d;
}

struct asked {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int code, calls;
	char reason[256];
};

static inline void on_ready(void *arg, int code, const char *reason)
{
	struct asked *x = arg;
	pthread_mutex_lock(&x->lock);
	x->code = code;
	x->calls++;
	snprintf(x->reason, sizeof x->reason, "%s", reason ? reason : "");
	pthread_cond_signal(&x->wake);
	pthread_mutex_unlock(&x->lock);
}

static inline int prepare(struct content *c, int64_t deadline_ms, char reason[256])
{
	struct asked x = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };
	int r = content_prepare(c, deadline_ms, on_ready, &x, NULL);
	if (r)
		return r;
	pthread_mutex_lock(&x.lock);
	while (!x.calls)
		pthread_cond_wait(&x.wake, &x.lock);
	pthread_mutex_unlock(&x.lock);
	if (reason)
		memcpy(reason, x.reason, 256);
	return x.code;
}

static inline struct content *get_view(struct rig *g, unsigned file, struct transform *t)
{
	struct content *c = NULL;
	struct err e = ERR_INIT;
	struct fake_file *f = &g->m->files[file];
	if (content_get(g->r, &g->d, g->m, &f->entry, f->path, t, &c, &e))
		printf("content_get: %s\n", e.text);
	return c;
}

#endif
