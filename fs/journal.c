#include "fs/journal.h"

#include "catalog/base/clock.h"
#include "catalog/base/hash.h"
#include "catalog/base/io.h"
#include "catalog/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC "meshfs journal 1"
#define HEADER_SIZE 4096u
#define SLOTS_MAX (1u << 24)
#define TEXTS_MAX (1u << 30)
#define TEXTS_AHEAD_MIN (1u << 20)
#define PAGE 4096u /* larger ones only make it coarser */

struct slot {
	int64_t when_ns;
	uint64_t amount;
	uint32_t kind;
	uint32_t context, name, process;
	uint64_t spare[3];
	_Atomic uint64_t check; /* written last */
};
_Static_assert(sizeof(struct slot) == 64, "a slot is a cache line");

/* The first part never changes after creation; the rest is the owner's to change. */
struct header {
	char magic[16];
	unsigned char id[16];
	uint32_t slots, text_bytes;
	uint64_t check; /* of the above */
	_Alignas(64) _Atomic uint32_t count;
	_Atomic uint32_t text_used;
	_Atomic uint32_t sealed;
	_Alignas(64) _Atomic uint64_t lost;
	_Atomic int64_t lost_first_ns, lost_last_ns;
};
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "the header has one page");

struct text {
	uint32_t len;
	uint32_t check;
	char bytes[];
};

struct journal {
	int fd;
	char *path;
	void *map;
	size_t map_size;
	struct header *header;
	struct slot *slots;
	char *texts;
	uint32_t slot_count, text_bytes; /* checked against the file's size */
	uint64_t seed;
	size_t faulted; /* bytes of the map, from its start, whose pages are there to be written */
	bool owned; /* made here */
	bool dead;  /* adopted: the owner is gone */
	char id[JOURNAL_ID_SIZE];
};

static size_t size_of(uint32_t slots, uint32_t text_bytes)
{
	return HEADER_SIZE + (size_t)slots * sizeof(struct slot) + text_bytes;
}

static uint64_t header_check(const struct header *h)
{
	return XXH3_64bits(h, offsetof(struct header, check));
}

static uint64_t slot_check(const struct journal *j, uint32_t index)
{
	/* A slot of zeros must not pass: the sum is never 0. */
	return XXH3_64bits_withSeed(&j->slots[index], offsetof(struct slot, check), j->seed ^ (index + 1)) | 1;
}

static uint32_t text_check(const struct journal *j, uint32_t offset, const void *bytes, size_t len)
{
	return (uint32_t)XXH3_64bits_withSeed(bytes, len, j->seed + offset) | 1;
}

static void place(struct journal *j)
{
	j->header = j->map;
	j->slots = (struct slot *)((char *)j->map + HEADER_SIZE);
	j->texts = (char *)j->map + HEADER_SIZE + (size_t)j->slot_count * sizeof(struct slot);
	memcpy(&j->seed, j->header->id, sizeof j->seed);
	hex_format(j->header->id, sizeof j->header->id, j->id);
}

static int map_file(struct journal *j, size_t size, struct err *e)
{
	void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
	if (map == MAP_FAILED)
		return err_set(e, -errno, "%s: cannot map the lineage journal: %s", j->path, strerror(errno));
	j->map = map;
	j->map_size = size;
	return 0;
}

/* The page faults up to `end` now, on the caller's time, not in an open. */
static void fault_in(struct journal *j, size_t end)
{
	end = (end + PAGE - 1) & ~(size_t)(PAGE - 1);
	end = end < j->map_size ? end : j->map_size;
	if (end <= j->faulted)
		return;
#ifdef MADV_POPULATE_WRITE
	madvise((char *)j->map + j->faulted, end - j->faulted, MADV_POPULATE_WRITE);
#endif
	j->faulted = end & ~(size_t)(PAGE - 1);
}

void journal_prepare(struct journal *j)
{
	uint32_t used = atomic_load_explicit(&j->header->text_used, memory_order_relaxed);
	size_t ahead = used < TEXTS_AHEAD_MIN ? TEXTS_AHEAD_MIN : used;
	fault_in(j, (size_t)(j->texts - (char *)j->map) + used + ahead);
}

/* The file gets its name only when it is whole and locked, so that nobody adopts half a segment. */
static int fill_new(struct journal *j, const char *temporary, const struct journal_size *size, struct err *e)
{
	j->slot_count = size->slots;
	j->text_bytes = size->text_bytes;
	size_t bytes = size_of(size->slots, size->text_bytes);
	int r = posix_fallocate(j->fd, 0, (off_t)bytes);
	if (r)
		return err_set(e, -r, "%s: cannot allocate %zu bytes for the lineage journal: %s", j->path, bytes, strerror(r));
	if (flock(j->fd, LOCK_EX | LOCK_NB))
		return err_set(e, -errno, "%s: cannot lock the lineage journal: %s", j->path, strerror(errno));
	r = map_file(j, bytes, e);
	if (r)
		return r;
	struct header *h = j->map;
	memcpy(h->magic, MAGIC, sizeof h->magic);
	if (hex_parse(j->id, h->id, sizeof h->id))
		return err_set(e, -EINVAL, "%s: not a journal's id", j->id);
	h->slots = size->slots;
	h->text_bytes = size->text_bytes;
	h->check = header_check(h);
	atomic_store_explicit(&h->text_used, 8, memory_order_relaxed); /* offset 0 means none */
	place(j);
	fault_in(j, HEADER_SIZE + (size_t)j->slot_count * sizeof(struct slot));
	if (rename(temporary, j->path))
		return err_set(e, -errno, "%s: %s", j->path, strerror(errno));
	return 0;
}

int journal_create(const char *folder, const struct journal_size *size, struct journal **ret, struct err *e)
{
	unsigned char id[16];
	if (size->slots == 0 || size->slots > SLOTS_MAX || size->text_bytes < 64 || size->text_bytes > TEXTS_MAX)
		return err_set(e, -EINVAL, "a lineage journal of %u slots is not possible", size->slots);
	if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
		return err_set(e, -EIO, "no random bytes for the lineage journal's id");
	struct journal *j = calloc(1, sizeof *j);
	if (!j)
		return err_set(e, -ENOMEM, "no memory for the lineage journal");
	hex_format(id, sizeof id, j->id);
	j->owned = true;
	j->fd = -1;
	j->path = text_format("%s/%s" JOURNAL_SUFFIX, folder, j->id);
	char *temporary = text_format("%s/%s.new", folder, j->id);
	int r = -ENOMEM;
	if (!j->path || !temporary) {
		err_set(e, r, "no memory for the lineage journal");
		goto out;
	}
	j->fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (j->fd < 0) {
		r = err_set(e, -errno, "%s: cannot make the lineage journal: %s", temporary, strerror(errno));
		goto out;
	}
	r = fill_new(j, temporary, size, e);
	if (r)
		unlink(temporary);
out:
	free(temporary);
	if (r)
		journal_close(j);
	else
		*ret = j;
	return r;
}

static int check_file(struct journal *j, struct err *e)
{
	struct stat st;
	struct header h;
	if (fstat(j->fd, &st))
		return err_set(e, -errno, "%s: %s", j->path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return err_set(e, -EACCES, "%s: not a lineage journal of this user", j->path);
	if (st.st_size < (off_t)HEADER_SIZE || io_pread_full(j->fd, &h, sizeof h, 0))
		return err_set(e, -EBADMSG, "%s: too short for a lineage journal", j->path);
	if (memcmp(h.magic, MAGIC, sizeof h.magic) != 0 || h.check != header_check(&h) || h.slots > SLOTS_MAX || h.text_bytes > TEXTS_MAX ||
	    (size_t)st.st_size != size_of(h.slots, h.text_bytes))
		return err_set(e, -EBADMSG, "%s: its header is damaged, so it cannot be read as a lineage journal", j->path);
	j->slot_count = h.slots;
	j->text_bytes = h.text_bytes;
	return 0;
}

int journal_open(const char *path, struct journal **ret, struct err *e)
{
	struct journal *j = calloc(1, sizeof *j);
	if (!j)
		return err_set(e, -ENOMEM, "no memory for the lineage journal");
	j->fd = -1;
	j->path = strdup(path);
	int r = j->path ? 0 : err_set(e, -ENOMEM, "no memory for the lineage journal");
	if (r)
		goto out;
	j->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (j->fd < 0) {
		r = err_set(e, -errno, "%s: %s", path, strerror(errno));
		goto out;
	}
	r = check_file(j, e);
	if (!r)
		r = map_file(j, size_of(j->slot_count, j->text_bytes), e);
	if (!r)
		place(j);
out:
	if (r)
		journal_close(j);
	else
		*ret = j;
	return r;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->map)
		munmap(j->map, j->map_size);
	if (j->fd >= 0)
		close(j->fd);
	free(j->path);
	free(j);
}

int journal_unlink(struct journal *j)
{
	return unlink(j->path) ? -errno : 0;
}

const char *journal_id(const struct journal *j)
{
	return j->id;
}

const char *journal_path(const struct journal *j)
{
	return j->path;
}

bool journal_owned(const struct journal *j)
{
	return j->owned;
}

bool journal_gone(const struct journal *j)
{
	return access(j->path, F_OK) != 0;
}

bool journal_adopt(struct journal *j)
{
	if (!j->dead && !flock(j->fd, LOCK_EX | LOCK_NB))
		j->dead = true;
	return j->dead;
}

int journal_add_text(struct journal *j, const void *bytes, size_t len, uint32_t *ret)
{
	if (len > JOURNAL_TEXT_MAX)
		return -E2BIG;
	uint32_t offset = atomic_load_explicit(&j->header->text_used, memory_order_relaxed);
	uint32_t need = (uint32_t)((sizeof(struct text) + len + 7) & ~(size_t)7);
	if (j->text_bytes - offset < need)
		return -ENOSPC;
	struct text *t = (struct text *)(void *)(j->texts + offset);
	t->len = (uint32_t)len;
	memcpy(t->bytes, bytes, len);
	t->check = text_check(j, offset, bytes, len);
	atomic_store_explicit(&j->header->text_used, offset + need, memory_order_release);
	*ret = offset;
	return 0;
}

int journal_append(struct journal *j, const struct journal_record *r)
{
	uint32_t index = atomic_load_explicit(&j->header->count, memory_order_relaxed);
	if (index >= j->slot_count || atomic_load_explicit(&j->header->sealed, memory_order_relaxed))
		return -ENOSPC;
	struct slot *s = &j->slots[index];
	s->when_ns = r->when_ns;
	s->amount = r->amount;
	s->kind = r->kind;
	s->context = r->context;
	s->name = r->name;
	s->process = r->process;
	atomic_store_explicit(&s->check, slot_check(j, index), memory_order_release);
	atomic_store_explicit(&j->header->count, index + 1, memory_order_release);
	return 0;
}

void journal_seal(struct journal *j)
{
	atomic_store_explicit(&j->header->sealed, 1, memory_order_release);
}

bool journal_sealed(const struct journal *j)
{
	return atomic_load_explicit(&j->header->sealed, memory_order_acquire) != 0;
}

uint32_t journal_count(const struct journal *j)
{
	uint32_t count = atomic_load_explicit(&j->header->count, memory_order_acquire);
	return count < j->slot_count ? count : j->slot_count;
}

int journal_read(const struct journal *j, uint32_t index, uint32_t count, struct journal_record *ret)
{
	if (index >= j->slot_count || (index >= count && !j->dead))
		return -ENODATA;
	const struct slot *s = &j->slots[index];
	if (atomic_load_explicit(&s->check, memory_order_acquire) != slot_check(j, index) || s->kind < RECORD_OPEN ||
	    s->kind > RECORD_VIEW)
		return index < count ? -EBADMSG : -ENODATA;
	*ret = (struct journal_record){ (enum record_kind)s->kind, s->when_ns, s->context, s->name, s->process, s->amount };
	return 0;
}

int journal_text(const struct journal *j, uint32_t offset, const char **ret, size_t *ret_len)
{
	if (offset < 8 || offset % 8 || offset > j->text_bytes || j->text_bytes - offset < sizeof(struct text))
		return -EBADMSG;
	const struct text *t = (const struct text *)(const void *)(j->texts + offset);
	size_t len = t->len;
	if (len > JOURNAL_TEXT_MAX || len > j->text_bytes - offset - sizeof(struct text) || t->check != text_check(j, offset, t->bytes, len))
		return -EBADMSG;
	*ret = t->bytes;
	*ret_len = len;
	return 0;
}

const char *journal_own_text(const struct journal *j, uint32_t offset, size_t len)
{
	const struct text *t = (const struct text *)(const void *)(j->texts + offset);
	return t->len == len ? t->bytes : NULL;
}

void journal_lose(struct journal *j, int64_t when_ns)
{
	struct header *h = j->header;
	int64_t none = 0;
	atomic_compare_exchange_strong(&h->lost_first_ns, &none, when_ns);
	atomic_store(&h->lost_last_ns, when_ns);
	atomic_fetch_add(&h->lost, 1);
}

void journal_gap(const struct journal *j, struct journal_gap *ret)
{
	struct header *h = j->header;
	ret->lost = atomic_load(&h->lost);
	ret->first_ns = atomic_load(&h->lost_first_ns);
	ret->last_ns = atomic_load(&h->lost_last_ns);
}
