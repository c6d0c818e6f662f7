#include "catalog/pack.h"
#include "test/unit/check.h"

#include <errno.h>

#define COUNT 50

struct packed {
	unsigned char *bytes; /* a copy of the object */
	size_t len;
	struct manifest_pack pack;
	struct manifest_chunk chunks[COUNT];
	char raw[COUNT][2000];
};

static struct packed made;

static void make_pack(void)
{
	struct pack_builder *b = pack_builder_new();
	struct codec *codec = codec_new();
	const void *bytes;
	memset(&made, 0, sizeof made);
	for (int i = 0; i < COUNT; i++) {
		struct manifest_chunk *c = &made.chunks[i];
		c->length = (uint32_t)(40 * i + 1);
		for (uint32_t k = 0; k < c->length; k++) /* even ones compress, odd ones do not */
			made.raw[i][k] = i & 1 ? (char)((k * 2654435761u + (uint32_t)i) >> 11) : (char)('a' + i % 26);
		sha256_of(made.raw[i], c->length, &c->digest);
		const void *stored;
		size_t n;
		CHECK_INT(codec_pack(codec, made.raw[i], c->length, &stored, &n, &c->codec), 0);
		c->stored_length = (uint32_t)n;
		CHECK_INT(pack_builder_add(b, stored, c), 0);
	}
	CHECK_INT(pack_builder_finish(b, &bytes, &made.len, &made.pack), 0);
	made.bytes = malloc(made.len);
	memcpy(made.bytes, bytes, made.len);
	codec_free(codec);
	pack_builder_free(b);
}

static int same_chunk(void *arg, const struct manifest_chunk *c)
{
	uint32_t *next = arg;
	const struct manifest_chunk *m = &made.chunks[(*next)++];
	return !digest_equal(&c->digest, &m->digest) || c->pack_offset != m->pack_offset || c->raw_offset != m->raw_offset ||
	       c->slot != m->slot || c->codec != m->codec || c->stored_length != m->stored_length || c->length != m->length;
}

static int read_toc(const unsigned char *bytes, size_t len, const struct digest *name, uint32_t *ret_count)
{
	uint64_t offset;
	size_t toc_len;
	*ret_count = 0;
	if (len < PACK_TRAILER)
		return -EBADMSG;
	int r = pack_toc_find(len, bytes + len - PACK_TRAILER, &offset, &toc_len);
	return r ? r : pack_toc_parse(bytes + offset, toc_len, offset, name, same_chunk, ret_count);
}

static void name_of(struct digest *ret)
{
	hex_parse(strrchr(made.pack.key, '/') + 1, ret->bytes, SHA256_SIZE);
}

TEST(round_trip)
{
	struct digest name;
	uint32_t count;
	char raw[2000];
	struct codec *codec = codec_new();
	bool packed = false;
	make_pack();
	name_of(&name);
	CHECK_INT(read_toc(made.bytes, made.len, &name, &count), 0);
	CHECK_INT(count, COUNT);
	CHECK_INT(made.pack.slots, COUNT);
	CHECK_INT(made.pack.size, made.len);
	for (int i = 0; i < COUNT; i++) {
		const struct manifest_chunk *c = &made.chunks[i];
		CHECK_INT(codec_unpack(codec, c->codec, made.bytes + c->pack_offset, c->stored_length, raw, c->length), 0);
		CHECK(!memcmp(raw, made.raw[i], c->length));
		packed |= c->codec == CODEC_ZSTD;
	}
	CHECK(packed);
	codec_free(codec);
	free(made.bytes);
}

TEST(two_packs_of_the_same_chunks_have_two_names)
{
	char key[sizeof made.pack.key];
	make_pack();
	memcpy(key, made.pack.key, sizeof key);
	free(made.bytes);
	make_pack();
	CHECK(strcmp(key, made.pack.key) != 0);
	free(made.bytes);
}

TEST(every_truncation_is_noticed)
{
	struct digest name;
	uint32_t count;
	make_pack();
	name_of(&name);
	for (size_t n = 0; n < made.len; n++)
		CHECK_INT(read_toc(made.bytes, n, &name, &count), -EBADMSG);
	free(made.bytes);
}

TEST(every_flipped_bit_of_the_table_is_noticed)
{
	struct digest name;
	uint32_t count;
	uint64_t offset;
	size_t toc_len;
	make_pack();
	name_of(&name);
	CHECK_INT(pack_toc_find(made.len, made.bytes + made.len - PACK_TRAILER, &offset, &toc_len), 0);
	for (size_t i = offset; i < made.len; i++) {
		for (int bit = 0; bit < 8; bit++) {
			made.bytes[i] ^= (unsigned char)(1 << bit);
			CHECK(read_toc(made.bytes, made.len, &name, &count) != 0);
			made.bytes[i] ^= (unsigned char)(1 << bit);
		}
	}
	free(made.bytes);
}

TEST(broken_stored_bytes_do_not_crash)
{
	struct codec *codec = codec_new();
	char raw[2000];
	make_pack();
	for (int i = 0; i < COUNT; i += 2) {
		struct manifest_chunk *c = &made.chunks[i];
		if (c->codec != CODEC_ZSTD)
			continue;
		unsigned char *stored = made.bytes + c->pack_offset;
		CHECK_INT(codec_unpack(codec, CODEC_ZSTD, stored, c->stored_length, raw, c->length - 1), -EBADMSG);
		CHECK_INT(codec_unpack(codec, CODEC_ZSTD, stored, c->stored_length - 1, raw, c->length), -EBADMSG);
		for (uint32_t k = 0; k < c->stored_length; k++) {
			stored[k] ^= 0x55;
			codec_unpack(codec, CODEC_ZSTD, stored, c->stored_length, raw, c->length); /* any outcome, in bounds */
			stored[k] ^= 0x55;
		}
	}
	CHECK_INT(codec_unpack(codec, CODEC_RAW, "abc", 3, raw, 4), -EBADMSG);
	codec_free(codec);
	free(made.bytes);
}

CHECK_MAIN()
