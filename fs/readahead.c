#include "fs/readahead.h"

#include <stddef.h>

#define MIB ((uint64_t)1 << 20)
#define BACK_MAX MIB           /* how far behind its stream's head a read still belongs to it */
#define JUMP_MAX (2 * MIB)     /* how far ahead of it */
#define FIRST_WINDOW (2 * MIB) /* a first read at the start of the file is likely to go on … */
#define NEAR_NS 3000000        /* … which is not waited for where the first byte comes sooner */
#define STEP_MAX (8 * MIB)     /* ask for more in pieces of this size: few, large requests */
#define NEAR_WINDOW (20 * MIB) /* two requests of RANGE_BYTES_MAX on their way while a third is read */
#define FAR_WINDOW (32 * MIB)
#define WINDOW_NS 1000000      /* each so long a wait for the first byte is worth another MiB */
#define GROWTH 4               /* the window is this many times what was read in sequence */

struct readahead_limits readahead_limits(int64_t first_byte_ns)
{
	const int64_t far = (int64_t)((FAR_WINDOW - NEAR_WINDOW) / MIB) * WINDOW_NS;
	const int64_t delay = first_byte_ns > 0 && first_byte_ns < far ? first_byte_ns : far;
	return (struct readahead_limits){ .first = delay < NEAR_NS ? 0 : FIRST_WINDOW, .most = NEAR_WINDOW + (uint64_t)(delay / WINDOW_NS) * MIB };
}

static struct readahead_stream *find(struct readahead *r, uint64_t offset)
{
	struct readahead_stream *best = NULL;
	for (size_t i = 0; i < READAHEAD_STREAMS; i++) {
		struct readahead_stream *s = &r->stream[i];
		if (!s->used || offset + BACK_MAX < s->next || offset < s->start || offset > s->next + JUMP_MAX)
			continue;
		/* A jump must stay within what was asked for ahead: strided reads are not a stream. */
		if (offset > s->next && offset > s->ahead)
			continue;
		if (!best || s->next > best->next)
			best = s;
	}
	return best;
}

static struct readahead_stream *replace_oldest(struct readahead *r)
{
	struct readahead_stream *oldest = &r->stream[0];
	for (size_t i = 1; i < READAHEAD_STREAMS; i++)
		if (r->stream[i].used < oldest->used)
			oldest = &r->stream[i];
	return oldest;
}

void readahead_note(struct readahead *r, uint64_t offset, uint64_t len, uint64_t size, const struct readahead_limits *limits, uint64_t *ret_from,
		    uint64_t *ret_to)
{
	uint64_t end = offset + len;
	*ret_from = *ret_to = 0;
	struct readahead_stream *s = find(r, offset);
	if (!s) {
		s = replace_oldest(r);
		*s = (struct readahead_stream){ .start = offset, .next = end, .ahead = end, .used = ++r->clock };
		if (offset != 0)
			return;
		s->window = limits->first;
	} else {
		s->used = ++r->clock;
		if (end <= s->next)
			return;
		s->next = end;
		uint64_t grown = (s->next - s->start) * GROWTH;
		if (grown > s->window)
			s->window = grown;
	}
	if (s->window > limits->most)
		s->window = limits->most;
	if (s->ahead < s->next)
		s->ahead = s->next;
	uint64_t to = s->next + s->window, step = s->window / 2 < STEP_MAX ? s->window / 2 : STEP_MAX;
	if (to > size)
		to = size;
	if (to <= s->ahead || (to < size && to - s->ahead < step))
		return;
	*ret_from = s->ahead;
	*ret_to = to;
	s->ahead = to;
}
