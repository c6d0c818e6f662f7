/* Which chunks, and which pieces of them, become spans; spans that follow each other in a pack become one request. */
#include "fs/fetch_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint64_t span_cost(const struct span *s)
{
	return (uint64_t)s->length + (s->raw ? 0 : s->stored_length) + sizeof *s;
}

static struct span *span_new(struct content *c, struct image *i, uint32_t cap)
{
	struct span *s = calloc(1, sizeof *s + cap * sizeof s->chunk[0]);
	if (!s)
		return NULL;
	atomic_init(&s->refs, 1); /* the table's */
	s->image = image_ref(i);
	s->content = content_ref(c);
	s->state = SPAN_COMING;
	s->raw = true;
	return s;
}

/* A manifest is input from a store: every number is checked before memory or offsets rest on it. */
static bool chunk_is_sound(const struct manifest_chunk *k, const struct manifest_pack *p, const struct image *i, uint32_t slot,
			   uint64_t offset)
{
	return k->length && k->length <= CHUNK_BYTES_MAX && k->stored_length && k->stored_length <= CHUNK_BYTES_MAX &&
	       (k->codec == CODEC_ZSTD || (k->codec == CODEC_RAW && k->stored_length == k->length)) && slot < i->slots &&
	       offset <= i->size && k->length <= i->size - offset && k->pack_offset <= p->size &&
	       k->stored_length <= p->size - k->pack_offset;
}

/* Takes over the chunk's leaves. */
static void fill_chunk(struct span *s, const struct span_chunk *k, uint64_t pack_offset)
{
	if (!s->count) {
		s->base = k->offset;
		s->pack_offset = pack_offset;
	}
	s->chunk[s->count] = *k;
	s->chunk[s->count++].stored_skip = s->stored_length;
	s->length += k->length;
	s->stored_length += k->stored_length;
	s->raw = s->raw && k->codec == CODEC_RAW;
}

/* Puts the span's chunk into the table, where nothing is yet; image.lock is held. */
static void claim_slots_locked(struct span *s, const struct span_chunk *k)
{
	struct image *i = s->image;
	for (uint32_t n = k->slot; n < k->slot + k->slots; n++) {
		if (i->spans[n])
			continue;
		i->spans[n] = s;
		atomic_fetch_add(&i->resident, 1);
	}
}

/* Neither here nor on its way.  A span leaves the table only after its slots were marked in the blob, so that one of the two always tells. */
static bool is_missing_locked(const struct image *i, struct blob *b, uint32_t slot)
{
	return !i->spans[slot] && !(b && blob_state(b, slot) != SLOT_ABSENT);
}

static uint32_t missing_slots_locked(const struct image *i, struct blob *b, const struct span_chunk *k)
{
	uint32_t count = 0;
	for (uint32_t n = k->slot; n < k->slot + k->slots; n++)
		count += is_missing_locked(i, b, n);
	return count;
}

int plan_add_locked(struct plan *p, struct image *i, struct blob *b, const struct span_chunk *k, uint64_t pack_offset)
{
	struct span *s = p->open;
	bool grows = s && s->count < p->open_cap && s->pack_offset + s->stored_length == pack_offset && s->base + s->length == k->offset &&
		     s->length + k->length <= SPAN_BYTES_MAX;
	const uint32_t missing = missing_slots_locked(i, b, k);
	if (!missing || (missing < k->slots && k->codec == CODEC_RAW)) {
		free(k->leaves);
		return -EEXIST;
	}
	if (!grows) {
		uint32_t cap = k->length >= SPAN_BYTES_MAX / 2 ? 1 : SPAN_BYTES_MAX / k->length;
		p->open_cap = cap > 256 ? 256 : cap;
		s = span_new(p->content, i, p->open_cap);
		if (!s) {
			free(k->leaves);
			return -ENOMEM;
		}
		s->brief = p->priority == FETCH_DEMAND;
		*p->last = s;
		p->last = &s->next;
		p->open = s;
	}
	fill_chunk(s, k, pack_offset);
	claim_slots_locked(s, k);
	s->brief = s->brief && k->part;
	p->bytes += k->stored_length;
	p->end = pack_offset + k->stored_length;
	return 0;
}

struct want want_slot(const struct manifest_chunk *k)
{
	return (struct want){ .chunk = k, .index = k->slot, .slot = k->slot, .slots = 1, .offset = k->raw_offset, .count = 1 };
}

struct want want_bytes(const struct content *c, const struct manifest_chunk *k, uint32_t index, uint64_t from, uint64_t to)
{
	struct want w = { .chunk = k, .index = index, .slot = content_slot(c, k), .slots = piece_count(k->length), .offset = content_image_offset(c, k) };
	const uint64_t end = k->file_offset + k->length;
	w.count = w.slots;
	if (w.slots > 1 && k->codec == CODEC_RAW) {
		w.first = from > k->file_offset ? (uint32_t)(from - k->file_offset) / LEAF_BYTES : 0;
		w.count = (to < end ? (uint32_t)(to - k->file_offset - 1) / LEAF_BYTES + 1 : w.slots) - w.first;
	}
	return w;
}

/* The next pieces after those of `at` that are neither here nor on their way.  The first request found on the way of those that are is `raise`, with a
 * reference, if it may become more urgent. */
static bool next_missing(const struct plan *p, struct image *i, struct blob *b, struct want *at, uint32_t end, struct range **raise)
{
	uint32_t n = at->first + at->count, first;
	pthread_mutex_lock(&i->lock);
	for (first = n; first < end; first++) {
		struct span *s = i->spans[at->slot + first];
		if (is_missing_locked(i, b, at->slot + first))
			break;
		if (s && !*raise && p->priority == FETCH_DEMAND && s->range && atomic_load(&s->range->priority) > FETCH_DEMAND)
			atomic_fetch_add(&(*raise = s->range)->refs, 1);
	}
	for (n = first; n < end && is_missing_locked(i, b, at->slot + n); n++)
		;
	pthread_mutex_unlock(&i->lock);
	at->first = first;
	at->count = n - first;
	return at->count > 0;
}

static bool fits_plan(const struct plan *p, uint32_t pack, uint64_t pack_offset, uint32_t stored_length)
{
	return p->first && p->pack_number == pack && pack_offset >= p->end && pack_offset - p->end <= GAP_BYTES_MAX &&
	       p->bytes + stored_length <= RANGE_BYTES_MAX;
}

/* The leaves of a run, and the run as a span has it.  -EBADMSG: the manifest's leaves are not the chunk's. */
static int run_of(const struct plan *p, const struct want *w, struct span_chunk *ret, uint64_t *ret_pack_offset)
{
	const struct manifest_chunk *k = w->chunk;
	const uint32_t skip = w->first * LEAF_BYTES;
	struct leaf *all = NULL;
	*ret = (struct span_chunk){ .index = w->index, .slot = w->slot + w->first, .slots = w->count, .first_leaf = w->first, .part = w->count < w->slots,
				    .length = k->length, .stored_length = k->stored_length, .codec = k->codec, .offset = w->offset + skip,
				    .digest = k->digest, .hash = k->hash };
	*ret_pack_offset = k->pack_offset + skip;
	if (w->slots > 1 && !(ret->leaves = malloc(w->count * sizeof *ret->leaves)))
		return -ENOMEM;
	if (!ret->part)
		return 0;
	const uint64_t left = k->length - skip, run = (uint64_t)w->count * LEAF_BYTES;
	ret->length = ret->stored_length = (uint32_t)(run < left ? run : left);
	all = malloc(w->slots * sizeof *all);
	int r = all ? manifest_leaves(p->content->manifest, p->content->entry.row, w->index, k, all) : -ENOMEM;
	if (!r)
		memcpy(ret->leaves, all + w->first, w->count * sizeof *all);
	else
		free(ret->leaves);
	free(all);
	return r;
}

/* Adds a run of pieces; submits what was planned when they do not fit that request. */
static int plan_run(struct plan *p, struct image *i, struct blob *b, const struct want *w)
{
	const struct manifest_chunk *k = w->chunk;
	struct span_chunk c;
	uint64_t pack_offset;
	if (p->pack_number != k->pack || !p->pack.key[0]) {
		plan_submit(p);
		int r = content_pack(p->content, k->pack, &p->pack);
		if (r)
			return r;
		p->pack_number = k->pack;
	}
	if (!chunk_is_sound(k, &p->pack, i, w->slot, w->offset) || w->slots > i->slots - w->slot)
		return -EBADMSG;
	int r = run_of(p, w, &c, &pack_offset);
	if (r)
		return r;
	if (!fits_plan(p, k->pack, pack_offset, c.stored_length))
		plan_submit(p);
	pthread_mutex_lock(&i->lock);
	r = plan_add_locked(p, i, b, &c, pack_offset);
	pthread_mutex_unlock(&i->lock);
	return r;
}

int plan_chunk(struct plan *p, struct image *i, struct blob *b, const struct want *w)
{
	struct want missing = *w;
	struct range *raise = NULL;
	int r = w->slot < i->slots && w->slots <= i->slots - w->slot ? 0 : -EBADMSG;
	missing.count = 0;
	while (!r && next_missing(p, i, b, &missing, w->first + w->count, &raise)) {
		if (w->chunk->codec != CODEC_RAW) { /* only whole */
			missing.first = 0;
			missing.count = w->slots;
		}
		r = plan_run(p, i, b, &missing);
		if (r == -EEXIST) { /* look again */
			missing.count = 0;
			r = 0;
		}
	}
	if (raise) {
		range_raise(raise);
		range_unref(raise);
	}
	return r;
}

void plan_reset(struct plan *p)
{
	p->first = p->open = NULL;
	p->last = &p->first;
	p->bytes = p->end = 0;
}
