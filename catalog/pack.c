#include "catalog/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zstd.h>

#define MAGIC "MESHPACK"
#define MAGIC_TOC "MESHTOC1"
#define MAGIC_SIZE 8
#define NONCE_SIZE 16
#define ENTRY_SIZE (SHA256_SIZE + 4 + 4 + 1)
#define TOC_MAX (NONCE_SIZE + (size_t)PACK_CHUNKS_MAX * ENTRY_SIZE)
#define CHUNK_BYTES_MAX ((64u << 20) + 1)

#define ZSTD_LEVEL 1
#define SAMPLE 16384       /* bytes tried before a whole chunk is */
#define COMPRESS_MIN 256   /* shorter chunks stay raw */

static void put32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

void pack_key(const struct digest *name, char ret_key[PACK_KEY_SIZE])
{
	char hex[SHA256_HEX_SIZE];
	hex_format(name->bytes, SHA256_SIZE, hex);
	snprintf(ret_key, PACK_KEY_SIZE, ".mesh/packs/%s", hex);
}

/* -- building ------------------------------------------------------------------------------- */

struct pack_builder {
	unsigned char *bytes; /* the object so far */
	size_t len, cap;
	unsigned char *toc; /* the table so far, its nonce first */
	size_t toc_len, toc_cap;
	uint64_t raw_size;
	uint32_t slots;
};

static int grow(unsigned char **bytes, size_t *cap, size_t need)
{
	if (need <= *cap)
		return 0;
	size_t size = *cap ? *cap : 4096;
	while (size < need)
		size += size / 2;
	unsigned char *p = realloc(*bytes, size);
	if (!p)
		return -ENOMEM;
	*bytes = p;
	*cap = size;
	return 0;
}

void pack_builder_reset(struct pack_builder *b)
{
	b->len = MAGIC_SIZE;
	b->toc_len = NONCE_SIZE;
	b->raw_size = 0;
	b->slots = 0;
}

struct pack_builder *pack_builder_new(void)
{
	struct pack_builder *b = calloc(1, sizeof *b);
	/* Room for a usual pack at once: pages that are not touched cost nothing. */
	if (!b || grow(&b->bytes, &b->cap, 64) || grow(&b->toc, &b->toc_cap, NONCE_SIZE)) {
		pack_builder_free(b);
		return NULL;
	}
	memcpy(b->bytes, MAGIC, MAGIC_SIZE);
	pack_builder_reset(b);
	return b;
}

void pack_builder_free(struct pack_builder *b)
{
	if (!b)
		return;
	free(b->bytes);
	free(b->toc);
	free(b);
}

bool pack_builder_empty(const struct pack_builder *b)
{
	return b->slots == 0;
}

bool pack_builder_full(const struct pack_builder *b, size_t stored_length)
{
	return b->slots >= PACK_CHUNKS_MAX || (b->slots && b->len + stored_length > PACK_TARGET);
}

int pack_builder_add(struct pack_builder *b, const void *stored, struct manifest_chunk *c)
{
	/* Sized to the target on first use, so that small versions stay small and big ones are not copied around. */
	size_t need = b->len + c->stored_length;
	if (need > b->cap && need > (4u << 20) && need < PACK_TARGET)
		need = PACK_TARGET;
	if (grow(&b->bytes, &b->cap, need) || grow(&b->toc, &b->toc_cap, b->toc_len + ENTRY_SIZE))
		return -ENOMEM;
	memcpy(b->bytes + b->len, stored, c->stored_length);
	c->pack_offset = b->len;
	c->raw_offset = b->raw_size;
	c->slot = b->slots;
	unsigned char *t = b->toc + b->toc_len;
	memcpy(t, c->digest.bytes, SHA256_SIZE);
	put32(t + 32, c->length);
	put32(t + 36, c->stored_length);
	t[40] = (unsigned char)c->codec;
	b->toc_len += ENTRY_SIZE;
	b->len += c->stored_length;
	b->raw_size += c->length;
	b->slots++;
	return 0;
}

int pack_builder_finish(struct pack_builder *b, const void **ret_bytes, size_t *ret_len, struct manifest_pack *ret)
{
	struct digest name;
	if (getrandom(b->toc, NONCE_SIZE, 0) != NONCE_SIZE)
		return -EIO;
	if (grow(&b->bytes, &b->cap, b->len + b->toc_len + PACK_TRAILER))
		return -ENOMEM;
	memcpy(b->bytes + b->len, b->toc, b->toc_len);
	b->len += b->toc_len;
	put32(b->bytes + b->len, (uint32_t)b->toc_len);
	memcpy(b->bytes + b->len + 4, MAGIC_TOC, MAGIC_SIZE);
	b->len += PACK_TRAILER;
	sha256_of(b->toc, b->toc_len, &name);
	memset(ret, 0, sizeof *ret);
	pack_key(&name, ret->key);
	ret->size = b->len;
	ret->raw_size = b->raw_size;
	ret->slots = b->slots;
	*ret_bytes = b->bytes;
	*ret_len = b->len;
	return 0;
}

/* -- reading -------------------------------------------------------------------------------- */

int pack_toc_find(uint64_t object_size, const void *trailer, uint64_t *ret_offset, size_t *ret_len)
{
	const unsigned char *t = trailer;
	const size_t len = get32(t);
	if (memcmp(t + 4, MAGIC_TOC, MAGIC_SIZE) != 0 || len < NONCE_SIZE + ENTRY_SIZE || len > TOC_MAX ||
	    (len - NONCE_SIZE) % ENTRY_SIZE != 0 || object_size < MAGIC_SIZE + PACK_TRAILER + len)
		return -EBADMSG;
	*ret_offset = object_size - PACK_TRAILER - len;
	*ret_len = len;
	return 0;
}

int pack_toc_parse(const void *toc, size_t len, uint64_t toc_offset, const struct digest *name,
		   int (*each)(void *arg, const struct manifest_chunk *c), void *arg)
{
	struct digest actual;
	if (len < NONCE_SIZE + ENTRY_SIZE || len > TOC_MAX || (len - NONCE_SIZE) % ENTRY_SIZE != 0 || toc_offset < MAGIC_SIZE)
		return -EBADMSG;
	sha256_of(toc, len, &actual);
	if (!digest_equal(&actual, name))
		return -EBADMSG;
	const unsigned char *t = (const unsigned char *)toc + NONCE_SIZE;
	struct manifest_chunk c = { .pack_offset = MAGIC_SIZE };
	for (size_t n = (len - NONCE_SIZE) / ENTRY_SIZE; n; n--, t += ENTRY_SIZE) {
		memcpy(c.digest.bytes, t, SHA256_SIZE);
		c.length = get32(t + 32);
		c.stored_length = get32(t + 36);
		if (t[40] > CODEC_ZSTD || !c.length || c.length > CHUNK_BYTES_MAX || !c.stored_length)
			return -EBADMSG;
		c.codec = (enum chunk_codec)t[40];
		if (c.codec == CODEC_RAW ? c.stored_length != c.length : c.stored_length >= c.length)
			return -EBADMSG;
		if (c.stored_length > toc_offset - c.pack_offset)
			return -EBADMSG;
		int r = each(arg, &c);
		if (r)
			return r;
		c.pack_offset += c.stored_length;
		c.raw_offset += c.length;
		c.slot++;
	}
	return c.pack_offset == toc_offset ? 0 : -EBADMSG;
}

/* -- stored bytes --------------------------------------------------------------------------- */

struct codec {
	ZSTD_CCtx *compress;   /* made when first needed */
	ZSTD_DCtx *decompress; /* likewise */
	void *out;
	size_t out_size;
};

struct codec *codec_new(void)
{
	return calloc(1, sizeof(struct codec));
}

void codec_free(struct codec *c)
{
	if (!c)
		return;
	ZSTD_freeCCtx(c->compress);
	ZSTD_freeDCtx(c->decompress);
	free(c->out);
	free(c);
}

/*
 * Bytes that repeat little unpack slowest: at half the size, at 0.85 GB/s a core, more than a third of all that a cold read costs, on every host
 * that reads them.  What shrinks to a third consists of repeats, which unpack several times as fast, and takes load off the store.
 */
static bool pays(size_t compressed, size_t len)
{
	return !ZSTD_isError(compressed) && compressed <= len / 3;
}

int codec_pack(struct codec *c, const void *bytes, size_t len, const void **ret_stored, size_t *ret_len, enum chunk_codec *ret_codec)
{
	*ret_stored = bytes;
	*ret_len = len;
	*ret_codec = CODEC_RAW;
	if (len < COMPRESS_MIN)
		return 0;
	if (!c->compress && !(c->compress = ZSTD_createCCtx()))
		return -ENOMEM;
	const size_t bound = ZSTD_compressBound(len);
	if (bound > c->out_size) {
		free(c->out);
		c->out_size = 0;
		c->out = malloc(bound);
		if (!c->out)
			return -ENOMEM;
		c->out_size = bound;
	}
	if (len > 4 * SAMPLE) {
		const char *middle = (const char *)bytes + len / 2;
		if (!pays(ZSTD_compressCCtx(c->compress, c->out, c->out_size, middle, SAMPLE, ZSTD_LEVEL), SAMPLE))
			return 0;
	}
	const size_t n = ZSTD_compressCCtx(c->compress, c->out, c->out_size, bytes, len, ZSTD_LEVEL);
	if (pays(n, len)) {
		*ret_stored = c->out;
		*ret_len = n;
		*ret_codec = CODEC_ZSTD;
	}
	return 0;
}

int codec_unpack(struct codec *c, enum chunk_codec codec, const void *stored, size_t stored_len, void *ret, size_t len)
{
	if (codec == CODEC_RAW) {
		if (stored_len != len)
			return -EBADMSG;
		memcpy(ret, stored, len);
		return 0;
	}
	if (!c->decompress && !(c->decompress = ZSTD_createDCtx()))
		return -ENOMEM;
	const size_t n = ZSTD_decompressDCtx(c->decompress, ret, len, stored, stored_len);
	return ZSTD_isError(n) || n != len ? -EBADMSG : 0;
}
