#include "fs/cache.h"

#include "catalog/base/clock.h"
#include "catalog/base/io.h"
#include "catalog/base/log.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_MAGIC "meshblob"
#define STATE_FORMAT 2
#define BOOT_SIZE 16
#define TOUCH_INTERVAL_NS (60 * NS_PER_S)
#define NO_ACCESS_TIME_MIN (1u << 20) /* of what may be read by the kernel itself: looking at the time of access is a twentieth of a warm read of 4 KiB */
#define BROKEN_PAUSE_MS 10000 /* after a failed write, how long the cache is left alone */

struct slot_record {
	uint64_t offset;
	uint32_t length;
	_Atomic uint8_t state; /* enum slot_state */
	uint8_t kind;          /* of the hash: enum slot_hash */
	uint8_t reserved[2];
	unsigned char hash[16];
};

enum slot_hash { HASH_XXH128 = 0, HASH_SHA256 = 1 };

struct state_header {
	char magic[8]; /* written last when a state file is made */
	uint32_t format, slots;
	uint64_t size, data_inode;
	unsigned char boot[BOOT_SIZE];
	_Atomic uint32_t doubts; /* how often present slots became unverified since: whoever found all of them present looks again */
	uint8_t reserved[76];
};

struct state_file {
	struct state_header header;
	struct slot_record slot[];
};

_Static_assert(sizeof(struct slot_record) == 32, "a slot record is 32 bytes");
_Static_assert(sizeof(struct state_header) == 128, "the header is 128 bytes");

/* <folder>/usage, mapped by every process: estimates and counters, nothing that correctness rests on. */
struct usage_file {
	_Atomic uint64_t bytes, hits, misses, fetched, served, integrity;
};

struct cache {
	char *folder;
	uint64_t limit;
	unsigned char boot[BOOT_SIZE];
	pthread_mutex_t lock; /* serialises this process's use of lock_fd (a flock belongs to the descriptor); a leaf */
	int lock_fd;
	struct usage_file *usage;
	_Atomic int64_t broken_until_ms;
};

struct blob {
	_Atomic int refs;
	struct cache *cache;
	int fd;
	int state_fd;
	struct state_file *state;
	size_t state_bytes;
	uint64_t size;
	uint32_t slots;
	_Atomic uint32_t scanned; /* slots below it are present … */
	_Atomic uint32_t doubts;  /* … since then */
	_Atomic int64_t touched_ns;
};

static int read_boot_id(unsigned char boot[BOOT_SIZE])
{
	char text[64], hex[33];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	size_t digits = 0;
	for (ssize_t i = 0; i < n && digits < 32; i++)
		if (text[i] != '-' && text[i] != '\n')
			hex[digits++] = text[i];
	hex[digits] = '\0';
	return hex_parse(hex, boot, BOOT_SIZE);
}

static int map_usage(struct cache *c)
{
	char *path = io_join(c->folder, "usage");
	if (!path)
		return -ENOMEM;
	int r = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || (r = -posix_fallocate(fd, 0, 4096)))
		r = r ? r : -errno;
	if (!r) {
		void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			r = -errno;
		else
			c->usage = map;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return r;
}

int cache_open(const char *folder, uint64_t limit_bytes, const unsigned char *boot, struct cache **ret, struct err *e)
{
	struct cache *c = calloc(1, sizeof *c);
	if (!c)
		return err_set(e, -ENOMEM, "%s: out of memory", folder);
	pthread_mutex_init(&c->lock, NULL);
	c->lock_fd = -1;
	c->limit = limit_bytes;
	c->folder = strdup(folder);
	char *lock_path = io_join(folder, "blobs.lock");
	int r = c->folder && lock_path ? 0 : err_set(e, -ENOMEM, "%s: out of memory", folder);
	if (!r)
		r = io_make_folders(folder, 0700, e);
	if (!r) {
		c->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (c->lock_fd < 0)
			r = err_set(e, -errno, "%s: %s; choose another cache folder in mesh.yaml", lock_path, strerror(errno));
	}
	if (!r && (r = map_usage(c)))
		err_set(e, r, "%s: cannot use it as a cache: %s", folder, strerror(-r));
	if (!r && boot)
		memcpy(c->boot, boot, BOOT_SIZE);
	else if (!r && (r = read_boot_id(c->boot)))
		err_set(e, -EIO, "/proc/sys/kernel/random/boot_id: not readable; is /proc mounted?");
	free(lock_path);
	if (r) {
		cache_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	if (c->usage)
		munmap(c->usage, 4096);
	pthread_mutex_destroy(&c->lock);
	free(c->folder);
	free(c);
}

int cache_lock(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	while (flock(c->lock_fd, LOCK_EX)) {
		if (errno == EINTR)
			continue;
		int r = -errno;
		pthread_mutex_unlock(&c->lock);
		return r;
	}
	return 0;
}

void cache_unlock(struct cache *c)
{
	flock(c->lock_fd, LOCK_UN);
	pthread_mutex_unlock(&c->lock);
}

const char *cache_folder(const struct cache *c)
{
	return c->folder;
}

uint64_t cache_limit(const struct cache *c)
{
	return c->limit;
}

uint64_t cache_usage(const struct cache *c)
{
	return atomic_load_explicit(&c->usage->bytes, memory_order_relaxed);
}

void cache_set_usage(struct cache *c, uint64_t bytes)
{
	atomic_store_explicit(&c->usage->bytes, bytes, memory_order_relaxed);
}

bool cache_writable(const struct cache *c)
{
	int64_t until = atomic_load_explicit(&c->broken_until_ms, memory_order_relaxed);
	return !until || clock_mono_ms() >= until;
}

/* Logs when the cache becomes unusable, not for every chunk. */
static void write_failed(struct cache *c, int r)
{
	int64_t before = atomic_exchange(&c->broken_until_ms, clock_mono_ms() + BROKEN_PAUSE_MS);
	if (!before)
		log_warn("%s: cannot write the cache (%s): serving without caching; make room or choose another folder", c->folder,
			 strerror(-r));
}

void cache_count(struct cache *c, const struct cache_counters *more)
{
	atomic_fetch_add_explicit(&c->usage->hits, more->hits, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->usage->misses, more->misses, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->usage->fetched, more->fetched_bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->usage->served, more->served_bytes, memory_order_relaxed);
	atomic_fetch_add_explicit(&c->usage->integrity, more->integrity_errors, memory_order_relaxed);
}

void cache_counters(const struct cache *c, struct cache_counters *ret)
{
	ret->hits = atomic_load_explicit(&c->usage->hits, memory_order_relaxed);
	ret->misses = atomic_load_explicit(&c->usage->misses, memory_order_relaxed);
	ret->fetched_bytes = atomic_load_explicit(&c->usage->fetched, memory_order_relaxed);
	ret->served_bytes = atomic_load_explicit(&c->usage->served, memory_order_relaxed);
	ret->integrity_errors = atomic_load_explicit(&c->usage->integrity, memory_order_relaxed);
}

/* -- opening ------------------------------------------------------------------------------- */

static size_t state_bytes(uint32_t slots)
{
	return sizeof(struct state_header) + (size_t)slots * sizeof(struct slot_record);
}

static char *blob_path(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name)
{
	char hex[SHA256_HEX_SIZE];
	hex_format(name->bytes, SHA256_SIZE, hex);
	return text_format("%s/%s/blobs/%.2s/%c%s", c->folder, domain, hex, (char)kind, hex);
}

static int map_state(struct blob *b)
{
	b->state_bytes = state_bytes(b->slots);
	void *map = mmap(NULL, b->state_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->state_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	b->state = map;
	return 0;
}

/* Bytes of present slots may be gone. */
static void doubt(struct blob *b)
{
	for (uint32_t i = 0; i < b->slots; i++) {
		uint8_t expected = SLOT_PRESENT;
		atomic_compare_exchange_strong(&b->state->slot[i].state, &expected, SLOT_UNVERIFIED);
	}
	atomic_fetch_add(&b->state->header.doubts, 1);
}

/* Present slots of another boot may have outlived their bytes.  The new boot id is written last: a crash repeats the work. */
static void distrust(struct blob *b)
{
	doubt(b);
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(b->state->header.boot, b->cache->boot, BOOT_SIZE);
}

/* -ENOENT: there is none, or not a sound one.  `size` UINT64_MAX accepts any. */
static int open_existing(struct blob *b, const char *data_path, const char *state_path, uint64_t size, uint32_t slots)
{
	struct state_header h;
	struct stat data, state;
	b->state_fd = open(state_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (b->state_fd < 0)
		return -errno;
	b->fd = open(data_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (b->fd < 0)
		return -errno;
	if (fstat(b->fd, &data) || fstat(b->state_fd, &state))
		return -errno;
	if (io_pread_full(b->state_fd, &h, sizeof h, 0) || memcmp(h.magic, STATE_MAGIC, sizeof h.magic) != 0 || h.format != STATE_FORMAT ||
	    h.data_inode != (uint64_t)data.st_ino || h.size != (uint64_t)data.st_size || (uint64_t)state.st_size != state_bytes(h.slots))
		return -ENOENT;
	if (size != UINT64_MAX && (h.size != size || h.slots != slots))
		return -ENOENT;
	b->size = h.size;
	b->slots = h.slots;
	int r = map_state(b);
	if (r)
		return r;
	if (memcmp(b->state->header.boot, b->cache->boot, BOOT_SIZE) != 0)
		distrust(b);
	return 0;
}

/* The state file of b->fd, whose size is `size`; the magic is written last. */
static int make_state(struct blob *b, const char *state_path, uint64_t size, uint32_t slots)
{
	struct stat st;
	b->size = size;
	b->slots = slots;
	if (fstat(b->fd, &st))
		return -errno;
	if (size >= NO_ACCESS_TIME_MIN)
		io_no_access_time(b->fd);
	b->state_fd = open(state_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b->state_fd < 0)
		return -errno;
	int r = -posix_fallocate(b->state_fd, 0, (off_t)state_bytes(slots));
	if (!r)
		r = map_state(b);
	if (r)
		return r;
	struct state_header *h = &b->state->header;
	h->format = STATE_FORMAT;
	h->slots = slots;
	h->size = size;
	h->data_inode = (uint64_t)st.st_ino;
	memcpy(h->boot, b->cache->boot, BOOT_SIZE);
	atomic_signal_fence(memory_order_seq_cst);
	memcpy(h->magic, STATE_MAGIC, sizeof h->magic);
	atomic_fetch_add_explicit(&b->cache->usage->bytes, state_bytes(slots), memory_order_relaxed);
	return 0;
}

static int make_blob(struct blob *b, const char *data_path, const char *state_path, uint64_t size, uint32_t slots)
{
	unlink(state_path);
	unlink(data_path);
	int r = io_make_parents(data_path, 0700, NULL);
	if (r)
		return r;
	b->fd = open(data_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b->fd < 0 || ftruncate(b->fd, (off_t)size))
		return -errno;
	return make_state(b, state_path, size, slots);
}

static void close_files(struct blob *b)
{
	if (b->state)
		munmap(b->state, b->state_bytes);
	if (b->fd >= 0)
		close(b->fd);
	if (b->state_fd >= 0)
		close(b->state_fd);
	b->state = NULL;
	b->fd = b->state_fd = -1;
}

static int open_or_make(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, uint64_t size, uint32_t slots,
			bool make, struct blob **ret)
{
	struct blob *b = calloc(1, sizeof *b);
	char *stem = blob_path(c, domain, kind, name);
	char *data_path = stem ? text_format("%s.data", stem) : NULL, *state_path = stem ? text_format("%s.state", stem) : NULL;
	int r = b && data_path && state_path ? 0 : -ENOMEM;
	if (b)
		*b = (struct blob){ .refs = 1, .cache = c, .fd = -1, .state_fd = -1 };
	if (r)
		goto out;
	r = cache_lock(c);
	if (r)
		goto out;
	r = open_existing(b, data_path, state_path, size, slots);
	if (r == -ENOENT && make) {
		close_files(b);
		r = cache_writable(c) ? make_blob(b, data_path, state_path, size, slots) : -EIO;
		if (r) {
			unlink(state_path);
			unlink(data_path);
			write_failed(c, r);
		}
	}
	cache_unlock(c);
	if (!r) {
		blob_touch(b);
		*ret = b;
		b = NULL;
	}
out:
	blob_close(b);
	free(stem);
	free(data_path);
	free(state_path);
	return r;
}

int blob_open(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, uint64_t size, uint32_t slots,
	      struct blob **ret)
{
	return open_or_make(c, domain, kind, name, size, slots, true, ret);
}

int blob_open_existing(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, struct blob **ret)
{
	return open_or_make(c, domain, kind, name, UINT64_MAX, 0, false, ret);
}

struct blob *blob_ref(struct blob *b)
{
	atomic_fetch_add(&b->refs, 1);
	return b;
}

void blob_close(struct blob *b)
{
	if (!b || atomic_fetch_sub(&b->refs, 1) > 1)
		return;
	close_files(b);
	free(b);
}

int blob_temp(struct cache *c, const char *domain, int *ret_fd)
{
	char *folder = text_format("%s/%s/blobs", c->folder, domain);
	int r = folder ? io_make_folders(folder, 0700, NULL) : -ENOMEM;
	if (!r && !cache_writable(c))
		r = -EIO;
	if (!r) {
		int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); /* without a name: nothing is left after a crash */
		if (fd < 0)
			r = -errno;
		else
			*ret_fd = fd;
	}
	free(folder);
	return r;
}

static int link_temp(int fd, const char *data_path, const char *state_path)
{
	char from[64];
	unlink(state_path);
	unlink(data_path);
	int r = io_make_parents(data_path, 0700, NULL);
	if (r)
		return r;
	snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
	return linkat(AT_FDCWD, from, AT_FDCWD, data_path, AT_SYMLINK_FOLLOW) ? -errno : 0;
}

int blob_adopt(struct cache *c, const char *domain, enum blob_kind kind, const struct digest *name, int fd, uint64_t size, uint32_t slots,
	       const uint64_t *ends, const struct xxh128 *hashes)
{
	struct blob *b = calloc(1, sizeof *b);
	char *stem = blob_path(c, domain, kind, name);
	char *data_path = stem ? text_format("%s.data", stem) : NULL, *state_path = stem ? text_format("%s.state", stem) : NULL;
	int r = b && data_path && state_path ? 0 : -ENOMEM;
	if (b)
		*b = (struct blob){ .refs = 1, .cache = c, .fd = -1, .state_fd = -1 };
	if (!r)
		r = cache_lock(c);
	if (r)
		goto out;
	r = link_temp(fd, data_path, state_path);
	if (!r) {
		b->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		r = b->fd < 0 ? -errno : make_state(b, state_path, size, slots);
	}
	for (uint32_t i = 0; i < slots && !r; i++)
		blob_mark(b, i, i ? ends[i - 1] : 0, (uint32_t)(ends[i] - (i ? ends[i - 1] : 0)), &hashes[i]);
	if (r) {
		unlink(state_path);
		unlink(data_path);
	}
	cache_unlock(c);
out:
	blob_close(b);
	free(stem);
	free(data_path);
	free(state_path);
	return r;
}

/* -- using ---------------------------------------------------------------------------------- */

uint64_t blob_size(const struct blob *b)
{
	return b->size;
}

uint32_t blob_slots(const struct blob *b)
{
	return b->slots;
}

enum slot_state blob_state(const struct blob *b, uint32_t slot)
{
	if (slot >= b->slots)
		return SLOT_ABSENT;
	return (enum slot_state)atomic_load_explicit(&b->state->slot[slot].state, memory_order_acquire);
}

bool blob_whole(struct blob *b)
{
	const uint32_t doubts = atomic_load_explicit(&b->state->header.doubts, memory_order_acquire);
	uint32_t i = atomic_exchange(&b->doubts, doubts) == doubts ? atomic_load_explicit(&b->scanned, memory_order_relaxed) : 0;
	while (i < b->slots && blob_state(b, i) == SLOT_PRESENT)
		i++;
	atomic_store_explicit(&b->scanned, i, memory_order_relaxed);
	return i == b->slots;
}

bool blob_doomed(struct blob *b)
{
	struct stat st;
	return fstat(b->fd, &st) || st.st_nlink == 0;
}

/* Somebody cut the file off?  Then it gets its length back before a write would, with zeros where bytes were thought to be. */
static void mend_length(struct blob *b)
{
	struct stat st;
	if (fstat(b->fd, &st) || (uint64_t)st.st_size == b->size)
		return;
	log_warn("%s: a file of the cache was changed by somebody else: its chunks are checked before they are used", b->cache->folder);
	doubt(b);
	if (ftruncate(b->fd, (off_t)b->size))
		write_failed(b->cache, -errno);
}

int blob_read(struct blob *b, void *bytes, size_t len, uint64_t offset)
{
	int r = io_pread_full(b->fd, bytes, len, offset);
	if (r)
		mend_length(b);
	return r;
}

int blob_write(struct blob *b, const void *bytes, size_t len, uint64_t offset)
{
	if (!cache_writable(b->cache))
		return -EIO;
	mend_length(b);
	int r = offset + len <= b->size ? io_pwrite_full(b->fd, bytes, len, offset) : -EINVAL;
	if (r)
		write_failed(b->cache, r);
	else if (atomic_load_explicit(&b->cache->broken_until_ms, memory_order_relaxed))
		atomic_store(&b->cache->broken_until_ms, 0);
	return r;
}

static void mark(struct blob *b, uint32_t slot, uint64_t offset, uint32_t length, enum slot_hash kind, const unsigned char hash[16])
{
	if (slot >= b->slots)
		return;
	struct slot_record *s = &b->state->slot[slot];
	uint8_t before = atomic_load_explicit(&s->state, memory_order_acquire);
	if (before == SLOT_PRESENT)
		return;
	s->offset = offset;
	s->length = length;
	s->kind = (uint8_t)kind;
	memcpy(s->hash, hash, sizeof s->hash);
	atomic_store_explicit(&s->state, SLOT_PRESENT, memory_order_release);
	if (before == SLOT_ABSENT)
		atomic_fetch_add_explicit(&b->cache->usage->bytes, length, memory_order_relaxed);
}

void blob_mark(struct blob *b, uint32_t slot, uint64_t offset, uint32_t length, const struct xxh128 *hash)
{
	mark(b, slot, offset, length, HASH_XXH128, hash->bytes);
}

void blob_mark_sha256(struct blob *b, uint32_t slot, uint64_t offset, uint32_t length, const unsigned char sha256[SLOT_SHA256_SIZE])
{
	mark(b, slot, offset, length, HASH_SHA256, sha256);
}

void blob_drop(struct blob *b, uint32_t slot)
{
	if (slot >= b->slots)
		return;
	atomic_store_explicit(&b->state->slot[slot].state, SLOT_ABSENT, memory_order_release);
	uint32_t scanned = atomic_load(&b->scanned);
	if (scanned > slot)
		atomic_store(&b->scanned, slot);
}

bool blob_record(const struct blob *b, uint32_t slot, uint64_t *ret_offset, uint32_t *ret_length)
{
	if (blob_state(b, slot) == SLOT_ABSENT)
		return false;
	const struct slot_record *s = &b->state->slot[slot];
	uint64_t offset = s->offset;
	uint32_t length = s->length;
	if (offset > b->size || length > b->size - offset)
		return false;
	*ret_offset = offset;
	*ret_length = length;
	return true;
}

static bool matches(const struct slot_record *s, const void *bytes, uint32_t length)
{
	struct xxh128 hash;
	struct digest digest;
	if (s->kind == HASH_SHA256) {
		sha256_of(bytes, length, &digest);
		return !memcmp(digest.bytes, s->hash, sizeof s->hash);
	}
	xxh128_of(bytes, length, &hash);
	return s->kind == HASH_XXH128 && !memcmp(hash.bytes, s->hash, sizeof s->hash);
}

bool blob_check(struct blob *b, uint32_t slot, void *room)
{
	uint64_t offset;
	uint32_t length;
	const bool sound = blob_record(b, slot, &offset, &length) && !blob_read(b, room, length, offset) &&
			   matches(&b->state->slot[slot], room, length);
	uint8_t unverified = SLOT_UNVERIFIED;
	if (sound)
		atomic_compare_exchange_strong(&b->state->slot[slot].state, &unverified, SLOT_PRESENT);
	else
		blob_drop(b, slot);
	return sound;
}

int blob_reopen(const struct blob *b, int *ret_fd)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", b->fd); /* works for an unlinked file too */
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

void blob_touch(struct blob *b)
{
	int64_t now = clock_mono_ns(), last = atomic_load_explicit(&b->touched_ns, memory_order_relaxed);
	if (last && now - last < TOUCH_INTERVAL_NS)
		return;
	if (atomic_compare_exchange_strong(&b->touched_ns, &last, now))
		futimens(b->state_fd, NULL);
}
