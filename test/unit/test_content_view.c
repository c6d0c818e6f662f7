#include "catalog/base/log.h"
#include "test/unit/check.h"
#include "test/unit/view_rig.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void check_view(struct rig *g, unsigned file, const char *text)
{
	struct transform *t = transform_named(text);
	struct content *c = get_view(g, file, t);
	struct fake_file d = derived_of(&g->m->files[file], text);
	uint64_t size = 0;
	CHECK(c);
	CHECK_INT(prepare(c, 20000, NULL), 0);
	CHECK_INT(content_size(c, &size), 0);
	CHECK_INT(size, d.entry.size);
	CHECK_INT(read_whole(c, &d, 100000), 0);
	unsigned seed = 3;
	for (int n = 0; n < 300; n++) {
		uint64_t offset = (uint64_t)rand_r(&seed) % (size + 10);
		size_t len = (size_t)rand_r(&seed) % (n % 10 ? 5000 : 1500000);
		uint64_t left = offset < size ? size - offset : 0;
		CHECK_INT(read_at(c, &d, offset, len), (long)(len < left ? len : left));
	}
	struct xxh128 have, want;
	xxh128_of(d.bytes, d.entry.size, &want);
	if (strcmp(text, "segments") != 0) {
		CHECK_INT(content_hash(c, &have), 0);
		CHECK(!memcmp(&have, &want, sizeof want));
		int fd;
		CHECK_INT(content_whole_fd(c, &fd), 0);
		close(fd);
	} else {
		CHECK_INT(content_hash(c, &have), -ENODATA);
	}
	content_unref(c);
	free(d.bytes);
	transform_unref(t);
}

static void mesh(struct rig *g, bool aligned)
{
	g->m = fake_manifest_new();
	fake_add_file(g->m, 5000001, 300000, 16 << 20, true);
	fake_add_file(g->m, 4321, 300000, 16 << 20, true);
	for (int i = 0; i < 2; i++)
		g->m->files[i].entry.aligned = aligned;
	rig_open(g);
}

TEST(views_are_right_byte_by_byte)
{
	struct rig g = { 0 };
	mesh(&g, true);
	for (unsigned i = 0; i < 2; i++) {
		check_view(&g, i, "chunk");
		check_view(&g, i, "segments");
		check_view(&g, i, "whole");
	}
	rig_close(&g);
}

TEST(a_view_of_chunks_that_end_within_records_is_made_in_one_piece)
{
	struct rig g = { 0 };
	mesh(&g, false);
	fake_chunks = 0;
	check_view(&g, 0, "chunk");
	CHECK_INT(fake_chunks, 1);
	rig_close(&g);
}

TEST(the_index_is_computed_once_a_host)
{
	struct rig g = { 0 };
	mesh(&g, true);
	check_view(&g, 0, "chunk");
	int chunks = fake_chunks, plans = fake_plans;
	reader_stop(g.r);
	rig_start(&g);
	g.d.store->down = true;
	check_view(&g, 0, "chunk"); /* cached data keeps working */
	CHECK_INT(fake_chunks, chunks);
	CHECK_INT(fake_plans, plans);
	rig_close(&g);
}

static void find_file(const char *folder, const char *pattern, char ret[256])
{
	char command[300];
	snprintf(command, sizeof command, "find %s -path '%s' -type f | head -1", folder, pattern);
	FILE *p = popen(command, "r");
	ret[0] = '\0';
	if (p && fgets(ret, 256, p))
		ret[strcspn(ret, "\n")] = '\0';
	if (p)
		pclose(p);
}

TEST(evicted_chunks_are_made_again)
{
	static const char *const kinds[] = { "chunk", "whole" };
	for (int i = 0; i < 2; i++) {
		struct rig g = { 0 };
		mesh(&g, true);
		check_view(&g, 0, kinds[i]);
		reader_stop(g.r);
		char path[256];
		find_file(g.folder, "*/blobs/*/v*.data", path);
		CHECK(path[0]);
		unlink(path);
		rig_start(&g);
		int chunks = fake_chunks, wholes = fake_wholes;
		struct transform *t = transform_named(kinds[i]);
		struct content *c = get_view(&g, 0, t);
		struct fake_file d = derived_of(&g.m->files[0], kinds[i]);
		CHECK_INT(read_whole(c, &d, 50000), 0);
		CHECK(i ? fake_wholes == wholes + 1 : fake_chunks > chunks);
		content_unref(c);
		transform_unref(t);
		free(d.bytes);
		rig_close(&g);
	}
}

static int syncs;

int fsync(int fd)
{
	syncs++;
	return (int)syscall(SYS_fsync, fd);
}

/* One for each view of each small file, it can be made again: no disk is waited for. */
TEST(an_index_is_kept_without_a_sync)
{
	struct rig g = { 0 };
	mesh(&g, true);
	syncs = 0;
	check_view(&g, 0, "chunk");
	reader_stop(g.r);
	CHECK_INT(syncs, 0);
	int chunks = fake_chunks;
	rig_start(&g);
	check_view(&g, 0, "chunk");
	CHECK_INT(fake_chunks, chunks);
	rig_close(&g);
}

/* Among them what a power cut may leave of a file that was not synced. */
TEST(a_damaged_index_is_computed_again)
{
	for (int kind = 0; kind < 4; kind++) {
		struct rig g = { 0 };
		mesh(&g, true);
		check_view(&g, 0, "chunk");
		reader_stop(g.r);
		char path[256], bytes[65536];
		find_file(g.folder, "*/views/*/*", path);
		int fd = open(path, O_RDWR);
		CHECK(fd >= 0);
		ssize_t len = read(fd, bytes, sizeof bytes);
		CHECK(len > 100 && len < (ssize_t)sizeof bytes);
		if (kind == 0)
			bytes[100] ^= 1;
		if (kind == 1)
			memset(bytes, 0, (size_t)len);
		if (kind == 2)
			memset(bytes + len / 2, 0, (size_t)(len - len / 2));
		CHECK_INT(pwrite(fd, bytes, (size_t)len, 0), len);
		CHECK(kind != 3 || !ftruncate(fd, 0));
		close(fd);
		rig_start(&g);
		int chunks = fake_chunks;
		check_view(&g, 0, "chunk");
		CHECK(fake_chunks > chunks);
		rig_close(&g);
	}
}

TEST(a_denied_view_says_why)
{
	struct rig g = { 0 };
	mesh(&g, true);
	struct transform *t = transform_named("deny");
	struct content *c = get_view(&g, 0, t);
	char reason[256];
	uint64_t size;
	CHECK_INT(content_size(c, &size), -EAGAIN);
	CHECK_INT(prepare(c, 20000, reason), -EACCES);
	CHECK(strstr(reason, "cannot be filtered"));
	CHECK_INT(content_size(c, &size), -EACCES);
	CHECK_INT(read_at(c, &g.m->files[0], 0, 10), -EACCES);
	content_unref(c);
	transform_unref(t);
	rig_close(&g);
}

TEST(at_the_deadline_the_work_goes_on)
{
	struct rig g = { 0 };
	mesh(&g, true);
	struct transform *t = transform_named("chunk");
	struct content *c = get_view(&g, 0, t);
	fake_view_delay_ms = 40;
	CHECK_INT(prepare(c, 100, NULL), -ETIMEDOUT);
	fake_view_delay_ms = 0;
	CHECK_INT(prepare(c, 20000, NULL), 0);
	content_unref(c);
	transform_unref(t);
	rig_close(&g);
}

TEST(a_view_of_a_dead_store_fails_and_is_tried_again)
{
	struct rig g = { .config = { .deadline_ms = 300 } };
	mesh(&g, true);
	log_set_output(open("/dev/null", O_WRONLY | O_CLOEXEC), 0);
	struct transform *t = transform_named("chunk");
	struct content *c = get_view(&g, 0, t);
	g.d.store->down = true;
	CHECK_INT(prepare(c, 20000, NULL), -EIO);
	g.d.store->down = false;
	CHECK_INT(prepare(c, 20000, NULL), 0);
	content_unref(c);
	transform_unref(t);
	log_set_output(2, 0);
	rig_close(&g);
}

CHECK_MAIN()
