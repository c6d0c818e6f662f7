/*
 * Line formats inside gzip or zstd: unpacked, derived and packed again in one pass.  The derived file is of the same kind, and the
 * same bytes on every host with the same zlib and zstd (their versions are part of the view's identity): fixed levels, no times, no names,
 * one member or frame, and one thread.
 */
#include "catalog/base/text.h"
#include "policy/view_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>
#include <zstd.h>

#define PIECE (256u << 10)
#define BATCH (2u << 20) /* unpacked bytes that are derived at once; more for a longer record; holds any header */
#define GZIP_LEVEL 6
#define ZSTD_LEVEL 3
#define ZSTD_WINDOW_MAX 27
/* What a file may unpack to: deflate reaches 1032:1, zstd much more; beyond this nobody means data. */
#define UNPACKED_FREE (256ull << 20)
#define UNPACKED_RATIO 2048

/* -- unpacking -------------------------------------------------------------------------------- */

struct unpack {
	const struct view_source *source;
	uint64_t offset, given; /* bytes of the source taken, bytes given */
	unsigned char *in;      /* PIECE bytes */
	size_t in_at, in_len;
	bool inside;            /* a member or frame is under way */
	bool gzip, z_ready;
	z_stream z;
	ZSTD_DStream *zstd;
};

static void unpack_fini(struct unpack *u)
{
	if (u->z_ready)
		inflateEnd(&u->z);
	ZSTD_freeDStream(u->zstd);
	free(u->in);
}

static int unpack_init(struct unpack *u, const struct view_source *source)
{
	*u = (struct unpack){ .source = source };
	size_t len = strlen(source->path);
	u->gzip = len >= 3 && strcasecmp(source->path + len - 3, ".gz") == 0;
	u->in = malloc(PIECE);
	if (u->gzip)
		u->z_ready = inflateInit2(&u->z, 15 + 16) == Z_OK;
	else if ((u->zstd = ZSTD_createDStream()))
		ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_MAX);
	if (u->in && (u->z_ready || u->zstd))
		return 0;
	unpack_fini(u);
	return -ENOMEM;
}

static int unpack_fill(struct unpack *u, struct err *e)
{
	if (u->in_at < u->in_len || u->offset == u->source->size)
		return 0;
	uint64_t left = u->source->size - u->offset;
	size_t n = left < PIECE ? (size_t)left : PIECE;
	int r = u->source->read(u->source->arg, u->offset, u->in, n, e);
	if (r != 0)
		return r;
	u->offset += n;
	u->in_at = 0;
	u->in_len = n;
	return 0;
}

/* One step of inflate: members one after the other, and zeros behind the last one, as gzip itself reads them. */
static int step_gzip(struct unpack *u, char *to, size_t room, size_t *ret)
{
	if (!u->inside) {
		while (u->in_at < u->in_len && u->offset && u->given && !u->in[u->in_at])
			u->in_at++;
		if (u->in_at == u->in_len)
			return 0;
		inflateReset(&u->z);
		u->inside = true;
	}
	u->z.next_in = u->in + u->in_at;
	u->z.avail_in = (uInt)(u->in_len - u->in_at);
	u->z.next_out = (unsigned char *)to;
	u->z.avail_out = (uInt)room;
	int r = inflate(&u->z, Z_NO_FLUSH);
	u->in_at = u->in_len - u->z.avail_in;
	*ret = room - u->z.avail_out;
	if (r == Z_STREAM_END)
		u->inside = false;
	return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : -EBADMSG;
}

static int step_zstd(struct unpack *u, char *to, size_t room, size_t *ret)
{
	ZSTD_inBuffer in = { u->in, u->in_len, u->in_at };
	ZSTD_outBuffer out = { to, room, 0 };
	if (!u->inside && in.pos == in.size)
		return 0;
	size_t r = ZSTD_decompressStream(u->zstd, &out, &in);
	u->in_at = in.pos;
	*ret = out.pos;
	u->inside = r != 0;
	return ZSTD_isError(r) ? -EBADMSG : 0;
}

/* Appends up to `room` bytes; 0 bytes and *ret_end at the end. */
static int unpack_some(struct unpack *u, size_t room, struct buf *out, bool *ret_end, struct err *e)
{
	char *to = buf_reserve(out, room);
	size_t n = 0;
	if (!to)
		return err_set(e, -ENOMEM, "out of memory");
	while (!n) {
		int r = unpack_fill(u, e);
		if (r != 0)
			return r;
		bool dry = u->in_at == u->in_len && u->offset == u->source->size;
		size_t before = u->in_at;
		r = u->gzip ? step_gzip(u, to, room, &n) : step_zstd(u, to, room, &n);
		if (r != 0)
			return err_set(e, -EACCES, "%s: not well-formed %s", u->source->path, u->gzip ? "gzip" : "zstd");
		if (n || u->in_at != before || !dry)
			continue;
		if (u->inside)
			return err_set(e, -EACCES, "%s: ends inside its compressed data", u->source->path);
		*ret_end = true;
		return 0;
	}
	u->given += n;
	buf_commit(out, n);
	if (u->given > UNPACKED_FREE && u->given / UNPACKED_RATIO > u->offset)
		return err_set(e, -EACCES, "%s: unpacks to more than %d times its size", u->source->path, UNPACKED_RATIO);
	return 0;
}

/* -- packing ---------------------------------------------------------------------------------- */

struct pack {
	bool gzip, z_ready;
	z_stream z;
	ZSTD_CStream *zstd;
	unsigned char *out; /* PIECE bytes */
	int (*write)(void *arg, const void *bytes, size_t len);
	void *arg;
};

static void pack_fini(struct pack *p)
{
	if (p->z_ready)
		deflateEnd(&p->z);
	ZSTD_freeCStream(p->zstd);
	free(p->out);
}

static int pack_init(struct pack *p, bool gzip, int (*write)(void *arg, const void *bytes, size_t len), void *arg)
{
	*p = (struct pack){ .gzip = gzip, .write = write, .arg = arg };
	p->out = malloc(PIECE);
	if (gzip)
		p->z_ready = deflateInit2(&p->z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	else if ((p->zstd = ZSTD_createCStream())) {
		ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
		ZSTD_CCtx_setParameter(p->zstd, ZSTD_c_checksumFlag, 1);
	}
	if (p->out && (p->z_ready || p->zstd))
		return 0;
	pack_fini(p);
	return -ENOMEM;
}

static int pack_gzip(struct pack *p, const void *bytes, size_t len, bool last)
{
	p->z.next_in = (unsigned char *)(uintptr_t)bytes; /* zlib reads it only */
	p->z.avail_in = (uInt)len;
	for (;;) {
		p->z.next_out = p->out;
		p->z.avail_out = PIECE;
		int done = deflate(&p->z, last ? Z_FINISH : Z_NO_FLUSH);
		size_t n = PIECE - p->z.avail_out;
		int r = n ? p->write(p->arg, p->out, n) : 0;
		if (r != 0)
			return r;
		if (done == Z_STREAM_ERROR)
			return -EIO;
		if (last ? done == Z_STREAM_END : p->z.avail_out != 0)
			return 0;
	}
}

static int pack_zstd(struct pack *p, const void *bytes, size_t len, bool last)
{
	ZSTD_inBuffer in = { bytes, len, 0 };
	for (;;) {
		ZSTD_outBuffer out = { p->out, PIECE, 0 };
		size_t left = ZSTD_compressStream2(p->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left))
			return -EIO;
		int r = out.pos ? p->write(p->arg, p->out, out.pos) : 0;
		if (r != 0)
			return r;
		if (last ? left == 0 : in.pos == in.size)
			return 0;
	}
}

static int pack_add(struct pack *p, const struct buf *b, bool last)
{
	for (size_t at = 0; at < b->len && b->len - at > (1u << 30); at += 1u << 30) { /* zlib counts in 32 bits */
		int r = p->gzip ? pack_gzip(p, b->data + at, 1u << 30, false) : 0;
		if (r != 0)
			return r;
	}
	size_t done = p->gzip && b->len ? (b->len - 1) >> 30 << 30 : 0;
	const char *rest = b->len ? b->data + done : "";
	return p->gzip ? pack_gzip(p, rest, b->len - done, last) : pack_zstd(p, rest, b->len, last);
}

const char *view_packer_version(const char *format)
{
	return strcmp(strrchr(format, '.'), ".gz") == 0 ? zlibVersion() : ZSTD_versionString();
}

/* -- the view --------------------------------------------------------------------------------- */

struct stream_plan {
	struct view_plan plan;
	const struct line_view_ops *ops;
	struct line_view *view;
	struct transform *transform;
};

static void stream_free(struct view_plan *p)
{
	struct stream_plan *s = (struct stream_plan *)p;
	if (s->view)
		s->ops->free(s->view);
	transform_unref(s->transform);
	free(s);
}

/* What of `in` was derived goes; the rest moves to the front. */
static void buf_drop(struct buf *in, size_t n)
{
	if (n) {
		memmove(in->data, in->data + n, in->len - n);
		in->len -= n;
	}
}

static int stream_whole(const struct view_plan *plan, const struct view_source *source, int (*write)(void *arg, const void *bytes, size_t len),
			void *arg, struct view_stats *ret_stats, struct err *e)
{
	const struct stream_plan *s = (const struct stream_plan *)plan;
	struct buf in = BUF_INIT, out = BUF_INIT;
	struct view_stats stats = { 0 };
	struct unpack u;
	struct pack p;
	bool end = false, first = true;
	size_t want = BATCH;
	if (unpack_init(&u, source) != 0)
		return err_set(e, -ENOMEM, "out of memory");
	int r = pack_init(&p, u.gzip, write, arg);
	if (r != 0) {
		unpack_fini(&u);
		return err_set(e, r, "out of memory");
	}
	while (!end && r == 0) {
		while (in.len < want && !end && r == 0)
			r = unpack_some(&u, PIECE, &in, &end, e);
		size_t used = 0;
		buf_clear(&out);
		if (r == 0)
			r = s->ops->records(s->view, first, end, in.len ? in.data : "", in.len, &used, &out, &stats, e);
		if (r == 0 && buf_check(&out) != 0)
			r = err_set(e, -ENOMEM, "out of memory");
		if (r != 0)
			break;
		first = first && !used;
		buf_drop(&in, used);
		want = in.len > BATCH / 2 ? 2 * in.len : BATCH;
		r = pack_add(&p, &out, end);
		if (r != 0)
			err_set(e, r, "%s: the view cannot be written", source->path);
	}
	if (r == 0 && ret_stats)
		*ret_stats = stats;
	pack_fini(&p);
	unpack_fini(&u);
	buf_free(&in);
	buf_free(&out);
	return r;
}

static const struct view_plan_ops stream_plan_ops = { .kind = VIEW_WHOLE, .free = stream_free, .whole = stream_whole };

int view_plan_new_stream(struct transform *t, const struct view_source *source, const struct view_keys *keys, struct view_plan **ret,
			 struct err *e)
{
	struct buf head = BUF_INIT;
	struct unpack u;
	bool end = false;
	struct stream_plan *s = calloc(1, sizeof *s);
	if (!s || unpack_init(&u, source) != 0) {
		free(s);
		return err_set(e, -ENOMEM, "out of memory");
	}
	s->plan.ops = &stream_plan_ops;
	s->ops = view_line_ops(source->path);
	s->transform = transform_ref(t);
	int r = -EAGAIN;
	for (size_t want = 16 << 10; r == -EAGAIN && want <= VIEW_HEAD_MAX; want *= 4) {
		r = 0;
		while (r == 0 && !end && head.len < want)
			r = unpack_some(&u, want - head.len, &head, &end, e);
		if (r == 0)
			r = s->ops->new(t, source->path, head.len ? head.data : "", head.len, end, keys, &s->view, e);
	}
	if (r == -EAGAIN)
		r = err_set(e, -EACCES, "%s: the first %u KiB hold no complete header", source->path, VIEW_HEAD_MAX >> 10);
	unpack_fini(&u);
	buf_free(&head);
	if (r == 0)
		*ret = &s->plan;
	else
		stream_free(&s->plan);
	return r;
}
