/* What to ask of stores: the bytes of a read, neighbours of small files, what is read next, and what did not match once more. */
#include "fs/fetch_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PACK_WINDOW_MIN (64u << 10)
#define PACK_WINDOW_FIRST (512u << 10)
#define PACK_WINDOW_MAX (4u << 20)
#define NEIGHBOURS_MAX 4096
#define NEIGHBOUR_BYTES_MAX (512u << 10) /* a larger chunk belongs to a large file: not brought along */

int fetch_bytes(struct content *c, uint64_t from, uint64_t to, enum fetch_priority priority)
{
	struct plan p = { .content = c, .priority = priority };
	const struct manifest_chunk *k = NULL;
	uint32_t index;
	plan_reset(&p);
	struct blob *b = image_blob(c->image);
	int r = content_chunk_index(c, from, &index);
	for (; !r && (!k || k->file_offset + k->length < to); index++) {
		/* Read-ahead takes what memory there is; a reader that comes to the rest asks again. */
		if (priority != FETCH_DEMAND && !p.first && budget_used(c->reader->budget) > budget_limit(c->reader->budget) / 256 * READAHEAD_SHARE)
			hot_evict(c->reader, RANGE_BYTES_MAX);
		r = content_chunk(c, index, &k);
		if (r)
			break;
		const struct want w = want_bytes(c, k, index, from, to);
		r = plan_chunk(&p, c->image, b, &w);
	}
	plan_submit(&p);
	blob_close(b);
	return r ? r : p.code;
}

/* The window follows what it brings: hits on neighbours widen it, fetches that brought nothing useful narrow it. */
static uint64_t pack_window(struct image *i)
{
	pthread_mutex_lock(&i->lock);
	if (!i->window)
		i->window = PACK_WINDOW_FIRST;
	else if (i->hits >= 4)
		i->window = i->window * 2 > PACK_WINDOW_MAX ? PACK_WINDOW_MAX : i->window * 2;
	else if (!i->hits && i->window > PACK_WINDOW_MIN)
		i->window /= 2;
	i->hits = 0;
	uint64_t window = i->window;
	pthread_mutex_unlock(&i->lock);
	return window;
}

/* Adds chunks of the pack from `slot` on, `window` bytes of them, and notes how far it got. */
static int plan_neighbours(struct plan *p, struct blob *b, uint32_t pack, uint32_t slot, uint64_t window)
{
	struct image *i = p->content->image;
	uint64_t average = i->slots ? i->size / i->slots + 1 : 1;
	uint64_t want = window / average + 1;
	uint32_t count = want > NEIGHBOURS_MAX ? NEIGHBOURS_MAX : (uint32_t)want;
	if (slot >= i->slots)
		return 0;
	if (count > i->slots - slot)
		count = i->slots - slot;
	struct manifest_chunk *k = calloc(count, sizeof *k);
	if (!k)
		return -ENOMEM;
	int found = manifest_pack_chunks(p->content->manifest, pack, slot, count, k), r = found < 0 ? found : 0;
	for (int n = 0; n < found && !r; n++) {
		if (k[n].length <= NEIGHBOUR_BYTES_MAX) {
			const struct want w = want_slot(&k[n]);
			r = plan_chunk(p, i, b, &w);
		}
	}
	free(k);
	pthread_mutex_lock(&i->lock);
	i->frontier = slot + count;
	pthread_mutex_unlock(&i->lock);
	return r;
}

int fetch_small(struct content *c, uint32_t first, uint32_t last, enum fetch_priority priority)
{
	struct plan p = { .content = c, .priority = priority };
	plan_reset(&p);
	struct blob *b = image_blob(c->image);
	const struct manifest_chunk *k = NULL;
	int r = 0;
	for (uint32_t i = first; i <= last && !r; i++) {
		r = content_chunk(c, i, &k);
		if (r)
			break;
		const struct want w = want_slot(k);
		r = plan_chunk(&p, c->image, b, &w);
	}
	p.open = NULL; /* what is waited for must not wait for its neighbours */
	if (!r && k && p.first && k->length <= NEIGHBOUR_BYTES_MAX)
		plan_neighbours(&p, b, k->pack, k->slot + 1, pack_window(c->image)); /* only a convenience: what fails here fails when asked for */
	plan_submit(&p);
	blob_close(b);
	return r ? r : p.code;
}

void fetch_advance(struct content *c, uint32_t slot)
{
	struct image *i = c->image;
	uint64_t window = 0;
	uint32_t from = 0;
	pthread_mutex_lock(&i->lock);
	i->hits++;
	uint64_t average = i->slots ? i->size / i->slots + 1 : 1;
	if (!i->advancing && i->frontier > slot && i->frontier < i->slots && i->hits >= 4 && (i->frontier - slot) * average < i->window / 2) {
		window = i->window = i->window * 2 > PACK_WINDOW_MAX ? PACK_WINDOW_MAX : i->window * 2;
		from = i->frontier;
		i->hits = 0;
		i->advancing = true;
	}
	pthread_mutex_unlock(&i->lock);
	if (!window)
		return;
	const struct manifest_chunk *k;
	if (!content_chunk(c, 0, &k)) {
		struct plan p = { .content = c, .priority = FETCH_READAHEAD };
		plan_reset(&p);
		struct blob *b = image_blob(i);
		plan_neighbours(&p, b, k->pack, from, window);
		plan_submit(&p);
		blob_close(b);
	}
	pthread_mutex_lock(&i->lock);
	i->advancing = false;
	pthread_mutex_unlock(&i->lock);
}

/* The pack of one chunk of a span: the content's own chunks know it. */
static int pack_of(struct content *c, const struct span_chunk *chunk, struct manifest_chunk *ret)
{
	const struct manifest_chunk *k;
	if (c->shape == SHAPE_SMALL) {
		int r = content_chunk(c, 0, &k);
		if (r)
			return r;
		r = manifest_pack_chunks(c->manifest, k->pack, chunk->slot, 1, ret);
		return r == 1 ? 0 : r < 0 ? r : -EBADMSG;
	}
	int r = content_chunk(c, chunk->index, &k);
	if (!r)
		*ret = *k;
	return r;
}

int fetch_again(struct span *failed, const struct span_chunk *chunk)
{
	struct content *c = failed->content;
	struct plan p = { .content = c, .priority = FETCH_DEMAND };
	struct manifest_chunk k;
	struct span_chunk again = *chunk;
	plan_reset(&p);
	int r = pack_of(c, chunk, &k);
	if (!r)
		r = content_pack(c, k.pack, &p.pack);
	if (!r && chunk->leaves) {
		again.leaves = malloc(chunk->slots * sizeof *again.leaves);
		r = again.leaves ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	if (again.leaves)
		memcpy(again.leaves, chunk->leaves, chunk->slots * sizeof *again.leaves);
	again.bad = false;
	p.pack_number = k.pack;
	pthread_mutex_lock(&failed->image->lock);
	r = plan_add_locked(&p, failed->image, NULL, &again, k.pack_offset + (uint64_t)chunk->first_leaf * LEAF_BYTES);
	pthread_mutex_unlock(&failed->image->lock);
	if (r)
		return r == -EEXIST ? 0 : r;
	p.first->retried = true;
	plan_submit(&p);
	return p.code;
}
