#include "fs/content.h"

#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "fs/cache.h"
#include "test/unit/check.h"
#include "test/unit/reader_rig.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(reads_a_large_file_in_order)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 40 << 20, 1 << 20, 16 << 20, false);
	rig_open(&g);
	struct content *c = get(&g, 0);
	CHECK(c);
	CHECK_INT(read_whole(c, &g.m->files[0], 128 << 10), 0);
	unsigned requests = g.d.store->requests;
	CHECK(requests <= 24); /* few, large */
	CHECK_INT(g.d.store->bytes, 40 << 20);
	CHECK_INT(content_fetched_bytes(c), 40 << 20);
	int fd = -1;
	for (int i = 0; i < 200 && content_whole_fd(c, &fd); i++)
		fake_sleep_ms(5);
	CHECK(fd >= 0);
	struct stat st;
	CHECK_INT(fstat(fd, &st), 0);
	CHECK_INT(st.st_size, 40 << 20);
	CHECK_INT(write(fd, "x", 1), -1);
	unsigned char *copy = malloc(40 << 20);
	CHECK_INT(io_pread_full(fd, copy, 40 << 20, 0), 0);
	CHECK(!memcmp(copy, g.m->files[0].bytes, 40 << 20));
	free(copy);
	close(fd);
	CHECK_INT(read_whole(c, &g.m->files[0], 300000), 0);
	CHECK_INT(g.d.store->requests, requests);
	content_unref(c);
	rig_close(&g);
}

TEST(random_reads_equal_slices)
{
	struct rig g = { .m = fake_manifest_new(), .config = { .memory_budget_bytes = 8 << 20 } };
	fake_add_file(g.m, 9000001, 300000, 4 << 20, true);
	fake_add_file(g.m, 3000001, 1 << 20, 4 << 20, false);
	fake_add_file(g.m, 17, 1 << 20, 4 << 20, false);
	fake_add_file(g.m, 700000, 100000, 4 << 20, true);
	rig_open(&g);
	unsigned seed = 7;
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4; i++) {
			struct content *c = get(&g, i);
			const struct fake_file *f = &g.m->files[i];
			CHECK(c);
			for (int n = 0; n < 200; n++) {
				uint64_t offset = (uint64_t)rand_r(&seed) % (f->entry.size + 10);
				size_t len = (size_t)rand_r(&seed) % (n % 10 == 0 ? 2500000 : 9000);
				uint64_t left = offset < f->entry.size ? f->entry.size - offset : 0;
				long want = (long)(len < left ? len : left);
				CHECK_INT(read_at(c, f, offset, len), want);
			}
			content_unref(c);
		}
		/* The next round starts from the disk. */
		reader_stop(g.r);
		rig_start(&g);
	}
	struct reader_stats s;
	reader_stats(g.r, &s);
	CHECK_INT(s.integrity_errors, 0);
	rig_close(&g);
}

struct herd {
	struct rig *g;
	struct content *c;
	long failures;
};

static void *herd_read(void *arg)
{
	struct herd *h = arg;
	h->failures += read_whole(h->c, &h->g->m->files[0], 100000) != 0;
	return NULL;
}

TEST(a_random_read_fetches_its_leaves_and_no_more)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 8 << 20, 1 << 20, 64 << 20, false);
	fake_add_file(g.m, 8 << 20, 1 << 20, 64 << 20, true); /* two of three chunks are zstd: whole */
	rig_open(&g);
	struct store *s = g.d.store;
	struct content *c = get(&g, 0);
	const struct fake_file *f = &g.m->files[0];
	const uint64_t at = f->chunks[3].file_offset + 5 * LEAF_BYTES + 100;
	CHECK_INT(read_at(c, f, at, 1000), 1000);
	CHECK_INT(content_fetched_bytes(c), LEAF_BYTES);
	CHECK_INT(read_at(c, f, at - 2 * LEAF_BYTES, 1000), 1000);
	CHECK_INT(content_fetched_bytes(c), 2 * LEAF_BYTES);
	/* What is between two leaves that are here comes alone; a read over chunks comes in one request. */
	CHECK_INT(read_at(c, f, at - 2 * LEAF_BYTES - 1, 2 * LEAF_BYTES), 2 * LEAF_BYTES); /* goes backwards: no stream */
	CHECK_INT(content_fetched_bytes(c), 3 * LEAF_BYTES);
	unsigned requests = s->requests;
	CHECK_INT(read_at(c, f, f->chunks[6].file_offset - 10, 20), 20);
	CHECK_INT(s->requests, requests + 1);
	const uint64_t tail = f->chunks[5].length - (piece_count(f->chunks[5].length) - 1) * LEAF_BYTES;
	CHECK_INT(content_fetched_bytes(c), 4 * LEAF_BYTES + tail);
	CHECK_INT(read_whole(c, f, 128 << 10), 0); /* the rest, and nothing twice */
	CHECK_INT(content_fetched_bytes(c), f->entry.size);
	int fd = -1;
	for (int i = 0; i < 200 && content_whole_fd(c, &fd); i++)
		fake_sleep_ms(5);
	CHECK(fd >= 0);
	close(fd);
	content_unref(c);
	c = get(&g, 1);
	f = &g.m->files[1];
	CHECK_INT(read_at(c, f, f->chunks[3].file_offset + 100, 10), 10);
	CHECK_INT(content_fetched_bytes(c), f->chunks[3].stored_length);
	CHECK_INT(read_whole(c, f, 100000), 0);
	content_unref(c);
	rig_close(&g);
}

/* A leaf on disk that did not survive a reboot comes again by itself. */
TEST(after_a_reboot_leaves_are_checked_one_by_one)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	const struct fake_file *f = &g.m->files[0];
	struct content *c = get(&g, 0);
	CHECK_INT(read_whole(c, f, 1 << 20), 0);
	int fd = -1;
	for (int i = 0; i < 200 && content_whole_fd(c, &fd); i++)
		fake_sleep_ms(5);
	close(fd);
	content_unref(c);
	reader_stop(g.r);
	struct cache *cache;
	struct blob *b;
	unsigned char other[16] = { 9 };
	struct err e = ERR_INIT;
	CHECK_OK(cache_open(g.folder, 1u << 30, other, &cache, &e), &e);
	CHECK_INT(blob_open_existing(cache, "sales", BLOB_FILE, &f->entry.content, &b), 0);
	CHECK_INT(blob_state(b, 0), SLOT_UNVERIFIED);
	CHECK_INT(blob_write(b, "x", 1, f->chunks[1].file_offset + 2 * LEAF_BYTES), 0);
	blob_close(b);
	cache_close(cache);
	rig_start(&g); /* of this boot again: another than the blob's last */
	c = get(&g, 0);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	CHECK_INT(read_whole(c, f, 300000), 0);
	log_set_output(2, 0);
	CHECK_INT(content_fetched_bytes(c), LEAF_BYTES);
	content_unref(c);
	rig_close(&g);
}

TEST(one_fetch_however_many_readers)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 12 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	struct content *c = get(&g, 0), *again = get(&g, 0);
	CHECK(c && c == again);
	struct herd h[6];
	pthread_t id[6];
	for (int i = 0; i < 6; i++) {
		h[i] = (struct herd){ &g, c, 0 };
		pthread_create(&id[i], NULL, herd_read, &h[i]);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(id[i], NULL);
		CHECK_INT(h[i].failures, 0);
	}
	CHECK_INT(content_fetched_bytes(c), 12 << 20); /* the store may have given some twice: short gaps between leaves are read over */
	content_unref(c);
	content_unref(again);
	rig_close(&g);
}

TEST(small_files_come_with_their_neighbours)
{
	struct rig g = { .m = fake_manifest_new() };
	for (int i = 0; i < 3000; i++)
		fake_add_file(g.m, 8192 - (size_t)(i % 100), 1 << 20, 16 << 20, false);
	rig_open(&g);
	for (unsigned i = 0; i < 3000; i++) {
		struct content *c = get(&g, i);
		CHECK(c);
		CHECK_INT(read_at(c, &g.m->files[i], 0, 65536), (long)g.m->files[i].entry.size);
		content_unref(c);
	}
	CHECK(g.d.store->requests < 40);
	unsigned requests = g.d.store->requests;
	reader_stop(g.r);
	rig_start(&g);
	for (unsigned i = 0; i < 3000; i += 7) {
		struct content *c = get(&g, i);
		CHECK_INT(read_at(c, &g.m->files[i], 0, 65536), (long)g.m->files[i].entry.size);
		content_unref(c);
	}
	CHECK_INT(g.d.store->requests, requests);
	rig_close(&g);
}

/* Chunks that other versions or other places of the file have, too, lie elsewhere in the pack: what is next to them is not what follows. */
TEST(a_small_file_whose_chunks_lie_in_another_order)
{
	struct rig g = { .m = fake_manifest_new() };
	for (int i = 0; i < 3; i++)
		fake_add_file(g.m, 4000, 1000, 64 << 20, false);
	struct fake_file *f = &g.m->files[1];
	unsigned char was[4000];
	memcpy(was, f->bytes, sizeof was);
	struct manifest_chunk second = f->chunks[1];
	f->chunks[1] = f->chunks[2];
	f->chunks[2] = second;
	for (uint32_t i = 1, at = f->chunks[0].length; i < 3; at += f->chunks[i++].length)
		memcpy(f->bytes + at, was + f->chunks[i].file_offset, f->chunks[i].length);
	fake_seal_file(f, f->entry.chunk_count);
	rig_open(&g);
	struct content *c = get(&g, 0);
	CHECK(c);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 4000), 4000); /* brings its neighbours, in one piece */
	content_unref(c);
	c = get(&g, 1);
	CHECK(c);
	for (int round = 0; round < 2; round++) /* from memory, then from the cache */
		for (uint64_t at = 0; at < 4000; at += 333) {
			CHECK_INT(read_at(c, f, at, 4000), (long)(4000 - at));
			CHECK_INT(read_at(c, f, at, 700), (long)(4000 - at < 700 ? 4000 - at : 700));
		}
	content_unref(c);
	rig_close(&g);
}

/* A manifest that gives two chunks one slot of a pack: what is there is not taken for the other. */
TEST(two_chunks_of_one_slot)
{
	struct rig g = { .m = fake_manifest_new() };
	for (int i = 0; i < 2; i++)
		fake_add_file(g.m, 600000, 600000, 64 << 20, false);
	g.m->files[1].chunks[0].slot = 0;
	rig_open(&g); /* so large that neighbours do not come along */
	struct content *c = get(&g, 0), *other = get(&g, 1);
	CHECK(c && other);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 600000), 600000);
	const long got = read_at(other, &g.m->files[1], 0, 600000);
	CHECK(got == -EIO || got == 600000); /* an error while the first is in memory */
	content_unref(c);
	content_unref(other);
	reader_stop(g.r); /* from the disk */
	rig_start(&g);
	other = get(&g, 1);
	CHECK(other);
	CHECK_INT(read_at(other, &g.m->files[1], 0, 600000), 600000); /* not what is there: fetched */
	content_unref(other);
	rig_close(&g);
}

TEST(a_cache_file_that_is_cut_off_while_it_is_open)
{
	struct rig g = { .m = fake_manifest_new() };
	const struct fake_file *f = fake_add_file(g.m, 4 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	struct content *c = get(&g, 0);
	CHECK(c);
	CHECK_INT(read_whole(c, f, 1 << 20), 0);
	content_unref(c);
	reader_stop(g.r); /* all is written, nothing in memory */
	rig_start(&g);
	c = get(&g, 0);
	CHECK(c);
	CHECK_INT(read_at(c, f, 100, 1000), 1000);
	int fd = -1;
	CHECK_INT(content_whole_fd(c, &fd), 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK_INT(truncate(path, 70000), 0);
	close(fd);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	CHECK_INT(read_whole(c, f, 300000), 0);
	log_set_output(2, 0);
	const uint64_t fetched = content_fetched_bytes(c);
	CHECK(fetched > (3 << 20) && fetched < (4 << 20)); /* what was left is checked and kept */
	content_unref(c);
	rig_close(&g);
}

TEST(a_mismatch_is_fetched_once_more)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, true);
	for (int i = 0; i < 50; i++)
		fake_add_file(g.m, 5000, 1 << 20, 64 << 20, false);
	rig_open(&g);
	for (unsigned i = 0; i < 3; i++) {
		struct content *c = get(&g, i);
		g.d.store->corrupt = 1;
		CHECK_INT(read_whole(c, &g.m->files[i], 1 << 20), 0);
		content_unref(c);
	}
	struct reader_stats s;
	reader_stats(g.r, &s);
	CHECK_INT(s.integrity_errors, 0);
	rig_close(&g);
}

TEST(bytes_that_never_match_are_an_error)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct content *c = get(&g, 0);
	g.d.store->corrupt = 1000;
	CHECK_INT(read_at(c, &g.m->files[0], 100, 100), -EIO);
	struct reader_stats s;
	reader_stats(g.r, &s);
	CHECK(s.integrity_errors >= 1);
	g.d.store->corrupt = 0;
	CHECK_INT(read_at(c, &g.m->files[0], 100, 100), 100); /* at once again */
	content_unref(c);
	log_set_output(2, 0);
	rig_close(&g);
}

TEST(a_hung_store_ends_at_the_deadline_and_stalls_only_its_readers)
{
	struct rig g = { .m = fake_manifest_new(), .config = { .deadline_ms = 300 } };
	fake_add_file(g.m, 8 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct content *c = get(&g, 0);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 1000), 1000);
	fake_sleep_ms(100);
	g.d.store->hang = true;
	int64_t start = clock_mono_ms();
	CHECK_INT(read_at(c, &g.m->files[0], 7 << 20, 1000), -EIO);
	int64_t took = clock_mono_ms() - start;
	CHECK(took >= 250 && took < 3000);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 1000), 1000); /* cached data keeps working */
	g.d.store->hang = false;
	CHECK_INT(read_at(c, &g.m->files[0], 7 << 20, 1000), 1000);
	content_unref(c);
	log_set_output(2, 0);
	rig_close(&g);
}

TEST(cancelling_ends_the_wait_and_a_stale_token_is_harmless)
{
	struct rig g = { .m = fake_manifest_new(), .config = { .deadline_ms = 10000 } };
	fake_add_file(g.m, 8 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct content *c = get(&g, 0);
	g.d.store->hang = true;
	struct result x;
	result_init(&x, NULL);
	uint64_t token = 0;
	content_read(c, 0, 1000, on_bytes, &x, &token);
	CHECK(token != 0);
	content_cancel(g.r, token);
	result_wait(&x);
	CHECK_INT(x.code, -EINTR);
	content_cancel(g.r, token);
	content_cancel(g.r, 0);
	content_cancel(g.r, UINT64_MAX);
	CHECK_INT(x.calls, 1);
	content_unref(c);
	rig_close(&g); /* with a request hanging in the store */
	log_set_output(2, 0);
}

TEST(a_store_that_is_down_fails_fast)
{
	struct rig g = { .m = fake_manifest_new(), .config = { .deadline_ms = 5000 } };
	fake_add_file(g.m, 8 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct content *c = get(&g, 0);
	g.d.store->down = true;
	g.d.store->unhealthy = true;
	int64_t start = clock_mono_ms();
	for (int i = 0; i < 20; i++)
		CHECK_INT(read_at(c, &g.m->files[0], (uint64_t)i << 18, 1000), -EIO);
	CHECK(clock_mono_ms() - start < 1500);
	CHECK(g.d.store->requests <= 3);
	g.d.store->down = false;
	g.d.store->unhealthy = false;
	CHECK_INT(read_at(c, &g.m->files[0], 5 << 20, 1000), 1000);
	content_unref(c);
	log_set_output(2, 0);
	rig_close(&g);
}

TEST(an_object_that_moved_is_stale)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 2 << 20, 1 << 20, 64 << 20, false);
	strcpy(g.m->packs[0].info.etag, "\"a\"");
	g.m->packs[0].info.in_place = true;
	rig_open(&g);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct content *c = get(&g, 0);
	CHECK(c);
	strcpy(g.m->packs[0].info.etag, "\"b\"");
	CHECK_INT(read_at(c, &g.m->files[0], 0, 1000), -ESTALE);
	content_unref(c);
	log_set_output(2, 0);
	rig_close(&g);
}

static void count_call(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

TEST(tells_once_when_it_becomes_whole)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 4 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	struct content *c = get(&g, 0);
	_Atomic int told = 0, late = 0;
	int fd;
	CHECK_INT(content_whole_fd(c, &fd), -EAGAIN);
	content_on_whole(c, count_call, (void *)&told);
	CHECK_INT(read_whole(c, &g.m->files[0], 1 << 20), 0);
	for (int i = 0; i < 400 && !told; i++)
		fake_sleep_ms(5);
	CHECK_INT(told, 1);
	CHECK_INT(content_whole_fd(c, &fd), 0);
	close(fd);
	content_on_whole(c, count_call, (void *)&late);
	CHECK_INT(late, 1);
	CHECK_INT(told, 1);
	content_unref(c);
	rig_close(&g);
}

TEST(an_empty_file_and_lying_manifests)
{
	struct rig g = { .m = fake_manifest_new() };
	fake_add_file(g.m, 0, 1 << 20, 64 << 20, false);
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	fake_add_file(g.m, 3 << 20, 1 << 20, 64 << 20, false);
	rig_open(&g);
	struct content *c = get(&g, 0);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 100), 0);
	content_unref(c);
	struct err e = ERR_INIT;
	g.m->files[1].entry.content.bytes[0] ^= 1; /* a digest that is not its chunks' */
	CHECK_INT(content_get(g.r, &g.d, g.m, &g.m->files[1].entry, "x", NULL, &c, &e), -EBADMSG);
	g.m->files[2].chunks[1].length -= 1; /* a gap */
	CHECK_INT(content_get(g.r, &g.d, g.m, &g.m->files[2].entry, "x", NULL, &c, &e), -EBADMSG);
	g.m->files[3].chunks[1].pack_offset = UINT64_MAX - 5; /* outside its pack */
	CHECK_INT(content_get(g.r, &g.d, g.m, &g.m->files[3].entry, "x", NULL, &c, &e), 0);
	CHECK_INT(read_at(c, &g.m->files[3], 0, 3 << 20), -EIO);
	content_unref(c);
	rig_close(&g);
}

CHECK_MAIN()
