/* Reading a view that is segments of its source, zeros and bytes of its plan. */
#include "fs/view_state.h"

#include "catalog/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PART_ISSUING, PART_PARKED, PART_DONE };

/* A read that touches several segments: filled one after the other. */
struct segment_op {
	struct wait wait;
	struct content *content;
	uint64_t offset;
	size_t len, pos, part;
	_Atomic int phase;
	int code;
	unsigned char *buffer;
	content_bytes done;
	void *arg;
};

static void segment_destroy(struct wait *w)
{
	struct segment_op *op = (struct segment_op *)w;
	content_unref(op->content);
	free(op->buffer);
	free(op);
}

static void segment_fail(struct wait *w, int code)
{
	struct segment_op *op = (struct segment_op *)w;
	op->done(op->arg, code, NULL, 0, 0);
}

static const struct view_segment *find_segment(const struct view_state *v, uint64_t at)
{
	size_t low = 0, high = v->segment_count - 1;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (v->segments[middle].offset + v->segments[middle].length > at)
			high = middle;
		else
			low = middle + 1;
	}
	return &v->segments[low];
}

static void segment_step(struct segment_op *op);

static void segment_part(void *arg, int code, const struct iovec *parts, size_t count, size_t len)
{
	struct segment_op *op = arg;
	/* A read that was cancelled meanwhile keeps its buffer until this reference goes. */
	if (!code && len != op->part)
		code = -EIO;
	if (!code)
		content_copy(op->buffer + op->pos, parts, count);
	op->code = code;
	if (atomic_exchange(&op->phase, PART_DONE) == PART_PARKED)
		segment_step(op);
}

/* Goes on until the read is done or a part waits.  Runs on one thread at a time; holds one reference of its own on entry. */
static void segment_step(struct segment_op *op)
{
	struct waits *ws = op->content->reader->waits;
	for (;;) {
		if (atomic_load(&op->phase) == PART_DONE) { /* a part of the source has come */
			op->pos += op->code ? 0 : op->part;
			if (!wait_resume(&op->wait))
				break;
		}
		if (op->code || op->pos == op->len) {
			struct iovec all = { .iov_base = op->buffer, .iov_len = op->len };
			wait_end(ws, &op->wait);
			op->done(op->arg, op->code, op->code ? NULL : &all, !op->code, op->code ? 0 : op->len);
			wait_unref(&op->wait);
			break;
		}
		uint64_t at = op->offset + op->pos;
		const struct view_segment *g = find_segment(op->content->view, at);
		uint64_t skip = at - g->offset, left = g->length - skip;
		op->part = left < op->len - op->pos ? (size_t)left : op->len - op->pos;
		atomic_store(&op->phase, PART_ISSUING);
		if (g->kind != SEGMENT_SOURCE) {
			if (g->kind == SEGMENT_ZERO)
				memset(op->buffer + op->pos, 0, op->part);
			else
				memcpy(op->buffer + op->pos, (const unsigned char *)g->bytes + skip, op->part);
			op->pos += op->part;
			continue;
		}
		wait_ref(&op->wait); /* the one above may pass to segment_part, which may be done before we are */
		wait_park(&op->wait);
		content_read_until(op->content->view->source, g->source_offset + g->length, g->source_offset + skip, op->part, segment_part, op, NULL);
		int issuing = PART_ISSUING;
		bool passed = atomic_compare_exchange_strong(&op->phase, &issuing, PART_PARKED);
		if (passed)
			wait_check(ws, &op->wait);
		wait_unref(&op->wait);
		if (passed)
			return;
	}
	wait_unref(&op->wait);
}

void view_segments_read(struct content *c, uint64_t offset, size_t len, content_bytes done, void *arg, uint64_t *ret_token)
{
	struct view_state *v = c->view;
	const struct view_segment *g = find_segment(v, offset);
	uint64_t skip = offset - g->offset;
	if (g->kind == SEGMENT_SOURCE && len <= g->length - skip) {
		content_read_until(v->source, g->source_offset + g->length, g->source_offset + skip, len, done, arg, ret_token);
		return;
	}
	struct segment_op *op = calloc(1, sizeof *op);
	if (!op || !(op->buffer = malloc(len))) {
		free(op);
		done(arg, -ENOMEM, NULL, 0, 0);
		return;
	}
	wait_init(&op->wait, segment_fail, segment_destroy);
	op->content = content_ref(c);
	op->offset = offset;
	op->len = len;
	op->done = done;
	op->arg = arg;
	if (waits_add(c->reader->waits, &op->wait, clock_mono_ms() + c->reader->deadline_ms)) {
		op->code = -ENOMEM;
	} else if (ret_token) {
		*ret_token = op->wait.token;
	}
	wait_ref(&op->wait);
	segment_step(op);
}
