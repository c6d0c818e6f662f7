#include "catalog/verify.h"

#include "catalog/base/clock.h"
#include "catalog/base/pool.h"
#include "catalog/base/text.h"
#include "catalog/heads.h"
#include "catalog/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOB_FILES 256
#define JOB_BYTES (64u << 20)
#define WINDOW (4u << 20) /* bytes of a pack fetched at once: neighbours come with one request */
#define CHUNKS_STEP 64

struct verify {
	struct domain *domain;
	const struct verify_options *options;
	const char *product, *version;
	struct manifest *manifest;
	struct pool *pool;
	pthread_mutex_t lock; /* guards what follows */
	struct verify_counts counts;
	struct err error; /* what stopped it */
};

struct target {
	struct manifest_entry entry;
	char *path;
};

/* A run of neighbouring files, verified by one worker. */
struct job {
	struct verify *v;
	struct target files[JOB_FILES];
	size_t count;
	uint64_t bytes;
};

/* What a worker holds: the last range of a pack. */
struct window {
	struct manifest_pack pack;
	uint32_t number; /* 0: none */
	uint64_t offset;
	size_t len, cap;
	unsigned char *bytes;
	struct codec *codec;
	unsigned char *raw; /* an unpacked chunk */
	size_t raw_cap;
};

static void stop(struct verify *v, int code, const struct err *e)
{
	pthread_mutex_lock(&v->lock);
	if (!v->error.code) {
		if (e && e->code)
			v->error = *e;
		else
			err_set(&v->error, code, "%s/%s: cannot be verified: %s", v->product, v->version, strerror(-code));
	}
	pthread_mutex_unlock(&v->lock);
}

static bool stopped(struct verify *v)
{
	if (v->options->interrupted && atomic_load(v->options->interrupted)) {
		struct err e = ERR_INIT;
		err_set(&e, -EINTR, "interrupted");
		stop(v, -EINTR, &e);
	}
	pthread_mutex_lock(&v->lock);
	const bool is = v->error.code;
	pthread_mutex_unlock(&v->lock);
	return is;
}

static void problem(struct verify *v, const char *path, int64_t chunk, const char *what)
{
	const struct verify_problem p = { v->product, v->version, path, chunk, what };
	pthread_mutex_lock(&v->lock);
	v->counts.problems++;
	if (v->options->problem)
		v->options->problem(v->options->arg, &p);
	pthread_mutex_unlock(&v->lock);
}

/* -- chunks --------------------------------------------------------------------------------- */

static int grow(unsigned char **bytes, size_t *cap, size_t need)
{
	if (need <= *cap)
		return 0;
	free(*bytes);
	*cap = 0;
	*bytes = malloc(need);
	if (!*bytes)
		return -ENOMEM;
	*cap = need;
	return 0;
}

/* The chunk's stored bytes, in the window.  `ret_what`: why they cannot be had (a problem); else an error. */
static int stored_bytes(struct verify *v, struct window *w, const struct manifest_chunk *c, const unsigned char **ret, const char **ret_what,
			struct err *e)
{
	if (w->number != c->pack) {
		w->number = 0;
		int r = manifest_pack(v->manifest, c->pack, &w->pack);
		if (r) {
			*ret_what = "the manifest names a pack that it does not describe";
			return 0;
		}
		w->number = c->pack;
		w->len = 0;
	}
	if (c->pack_offset < w->offset || c->pack_offset + c->stored_length > w->offset + w->len || !w->len) {
		if (c->pack_offset > w->pack.size || c->stored_length > w->pack.size - c->pack_offset) {
			*ret_what = "the chunk lies outside its pack";
			return 0;
		}
		uint64_t n = w->pack.size - c->pack_offset;
		n = n < WINDOW ? n : c->stored_length > WINDOW ? c->stored_length : WINDOW;
		int r = grow(&w->bytes, &w->cap, n > WINDOW ? (size_t)n : WINDOW);
		w->len = 0;
		const char *etag = w->pack.in_place ? w->pack.etag : NULL;
		if (!r)
			r = store_get_range(domain_store(v->domain), w->pack.key, c->pack_offset, (size_t)n, etag, w->bytes, e);
		if ((r == -EBADMSG || r == -ENODATA || r == -ERANGE) && n > c->stored_length) { /* is it this chunk that is cut off? */
			n = c->stored_length;
			r = store_get_range(domain_store(v->domain), w->pack.key, c->pack_offset, (size_t)n, etag, w->bytes, e);
		}
		if (r == -ENOENT)
			*ret_what = w->pack.in_place ? "the object registered in place is gone" : "its pack is gone";
		else if (r == -ESTALE)
			*ret_what = "the object registered in place has changed";
		else if (r == -EBADMSG || r == -ENODATA || r == -ERANGE)
			*ret_what = "its pack is shorter than it should be";
		else if (r)
			return r;
		if (r)
			return 0;
		w->offset = c->pack_offset;
		w->len = (size_t)n;
	}
	*ret = w->bytes + (c->pack_offset - w->offset);
	return 0;
}

static int check_chunk(struct verify *v, struct window *w, const struct manifest_chunk *c, const unsigned char **ret, const char **ret_what,
		       struct err *e)
{
	const unsigned char *stored = NULL;
	struct leaf leaves[LEAVES_MAX];
	struct digest digest;
	struct xxh128 hash;
	int r = stored_bytes(v, w, c, &stored, ret_what, e);
	if (r || *ret_what)
		return r;
	if (c->codec != CODEC_RAW) {
		r = grow(&w->raw, &w->raw_cap, c->length);
		if (!r)
			r = codec_unpack(w->codec, c->codec, stored, c->stored_length, w->raw, c->length);
		if (r == -EBADMSG) {
			*ret_what = "its stored bytes cannot be unpacked";
			return 0;
		}
		stored = w->raw;
	}
	if (r)
		return r;
	chunk_digest_of(stored, c->length, leaves, &digest);
	xxh128_of(stored, c->length, &hash);
	if (!digest_equal(&digest, &c->digest))
		*ret_what = "its bytes do not match their digest";
	else if (memcmp(&hash, &c->hash, sizeof hash) != 0)
		*ret_what = "the manifest holds a wrong XXH3-128 for it";
	*ret = stored;
	return 0;
}

/* Do the leaves that the manifest holds give the chunk's digest?  Then they are those of its bytes, which gave it too. */
static int check_leaves(struct verify *v, const struct target *t, uint32_t index, const struct manifest_chunk *c, const char **ret_what)
{
	struct leaf leaves[LEAVES_MAX];
	int r = manifest_leaves(v->manifest, t->entry.row, index, c, leaves);
	if (r == -EBADMSG)
		*ret_what = "the manifest holds wrong leaves for it";
	return r == -EBADMSG ? 0 : r;
}

/* -- files ---------------------------------------------------------------------------------- */

static int check_chunks(struct verify *v, struct window *w, const struct target *t, struct sha256 *content, struct xxh128_state *whole,
			const char **ret_what, int64_t *ret_chunk, struct err *e)
{
	struct manifest_chunk chunks[CHUNKS_STEP];
	for (uint32_t at = 0; at < t->entry.chunk_count;) {
		const uint32_t left = t->entry.chunk_count - at, n = left < CHUNKS_STEP ? left : CHUNKS_STEP;
		int r = manifest_chunks(v->manifest, t->entry.row, at, n, chunks);
		if (r == -EBADMSG) {
			*ret_what = "the manifest describes its chunks wrongly";
			return 0;
		}
		for (uint32_t i = 0; i < n && !r; i++) {
			const unsigned char *bytes = NULL;
			*ret_chunk = (int64_t)at + i;
			r = stopped(v) ? -EINTR : check_chunk(v, w, &chunks[i], &bytes, ret_what, e);
			if (!r && !*ret_what)
				r = check_leaves(v, t, at + i, &chunks[i], ret_what);
			if (r || *ret_what)
				return r;
			sha256_update(content, chunks[i].digest.bytes, SHA256_SIZE);
			xxh128_update(whole, bytes, chunks[i].length);
			progress_add(v->options->progress, chunks[i].length);
		}
		if (r)
			return r;
		at += n;
	}
	*ret_chunk = -1;
	return 0;
}

static int check_file(struct verify *v, struct window *w, const struct target *t, struct err *e)
{
	struct sha256 *content = sha256_new();
	struct xxh128_state *whole = xxh128_new();
	const char *what = NULL;
	int64_t chunk = -1;
	struct digest digest;
	struct xxh128 hash;
	int r = content && whole ? check_chunks(v, w, t, content, whole, &what, &chunk, e) : -ENOMEM;
	if (!r && !what) {
		sha256_final(content, &digest);
		xxh128_final(whole, &hash);
		if (!digest_equal(&digest, &t->entry.content))
			what = "the manifest holds a wrong content digest for it";
		else if (memcmp(&hash, &t->entry.hash, sizeof hash) != 0)
			what = "the whole file does not match its XXH3-128";
	}
	if (!r && what)
		problem(v, t->path, chunk, what);
	sha256_free(content);
	xxh128_free(whole);
	return r;
}

static void job_free(struct job *j)
{
	for (size_t i = 0; i < j->count; i++)
		free(j->files[i].path);
	free(j);
}

static void job_run(void *arg)
{
	struct job *j = arg;
	struct verify *v = j->v;
	struct window w = { .codec = codec_new() };
	struct verify_counts done = { 0 };
	struct err e = ERR_INIT;
	int r = w.codec ? 0 : -ENOMEM;
	for (size_t i = 0; i < j->count && !r && !stopped(v); i++) {
		r = check_file(v, &w, &j->files[i], &e);
		done.files++;
		done.chunks += j->files[i].entry.chunk_count;
		done.bytes += j->files[i].entry.size;
	}
	if (r)
		stop(v, r, &e);
	pthread_mutex_lock(&v->lock);
	v->counts.files += done.files;
	v->counts.chunks += done.chunks;
	v->counts.bytes += done.bytes;
	pthread_mutex_unlock(&v->lock);
	codec_free(w.codec);
	free(w.bytes);
	free(w.raw);
	job_free(j);
}

/* -- a version ------------------------------------------------------------------------------ */

struct planner {
	struct verify *v;
	struct job *job;
	int code;
};

static void submit(struct planner *p)
{
	struct job *j = p->job;
	p->job = NULL;
	if (j && pool_submit(p->v->pool, 0, job_run, j)) {
		job_free(j);
		p->code = -ENOMEM;
	}
}

static bool is_wanted(const char *only, const char *path)
{
	const size_t n = only ? strlen(only) : 0;
	return !n || (!strncmp(path, only, n) && (path[n] == '/' || !path[n]));
}

static int plan_entry(void *arg, const struct manifest_entry *en, const char *path)
{
	struct planner *p = arg;
	if (stopped(p->v) || p->code)
		return 1;
	if (!is_wanted(p->v->options->path, path))
		return 0;
	if (en->kind == ENTRY_SYMLINK) {
		struct buf target = BUF_INIT;
		if (manifest_link(p->v->manifest, en->row, &target))
			problem(p->v, path, -1, "the symlink is broken, or leads out of the version");
		buf_free(&target);
	}
	if (en->kind != ENTRY_FILE)
		return 0;
	if (p->job && (p->job->count == JOB_FILES || p->job->bytes + en->size > JOB_BYTES))
		submit(p);
	if (!p->job && !(p->job = calloc(1, sizeof *p->job))) {
		p->code = -ENOMEM;
		return 1;
	}
	p->job->v = p->v;
	char *copy = strdup(path);
	if (!copy) {
		p->code = -ENOMEM;
		return 1;
	}
	p->job->files[p->job->count++] = (struct target){ *en, copy };
	p->job->bytes += en->size;
	return 0;
}

/* The manifest as the store holds it now, in a scratch file.  0; 1 when it is broken (told as a problem); or -errno. */
static int fetch_manifest(struct verify *v, const struct version_info *info, const char *scratch, struct err *e)
{
	char key[HEADS_KEY_SIZE];
	struct err own = ERR_INIT;
	struct digest actual;
	char bytes[65536];
	manifest_key(&info->manifest, key);
	int r = store_get_file(domain_store(v->domain), key, scratch, NULL, &own);
	if (r == -ENOENT) {
		problem(v, NULL, -1, "its manifest is gone");
		return 1;
	}
	if (r)
		return err_move(e, &own);
	int fd = open(scratch, O_RDONLY | O_CLOEXEC);
	struct sha256 *h = sha256_new();
	ssize_t n = -1;
	while (fd >= 0 && h && (n = read(fd, bytes, sizeof bytes)) > 0)
		sha256_update(h, bytes, (size_t)n);
	if (!n)
		sha256_final(h, &actual);
	if (fd >= 0)
		close(fd);
	sha256_free(h);
	if (n)
		return err_set(e, -EIO, "%s: cannot read the scratch file", scratch);
	if (!digest_equal(&actual, &info->manifest)) {
		problem(v, NULL, -1, "its manifest does not match its SHA-256");
		return 1;
	}
	r = manifest_open(scratch, domain_name(v->domain), v->product, v->version, &v->manifest, &own);
	if (r == -EBADMSG) {
		problem(v, NULL, -1, "its manifest is broken");
		return 1;
	}
	return r ? err_move(e, &own) : 0;
}

static int verify_files(struct verify *v)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct planner p = { .v = v };
	v->pool = pool_new("mesh-verify", cpus < 1 ? 1 : cpus > 16 ? 16 : (unsigned)cpus, 4);
	if (!v->pool)
		return -ENOMEM;
	int r = manifest_walk(v->manifest, plan_entry, &p);
	if (!r && !p.code)
		submit(&p);
	pool_free(v->pool);
	if (p.job)
		job_free(p.job);
	if (r == -EBADMSG) {
		problem(v, NULL, -1, "its manifest is broken");
		r = 0;
	}
	return r ? r : p.code;
}

int verify_version(struct domain *d, const char *product, const struct version_info *info, const struct verify_options *o,
		   struct verify_counts *counts, struct err *e)
{
	struct verify v = { .domain = d, .options = o, .product = product, .version = info->version };
	char *scratch = text_format("%s/tmp/verify.%d.%lld", domain_cache_folder(d), (int)getpid(), (long long)clock_mono_ns());
	if (!scratch)
		return err_set(e, -ENOMEM, "no memory");
	pthread_mutex_init(&v.lock, NULL);
	int r = fetch_manifest(&v, info, scratch, e);
	if (!r) {
		r = verify_files(&v);
		if (v.error.code)
			r = err_move(e, &v.error);
		else if (r)
			err_set(e, r, "%s/%s/%s: cannot be verified: %s", domain_name(d), product, info->version, strerror(-r));
	}
	manifest_unref(v.manifest);
	unlink(scratch);
	free(scratch);
	pthread_mutex_destroy(&v.lock);
	counts->files += v.counts.files;
	counts->chunks += v.counts.chunks;
	counts->bytes += v.counts.bytes;
	counts->problems += v.counts.problems;
	return r < 0 ? r : 0;
}
