#include "catalog/unpack.h"

#include "catalog/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define PIECE (256u << 10)
#define WINDOW_LOG_MAX 27 /* 128 MiB: what zstd -19 --long makes by default */

struct unpack {
	bool gzip;
	z_stream z;
	ZSTD_DCtx *zstd;
	bool open;    /* within a frame or member */
	bool stopped; /* after a gzip member came what is none: padding, as gzip(1) has it */
	unsigned char piece[PIECE];
};

size_t unpack_stem(const char *path)
{
	size_t len = strlen(path);
	return text_ends(path, ".gz") && len > 3 ? len - 3 : text_ends(path, ".zst") && len > 4 ? len - 4 : 0;
}

int unpack_new(const char *path, struct unpack **ret)
{
	if (!unpack_stem(path))
		return -EINVAL;
	struct unpack *u = calloc(1, sizeof *u);
	if (!u)
		return -ENOMEM;
	u->gzip = text_ends(path, ".gz");
	u->open = true; /* no frame at all is not a file of that kind */
	if (u->gzip ? inflateInit2(&u->z, 15 + 16) != Z_OK : !(u->zstd = ZSTD_createDCtx())) {
		free(u);
		return -ENOMEM;
	}
	if (u->zstd)
		ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX);
	*ret = u;
	return 0;
}

void unpack_free(struct unpack *u)
{
	if (!u)
		return;
	if (u->gzip)
		inflateEnd(&u->z);
	ZSTD_freeDCtx(u->zstd);
	free(u);
}

static int feed_gzip(struct unpack *u, const unsigned char *bytes, size_t len, int (*sink)(void *, const void *, size_t), void *arg)
{
	u->z.next_in = (unsigned char *)bytes;
	u->z.avail_in = (unsigned)len; /* callers feed chunks */
	while (u->z.avail_in && !u->stopped) {
		if (!u->open && *u->z.next_in != 0x1f) {
			u->stopped = true;
			break;
		}
		u->open = true;
		u->z.next_out = u->piece;
		u->z.avail_out = PIECE;
		int z = inflate(&u->z, Z_NO_FLUSH);
		if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
			return z == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
		int r = u->z.avail_out < PIECE ? sink(arg, u->piece, PIECE - u->z.avail_out) : 0;
		if (r)
			return r;
		if (z == Z_STREAM_END) {
			u->open = false;
			inflateReset(&u->z);
		}
	}
	return 0;
}

static int feed_zstd(struct unpack *u, const void *bytes, size_t len, int (*sink)(void *, const void *, size_t), void *arg)
{
	ZSTD_inBuffer in = { bytes, len, 0 };
	size_t produced = 0;
	do {
		ZSTD_outBuffer out = { u->piece, PIECE, 0 };
		size_t before = in.pos, left = ZSTD_decompressStream(u->zstd, &out, &in);
		if (ZSTD_isError(left))
			return -EBADMSG;
		produced = out.pos;
		if (produced || in.pos != before) /* else it tells what the next frame would need */
			u->open = left != 0;
		int r = produced ? sink(arg, u->piece, produced) : 0;
		if (r)
			return r;
	} while (in.pos < in.size || produced == PIECE);
	return 0;
}

int unpack_feed(struct unpack *u, const void *bytes, size_t len, int (*sink)(void *arg, const void *bytes, size_t len), void *arg)
{
	if (!u->gzip)
		return len ? feed_zstd(u, bytes, len, sink, arg) : 0;
	for (size_t at = 0; at < len;) {
		size_t n = len - at < (1u << 30) ? len - at : 1u << 30;
		int r = feed_gzip(u, (const unsigned char *)bytes + at, n, sink, arg);
		if (r)
			return r;
		at += n;
	}
	return 0;
}

bool unpack_complete(const struct unpack *u)
{
	return !u->open;
}
