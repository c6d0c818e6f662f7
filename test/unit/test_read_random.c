/*
 * Reads at random against the bytes they must give: files of every awkward size whose chunks lie once for several places, views of them, two readers over
 * one cache, little memory, stores that fail, a cache that is evicted, removed and damaged under the readers, reboots.  A read gives the right bytes, or,
 * while something fails, an error.
 *
 * MESHFS_TEST_ROUNDS (2) rounds; MESHFS_TEST_SEED (1) of the first, each has the next.
 */
#include "catalog/base/log.h"
#include "fs/cache.h"
#include "test/unit/check.h"
#include "test/unit/view_rig.h"

#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#define READERS 4
#define READS 250

static const size_t sizes[] = { 0,	1,	17,	 4095,	  4096,	   65535,  65536,  65537,   131072,  262143,
				262144, 262145, 524289, 1048575, 1048576, 1048577, 2100000, 3000001 };
static const char *const view_names[] = { NULL, NULL, "chunk", "segments", "whole" };

enum { SIZES = sizeof sizes / sizeof sizes[0], VIEWS = sizeof view_names / sizeof view_names[0] };

static unsigned draw(unsigned *seed, unsigned below)
{
	return (unsigned)rand_r(seed) % below;
}

/* A file of chunks that others have, too: in any order, some of them twice, sometimes one of its own between them. */
static void add_file_of_known_chunks(struct manifest *m, unsigned *seed, size_t up_to, bool one_pack)
{
	struct fake_file *own = fake_add_file(m, 5000 + draw(seed, 5000), 3000, 64 << 20, false);
	struct fake_file *f = fake_add_file(m, 0, 1, 64 << 20, false);
	own = f - 1; /* the table moved */
	uint32_t count = 0, pack = 0;
	for (unsigned tries = 0; tries < 60 && count < 40; tries++) {
		const struct fake_file *from = draw(seed, 5) ? &m->files[draw(seed, m->file_count - 2)] : own;
		if (!from->entry.chunk_count || m->packs[from->chunks[0].pack - 1].info.in_place)
			continue;
		const struct manifest_chunk k = from->chunks[draw(seed, from->entry.chunk_count)];
		if (f->entry.size + k.length > up_to || (one_pack && pack && pack != k.pack))
			continue;
		pack = k.pack;
		f->chunks = realloc(f->chunks, (count + 1) * sizeof *f->chunks);
		f->bytes = realloc(f->bytes, f->entry.size + k.length);
		memcpy(f->bytes + f->entry.size, from->bytes + k.file_offset, k.length);
		f->chunks[count++] = k;
		f->entry.size += k.length;
	}
	xxh128_of(f->bytes, f->entry.size, &f->entry.hash);
	fake_seal_file(f, count);
}

/* An object of the store that was there before: one raw chunk after another, guarded by its tag. */
static void add_file_in_place(struct manifest *m, size_t size)
{
	unsigned pack = m->pack_count;
	m->packs[pack - 1].len += 1u << 30; /* full: what follows goes to a pack of its own */
	fake_add_file(m, size, 200000, 1u << 30, false);
	m->packs[pack - 1].len -= 1u << 30;
	struct manifest_pack *info = &m->packs[pack].info;
	info->in_place = true;
	info->slots = 0;
	info->raw_size = 0;
	strcpy(info->etag, "\"one\"");
}

static struct manifest *random_manifest(unsigned *seed)
{
	struct manifest *m = fake_manifest_new();
	static const uint32_t chunk_sizes[] = { 1000, 20000, 65536, 65537, 262144, 1048577 };
	for (unsigned i = 0; i < SIZES; i++) {
		const uint32_t chunk = chunk_sizes[draw(seed, 6)];
		fake_add_file(m, sizes[i], sizes[i] / chunk > 500 ? 65536 : chunk, 3 << 20, draw(seed, 2));
		m->files[m->file_count - 1].entry.aligned = draw(seed, 2);
	}
	for (unsigned i = 0; i < 6; i++)
		add_file_of_known_chunks(m, seed, i < 4 ? 900000 : 2500000, i < 4);
	add_file_in_place(m, 700001);
	return m;
}

struct scene {
	struct rig g;
	struct reader *two[2]; /* over one cache */
	struct transform *views[VIEWS];
	struct fake_file *derived[VIEWS]; /* by file */
	_Atomic bool calm, over; /* calm: nothing fails */
	_Atomic unsigned reads, errors, wrong;
	unsigned seed;
};

static void report(struct scene *s, unsigned reader, unsigned file, unsigned view, uint64_t offset, size_t len, long got)
{
	if (atomic_fetch_add(&s->wrong, 1) < 5)
		printf("seed %u: reader %u, file %u (%llu bytes) as %s: read of %zu at %llu gave %ld\n", s->seed, reader, file,
		       (unsigned long long)s->g.m->files[file].entry.size, view_names[view] ? view_names[view] : "it is", len, (unsigned long long)offset, got);
}

/* Reads of one file: here and there, at the edges of chunks, in order. */
static void read_some(struct scene *s, unsigned reader, unsigned *seed, unsigned count)
{
	const unsigned file = draw(seed, s->g.m->file_count), view = draw(seed, VIEWS);
	const struct fake_file *source = &s->g.m->files[file], *f = &s->derived[view][file];
	const bool calm = s->calm;
	struct content *c = NULL;
	struct err e = ERR_INIT;
	int r = content_get(s->two[reader], &s->g.d, s->g.m, &source->entry, source->path, s->views[view], &c, &e);
	if (!r)
		r = prepare(c, 20000, NULL);
	uint64_t size = f->entry.size, next = 0;
	if (r ? calm : content_size(c, &size) || size != f->entry.size)
		report(s, reader, file, view, 0, 0, r ? r : (long)size);
	for (unsigned n = 0; !r && n < count; n++) {
		static const size_t most[] = { 100, 5000, 70000, 300000, 1500000 };
		const struct manifest_chunk *k = source->entry.chunk_count ? &source->chunks[draw(seed, source->entry.chunk_count)] : NULL;
		const unsigned how = draw(seed, 3);
		uint64_t offset = how == 0 ? next : how == 1 && k && k->file_offset > 2 ? k->file_offset - 2 + draw(seed, 4) : draw(seed, (unsigned)size + 2);
		const size_t len = 1 + draw(seed, (unsigned)most[draw(seed, 5)]);
		const long left = offset < size ? (long)(size - offset) : 0, want = (long)len < left ? (long)len : left;
		const long got = read_at(c, f, offset, len);
		next = offset + len < size ? offset + len : 0;
		s->reads++;
		s->errors += got < 0;
		if (got != want && (calm || got >= 0 || got == -EILSEQ))
			report(s, reader, file, view, offset, len, got);
	}
	content_unref(c);
}

struct reading {
	struct scene *scene;
	unsigned number;
};

static void *read_on(void *arg)
{
	struct reading *x = arg;
	unsigned seed = x->scene->seed * 31 + x->number;
	for (unsigned n = 0; n < READS; n += 5)
		read_some(x->scene, x->number % 2, &seed, 5);
	return NULL;
}

/* -- what goes wrong meanwhile ------------------------------------------------------------------ */

static unsigned vandal_seed;

static int spoil_some(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)at;
	if (kind != FTW_F || !strstr(path, "/blobs/") || !st->st_size || draw(&vandal_seed, 4))
		return 0;
	if (draw(&vandal_seed, 2) || strstr(path, ".state"))
		unlink(path);
	else if (truncate(path, (off_t)draw(&vandal_seed, (unsigned)st->st_size)))
		return 0; /* it was evicted meanwhile */
	return 0;
}

/* As a crash leaves it: what was not written out is lost, and another boot follows. */
static int age_blob(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)at;
	if (kind != FTW_F || !strstr(path, "/blobs/") || !st->st_size)
		return 0;
	const size_t len = strlen(path);
	const bool state = len > 6 && !strcmp(path + len - 6, ".state");
	const off_t where = state ? 32 : (off_t)(draw(&vandal_seed, (unsigned)st->st_size) & ~4095u); /* of the boot's id; of a page */
	int fd = open(path, O_RDWR | O_CLOEXEC);
	static const unsigned char zeros[4096];
	const size_t n = state ? 16 : (size_t)(st->st_size - where < 4096 ? st->st_size - where : 4096);
	if (fd < 0 || pwrite(fd, zeros, n, where) != (ssize_t)n)
		abort();
	close(fd);
	return 0;
}

static void *break_things(void *arg)
{
	struct scene *s = arg;
	struct store *store = s->g.d.store;
	struct err e = ERR_INIT;
	struct cache *c = NULL;
	unsigned seed = vandal_seed = s->seed * 17;
	if (cache_open(s->g.folder, 1 << 30, NULL, &c, &e))
		abort();
	while (!s->over) {
		switch (draw(&seed, 6)) {
		case 0:
			store->corrupt = 1 + (int)draw(&seed, 3);
			break;
		case 1:
			store->cut = 1 + (int)draw(&seed, 3);
			break;
		case 2:
			store->fail_code = -EIO;
			fake_sleep_ms(2);
			store->fail_code = 0;
			break;
		case 3:
			cache_prune(c, draw(&seed, 2) ? 0 : 1 << 20, NULL, NULL, &e);
			break;
		case 4:
			nftw(s->g.folder, spoil_some, 16, FTW_PHYS);
			break;
		default:
			store->delay_ms = (int)draw(&seed, 3);
		}
		fake_sleep_ms(1 + (int)draw(&seed, 10));
	}
	store->corrupt = store->cut = store->fail_code = store->delay_ms = 0;
	cache_close(c);
	return NULL;
}

/* -- rounds ------------------------------------------------------------------------------------- */

static void start_readers(struct scene *s)
{
	static const uint64_t memory[] = { 1 << 20, 4 << 20, 64 << 20 }, limits[] = { 1 << 20, 8 << 20, 1 << 30 };
	unsigned seed = s->seed;
	for (int i = 0; i < 2; i++) {
		s->g.config.memory_budget_bytes = memory[draw(&seed, 3)];
		s->g.config.cache_limit_bytes = limits[draw(&seed, 3)];
		rig_start(&s->g);
		s->two[i] = s->g.r;
	}
}

static void stop_readers(struct scene *s)
{
	for (int i = 0; i < 2; i++)
		reader_stop(s->two[i]);
}

static void read_all_at_once(struct scene *s)
{
	pthread_t thread[READERS], vandal;
	struct reading reading[READERS];
	s->over = false;
	if (!s->calm)
		thread_start(&vandal, "vandal", break_things, s);
	for (unsigned i = 0; i < READERS; i++) {
		reading[i] = (struct reading){ s, i };
		thread_start(&thread[i], "reading", read_on, &reading[i]);
	}
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	s->over = true;
	if (!s->calm)
		pthread_join(vandal, NULL);
}

static void derive(struct scene *s)
{
	for (unsigned v = 0; v < VIEWS; v++) {
		s->views[v] = view_names[v] ? transform_named(view_names[v]) : NULL;
		s->derived[v] = calloc(s->g.m->file_count, sizeof *s->derived[v]);
		for (unsigned i = 0; i < s->g.m->file_count; i++)
			s->derived[v][i] = view_names[v] ? derived_of(&s->g.m->files[i], view_names[v]) : s->g.m->files[i];
	}
}

static void forget_derived(struct scene *s)
{
	for (unsigned v = 0; v < VIEWS; v++) {
		for (unsigned i = 0; view_names[v] && i < s->g.m->file_count; i++)
			free(s->derived[v][i].bytes);
		free(s->derived[v]);
		if (s->views[v])
			transform_unref(s->views[v]);
	}
}

static void play_round(unsigned seed)
{
	struct scene s = { .seed = seed };
	unsigned draws = seed;
	s.g.m = random_manifest(&draws);
	strcpy(s.g.folder, "/tmp/meshfs-test-XXXXXX");
	CHECK(mkdtemp(s.g.folder));
	strcpy(s.g.d.name, "sales");
	s.g.d.store = fake_store_new(s.g.m, 3);
	derive(&s);
	for (int act = 0; act < 4; act++) { /* calm, troubled, calm after a crash, calm */
		s.calm = act != 1;
		s.seed = seed + 1000 * (unsigned)act;
		if (act == 2)
			nftw(s.g.folder, age_blob, 16, FTW_PHYS);
		start_readers(&s);
		read_all_at_once(&s);
		stop_readers(&s);
	}
	forget_derived(&s);
	fake_store_free(s.g.d.store);
	fake_manifest_free(s.g.m);
	io_remove_tree(s.g.folder, NULL);
	CHECK_INT(s.wrong, 0);
	CHECK(s.errors < s.reads / 2);
}

static unsigned number_of(const char *name, unsigned fallback)
{
	const char *text = getenv(name);
	return text ? (unsigned)atoi(text) : fallback;
}

TEST(whatever_happens_reads_give_the_right_bytes_or_errors)
{
	const unsigned rounds = number_of("MESHFS_TEST_ROUNDS", 2), first = number_of("MESHFS_TEST_SEED", 1);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	for (unsigned i = 0; i < rounds && !check_failed; i++)
		play_round(first + i);
	log_set_output(2, 0);
}

CHECK_MAIN()
