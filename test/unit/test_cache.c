#include "fs/cache.h"

#include "catalog/base/io.h"
#include "test/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLOTS 64u
#define SLOT_BYTES 4096u

static char folder[64];
static const struct digest name = { { 1, 2, 3 } };

static struct cache *open_cache(unsigned char boot)
{
	unsigned char id[16] = { boot };
	struct cache *c = NULL;
	struct err e = ERR_INIT;
	if (cache_open(folder, 1 << 30, id, &c, &e))
		abort();
	return c;
}

static struct blob *open_blob(struct cache *c)
{
	struct blob *b = NULL;
	if (blob_open(c, "sales", BLOB_FILE, &name, SLOTS * SLOT_BYTES, SLOTS, &b))
		abort();
	return b;
}

static void start(void)
{
	strcpy(folder, "/tmp/meshfs-cache-XXXXXX");
	if (!mkdtemp(folder))
		abort();
}

static void fill_slot(struct blob *b, uint32_t slot)
{
	unsigned char bytes[SLOT_BYTES];
	struct xxh128 hash;
	memset(bytes, (int)slot + 1, sizeof bytes);
	xxh128_of(bytes, sizeof bytes, &hash);
	if (!blob_write(b, bytes, sizeof bytes, (uint64_t)slot * SLOT_BYTES))
		blob_mark(b, slot, (uint64_t)slot * SLOT_BYTES, SLOT_BYTES, &hash);
}

/* As fill_slot, with the other kind of hash. */
static void fill_leaf(struct blob *b, uint32_t slot)
{
	unsigned char bytes[SLOT_BYTES];
	struct digest digest;
	memset(bytes, (int)slot + 1, sizeof bytes);
	sha256_of(bytes, sizeof bytes, &digest);
	if (!blob_write(b, bytes, sizeof bytes, (uint64_t)slot * SLOT_BYTES))
		blob_mark_sha256(b, slot, (uint64_t)slot * SLOT_BYTES, SLOT_BYTES, digest.bytes);
}

static bool slot_is_right(struct blob *b, uint32_t slot)
{
	unsigned char bytes[SLOT_BYTES];
	if (blob_read(b, bytes, sizeof bytes, (uint64_t)slot * SLOT_BYTES))
		return false;
	for (size_t i = 0; i < sizeof bytes; i++)
		if (bytes[i] != (unsigned char)(slot + 1))
			return false;
	return true;
}

TEST(two_openers_share_a_blob)
{
	start();
	struct cache *c = open_cache(1), *d = open_cache(1);
	struct blob *b = open_blob(c), *x = open_blob(d);
	CHECK_INT(blob_state(x, 5), SLOT_ABSENT);
	fill_slot(b, 5);
	CHECK_INT(blob_state(x, 5), SLOT_PRESENT);
	CHECK(slot_is_right(x, 5));
	CHECK(!blob_whole(x));
	for (uint32_t i = 0; i < SLOTS; i++)
		fill_slot(x, i);
	CHECK(blob_whole(b));
	CHECK_INT(blob_state(b, SLOTS), SLOT_ABSENT);
	blob_close(b);
	blob_close(x);
	cache_close(c);
	cache_close(d);
	io_remove_tree(folder, NULL);
}

/* -1: the file system knows no such flag. */
static int keeps_no_access_time(int fd)
{
	int flags;
	return ioctl(fd, FS_IOC_GETFLAGS, &flags) ? -1 : (flags & FS_NOATIME_FL) != 0;
}

TEST(large_files_keep_no_access_time)
{
	struct blob *small, *large = NULL;
	int fd = -1;
	start();
	struct cache *c = open_cache(1);
	small = open_blob(c);
	const struct digest other = { { 4 } };
	CHECK_INT(blob_open(c, "sales", BLOB_FILE, &other, 1 << 20, SLOTS, &large), 0);
	CHECK_INT(blob_reopen(small, &fd), 0);
	int kept = keeps_no_access_time(fd);
	close(fd);
	CHECK_INT(blob_reopen(large, &fd), 0);
	if (kept >= 0) {
		CHECK_INT(kept, 0);
		CHECK_INT(keeps_no_access_time(fd), 1);
	}
	close(fd);
	blob_close(small);
	blob_close(large);
	cache_close(c);
	io_remove_tree(folder, NULL);
}

TEST(killed_in_the_middle_leaves_only_right_bytes)
{
	start();
	for (int round = 0; round < 10; round++) {
		pid_t child = fork();
		if (!child) {
			struct cache *c = open_cache(1);
			struct blob *b = open_blob(c);
			for (uint32_t i = 0;; i = (i + 1) % SLOTS) {
				blob_drop(b, i);
				fill_slot(b, i);
			}
		}
		usleep(3000 + round * 2000);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		struct cache *c = open_cache(1);
		struct blob *b = open_blob(c);
		for (uint32_t i = 0; i < SLOTS; i++)
			CHECK(blob_state(b, i) != SLOT_PRESENT || slot_is_right(b, i));
		blob_close(b);
		cache_close(c);
	}
	io_remove_tree(folder, NULL);
}

TEST(after_a_reboot_nothing_is_believed_unchecked)
{
	start();
	struct cache *c = open_cache(1);
	struct blob *b = open_blob(c);
	for (uint32_t i = 0; i < SLOTS; i++)
		(i % 3 ? fill_slot : fill_leaf)(b, i);
	CHECK_INT(blob_write(b, "x", 1, 6 * SLOT_BYTES + 100), 0); /* bits that outlived their bytes */
	CHECK_INT(blob_write(b, "x", 1, 7 * SLOT_BYTES + 100), 0);
	blob_close(b);
	cache_close(c);
	c = open_cache(2);
	b = open_blob(c);
	for (uint32_t i = 0; i < SLOTS; i++)
		CHECK_INT(blob_state(b, i), SLOT_UNVERIFIED);
	CHECK(!blob_whole(b));
	unsigned char room[SLOT_BYTES];
	CHECK(blob_check(b, 3, room) && blob_state(b, 3) == SLOT_PRESENT);
	CHECK(!blob_check(b, 6, room) && blob_state(b, 6) == SLOT_ABSENT);
	CHECK(!blob_check(b, 6, room));
	blob_close(b);
	uint64_t checked, bad;
	struct err e = ERR_INIT;
	CHECK_OK(cache_verify(c, NULL, NULL, &checked, &bad, &e), &e);
	CHECK_INT(checked, SLOTS - 1);
	CHECK_INT(bad, 1);
	b = open_blob(c);
	CHECK_INT(blob_state(b, 7), SLOT_ABSENT);
	CHECK_INT(blob_state(b, 8), SLOT_PRESENT);
	blob_close(b);
	cache_close(c);
	io_remove_tree(folder, NULL);
}

TEST(an_evicted_blob_stays_readable_and_a_new_one_is_empty)
{
	start();
	struct cache *c = open_cache(1);
	struct blob *b = open_blob(c);
	for (uint32_t i = 0; i < SLOTS; i++)
		fill_slot(b, i);
	uint64_t freed, blobs;
	struct err e = ERR_INIT;
	CHECK(!blob_doomed(b));
	CHECK_OK(cache_prune(c, 0, &freed, &blobs, &e), &e);
	CHECK_INT(blobs, 1);
	CHECK(freed >= SLOTS * SLOT_BYTES);
	CHECK(blob_doomed(b));
	CHECK(slot_is_right(b, 3));
	struct blob *n = open_blob(c);
	CHECK_INT(blob_state(n, 3), SLOT_ABSENT);
	blob_close(n);
	blob_close(b);
	cache_close(c);
	io_remove_tree(folder, NULL);
}

TEST(a_state_file_without_its_data_is_not_believed)
{
	start();
	struct cache *c = open_cache(1);
	struct blob *b = open_blob(c);
	fill_slot(b, 3);
	blob_close(b);
	char command[200];
	snprintf(command, sizeof command, "find %s -name '*.data' -exec cp {} {}.new \\; -exec mv {}.new {} \\;", folder);
	CHECK_INT(system(command), 0); /* another file of the same name and size */
	b = open_blob(c);
	CHECK_INT(blob_state(b, 3), SLOT_ABSENT);
	blob_close(b);
	cache_close(c);
	io_remove_tree(folder, NULL);
}

CHECK_MAIN()
