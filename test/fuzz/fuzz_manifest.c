/*
 * A manifest as a store gives it: a sound one with damage.  The input is a list of patches (where: 3 bytes, what: 1 byte), so that the fuzzer spends its
 * time behind the header.  What is read of it must be within its bounds; a chunk's leaves are the chunk's or refused.
 */
#include "catalog/manifest.h"
#include "catalog/manifest_write.h"
#include "test/fuzz/suppress.h"

#include "catalog/base/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNKS_SEEN 64

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf sound;
static int memory;
static char path[64];

static void must(int r)
{
	if (r)
		abort();
}

static void put_files(struct stage *s)
{
	static unsigned char bytes[300000];
	struct manifest_pack pack = { .key = ".mesh/packs/one", .size = 1 << 20, .raw_size = 4 * sizeof bytes, .slots = 4 };
	struct err e = ERR_INIT;
	uint32_t number;
	uint64_t first = 0;
	must(stage_pack(s, &pack, &number, &e));
	for (uint32_t file = 0; file < 4; file++) {
		struct leaf leaves[LEAVES_MAX];
		struct manifest_entry en = { .kind = ENTRY_FILE, .size = sizeof bytes, .chunk_count = 1, .mtime_ns = 5 };
		struct manifest_chunk c = { .length = sizeof bytes, .pack = number, .pack_offset = file * 1000, .stored_length = 900, .codec = CODEC_ZSTD,
					    .raw_offset = file * sizeof bytes, .slot = file };
		char name[32];
		bytes[0] = (unsigned char)file;
		chunk_digest_of(bytes, sizeof bytes, leaves, &c.digest);
		must(stage_chunk(s, &c, leaves, &first, &e));
		snprintf(name, sizeof name, "folder%u/part.csv", file / 2);
		if (file % 2)
			snprintf(name, sizeof name, "part-%u.csv", file);
		must(stage_put(s, name, &en, first, NULL, 0, false, &e));
	}
	const struct manifest_entry link = { .kind = ENTRY_SYMLINK };
	must(stage_put(s, "link", &link, 0, "part-1.csv", 10, false, &e));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	char folder[] = "/tmp/meshfs-fuzz-XXXXXX", file[64];
	struct stage *s;
	struct stage_result done;
	struct err e = ERR_INIT;
	must(!mkdtemp(folder));
	snprintf(file, sizeof file, "%s/manifest", folder);
	must(stage_new(folder, &s, &e));
	put_files(s);
	must(stage_write(s, file, "sales", "orders", "1.0.0", 9, &done, &e));
	stage_free(s);
	must(io_read_file(file, 16 << 20, &sound, &e));
	io_remove_tree(folder, NULL);
	memory = memfd_create("manifest", MFD_CLOEXEC);
	must(memory < 0 || ftruncate(memory, (off_t)sound.len));
	snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
	return 0;
}

static void look_at_chunks(struct manifest *m, const struct manifest_entry *en)
{
	struct manifest_chunk k[CHUNKS_SEEN];
	const uint32_t count = en->chunk_count < CHUNKS_SEEN ? en->chunk_count : CHUNKS_SEEN;
	struct leaf leaves[LEAVES_MAX];
	struct manifest_pack pack;
	uint32_t index;
	if (!count || manifest_chunks(m, en->row, 0, count, k))
		return;
	for (uint32_t i = 0; i < count; i++) {
		if (!manifest_pack(m, k[i].pack, &pack))
			manifest_pack_chunks(m, k[i].pack, 0, 2, k + (i < CHUNKS_SEEN - 2 ? i : 0));
		if (leaf_count(k[i].length) && leaf_count(k[i].length) <= LEAVES_MAX)
			manifest_leaves(m, en->row, i, &k[i], leaves);
	}
	if (en->size && !manifest_chunk_at(m, en->row, en->size - 1, &index) && index >= en->chunk_count)
		abort();
}

static int look_at_entry(void *arg, const struct manifest_entry *en, const char *name)
{
	struct manifest *m = arg;
	struct buf out = BUF_INIT;
	if (strstr(name, "//") || name[0] == '/' || !strncmp(name, "../", 3))
		abort();
	if (en->kind == ENTRY_FILE)
		look_at_chunks(m, en);
	else if (en->kind == ENTRY_SYMLINK && !manifest_link(m, en->row, &out) && symlink_check(name, out.data, out.len))
		abort();
	buf_free(&out);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct manifest *m;
	struct err e = ERR_INIT;
	must(pwrite(memory, sound.data, sound.len, 0) != (ssize_t)sound.len);
	for (; size >= 4; data += 4, size -= 4)
		must(pwrite(memory, data + 3, 1, (off_t)((((size_t)data[0] << 16 | (size_t)data[1] << 8 | data[2]) % sound.len))) != 1);
	if (manifest_open(path, "sales", "orders", "1.0.0", &m, &e))
		return 0;
	manifest_walk(m, look_at_entry, m);
	struct manifest_entry en;
	manifest_resolve(m, "folder0/part.csv", &en);
	manifest_unref(m);
	return 0;
}
